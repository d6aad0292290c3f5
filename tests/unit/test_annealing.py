"""Annealed importance sampling, its reverse and refined proposals against exact log-likelihoods.

Estimates must lie within four of their own standard errors of the truth, and these must be small.
"""

import math

import pytest
import torch
from genlab.models import annealing, importance, likelihoods, proposals, vae
from torch import distributions as D
from torch import nn

SETTINGS = {
    "chains": 100, "temperatures": 20, "leapfrog_steps": 3, "warmup_temperatures": 20, "acceptance": 0.7,
    "temperature_schedule": "sigmoid",
}  # fmt: skip


class Function(nn.Module):
    """A network that is a function; its parameter tells the type of the model's numbers."""

    def __init__(self, function):
        super().__init__()
        self.function, self.kind = function, nn.Parameter(torch.zeros((), dtype=torch.float64))

    def forward(self, x):
        return self.function(x)


class LinearGaussian:
    """p(z) = N(0, I), p(x|z) = N(W z, I), D = 6, L = 3, and a posterior that is off by `shift` and by `wider`."""

    def __init__(self, shift=0.3, wider=0.4):
        self.W = 1.5 * torch.randn(6, 3, dtype=torch.float64)
        self.precision = torch.eye(3, dtype=torch.float64) + self.W.T @ self.W
        self.covariance = torch.linalg.inv(self.precision)
        self.marginal = D.MultivariateNormal(
            torch.zeros(6, dtype=torch.float64), self.W @ self.W.T + torch.eye(6, dtype=torch.float64)
        )
        log_variance = self.covariance.diagonal().log() + wider

        def encode(x):
            return torch.cat([self.mean(x) + shift, log_variance.expand(len(x), 3)], 1)

        self.model = vae.VAE(Function(encode), Function(lambda z: z @ self.W.T), 3, likelihoods.UnitNormal(), (6,))

    def mean(self, x):
        return x @ self.W @ self.covariance

    def posterior(self, x):
        return D.MultivariateNormal(self.mean(x), self.covariance)


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(1)


def assert_near(estimate, exact, error, largest):
    """Within four standard errors, all of which are at most `largest`, so that the comparison means something."""
    assert 0 < error.max() < largest
    assert ((estimate - exact).abs() < 4 * error).all(), (estimate - exact) / error


def prior(model, x):
    """The proposal that is the prior."""
    return (torch.zeros(len(x), model.latents, dtype=torch.float64),) * 2


@pytest.mark.parametrize("schedule", ["sigmoid", "linear"])
def test_temperatures_rise_evenly_about_the_middle(schedule):
    betas = torch.tensor(annealing.temperatures(10, schedule), dtype=torch.float64)
    steps = betas.diff()
    assert len(betas) == 11 and betas[0] == 0 and betas[-1] == 1 and (steps > 0).all()
    torch.testing.assert_close(steps, steps.flip(0))
    if schedule == "linear":
        torch.testing.assert_close(steps, torch.full((10,), 0.1, dtype=torch.float64))
    else:  # the logistic function from -4 to 4
        logistic = torch.sigmoid(torch.linspace(-4, 4, 11, dtype=torch.float64))
        torch.testing.assert_close(betas, (logistic - logistic[0]) / (logistic[-1] - logistic[0]))


def test_one_temperature_is_importance_sampling(generator):
    linear = LinearGaussian()
    x, proposal = linear.marginal.sample((4,)), linear.model.posterior(linear.marginal.sample((4,)))
    u = proposals.normal(generator, x, 4, 7, 3)

    def target(u):
        return annealing._ratio_and_gradient(linear.model, x, linear.model.posterior(x), proposal, u)

    log_weights, _ = annealing.anneal(target, u, [0.0, 1.0], torch.empty(0, 4), 3, generator)
    q = D.Normal(proposal[0][:, None], (0.5 * proposal[1][:, None]).exp())
    z = q.mean + q.stddev * u
    by_hand = linear.model.log_prob(x[:, None], z @ linear.W.T)
    by_hand = by_hand + (D.Normal(0.0, 1.0).log_prob(z) - q.log_prob(z)).sum(2)
    torch.testing.assert_close(log_weights, by_hand)


