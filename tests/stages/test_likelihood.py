"""estimate_likelihood, summarise_likelihood and sample_binary_vae through their command lines."""

import csv
import json
import statistics

import numpy as np
import pytest
from conftest import succeed
from stage import run_stage


def test_estimates(estimates):
    content = json.loads((estimates / "seed1.json").read_text())
    assert content["k"] == 20 and content["seed"] == 1 and "stand-in" in content["data"]["title"]
    curve = list(csv.DictReader((estimates / "seed1.csv").open()))
    for split in ("valid", "test"):
        numbers = content["splits"][split]
        assert numbers["images"] == 40
        assert -700 < numbers["elbo"]["mean"] < numbers["log_likelihood"]["mean"] < -50
        assert 1 <= numbers["effective_sample_size"]["min"] <= numbers["effective_sample_size"]["mean"] <= 20
        points = {int(row["k"]): float(row["log_likelihood"]) for row in curve if row["split"] == split}
        assert list(points) == [1, 2, 5, 10, 20] and list(points.values()) == sorted(points.values())
        assert points[20] == pytest.approx(numbers["log_likelihood"]["mean"], rel=1e-12)
        # One sample gives the ELBO, but with a sampled KL.
        assert points[1] == pytest.approx(numbers["elbo"]["mean"], abs=3)


def test_the_chunk_does_not_change_the_estimate(estimates, trained_vae, prepared_digits, tmp_path):
    succeed(
        "estimate_likelihood", "--model", trained_vae / "vae.safetensors", "--data", prepared_digits, "--output",
        tmp_path / "chunk.json", "--curve", tmp_path / "chunk.csv", "--samples", 20, "--threads", 1, "--chunk", 37,
    )  # fmt: skip
    one, other = (json.loads((tmp_path / name).read_text())["splits"] for name in ("seed1.json", "chunk.json"))
    for split in one:
        assert one[split]["log_likelihood"]["mean"] == pytest.approx(other[split]["log_likelihood"]["mean"], abs=1e-3)


def test_a_subset_is_random_and_not_a_prefix(trained_vae, prepared_digits, tmp_path):
    means = []
    for seed in (1, 1, 2):
        succeed(
            "estimate_likelihood", "--model", trained_vae / "vae.safetensors", "--data", prepared_digits, "--output",
            tmp_path / "x.json", "--curve", tmp_path / "x.csv", "--samples", 2, "--images", 5,
            "--evaluation-seed", seed,
        )  # fmt: skip
        content = json.loads((tmp_path / "x.json").read_text())
        assert content["splits"]["test"]["images"] == 5
        means.append(content["splits"]["test"]["elbo"]["mean"])
    assert means[0] == means[1] != means[2]


def test_data_other_than_the_model_s_is_refused(trained_vae, prepared_digits, tmp_path):
    folder = tmp_path / "data"
    for split in ("train", "valid", "test"):
        succeed("render_digits", "--output", folder / f"{split}.amat", "--count", 30, "--seed", 7)
    succeed(
        "prepare_binarized_mnist", "--train", folder / "train.amat", "--valid", folder / "valid.amat",
        "--test", folder / "test.amat", "--source", "embedded", "--output", folder / "other.npz",
    )  # fmt: skip
    process = run_stage(
        "estimate_likelihood", "--model", trained_vae / "vae.safetensors", "--data", folder / "other.npz",
        "--output", tmp_path / "x.json", "--curve", tmp_path / "x.csv",
    )  # fmt: skip
    assert process.returncode == 2 and "give the data that it was trained on" in process.stderr.splitlines()[-1]
    assert not (tmp_path / "x.json").exists()


@pytest.mark.parametrize("content", [b"", b"not weights at all, but long enough to hold a header of some kind"])
def test_weights_of_no_use_are_refused(prepared_digits, tmp_path, content):
    (tmp_path / "bad.safetensors").write_bytes(content)
    process = run_stage(
        "estimate_likelihood", "--model", tmp_path / "bad.safetensors", "--data", prepared_digits,
        "--output", tmp_path / "x.json", "--curve", tmp_path / "x.csv",
    )  # fmt: skip
    assert process.returncode == 2 and "bad.safetensors: not a sound safetensors" in process.stderr.splitlines()[-1]


