import json

import evaluate_samples
import numpy as np
import pandas as pd
import pytest
import torch
from conftest import succeed
from genlab import InputError, files
from genlab.data import arrays, images
from genlab.measures import image_statistics
from genlab.models import networks
from safetensors.torch import save_file
from scipy.spatial import distance
from stage import run_here, run_stage

ABOUT = {"dataset": "SVHN", "source": "embedded", "title": "embedded stand-in for SVHN"}
MEASURES = {
    *("sharpness", "high_frequency_power", "pixel_distance", "feature_distance", "pixel_nearest"),
    *("feature_nearest", "class_entropy", "class_divergence", "top_probability"),
}


def smooth_and_grainy(count, seed):
    """Images uint8 (count, 3, 32, 32): a random plain colour with a little grain."""
    rng = np.random.default_rng(seed)
    colour = rng.integers(20, 230, (count, 3, 1, 1))
    return (colour + rng.integers(-10, 11, (count, 3, 32, 32))).astype(np.uint8)


def weights():
    """Random weights of a feature classifier, always the same."""
    torch.manual_seed(1)
    return {name: value.contiguous() for name, value in networks.FeatureClassifier().state_dict().items()}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """svhn.npz with 75 training and 30 test images, a classifier, and samples: copies of test images, twice each."""
    folder = tmp_path_factory.mktemp("evaluate")
    fields = {}
    for number, (split, count) in enumerate((("train", 75), ("valid", 5), ("test", 30))):
        fields[f"{split}_images"] = smooth_and_grainy(count, number)
        fields[f"{split}_labels"] = np.zeros(count, np.uint8)
    arrays.write(folder / "svhn.npz", ABOUT, **fields)
    save_file(weights(), folder / "classifier.safetensors")
    images.write_directory(folder / "copies", np.repeat(fields["test_images"][:10], 2, axis=0))
    images.write_directory(folder / "many", smooth_and_grainy(50, 9))
    return folder


def arguments(folder, out, samples="copies", **changes):
    options = {
        "samples": folder / samples,
        "data": folder / "svhn.npz",
        "classifier": folder / "classifier.safetensors",
        "name": "copier",
        "output": out,
        "floor-draws": 3,
        "threads": 1,
        "device": "cpu",
    }
    return [word for key, value in (options | changes).items() for word in (f"--{key}", value)]


@pytest.fixture(scope="module")
def evaluated(folder, tmp_path_factory):
    """The folder, the folder of the outputs, and the parsed JSON, of the samples that are copies of test images."""
    out = tmp_path_factory.mktemp("out")
    succeed("evaluate_samples", *arguments(folder, out))
    return folder, out, json.loads((out / "statistics.json").read_text())


def test_the_json_is_complete_and_traceable(evaluated):
    folder, _, result = evaluated
    assert result["data"] == ABOUT and result["model"] == "copier" and result["seed"] == 1
    assert (result["images"], result["available"], result["draws"]) == (20, 20, 3)
    for part in ("samples", "train", "test"):
        assert set(result[part]) == {*MEASURES, "class_shares"}
        assert sum(result[part]["class_shares"]) == pytest.approx(1)
    assert result["provenance"]["settings"]["name"] == "copier"
    assert result["provenance"]["classifier"]["sha256"] == files.checksum(folder / "classifier.safetensors")


def test_values_are_those_of_the_images(evaluated):
    folder, _, result = evaluated
    samples = np.concatenate(list(images.read_directory(folder / "copies")[1]))
    part = result["samples"]
    sharpness = image_statistics.sharpness(samples)
    assert part["sharpness"]["value"] == pytest.approx(sharpness.mean())
    assert part["sharpness"]["standard_error"] == pytest.approx(sharpness.std(ddof=1) / 20**0.5)
    ratio = sharpness.mean() / result["test"]["sharpness"]["value"]
    assert part["sharpness"]["ratio_to_test"] == pytest.approx(ratio)
    pixels = samples.reshape(20, -1).astype(float)
    pairs = distance.pdist(pixels)
    assert part["pixel_distance"]["value"] == pytest.approx(pairs.mean() / 3072**0.5)
    # The error of a mean over pairs, from the closed form of a U-statistic's first-order variance.
    rows = distance.squareform(pairs).sum(1) / 19 / 3072**0.5
    assert part["pixel_distance"]["standard_error"] == pytest.approx(2 * rows.std(ddof=1) / 20**0.5)
    assert part["pixel_nearest"]["value"] == pytest.approx(0, abs=1e-4)  # every sample is there twice
    assert part["feature_nearest"]["value"] == pytest.approx(0, abs=1e-4)
    network = networks.FeatureClassifier().eval()
    network.load_state_dict(weights())
    with torch.no_grad():
        features = network.features(images.to_model(torch.from_numpy(samples)))
        probabilities = network.mlp(features).softmax(1)
    assert part["feature_distance"]["value"] == pytest.approx(distance.pdist(features).mean(), rel=1e-5)
    assert part["top_probability"]["value"] == pytest.approx(float(probabilities.amax(1).mean()), rel=1e-5)
    counts = np.bincount(probabilities.argmax(1), minlength=10)
    np.testing.assert_allclose(part["class_shares"], counts / 20)
    assert part["class_entropy"]["value"] == pytest.approx(image_statistics.entropy(counts / 20))


