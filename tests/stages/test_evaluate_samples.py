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


def test_the_json_says_what_it_rests_on(evaluated):
    folder, _, result = evaluated
    assert result["data"] == ABOUT and result["model"] == "copier" and result["seed"] == 1
    assert result["provenance"]["settings"]["name"] == "copier"
    assert result["provenance"]["classifier"]["sha256"] == files.checksum(folder / "classifier.safetensors")


def test_every_sample_is_measured(evaluated):
    result = evaluated[2]
    assert (result["images"], result["available"], result["draws"]) == (20, 20, 3)


@pytest.mark.parametrize("part", ["samples", "train", "test"])
def test_every_measure_is_there(evaluated, part):
    assert set(evaluated[2][part]) == {*MEASURES, "class_shares"}
    assert sum(evaluated[2][part]["class_shares"]) == pytest.approx(1)


@pytest.fixture(scope="module")
def samples(folder):
    return np.concatenate(list(images.read_directory(folder / "copies")[1]))


@pytest.fixture(scope="module")
def classified(samples):
    """The features of the samples and their probabilities of the classes."""
    network = networks.FeatureClassifier().eval()
    network.load_state_dict(weights())
    with torch.no_grad():
        features = network.features(images.to_model(torch.from_numpy(samples)))
        return features, network.mlp(features).softmax(1)


def test_sharpness_is_the_mean_over_the_samples(evaluated, samples):
    found, sharpness = evaluated[2]["samples"]["sharpness"], image_statistics.sharpness(samples)
    assert found["value"] == pytest.approx(sharpness.mean())
    assert found["standard_error"] == pytest.approx(sharpness.std(ddof=1) / 20**0.5)


def test_a_ratio_is_to_the_value_of_the_test_images(evaluated, samples):
    ratio = image_statistics.sharpness(samples).mean() / evaluated[2]["test"]["sharpness"]["value"]
    assert evaluated[2]["samples"]["sharpness"]["ratio_to_test"] == pytest.approx(ratio)


def test_the_distance_of_pixels_is_the_mean_over_pairs(evaluated, samples):
    found, pairs = evaluated[2]["samples"]["pixel_distance"], distance.pdist(samples.reshape(20, -1).astype(float))
    assert found["value"] == pytest.approx(pairs.mean() / 3072**0.5)
    # The error of a mean over pairs, from the closed form of a U-statistic's first-order variance.
    rows = distance.squareform(pairs).sum(1) / 19 / 3072**0.5
    assert found["standard_error"] == pytest.approx(2 * rows.std(ddof=1) / 20**0.5)


@pytest.mark.parametrize("name", ["pixel_nearest", "feature_nearest"])
def test_samples_that_are_there_twice_are_at_no_distance(evaluated, name):
    assert evaluated[2]["samples"][name]["value"] == pytest.approx(0, abs=1e-4)


def test_the_distance_of_features_is_the_mean_over_pairs(evaluated, classified):
    expected = distance.pdist(classified[0]).mean()
    assert evaluated[2]["samples"]["feature_distance"]["value"] == pytest.approx(expected, rel=1e-5)


def test_the_top_probability_is_the_mean_over_the_samples(evaluated, classified):
    expected = float(classified[1].amax(1).mean())
    assert evaluated[2]["samples"]["top_probability"]["value"] == pytest.approx(expected, rel=1e-5)


def test_class_shares_count_the_most_likely_classes(evaluated, classified):
    part, counts = evaluated[2]["samples"], np.bincount(classified[1].argmax(1), minlength=10)
    np.testing.assert_allclose(part["class_shares"], counts / 20)
    assert part["class_entropy"]["value"] == pytest.approx(image_statistics.entropy(counts / 20))


def test_test_images_are_no_different_from_themselves(evaluated):
    result = evaluated[2]
    assert result["test"]["class_divergence"]["value"] == 0
    assert result["test"]["sharpness"]["ratio_to_test"] == 1


