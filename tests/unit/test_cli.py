"""The habits of stages: exit codes, atomic files, JSON, provenance."""

import ast
import errno
import json
import os
import signal
import socket
import subprocess
import sys

import pytest
import torch
from genlab import InputError, cli
from stage import SCRIPTS

STAGES = sorted(path.stem for path in SCRIPTS.glob("*.py"))


@pytest.mark.parametrize(
    "error, code, line",
    [
        (InputError("x.npz: wrong"), 2, "stage: error: x.npz: wrong"),
        (FileNotFoundError(2, "No such file or directory", "gone.csv"), 2, "stage: error: gone.csv: No such file"),
        (cli.ComputationError("NaN in epoch 3"), 1, "stage: failed: NaN in epoch 3"),
        (OSError(28, "No space left on device"), 1, "stage: failed: [Errno 28] No space left on device"),
        (
            OSError(28, "No space left on device", "state/lock"),
            1,
            "stage: failed: [Errno 28] No space left on device: 's",
        ),
        (MemoryError("8 GiB"), 1, "stage: failed: not enough memory (8 GiB)"),
        (torch.OutOfMemoryError("CUDA out of memory. Tried"), 1, "stage: failed: the GPU's memory is full (CUDA out"),
        (cli.Interrupted("by SIGTERM"), 75, "stage: interrupted: by SIGTERM"),
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


def test_atomic_leaves_nothing_of_a_failed_write(tmp_path):
    path = tmp_path / "new" / "result.txt"
    cli.write_text(path, "old")
    with pytest.raises(RuntimeError), cli.atomic(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old" and [p.name for p in path.parent.iterdir()] == ["result.txt"]


def test_leftovers_of_killed_processes_are_deleted_and_those_of_living_ones_are_not(tmp_path):
    path = tmp_path / "a [1].csv"
    killed = subprocess.Popen([sys.executable, "-c", ""])
    killed.wait()
    mark = f".{path.name}.{socket.gethostname()}-"
    of_killed, of_living, of_another = (
        tmp_path / f"{mark}{killed.pid}.part.csv",
        tmp_path / f"{mark}{os.getppid()}.part.csv",
        tmp_path / f".{path.name}.elsewhere-{killed.pid}.part.csv",
    )
    (tmp_path / f"{mark}{killed.pid}.old").mkdir()
    for file in (of_killed, of_living, of_another):
        file.touch()
    cli.write_text(path, "whole")
    assert {file.name for file in tmp_path.iterdir()} == {path.name, of_living.name, of_another.name}


@pytest.mark.parametrize("name", ["SIGTERM", "SIGUSR1"])
def test_a_signal_ends_a_stage_in_one_line_and_takes_its_half_written_file_away(tmp_path, name, capsys):
    before = signal.getsignal(getattr(signal, name))

    def main(options):
        with cli.atomic(tmp_path / "x") as temporary:
            temporary.write_text("half")
            os.kill(os.getpid(), getattr(signal, name))
            raise AssertionError("went on")

    with pytest.raises(SystemExit) as stop:
        cli.run(main, cli.parser("A stage."), [])
    assert stop.value.code == 75 and f"interrupted: by {name}; no file is half-written" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == [] and signal.getsignal(getattr(signal, name)) == before


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_a_full_disk_is_no_wrong_input_and_named_by_the_output(tmp_path, number):
    (tmp_path / "x").write_text("old")
    message = r"x: cannot be written .*what was there is unchanged; make room"
    with pytest.raises(cli.ComputationError, match=message), cli.atomic(tmp_path / "x"):
        raise OSError(number, os.strerror(number))
    assert (tmp_path / "x").read_text() == "old"


WRITERS = {"to_csv", "savez", "savez_compressed", "save", "savefig", "save_file", "savemat", "tofile"}


@pytest.mark.parametrize("name", STAGES)
def test_no_stage_writes_but_by_a_temporary_file(name):
    for call in ast.walk(ast.parse((SCRIPTS / f"{name}.py").read_text())):
        if not isinstance(call, ast.Call):
            continue
        function, words = ast.unparse(call.func), [ast.unparse(word) for word in call.args]
        if function.split(".")[-1] in WRITERS or (function == "open" and "'w'" in words):
            assert words[0] == "temporary", ast.unparse(call)
        assert not function.endswith((".write_bytes", ".open", "mkdir")), ast.unparse(call)
        if function.endswith(".write_text"):
            assert function == "cli.write_text", ast.unparse(call)


def test_results_can_be_read_by_others_whatever_wrote_them(tmp_path):
    with cli.atomic(tmp_path / "x") as temporary:
        temporary.touch(mode=0o600)
    (tmp_path / "y").touch()
    assert (tmp_path / "x").stat().st_mode == (tmp_path / "y").stat().st_mode


def test_json_is_strict(tmp_path):
    cli.write_json(tmp_path / "a.json", {"x": [1, 2.5, None]})
    assert cli.read_json(tmp_path / "a.json") == {"x": [1, 2.5, None]}
    with pytest.raises(ValueError):
        cli.write_json(tmp_path / "b.json", {"x": float("nan")})
    assert not (tmp_path / "b.json").exists()
    (tmp_path / "c.json").write_text("{")
    with pytest.raises(InputError, match=r"c\.json: not a JSON file"):
        cli.read_json(tmp_path / "c.json")


def test_checksum(tmp_path):
    (tmp_path / "abc").write_bytes(b"abc")  # the test vector of FIPS 180
    assert cli.checksum(tmp_path / "abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_provenance_is_json_and_names_versions(tmp_path):
    options = cli.parser("A stage.", seed=True).parse_args(["--seed", "4"])
    content = json.loads(json.dumps(cli.provenance(options, data="abc")))
    assert content["settings"] == {"seed": 4} and content["data"] == "abc"
    assert content["versions"]["numpy"].startswith("2.")


def test_progress_in_a_log_file_is_lines(capsys):
    with cli.progress(total=3, label="work", unit="image") as bar:
        for _ in range(3):
            bar.update()
    lines = capsys.readouterr().err.splitlines()
    assert "work:" in lines[0] and "3/3" in lines[-1] and not any("\r" in line for line in lines)


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
