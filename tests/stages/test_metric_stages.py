"""extract_features.py, evaluate_features.py, compare.py and their figures."""

import json

import compare
import evaluate_features
import extract_features
import numpy as np
import pandas as pd
import plot_fid_curve
import plot_nearest
import plot_summary
import prdc
import pytest
import torch
from genlab import InputError
from genlab.data import arrays, images
from genlab.measures import frechet, image_statistics, metrics
from genlab.measures.metric_table import OF_IMAGES
from genlab.models import classifier, image_model, networks
from genlab.report import plotting
from matplotlib.backends.backend_agg import FigureCanvasAgg
from safetensors.torch import save_file
from scipy import stats
from scipy.spatial import distance
from stage import run_here, run_stage, run_without_torch

ABOUT = {"dataset": "SVHN", "source": "embedded", "title": "embedded stand-in for SVHN"}
COUNTS = {"train": 90, "valid": 5, "test": 40}
SIZE = {"latents": 4, "width": 4}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Prepared data, a classifier, an untrained VAE and an untrained GAN."""
    folder = tmp_path_factory.mktemp("metrics")
    rng = np.random.default_rng(1)
    fields = {}
    for split, count in COUNTS.items():
        colour = rng.integers(20, 230, (count, 3, 1, 1))
        fields[f"{split}_images"] = (colour + rng.integers(-20, 20, (count, 3, 32, 32))).astype(np.uint8)
        fields[f"{split}_labels"] = np.zeros(count, np.uint8)
    arrays.write(folder / "svhn.npz", ABOUT, **fields)
    torch.manual_seed(1)
    save_file(
        {name: value.contiguous() for name, value in networks.FeatureClassifier().state_dict().items()},
        folder / "classifier.safetensors",
    )
    for kind in ("vae", "gan"):
        parts = {"generator": networks.Generator(**SIZE)} | (
            {"encoder": networks.Encoder(**SIZE)} if kind == "vae" else {}
        )
        about = {"kind": kind, "model": kind, "seed": 5, "generator": SIZE, "data": ABOUT}
        image_model.save_model(folder / f"{kind}.safetensors", parts, about)
    return folder


def extract(folder, output, source, model=None, flags=(), **changes):
    """Run extract_features here; returns the `Features` that it wrote."""
    options = {
        "source": source, "data": folder / "svhn.npz", "classifier": folder / "classifier.safetensors",
        "output": output, "device": "cpu", "threads": 1, "count": 80, "seed": 3,
    }  # fmt: skip
    options |= ({"weights": folder / model} if model else {}) | changes
    run_here(extract_features, *(word for key, value in options.items() for word in (f"--{key}", value)), *flags)
    return arrays.load_features(output)


def features_of(folder, pictures):
    network, _ = classifier.load_classifier(folder / "classifier.safetensors")
    ((features, logits),) = classifier.feature_batches(network, [pictures])
    return features, logits.argmax(1)


# Features


def test_features_of_real_images_are_the_classifier_s_with_their_rows(folder, tmp_path):
    real = arrays.load_images(folder / "svhn.npz")
    for split in ("train", "test"):
        found = extract(folder, tmp_path / "features.npz", split)
        pictures = getattr(real, f"{split}_images")[found.rows]
        assert sorted(found.rows) == list(range(COUNTS[split])) != list(found.rows)
        features, classes = features_of(folder, pictures)
        np.testing.assert_allclose(found.features, features, atol=1e-4)
        np.testing.assert_array_equal(found.classes, classes)
        np.testing.assert_array_equal(found.images, pictures[:16])
        assert found.about["set"] == split and found.about["data"] == ABOUT


@pytest.fixture
def in_parts(monkeypatch):
    """Batches of 30 images, and as many shown."""
    monkeypatch.setattr(extract_features, "BATCH", 30)
    monkeypatch.setattr(extract_features, "SHOWN", 30)


def test_features_of_samples_are_those_of_what_the_generator_draws(folder, tmp_path, in_parts):
    found = extract(folder, tmp_path / "a.npz", "samples", "gan.safetensors")
    network = image_model.load_model(folder / "gan.safetensors")[0]["generator"]
    normal = torch.Generator().manual_seed(3)
    drawn = image_model.generate(network, torch.randn(80, 4, generator=normal)).numpy()  # as sample.py does
    np.testing.assert_array_equal(found.images, drawn[:30])
    np.testing.assert_allclose(found.features, features_of(folder, drawn)[0], atol=1e-4)
    assert (found.about["subject"], found.about["model_seed"], len(found.rows)) == ("gan", 5, 80)


def test_samples_with_noise_are_drawn_from_the_likelihood_of_the_same_latents(folder, tmp_path):
    found = [extract(folder, tmp_path / f"{n}.npz", "samples", "vae.safetensors", flags=["--noise"]) for n in (1, 2)]
    means = extract(folder, tmp_path / "means.npz", "samples", "vae.safetensors")
    np.testing.assert_array_equal(found[0].images, found[1].images)
    spread = (found[0].images.astype(float) - means.images)[(means.images > 100) & (means.images < 155)]
    # N(0, I) in [-1, 1] is clipped to the pixels' range: most of what lies beyond one standard deviation.
    assert abs(spread.mean()) < 5 and spread.std() == pytest.approx(127.5 * 0.718, rel=0.05)


def test_reconstructions_are_of_a_draw_of_the_posterior(folder, tmp_path, in_parts):
    found = extract(folder, tmp_path / "b.npz", "reconstructions", "vae.safetensors")
    parts, _ = image_model.load_model(folder / "vae.safetensors")
    x = images.to_model(torch.from_numpy(arrays.load_images(folder / "svhn.npz").test_images[found.rows[:30]]))
    with torch.no_grad():
        mean, log_variance = parts["encoder"](x).chunk(2, 1)
    z = mean + torch.exp(log_variance / 2) * torch.randn(30, 4, generator=torch.Generator().manual_seed(3))
    expected = image_model.generate(parts["generator"], z).numpy()
    assert np.abs(found.images.astype(int) - expected).max() <= 1 and found.about["subject"] == "vae reconstructions"


@pytest.fixture
def imported(tmp_path):
    """A file of 50 images from elsewhere, and the images."""
    pictures = np.random.default_rng(2).integers(0, 256, (50, 3, 32, 32), dtype=np.uint8)
    about = {"model": "ann", "kind": "samples", "seed": 2}
    arrays.write(tmp_path / "images.npz", about, images=pictures)
    return tmp_path / "images.npz", pictures


@pytest.mark.parametrize("count, taken", [(40, 40), (80, 50)])
def test_features_of_samples_from_elsewhere_are_those_of_the_first(folder, tmp_path, in_parts, imported, count, taken):
    path, pictures = imported
    found = extract(folder, tmp_path / "a.npz", "samples", images=path, count=count)
    np.testing.assert_allclose(found.features, features_of(folder, pictures[:taken])[0], atol=1e-4)
    assert list(found.rows) == list(range(taken))
    assert [found.about[key] for key in ("subject", "model", "kind", "model_seed")] == ["ann", "ann", "samples", 2]


@pytest.mark.parametrize(
    "source, model, flags, message",
    [
        ("train", None, [], "--source train: these are no samples; leave out --images"),
        ("samples", "gan.safetensors", [], "--source samples: is of no model; leave out --weights"),
        ("samples", None, ["--noise"], "--source samples: is not drawn from p.x.z.; leave out --noise"),
    ],
)
def test_images_from_elsewhere_exclude_a_model(folder, tmp_path, imported, source, model, flags, message):
    with pytest.raises(InputError, match=message):
        extract(folder, tmp_path / "a.npz", source, model, flags, images=imported[0])


def test_noise_spans_all_bytes(folder, tmp_path, in_parts):
    noise = extract(folder, tmp_path / "c.npz", "noise").images
    assert noise.min() == 0 and noise.max() == 255 and abs(noise.mean() - 127.5) < 1


def test_the_mean_image_is_that_of_the_training_images(folder, tmp_path, in_parts):
    mean = extract(folder, tmp_path / "d.npz", "mean").images
    expected = arrays.load_images(folder / "svhn.npz").train_images.mean(0)
    assert (mean == mean[0]).all() and np.abs(mean[0] - expected).max() <= 0.5


@pytest.mark.parametrize(
    ("source", "model", "flags", "message"),
    [
        ("samples", None, [], "--source samples: needs the weights of a model; give --weights"),
        ("noise", "gan.safetensors", [], "--source noise: is of no model; leave out --weights"),
        ("reconstructions", "gan.safetensors", [], "a gan has no encoder to reconstruct with"),
        ("reconstructions", "vae.safetensors", ["--noise"], r"is not drawn from p\(x\|z\); leave out --noise"),
        ("samples", "gan.safetensors", ["--noise"], "--noise: the weights are of no VAE"),
    ],
)
def test_sources_that_do_not_fit_are_refused(folder, tmp_path, source, model, flags, message):
    with pytest.raises(InputError, match=message):
        extract(folder, tmp_path / "out" / "x.npz", source, model, flags)
    assert not (tmp_path / "out").exists()


# Metrics


def write_features(path, features, classes=None, kind="samples", subject="gan", **about):
    """A file as extract_features.py writes it, of given features (N, D)."""
    about = {
        "set": kind, "subject": subject, "model": subject, "model_seed": 1, "data": ABOUT,
        "features": {"file": "c", "sha256": "5a" * 32}, "provenance": {}, **about,
    }  # fmt: skip
    count = len(features)
    arrays.write(
        path,
        about,
        features=features.astype(np.float32),
        classes=np.zeros(count, np.uint8) if classes is None else classes,
        rows=np.arange(count)[::-1].copy(),
        images=np.full((min(count, 16), 3, 32, 32), 7, np.uint8),
    )
    return path


@pytest.fixture
def sets(tmp_path):
    """Features of 500 samples, 200 test and 300 training images, in 3 dimensions, with classes; and the arrays."""
    rng = np.random.default_rng(2)
    features = {
        "samples": rng.normal(0.5, 1.2, (500, 3)).astype(np.float32),
        "test": rng.normal(0, 1, (200, 3)).astype(np.float32),
        "train": rng.normal(0, 1, (300, 3)).astype(np.float32),
    }
    classes = {
        name: rng.integers(0, 8 if name == "samples" else 10, len(each), dtype=np.uint8)
        for name, each in features.items()
    }
    for name, array in features.items():
        subject = "gan" if name == "samples" else f"{name} images"
        write_features(tmp_path / f"{name}.npz", array, classes[name], name, subject)
    return features, classes


def evaluate(folder, name="samples", **changes):
    """Run evaluate_features here; returns its JSON, its curve (empty for test images) and its neighbours."""
    options = {
        "features": folder / f"{name}.npz", "test": folder / "test.npz", "train": folder / "train.npz", "count": 100,
        "threads": 1, "output": folder / "evaluated",
    } | changes  # fmt: skip
    run_here(evaluate_features, *(word for key, value in options.items() for word in (f"--{key}", value)))
    metrics, curve, nearest = (options["output"] / name for name in ("metrics.json", "fid_curve.csv", "nearest.npz"))
    return json.loads(metrics.read_text()), pd.read_csv(curve), np.load(nearest)


def test_every_metric_is_the_mean_over_disjoint_sets_with_its_interval(sets, tmp_path):
    features, classes = sets
    result, _, _ = evaluate(tmp_path)
    parts = np.split(features["samples"], 5)
    histogram = np.bincount(classes["test"], minlength=10) / 200
    expected = {
        "fid": [frechet.calculate_fid_score([part], [features["test"]]) for part in parts],
        "class_divergence": [
            image_statistics.jensen_shannon(np.bincount(part, minlength=10) / 100, histogram)
            for part in np.split(classes["samples"], 5)
        ],
        "nearest_training": [np.median(distance.cdist(part, features["train"]).min(1)) for part in parts],
    }
    x = [part.astype(float) for part in parts]
    y = features["test"].astype(float)
    off = ~np.eye(100, dtype=bool), ~np.eye(200, dtype=bool)
    expected["kid"] = [
        ((a @ a.T / 3 + 1) ** 3)[off[0]].mean()
        + ((y @ y.T / 3 + 1) ** 3)[off[1]].mean()
        - 2 * ((a @ y.T / 3 + 1) ** 3).mean()
        for a in x
    ]
    rows = np.random.default_rng(1).permutation(200)[:100]  # as many test images; 1 is the default of --seed
    balls = [prdc.compute_prdc(y[rows], part, 5) for part in x]
    expected |= {name: [float(each[name]) for each in balls] for name in ("precision", "recall", "density", "coverage")}
    infinity = metrics.frechet_infinity(features["samples"], frechet.moments([features["test"]]))
    assert result["metrics"]["fid_infinity"]["value"] == pytest.approx(infinity["value"], rel=1e-9)
    for name, values in expected.items():
        found = result["metrics"][name]
        low, high = stats.t.interval(0.95, 4, np.mean(values), stats.sem(values))
        assert found["value"] == pytest.approx(np.mean(values), rel=1e-5), name
        assert (found["low"], found["high"]) == (pytest.approx(low, rel=1e-4), pytest.approx(high, rel=1e-4)), name


def test_every_metric_is_there_of_the_sets_asked_for(sets, tmp_path):
    result, _, _ = evaluate(tmp_path)
    assert (result["images"], result["sets"], result["subject"]) == (100, 5, "gan")
    assert list(result["metrics"]) == [metric.key for metric in OF_IMAGES]


@pytest.fixture
def of_a_copier(sets, tmp_path):
    """The metrics of a model that copies the test images."""
    write_features(tmp_path / "samples.npz", sets[0]["test"][::-1], kind="samples")
    return evaluate(tmp_path, count=200)[0]["metrics"]


def test_balls_are_of_equally_many_test_images(of_a_copier):
    assert [of_a_copier[name]["value"] for name in ("precision", "recall", "coverage")] == [1, 1, 1]


def test_copies_are_at_no_distance(of_a_copier):
    assert of_a_copier["fid"]["value"] == pytest.approx(0, abs=1e-6)


def test_one_set_has_no_interval(of_a_copier):
    assert of_a_copier["precision"]["low"] is None


@pytest.fixture
def curve(sets, tmp_path):
    return evaluate(tmp_path, count=150)[1]


def test_the_curve_has_as_many_disjoint_sets_of_a_size_as_there_are(curve):
    assert list(curve["n"]) == [100, 150, 200, 500] and list(curve["sets"]) == [5, 3, 2, 1]


def test_the_curve_ends_with_the_distance_of_all_samples(sets, curve):
    features, _ = sets
    whole = frechet.calculate_fid_score([features["samples"]], [features["test"]])
    assert curve["mean"].iloc[-1] == pytest.approx(whole) and np.isnan(curve["sd"].iloc[-1])


def test_neighbours_are_rows_of_the_training_images(sets, tmp_path):
    features, _ = sets
    _, _, nearest = evaluate(tmp_path)
    distances = distance.cdist(features["samples"][:16], features["train"])
    np.testing.assert_array_equal(nearest["rows"], 299 - distances.argmin(1))  # rows are stored in reverse
    np.testing.assert_allclose(nearest["distances"], distances.min(1), rtol=1e-5)


@pytest.mark.parametrize(("name", "seed"), [("samples", 0), ("test", 7)])
def test_neighbours_carry_the_seed_of_their_model_or_else_of_the_stage(sets, tmp_path, name, seed):
    write_features(tmp_path / "samples.npz", sets[0]["samples"], model_seed=0)
    write_features(tmp_path / "test.npz", sets[0]["test"], kind="test", model_seed=None)
    _, _, nearest = evaluate(tmp_path, name, seed=7)
    assert json.loads(str(nearest["about"]))["seed"] == seed


def test_test_images_have_only_neighbours(sets, tmp_path):
    found = evaluate(tmp_path, "test")[0]["metrics"]
    assert "nearest_training" in found and not {"fid", "kid", "precision", "class_divergence"} & set(found)


def test_training_images_have_everything_but_neighbours(sets, tmp_path):
    found = evaluate(tmp_path, "train")[0]["metrics"]
    assert "nearest_training" not in found and "fid" in found


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"test": "train.npz"}, "train.npz: features of 'train'; give those of 'test'"),
        ({"count": 1000, "features": "few.npz"}, "few.npz: 20 images, and 200 test images, for sets of 1000"),
        ({"features": "other.npz"}, "test.npz: its data differs from that of"),
        ({"features": "damaged.npz"}, "damaged.npz: not a file of features"),
        ({"features": "nan.npz"}, "nan.npz: features hold NaN or infinity"),
        ({"count": 19}, "for sets of 19; give 20 or more"),
        ({"features": "unsaid.npz"}, "unsaid.npz: 'data/title' is missing"),
    ],
)
def test_features_that_do_not_fit_are_refused(sets, tmp_path, changes, message):
    write_features(tmp_path / "few.npz", sets[0]["samples"][:20])
    write_features(tmp_path / "other.npz", sets[0]["samples"], data={"title": "other"})
    write_features(tmp_path / "nan.npz", np.full((300, 3), np.nan))
    write_features(tmp_path / "unsaid.npz", sets[0]["samples"], data={})
    (tmp_path / "damaged.npz").write_bytes((tmp_path / "samples.npz").read_bytes()[:200])
    changes = {key: tmp_path / value if isinstance(value, str) else value for key, value in changes.items()}
    with pytest.raises(InputError, match=message):
        evaluate(tmp_path, **changes)
    assert not (tmp_path / "evaluated").exists()


# Comparison


def run_of(subject, seed, kind="samples", **values):
    """What evaluate_features.py writes, with one value for some metrics, each with the interval +- 1."""
    found = {
        key: {"value": v, "standard_error": 0.4, "low": v - 1, "high": v + 1, "sets": 10} for key, v in values.items()
    }
    return {
        "subject": subject, "model": subject.split()[0], "set": kind, "seed": seed, "data": ABOUT, "images": 1000,
        "kind": "gan", "features": {"sha256": "5a" * 32}, "metrics": found,
    }  # fmt: skip


def likelihood_of(model, seed, shift=0.0):
    """What compare.py reads of estimate_likelihood.py's file."""
    numbers = {
        name: {"mean": level + shift, "standard_error": 0.1}
        for name, level in (("elbo", -91.0), ("log_likelihood", -87.0))
    }
    splits = {split: numbers | {"images": 1000, "sampled_images": 5} for split in ("valid", "test")}
    return {"model": model, "seed": seed, "data": ABOUT, "k": 200, "splits": splits}


