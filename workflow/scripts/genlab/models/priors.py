"""Priors p(z) of a VAE's latents: the standard normal, or one that is learned together with the networks.

A prior is a module that maps latents to noise e, which is standard normal under it, and back:

    prior(z)          (e, log_det): z (..., L) -> e (..., L) and log |det de/dz| (...), so that
                      log p(z) = log N(e; 0, I) + log_det
    inverse(e)        z of e: noise e ~ N(0, I) gives z ~ p(z)
    learned           whether it has weights

The aggregate of all posteriors q(z|x) is far from normal. A prior that follows it costs the ELBO less, and its samples
come from where the decoder was trained (Tomczak & Welling 2018; with a flow, Chen et al. 2017).
"""

import torch
import torch.nn.functional as F
from torch import nn

LAYERS, WIDTH = 8, 256
LIMIT = 2.0  # of the log-scale of one layer, so that no layer can blow up


class StandardNormal(nn.Module):
    """N(0, I)."""

    learned = False

    def forward(self, z):
        return z, 0.0

    def inverse(self, e):
        return e


class CouplingFlow(nn.Module):
    """A flow of affine coupling layers (Dinh, Sohl-Dickstein & Bengio 2017, RealNVP); N(0, I) before training.

    Each layer scales and shifts half of the numbers by functions of the other half. Fixed random orders between the
    layers mix them.
    """

    learned = True

    def __init__(self, latents, layers=LAYERS, width=WIDTH):
        super().__init__()
        self.kept = latents // 2
        self.layers = nn.ModuleList([Conditioner(self.kept, latents - self.kept, width) for _ in range(layers)])
        rng = torch.Generator().manual_seed(1)  # the same orders in every training
        self.register_buffer("orders", torch.stack([torch.randperm(latents, generator=rng) for _ in range(layers)]))

    def forward(self, z):
        log_det = 0.0
        for order, layer in zip(self.orders, self.layers, strict=True):
            kept, moved = z.index_select(-1, order).tensor_split([self.kept], -1)
            log_scale, shift = layer(kept)
            z = torch.cat([kept, (moved + shift) * log_scale.exp()], -1)
            log_det = log_det + log_scale.sum(-1)
        return z, log_det

    def inverse(self, e):
        for order, layer in zip(self.orders.flip(0), reversed(self.layers), strict=True):
            kept, moved = e.tensor_split([self.kept], -1)
            log_scale, shift = layer(kept)
            e = torch.cat([kept, moved * (-log_scale).exp() - shift], -1).index_select(-1, order.argsort())
        return e


class Conditioner(nn.Module):
    """The log-scale and the shift of the moved numbers, of the kept ones: (..., kept) -> two (..., moved)."""

    def __init__(self, kept, moved, width):
        super().__init__()
        self.inner, self.middle = nn.Linear(kept, width), nn.Linear(width, width)
        self.outer = nn.Linear(width, 2 * moved)
        nn.init.zeros_(self.outer.weight)
        nn.init.zeros_(self.outer.bias)

    def forward(self, x):
        log_scale, shift = self.outer(F.silu(self.middle(F.silu(self.inner(x))))).chunk(2, -1)
        return LIMIT * torch.tanh(log_scale / LIMIT), shift


def prior(name, latents):
    """The prior of a name in the configuration: "standard_normal" or "flow"."""
    return CouplingFlow(latents) if name == "flow" else StandardNormal()
