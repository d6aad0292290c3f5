"""train_binary_vae and sample_binary_vae: what they write, resume after SIGKILL, bad input."""

import csv
import json
import subprocess

import numpy as np
import pytest
import torch
from conftest import succeed, training_options
from genlab.models import vae
from genlab.training import checkpoint, optimization
from stage import command, kill_and_resume, run_stage


@pytest.fixture(scope="module")
def rows(trained_vae):
    return list(csv.DictReader((trained_vae / "history.csv").open()))


@pytest.fixture(scope="module")
def summary(trained_vae):
    return json.loads((trained_vae / "training.json").read_text())


def test_the_history_has_a_row_for_each_epoch(rows):
    assert [row["epoch"] for row in rows] == ["1", "2"]


def test_the_elbo_is_the_reconstruction_less_kl(rows):
    for row in rows:
        for split in ("train", "valid"):
            elbo, reconstruction, kl = (float(row[f"{split}_{name}"]) for name in ("elbo", "reconstruction", "kl"))
            assert elbo == pytest.approx(reconstruction - kl) and -700 < elbo < -100 and kl > 0


def test_the_speed_is_measured(rows):
    for row in rows:
        assert float(row["images_per_second"]) > 0


def test_the_best_epoch_is_that_of_the_highest_validation_elbo(rows, summary):
    assert summary["best_epoch"] == int(max(rows, key=lambda row: float(row["valid_elbo"]))["epoch"])


def test_the_summary_says_what_was_trained_on_what(summary):
    assert summary["parameters"] == 938_825
    assert summary["data"]["source"] == "embedded" and "stand-in" in summary["data"]["title"]
    assert summary["settings"]["latents"] == 100 and "torch" in summary["provenance"]["versions"]


def test_a_training_at_one_go_is_one_stretch(summary):
    precision = optimization.precision_name({"precision": "auto"}, torch.device("cpu"))
    assert precision in ("float32", "bfloat16")
    assert summary["stretches"] == [{"epochs": 2, "threads": 1, "precision": precision, "from_step": 0}]


def test_the_weights_say_what_they_are_of(trained_vae, summary):
    _, about = checkpoint.load_tensors(trained_vae / "model.safetensors")
    assert about["seed"] == 1 and about["architecture"] == "suggested" and about["data"] == summary["data"]


@pytest.fixture(scope="module")
def with_flow(prepared_digits, tmp_path_factory):
    """A folder of a training with a learned prior."""
    folder = tmp_path_factory.mktemp("flow")
    succeed("train_binary_vae", *training_options(prepared_digits, folder), "--prior", "flow")
    return folder


def test_a_learned_prior_is_trained_and_kept_with_the_weights(with_flow):
    model, about = vae.load_binary_vae(with_flow / "model.safetensors")
    assert about["prior"] == "flow" and model.prior.learned
    assert all(layer.outer.weight.abs().max() > 1e-4 for layer in model.prior.layers)  # zero before training


def test_estimates_of_a_learned_prior_are_ordered(with_flow, prepared_digits, tmp_path):
    options = ["--samples", 50, "--images", 20, "--train-images", 0, "--curve-images", 0, "--threads", 1]
    words = ["--weights", with_flow / "model.safetensors", "--data", prepared_digits, "--output", tmp_path / "x.json"]
    succeed("estimate_likelihood", *words, *options)
    found = json.loads((tmp_path / "x.json").read_text())["splits"]["test"]
    assert found["elbo"]["mean"] < found["log_likelihood"]["mean"] < 0 < found["kl"]["mean"]


def test_killed_halfway_and_run_again_it_ends_with_the_same_bytes(prepared_digits, tmp_path):
    undisturbed, killed = tmp_path / "undisturbed", tmp_path / "killed"
    succeed("train_binary_vae", *training_options(prepared_digits, undisturbed, epochs=15))
    options = training_options(prepared_digits, killed, epochs=15)
    kill_and_resume("train_binary_vae", *options, "--checkpoint-seconds", 1)
    assert (killed / "model.safetensors").read_bytes() == (undisturbed / "model.safetensors").read_bytes()


def test_sigterm_saves_and_exits_with_its_own_code(prepared_digits, tmp_path):
    words = command("train_binary_vae", *training_options(prepared_digits, tmp_path, 500))
    process = subprocess.Popen(words, stderr=subprocess.PIPE, text=True)
    for line in process.stderr:
        if "step" in line:  # training has begun
            break
    process.terminate()
    _, error = process.communicate(timeout=60)
    assert process.returncode == 75 and error.splitlines()[-1].startswith(
        "train_binary_vae.py: interrupted: by SIGTERM"
    )
    assert (tmp_path / "model.safetensors.state" / "checkpoint.safetensors").exists()


@pytest.mark.parametrize(
    "change, message",
    [
        (["--data", "missing.npz"], "missing.npz"),
        (["--data", __file__], "test_train_binary_vae.py"),
        (["--epochs", "0"], "0 is out of range; give 1 or more"),
        (["--learning-rate", "-1"], "give more than 0"),
        (["--average-decay", "nan"], "nan"),
        (["--architecture", "huge"], "'huge' is unknown; Encoder and decoder; suggested is the assignment's"),
        (["--seed", "-1"], "-1 is negative"),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(prepared_digits, tmp_path, change, message):
    process = run_stage("train_binary_vae", *training_options(prepared_digits, tmp_path / "out"), *change)
    assert process.returncode == 2, process.stderr
    assert message in process.stderr.splitlines()[-1] and "Traceback" not in process.stderr
    assert not (tmp_path / "out").exists()


def test_a_diverging_training_says_so_and_writes_no_results(prepared_digits, tmp_path):
    process = run_stage(
        "train_binary_vae", *training_options(prepared_digits, tmp_path), "--learning-rate", "1e20",
        "--optimizer", "sgd", "--warmup-steps", 0,
    )  # fmt: skip
    assert process.returncode == 1
    assert "stopped being finite" in process.stderr.splitlines()[-1] and "lower learning_rate" in process.stderr
    assert not (tmp_path / "model.safetensors").exists() and not (tmp_path / "history.csv").exists()


@pytest.fixture(scope="module")
def sampled(trained_vae, prepared_digits, tmp_path_factory):
    """What sample_binary_vae writes, twice."""
    folder = tmp_path_factory.mktemp("sampled")
    for name, fresh in (("a.npz", False), ("b.npz", True)):
        succeed(
            "sample_binary_vae", "--weights", trained_vae / "model.safetensors", "--data", prepared_digits,
            "--output", folder / name, "--reconstructions", 6, "--count", 9, "--threads", 1, fresh=fresh,
        )  # fmt: skip
    return [dict(np.load(folder / name)) for name in ("a.npz", "b.npz")]


def test_originals_are_bits_with_as_many_reconstructions(sampled):
    one, _ = sampled
    assert one["originals"].shape == one["reconstructions"].shape == (6, 28, 28)
    assert set(np.unique(one["originals"])) == {0, 1}


def test_samples_are_probabilities(sampled):
    samples = sampled[0]["samples"]
    assert samples.shape == (9, 28, 28)
    assert samples.min() > 0 and samples.max() < 1 and samples.std() > 0.05


def test_sampled_images_name_their_data(sampled):
    assert "stand-in" in json.loads(str(sampled[0]["about"]))["data"]["title"]


def test_sampling_again_gives_the_same_images(sampled):
    one, other = sampled
    for key in ("originals", "reconstructions", "samples"):
        assert np.array_equal(one[key], other[key])