@pytest.mark.parametrize("start", ["posterior", "prior"])
def test_the_linear_gaussian_s_likelihood_is_found(generator, start):
    linear = LinearGaussian()
    x = linear.marginal.sample((8,))
    proposal = linear.model.posterior(x) if start == "posterior" else prior(linear.model, x)
    z = linear.posterior(x).sample()
    settings = SETTINGS | {"temperatures": 50} if start == "prior" else SETTINGS
    numbers = annealing.annealed_log_likelihood(linear.model, x, proposal, generator, settings, z)
    assert {name: (tuple(value.shape), value.dtype) for name, value in numbers.items()} == dict.fromkeys(
        ("log_likelihood", "standard_error", "acceptance", "upper", "gap", "upper_error", "upper_acceptance"),
        ((8,), torch.float64),
    )
    assert_near(numbers["log_likelihood"], linear.marginal.log_prob(x), numbers["standard_error"], 0.25)
    for name in ("acceptance", "upper_acceptance"):
        assert (numbers[name] > 0.5).all() and (numbers[name] < 0.98).all()


def test_weights_are_unbiased_in_both_directions(generator):
    # Few temperatures, a coarse step, and thousands of chains for one image: what is biased shows.
    linear = LinearGaussian()
    x = linear.marginal.sample((1,))
    proposal, exact = linear.model.posterior(x), linear.marginal.log_prob(x)
    betas, steps = annealing.temperatures(10), torch.linspace(0.5, 0.8, 9)[:, None]

    def target(u):
        return annealing._ratio_and_gradient(linear.model, x, linear.model.posterior(x), proposal, u)

    forward, _ = annealing.anneal(target, proposals.normal(generator, x, 1, 4000, 3), betas, steps, 2, generator)
    assert_near(importance.log_mean_exp(forward), exact, annealing.log_mean_exp_error(forward), 0.05)
    z = linear.posterior(x).sample((4000,)).transpose(0, 1)
    u = (z - proposal[0]) / (0.5 * proposal[1]).exp()
    backward, _ = annealing.anneal(target, u, betas[::-1], steps.flip(0), 2, generator)
    assert_near(-importance.log_mean_exp(backward), exact, annealing.log_mean_exp_error(backward), 0.05)


@pytest.mark.parametrize("beta", [0.0, 0.5, 1.0])
def test_a_transition_leaves_its_distribution_unchanged(generator, beta):
    # f_beta of the linear-Gaussian model in u is Gaussian; the step is so coarse that a leapfrog alone would widen it.
    linear = LinearGaussian()
    x = linear.marginal.sample((1,))
    mean, log_variance = linear.model.posterior(x)
    sd = torch.diag((0.5 * log_variance[0]).exp())
    precision = (1 - beta) * torch.eye(3, dtype=torch.float64) + beta * sd @ linear.precision @ sd
    shift = torch.linalg.solve(precision, beta * sd @ linear.precision @ (linear.mean(x) - mean)[0])
    exact = D.MultivariateNormal(shift, precision_matrix=precision)

    def target(u):
        return annealing._ratio_and_gradient(linear.model, x, (mean, log_variance), (mean, log_variance), u)

    u = exact.sample((1, 20_000))
    state = u, *target(u)
    step = 1.2 / torch.linalg.eigvalsh(precision)[-1:].sqrt()
    for _ in range(3):
        state, probability = annealing.transition(target, state, beta, step, 3, generator)
    assert 0.6 < probability.mean() < 0.99 and (state[0] != u).all(-1).double().mean() > 0.95
    white = (state[0][0] - shift) @ torch.linalg.cholesky(precision)
    torch.testing.assert_close(white.mean(0), torch.zeros(3, dtype=torch.float64), rtol=0, atol=4 / 20_000**0.5)
    torch.testing.assert_close(white.T.cov(), torch.eye(3, dtype=torch.float64), rtol=0, atol=4 * (2 / 20_000) ** 0.5)
    # What is carried along belongs to the place.
    torch.testing.assert_close(state[1:], target(state[0]))


def test_what_is_not_finite_is_rejected(generator):
    def target(u):
        inside = u.abs() < 1
        return torch.where(inside, 0.0, math.nan)[..., 0].double(), torch.where(inside, 0.0, math.inf)

    u = torch.zeros(1, 500, 1)
    state, probability = annealing.transition(target, (u, *target(u)), 0.5, torch.tensor([0.8]), 2, generator)
    assert torch.isfinite(state[0]).all() and torch.isfinite(state[1]).all() and (state[0].abs() < 1).all()
    assert 0.05 < (probability == 0).double().mean() < 0.95


