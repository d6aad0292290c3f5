"""The workflow on a real Slurm, through profiles/slurm and profiles/cluster-generic. Started by tests/slurm/run.sh.

The node there has four processors, 16 GB and two GPUs, or says so. Trainings are made long enough to be
interrupted by timing one epoch first.
"""

import math
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas
import pytest
from stage import command

ROOT = Path(__file__).parents[2]
SMOKE = ROOT / "config" / "smoke.yaml"
SEED = Path("results/smoke/runs/binary_vae/seed1")
LOG = Path("results/smoke/logs/train_binary_vae/vae_seed1.log")

pytestmark = pytest.mark.skipif("GENLAB_SLURM" not in os.environ, reason="needs a Slurm of its own: make test-slurm")


def words(directory, *more, profile="slurm", config=None):
    """A command line of Snakemake through a profile, asking after its jobs more often than that says."""
    hurry = {"slurm": ["--slurm-init-seconds-before-status-checks", "3"], "cluster-generic": []}[profile]
    line = [sys.executable, "-m", "snakemake", *more, "--snakefile", ROOT / "Snakefile", "--directory", directory]
    line += ["--profile", ROOT / "profiles" / profile, *hurry, "--seconds-between-status-checks", "2"]
    line += ["--latency-wait", "10", "--configfile", SMOKE, *(["--config", config] if config else [])]
    return [*map(str, line)]


def snakemake(directory, *more, **keywords):
    """Run it to the end; output as text."""
    return subprocess.run(
        words(directory, *more, **keywords), cwd=directory, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )


@pytest.fixture
def slurm_jobs():
    """A function that returns the jobs that Slurm got since the test began, oldest first, as dicts."""
    fields = {"id": "%A", "state": "%T", "memory": "%m", "limit": "%l", "reason": "%r", "comment": "%k"}

    def jobs():
        line = ["squeue", "--states=all", "--noheader", "--format=" + "|".join(fields.values())]
        output = subprocess.run(line, text=True, capture_output=True, check=True).stdout
        found = [dict(zip(fields, row.split("|"), strict=True)) for row in output.splitlines()]
        return sorted((job for job in found if int(job["id"]) > before), key=lambda job: int(job["id"]))

    before = 0
    before = max((int(job["id"]) for job in jobs()), default=0)
    return jobs


def trainings():
    """{process: its environment} of the trainings of a binary VAE that run on this machine."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            line = (folder / "cmdline").read_text().split("\0")
            if len(line) > 1 and line[1].endswith("/train_binary_vae.py"):
                variables = (folder / "environ").read_text().split("\0")
                found[int(folder.name)] = dict(item.split("=", 1) for item in variables if "=" in item)
        except OSError:  # gone
            continue
    return found


def until(condition, process, seconds=120):
    """Wait until condition() is true, and return it, while `process` runs."""
    deadline = time.monotonic() + seconds
    while not (result := condition()):
        assert process.poll() is None and time.monotonic() < deadline, f"{condition.__name__}: not in {seconds} s"
        time.sleep(0.2)
    return result


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A folder with a finished run of the smoke configuration, every job of it a Slurm job; and what was printed."""
    directory = tmp_path_factory.mktemp("a run")  # with a space in its name
    process = snakemake(directory, "all")
    assert process.returncode == 0, process.stdout
    return directory, process.stdout


@pytest.fixture
def directory(finished, tmp_path):
    """A copy of that folder, to go on in; its trainings start afresh."""
    return shutil.copytree(finished[0], tmp_path / "run", ignore=shutil.ignore_patterns("*.state"))