def test_training_images_give_the_noise_floor(evaluated):
    folder, _, result = evaluated
    assert result["test"]["class_divergence"]["value"] == 0
    assert result["test"]["sharpness"]["ratio_to_test"] == 1
    train = arrays.load_svhn(folder / "svhn.npz").train_images
    for name in MEASURES:
        assert set(result["train"][name]) - {"ratio_to_test"} == {"value", "sd"}
    # Three disjoint sets of 20 of the 75: their mean is close to that of all, and they do differ.
    floor = result["train"]["sharpness"]
    every = image_statistics.sharpness(train)
    assert floor["sd"] > 0
    assert floor["value"] == pytest.approx(every.mean(), abs=3 * every.std() / 60**0.5)
    assert result["train"]["pixel_nearest"]["value"] > 5  # no image is there twice


def test_the_spectra_are_those_of_the_images(evaluated):
    folder, out, result = evaluated
    table = pd.read_csv(out / "spectrum.csv")
    assert list(table) == ["frequency", "samples", "samples_error", "test", "test_error", "train", "train_sd"]
    frequencies, power = image_statistics.power_spectrum(
        np.concatenate(list(images.read_directory(folder / "copies")[1]))
    )
    np.testing.assert_allclose(table["frequency"], frequencies)
    np.testing.assert_allclose(table["samples"], power.mean(0))
    np.testing.assert_allclose(table["samples_error"], power.std(0, ddof=1) / 20**0.5)
    high = image_statistics.high_frequency_power(frequencies, table[["samples", "test"]].to_numpy().T)
    for part, value in zip(("samples", "test"), high, strict=True):
        assert result[part]["high_frequency_power"]["value"] == pytest.approx(value)
    # Grain of 21 equally likely values, weighted by the squares of Rec. 601: a flat spectrum.
    grain = (21**2 - 1) / 12 * (0.299**2 + 0.587**2 + 0.114**2)
    np.testing.assert_allclose(table["train"][3:], grain, rtol=0.25)


def test_same_seed_same_bytes_and_sets_no_larger_than_the_test_images(folder, tmp_path):
    results = []
    for run in ("one", "two"):
        run_here(evaluate_samples, *arguments(folder, tmp_path / run, "many", **{"floor-draws": 10}))
        results.append(json.loads((tmp_path / run / "statistics.json").read_text()) | {"provenance": None})
    assert results[0] == results[1]
    assert (results[0]["images"], results[0]["available"], results[0]["draws"]) == (30, 50, 2)


def test_bad_input_is_one_line_and_exit_code_2(folder, tmp_path):
    result = run_stage("evaluate_samples", *arguments(folder, tmp_path / "out", "nowhere"))
    assert result.returncode == 2
    assert result.stderr.startswith("evaluate_samples.py: error: ") and result.stderr.count("\n") == 1
    assert "nowhere: " in result.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data": "classifier.safetensors"}, r"classifier\.safetensors: not a prepared SVHN file"),
        ({"classifier": "svhn.npz"}, r"svhn\.npz: "),
        ({"samples": "single"}, "single: 1 samples, 30 test and 75 training images; expected 2, 2 and 4 or more"),
        ({"floor-draws": 1}, "--floor-draws 1: a spread needs two sets"),
    ],
)
def test_refuses(folder, tmp_path, changes, message):
    images.write_directory(folder / "single", smooth_and_grainy(1, 1))
    changes = {name: folder / value if isinstance(value, str) else value for name, value in changes.items()}
    with pytest.raises(InputError, match=message):
        run_here(evaluate_samples, *arguments(folder, tmp_path / "out", **changes))
    assert not (tmp_path / "out").exists()
