"""estimate_likelihood and summarise_likelihood through their command lines."""

import csv
import json
import re
import shutil
import sys

import estimate_likelihood
import numpy as np
import pytest
import summarise_likelihood
import torch
from conftest import succeed
from genlab import InputError, Interrupted, log
from genlab.data import amat, arrays
from genlab.models import gaussian, vae
from stage import run_here, run_stage


@pytest.fixture(scope="module")
def content(estimated):
    return json.loads((estimated / "seed1.json").read_text())


@pytest.fixture(scope="module")
def curve(estimated):
    """The rows of the curves."""
    return list(csv.DictReader((estimated / "seed1.csv").open()))


@pytest.fixture(scope="module", params=["train", "valid", "test"])
def split(request):
    return request.param


@pytest.fixture(scope="module")
def numbers(content, split):
    """The estimates of a split."""
    return content["splits"][split]


def test_the_json_says_what_was_estimated(content):
    assert content["k"] == 20 and content["seed"] == 1 and "stand-in" in content["data"]["title"]


def test_every_split_is_estimated(content):
    assert list(content["splits"]) == ["train", "valid", "test"]


def test_training_images_are_as_many_as_asked_for(split, numbers):
    assert numbers["images"] == (30 if split == "train" else 40)


def test_the_elbo_is_the_lower(numbers):
    assert -700 < numbers["elbo"]["mean"] < numbers["log_likelihood"]["mean"] < -50
    assert numbers["elbo_gap"]["mean"] == pytest.approx(numbers["log_likelihood"]["mean"] - numbers["elbo"]["mean"])


def test_the_gap_is_paired(numbers):  # images differ far more in likelihood than in the gap
    assert 0 < numbers["elbo_gap"]["standard_error"] < 0.5 * numbers["elbo"]["standard_error"]


def test_the_effective_sample_size_is_at_most_k(numbers):
    assert 1 <= numbers["effective_sample_size"]["min"] <= numbers["effective_sample_size"]["mean"] <= 20


def test_20_weights_are_too_few_for_a_shape(numbers):
    assert numbers["pareto_k"] == {"median": None, "share_above_0.7": None}


def test_the_curve_rises_from_the_elbo_to_the_estimate(curve, split, numbers):
    rows = [row for row in curve if row["split"] == split and row["samples"] == "20"]
    points = {int(row["k"]): float(row["log_likelihood"]) for row in rows}
    assert {row["images"] for row in rows} == {str(numbers["images"])}
    assert list(points) == [1, 2, 5, 10, 20] and list(points.values()) == sorted(points.values())
    assert points[20] == pytest.approx(numbers["log_likelihood"]["mean"], rel=1e-12)
    # One sample gives the ELBO, but with a sampled KL.
    assert points[1] == pytest.approx(numbers["elbo"]["mean"], abs=3)


def test_overfitting_is_training_less_test(content):
    train, test = content["splits"]["train"], content["splits"]["test"]
    assert list(content["overfitting"]) == ["elbo", "log_likelihood"]
    for name, gap in content["overfitting"].items():
        assert gap["mean"] == train[name]["mean"] - test[name]["mean"]
        variance = train[name]["standard_error"] ** 2 + test[name]["standard_error"] ** 2
        assert gap["standard_error"] == pytest.approx(variance**0.5)


def beyond_k(curve, split):
    """{k: numbers} of the curve that goes on beyond K."""
    rows = [row for row in curve if row["split"] == split and row["samples"] == "60"]
    assert {row["images"] for row in rows} == {"5"}
    return {int(row["k"]): {key: float(row[key]) for key in row if key != "split"} for row in rows}


def test_only_held_out_images_have_samples_beyond_k(content):
    assert list(content["gain_beyond_k"]) == ["valid", "test"]


@pytest.mark.parametrize("held_out", ["valid", "test"])
def test_the_curve_goes_on_beyond_k_on_a_few_images(content, curve, held_out):
    at = beyond_k(curve, held_out)
    assert list(at) == [1, 2, 5, 10, 20, 50, 60]
    assert at[20]["gain"] == at[20]["gain_standard_error"] == 0 < at[60]["gain"]
    assert content["gain_beyond_k"][held_out] == {
        "k": 60, "images": 5, "mean": at[60]["gain"], "standard_error": at[60]["gain_standard_error"],
    }  # fmt: skip


