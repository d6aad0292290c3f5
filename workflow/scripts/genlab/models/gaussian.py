"""Diagonal Gaussians N(mean, diag exp(log_variance)): the approximate posterior of an image's latents."""

import numpy as np
import torch


def generator(seed, device):
    """A torch generator whose seed is several numbers, each of which counts."""
    return torch.Generator(device).manual_seed(int(np.random.default_rng(seed).integers(2**63)))


def reparameterise(mean, log_variance, noise):
    """z = mean + exp(log_variance / 2) noise, for standard normal `noise`; shapes broadcast.

    z is differentiable in mean and log_variance (Kingma & Welling 2014, section 2.4).
    """
    return mean + torch.exp(0.5 * log_variance) * noise


def standardise(mean, log_variance, z):
    """The `noise` that `reparameterise` turns into z."""
    return (z - mean) * torch.exp(-0.5 * log_variance)


def minus_log_density(log_variance, noise):
    """-log q(z) - L/2 log 2 pi at z = `reparameterise(mean, log_variance, noise)`, in nats: (..., L) -> (...)."""
    return 0.5 * (noise**2 + log_variance).sum(-1)


def kl(mean, log_variance):
    """KL(N(mean, diag exp(log_variance)) || N(0, I)) in nats, (M, L) -> (M,)."""
    return 0.5 * (mean**2 + log_variance.exp() - log_variance - 1).sum(-1)