def summarise(folder, *seeds):
    return run_stage(
        "summarise_likelihood", "--estimates", *[folder / f"seed{seed}.json" for seed in seeds],
        "--curves", *[folder / f"seed{seed}.csv" for seed in seeds],
        "--text", folder / "vae.txt", "--json", folder / "vae.json", "--csv", folder / "vae.csv",
    )  # fmt: skip


def test_the_summary_of_one_seed_is_that_seed(estimates):
    assert summarise(estimates, 1).returncode == 0
    single, summary = (json.loads((estimates / name).read_text()) for name in ("seed1.json", "vae.json"))
    for split in ("valid", "test"):
        for name in ("elbo", "log_likelihood"):
            expected = single["splits"][split][name]
            assert summary["splits"][split][name] == {
                "mean": expected["mean"], "sd": None, "values": [expected["mean"]],
                "standard_error": expected["standard_error"],
            }  # fmt: skip
    text = (estimates / "vae.txt").read_text()
    numbers = single["splits"]["test"]["log_likelihood"]
    assert f"{numbers['mean']:.3f} +- {numbers['standard_error']:.3f}" in text
    assert "embedded stand-in" in text.splitlines()[0]


def test_the_summary_of_two_seeds_has_mean_and_deviation(estimates):
    assert summarise(estimates, 1, 2).returncode == 0
    single, summary = (json.loads((estimates / name).read_text()) for name in ("seed1.json", "vae.json"))
    values = [single["splits"]["valid"]["elbo"]["mean"], single["splits"]["valid"]["elbo"]["mean"] - 2.0]
    numbers = summary["splits"]["valid"]["elbo"]
    assert numbers["values"] == values and summary["seeds"] == [1, 2]
    assert numbers["mean"] == pytest.approx(statistics.fmean(values)) and numbers["sd"] == pytest.approx(2**0.5)
    rows = list(csv.DictReader((estimates / "vae.csv").open()))
    assert {row["seed"] for row in rows} == {"1", "2"} and len(rows) == 20
    assert "standard deviation over 2 seeds" in (estimates / "vae.txt").read_text()


def test_estimates_of_different_models_are_not_gathered(estimates):
    other = json.loads((estimates / "seed2.json").read_text()) | {"k": 21}
    (estimates / "seed2.json").write_text(json.dumps(other))
    process = summarise(estimates, 1, 2)
    assert process.returncode == 2 and "its k differs" in process.stderr and not (estimates / "vae.txt").exists()


@pytest.mark.parametrize("content", ["{}", "[]", '{"model": 3}'])
def test_files_that_are_no_estimates_are_refused(estimates, content):
    (estimates / "seed1.json").write_text(content)
    process = summarise(estimates, 1)
    assert process.returncode == 2 and "not those of estimate_likelihood.py" in process.stderr.splitlines()[-1]
    assert not (estimates / "vae.txt").exists()


def test_sampled_images(trained_vae, prepared_digits, tmp_path):
    for name in ("a.npz", "b.npz"):
        succeed(
            "sample_binary_vae", "--model", trained_vae / "vae.safetensors", "--data", prepared_digits,
            "--output", tmp_path / name, "--reconstruct", 6, "--samples", 9, "--threads", 1,
        )  # fmt: skip
    with np.load(tmp_path / "a.npz") as one, np.load(tmp_path / "b.npz") as other:
        assert one["originals"].shape == one["reconstructions"].shape == (6, 28, 28) and one["samples"].shape == (
            9,
            28,
            28,
        )
        assert set(np.unique(one["originals"])) == {0, 1}
        assert one["samples"].min() > 0 and one["samples"].max() < 1 and one["samples"].std() > 0.05
        assert "stand-in" in json.loads(str(one["about"]))["data"]["title"]
        for key in ("originals", "reconstructions", "samples"):
            assert np.array_equal(one[key], other[key])
