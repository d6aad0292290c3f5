"""The image models' file and the images made from it."""

import pytest
import torch
from genlab import InputError
from genlab.data import images
from genlab.models import image_model, likelihoods, networks, vae
from genlab.training import checkpoint

ABOUT = {"kind": "vae", "model": "vae", "seed": 1, "generator": {"latents": 5, "width": 4}, "data": {"title": "x"}}


@pytest.fixture
def parts():
    torch.manual_seed(0)
    parts = {"generator": networks.Generator(5, 4), "encoder": networks.Encoder(5, 4)}
    for part in parts.values():  # running statistics of their own
        part(torch.randn(8, 5) if part is parts["generator"] else torch.randn(8, 3, 32, 32))
    return parts


def test_what_is_saved_is_loaded_in_eval_mode(parts, tmp_path):
    image_model.save_model(tmp_path / "vae.safetensors", parts, ABOUT)
    loaded, about = image_model.load_model(tmp_path / "vae.safetensors")
    assert about == ABOUT and set(loaded) == {"generator", "encoder"}
    z, x = torch.randn(3, 5), torch.randn(3, 3, 32, 32)
    assert torch.equal(loaded["generator"](z), parts["generator"].eval()(z))
    torch.testing.assert_close(loaded["encoder"](x), parts["encoder"].eval()(x), rtol=1e-5, atol=1e-5)


def test_the_architecture_of_a_generator_is_kept(tmp_path):
    size = {"latents": 5, "width": 4, "architecture": "modulated"}
    saved = {"generator": image_model.generator(size), "critic": networks.Critic(4)}
    image_model.save_model(tmp_path / "gan.safetensors", saved, ABOUT | {"kind": "gan", "generator": size})
    loaded, z = image_model.load_model(tmp_path / "gan.safetensors")[0]["generator"], torch.randn(3, 5)
    assert type(loaded) is networks.ModulatedGenerator
    torch.testing.assert_close(loaded(z), saved["generator"].eval()(z))


def test_of_a_gan_only_the_generator_is_loaded(parts, tmp_path):
    saved = {"generator": parts["generator"], "critic": networks.Critic(4)}
    image_model.save_model(tmp_path / "gan.safetensors", saved, ABOUT | {"kind": "gan"})
    assert set(image_model.load_model(tmp_path / "gan.safetensors")[0]) == {"generator"}


@pytest.mark.parametrize(
    "about, reason",
    [
        ({}, "'generator'"),
        ({"generator": ABOUT["generator"]}, "'kind'"),
        (ABOUT | {"kind": None}, "'kind' is not text"),
        (ABOUT | {"generator": {"latents": 6, "width": 4}}, "Missing key"),
        (ABOUT | {"generator": {"latents": 0, "width": 4}}, "'generator' is {'latents': 0, 'width': 4}"),
        (ABOUT | {"generator": [5, 4]}, "no attribute"),
        (ABOUT | {"generator": {"latents": 5, "width": 4, "architecture": "x.py:G"}}, "'architecture': 'x.py:G'"),
        (ABOUT | {"generator": {"latents": 5, "width": 4, "architecture": "modulated"}}, "Missing key"),
        (ABOUT | {"generator": {"latents": 5, "depth": 4}}, "depth"),
    ],
)
def test_other_weights_are_refused(parts, tmp_path, about, reason):
    checkpoint.save_tensors(tmp_path / "x.safetensors", parts["generator"].state_dict(), about)
    with pytest.raises(InputError, match=r"x\.safetensors: not the weights of an image model") as error:
        image_model.load_model(tmp_path / "x.safetensors")
    assert reason in str(error.value)


def test_generated_images_do_not_depend_on_the_batch(parts):
    z = torch.randn(7, 5)
    with pytest.raises(ValueError, match="training mode"):
        image_model.generate(parts["generator"], z)
    model = parts["generator"].eval()
    pictures = image_model.generate(model, z, batch=3)
    assert pictures.dtype == torch.uint8 and pictures.shape == (7, 3, 32, 32)
    with torch.no_grad():
        assert (pictures.int() - images.to_uint8(model(z)).int()).abs().max() <= 1  # rounding at most
    assert torch.equal(pictures, image_model.generate(model, z, batch=3))