def test_the_standard_error_is_the_spread_of_repeated_estimates(generator):
    linear = LinearGaussian()
    x = linear.marginal.sample((1,)).expand(300, -1)
    settings = SETTINGS | {"temperatures": 8, "chains": 40}
    numbers = annealing.annealed_log_likelihood(linear.model, x, linear.model.posterior(x), generator, settings)
    spread = numbers["log_likelihood"].std()
    assert numbers["standard_error"].mean() == pytest.approx(spread.item(), rel=0.15)


def test_the_standard_error_by_hand():
    weights = torch.tensor([[1.0, 2.0, 6.0]], dtype=torch.float64)
    assert annealing.log_mean_exp_error(weights.log() - 900).item() == pytest.approx(7**0.5 / 3**0.5 / 3)


def test_the_step_size_goes_where_acceptance_is_as_wanted(generator):
    # From the prior the posterior is narrow: the step must fall with the temperature, further where W is large.
    linear = LinearGaussian()
    x = linear.marginal.sample((5,))
    proposal = prior(linear.model, x)

    def target(u):
        return annealing._ratio_and_gradient(linear.model, x, linear.model.posterior(x), proposal, u)

    settings = SETTINGS | {"temperatures": 100, "warmup_temperatures": 100}
    u = proposals.normal(generator, x, 5, 50, 3)
    steps = annealing.find_steps(target, u, generator, settings)
    assert steps.shape == (99, 5) and (steps <= math.pi / 2 / 3).all()
    assert (steps[-1] < 0.7 * steps[0]).all()
    for wanted in (0.6, 0.85):
        steps = annealing.find_steps(target, u, generator, settings | {"acceptance": wanted})
        z = linear.posterior(x).sample((50,)).transpose(0, 1)
        _, probability = annealing.transition(target, (z, *target(z)), 1.0, steps[-1], 3, generator)
        assert probability.mean() == pytest.approx(wanted, abs=0.12)


def test_the_bracket_holds_the_truth_and_closes(generator):
    linear = LinearGaussian(shift=0.5)
    x, z = annealing.simulate(linear.model, 300, generator)
    exact, gaps = linear.marginal.log_prob(x), []
    for count in (2, 30):
        settings = SETTINGS | {"temperatures": count, "chains": 3}
        proposal = linear.model.posterior(x)
        numbers = annealing.annealed_log_likelihood(linear.model, x, proposal, generator, settings, z)
        torch.testing.assert_close(numbers["gap"], numbers["upper"] - numbers["log_likelihood"])
        below, above = exact - numbers["log_likelihood"], numbers["upper"] - exact
        for side in (below, above):
            error = side.std() / 300**0.5
            assert side.mean() > (3 if count == 2 else -3) * error
        gaps.append(numbers["gap"].mean())
    assert 0 < gaps[1] < 0.2 * gaps[0]


def test_simulated_images_are_the_model_s(generator):
    linear = LinearGaussian()
    x, z = annealing.simulate(linear.model, 20_000, generator)
    error = 4 * (2 / 20_000) ** 0.5 * linear.marginal.variance.max().item()
    torch.testing.assert_close(x.T.cov(), linear.marginal.covariance_matrix, rtol=0, atol=error)
    residual = x - z @ linear.W.T  # the latents belong to their images
    torch.testing.assert_close(residual.T.cov(), torch.eye(6, dtype=torch.float64), rtol=0, atol=0.05)
    model = vae.VAE(nn.Identity(), Function(lambda z: 2 * z), 2, likelihoods.Bernoulli(), (2,))
    x, z = annealing.simulate(model, 20_000, generator)
    assert set(x.unique().tolist()) == {0.0, 1.0}
    torch.testing.assert_close(x.mean(0), torch.full((2,), 0.5, dtype=torch.float64), rtol=0, atol=0.015)
    torch.testing.assert_close((x - torch.sigmoid(2 * z)).mul(z).mean(0), torch.zeros(2).double(), rtol=0, atol=0.015)