def compared(folder, runs, likelihoods=()):
    """The two tables of compare.py."""
    options = []
    for name, contents in (("metrics", runs), ("likelihoods", likelihoods)):
        paths = [folder / f"{name}{number}.json" for number in range(len(contents))]
        for path, content in zip(paths, contents, strict=True):
            path.write_text(json.dumps(content))
        options += [f"--{name}", *paths] if paths else []
    files = folder / "out" / "summary.csv", folder / "out" / "comparison.csv"
    run_here(compare, *options, "--output", folder / "out")
    return tuple(pd.read_csv(file) for file in files)


@pytest.fixture
def of_one_seed(tmp_path):
    """The two tables of two models of one seed."""
    return compared(tmp_path, [run_of("vae", 1, fid=90.0), run_of("gan", 1, fid=40.0)])


def test_one_seed_gives_the_single_run(of_one_seed):
    summary, _ = of_one_seed
    row = summary[summary["subject"] == "gan"].iloc[0]
    assert (row["value"], row["standard_error"], row["low"], row["high"]) == (40, 0.4, 39, 41)
    assert (row["over"], str(row["values"]), row["kind"], row["better"]) == ("sets", "40", "model", "lower")


def test_one_seed_allows_no_verdict(of_one_seed):
    _, comparison = of_one_seed
    assert comparison["verdict"][0] == "gan ahead of vae by 50, but one seed allows no verdict"
    assert comparison["winner"].isna().all()  # an empty cell


