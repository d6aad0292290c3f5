"""What a person sees in a terminal: the logger plugin in workflow/terminal, fed with Snakemake's events."""

import io
import logging
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from rich.console import Console
from snakemake_interface_logger_plugins.common import LogEvent

TERMINAL = Path(__file__).parents[2] / "workflow" / "terminal"


@pytest.fixture
def plugin(monkeypatch):
    monkeypatch.syspath_prepend(str(TERMINAL))
    import snakemake_logger_plugin_genlab

    yield snakemake_logger_plugin_genlab
    del sys.modules["snakemake_logger_plugin_genlab"]


@pytest.fixture
def clock(plugin, monkeypatch):
    """The plugin's clock, set by hand."""
    now = SimpleNamespace(seconds=100.0)
    monkeypatch.setattr(plugin.time, "monotonic", lambda: now.seconds)
    return now


@pytest.fixture
def handler(plugin, clock):
    """A handler of a run of two trainings and a figure on two cores, which prints into `printed`."""
    handler = plugin.LogHandler(SimpleNamespace(dryrun=False), None)
    handler.console = Console(file=io.StringIO(), width=120, highlight=False)
    send(handler, LogEvent.RESOURCES_INFO, cores=2)
    send(handler, LogEvent.RUN_INFO, stats={"train_gan": 2, "plot_fid": 1, "all": 1, "total": 4})
    return handler


def send(handler, event, message="", level=logging.INFO, **fields):
    record = logging.LogRecord("snakemake", level, "", 0, message, (), None)
    record.__dict__.update(fields, event=event)
    handler.emit(record)


def start(handler, number, rule="train_gan", log=None, benchmark=None, **wildcards):
    send(
        handler, LogEvent.JOB_INFO, jobid=number, rule_name=rule, wildcards=wildcards,
        log=[log] if log else [], benchmark=[benchmark] if benchmark else [],
    )  # fmt: skip


def printed(handler):
    return handler.console.file.getvalue()


def redrawn(handler):
    console = Console(file=io.StringIO(), width=120)
    console.print(handler.picture())
    return [line.strip() for line in console.file.getvalue().splitlines()]


def test_a_finished_job_is_one_line_with_its_time(handler, clock):
    start(handler, 7, model="gan", seed="1")
    clock.seconds += 150
    send(handler, LogEvent.JOB_FINISHED, job_id=7)
    assert printed(handler) == "\N{CHECK MARK} train_gan gan 1 2 min\n"
    assert not any("train_gan" in line for line in redrawn(handler))


TRAINING = """\
05:00:00 INFO gan: 28656 parameters, on 1080 images, device cpu, 1 threads
training:   0%|                 | 0/140 [00:00<?, ?step/s]
05:00:10 INFO epoch 1, step 20, train_critic_loss 7.5, valid_fid 1378.02, seconds 1.65
training:  50%|████████         | 70/140 [02:00<01:40, 1.2step/s]
05:00:20 INFO epoch 3, step 60, train_critic_loss 9.8, valid_fid 1207.16, seconds 3.01
"""


def test_a_training_says_its_epoch_and_its_main_number(handler, clock, tmp_path):
    (tmp_path / "log").write_text(TRAINING)
    start(handler, 1, log=tmp_path / "log", model="gan", seed="2")
    clock.seconds += 20
    assert redrawn(handler)[0] == "train_gan gan 2  20 s  epoch 3 of 7, 50%, 2 min left, validation FID 1,207"


@pytest.mark.parametrize(
    "text", ["", "sampling: 100 images\n", "\xff\xfe 12%| broken", "INFO epoch 3, step 0, valid_fid x"]
)
def test_any_log_will_do(handler, tmp_path, text):
    (tmp_path / "log").write_bytes(text.encode("latin-1"))
    start(handler, 1, log=tmp_path / "log")
    start(handler, 2, log=tmp_path / "missing")
    assert redrawn(handler)[0].startswith("train_gan")


