"""train_vae and train_gan through their command lines: what they write, resume after SIGKILL, bad input."""

import csv
import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import succeed
from genlab import files
from genlab.kinds import KINDS
from genlab.models import image_model, likelihoods, networks, vae
from genlab.training import checkpoint
from stage import kill_and_resume, run_stage

EXAMPLE = Path(__file__).parents[2] / "examples" / "networks.py"


@pytest.fixture(scope="module")
def options(prepared_numbers, tmp_path_factory):
    """A function: the options of a training of seconds of either kind into a folder."""
    weights = tmp_path_factory.mktemp("classifier") / "classifier.safetensors"
    torch.manual_seed(0)
    checkpoint.save_tensors(weights, networks.FeatureClassifier().state_dict(), {"source": "trained"})

    def options(kind, folder, epochs=3):
        words = [
            "--data", prepared_numbers, "--output", folder, "--epochs", epochs, "--threads", 1, "--device", "cpu",
            "--latents", 10, "--width", 4, "--batch-size", 32,
        ]  # fmt: skip
        if kind == "gan":
            words += ["--classifier", weights, "--critic-width", 4]
            words += ["--monitor-epochs", 2, "--monitor-samples", 30, "--frames", 5]
        return words

    return options


@pytest.fixture(scope="module")
def trained(options, tmp_path_factory):
    """{kind: folder} of finished trainings."""
    folders = {kind: tmp_path_factory.mktemp(kind) for kind in ("vae", "gan")}
    for kind, folder in folders.items():
        succeed(f"train_{kind}", *options(kind, folder))
    return folders


def rows_of(folder):
    return list(csv.DictReader((folder / "history.csv").open()))


def test_both_have_a_row_for_each_epoch(trained):
    for folder in trained.values():
        assert [row["epoch"] for row in rows_of(folder)] == ["1", "2", "3"]


def test_the_elbo_of_the_vae_is_the_reconstruction_less_kl(trained):
    for row in rows_of(trained["vae"]):
        elbo, reconstruction, kl = (float(row[f"valid_{name}"]) for name in ("elbo", "reconstruction", "kl"))
        # Any g in [-1, 1]: no better than the constant of the density, 1536 log 2 pi, and no worse by 2 a pixel.
        assert elbo == pytest.approx(reconstruction - kl) and -2823 - 6144 < reconstruction < -2823 and kl > 0


def test_bits_are_the_elbo_in_the_pixels_of_bytes(trained):
    for row in rows_of(trained["vae"]):
        bits = -(float(row["valid_elbo"]) - 3072 * np.log(127.5)) / (3072 * np.log(2))
        assert float(row["valid_bits_per_dimension"]) == pytest.approx(bits)


def test_the_best_epoch_of_the_vae_is_that_of_the_highest_elbo(trained):
    rows, summary = rows_of(trained["vae"]), json.loads((trained["vae"] / "training.json").read_text())
    assert summary["best_epoch"] == 1 + int(np.argmax([float(row["valid_elbo"]) for row in rows]))


def test_the_distance_of_the_gan_is_measured_every_second_epoch_and_at_the_last(trained):
    assert [bool(row["valid_fid"]) for row in rows_of(trained["gan"])] == [False, True, True]


def test_the_critic_s_loss_is_the_penalty_less_the_estimate(trained):
    for row in rows_of(trained["gan"]):
        loss = 10 * float(row["train_penalty"]) - float(row["train_critic_estimate"])
        assert float(row["train_critic_loss"]) == pytest.approx(loss) and float(row["train_gradient_norm"]) > 0


def test_the_critic_s_estimates_of_both_splits_are_close(trained):
    for row in rows_of(trained["gan"]):
        assert float(row["valid_critic_estimate"]) == pytest.approx(float(row["train_critic_estimate"]), abs=20)


def test_the_gan_keeps_frames_of_its_epochs(trained):
    frames = np.load(trained["gan"] / "frames.npz")
    assert frames["frames"].shape == (3, 5, 3, 32, 32) and frames["epochs"].tolist() == [1, 2, 3]
    assert all(frames["frames"][i].any() for i in range(3))


