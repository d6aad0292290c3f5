"""What every stage does for who runs it: exit codes, one-line errors, help, progress."""

import importlib
import os
import re
import shlex
import signal
import subprocess
import sys

import pytest
import torch
from genlab import ComputationError, InputError, Interrupted, cli, files
from stage import SCRIPTS, run_stage

STAGES = sorted(path.stem for path in SCRIPTS.glob("*.py"))


@pytest.mark.parametrize(
    "error, code, line",
    [
        (InputError("x.npz: wrong"), 2, "stage: error: x.npz: wrong"),
        (FileNotFoundError(2, "No such file or directory", "gone.csv"), 2, "stage: error: gone.csv: No such file"),
        (ComputationError("NaN in epoch 3"), 1, "stage: failed: NaN in epoch 3"),
        (OSError(28, "No space left on device"), 1, "stage: failed: [Errno 28] No space left on device"),
        (
            OSError(28, "No space left on device", "state/lock"),
            1,
            "stage: failed: [Errno 28] No space left on device: 's",
        ),
        (MemoryError("8 GiB"), 1, "stage: failed: not enough memory (8 GiB)"),
        (torch.OutOfMemoryError("CUDA out of memory. Tried"), 1, "stage: failed: the GPU's memory is full (CUDA out"),
        (Interrupted("by SIGTERM"), 75, "stage: interrupted: by SIGTERM"),
        (KeyboardInterrupt(), 130, "stage: interrupted"),
    ],
)
def test_errors_are_one_line_and_have_their_exit_code(error, code, line, capsys):
    parser = cli.parser("A stage.")
    parser.prog = "stage"

    def main(options):
        raise error

    with pytest.raises(SystemExit) as stop:
        cli.run(main, parser, [])
    assert stop.value.code == code
    (printed,) = capsys.readouterr().err.splitlines()
    assert printed.startswith(line)


def test_a_mistake_of_ours_keeps_its_traceback():
    def main(options):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        cli.run(main, cli.parser("A stage."), [])


def test_threads_are_set_before_any_library_starts(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "64")
    cli.run(lambda options: None, cli.parser("A stage.", device=True), ["--threads", "3"])
    assert os.environ["OMP_NUM_THREADS"] == "3"


def test_stages_draw_without_the_backend_of_a_notebook(tmp_path, monkeypatch):
    monkeypatch.setenv("MPLBACKEND", "module://matplotlib_inline.backend_inline")
    (tmp_path / "graph").write_text('digraph {\n 0[label = "a"];\n 1[label = "b"];\n 1 -> 0\n}\n')
    for name, *words in (
        ("plot_workflow", "--graph", tmp_path / "graph", "--output", tmp_path / "a.png"),
        ("render_digits", "--output", tmp_path / "train_32x32.mat", "--count", 2),
    ):
        process = run_stage(name, *words, fresh=True)
        assert process.returncode == 0, process.stderr
    assert {path.name for path in tmp_path.iterdir()} == {"graph", "a.png", "a.pdf", "train_32x32.mat"}


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGUSR1"])
def test_a_signal_ends_a_stage_in_one_line_and_takes_its_half_written_file_away(tmp_path, name, capsys):
    if name == "SIGINT":  # which a run of the tests in the background ignores
        signal.signal(signal.SIGINT, signal.default_int_handler)
    before = signal.getsignal(getattr(signal, name))

    def main(options):
        files.write_text(tmp_path / "first", "whole")
        with files.atomic(tmp_path / "x") as temporary:
            temporary.write_text("half")
            os.kill(os.getpid(), getattr(signal, name))
            raise AssertionError("went on")

    with pytest.raises(SystemExit) as stop:
        cli.run(main, cli.parser("A stage."), [])
    said = capsys.readouterr().err
    assert stop.value.code == (130 if name == "SIGINT" else 75)
    assert "interrupted: " in said and (name == "SIGINT" or f"by {name}; " in said)
    assert "every output is whole, as it was before or new" in said and "nothing was written" not in said
    assert list(tmp_path.iterdir()) == [tmp_path / "first"] and signal.getsignal(getattr(signal, name)) == before


def test_progress_in_a_log_file_is_lines(capsys):
    with cli.progress(total=3, label="work", unit="image") as bar:
        for _ in range(3):
            bar.update()
    lines = capsys.readouterr().err.splitlines()
    assert "work:" in lines[0] and "3/3" in lines[-1] and not any("\r" in line for line in lines)


@pytest.mark.slow
@pytest.mark.parametrize("name", STAGES)
def test_help_of_every_stage_is_understandable_and_needs_no_heavy_import(name):
    code = (
        "import runpy, sys; sys.argv = [sys.argv[1], '--help']\n"
        "try: runpy.run_path(sys.argv[0], run_name='__main__')\n"
        "finally: print('HEAVY', sorted({'torch', 'numpy', 'scipy', 'pandas', 'matplotlib'} & set(sys.modules)))"
    )
    process = subprocess.run(
        [sys.executable, "-c", code, SCRIPTS / f"{name}.py"], capture_output=True, text=True, cwd=SCRIPTS,
        env=os.environ | {"PYTHONPATH": str(SCRIPTS)},
    )  # fmt: skip
    assert process.returncode == 0, process.stderr
    assert process.stdout.rstrip().endswith("HEAVY []")
    assert "example:" in process.stdout and f"{name}.py" in process.stdout


@pytest.mark.parametrize("name", STAGES)
def test_the_example_in_the_help_is_a_sound_command_line(name):
    stage = importlib.import_module(name)
    examples = re.sub(r"\\\n *", "", stage.__doc__.split("\nexample:\n")[1])
    for line in examples.strip().splitlines():
        python, script, *words = shlex.split(line.split("|")[-1])
        assert (python, script) == ("python", f"workflow/scripts/{name}.py")
        stage.parser().parse_args(words)


def test_options_of_one_meaning_have_one_name_in_every_stage():
    for name in STAGES:
        options = {action.dest for action in importlib.import_module(name).parser()._actions}
        assert not options & {"number", "json", "text", "csv", "events", "frames_output"}, name
        assert "output" in options, name
        assert "model" not in options or name in (
            "score_fid",
            "score_samples",
        )  # whose command line the course's users know
