"""Priors p(z) of a VAE's latents: the standard normal, one learned with the networks, or one fitted after them.

Also the flow of a posterior, which is that of a prior with a context.

A prior is a module with

    log_density(z, posterior)  log p(z) + L/2 log 2 pi of z (..., L), in nats (...): without the constant of N(0, I),
                      which cancels against that of q(z|x). posterior: images x (M, D) -> mean and log-variance of
                      q(z|x), (M, L) each; only `vamp` needs it.
    inverse(e, posterior)  z of e (..., L): noise e ~ N(0, I) gives z ~ p(z)
    learned           whether it has weights

A flow also maps latents to noise: prior(z) is (e, log |det de/dz|), and log p(z) = log N(e; 0, I) + log |det de/dz|.

The aggregate of all posteriors q(z|x) is far from normal. A prior that follows it costs the ELBO less, and its samples
come from where the decoder was trained (Tomczak & Welling 2018; with a flow, Chen et al. 2017; fitted afterwards, Ghosh
et al. 2020).
"""

import copy
import math

import torch
import torch.nn.functional as F
from torch import nn

LAYERS, WIDTH = 8, 256
POSTERIOR_LAYERS = 4
LIMIT = 2.0  # of the log-scale of one layer, so that no layer can blow up
COMPONENTS = 500  # of a mixture, as in Tomczak & Welling (2018)
FITTED = ("fitted_mixture",)  # names of priors that are fitted after training, in which N(0, I) takes their place
FITTED_COMPONENTS = 30
SHRINKAGE = 50.0  # how many latents the covariance of all of them counts for in each component's
ROUNDS, PATIENCE = 60, 10  # of expectation maximisation: at most, and without a better fit to held-out latents


class StandardNormal(nn.Module):
    """N(0, I)."""

    learned = False

    def forward(self, z):
        return z, 0.0

    def log_density(self, z, posterior=None):
        return -0.5 * z.square().sum(-1)

    def inverse(self, e, posterior=None):
        return e


class CouplingFlow(nn.Module):
    """A flow of affine coupling layers (Dinh, Sohl-Dickstein & Bengio 2017, RealNVP); N(0, I) before training.

    Each layer scales and shifts half of the numbers by functions of the other half. Fixed random orders between the
    layers mix them. With `conditions` > 0 these functions also have a context (..., conditions), so that there is a
    flow for each context; its leading dimensions broadcast against those of z.
    """

    learned = True

    def __init__(self, latents, layers=LAYERS, width=WIDTH, conditions=0):
        super().__init__()
        self.kept = latents // 2
        sizes = self.kept, latents - self.kept, width, conditions
        self.layers = nn.ModuleList([Conditioner(*sizes) for _ in range(layers)])
        rng = torch.Generator().manual_seed(1)  # the same orders in every training
        self.register_buffer("orders", torch.stack([torch.randperm(latents, generator=rng) for _ in range(layers)]))

    def forward(self, z, context=None):
        log_det = 0.0
        for order, layer in zip(self.orders, self.layers, strict=True):
            kept, moved = z.index_select(-1, order).tensor_split([self.kept], -1)
            log_scale, shift = layer(kept, context)
            z = torch.cat([kept, (moved + shift) * log_scale.exp()], -1)
            log_det = log_det + log_scale.sum(-1)
        return z, log_det

    def log_density(self, z, posterior=None):
        e, log_det = self(z)
        return log_det - 0.5 * e.square().sum(-1)

    def inverse(self, e, posterior=None, context=None):
        for order, layer in zip(self.orders.flip(0), reversed(self.layers), strict=True):
            kept, moved = e.tensor_split([self.kept], -1)
            log_scale, shift = layer(kept, context)
            e = torch.cat([kept, moved * (-log_scale).exp() - shift], -1).index_select(-1, order.argsort())
        return e


