"""Divergences of two distributions, and a density, estimated from samples by trained networks.

A *sampler* is a function `sample(count, generator)` that returns float32 points (E, count, D) from E
distributions, drawn with a CPU torch generator. E pairs of distributions are estimated at once, for each of
G generators (seeds). The G E networks, seed by seed, are one batched model whose members share nothing.
Divergences are in nats, distances in the units of the points.

The discriminator D = sigmoid(logit) bounds the Jensen-Shannon divergence from below (Goodfellow et al. 2014):

    JSD(p, q) = max_D  log 2 + 1/2 E_p log D + 1/2 E_q log(1 - D)

The critic T estimates the 1-Wasserstein distance (Gulrajani et al. 2017, eq. 3):

    max_T  E_p T - E_q T - penalty_weight E(||grad T||_2 - 1)^2, the last on interpolates

Both are evaluated on fresh points. With samplers of your own:

    generators = [torch.Generator().manual_seed(seed) for seed in (1, 2, 3)]
    critics = train_critics(sample_p, sample_q, generators, settings)
    w1, standard_error, lipschitz = read_wasserstein(critics, sample_p, sample_q, 20000, generators)
"""

import functools
import itertools
import math
from types import SimpleNamespace

import torch
import torch.nn.functional as F
from torch import nn

from .. import ComputationError, log
from ..training.loop import collect, restore
from ..training.optimization import Progress, learning_rate
from . import wgan

LOG_2 = math.log(2)
SHARPNESS = 5.0  # of the softplus: close to a rectifier, but smooth
CHUNK = 1000  # points of each member evaluated at a time, to bound the memory


# --- distributions and their exact values ---


def segments(offsets):
    """Sampler of (offset, U), U uniform on [0, 1], for each of the offsets (E,): points (E, count, 2)."""

    def sample(count, generator):
        u = torch.rand(len(offsets), count, generator=generator)
        return torch.stack([offsets[:, None].expand_as(u), u], 2)

    return sample


def uniform_square(count, generator):
    """Points uniform on the square [0, 1]^2: (1, count, 2)."""
    return torch.rand(1, count, 2, generator=generator)


def standard_normal(count, generator):
    """Points of N(0, 1): (1, count, 1)."""
    return torch.randn(1, count, 1, generator=generator)


def distribution4(count, generator):
    """Points f(z), z ~ N(0, 1), with `transform` f: (1, count, 1)."""
    return transform(standard_normal(count, generator))


def transform(z):
    """f(z) = tanh(2 z + 1) + 0.75 z, strictly increasing."""
    return torch.tanh(2 * z + 1) + 0.75 * z


def standard_normal_density(x):
    """The density of N(0, 1) at x, any shape."""
    return torch.exp(-0.5 * x**2) / math.sqrt(2 * math.pi)


def distribution4_density(x):
    """The exact density of `distribution4` at x (float64, any shape): phi(z) / f'(z) at z = f^-1(x), by bisection."""
    low, high = (x - 1) / 0.75, (x + 1) / 0.75  # for |tanh| < 1
    for _ in range(60):
        middle = (low + high) / 2
        above = transform(middle) > x
        low, high = torch.where(above, low, middle), torch.where(above, middle, high)
    z = (low + high) / 2
    return standard_normal_density(z) / (2 * (1 - torch.tanh(2 * z + 1) ** 2) + 0.75)


def segments_jensen_shannon(theta):
    """The exact JSD in nats of (0, U) and (theta, U): 0 at theta = 0, else log 2, because the supports are disjoint."""
    return torch.where(theta == 0, 0.0, LOG_2)


def segments_wasserstein(theta):
    """The exact W1 of (0, U) and (theta, U): every point moves by |theta|."""
    return theta.abs()


# --- networks ---