def test_a_decoder_that_is_no_linear_one_against_a_grid(generator):
    # Two latents, eight binary pixels, a hidden layer: p(x) by the sum over a grid of z, exact to many digits.
    decoder = nn.Sequential(nn.Linear(2, 6), nn.Tanh(), nn.Linear(6, 8)).double()
    for layer in (decoder[0], decoder[2]):
        layer.weight.data.mul_(4)
    model = vae.VAE(
        Function(lambda x: torch.cat([0.2 * x[:, :2], -0.5 + 0 * x[:, :2]], 1)),
        decoder,
        2,
        likelihoods.Bernoulli(),
        (8,),
    )
    x = torch.randint(0, 2, (6, 8)).double()
    axis = torch.linspace(-7, 7, 281, dtype=torch.float64)
    grid = torch.cartesian_prod(axis, axis)
    log_p = model.log_prob(x[:, None], decoder(grid)) + D.Normal(0.0, 1.0).log_prob(grid).sum(1)
    exact = torch.logsumexp(log_p, 1) + 2 * math.log(axis[1] - axis[0])
    numbers = annealing.annealed_log_likelihood(model, x, model.posterior(x), generator, SETTINGS)
    assert_near(numbers["log_likelihood"], exact, numbers["standard_error"], 0.15)
    assert all(parameter.grad is None for parameter in model.parameters())


def test_a_discrete_latent_against_its_exact_sum(generator):
    # The decoder sees z only through the signs of its two dimensions: four equally likely patterns, and no gradient.
    table = 1.5 * torch.randn(4, 6, dtype=torch.float64)
    decoder = Function(lambda z: table[(z > 0).long() @ torch.tensor([1, 2])])
    model = vae.VAE(
        Function(lambda x: torch.cat([0.3 * x[:, :2], 0.2 + 0 * x[:, :2]], 1)),
        decoder,
        2,
        likelihoods.Bernoulli(),
        (6,),
    )
    x = torch.randint(0, 2, (6, 6)).double()
    exact = torch.logsumexp(D.Bernoulli(logits=table).log_prob(x[:, None]).sum(2), 1) - math.log(4)
    numbers = annealing.annealed_log_likelihood(
        model, x, model.posterior(x), generator, SETTINGS | {"temperatures": 40, "chains": 200}
    )
    assert_near(numbers["log_likelihood"], exact, numbers["standard_error"], 0.15)


class TwoModes:
    """x = z^2 + noise, three times: the posterior has modes at +-sqrt(x). The encoder knows one of them."""

    settings = SETTINGS | {"temperatures": 60}

    def __init__(self):
        self.model = vae.VAE(
            Function(lambda x: torch.cat([x.mean(1, keepdim=True).clamp(min=1).sqrt(), -3.2 + 0 * x[:, :1]], 1)),
            Function(lambda z: (z**2).expand(-1, 3)), 1, likelihoods.UnitNormal(), (3,),
        )  # fmt: skip
        self.x = torch.tensor([[4.3, 3.9, 3.5], [5.2, 4.4, 4.8]], dtype=torch.float64)
        axis = torch.linspace(-6, 6, 100_001, dtype=torch.float64)[:, None]
        log_p = self.model.log_prob(self.x[:, None], self.model.decode(axis)) + D.Normal(0.0, 1.0).log_prob(axis[:, 0])
        self.exact = torch.logsumexp(log_p, 1) + math.log(12 / 100_000)

    def annealed(self, x, proposal, generator, *more):
        return annealing.annealed_log_likelihood(self.model, x, proposal, generator, self.settings, *more)


@pytest.fixture(scope="module")
def two_modes():
    return TwoModes()


def test_importance_sampling_misses_a_second_mode_and_nothing_looks_wrong(two_modes, generator):
    model, x = two_modes.model, two_modes.x
    weights = proposals.importance_weights(model, x, model.posterior(x), 2000, generator)
    plain = importance.estimates(weights, [2000])
    assert (plain["pareto_k"] < 0.7).all() and (plain["effective_sample_size"] > 1000).all()
    torch.testing.assert_close(
        two_modes.exact - plain["curve"][:, 0], torch.full((2,), math.log(2)).double(), rtol=0, atol=0.1
    )


def test_a_chain_from_one_mode_stays_there(two_modes, generator):
    trapped = two_modes.annealed(two_modes.x, two_modes.model.posterior(two_modes.x), generator)
    assert (two_modes.exact - trapped["log_likelihood"] > 0.5).all()