class Conditioner(nn.Module):
    """The log-scale and the shift of the moved numbers, of the kept ones: (..., kept) -> two (..., moved).

    They also depend on a context (..., conditions), if conditions > 0.
    """

    def __init__(self, kept, moved, width, conditions=0):
        super().__init__()
        self.context = nn.Linear(conditions, width, bias=False) if conditions else None
        self.inner, self.middle = nn.Linear(kept, width), nn.Linear(width, width)
        self.outer = nn.Linear(width, 2 * moved)
        nn.init.zeros_(self.outer.weight)
        nn.init.zeros_(self.outer.bias)

    def forward(self, x, context=None):
        inner = self.inner(x) if context is None else self.inner(x) + self.context(context)
        log_scale, shift = self.outer(F.silu(self.middle(F.silu(inner)))).chunk(2, -1)
        return LIMIT * torch.tanh(log_scale / LIMIT), shift


class GaussianMixture(nn.Module):
    """A mixture of diagonal Gaussians.

    components(posterior)  their log-weights (C,), means and log-variances (C, L)
    """

    learned = True

    def log_density(self, z, posterior=None):
        log_weights, means, log_variances = self.components(posterior)
        precision = torch.exp(-log_variances)
        # (z - m)^2 / v as products of matrices: no tensor with a number for each latent and component.
        squares = z.square() @ precision.T - 2 * z @ (means * precision).T + (means.square() * precision).sum(-1)
        return torch.logsumexp(log_weights - 0.5 * (squares + log_variances.sum(-1)), -1)

    def inverse(self, e, posterior=None):
        log_weights, means, log_variances = self.components(posterior)
        component, e = choose(log_weights, e)
        return means[component] + torch.exp(0.5 * log_variances[component]) * e


def choose(log_weights, e):
    """A component for each e (..., L), by the weights (C,), and noise that does not depend on it: (...) and (..., L).

    The place of the first number in its distribution chooses the component; what is left of it is used again.
    """
    ends = log_weights.double().exp().cumsum(0)
    ends = ends / ends[-1]
    place = torch.special.ndtr(e[..., 0].double())
    component = torch.searchsorted(ends, place.contiguous()).clamp(max=len(ends) - 1)
    starts = torch.cat([ends.new_zeros(1), ends[:-1]])
    left = (place - starts[component]) / (ends - starts)[component]
    left = torch.special.ndtri(left.clamp(1e-15, 1 - 1e-15)).to(e.dtype)
    return component, torch.cat([left[..., None], e[..., 1:]], -1)


class Mixture(GaussianMixture):
    """A mixture with learned weights, means and variances."""

    def __init__(self, latents, components=COMPONENTS):
        super().__init__()
        self.logits = nn.Parameter(torch.zeros(components))
        self.means = nn.Parameter(torch.randn(components, latents))
        self.log_variances = nn.Parameter(torch.zeros(components, latents))

    def components(self, posterior=None):
        return F.log_softmax(self.logits, 0), self.means, self.log_variances


class Vamp(GaussianMixture):
    """The posteriors of learned pseudo-inputs in equal parts (Tomczak & Welling 2018, VampPrior)."""

    def __init__(self, dimensions, components=COMPONENTS):
        super().__init__()
        # As in their code, pseudo-inputs start near the mean image of a sparse set.
        self.pseudo_inputs = nn.Parameter(torch.randn(components, dimensions) - 2)

    def components(self, posterior):
        mean, log_variance = posterior(torch.sigmoid(self.pseudo_inputs))
        return mean.new_full((len(mean),), -math.log(len(mean))), mean, log_variance

    @torch.no_grad()
    def settled(self, posterior):
        """The same density as a `Mixture`, once training is over: pseudo-inputs are encoded once, not at every call."""
        log_weights, means, log_variances = self.components(posterior)
        mixture = Mixture(means.shape[1], len(means)).to(means.device)
        mixture.load_state_dict({"logits": log_weights, "means": means, "log_variances": log_variances})
        return mixture