def test_the_time_left_is_that_of_running_and_waiting_jobs(handler, clock, tmp_path):
    (tmp_path / "log").write_text(TRAINING)
    start(handler, 1, log=tmp_path / "log")
    clock.seconds += 20  # of 120 expected: 100 s left, by its log; as long for the one that waits; a figure is unknown
    assert redrawn(handler)[-1].endswith("0 of 4 jobs, 20 s; at least 2 min left")
    assert handler.left() == ((100 + 120) / 2, False)
    handler.known["plot_fid"] = [4.0, 6.0]
    assert handler.left() == ((100 + 120 + 5) / 2, True)
    handler.waiting["train_gan"] = 0
    assert handler.left() == (100.0, True)  # not less than the longest job


def test_times_of_an_earlier_run_are_read_from_its_benchmarks(handler, clock, tmp_path):
    folder = tmp_path / "results" / "benchmarks"
    (folder / "train_gan").mkdir(parents=True)
    (folder / "train_gan" / "gan_seed1.tsv").write_text("s\th:m:s\n300.5\t0:05:00\n")
    (folder / "plot_fid.tsv").write_text("s\th:m:s\n8\t0:00:08\n")
    (folder / "odd.tsv").write_text("no benchmark")
    start(handler, 1, benchmark=folder / "train_gan" / "gan_seed2.tsv")
    clock.seconds += 100
    assert handler.left() == ((200.5 + 300.5 + 8) / 2, True)


def test_a_failed_job_shows_the_end_of_its_log(handler, tmp_path):
    (tmp_path / "log").write_text("\n".join(f"line {number}" for number in range(20)) + "\nerror: no [room]\n")
    start(handler, 1, log=tmp_path / "log", model="gan", seed="1")
    send(handler, LogEvent.JOB_ERROR, jobid=1)
    lines = printed(handler).splitlines()
    assert lines[0] == "\N{BALLOT X} train_gan gan 1 failed" and lines[-2] == "    error: no [room]"
    assert lines[-1] == f"    its log: {tmp_path / 'log'}" and "line 12" not in printed(handler)


def test_warnings_and_errors_are_passed_on_and_chatter_is_not(handler):
    send(handler, None, "Select jobs to execute...")
    send(handler, None, "Nothing to be done (all requested files are present and up to date).")
    send(handler, None, "disk is nearly full", logging.WARNING)
    send(handler, LogEvent.ERROR, "WorkflowError: [odd", logging.ERROR)
    assert printed(handler).splitlines() == [
        "Nothing to be done (all requested files are present and up to date).",
        "disk is nearly full", "WorkflowError: [odd",
    ]  # fmt: skip


def test_a_dry_run_counts_the_jobs(plugin):
    handler = plugin.LogHandler(SimpleNamespace(dryrun=True), None)
    handler.console = Console(file=io.StringIO(), width=120)
    send(handler, LogEvent.RUN_INFO, stats={"plot_fid": 1, "total": 1})
    start(handler, 1, "plot_fid")
    assert printed(handler).splitlines() == ["     1 plot_fid", "     1 total"] and not handler.jobs


def test_snakemake_finds_it_and_without_a_terminal_prints_plain_lines(tmp_path):
    import os
    import subprocess

    (tmp_path / "Snakefile").write_text('rule x:\n    output: "x.txt"\n    log: "x.log"\n    shell: "touch {output}"\n')
    command = [sys.executable, "-m", "snakemake", "--logger", "genlab", "--cores", "1", "x.txt"]
    environment = os.environ | {"PYTHONPATH": str(TERMINAL), "COLUMNS": "200"}
    process = subprocess.run(command, cwd=tmp_path, env=environment, text=True, capture_output=True)
    assert process.returncode == 0, process.stderr
    assert "\N{CHECK MARK} x 0 s\n" in process.stderr or "\N{CHECK MARK} x 1 s\n" in process.stderr
    assert "\x1b[" not in process.stderr and "0 of 1 jobs" not in process.stderr
