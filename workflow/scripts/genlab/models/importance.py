"""Importance weights, given as logs: their mean, what it is at fewer samples, and how far it can be trusted.

Pareto k-hat says how heavy the upper tail of the weights is. Weights with the tail of a generalised Pareto
distribution of shape k have only moments below order 1 / k. From k = 0.5 on, their variance is infinite; from k = 1
on, their mean too. Above 0.7 the mean of any practical number of weights is unreliable. Vehtari, Simpson, Gelman, Yao
& Gabry (2024), "Pareto smoothed importance sampling"; the fit is that of Zhang & Stephens (2009), "A new and efficient
estimation method for the generalized Pareto distribution".
"""

import math

import torch

SHORTEST_TAIL = 5  # fewest weights to fit a shape to


def log_mean_exp(log_weights):
    """log of the mean of exp over the last dimension, numerically stable: (..., K) -> (...)."""
    return torch.logsumexp(log_weights, -1) - math.log(log_weights.shape[-1])


def effective_sample_size(log_weights):
    """(sum w)^2 / sum w^2 of weights given as logs, (..., K) -> (...), between 1 and K."""
    return torch.exp(2 * torch.logsumexp(log_weights, -1) - torch.logsumexp(2 * log_weights, -1))


def log_likelihood_curve(log_weights, ks):
    """The estimate at every K' in `ks` from the same weights (M, K): (M, len(ks)), in nats.

    The K weights are cut into K // K' disjoint groups, and the groups' estimates are averaged. Each has the
    expectation of the K'-sample bound, and nothing is decoded twice.
    """
    columns = []
    for k in ks:
        groups = log_weights.shape[1] // k
        columns.append(log_mean_exp(log_weights[:, : groups * k].unflatten(1, (groups, k))).mean(1))
    return torch.stack(columns, 1)


def estimates(log_weights, ks):
    """What the log-weights (M, K) of images say: {"curve" (M, len(ks)), "effective_sample_size", "pareto_k" (M,)}.

    The curve is that of `log_likelihood_curve`; the other two are of all K.
    """
    return {
        "curve": log_likelihood_curve(log_weights, ks),
        "effective_sample_size": effective_sample_size(log_weights),
        "pareto_k": pareto_k(log_weights),
    }


def pareto_k(log_weights):
    """k-hat of the upper tail of weights given as logs, (..., K) -> (...), float64.

    The tail is the M = min(K / 5, 3 sqrt K) largest weights, M rounded down. NaN if M < 5, that is K < 25.
    """
    samples = log_weights.shape[-1]
    tail = int(min(samples / 5, 3 * math.sqrt(samples)))
    if tail < SHORTEST_TAIL:
        return log_weights.new_full(log_weights.shape[:-1], math.nan, dtype=torch.float64)
    largest = log_weights.double().topk(tail + 1).values.flip(-1)
    weights = torch.exp(largest - largest[..., -1:])  # the scale of the weights does not affect the shape
    # Ties, and weights too small for float64, would give 0, which has no logarithm.
    return generalised_pareto_shape((weights[..., 1:] - weights[..., :1]).clamp(min=1e-300))


def generalised_pareto_shape(x):
    """Shape k of the generalised Pareto distribution fitted to positive ascending numbers, (..., M) -> (...).

    Density (1 + k x / sigma)^(-1 - 1 / k) / sigma. First the mean of theta = -k / sigma under its profile
    likelihood, on a grid; then k of that theta, with a weak prior at 0.5 that counts as ten more numbers.
    """
    count = x.shape[-1]
    points = 30 + int(math.sqrt(count))
    grid = torch.arange(1, points + 1, dtype=x.dtype, device=x.device) - 0.5
    quartile = x[..., int(count / 4 + 0.5) - 1, None]
    theta = 1 / x[..., -1:] + (1 - torch.sqrt(points / grid)) / (3 * quartile)

    def shape(theta):
        return torch.log1p(-theta[..., None] * x[..., None, :]).mean(-1)

    k = shape(theta)
    likelihood = torch.softmax(count * (torch.log(-theta / k) - k), -1)
    k = shape((theta * likelihood).sum(-1, keepdim=True)).squeeze(-1)
    return (count * k + 10 * 0.5) / (count + 10)