class FittedMixture(nn.Module):
    """A mixture of Gaussians with full covariances, fitted to latents by `fit`; N(0, I) before."""

    learned = True

    def __init__(self, latents, components=FITTED_COMPONENTS):
        super().__init__()
        self.register_buffer("log_weights", torch.full((components,), -math.log(components)))
        self.register_buffer("means", torch.zeros(components, latents))
        self.register_buffer("factors", torch.eye(latents).repeat(components, 1, 1))  # Cholesky, of the covariances

    def joint(self, z):
        """log p(z, component) + L/2 log 2 pi of z (..., L): (..., C)."""
        whitening = torch.linalg.solve_triangular(self.factors, torch.eye(z.shape[-1]).to(z), upper=False)
        e = torch.einsum("...cl,ckl->...ck", z[..., None, :] - self.means, whitening)
        spread = self.factors.diagonal(dim1=-2, dim2=-1).log().sum(-1)
        return self.log_weights - spread - 0.5 * e.square().sum(-1)

    def log_density(self, z, posterior=None):
        return self.joint(z).logsumexp(-1)

    def inverse(self, e, posterior=None):
        component, e = choose(self.log_weights, e)
        return self.means[component] + torch.einsum("...kl,...l->...k", self.factors[component], e)

    def mean_density(self, parts):
        """The mean log-density of latents in parts, each (V, L)."""
        return float(torch.cat([self.log_density(part) for part in parts]).mean())

    @torch.no_grad()
    def fit(self, z, held_out, rng):
        """Fit to latents z (N, L) by expectation maximisation, in float64.

        Components begin at random latents (rng: a CPU torch generator). The covariance of all latents, as SHRINKAGE
        more of them, keeps each component's positive. The round with the highest density of the latents `held_out`
        (V, L) is kept, or the mixture as it was, if that has a higher one.
        """
        fitted, z, held_out = copy.deepcopy(self).double(), z.double(), held_out.double().split(5000)
        best = fitted.mean_density(held_out)
        shape = torch.cov(z.T, correction=0).view(z.shape[1], -1) + 1e-6 * torch.eye(z.shape[1]).to(z)
        fitted.means = z[torch.randperm(len(z), generator=rng)[torch.arange(len(self.means)) % len(z)].to(z.device)]
        fitted.factors = torch.linalg.cholesky(shape).expand_as(self.factors)
        since = 0
        for _ in range(ROUNDS):
            shares = torch.cat([fitted.joint(part) for part in z.split(5000)]).softmax(-1)
            counts = shares.sum(0) + 1e-9
            fitted.log_weights = torch.log(counts / counts.sum())
            fitted.means = shares.T @ z / counts[:, None]
            covariances = [
                ((share[:, None] * (z - mean)).T @ (z - mean) + SHRINKAGE * shape) / (count + SHRINKAGE)
                for share, mean, count in zip(shares.T, fitted.means, counts, strict=True)
            ]
            fitted.factors = torch.linalg.cholesky(torch.stack(covariances))
            density = fitted.mean_density(held_out)
            since += 1
            if density > best:
                best, since = density, 0
                self.load_state_dict(fitted.state_dict())
            elif since == PATIENCE:
                break


def posterior_flow(name, latents):
    """The flow of the posterior of a name in the configuration, or None: its context is q(z|x)'s Gaussian."""
    made = {"gaussian": lambda: None, "flow": lambda: CouplingFlow(latents, POSTERIOR_LAYERS, conditions=2 * latents)}
    return made[name]()


def prior(name, latents, dimensions=None):
    """The prior of a name in the configuration. dimensions: D of the images, for `vamp`."""
    made = {
        "standard_normal": StandardNormal,
        "flow": lambda: CouplingFlow(latents),
        # p(z_1 | z_2) p(z_2), each normal and of L/2 dimensions. q(z|x) makes the two independent.
        "two_levels": lambda: CouplingFlow(latents, layers=1),
        "mixture": lambda: Mixture(latents),
        "vamp": lambda: Vamp(dimensions),
        "fitted_mixture": lambda: FittedMixture(latents),
    }
    return made[name]()