@pytest.mark.parametrize("likelihood", likelihoods.OF_IMAGES)
def test_a_vae_of_each_likelihood_is_saved_and_loaded(tmp_path, likelihood):
    about = ABOUT | {"settings": {"likelihood": likelihood}}
    kind = likelihoods.OF_IMAGES[likelihood]
    model = vae.image_vae(networks.Generator(5, 4, outputs=kind.outputs), networks.Encoder(5, 4), likelihood).eval()
    for buffer in model.log_prob.buffers():
        buffer.fill_(0.25)
    parts = {"generator": model.decoder, "encoder": model.encoder, "likelihood": model.log_prob}
    image_model.save_model(tmp_path / "vae.safetensors", parts, about)
    generator, z = image_model.load_model(tmp_path / "vae.safetensors")[0]["generator"], torch.randn(3, 5)
    wanted = model.log_prob.mean(model.decode(z)).view(3, 3, 32, 32)
    torch.testing.assert_close(generator(z), wanted)
    noise = (torch.Generator().manual_seed(4) for _ in range(2))
    drawn = model.log_prob.draw(model.decode(z), next(noise)).view(3, 3, 32, 32)
    found = image_model.generate(generator, z, noise=next(noise))
    assert torch.equal(found, images.to_uint8(drawn)) and not torch.equal(found, images.to_uint8(wanted))


@pytest.fixture
def with_flow(tmp_path):
    """(a VAE with a learned prior of random weights, its parts as loaded from its file)."""
    torch.manual_seed(3)
    model = vae.image_vae(networks.Generator(5, 4), networks.Encoder(5, 4), prior="flow").eval()
    for layer in model.prior.layers:
        torch.nn.init.normal_(layer.outer.weight, 0, 0.3)
    parts = {"generator": model.decoder, "encoder": model.encoder, "likelihood": model.log_prob, "prior": model.prior}
    image_model.save_model(tmp_path / "vae.safetensors", parts, ABOUT | {"settings": {"prior": "flow"}})
    return model, image_model.load_model(tmp_path / "vae.safetensors")[0]


@torch.no_grad()
def test_the_generator_of_a_learned_prior_takes_standard_normal_noise(with_flow):
    model, parts = with_flow
    e = torch.randn(4, 5)
    z = model.prior.inverse(e)
    torch.testing.assert_close(parts["generator"](e), model.decode(z).view(4, 3, 32, 32), rtol=1e-4, atol=1e-5)
    assert (z - e).abs().max() > 0.1


@torch.no_grad()
def test_a_reconstruction_is_decoded_from_its_latents_whatever_the_prior(with_flow):
    model, parts = with_flow
    originals = torch.randint(0, 256, (4, 3, 32, 32), dtype=torch.uint8)
    found = vae.reconstruct(parts, originals, torch.Generator().manual_seed(2))
    mean, log_variance = model.posterior(images.to_model(originals).flatten(1))
    noise = torch.randn(mean.shape, generator=torch.Generator().manual_seed(2))
    wanted = images.to_uint8(model.decode(mean + (0.5 * log_variance).exp() * noise).view(4, 3, 32, 32))
    assert (found.int() - wanted.int()).abs().max() <= 1


@torch.no_grad()
def test_the_vae_of_loaded_parts_has_the_prior_of_its_training(with_flow):
    model, parts = with_flow
    x, noise = images.to_model(torch.randint(0, 256, (3, 3072), dtype=torch.uint8)), torch.randn(2, 3, 5)
    for found, wanted in zip(
        vae.elbo_terms(vae.of_parts(parts), x, noise), vae.elbo_terms(model, x, noise), strict=True
    ):
        torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-3)