@pytest.mark.parametrize("held_out", ["valid", "test"])
def test_a_gain_is_paired_with_the_estimate_at_k(curve, held_out):
    at = beyond_k(curve, held_out)
    for row in at.values():
        assert row["gain"] == pytest.approx(row["log_likelihood"] - at[20]["log_likelihood"], abs=1e-9)
        assert row["gain_standard_error"] < row["standard_error"]


def test_the_numbers_of_a_curve_are_paired():
    # Gains over the second column: -1 and -3 of images that lie 100 apart.
    curve = np.array([[-101.0, -100.0], [-3.0, 0.0]])
    first, last = estimate_likelihood.curve_rows({"curve": curve}, None, [1, 4], 4)
    assert first == {
        "k": 1, "log_likelihood": -52.0, "standard_error": pytest.approx(49.0), "gain": -2.0,
        "gain_standard_error": pytest.approx(1.0),
    }  # fmt: skip
    assert (last["k"], last["gain"], last["gain_standard_error"]) == (4, 0.0, 0.0)


def test_the_summary_of_images_counts_shapes_that_could_be_fitted():
    shapes = np.array([0.2, 0.8, 1.0, np.nan, 0.6, 0.9])
    summary = estimate_likelihood.summarise(
        dict.fromkeys(("elbo", "log_likelihood", "elbo_gap", "kl", "effective_sample_size"), np.zeros(6))
        | {"pareto_k": shapes}
    )
    assert summary["pareto_k"] == {"median": 0.8, "share_above_0.7": 0.6}


def test_every_split_is_estimated_on_its_own_images(trained_vae, prepared_digits, tmp_path):
    succeed(
        "estimate_likelihood", "--weights", trained_vae / "model.safetensors", "--data", prepared_digits, "--output",
        tmp_path / "x.json", "--samples", 1, "--curve-images", 0, "--threads", 1,
    )  # fmt: skip
    splits = json.loads((tmp_path / "x.json").read_text())["splits"]
    model, _ = vae.load_binary_vae(trained_vae / "model.safetensors")
    prepared = arrays.load_binarized_mnist(prepared_digits)
    for split, count in (("train", 200), ("valid", 40), ("test", 40)):  # 1000 training images are all of them
        with torch.no_grad():
            posterior = model.posterior(torch.from_numpy(amat.unpack_bits(getattr(prepared, split))).float())
        assert splits[split]["images"] == count
        assert splits[split]["kl"]["mean"] == pytest.approx(gaussian.kl(*posterior).mean().item(), rel=1e-5)


@pytest.fixture(scope="module")
def by_difference(trained_vae, prepared_digits, tmp_path_factory):
    """The JSON, curves and text of estimates in which 15 images of each split get samples."""
    folder = tmp_path_factory.mktemp("difference")
    succeed(
        "estimate_likelihood", "--weights", trained_vae / "model.safetensors", "--data", prepared_digits, "--output",
        folder / "seed1.json", "--samples", 20, "--sampled-images", 15, "--curve-images", 0, "--threads", 1,
    )  # fmt: skip
    assert summarise(folder, 1).returncode == 0
    content = json.loads((folder / "seed1.json").read_text())
    return content, list(csv.DictReader((folder / "seed1.csv").open())), (folder / "vae.txt").read_text()


@pytest.mark.parametrize("name", ["train", "valid", "test"])
def test_a_few_images_with_samples_tell_of_all(by_difference, content, name):
    found, whole = by_difference[0]["splits"][name], content["splits"][name]
    assert found["sampled_images"] == 15 and found["images"] > 15
    if name != "train":  # of which other estimates have another number of images
        assert found["images"] == whole["images"]
        for key in ("elbo", "log_likelihood"):
            assert found[key]["mean"] == pytest.approx(
                whole[key]["mean"], abs=4 * found["elbo_gap"]["standard_error"] + 1
            )
            assert found[key]["standard_error"] < 1.3 * whole[key]["standard_error"]  # 40 / 15 would be 1.6
    gap = found["log_likelihood"]["mean"] - found["elbo"]["mean"]
    assert gap == pytest.approx(found["elbo_gap"]["mean"], abs=1e-9)


def test_the_curve_of_a_few_images_ends_at_the_estimate_of_all(by_difference):
    content, curve, _ = by_difference
    for name, numbers in content["splits"].items():
        (last,) = [row for row in curve if row["split"] == name and row["k"] == "20"]
        assert float(last["log_likelihood"]) == numbers["log_likelihood"]["mean"]
        assert int(last["images"]) == numbers["images"]