FIDS = {"vae": [90.0, 94.0, 98.0], "gan": [40.0, 45.0, 47.0]}


@pytest.fixture
def of_three_seeds(tmp_path):
    """The two tables of two models of three seeds, and two references."""
    runs = [
        run_of(name, seed, fid=v, recall=0.5 + v / 1e4)
        for name, values in FIDS.items()
        for seed, v in enumerate(values, 1)
    ]
    noise = [run_of("noise", None, "noise", fid=5000.0), run_of("vae reconstructions", 1, "reconstructions", fid=70.0)]
    return compared(tmp_path, runs + noise)


def test_seeds_are_gathered(of_three_seeds):
    summary, _ = of_three_seeds
    row = summary[(summary["subject"] == "gan") & (summary["metric"] == "fid")].iloc[0]
    low, high = stats.t.interval(0.95, 2, 44, stats.sem(FIDS["gan"]))
    assert (row["value"], row["over"], row["seeds"], row["values"]) == (44, "seeds", "1 2 3", "40 45 47")
    assert (row["low"], row["high"]) == (pytest.approx(low), pytest.approx(high))


def test_a_subject_is_a_model_or_a_reference(of_three_seeds):
    summary, _ = of_three_seeds
    kinds = summary.drop_duplicates("key").set_index("key")["kind"]
    assert dict(kinds) == {
        "runs/vae": "model", "runs/gan": "model", "references/noise": "reference",
        "runs/vae/reconstructions": "reference",
    }  # fmt: skip