def test_the_last_epoch_of_the_gan_is_kept(trained):
    assert json.loads((trained["gan"] / "training.json").read_text())["best_epoch"] == 3


@pytest.fixture(scope="module")
def kept(trained):
    """{kind: (networks, about)} of the weights."""
    return {kind: image_model.load_model(folder / "model.safetensors") for kind, folder in trained.items()}


@pytest.mark.parametrize("kind", ["vae", "gan"])
def test_the_weights_say_what_they_are_of(kept, kind):
    _, about = kept[kind]
    assert about["kind"] == kind and about["seed"] == 1
    assert about["generator"] == {"latents": 10, "width": 4, "architecture": "plain"}
    assert about["data"]["title"] == "embedded stand-in for SVHN"


def test_both_kinds_have_one_generator(kept):
    one, other = kept["vae"][0]["generator"].decoder, kept["gan"][0]["generator"]
    assert str(one) == str(other)
    assert {k: v.shape for k, v in one.state_dict().items()} == {k: v.shape for k, v in other.state_dict().items()}


@pytest.mark.parametrize("kind", ["vae", "gan"])
def test_the_architecture_of_the_generator_is_a_setting(options, tmp_path, kind):
    words = [*options(kind, tmp_path / kind, epochs=1), "--architecture", "modulated"]
    succeed(f"train_{kind}", *words)
    generator = image_model.load_model(tmp_path / kind / "model.safetensors")[0]["generator"]
    assert type(getattr(generator, "decoder", generator)) is networks.ModulatedGenerator


def test_each_kind_saves_the_networks_that_its_row_names(trained):
    for kind, folder in trained.items():
        tensors, _ = checkpoint.load_tensors(folder / "model.safetensors")
        assert {name.split(".")[0] for name in tensors} == set(KINDS[kind])


