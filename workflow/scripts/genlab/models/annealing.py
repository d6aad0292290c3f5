"""log p(x) of a VAE by annealed importance sampling, and from above by running it backwards.

A chain starts at z ~ q(z), a Gaussian proposal for the image (q(z|x), a refined one, or the prior), and follows

    log f_b(z) = (1 - b) log q(z) + b log p(x, z)

from b = 0 to b = 1. Before each temperature its weight is multiplied by f_b(z) / f_b'(z), b' the one before; then a
Hamiltonian step, which leaves f_b unchanged, moves it. The mean weight is an unbiased estimate of p(x), so its log is
a stochastic lower bound on log p(x) (Neal 2001; for decoders Wu, Burda, Salakhutdinov & Grosse 2017). Run backwards
from an exact sample of p(z|x), the same chain estimates 1 / p(x) and so bounds log p(x) from above (bidirectional
Monte Carlo: Grosse, Ghahramani & Adams 2015). There are exact samples for images simulated from the model: z ~ p(z),
x ~ p(x|z). The gap between the two bounds tells how far the chains are off.

Positions are u, z = mean + sd u, or with a flow as the posterior y = mean + sd u (see `vae`): there log f_b(u) = -|u|^2
/ 2 + b r(u), up to a constant, where r(u) = log p(x, z) - log q(z), and a Hamiltonian step of unit mass is one of mass
1 / sd^2 in z.

Step sizes. Kernels must not depend on the chain that they move: adapting the step to the chain's own history, as Wu
et al. do, biases the weights, if only a little. Here a shorter run of other chains (the warm-up) finds for each image
a step size along the temperatures, by the acceptance rate; the measured chains, forward and backward, use these and
adapt nothing. Given the step sizes the weights are exactly unbiased, however well or badly the warm-up did.
"""

import itertools
import math

import torch
import torch.nn.functional as F

from . import gaussian, importance
from .proposals import log_ratio, normal

ADAPTATION = 0.2  # of the log step size, for each transition of the warm-up, per unit of acceptance
JITTER = 0.2  # share of the step size by which it varies from transition to transition: no trajectory closes on itself
STEEPNESS = 4.0  # of the sigmoid schedule


def temperatures(count, schedule="sigmoid"):
    """[b_0 = 0, ..., b_count = 1]: at even distances ("linear"), or finer towards both ends ("sigmoid")."""
    even = [index / count for index in range(count + 1)]
    if schedule == "linear":
        return even
    # (tanh + 1) / 2 is the logistic function of twice the argument; scaled to reach 0 and 1.
    return [0.5 + 0.5 * math.tanh(STEEPNESS * (b - 0.5)) / math.tanh(STEEPNESS / 2) for b in even]


@torch.no_grad()
def annealed_log_likelihood(model, x, proposal, generator, settings, z=None, heed=lambda: None):
    """log p(x) of each image of x (M, D) by annealed importance sampling from `proposal`: a dict of (M,), float64.

    proposal  (mean, log_variance), (M, L) each, on the generator's device
    settings  chains, temperatures, leapfrog_steps, warmup_temperatures, acceptance, temperature_schedule: keys of
              `likelihood_annealing` in the configuration schema
    z         exact posterior samples (M, L), if there are: all backward chains of an image start from its one
    heed      called often; may raise to stop

    Returns `log_likelihood`, the log of the mean weight over the chains, a lower bound in expectation; its
    `standard_error` over the chains, by the delta method; the mean `acceptance`. With z also `upper`, an upper bound
    in expectation over x and z; the `gap` between the two, which may be negative for one image by chance;
    `upper_error`, which leaves out the choice of z; and `upper_acceptance`. All in nats.
    """
    chains, leapfrog = settings["chains"], settings["leapfrog_steps"]

    posterior = model.posterior(x)

    def target(u):
        heed()
        return _ratio_and_gradient(model, x, posterior, proposal, u)

    def start():
        return normal(generator, proposal[0], len(x), chains, model.latents)

    steps = find_steps(target, start(), generator, settings)
    betas = temperatures(settings["temperatures"], settings["temperature_schedule"])
    log_weights, acceptance = anneal(target, start(), betas, steps, leapfrog, generator)
    numbers = {
        "log_likelihood": importance.log_mean_exp(log_weights),
        "standard_error": log_mean_exp_error(log_weights),
        "acceptance": acceptance,
    }
    if z is not None:
        u = gaussian.standardise(*proposal, model.unwarp(z, posterior)[0])[:, None].expand(-1, chains, -1)
        log_weights, acceptance = anneal(target, u, betas[::-1], steps.flip(0), leapfrog, generator)
        upper = -importance.log_mean_exp(log_weights)
        numbers |= {
            "upper": upper,
            "gap": upper - numbers["log_likelihood"],
            "upper_error": log_mean_exp_error(log_weights),
            "upper_acceptance": acceptance,
        }
    return numbers


