"""The generator that the image models share: its file and its images.

A model's file holds the tensors of its networks under their names (`generator.` and, as `kinds` lists them, others),
and `about`: kind, model, seed, generator (latents and width), settings, data and versions.
"""

import torch

from .. import InputError
from ..data import images
from ..training.checkpoint import load_tensors, save_tensors
from . import gaussian, layers, networks


def save_model(path, parts, about):
    """Write the modules `parts` ({"generator": module, ...}) with `about` to safetensors."""
    tensors = {f"{name}.{key}": value for name, part in parts.items() for key, value in part.state_dict().items()}
    save_tensors(path, tensors, about)


def load_model(path, device="cpu"):
    """({name: module in eval mode}, about) from a file of `save_model`: generator and, if it holds one, encoder.

    Raises `InputError` for any other file.
    """
    tensors, about = load_tensors(path)
    try:
        size = about["generator"]
        if not isinstance(about["kind"], str):
            raise TypeError("'kind' is not text")
        parts = {"generator": layers.accelerate(networks.Generator(**size), size["latents"])}
        if any(name.startswith("encoder.") for name in tensors):
            parts["encoder"] = layers.accelerate(networks.Encoder(**size), 3, 32, 32)
        for name, part in parts.items():
            prefix = f"{name}."
            part.load_state_dict({k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)})
    except (KeyError, TypeError, RuntimeError) as error:
        reason = str(error).splitlines()[-1].strip()  # torch names the differences below its first line
        raise InputError(
            f"{path}: not the weights of an image model ({reason}); train one with train_vae.py or train_gan.py"
        ) from None
    return {name: part.to(device).eval() for name, part in parts.items()}, about


@torch.no_grad()
def generate(generator, z, batch=250):
    """Images uint8 (M, 3, 32, 32) on the CPU from latents z (M, L), `batch` at a time; generator in eval mode."""
    if generator.training:
        raise ValueError("the generator is in training mode; call eval() first")
    return torch.cat([images.to_uint8(generator(part)).cpu() for part in z.split(batch)])


@torch.no_grad()
def reconstruct(parts, originals, normal, batch=250):
    """Images uint8 (M, 3, 32, 32) on the CPU: g(z) for one draw of z from q(z|x) for each original x, also uint8.

    parts: generator and encoder of `load_model`; normal: a CPU torch generator, so that the draws
    are the same on every device.
    """
    device, pictures = next(parts["encoder"].parameters()).device, []
    for x in originals.split(batch):
        mean, log_variance = parts["encoder"](images.to_model(x.to(device))).chunk(2, dim=1)
        noise = torch.randn(mean.shape, generator=normal).to(device)
        pictures.append(generate(parts["generator"], gaussian.reparameterise(mean, log_variance, noise)))
    return torch.cat(pictures)
