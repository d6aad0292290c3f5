"""What the latents of a generator do: latent traversal along single dimensions, and interpolation.

A generator here is any callable from latents z (M, L) to images (M, 3, 32, 32), floats in [-1, 1]:
a module in eval mode, or a test's function. Effects are in 8-bit grey levels.
"""

import math
import statistics

import numpy as np
import torch

from ..data import images
from ..data.arrays import PATHS
from ..measures import image_statistics, metrics
from . import classifier


@torch.no_grad()
def decode(generator, z, batch=250):
    """Images (..., 3, 32, 32) in [-1, 1] from latents z (..., L), decoded `batch` at a time."""
    parts = [generator(part) for part in z.flatten(0, -2).split(batch)]
    return torch.cat(parts).unflatten(0, z.shape[:-1])


def perturb(generator, z, epsilon):
    """Latent traversal: images of z (L,), and of z + epsilon e_i and z - epsilon e_i for each of the L dimensions i.

    Every step starts from z itself, so steps never accumulate.
    Returns base (3, 32, 32), plus and minus (L, 3, 32, 32), floats in [-1, 1].
    """
    steps = epsilon * torch.eye(len(z), dtype=z.dtype, device=z.device)
    base, plus, minus = decode(generator, torch.cat([z[None], z + steps, z - steps])).split([1, len(z), len(z)])
    return base[0], plus, minus


def effect(base, plus, minus):
    """The effect of each dimension from `perturb`'s images: (L,) float64, in grey levels.

    The root mean square change of all pixels and channels from `base`, averaged over + and -.
    """
    changes = torch.stack([plus, minus]).double() - base
    return images.GREY_LEVELS * changes.square().mean((-3, -2, -1)).sqrt().mean(0)


def mean_effect(generator, latents, epsilon):
    """The `effect` of each dimension, averaged over starting points `latents` (S, L): (L,) float64, in grey levels."""
    return torch.stack([effect(*perturb(generator, z, epsilon)) for z in latents]).mean(0)


def rank(effects):
    """The dimensions by decreasing effect (L,), ties by index: int64 (L,)."""
    return torch.argsort(effects, descending=True, stable=True)


def interpolate(generator, start, end, alphas):
    """Interpolate along three paths from z1 = `end` (alpha 0) to z0 = `start` (alpha 1), latents (..., L) each.

    The latent path is g(alpha z0 + (1 - alpha) z1), the sphere path g(`spherical`), the image path
    alpha g(z0) + (1 - alpha) g(z1) mixed in [-1, 1], for each of `alphas` (A,). Returns three tensors
    (A, ..., 3, 32, 32), floats in [-1, 1].
    """
    weights = alphas.to(start).view(-1, *[1] * start.ndim)
    mixed = weights * start + (1 - weights) * end
    pictures = decode(generator, torch.cat([mixed, spherical(start, end, weights), start[None], end[None]]))
    straight, sphere = pictures[:-2].chunk(2)
    weights = weights[..., None, None]
    return straight, sphere, weights * pictures[-2] + (1 - weights) * pictures[-1]


def spherical(start, end, weights):
    """Spherical interpolation (White 2016, "Sampling generative networks") from `end` (weight 0) to `start` (1).

    Draws z of N(0, I) in many dimensions nearly all have the length sqrt(L). The middle of the straight line between
    two of them is shorter, sqrt(L / 2), and such z hardly ever occur. An arc keeps the length.
    """
    cosine = torch.nn.functional.cosine_similarity(start, end, dim=-1).clamp(-1, 1)[..., None]
    angle = torch.arccos(cosine)
    sine = torch.sin(angle)
    shares = [torch.where(sine > 1e-6, torch.sin(part * angle) / sine, part) for part in (weights, 1 - weights)]
    return shares[0] * start + shares[1] * end


def measure(network, reference, pictures):
    """How sharp, how far from real images, and how recognisable each image is; images uint8 (M, 3, 32, 32).

    reference: features (R, 512) of real images. Returns a dict of arrays (M,) and the features (M, 512).
    The dict has sharpness in grey levels, distance to the nearest of `reference`, and top_probability of
    the classifier.
    """
    features, logits = classifier.classify(network, pictures)
    numbers = {
        "sharpness": image_statistics.sharpness(pictures),
        "distance": metrics.nearest_distances(features, reference)[0],
        "top_probability": image_statistics.top_probability(logits),
    }
    return numbers, features


def measure_paths(generator, network, reference, start, end, alphas, pairs=25):
    """The numbers of `measure` along the paths of `interpolate` between latents (P, L), `pairs` at a time.

    Returns a dict of float64 arrays (A, P): latent_sharpness, latent_distance, latent_top_probability, the same for
    the sphere and the image path, and path_distance, the feature distance between the latent and the image path.
    """
    columns = {}
    for two_ends in zip(start.split(pairs), end.split(pairs), strict=True):
        numbers, features = {}, {}
        for name, path in zip(PATHS, interpolate(generator, *two_ends, alphas), strict=True):
            pictures = images.to_uint8(path).flatten(0, 1).cpu().numpy()
            found, features[name] = measure(network, reference, pictures)
            numbers |= {f"{name}_{quantity}": values for quantity, values in found.items()}
        difference = features["latent"].astype(np.float64) - features["image"]
        numbers["path_distance"] = np.sqrt(np.square(difference).sum(1))
        for column, values in numbers.items():
            columns.setdefault(column, []).append(values.reshape(len(alphas), -1))
    return {column: np.concatenate(parts, axis=1) for column, parts in columns.items()}


def attributes(generator, network, z, classes, batch=250):
    """What the images of latents z (M, L) look like, {name: (M,) float64}: see `image_statistics.appearance`.

    And the probability of each class by the classifier `network`; `classes` names them, a list of text.
    """
    columns = {}
    for part in z.split(batch):
        pictures = images.to_uint8(decode(generator, part)).cpu().numpy()
        _, logits = classifier.classify(network, pictures)
        found = image_statistics.appearance(pictures)
        odds = image_statistics.probabilities(logits)
        for name, values in (found | dict(zip(classes, odds.T, strict=True))).items():
            columns.setdefault(name, []).append(values)
    return {name: np.concatenate(parts) for name, parts in columns.items()}


def correlations(z, columns):
    """Pearson's correlation of each latent with each attribute, (L, A), and the size that is beyond chance.

    z (M, L), columns {name: (M,)} of A attributes. A constant attribute correlates with nothing, 0. Beyond chance is
    what one of all L A correlations of independent columns exceeds in 5% of cases (Bonferroni, normal approximation).
    """
    latents, values = np.asarray(z, np.float64), np.stack(list(columns.values()), 1)
    latents, values = latents - latents.mean(0), values - values.mean(0)
    sizes = np.linalg.norm(latents, axis=0)[:, None] * np.linalg.norm(values, axis=0)
    found = np.divide(latents.T @ values, sizes, out=np.zeros_like(sizes), where=sizes > 1e-9)
    quantile = statistics.NormalDist().inv_cdf(1 - 0.025 / found.size)
    return found, quantile / math.sqrt(len(latents))