@torch.no_grad()
def simulate(model, count, generator):
    """`count` images of the model, x (count, D) ~ p(x|z), with their latents z (count, L) ~ p(z): (x, z).

    Given x, z is an exact sample of the posterior p(z|x).
    """
    e = normal(generator, next(model.decoder.parameters()), count, model.latents)
    z = model.prior.inverse(e, model.posterior)
    decoded = model.decode(z)
    return model.log_prob.draw(decoded, generator), z


def anneal(target, u, betas, steps, leapfrog, generator):
    """Take chains from u (M, C, L) along `betas`, ascending or descending: log-weights (M, C) and acceptance (M,).

    target  u -> (r(u) (M, C), its gradient (M, C, L))
    u       samples of the first temperature's distribution
    betas   [b_0, ..., b_T]; the mean of exp(log-weight) estimates Z(b_T) / Z(b_0) without bias
    steps   (T - 1, M): step sizes of the transitions at b_1 to b_{T-1}
    """
    state = u, *target(u)
    log_weights, acceptance = torch.zeros_like(state[1]), 0
    for index, (before, beta) in enumerate(itertools.pairwise(betas)):
        log_weights = log_weights + (beta - before) * state[1]
        if index < len(steps):  # a transition at the last temperature would change no weight
            state, probability = transition(target, state, beta, steps[index], leapfrog, generator)
            acceptance = acceptance + probability.mean(1) / len(steps)
    return log_weights, acceptance


def transition(target, state, beta, step, leapfrog, generator):
    """One Hamiltonian step of `state` (u, r(u), gradient) that leaves f_beta unchanged: (state, probability (M, C)).

    step (M,) is the leapfrog's step size for each image. Neal (2011), "MCMC using Hamiltonian dynamics"; the
    probability is that of acceptance. What is not finite is rejected.
    """
    u, ratio, gradient = state
    jitter, chance = torch.rand(2, *u.shape[:2], generator=generator, dtype=u.dtype, device=u.device)
    step = (step[:, None] * (1 + JITTER * (2 * jitter - 1)))[..., None]
    momentum = normal(generator, u, *u.shape)
    energy = _energy(u, ratio, momentum, beta)
    moved = state
    momentum = momentum + 0.5 * step * (beta * gradient - u)
    for index in range(leapfrog):
        place = moved[0] + step * momentum
        moved = place, *target(place)
        last = index == leapfrog - 1
        momentum = momentum + (0.5 if last else 1.0) * step * (beta * moved[2] - place)
    probability = (energy - _energy(*moved[:2], momentum, beta)).clamp(max=0).exp().nan_to_num(0)
    accepted = chance < probability
    wide = accepted[..., None]
    state = (
        torch.where(wide, moved[0], u),
        torch.where(accepted, moved[1], ratio),
        torch.where(wide, moved[2], gradient),
    )
    return state, probability


def find_steps(target, u, generator, settings):
    """Step sizes (T - 1, M) at the temperatures between the ends, from a warm-up of chains that start from u (M, C, L).

    The warm-up passes fewer temperatures of the same schedule. After each transition an image's log step size rises
    or falls with the acceptance of its chains less the one that is wanted; in between it is interpolated. A
    trajectory is at most a quarter period of a standard normal: there it has forgotten where it came from.
    """
    longest = math.log(math.pi / 2 / settings["leapfrog_steps"])
    log_step = u.new_full((len(u),), min(longest, -0.25 * math.log(u.shape[-1])))
    state, found = (u, *target(u)), []
    for beta in temperatures(settings["warmup_temperatures"] - 1, settings["temperature_schedule"]):
        state, probability = transition(target, state, beta, log_step.exp(), settings["leapfrog_steps"], generator)
        change = ADAPTATION * (probability.mean(1) - settings["acceptance"])
        log_step = (log_step + change.to(log_step.dtype)).clamp(max=longest)
        found.append(log_step)
    found = F.interpolate(torch.stack(found, 1)[None], settings["temperatures"] + 1, mode="linear", align_corners=True)
    return found[0, :, 1:-1].T.exp()


def log_mean_exp_error(log_weights):
    """Standard error of `importance.log_mean_exp`, (M, C) -> (M,), by the delta method: sd(w) / mean(w) / sqrt(C).

    Never above 1 nat, and too small from about 0.5 on, where few weights count: there the estimate is also far too low.
    NaN for a single chain.
    """
    weights = torch.exp(log_weights - log_weights.max(1, keepdim=True).values)
    return weights.std(1) / weights.mean(1) / math.sqrt(weights.shape[1])


def _energy(u, ratio, momentum, beta):
    """-log of f_beta(u) and of the momentum's density, up to a constant: (M, C), float64."""
    return 0.5 * (u.double() ** 2 + momentum.double() ** 2).sum(-1) - beta * ratio


def _ratio_and_gradient(model, x, posterior, proposal, u):
    """`log_ratio` at u (M, C, L) and its gradient, (M, C) and (M, C, L)."""
    with torch.enable_grad():
        u = u.detach().requires_grad_()
        ratio = log_ratio(model, x, posterior, proposal, u)
        (gradient,) = torch.autograd.grad(ratio.sum(), u)
    return ratio.detach(), gradient