def test_the_summary_says_that_it_is_by_difference(by_difference):
    assert "test: K samples for 15 images; the log-likelihood is by difference" in by_difference[2]


def test_more_images_with_samples_than_there_are_change_nothing(trained_vae, prepared_digits, tmp_path):
    words = ["--weights", trained_vae / "model.safetensors", "--data", prepared_digits, "--samples", 5, "--threads", 1]
    found = []
    for number in (0, 500):
        more = ["--sampled-images", number, "--train-images", 0, "--curve-images", 0, "--output", tmp_path / "x.json"]
        succeed("estimate_likelihood", *words, *more)
        found.append(json.loads((tmp_path / "x.json").read_text())["splits"])
    assert found[0] == found[1]


@pytest.fixture(scope="module")
def least(trained_vae, prepared_digits, tmp_path_factory):
    """The JSON and the summary's text of estimates of 30 samples without training images and without more samples."""
    folder = tmp_path_factory.mktemp("least")
    succeed(
        "estimate_likelihood", "--weights", trained_vae / "model.safetensors", "--data", prepared_digits, "--output",
        folder / "seed1.json", "--samples", 30, "--train-images", 0,
        "--curve-samples", 30, "--threads", 1,
    )  # fmt: skip
    assert summarise(folder, 1).returncode == 0
    return json.loads((folder / "seed1.json").read_text()), (folder / "vae.txt").read_text()


def test_what_is_not_asked_for_is_left_out(least):
    content, text = least
    assert list(content["splits"]) == ["valid", "test"] and content["overfitting"] == content["gain_beyond_k"] == {}
    assert "Overfitting" not in text and "instead of" not in text


def test_30_weights_are_enough_for_a_shape(least):
    content, text = least
    shapes = content["splits"]["test"]["pareto_k"]
    assert -1 < shapes["median"] < 5 and 0 <= shapes["share_above_0.7"] <= 1
    assert f"{shapes['median']:.2f}" in text


def test_interrupted_and_run_again_it_ends_with_the_same_numbers(
    trained_vae, prepared_digits, tmp_path, caplog, monkeypatch
):
    monkeypatch.setitem(vae.DRAWN, "cpu", 100)  # five images at a time
    monkeypatch.setattr(sys.modules["__main__"], "__file__", estimate_likelihood.__file__, raising=False)

    def run(name, *more):
        run_here(
            estimate_likelihood, "--weights", trained_vae / "model.safetensors", "--data", prepared_digits, "--output",
            tmp_path / name / "x.json", "--samples", 20, "--threads", 1, "--train-images", 12, "--images", 7,
            "--curve-samples", 50, "--curve-images", 4, *more,
        )  # fmt: skip

    run("whole")
    for _ in range(2):
        with pytest.raises(Interrupted, match="the state is saved"):
            run("parts", "--max-seconds", 1)  # stops after each five images: this process is older than a second
        assert not (tmp_path / "parts" / "x.json").exists()
    with caplog.at_level("INFO", log.name):
        run("parts")
    assert "train, K = 20: resuming after 10 of 12" in caplog.text
    assert not (tmp_path / "parts" / "x.json.state" / "train-20.safetensors").exists()
    whole, parts = (json.loads((tmp_path / name / "x.json").read_text()) for name in ("whole", "parts"))
    assert whole | {"provenance": None} == parts | {"provenance": None}
    assert (tmp_path / "whole" / "x.csv").read_bytes() == (tmp_path / "parts" / "x.csv").read_bytes()


def test_active_latents_are_those_that_depend_on_the_image(content, trained_vae, prepared_digits, monkeypatch):
    model, _ = vae.load_binary_vae(trained_vae / "model.safetensors")
    valid = torch.from_numpy(amat.unpack_bits(arrays.load_binarized_mnist(prepared_digits).valid)).float()
    with torch.no_grad():
        variances = np.var(model.posterior(valid)[0].double().numpy(), 0)
    assert content["active_latents"] == (variances > 0.01).sum() and content["latents"] == len(variances)
    monkeypatch.setattr(vae, "ACTIVE", np.median(variances))
    assert vae.active_latents(model, valid.split(7)) == len(variances) // 2


def test_the_chunk_does_not_change_the_estimate(estimates, trained_vae, prepared_digits, tmp_path):
    succeed(
        "estimate_likelihood", "--weights", trained_vae / "model.safetensors", "--data", prepared_digits, "--output",
        tmp_path / "chunk.json", "--samples", 20, "--threads", 1, "--chunk", 37,
        "--train-images", 30, "--curve-images", 0,
    )  # fmt: skip
    one, other = (json.loads((tmp_path / name).read_text())["splits"] for name in ("seed1.json", "chunk.json"))
    for split in one:
        assert one[split]["log_likelihood"]["mean"] == pytest.approx(other[split]["log_likelihood"]["mean"], abs=1e-3)


