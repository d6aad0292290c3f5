"""A short soak: a part of the workflow whose jobs, and Snakemake, are killed; `make soak` does it for hours."""

import random
import subprocess
import sys

import pytest
import soak

TARGETS = ["results/smoke/log_likelihood_vae.txt"]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """A finished run."""
    run = soak.Run(tmp_path_factory.mktemp("soak") / "undisturbed", TARGETS)
    assert run.finish() == 0, run.log.read_text()
    return run


@pytest.mark.slow
def test_a_run_that_is_killed_again_and_again_ends_with_the_same_bytes(undisturbed, tmp_path):
    expected = undisturbed.digests()
    assert "results/smoke/log_likelihood_vae.json" in expected and len(expected) > 10
    run = soak.Run(tmp_path / "killed", TARGETS)
    killed = soak.disturb(run, random.Random(1), kills=4, seconds=20)
    assert len(killed) >= 2
    assert list(soak.faults(run, expected)) == []


def test_what_a_run_must_not_leave_is_noticed(tmp_path, monkeypatch):
    monkeypatch.setattr(soak, "PATIENCE", 0.1)
    run = soak.Run(tmp_path / "run")
    (run.folder / "a.json").write_text("1")
    expected = run.digests()
    assert list(soak.faults(run, expected)) == []
    (run.folder / "a.json").write_text("2")
    (run.folder / ".a.json.part").touch()
    (run.temporary / "left").touch()
    (run.folder / ".snakemake" / "locks").mkdir(parents=True)
    (run.folder / ".snakemake" / "locks" / "0.input.lock").touch()
    environment = {soak.MARK: run.mark}
    with subprocess.Popen([sys.executable, "-c", "input()"], env=environment, stdin=subprocess.PIPE) as process:
        found = list(soak.faults(run, expected | {"b.json": ""}))
        process.communicate()
    assert found == [
        ".a.json.part: stray",
        "a.json: other bytes",
        "b.json: missing",
        f"process {process.pid} is alive",
        f"{run.folder / '.snakemake' / 'locks' / '0.input.lock'}: left",
        f"{run.temporary / 'left'}: left",
    ]


def test_times_do_not_count(tmp_path):
    (tmp_path / "history.csv").write_text("epoch,loss,seconds\n1,2.5,9\n")
    (tmp_path / "training.json").write_text('{"seconds": 3, "best": {"loss": 2.5, "images_per_second": 9}}')
    assert soak.steady(tmp_path / "history.csv") == b'[{"epoch": "1", "loss": "2.5"}]'
    assert soak.steady(tmp_path / "training.json") == b'{"best": {"loss": 2.5}}'