def test_references_are_not_compared(of_three_seeds):
    assert len(of_three_seeds[1]) == 2


def test_models_are_compared_in_pairs_of_a_seed(of_three_seeds):
    _, comparison = of_three_seeds
    fid = comparison[comparison["metric"] == "fid"].iloc[0]
    low, high = stats.t.interval(0.95, 2, 50, stats.sem([50.0, 49.0, 51.0]))
    assert (fid["difference"], fid["pairs"]) == (50, 3)
    assert (fid["low"], fid["high"]) == (pytest.approx(low), pytest.approx(high))


@pytest.fixture
def beside_folders(tmp_path):
    """The differences between two folders of samples and a model of three seeds."""
    folders = [run_of("class", number, fid=v) | {"kind": "samples"} for number, v in ((1, 60.0), (2, 64.0))]
    models = [run_of("gan", seed, fid=v) for seed, v in enumerate(FIDS["gan"], 1)]
    return compared(tmp_path, folders + models)[1].iloc[0]


def test_folders_of_samples_are_not_paired_with_seeds(beside_folders):
    expected = stats.ttest_ind([60.0, 64.0], FIDS["gan"], equal_var=False).confidence_interval()
    assert beside_folders["difference"] == 18
    interval = beside_folders["low"], beside_folders["high"]
    assert interval == (pytest.approx(expected.low), pytest.approx(expected.high))
    assert beside_folders["verdict"] == "gan better than class by 18, beyond the noise of 2 and 3 seeds"