class Perceptrons(nn.Module):
    """E perceptrons of three layers, evaluated together: points (E, B, D) -> (E, B).

    Each member has its own weights. With a loss that is a sum over members, training them together equals
    training each alone. The activation is a softplus, because a penalty on the gradient needs a smooth
    gradient. Weights and biases are drawn as torch draws them for a linear layer, an equal share of the
    members from each generator.
    """

    def __init__(self, members, dimensions, width, generators):
        super().__init__()
        share, sizes = members // len(generators), (dimensions, width, width, 1)

        def drawn(fan_in, *shape):
            uniform = torch.cat([torch.rand(share, *shape, generator=generator) for generator in generators])
            return nn.Parameter((2 * uniform - 1) / math.sqrt(fan_in))

        self.weights = nn.ParameterList(drawn(a, a, b) for a, b in itertools.pairwise(sizes))
        self.biases = nn.ParameterList(drawn(a, 1, b) for a, b in itertools.pairwise(sizes))

    def forward(self, x):
        for weight, bias in zip(self.weights[:-1], self.biases[:-1], strict=True):
            x = F.softplus(torch.baddbmm(bias, x, weight), beta=SHARPNESS)
        return torch.baddbmm(self.biases[-1], x, self.weights[-1]).squeeze(2)


# --- training ---


def draw(sample, count, generators):
    """`count` points of every distribution of a sampler, from each of G generators: (G E, count, D)."""
    return torch.cat([sample(count, generator) for generator in generators])


def train_discriminators(sample_p, sample_q, generators, settings, progress=lambda steps: None, checkpoints=None):
    """`Perceptrons` that tell p (logit > 0) from q, one per pair and generator.

    settings: width, batch_size, steps, optimizer ("adam" or "sgd"), learning_rate, schedule,
    warmup_steps: see `density_estimation` in the configuration schema. progress(1) is called after each step.
    checkpoints: a `checkpoint.CheckpointPolicy`; training resumes from its last checkpoint and leaves one at the
    end, with the generators.
    """

    def loss(network, p, q, done):
        return -jensen_shannon_bound(*network(torch.cat([p, q], 1)).chunk(2, 1))

    return _train(loss, sample_p, sample_q, generators, settings, progress, checkpoints)


def train_critics(sample_p, sample_q, generators, settings, progress=lambda steps: None, checkpoints=None):
    """`Perceptrons` with slopes near 1 whose means on p and q differ most, one per pair and generator.

    settings: those of `train_discriminators`, penalty_weight, and penalty_warmup, the share of the steps
    over which the weight rises from 0. At full weight from the start, the two-sided penalty would fix the
    critic's initial sign: to change it, the slope would have to pass through 0. With the warm-up the means
    choose the sign first, even where p and q are close. The maximum stays the same.
    """
    weight, warmup = settings["penalty_weight"], settings["penalty_warmup"]

    def loss(network, p, q, done):
        penalty = (slopes(network, mixtures(p, q, generators)) - 1).square().mean(1)
        ramp = min(1.0, done / warmup) if warmup else 1.0
        return weight * ramp * penalty - difference_of_means(*network(torch.cat([p, q], 1)).chunk(2, 1))

    return _train(loss, sample_p, sample_q, generators, settings, progress, checkpoints)


def _train(loss, sample_p, sample_q, generators, settings, progress, checkpoints):
    """Perceptrons that minimise `loss(network, p, q, done)` (members,), on fresh points in each step."""
    members, _, dimensions = draw(sample_p, 1, generators).shape
    network = Perceptrons(members, dimensions, settings["width"], generators)
    kind = {"adam": functools.partial(torch.optim.Adam, fused=True), "sgd": torch.optim.SGD}[settings["optimizer"]]
    optimizer, steps = kind(network.parameters(), settings["learning_rate"]), settings["steps"]
    task, cpu = SimpleNamespace(modules={"network": network}, optimizers={"optimizer": optimizer}), torch.device("cpu")

    def save(done):
        if not all(torch.isfinite(parameter).all() for parameter in network.parameters()):
            raise ComputationError(
                f"numbers stopped being finite by step {done}; lower --learning-rate, or give --warmup-steps"
            )
        states = {f"generator.{index}": generator.get_state() for index, generator in enumerate(generators)}
        checkpoints.save(collect(task, cpu) | states, {"step": done})

    first = 0
    if checkpoints and (saved := checkpoints.load()):
        tensors, first = saved[0], saved[1]["step"]
        restore(task, tensors, cpu)
        for index, generator in enumerate(generators):
            generator.set_state(tensors[f"generator.{index}"])
        progress(first)
        log.info("resuming at step %d of %d", first, steps)
    for step in range(first, steps):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(Progress(step, steps, step / steps), settings)
        p, q = (draw(sample, settings["batch_size"], generators) for sample in (sample_p, sample_q))
        optimizer.zero_grad(set_to_none=True)
        loss(network, p, q, step / steps).sum().backward()
        optimizer.step()
        progress(1)
        if checkpoints and checkpoints.due():
            save(step + 1)
            checkpoints.heed()
    if checkpoints and first < steps:
        save(steps)
    return network.requires_grad_(False)