def test_chains_from_the_prior_find_both_modes(two_modes, generator):
    free = two_modes.annealed(two_modes.x, prior(two_modes.model, two_modes.x), generator)
    assert_near(free["log_likelihood"], two_modes.exact, free["standard_error"], 0.2)


@pytest.mark.parametrize("start, low, high", [(vae.VAE.posterior, 1.0, math.inf), (prior, -0.1, 0.3)])
def test_the_gap_of_simulated_images_shows_a_mode_that_is_missed(two_modes, generator, start, low, high):
    x, z = annealing.simulate(two_modes.model, 60, generator)  # half of them have their z in the other mode
    x, z = x[z[:, 0].abs() > 1.3], z[z[:, 0].abs() > 1.3]
    gap = two_modes.annealed(x, start(two_modes.model, x), generator, z)["gap"]
    assert low < gap.mean() < high


class Refined:
    """A linear model, images, and their proposals before and after refinement."""

    def __init__(self, generator):
        self.linear = LinearGaussian(shift=0.3, wider=1.5)
        self.x = self.linear.marginal.sample((5,))
        self.start = self.linear.model.posterior(self.x)
        self.best = proposals.refine_posterior(self.linear.model, self.x, generator, 200, 30, 0.1)


@pytest.fixture
def refined(generator):
    return Refined(generator)


def test_refined_proposals_are_the_best_of_their_kind(refined):
    # The ELBO of a Gaussian target is highest at its mean and at the inverse diagonal of its precision.
    linear, (mean, log_variance) = refined.linear, refined.best
    torch.testing.assert_close(mean, linear.mean(refined.x), rtol=0, atol=0.05)
    torch.testing.assert_close(log_variance, -linear.precision.diagonal().log().expand(5, 3), rtol=0, atol=0.1)


def test_refinement_leaves_the_model_as_it_is(refined):
    assert all(parameter.grad is None for parameter in refined.linear.model.parameters())


def test_refinement_of_no_steps_is_the_encoder_s_proposal(refined, generator):
    again = proposals.refine_posterior(refined.linear.model, refined.x, generator, 0)
    torch.testing.assert_close(again, refined.start)


def test_estimates_are_near_the_truth_before_and_nearer_after_refinement(refined, generator):
    found = []
    for proposal in (refined.start, refined.best):
        weights = proposals.importance_weights(refined.linear.model, refined.x, proposal, 4000, generator)
        assert weights.shape == (5, 4000) and weights.dtype == torch.float64
        numbers = importance.estimates(weights, [1, 4000])
        exact, error = refined.linear.marginal.log_prob(refined.x), annealing.log_mean_exp_error(weights)
        assert_near(numbers["curve"][:, 1], exact, error, 0.3)
        found.append(numbers)
    plain, better = found
    assert (better["effective_sample_size"] > 1.2 * plain["effective_sample_size"]).all()
    assert (better["curve"][:, 0] > plain["curve"][:, 0] + 0.3).all()  # the ELBO
    assert (better["pareto_k"] < 0.7).all()


def test_importance_weights_are_those_of_the_estimator_as_specified(generator):
    linear = LinearGaussian()
    x = linear.marginal.sample((3,))
    mean, log_variance = linear.model.posterior(x)
    u = proposals.normal(generator, x, 3, 11, 3)
    ratio = proposals.log_ratio(linear.model, x, (mean, log_variance), (mean, log_variance), u)
    z = mean[:, None] + (0.5 * log_variance[:, None]).exp() * u
    torch.testing.assert_close(importance.log_mean_exp(ratio), vae.importance_log_likelihood(linear.model, x, z))


def test_a_binary_vae_in_float32_repeats(generator):
    model = vae.binary_vae("suggested", 5).eval()
    x, z = annealing.simulate(model, 2, generator)
    assert x.shape == (2, 784) and z.dtype == torch.float32
    with torch.no_grad():
        proposal = model.posterior(x)
    settings = SETTINGS | {"chains": 3, "temperatures": 4, "warmup_temperatures": 3}
    one, other = (
        annealing.annealed_log_likelihood(model, x, proposal, torch.Generator().manual_seed(5), settings, z)
        for _ in range(2)
    )
    for name, value in one.items():
        assert value.dtype == torch.float64 and torch.isfinite(value).all() and torch.equal(value, other[name])