def test_the_verdict_knows_which_way_a_metric_is_better(of_three_seeds):
    _, comparison = of_three_seeds
    assert list(comparison["winner"]) == ["gan", "vae"]
    fid, recall = (comparison[comparison["metric"] == name].iloc[0] for name in ("fid", "recall"))
    assert fid["verdict"] == "gan better than vae by 50, beyond the noise of 3 seeds"
    assert recall["verdict"] == "vae better than gan by 0.005, beyond the noise of 3 seeds"  # there higher is better


def test_a_difference_within_the_noise_is_called_so(tmp_path):
    runs = [run_of("a", seed, fid=v) for seed, v in ((1, 40.0), (2, 60.0))] + [
        run_of("b", seed, fid=50.5) for seed in (1, 2)
    ]
    _, comparison = compared(tmp_path, runs)
    assert comparison["verdict"][0] == "a ahead of b by 0.5, within the noise of 2 seeds"
    assert comparison["winner"].isna().all()


@pytest.mark.parametrize(
    ("of_b", "verdict"),
    [
        ([40.0], "a equal to b, but one seed allows no verdict"),
        ([40.0, 60.0], "a equal to b, within the noise of 2 seeds"),
        ([60.0, 40.0], "a equal to b, within the noise of 2 seeds"),
    ],
)
def test_a_tie_is_called_equal(tmp_path, of_b, verdict):
    of_a = [40.0, 60.0][: len(of_b)]
    runs = [run_of(name, seed, fid=v) for name, of in (("a", of_a), ("b", of_b)) for seed, v in enumerate(of, 1)]
    _, comparison = compared(tmp_path, runs)
    assert comparison["verdict"][0] == verdict and comparison["difference"][0] == 0
    assert comparison["winner"].isna().all()