def jensen_shannon_bound(logits_p, logits_q):
    """log 2 + 1/2 mean log D(p) + 1/2 mean log(1 - D(q)) in nats, (E,), from logits on points of p and q, (E, B) each.

    Stable for any logit: log D and log(1 - D) are log-sigmoids of the logits, not logarithms of sigmoids.
    """
    return LOG_2 + 0.5 * (F.logsigmoid(logits_p).mean(1) + F.logsigmoid(-logits_q).mean(1))


def difference_of_means(scores_p, scores_q):
    """mean T(p) - mean T(q), (E,), from scores on points of p and q, (E, B) each."""
    return scores_p.mean(1) - scores_q.mean(1)


def mixtures(p, q, generators):
    """Interpolates: a uniformly random point between each point of p and its partner in q, all (E, B, D)."""
    members = len(p) // len(generators)
    alpha = draw(lambda count, generator: torch.rand(members, count, 1, generator=generator), p.shape[1], generators)
    return q + alpha * (p - q)


def slopes(network, points):
    """||grad T||_2 of each member at its points (E, B, D): (E, B), differentiable in T."""
    norms = wgan.gradient_norms(lambda flat: network(flat.view_as(points)), points.flatten(0, 1))
    return norms.view(points.shape[:2])


# --- evaluation ---


def read_jensen_shannon(network, sample_p, sample_q, count, generators):
    """The bound of trained discriminators on `count` fresh points of p and of q.

    Returns the bound and its standard error, (G E,) each, in nats. Apart from that error it is at
    most the divergence.
    """
    logits = [_pointwise(network, draw(sample, count, generators)) for sample in (sample_p, sample_q)]
    terms = [0.5 * F.logsigmoid(logits[0]), 0.5 * F.logsigmoid(-logits[1])]
    return jensen_shannon_bound(*logits), _standard_error(terms)


def read_wasserstein(network, sample_p, sample_q, count, generators):
    """Trained critics on `count` fresh points of p and of q, without the penalty.

    Returns the difference of means, its standard error, and the Lipschitz constant, (G E,) each.
    The constant is the steepest slope at those points and at as many interpolates. The penalty leaves slopes
    above 1 by about W1 / (2 penalty_weight), and the difference is too large by that factor. Divided by the
    constant, it is at most W1, apart from its error and steeper slopes between the points.
    """
    p, q = (draw(sample, count, generators) for sample in (sample_p, sample_q))
    scores = [_pointwise(network, points) for points in (p, q)]
    places = torch.cat([p, q, mixtures(p, q, generators)], 1)
    lipschitz = _pointwise(lambda chunk: slopes(network, chunk).detach(), places).amax(1)
    return difference_of_means(*scores), _standard_error(scores), lipschitz


def density(x, logits):
    """f1(x) = f0(x) D(x) / (1 - D(x)) = f0(x) exp(logit), where f0 is N(0, 1) and D tells f1 (real) from f0."""
    return standard_normal_density(x) * torch.exp(logits)


def density_errors(x, estimates, exact):
    """Errors of estimated densities (E, N) at ascending x (N,) against the exact one (N,), by the trapezoidal rule.

    Returns three (E,): integral; l1_error, the integral of |estimate - exact|; kl, the Kullback-Leibler divergence
    of the exact density from the normalised estimate, in nats.
    """
    integral = torch.trapezoid(estimates, x)
    return {
        "integral": integral,
        "l1_error": torch.trapezoid((estimates - exact).abs(), x),
        "kl": torch.trapezoid(exact * (exact * integral[:, None] / estimates).log(), x),
    }


def _pointwise(function, points):
    """`function` of points (E, B, D) -> (E, B), in chunks of bounded size."""
    return torch.cat([function(chunk) for chunk in points.split(CHUNK, 1)], 1)


def _standard_error(terms):
    """The standard error of a sum of means of independent numbers, (E, B) each: (E,)."""
    return sum(term.var(1) / term.shape[1] for term in terms).sqrt()