def test_the_weights_reach_the_elbo_that_the_history_says(trained, prepared_numbers):
    from genlab.data import arrays, images

    modules, _ = image_model.load_model(trained["vae"] / "model.safetensors")
    model = vae.VAE(modules["encoder"], modules["generator"].decoder, 10, likelihoods.UnitNormal(), (3, 32, 32))
    x = images.to_model(torch.from_numpy(arrays.load_images(prepared_numbers).valid_images).flatten(1))
    noise = torch.randn(1, len(x), 10, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        reconstruction, kl = vae.elbo_terms(model, x, noise)
    best = max(float(row["valid_elbo"]) for row in rows_of(trained["vae"]))
    assert float((reconstruction - kl).mean()) == pytest.approx(best, rel=1e-5)


@pytest.mark.parametrize(
    "kind, change, message",
    [
        ("vae", ["--data", "missing.npz"], "missing.npz"),
        ("vae", ["--width", "0"], "give 1 or more"),
        ("gan", ["--data", __file__], "test_train_images.py"),
        ("gan", ["--classifier", "missing.pt"], "missing.pt: no such file"),
        ("gan", ["--penalty-weight", "0"], "0 is out of range; give more than 0"),
        ("gan", ["--precision", "float16"], "invalid choice: 'float16'"),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(options, tmp_path, kind, change, message):
    process = run_stage(f"train_{kind}", *options(kind, tmp_path / "out"), *change)
    assert process.returncode == 2, process.stderr
    assert message in process.stderr.splitlines()[-1] and "Traceback" not in process.stderr
    assert not (tmp_path / "out").exists()


# Networks of one's own

OWN = {
    "vae": ["--generator", f"{EXAMPLE}:Generator", "--encoder", f"{EXAMPLE}:Encoder"],
    "gan": ["--generator", f"{EXAMPLE}:Generator", "--critic", f"{EXAMPLE}:Critic"],
}


def test_a_fitted_prior_follows_the_latents(options, prepared_numbers, tmp_path):
    from genlab.data import arrays, images

    done = succeed("train_vae", *options("vae", tmp_path, 8), "--prior", "fitted_mixture", "--kl-weight", 0.01)
    found = float(re.search(r"validation ELBO (\S+) nats", done.stdout)[1])
    assert found > max(float(row["valid_elbo"]) for row in rows_of(tmp_path)) + 1  # these are with N(0, I)
    model = vae.of_parts(image_model.load_model(tmp_path / "model.safetensors")[0])
    x = images.to_model(torch.from_numpy(arrays.load_images(prepared_numbers).train_images).flatten(1))
    z = vae.posterior_draws(model, x, torch.Generator().manual_seed(9), torch.Tensor.float)
    assert model.log_prior(z).mean() > -0.5 * z.square().sum(1).mean() + 10
    drawn = model.prior.inverse(torch.randn(20_000, 10, generator=torch.Generator().manual_seed(1)))
    assert z.var(0).max() > 5 and ((drawn.var(0) / z.var(0)).log().abs() < 0.7).all()


@pytest.fixture(scope="module")
def own(options, tmp_path_factory):
    """{kind: weights} of trainings of the example networks, one resumed after a SIGKILL."""
    folders = {kind: tmp_path_factory.mktemp(f"own_{kind}") for kind in OWN}
    kill_and_resume("train_gan", *options("gan", folders["gan"], epochs=10), *OWN["gan"], "--checkpoint-seconds", 1)
    succeed("train_vae", *options("vae", folders["vae"], epochs=1), *OWN["vae"])
    return {kind: folder / "model.safetensors" for kind, folder in folders.items()}


@pytest.mark.parametrize("kind", OWN)
def test_one_s_own_networks_are_saved_with_the_place_and_content_of_their_file(own, kind):
    tensors, about = checkpoint.load_tensors(own[kind])
    assert {name.split(".")[0] for name in tensors} == set(KINDS[kind])
    parts = [word[2:] for word in OWN[kind][::2]]
    assert set(about["networks"]) == set(parts)
    place, sha256 = (about["networks"]["generator"][key] for key in ("place", "sha256"))
    assert place == f"{EXAMPLE}:Generator" and sha256 == files.checksum(EXAMPLE)


@pytest.mark.parametrize("kind", OWN)
def test_one_s_own_generator_is_sampled(own, kind, tmp_path):
    words = OWN[kind] if kind == "vae" else OWN[kind][:2]
    succeed("sample", "--weights", own[kind], "--output", tmp_path / "out", "--count", 3, "--device", "cpu", *words)
    assert len(list((tmp_path / "out" / "samples").iterdir())) == 3


def test_one_s_own_file_is_run_only_if_it_is_named(own, tmp_path):
    process = run_stage("sample", "--weights", own["gan"], "--output", tmp_path / "out", "--device", "cpu")
    assert process.returncode == 2 and not (tmp_path / "out").exists()
    assert f"its generator is from {EXAMPLE}:Generator; give --generator {EXAMPLE}:Generator" in process.stderr


def test_a_network_that_breaks_the_contract_is_refused_before_training(options, tmp_path):
    words = ["--generator", f"{EXAMPLE}:Critic"]
    process = run_stage("train_gan", *options("gan", tmp_path / "out"), *words)
    assert process.returncode == 2 and not (tmp_path / "out").exists()
    assert "networks.py:Critic: fails with latents=10 (TypeError" in process.stderr
    assert (
        "the contract of --generator: a class made with latents=L" in process.stderr
        and "Traceback" not in process.stderr
    )


def test_a_likelihood_of_more_outputs_is_refused_for_one_s_own_generator(options, tmp_path):
    words = ["--likelihood", "logistic_mixture", *OWN["vae"]]
    process = run_stage("train_vae", *options("vae", tmp_path / "out"), *words)
    assert process.returncode == 2 and "needs more outputs than your own generator's images" in process.stderr


def test_a_generator_that_would_never_be_updated_is_refused(options, tmp_path):
    process = run_stage("train_gan", *options("gan", tmp_path / "out", 1), "--critic-steps", "1000")
    assert process.returncode == 2 and not (tmp_path / "out").exists()
    assert "--critic-steps: 1000, and the critic has " in process.stderr and "give more epochs" in process.stderr