@pytest.fixture
def of_one_name(tmp_path):
    """The summary of a model called noise, and of noise."""
    return compared(tmp_path, [run_of("noise", 1, fid=40.0), run_of("noise", None, "noise", fid=5000.0)])[0]


def test_a_model_is_kept_apart_from_a_reference_of_its_name(of_one_name):
    found = of_one_name.set_index("key")
    assert dict(found["value"]) == {"runs/noise": 40, "references/noise": 5000}
    assert dict(found["kind"]) == {"runs/noise": "model", "references/noise": "reference"}


def test_a_model_is_drawn_apart_from_a_reference_of_its_name(of_one_name):
    axes = plot_summary.draw(of_one_name.assign(values=[[40.0], [5000.0]])).axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["noise", "noise"]
    drawn = [tuple(map(tuple, line.get_xydata())) for line in axes.lines]
    assert ((40, 0),) in drawn and ((5000, 1),) in drawn


LIKELIHOODS = [
    likelihood_of(model, seed, shift(seed))
    for model, shift in (("vae", lambda seed: 0), ("deep", lambda seed: 2 + seed / 100))
    for seed in (1, 2)
]


def test_likelihoods_stand_in_the_same_tables(tmp_path):
    summary, comparison = compared(tmp_path, [run_of("vae", 1, fid=90.0)], LIKELIHOODS)
    rows = summary[(summary["problem"] == "likelihood") & (summary["subject"] == "vae")].set_index("metric")
    assert dict(rows["value"]) == {
        "elbo_valid": -91,
        "elbo_test": -91,
        "log_likelihood_valid": -87,
        "log_likelihood_test": -87,
    }
    assert set(comparison["verdict"]) == {"deep better than vae by 2.015, beyond the noise of 2 seeds"}


