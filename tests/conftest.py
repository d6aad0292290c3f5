"""Fixtures that more than one test file needs: small prepared data, and a small trained VAE."""

import json
import os
import shutil
import sys

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before numpy or torch: the tests run side by side
if sys.dont_write_bytecode:  # each of hundreds of processes would compile what it imports
    sys.dont_write_bytecode = False
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

import pytest
import smoke
from stage import run_stage


def succeed(name, *args, **keywords):
    """Run a stage that must succeed; returns the CompletedProcess."""
    process = run_stage(name, *args, **keywords)
    assert process.returncode == 0, process.stderr
    return process


@pytest.fixture(scope="session")
def prepared_digits(tmp_path_factory):
    """binarized_mnist.npz of the embedded stand-in: 200, 40 and 40 images."""
    folder = tmp_path_factory.mktemp("digits")
    for split, count in (("train", 200), ("valid", 40), ("test", 40)):
        succeed("render_digits", "--output", folder / f"binarized_mnist_{split}.amat", "--count", count)
    files = [
        word
        for split in ("train", "valid", "test")
        for word in (f"--{split}", folder / f"binarized_mnist_{split}.amat")
    ]
    succeed("prepare_binarized_mnist", *files, "--source", "embedded", "--output", folder / "binarized_mnist.npz")
    return folder / "binarized_mnist.npz"


@pytest.fixture(scope="session")
def prepared_numbers(tmp_path_factory):
    """svhn.npz of the embedded stand-in: 270, 30 and 100 images."""
    folder = tmp_path_factory.mktemp("numbers")
    for split, count in (("train", 300), ("test", 100)):
        succeed("render_digits", "--output", folder / f"{split}_32x32.mat", "--count", count)
    files = ("--train", folder / "train_32x32.mat", "--test", folder / "test_32x32.mat")
    succeed("prepare_svhn", *files, "--source", "embedded", "--output", folder / "svhn.npz")
    return folder / "svhn.npz"


@pytest.fixture(scope="session")
def trained_vae(prepared_digits, tmp_path_factory):
    """A folder with model.safetensors, history.csv and training.json of a VAE trained for two epochs."""
    folder = tmp_path_factory.mktemp("vae")
    succeed("train_binary_vae", *training_options(prepared_digits, folder))
    return folder


def training_options(data, folder, epochs=2):
    """Options of train_binary_vae for a training of seconds."""
    return [
        "--data", data, "--output", folder, "--epochs", epochs, "--warmup-steps", 5, "--threads", 1, "--device", "cpu",
    ]  # fmt: skip


@pytest.fixture(scope="session")
def estimated(trained_vae, prepared_digits, tmp_path_factory):
    """A folder with the likelihood estimates of two "seeds": seed2 is seed1 with other numbers."""
    folder = tmp_path_factory.mktemp("estimates")
    succeed(
        "estimate_likelihood", "--weights", trained_vae / "model.safetensors", "--data", prepared_digits,
        "--output", folder / "seed1.json", "--samples", 20, "--threads", 1,
        "--train-images", 30, "--curve-samples", 60, "--curve-images", 5,
    )  # fmt: skip
    second = json.loads((folder / "seed1.json").read_text())
    second["seed"] = 2
    for numbers in second["splits"].values():
        for name in ("elbo", "log_likelihood"):
            numbers[name]["mean"] -= 2.0
    (folder / "seed2.json").write_text(json.dumps(second))
    shutil.copy(folder / "seed1.csv", folder / "seed2.csv")
    return folder


@pytest.fixture
def estimates(estimated, tmp_path):
    """A copy of that, to change as one likes."""
    return shutil.copytree(estimated, tmp_path, dirs_exist_ok=True)


@pytest.fixture(scope="session")
def run(tmp_path_factory, worker_id):
    """A directory with a finished run of the smoke configuration; not to be changed."""
    base = tmp_path_factory.getbasetemp()
    base = base if worker_id == "master" else base.parent  # of all test processes of this session
    directory = base / "a run"  # with a space in its name
    with smoke.alone(base / "run.lock"):
        if not (directory / "finished").exists():
            directory.mkdir(exist_ok=True)
            process = smoke.snakemake("all", directory=directory)
            assert process.returncode == 0, process.stdout
            (directory / "finished").touch()
    return directory
