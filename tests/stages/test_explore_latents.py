"""explore_latents and reconstruct_images through their command lines, with networks of random weights."""

import csv
import json

import explore_latents
import numpy as np
import pytest
import reconstruct_images
import torch
from conftest import succeed
from genlab import InputError
from genlab.data import arrays, images
from genlab.models import image_model, networks
from genlab.training import checkpoint
from stage import run_here, run_stage

L, PAIRS = 6, 4
ABOUT = {"dataset": "SVHN", "source": "embedded", "title": "embedded stand-in for SVHN", "files": {}}


def write_data(path, seed=1):
    rng = np.random.default_rng(seed)
    fields = {}
    for split, count in (("train", 4), ("valid", 12), ("test", 9)):
        fields[f"{split}_images"] = rng.integers(0, 256, (count, 3, 32, 32), np.uint8)
        fields[f"{split}_labels"] = rng.integers(0, 10, count, np.uint8)
    arrays.write(path, ABOUT | {"seed": seed}, **fields)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder with svhn.npz, other.npz, vae.safetensors, gan.safetensors and classifier.safetensors."""
    folder = tmp_path_factory.mktemp("models")
    write_data(folder / "svhn.npz")
    write_data(folder / "other.npz", seed=2)
    torch.manual_seed(1)
    parts = {"generator": networks.Generator(L, 4), "encoder": networks.Encoder(L, 4)}
    with torch.no_grad():
        parts["generator"].project[0].weight[:, 2] = 0  # a dimension without any effect
    for kind in ("vae", "gan"):
        about = {
            "kind": kind, "model": f"my_{kind}", "seed": 3, "generator": {"latents": L, "width": 4},
            "settings": {}, "data": arrays.load_images(folder / "svhn.npz").about, "versions": {},
        }  # fmt: skip
        kept = parts if kind == "vae" else {"generator": parts["generator"]}
        image_model.save_model(folder / f"{kind}.safetensors", kept, about)
    checkpoint.save_tensors(
        folder / "classifier.safetensors", networks.FeatureClassifier().state_dict(), {"model": "fid"}
    )
    return folder


def explore(made, out, **changes):
    options = {
        "weights": made / "gan.safetensors", "classifier": made / "classifier.safetensors", "data": made / "svhn.npz",
        "output": out, "pairs": PAIRS, "epsilon": 2, "threads": 1, "device": "cpu",
    } | changes  # fmt: skip
    return [word for name, value in options.items() for word in (f"--{name}", value)]


@pytest.fixture(scope="module")
def explored(made, tmp_path_factory):
    folder = tmp_path_factory.mktemp("explored")
    succeed("explore_latents", *explore(made, folder))
    return folder


@pytest.fixture(scope="module")
def fields(explored):
    """The arrays of latents.npz."""
    with np.load(explored / "latents.npz", allow_pickle=False) as archive:
        return {name: array for name, array in archive.items() if name != "about"}


@pytest.fixture(scope="module")
def table(explored):
    """{column: numbers} of interpolation.csv."""
    rows = list(csv.DictReader((explored / "interpolation.csv").open()))
    return {name: np.array([float(row[name]) for row in rows]) for name in rows[0]}


@pytest.fixture(scope="module")
def summary(explored):
    return json.loads((explored / "latents.json").read_text())


QUANTITIES = ("sharpness", "distance", "top_probability")
NAMES = [f"{path}_{quantity}" for path in ("latent", "sphere", "image") for quantity in QUANTITIES]
ALPHAS = [k / 10 for k in range(11)]


def test_the_arrays_have_their_shapes(fields):
    shapes = {
        "base": (3, 32, 32), "plus": (L, 3, 32, 32), "minus": (L, 3, 32, 32), "effect": (L,), "mean_effect": (L,),
        "order": (L,), "epsilon": (), "alphas": (11,), "latent_path": (11, 3, 32, 32), "image_path": (11, 3, 32, 32),
        "sphere_path": (11, 3, 32, 32), "correlation": (L, 16),
    }  # fmt: skip
    assert {name: array.shape for name, array in fields.items()} == shapes
    assert all(fields[name].dtype == np.uint8 for name, shape in shapes.items() if 32 in shape)


def test_the_steps_are_those_asked_for(fields):
    assert fields["epsilon"] == 2 and fields["alphas"].tolist() == ALPHAS


def test_an_effect_is_what_is_seen_in_the_images(fields):  # but for their rounding
    change = np.stack([fields["plus"], fields["minus"]]).astype(float) - fields["base"]
    np.testing.assert_allclose(np.sqrt((change**2).mean((2, 3, 4))).mean(0), fields["effect"], atol=0.5)


def test_a_latent_without_effect_changes_nothing(fields):
    assert fields["effect"][2] == fields["mean_effect"][2] == 0
    assert (fields["plus"][2] == fields["base"]).all()


def test_latents_are_ordered_by_falling_effect(fields):
    assert fields["order"][-1] == 2
    assert (np.diff(fields["effect"][fields["order"]]) <= 0).all()


def test_both_paths_have_the_same_ends(fields):
    for end in (0, -1):
        assert (fields["latent_path"][end] == fields["image_path"][end]).all()


def test_the_middle_of_the_path_of_images_is_the_mean_of_its_ends(fields):
    ends = fields["image_path"][[0, -1]].astype(float).mean(0)
    np.testing.assert_allclose(fields["image_path"][5], ends, atol=1.01)  # the ends were rounded too


def test_the_arrays_say_what_they_are_of(explored):
    with np.load(explored / "latents.npz", allow_pickle=False) as archive:
        about = json.loads(str(archive["about"]))
    assert about["model"] == "my_gan" and about["seed"] == 3 and "stand-in" in about["data"]["title"]
    assert about["provenance"]["settings"]["pairs"] == PAIRS


def test_the_table_has_each_quantity_with_its_error_at_each_alpha(table):
    assert table["alpha"].tolist() == ALPHAS
    assert [*table] == ["alpha", *(name + end for name in (*NAMES, "path_distance") for end in ("", "_error"))]


@pytest.mark.parametrize("path", ["latent", "sphere"])
@pytest.mark.parametrize("quantity", QUANTITIES)
def test_a_quantity_is_the_same_at_the_ends_of_all_paths(table, path, quantity):
    for end in (0, -1):
        assert table[f"{path}_{quantity}"][end] == pytest.approx(table[f"image_{quantity}"][end], rel=1e-4)


def test_the_paths_meet_at_their_ends(table):
    assert (table["path_distance"][[0, -1]] < 0.01).all()


def test_the_summary_counts_the_visible_effects(fields, summary):
    assert summary["effects"]["latents"] == L and summary["effects"]["smallest"] == 0
    assert summary["effects"]["visible"] == (fields["mean_effect"] > 1).sum()


@pytest.mark.parametrize("name", NAMES)
def test_the_middle_is_held_against_the_ends(table, summary, name):
    ratio = 2 * table[name][5] / (table[name][0] + table[name][-1])
    assert summary["middle"][f"{name}_ratio"]["mean"] == pytest.approx(ratio)


def test_the_distance_in_the_middle_is_that_of_the_table(table, summary):
    assert summary["middle"]["path_distance"]["mean"] == pytest.approx(table["path_distance"][5])


def test_real_images_are_measured_beside_them(summary):
    assert summary["real"]["images"] == PAIRS and summary["real"]["sharpness"]["mean"] > 50  # noise


def test_the_summary_says_what_it_rests_on(summary):
    assert summary["kind"] == "gan"
    assert summary["provenance"]["classifier"]["sha256"] and summary["provenance"]["trained_with"]["kind"] == "gan"


def test_the_same_seed_gives_the_same_numbers(made, explored, fields, tmp_path):
    run_here(explore_latents, *explore(made, tmp_path))
    assert (tmp_path / "interpolation.csv").read_bytes() == (explored / "interpolation.csv").read_bytes()
    with np.load(tmp_path / "latents.npz") as again:
        assert {*again} == {*fields, "about"}  # that holds the paths of the outputs
        for name, array in fields.items():
            np.testing.assert_array_equal(again[name], array)


def test_another_seed_gives_other_numbers(made, explored, tmp_path):
    run_here(explore_latents, *explore(made, tmp_path, seed=2))
    assert (tmp_path / "interpolation.csv").read_bytes() != (explored / "interpolation.csv").read_bytes()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"weights": "classifier.safetensors"}, "classifier.safetensors: not the weights of an image model"),
        ({"classifier": "gan.safetensors"}, "gan.safetensors: not the weights of the feature classifier"),
    ],
)
def test_files_of_another_kind_are_refused(made, tmp_path, changes, message):
    changes = {name: made / value for name, value in changes.items()}
    with pytest.raises(InputError, match=message):
        run_here(explore_latents, *explore(made, tmp_path / "out", **changes))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data": "other.npz"}, "give the data that it was trained on"),
        ({"epsilon": "0"}, "--epsilon: 0 is out of range; give more than 0"),
        ({"epsilon": "nan"}, "--epsilon: nan is not a finite number"),
        ({"pairs": "1"}, "--pairs: 1 is out of range; give 2 or more"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(made, tmp_path, changes, message):
    changes = {name: made / value if name == "data" else value for name, value in changes.items()}
    process = run_stage("explore_latents", *explore(made, tmp_path / "out", **changes))
    assert process.returncode == 2
    assert message in process.stderr.splitlines()[-1] and "Traceback" not in process.stderr
    assert not (tmp_path / "out").exists()


def reconstruct(made, output, model="vae", **changes):
    options = {"weights": made / f"{model}.safetensors", "data": made / "svhn.npz", "output": output}
    options |= {"elbo": output.with_suffix(".json")} | changes
    return [word for name, value in options.items() for word in (f"--{name}", value)]


@pytest.fixture(scope="module")
def reconstructed(made, tmp_path_factory):
    """The arrays of five reconstructions."""
    output = tmp_path_factory.mktemp("reconstructed") / "images.npz"
    succeed("reconstruct_images", *reconstruct(made, output, count=5))
    with np.load(output, allow_pickle=False) as archive:
        return dict(archive)


@pytest.fixture(scope="module")
def real(made):
    return arrays.load_images(made / "svhn.npz").test_images


def test_reconstructions_are_images_beside_their_originals(reconstructed):
    originals, reconstructions = reconstructed["originals"], reconstructed["reconstructions"]
    assert originals.shape == reconstructions.shape == (5, 3, 32, 32) and reconstructions.dtype == np.uint8


def test_originals_are_test_images_at_random_each_once(reconstructed, real):
    matches = (reconstructed["originals"][:, None] == real).all((2, 3, 4))
    assert (matches.sum(1) == 1).all() and matches.sum(0).max() == 1 and not matches[:, :5].all()


def test_the_error_is_that_of_the_pixels(reconstructed):
    difference = reconstructed["originals"].astype(float) - reconstructed["reconstructions"]
    assert json.loads(str(reconstructed["about"]))["rmse"] == pytest.approx(np.sqrt(np.mean(difference**2)))


def test_a_reconstruction_is_of_a_draw_of_the_posterior(made, reconstructed):
    parts, _ = image_model.load_model(made / "vae.safetensors")
    with torch.no_grad():
        originals = images.to_model(torch.from_numpy(reconstructed["originals"]))
        mean, log_variance = parts["encoder"](originals).chunk(2, dim=1)
    noise = torch.randn(5, L, generator=torch.Generator().manual_seed(1))
    expected = image_model.generate(parts["generator"], mean + torch.exp(log_variance / 2) * noise)
    assert np.abs(expected.numpy().astype(int) - reconstructed["reconstructions"]).max() <= 1


def test_all_test_images_are_reconstructed_if_more_are_asked_for(made, real, tmp_path):
    run_here(reconstruct_images, *reconstruct(made, tmp_path / "all.npz", count=100))
    with np.load(tmp_path / "all.npz") as archive:
        assert sorted(archive["originals"].tolist()) == sorted(real.tolist())


def test_the_elbo_is_that_of_the_weights_on_all_validation_and_test_images(made, tmp_path):
    run_here(reconstruct_images, *reconstruct(made, tmp_path / "images.npz"))
    written = json.loads((tmp_path / "images.json").read_text())
    assert written["likelihood"] == "N(x; g(z), I)" and written["standard_deviation"] == 1
    parts, _ = image_model.load_model(made / "vae.safetensors")
    prepared, normal = arrays.load_images(made / "svhn.npz"), torch.Generator().manual_seed(1)
    for split, pictures in (("valid", prepared.valid_images), ("test", prepared.test_images)):
        found, x = written["splits"][split], images.to_model(torch.from_numpy(pictures))
        with torch.no_grad():
            mean, log_variance = parts["encoder"](x).double().chunk(2, dim=1)
            kl = torch.distributions.kl_divergence(
                torch.distributions.Normal(mean, torch.exp(log_variance / 2)), torch.distributions.Normal(0.0, 1.0)
            ).sum(1)
            noise = torch.randn(len(x), L, generator=normal)
            decoded = parts["generator"]((mean + torch.exp(log_variance / 2) * noise).float()).double()
        log_p = torch.distributions.Normal(decoded, 1.0).log_prob(x.double()).sum((1, 2, 3))
        assert found["images"] == len(pictures)
        assert found["kl"] == pytest.approx(kl.mean().item(), rel=1e-4)
        assert found["elbo"] == pytest.approx((log_p - kl).mean().item(), rel=1e-5)
        assert found["bits"] == pytest.approx(-found["elbo"] / 3072 / np.log(2) + np.log2(127.5))


def test_a_gan_is_refused_in_one_line(made, tmp_path):
    process = run_stage("reconstruct_images", *reconstruct(made, tmp_path / "out" / "x.npz", "gan"))
    assert process.returncode == 2 and process.stderr.count("\n") == 1
    assert "gan.safetensors: a gan has no encoder to reconstruct with; give weights of train_vae.py" in process.stderr
    assert not (tmp_path / "out").exists()


def test_data_other_than_the_model_s_is_refused(made, tmp_path):
    with pytest.raises(InputError, match="give the data that it was trained on"):
        run_here(reconstruct_images, *reconstruct(made, tmp_path / "out" / "x.npz", data=made / "other.npz"))
    assert not (tmp_path / "out").exists()