def test_the_likelihood_of_one_seed_has_its_interval_over_images(tmp_path):
    summary, _ = compared(tmp_path, [], LIKELIHOODS[:1])
    # Student's quantile of 5 - 1 degrees of freedom: as many images got importance samples
    assert (summary["low"][0], summary["over"][0]) == (pytest.approx(-91 - 0.2776, abs=1e-4), "images")


@pytest.mark.parametrize(
    ("runs", "message"),
    [
        ([], "nothing to compare"),
        ([run_of("gan", 1), run_of("gan", 1)], "gan, seed 1, was given before"),
        ([run_of("gan", 1), run_of("vae", 1) | {"images": 500}], "its protocol is N = 500"),
        ([run_of("gan", 1), run_of("vae", 1) | {"data": {"title": "SVHN"}}], "its data is SVHN"),
        ([{"subject": "gan"}], "'set' is missing"),
        ([run_of("gan", 1, fid=1.0), run_of("gan", 2, kid=1.0)], "metrics1.json: its metrics are not those of the"),
        ([run_of("gan", 1, fid=1.0), run_of("vae", 1)], "metrics1.json: its metrics are not those of the"),
    ],
)
def test_runs_that_do_not_belong_together_are_refused(tmp_path, runs, message):
    with pytest.raises(InputError, match=message):
        compared(tmp_path, runs)
    assert not (tmp_path / "out").exists()


# Figures


@pytest.fixture
def drawings(folder, sets, tmp_path):
    """{stage: arguments} of the three figures, which go to the folder tmp_path / "out"."""
    contents = [evaluate(tmp_path, name, output=tmp_path / name)[0] for name in ("samples", "test", "train")]
    table, _ = compared(tmp_path, contents)
    table.to_csv(tmp_path / "summary.csv", index=False)
    (tmp_path / "out" / "summary.csv").unlink(), (tmp_path / "out" / "comparison.csv").unlink()
    out, pair = tmp_path / "out", (tmp_path / "samples", tmp_path / "train")
    return {
        "plot_summary": ["--summary", tmp_path / "summary.csv", "--output", out / "summary.png"],
        "plot_fid_curve": [
            *("--metrics", *(each / "metrics.json" for each in pair)),
            *("--curves", *(each / "fid_curve.csv" for each in pair)),
            *("--output", out / "curve.png"),
        ],
        "plot_nearest": [
            *("--nearest", tmp_path / "samples" / "nearest.npz", "--test", tmp_path / "test" / "nearest.npz"),
            *("--data", folder / "svhn.npz", "--output", out / "nearest.png"),
        ],
    }


def captured(module, arguments, monkeypatch):
    """The figure that a plot stage would write."""
    figures = []
    monkeypatch.setattr(plotting, "save_figure", lambda figure, path: figures.append(figure))
    run_here(module, *arguments)
    return figures[0]


def small_rows(path):
    """Let the neighbours be rows that the small data set has."""
    with np.load(path) as content:
        fields = dict(content)
    np.savez(path.with_suffix(""), **fields | {"rows": fields["rows"] % COUNTS["train"]})
    path.with_suffix(".npz").rename(path)


@pytest.fixture
def with_rows(drawings):
    for option in (1, 3):
        small_rows(drawings["plot_nearest"][option])
    return drawings


def test_figures_are_written_as_png_and_pdf_without_torch(with_rows, tmp_path):
    run_without_torch(with_rows)
    names = sorted(file.name for file in (tmp_path / "out").iterdir())
    assert names == [f"{name}.{kind}" for name in ("curve", "nearest", "summary") for kind in ("pdf", "png")]


@pytest.fixture
def summary_figure(drawings, monkeypatch):
    return captured(plot_summary, drawings["plot_summary"], monkeypatch)


