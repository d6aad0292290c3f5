"""Each training is killed (SIGKILL) on the device and resumed. Its end is compared with undisturbed runs of two seeds.

All run side by side, each in its own process, like the pipeline's jobs.
"""

import csv
import os
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

from genlab.models import networks
from genlab.training import checkpoint

from . import tasks

SCRIPTS = tasks.ROOT / "workflow" / "scripts"
# Stage, data, the validation number to compare, options.
STAGES = (
    ("train_binary_vae", "binarized_mnist", "valid_elbo", ()),
    ("train_vae", "svhn", "valid_elbo", ("--width", "16")),
    ("train_gan", "svhn", "valid_fid", ("--width", "16", "--critic-width", "16", "--monitor-samples", "400")),
    ("train_classifier", "svhn", "valid_accuracy", ()),
)


def run(options, record):
    folder = options.output / "resume"
    shutil.rmtree(folder, ignore_errors=True)  # a state that an earlier run left would be taken for this one's
    folder.mkdir(parents=True, exist_ok=True)
    data = small_data(folder, 200 if options.quick else 2000)
    weights = folder / "features.safetensors"
    checkpoint.save_tensors(weights, networks.FeatureClassifier().state_dict(), {"source": "random"})
    epochs = "30" if options.quick else "60"
    jobs = {}
    with ThreadPoolExecutor(12) as pool:
        for stage, name, column, more in STAGES:
            more = (*more, "--classifier", weights) if stage == "train_gan" else more
            common = ["--data", data[name], "--epochs", epochs, "--device", options.device, *more]
            common += ["--monitor-epochs", epochs] if stage == "train_gan" else []
            for case, seed in (("undisturbed", 1), ("another seed", 2), ("killed", 1)):
                where = folder / f"{stage}_{case.replace(' ', '_')}"
                jobs[stage, case] = pool.submit(
                    train, stage, where, [*common, "--seed", seed], column, case == "killed"
                )
    for stage, _, column, _ in STAGES:
        ends = {case: jobs[stage, case].result() for case in ("undisturbed", "another seed", "killed")}
        seeds, killed = (abs(ends["undisturbed"][0] - ends[case][0]) for case in ("another seed", "killed"))
        tolerance = max(3 * seeds, 0.02 * abs(ends["undisturbed"][0]))
        record(
            f"{stage}, killed once", number=column, undisturbed=ends["undisturbed"][0],
            another_seed=ends["another seed"][0], killed=ends["killed"][0], resumed=ends["killed"][1],
            tolerances=[tolerance], agrees=ends["killed"][1] and killed <= tolerance,
        )  # fmt: skip


def small_data(folder, count):
    """{name: prepared data} of rendered digits."""
    made = {}
    for name, suffix, splits in (
        ("binarized_mnist", "amat", ("train", "valid", "test")),
        ("svhn", "mat", ("train", "test")),
    ):
        files = []
        for split in splits:
            file = folder / f"{name}_{split}.{suffix}"
            stage("render_digits", "--output", file, "--count", count if split == "train" else count // 4)
            files += [f"--{split}", file]
        made[name] = folder / f"{name}.npz"
        stage(f"prepare_{name}", *files, "--source", "embedded", "--output", made[name])
    return made


def stage(name, *words):
    """Run a stage; raises an error with its last line if it fails."""
    command = [sys.executable, SCRIPTS / f"{name}.py", *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{name}: exit code {done.returncode}: {done.stderr.strip().splitlines()[-1:]}")
    return done


def train(name, folder, words, column, kill):
    """(last value of a column of the history, whether it was killed and resumed) of a training."""
    folder.mkdir(exist_ok=True)
    words = [*map(str, words), "--output", str(folder), "--checkpoint-seconds", "1", "--threads", "1"]
    went_on = False
    if kill:
        with (folder / "killed.log").open("w") as log:
            process = subprocess.Popen([sys.executable, SCRIPTS / f"{name}.py", *words], stderr=log, stdout=log)
            while not list(folder.glob("*.state/checkpoint.safetensors")) and process.poll() is None:
                time.sleep(0.05)
            time.sleep(0.2)
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
    done = stage(name, *words)
    went_on = "resuming at epoch" in done.stderr
    with (folder / "history.csv").open() as file:
        return float([row[column] for row in csv.DictReader(file) if row[column]][-1]), went_on