def test_a_subset_is_random_and_not_a_prefix(trained_vae, prepared_digits, tmp_path):
    means = []
    for seed in (1, 1, 2):
        succeed(
            "estimate_likelihood", "--weights", trained_vae / "model.safetensors", "--data", prepared_digits,
            "--output", tmp_path / "x.json", "--samples", 2, "--images", 5,
            "--evaluation-seed", seed, "--curve-images", 0, "--threads", 1,
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
    for stage, output in (("estimate_likelihood", "x.json"), ("sample_binary_vae", "x.npz")):
        process = run_stage(
            stage, "--weights", trained_vae / "model.safetensors", "--data", folder / "other.npz",
            "--output", tmp_path / output,
        )  # fmt: skip
        assert process.returncode == 2 and "give the data that it was trained on" in process.stderr.splitlines()[-1]
        assert not (tmp_path / output).exists()


@pytest.mark.parametrize("content", [b"", b"not weights at all, but long enough to hold a header of some kind"])
def test_weights_of_no_use_are_refused(prepared_digits, tmp_path, content):
    (tmp_path / "bad.safetensors").write_bytes(content)
    process = run_stage(
        "estimate_likelihood", "--weights", tmp_path / "bad.safetensors", "--data", prepared_digits,
        "--output", tmp_path / "x.json",
    )  # fmt: skip
    assert process.returncode == 2 and "bad.safetensors: not a sound safetensors" in process.stderr.splitlines()[-1]


def summarise(folder, *seeds):
    return run_stage(
        "summarise_likelihood", "--estimates", *[folder / f"seed{seed}.json" for seed in seeds],
        "--curves", *[folder / f"seed{seed}.csv" for seed in seeds],
        "--output", folder / "vae.txt",
    )  # fmt: skip


def summarised(folder, *seeds):
    """The summary's JSON and text."""
    assert summarise(folder, *seeds).returncode == 0
    return json.loads((folder / "vae.json").read_text()), (folder / "vae.txt").read_text()


@pytest.fixture(scope="module")
def of_one_seed(estimated, tmp_path_factory):
    return summarised(shutil.copytree(estimated, tmp_path_factory.mktemp("one"), dirs_exist_ok=True), 1)


@pytest.fixture(scope="module")
def of_two_seeds(estimated, tmp_path_factory):
    """The folder too."""
    folder = shutil.copytree(estimated, tmp_path_factory.mktemp("two"), dirs_exist_ok=True)
    return *summarised(folder, 1, 2), folder


def test_the_summary_of_one_seed_is_that_seed(content, of_one_seed):
    summary, _ = of_one_seed

    def alone(expected):
        return {
            "mean": expected["mean"], "sd": None, "values": [expected["mean"]],
            "standard_error": expected["standard_error"],
        }  # fmt: skip

    for split in ("train", "valid", "test"):
        for name in ("elbo", "log_likelihood", "elbo_gap"):
            assert summary["splits"][split][name] == alone(content["splits"][split][name])
    assert summary["overfitting"] == {name: alone(gap) for name, gap in content["overfitting"].items()}
    for split, gain in content["gain_beyond_k"].items():
        assert summary["gain_beyond_k"][split] == {"k": 60, "images": 5} | alone(gain)


def test_the_summary_says_how_many_latents_are_active(content, of_one_seed, of_two_seeds):
    active, latents = content["active_latents"], content["latents"]
    for (summary, text, *_), values in ((of_one_seed, [active]), (of_two_seeds, [active] * 2)):
        assert summary["active_latents"] == values and summary["latents"] == latents
        assert f"Active latents: {', '.join(map(str, values))} of {latents}\n" in text


def test_the_text_begins_with_the_data(of_one_seed):
    assert "embedded stand-in" in of_one_seed[1].splitlines()[0]


def test_the_text_of_one_seed_gives_its_errors_over_images(content, of_one_seed):
    _, text = of_one_seed
    numbers = content["splits"]["test"]["log_likelihood"]
    assert f"{numbers['mean']:.3f} +- {numbers['standard_error']:.3f}" in text
    gap, gain = content["overfitting"]["elbo"], content["gain_beyond_k"]["valid"]
    assert f"training less test: ELBO {gap['mean']:.3f} +- {gap['standard_error']:.3f}" in text
    assert (
        f"K = 60 instead of 20 gives {gain['mean']:.3f} +- {gain['standard_error']:.3f} more on 5 valid images" in text
    )


def test_the_summary_of_two_seeds_has_mean_and_deviation(content, of_two_seeds):
    summary, text, _ = of_two_seeds
    first = content["splits"]["valid"]["elbo"]["mean"]
    numbers = summary["splits"]["valid"]["elbo"]
    assert numbers["values"] == [first, first - 2.0] and summary["seeds"] == [1, 2]
    assert numbers["mean"] == pytest.approx(first - 1) and numbers["sd"] == pytest.approx(2**0.5)
    assert "standard deviation over 2 seeds" in text


def test_the_curves_of_all_seeds_stand_in_one_table(of_two_seeds):
    rows = list(csv.DictReader((of_two_seeds[2] / "vae.csv").open()))
    assert {row["seed"] for row in rows} == {"1", "2"} and len(rows) == 2 * (3 * 5 + 2 * 7)


def test_estimates_of_different_models_are_not_gathered(estimates):
    other = json.loads((estimates / "seed2.json").read_text()) | {"k": 21}
    (estimates / "seed2.json").write_text(json.dumps(other))
    process = summarise(estimates, 1, 2)
    assert process.returncode == 2 and "its k differs" in process.stderr and not (estimates / "vae.txt").exists()


def test_estimates_of_different_numbers_of_images_are_not_gathered(estimates):
    other = json.loads((estimates / "seed2.json").read_text())
    other["splits"]["test"]["images"] += 1
    (estimates / "seed2.json").write_text(json.dumps(other))
    process = summarise(estimates, 1, 2)
    assert process.returncode == 2 and "its splits differs" in process.stderr and not (estimates / "vae.txt").exists()


def test_a_seed_that_is_given_twice_is_refused(estimates):
    process = summarise(estimates, 1, 1)
    assert process.returncode == 2 and "the seeds are 1, 1; give one estimate for each seed" in process.stderr
    assert not (estimates / "vae.txt").exists()


@pytest.mark.parametrize("content", ["{}", "[]", '{"model": 3}'])
def test_files_that_are_no_estimates_are_refused(estimates, content):
    (estimates / "seed1.json").write_text(content)
    process = summarise(estimates, 1)
    assert process.returncode == 2 and process.stderr.count("\n") == 1
    assert re.search(r"seed1\.json: '(model|data/title)' is (3|missing); remake it", process.stderr)
    assert not (estimates / "vae.txt").exists()


def here(folder, *seeds):
    """Run summarise_likelihood in this process."""
    out = folder / "out"
    run_here(
        summarise_likelihood, "--estimates", *[folder / f"seed{seed}.json" for seed in seeds],
        "--curves", *[folder / f"seed{seed}.csv" for seed in seeds],
        "--output", out / "vae.txt",
    )  # fmt: skip


def test_parts_that_are_missing_are_named(estimates):
    content, curve = json.loads((estimates / "seed2.json").read_text()), (estimates / "seed2.csv").read_text()
    without = {split: numbers for split, numbers in content["splits"].items() if split != "train"}
    broken = content["splits"] | {"test": content["splits"]["test"] | {"elbo": {"mean": 1.0}}}
    for name, text, message in (
        ("seed2.json", json.dumps(content | {"splits": without}), r"seed2\.json: its splits differs from"),
        ("seed2.json", json.dumps(content | {"splits": broken}), "'splits/test/elbo/standard_error' is missing"),
        ("seed2.csv", curve.replace("gain", "won"), r"seed2\.csv: its columns differ from"),
        ("seed2.csv", curve.splitlines()[0] + "\n", r"seed2\.csv: has no rows"),
        ("seed2.csv", curve + "1,2\n", r"seed2\.csv: has no rows or rows of another length"),
    ):
        before = (estimates / name).read_text()
        (estimates / name).write_text(text)
        with pytest.raises(InputError, match=message):
            here(estimates, 1, 2)
        (estimates / name).write_text(before)
    assert not (estimates / "out").exists()


def test_a_fault_of_the_code_is_not_called_a_fault_of_the_estimates(estimates, monkeypatch):
    monkeypatch.setattr(summarise_likelihood, "table", lambda summary: {}["a fault of ours"])
    with pytest.raises(KeyError, match="a fault of ours"):
        here(estimates, 1, 2)