def test_the_summary_shows_each_value_with_its_interval(summary_figure, tmp_path):
    table = pd.read_csv(tmp_path / "summary.csv")
    axes = next(axes for axes in summary_figure.axes if axes.get_title("left") == "recall")
    row = table[(table["subject"] == "gan") & (table["metric"] == "recall")].iloc[0]
    height = [label.get_text() for label in summary_figure.axes[0].get_yticklabels()].index("gan")
    drawn = [tuple(map(tuple, line.get_xydata())) for line in axes.lines]
    assert ((row["low"], height), (row["high"], height)) in drawn and ((row["value"], height),) in drawn


def test_the_summary_has_a_panel_for_each_metric(summary_figure):
    assert len([axes for axes in summary_figure.axes if axes.get_visible()]) == len(OF_IMAGES)


def test_the_summary_says_how_many_images_a_set_has(summary_figure):
    assert "N = " in summary_figure.texts[0].get_text().replace("\N{NO-BREAK SPACE}", " ")


def test_the_curve_marks_the_protocol_and_infinity(drawings, tmp_path, monkeypatch):
    figure = captured(plot_fid_curve, drawings["plot_fid_curve"], monkeypatch)
    (axes,) = figure.axes
    curve = pd.read_csv(tmp_path / "samples" / "fid_curve.csv")
    np.testing.assert_allclose(axes.lines[0].get_xydata(), curve[["n", "mean"]])
    level = json.loads((tmp_path / "samples" / "metrics.json").read_text())["metrics"]["fid_infinity"]["value"]
    assert any(line.get_xydata().shape == (1, 2) and line.get_ydata()[0] == level for line in axes.lines)
    assert any(text.get_text() == "N = 100" for text in axes.texts)


SEVEN = [f"model-{number}" for number in range(7)]


def test_the_summary_names_seven_models():
    rows = [
        {"key": f"runs/{name}", "subject": name, "kind": "model", "metric": "fid",
         "value": level, "low": level - 1, "high": level + 1,
         "values": [level], "better": "lower", "over": "sets", "protocol": "N = 100", "data": "SVHN"}
        for level, name in enumerate(SEVEN, 2)
    ]  # fmt: skip
    axes = plot_summary.draw(pd.DataFrame(rows)).axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == SEVEN


def test_the_curves_of_seven_models_have_a_legend_that_hides_nothing():
    curve = pd.DataFrame({"n": [100, 500], "mean": [9.0, 5.0]})
    fields = {"set": "samples", "images": 100, "data.title": "SVHN", "metrics.fid_infinity.value": 4.0, "curve": curve}
    figure = plot_fid_curve.draw([{"subject": name, **fields} for name in SEVEN])
    renderer = FigureCanvasAgg(figure).get_renderer()
    figure.draw(renderer)
    legend = figure.axes[0].get_legend()
    assert [text.get_text() for text in legend.get_texts()] == SEVEN
    box = legend.get_window_extent(renderer)
    assert box.x1 < figure.bbox.x1 and box.y1 < figure.bbox.y1
    assert box.y0 > max(text.get_window_extent(renderer).y1 for text in figure.axes[0].texts)


def test_neighbours_are_drawn_beside_samples(with_rows, folder, monkeypatch):
    stacks = {}
    monkeypatch.setattr(
        plotting, "image_grid", lambda images, *rest: stacks.update(images=images) or plotting.new_figure()
    )
    captured(plot_nearest, with_rows["plot_nearest"], monkeypatch)
    with np.load(with_rows["plot_nearest"][1]) as content:
        rows = content["rows"]
    train = arrays.load_images(folder / "svhn.npz").train_images
    np.testing.assert_array_equal(stacks["images"][1], train[rows].transpose(0, 2, 3, 1))
    assert (stacks["images"][0] == 7).all() and len(stacks["images"]) == 4


def test_neighbours_that_the_data_do_not_have_are_refused(drawings, tmp_path):
    with pytest.raises(InputError, match="'rows' holds no rows of the training images"):
        run_here(plot_nearest, *drawings["plot_nearest"])
    assert list((tmp_path / "out").iterdir()) == []


def test_bad_input_is_one_line_and_exit_code_2(tmp_path):
    process = run_stage("plot_summary", "--summary", tmp_path / "none.csv", "--output", tmp_path / "x.png")
    assert (
        process.returncode == 2
        and process.stderr
        == f"plot_summary.py: error: {tmp_path}/none.csv: No such file or directory; check the name\n"
    )