@pytest.fixture(scope="module")
def epochs(finished, tmp_path_factory):
    """A function: how many epochs a training of so many seconds has, as a setting of the configuration."""
    folder = tmp_path_factory.mktemp("timing")
    data = finished[0] / "resources/smoke/prepared/embedded/binarized_mnist.npz"
    settings = ("--epochs", 40, "--threads", 1, "--device", "cpu")
    subprocess.run([*map(str, command("train_binary_vae", "--data", data, "--output", folder, *settings))], check=True)
    seconds = pandas.read_csv(folder / "history.csv")["seconds"]
    epoch = (seconds.iloc[-1] - seconds.iloc[9]) / 30
    return lambda wanted: f"likelihood={{'models': {{'vae': {{'epochs': {math.ceil(wanted / epoch)}}}}}}}"


def count(config):
    return int(re.search(r"'epochs': (\d+)", config)[1])


def test_the_smoke_workflow_end_to_end(finished):
    directory, output = finished
    steps = int(re.search(r"(\d+) of \1 steps \(100%\) done", output)[1])
    assert output.count("has been submitted with SLURM jobid") == steps - 1  # all but the target rule
    assert (directory / "results/smoke/summary.csv").stat().st_size > 0
    assert (directory / "results/smoke/figures/summary.png").stat().st_size > 0
    # Neither the profile's resources nor the executor is a reason to run anything again.
    line = words(directory, "all", "--dry-run")
    assert "Nothing to be done" in subprocess.run(line, text=True, capture_output=True, cwd=directory).stdout
    local = [sys.executable, "-m", "snakemake", "all", "--dry-run", "--snakefile", ROOT / "Snakefile"]
    process = subprocess.run(
        [*map(str, local), "--cores", "1", "--configfile", SMOKE], text=True, capture_output=True, cwd=directory
    )
    assert "Nothing to be done" in process.stdout, process.stdout + process.stderr


def test_a_training_that_slurm_ends_at_its_time_limit_goes_on(directory, epochs, slurm_jobs):
    config = epochs(80)  # seconds, and one minute is the limit
    process = snakemake(
        directory, SEED / "model.safetensors", "--default-resources", "slurm_partition=main",  # no spare_seconds
        "--set-resources", "train_binary_vae:runtime=1", "--retries", "6", config=config,
    )  # fmt: skip
    assert process.returncode == 0, process.stdout
    states = [job["state"] for job in slurm_jobs()]
    assert states[-1] == "COMPLETED" and len(states) > 1 and set(states[:-1]) == {"TIMEOUT"}
    log = (directory / LOG).read_text()
    assert "resuming at epoch" in log and "afresh" not in log
    assert len(pandas.read_csv(directory / SEED / "history.csv")) == count(config)


def test_a_training_stops_before_its_time_limit_and_goes_on_through_cluster_generic(directory, epochs, slurm_jobs):
    config = epochs(40)  # seconds; 30 of each minute are kept free
    process = snakemake(
        directory, SEED / "model.safetensors", "--default-resources", "gpu=0", "spare_seconds=30",
        "--set-resources", "train_binary_vae:runtime=1", "--retries", "6",
        config=config, profile="cluster-generic",
    )  # fmt: skip
    assert process.returncode == 0, process.stdout
    states = [job["state"] for job in slurm_jobs()]
    assert states[-1] == "COMPLETED" and len(states) > 1 and set(states[:-1]) == {"FAILED"}
    assert "resuming at epoch" in (directory / LOG).read_text()
    assert len(pandas.read_csv(directory / SEED / "history.csv")) == count(config)


def test_cluster_generic_runs_from_raw_data_to_the_log_likelihood(tmp_path, slurm_jobs):
    process = snakemake(tmp_path, "results/smoke/log_likelihood_vae.txt", profile="cluster-generic")
    assert process.returncode == 0, process.stdout
    assert [job["state"] for job in slurm_jobs()] == ["COMPLETED"] * 7
    assert (tmp_path / "results/smoke/log_likelihood_vae.txt").read_text().startswith("vae on embedded stand-in")