def test_training_images_have_a_spread_over_sets(evaluated):
    for name in MEASURES:
        assert set(evaluated[2]["train"][name]) - {"ratio_to_test"} == {"value", "sd"}


def test_training_images_give_the_noise_floor(evaluated):
    folder, _, result = evaluated
    # Three disjoint sets of 20 of the 75: their mean is close to that of all, and they do differ.
    floor = result["train"]["sharpness"]
    every = image_statistics.sharpness(arrays.load_images(folder / "svhn.npz").train_images)
    assert floor["sd"] > 0
    assert floor["value"] == pytest.approx(every.mean(), abs=3 * every.std() / 60**0.5)


def test_no_training_image_is_drawn_twice_in_a_set(evaluated):
    assert evaluated[2]["train"]["pixel_nearest"]["value"] > 5


@pytest.fixture(scope="module")
def spectra(evaluated):
    return pd.read_csv(evaluated[1] / "spectrum.csv")


def test_the_spectra_stand_beside_their_errors(spectra):
    assert list(spectra) == ["frequency", "samples", "samples_error", "test", "test_error", "train", "train_sd"]


def test_the_spectrum_is_the_mean_over_the_samples(spectra, samples):
    frequencies, power = image_statistics.power_spectrum(samples)
    np.testing.assert_allclose(spectra["frequency"], frequencies)
    np.testing.assert_allclose(spectra["samples"], power.mean(0))
    np.testing.assert_allclose(spectra["samples_error"], power.std(0, ddof=1) / 20**0.5)


@pytest.mark.parametrize("part", ["samples", "test"])
def test_the_power_of_high_frequencies_is_that_of_the_spectrum(evaluated, spectra, samples, part):
    frequencies, _ = image_statistics.power_spectrum(samples)
    high = image_statistics.high_frequency_power(frequencies, spectra[part].to_numpy())
    assert evaluated[2][part]["high_frequency_power"]["value"] == pytest.approx(high)


def test_grain_has_a_flat_spectrum_of_known_height(spectra):
    # Grain of 21 equally likely values, weighted by the squares of Rec. 601.
    grain = (21**2 - 1) / 12 * (0.299**2 + 0.587**2 + 0.114**2)
    np.testing.assert_allclose(spectra["train"][3:], grain, rtol=0.25)


@pytest.fixture(scope="module")
def of_many(folder, tmp_path_factory):
    """The parsed JSON of two runs of more samples than there are test images."""
    results = []
    for _ in range(2):
        out = tmp_path_factory.mktemp("many")
        run_here(evaluate_samples, *arguments(folder, out, "many", **{"floor-draws": 10}))
        results.append(json.loads((out / "statistics.json").read_text()) | {"provenance": None})
    return results


def test_the_same_seed_gives_the_same_numbers(of_many):
    assert of_many[0] == of_many[1]


def test_sets_are_no_larger_than_the_test_images(of_many):
    assert (of_many[0]["images"], of_many[0]["available"], of_many[0]["draws"]) == (30, 50, 2)


def test_bad_input_is_one_line_and_exit_code_2(folder, tmp_path):
    result = run_stage("evaluate_samples", *arguments(folder, tmp_path / "out", "nowhere"))
    assert result.returncode == 2
    assert result.stderr.startswith("evaluate_samples.py: error: ") and result.stderr.count("\n") == 1
    assert "nowhere: " in result.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data": "classifier.safetensors"}, r"classifier\.safetensors: not a prepared file of colour images"),
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


def test_the_divergence_of_classes_is_that_from_the_test_images():
    shares = [[0.5, 0.5], [0.9, 0.1], [0.2, 0.8]]  # of samples, test images and a set of training images
    measured = [{"class_shares": each, "sharpness": {"value": 1.0}} for each in shares]
    found = [each["class_divergence"]["value"] for each in evaluate_samples.compare(measured)]
    expected = [distance.jensenshannon(each, shares[1]) ** 2 for each in shares]
    np.testing.assert_allclose(found, expected, atol=1e-12)
