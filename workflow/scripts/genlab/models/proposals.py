"""Gaussian proposals for the latents of an image: importance sampling, and a few gradient steps that refine them.

A proposal is (mean, log_variance), (M, L) each: q(z) = N(mean, diag exp(log_variance)) for each of M images. Its
latents are written z = mean + exp(log_variance / 2) u with u standard normal under the proposal. Whatever the
proposal, E_q[p(x, z) / q(z)] = p(x), so the estimate never exceeds log p(x) in expectation; a better proposal only
makes it closer. The encoder's q(z|x) serves all images at once and so fits none exactly (Cremer, Li & Duvenaud 2018);
`refine_posterior` fits each image by itself. With a flow as the posterior all of this is about y instead of z, and
p(x, z) about p(x, y) (`vae`).
"""

import torch

from . import gaussian


def log_ratio(model, x, posterior, proposal, u):
    """log p(x, z) - log q(z) in nats at z = mean + sd u, for x (M, D) and u (M, C, L): (M, C), float64.

    posterior: `model.posterior(x)`, on which a flow depends. The decoder computes in the model's own precision;
    differentiable in u and in the proposal.
    """
    mean, log_variance = (parameter[:, None] for parameter in proposal)
    y = gaussian.reparameterise(mean, log_variance, u)
    z, log_det = model.warp(y, tuple(parameter[:, None] for parameter in posterior))
    log_p_x = model.log_prob(x[:, None], model.decode(z))
    return log_p_x.double() + (gaussian.minus_log_density(log_variance, u) + log_det + model.log_prior(z)).double()


def normal(generator, like, *shape):
    """Standard normal numbers of a shape, with the type and on the device of the tensor `like`."""
    return torch.randn(shape, generator=generator, dtype=like.dtype, device=like.device)


@torch.no_grad()
def importance_weights(model, x, proposal, samples, generator, chunk=100):
    """`log_ratio` of `samples` independent draws from the proposal for each image of x (M, D): (M, samples), float64.

    About `chunk` latents are drawn and decoded at a time, at least one for each image.
    """
    at_once = max(1, chunk // len(x))
    posterior, columns = model.posterior(x), []
    for first in range(0, samples, at_once):
        u = normal(generator, proposal[0], len(x), min(at_once, samples - first), model.latents)
        columns.append(log_ratio(model, x, posterior, proposal, u))
    return torch.cat(columns, 1)


def refine_posterior(model, x, generator, steps=100, samples=10, learning_rate=0.05):
    """A proposal for each image of x (M, D), fitted to it by gradient ascent on its ELBO from q(z|x) on.

    Adam on the mean, in units of q(z|x)'s standard deviations, and on the log-variance; each step draws `samples`
    latents for an image. The learning rate falls linearly to zero, so that the result settles. Draw fresh latents
    for an estimate with it.
    """
    with torch.no_grad():
        posterior = mean, log_variance = model.posterior(x)
    parts = shift, growth = torch.zeros_like(mean), torch.zeros_like(log_variance)
    optimizer = torch.optim.Adam([part.requires_grad_() for part in parts])

    def proposal():
        return gaussian.reparameterise(mean, log_variance, shift), log_variance + growth

    for step in range(steps):
        u = normal(generator, mean, len(x), samples, model.latents)
        elbo = log_ratio(model, x, posterior, proposal(), u).mean(1)
        # Adam scales each number by itself, so the sum treats every image as if it were alone.
        shift.grad, growth.grad = torch.autograd.grad(-elbo.sum(), parts)
        optimizer.param_groups[0]["lr"] = learning_rate * (1 - step / steps)
        optimizer.step()
    return tuple(parameter.detach() for parameter in proposal())