@pytest.mark.parametrize("profile", ["slurm", "cluster-generic"])
def test_a_failing_job_is_tried_four_times_with_more_memory_and_time(tmp_path, slurm_jobs, profile):
    (tmp_path / "broken.safetensors").write_text("broken")
    process = snakemake(
        tmp_path, "results/smoke/classifier/imported.safetensors",
        profile=profile, config="images={'feature_weights': 'broken.safetensors'}",
    )  # fmt: skip
    assert process.returncode == 1
    jobs = slurm_jobs()
    assert [job["state"] for job in jobs] == ["FAILED"] * 4
    assert [job["memory"] for job in jobs] == ["1000M", "2000M", "3000M", "4000M"]
    assert [job["limit"] for job in jobs] == ["10:00", "20:00", "30:00", "40:00"]
    assert "broken.safetensors: " in process.stdout  # the job's log is shown


def test_two_trainings_share_two_gpus_and_a_third_waits(directory, epochs, slurm_jobs):
    config = epochs(25)
    targets = [f"results/smoke/runs/binary_vae/seed{seed}/model.safetensors" for seed in (1, 2, 3)]
    line = words(directory, *targets, "--set-resources", "train_binary_vae:gpu=1", config=config)
    line += ["seeds=[1,2,3]"]
    with open(directory / "output", "w") as output:
        process = subprocess.Popen(line, cwd=directory, stdout=output, stderr=subprocess.STDOUT)

        def two_run():
            return len(trainings()) == 2 and len(slurm_jobs()) == 3

        until(two_run, process)
        assert sorted(environment["CUDA_VISIBLE_DEVICES"] for environment in trainings().values()) == ["0", "1"]
        assert [job["state"] for job in slurm_jobs()] == ["RUNNING", "RUNNING", "PENDING"]
        assert slurm_jobs()[-1]["reason"] == "Resources"
        most = 0
        while process.poll() is None:
            most = max(most, len(trainings()))
            time.sleep(0.2)
    assert process.returncode == 0, (directory / "output").read_text()
    assert most == 2 and [job["state"] for job in slurm_jobs()] == ["COMPLETED"] * 3


@pytest.mark.parametrize("memory", [3000, 15000], ids=["beside it", "after it"])  # of 16000, of which it has 3000
def test_a_training_that_a_killed_head_process_left_behind_is_not_repeated(directory, epochs, slurm_jobs, memory):
    config = epochs(60)
    line = words(directory, SEED / "model.safetensors", config=config)
    head = subprocess.Popen(line, cwd=directory, stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT)
    checkpoint = directory / SEED / "model.safetensors.state" / "checkpoint.safetensors"
    until(checkpoint.exists, head)
    head.send_signal(signal.SIGKILL)
    head.wait()
    assert snakemake(directory, "--unlock").returncode == 0
    assert [job["state"] for job in slurm_jobs()] == ["RUNNING"]  # the job does not notice
    process = snakemake(
        directory, SEED / "model.safetensors", "--set-resources", f"train_binary_vae:mem_mb={memory}", config=config
    )
    assert process.returncode == 0, process.stdout
    assert [job["state"] for job in slurm_jobs()] == ["COMPLETED"] * 2
    log = (directory / LOG).read_text()  # of the second job, which took the result of the first
    assert ("another training uses this state; waiting for it to end" in log) == (memory == 3000), log
    assert f"resuming at epoch {count(config) + 1}, step 0" in log and "train_elbo" not in log
    assert len(pandas.read_csv(directory / SEED / "history.csv")) == count(config)


def test_small_jobs_are_grouped(tmp_path, slurm_jobs):
    process = snakemake(
        tmp_path, "resources/smoke/prepared/embedded/binarized_mnist.npz", "resources/smoke/prepared/embedded/svhn.npz",
        "--groups", "render_digits=raw", "--group-components", "raw=3",
    )  # fmt: skip
    assert process.returncode == 0, process.stdout
    rules = sorted(job["comment"] for job in slurm_jobs())
    assert rules == ["rule_prepare_binarized_mnist", "rule_prepare_svhn", *["rule_raw_render_digits"] * 2]
    assert {job["state"] for job in slurm_jobs()} == {"COMPLETED"}
