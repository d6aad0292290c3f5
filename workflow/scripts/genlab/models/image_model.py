"""The generator that the image models share: its file and its images.

A model's file holds the tensors of its networks under their names (`generator.` and, as `kinds` lists them, others),
and `about`: kind, model, seed, generator (its settings), settings, data, versions, and `networks`, which parts are
from files of one's own.
"""

import torch
from torch import nn

from .. import InputError
from ..data import images
from ..training.checkpoint import check_model, check_shapes, load_tensors, save_tensors
from . import layers, likelihoods, networks, own_networks, priors


def save_model(path, parts, about):
    """Write the modules `parts` ({"generator": module, ...}) with `about` to safetensors."""
    tensors = {f"{name}.{key}": value for name, part in parts.items() for key, value in part.state_dict().items()}
    save_tensors(path, tensors, about)


class MeanImages(nn.Module):
    """A VAE's decoder, likelihood and prior as a generator of mean images: (M, L) -> (M, 3, 32, 32) in [-1, 1].

    Its latents are standard normal: the noise that a learned prior turns into the decoder's latents.
    """

    def __init__(self, decoder, likelihood, prior):
        super().__init__()
        self.decoder, self.likelihood, self.prior, self.latents = decoder, likelihood, prior, decoder.latents

    def forward(self, e):
        return self.of_latents(self.prior.inverse(e))

    def of_latents(self, z):
        """Mean images of the decoder's latents, (M, L) -> (M, 3, 32, 32)."""
        return self.likelihood.mean(self.decoder(z).flatten(1)).view(-1, 3, *images.SIZE)

    def draw(self, e, rng):
        """Images drawn from p(x|z), with its noise; rng: a torch generator."""
        return self.likelihood.draw(self.decoder(self.prior.inverse(e)).flatten(1), rng).view(-1, 3, *images.SIZE)


def load_model(path, device="cpu", own=()):
    """({name: module in eval mode}, about) from a file of `save_model`: generator and, of a VAE, encoder.

    own: {name: "FILE.py:CLASS"} of parts that are from a file of one's own, as in `own_networks`; of others, "".
    A VAE's generator is `MeanImages`. Raises `InputError` for any other file.
    """
    tensors, about = load_tensors(path)
    own = dict(own)
    for part in ("generator", "encoder"):
        own_networks.check_same(own.get(part), about, path, part)
    try:
        size = about["generator"]
        if not isinstance(about["kind"], str):
            raise TypeError("'kind' is not text")
        if (
            size.keys() - {"architecture"} != {"latents", "width"}
            or any(type(size[key]) is not int or size[key] < 1 for key in ("latents", "width"))
            or size.get("architecture", "plain") not in networks.GENERATORS  # older weights have none
        ):
            raise TypeError(f"'generator' is {size}")
        parts = {}
        if any(name.startswith("encoder.") for name in tensors):
            likelihood = likelihoods.OF_IMAGES[about.get("settings", {}).get("likelihood", "unit_normal")]()
            parts["likelihood"] = likelihood
            _check_size("encoder", size, tensors, own)
            parts["encoder"] = encoder(size, own.get("encoder"))
        outputs = parts["likelihood"].outputs if parts else 3
        _check_size("generator", size, tensors, own, outputs)
        parts["generator"] = generator(size, own.get("generator"), outputs)
        if "likelihood" in parts:
            parts["prior"] = priors.prior(about.get("settings", {}).get("prior", "standard_normal"), size["latents"])
        for name, part in parts.items():
            prefix = f"{name}."
            part.load_state_dict({k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)})
    except (KeyError, TypeError, AttributeError, RuntimeError) as error:
        reason = str(error).splitlines()[-1].strip()[:200]  # torch names the differences below its first line
        raise InputError(
            f"{path}: not the weights of an image model ({reason}); train one with train_vae.py or train_gan.py"
        ) from None
    check_model(path, tensors, about)
    if likelihood := parts.pop("likelihood", None):
        parts["generator"] = MeanImages(parts["generator"], likelihood, parts.pop("prior"))
    return {name: part.to(device).eval() for name, part in parts.items()}, about


def _check_size(part, size, tensors, own, outputs=3):
    """Raise `RuntimeError` if tensors are not of the size that their file claims, before any memory is taken."""
    if not own.get(part):
        with torch.device("meta"):
            check_shapes(tensors, _network(part, size, outputs), f"{part}.")


def _network(part, size, outputs=3):
    """The project's own "generator" or "encoder" with the settings `size`, of plain layers."""
    if part == "encoder":
        return networks.Encoder(size["latents"], size["width"])
    return networks.GENERATORS[size.get("architecture", "plain")](size["latents"], size["width"], outputs)


def generator(size, place="", outputs=3):
    """A generator with the settings `size`; one's own of `place`, if there is one, has the latents alone from them."""
    if place:
        return own_networks.generator(place, size["latents"])
    return layers.accelerate(_network("generator", size, outputs), size["latents"])


def encoder(size, place=""):
    """An encoder of colour images, the same way."""
    if place:
        return own_networks.encoder(place, size["latents"])
    return layers.accelerate(_network("encoder", size), 3, *images.SIZE)


def critic(width, place="", group=0):
    """A critic of colour images of `width`, that compares images in groups if there is a `group`; or one's own."""
    if place:
        return own_networks.critic(place)
    network = networks.GroupCritic(width, group) if group else networks.Critic(width)
    return layers.accelerate(network, 3, *images.SIZE)


@torch.no_grad()
def generate(generator, z, batch=250, noise=None):
    """Images uint8 (M, 3, 32, 32) on the CPU from latents z (M, L), `batch` at a time; generator in eval mode.

    noise: a torch generator to draw the images of a VAE from p(x|z) with; None for mean images.
    """
    if generator.training:
        raise ValueError("the generator is in training mode; call eval() first")
    return torch.cat([
        images.to_uint8(generator(part) if noise is None else generator.draw(part, noise)).cpu()
        for part in z.split(batch)
    ])  # fmt: skip


def sample(generator, count, seed, noisy=False, batch=500):
    """Yield images uint8 (batch, 3, 32, 32) on the CPU from `count` latents of a seed, the same on every device.

    noisy: draw the images of a VAE from p(x|z), see `noise_source`.
    """
    device = next(generator.parameters()).device
    noise = noise_source(generator, seed) if noisy else None
    z = torch.randn(count, generator.latents, generator=torch.Generator().manual_seed(seed))
    for part in z.split(batch):
        yield generate(generator, part.to(device), noise=noise)


def noise_source(generator, seed):
    """A torch generator for the noise of p(x|z) of a VAE's `MeanImages`; on the CPU: the same images on every device.

    Raises `InputError` for another generator.
    """
    if not isinstance(generator, MeanImages):
        raise InputError("--noise: the weights are of no VAE, so there is no p(x|z) to draw from; leave it out")
    return torch.Generator().manual_seed(seed + 1_000_003)  # not the latents' random numbers again
