"""Learned priors and posteriors: densities against Jacobians and integrals, and every estimate that rests on them."""

import copy
import math

import pytest
import torch
from genlab.models import annealing, gaussian, importance, likelihoods, priors, proposals, vae, vae_training
from scipy import stats
from torch import nn


def flow(latents=5, layers=3, scale=0.5, seed=1, conditions=0):
    """A flow with random weights."""
    torch.manual_seed(seed)
    made = priors.CouplingFlow(latents, layers, width=8, conditions=conditions)
    with torch.no_grad():
        for layer in made.layers:
            layer.outer.weight.normal_(0, scale)
            layer.outer.bias.normal_(0, scale)
    return made.requires_grad_(False)


def log_density(prior, z):
    e, log_det = prior(z)
    return -0.5 * (e**2 + math.log(2 * math.pi)).sum(-1) + log_det


@pytest.mark.parametrize("latents", [2, 5, 6])
def test_the_inverse_takes_back(latents):
    made, z = flow(latents), torch.randn(7, 3, latents)
    e, log_det = made(z)
    assert e.shape == z.shape and log_det.shape == (7, 3)
    torch.testing.assert_close(made.inverse(e), z, rtol=1e-4, atol=1e-5)


def test_the_determinant_is_that_of_the_jacobian():
    made = flow().double()
    for z in torch.randn(4, 5, dtype=torch.float64):
        jacobian = torch.autograd.functional.jacobian(lambda z: made(z)[0], z)
        torch.testing.assert_close(made(z)[1], torch.linalg.slogdet(jacobian).logabsdet)


def test_a_flow_of_a_context_is_inverted_and_has_the_determinant_of_its_jacobian():
    made, contexts = flow(conditions=3).double(), torch.randn(4, 1, 3, dtype=torch.float64)
    z = torch.randn(4, 6, 5, dtype=torch.float64)
    e, log_det = made(z, contexts)
    torch.testing.assert_close(made.inverse(e, context=contexts), z)
    assert (made(z, contexts.flip(0))[0] - e).abs().amax((1, 2)).min() > 0.1  # each context has its own flow
    for number in range(4):
        jacobian = torch.autograd.functional.jacobian(lambda z, c=contexts[number, 0]: made(z, c)[0], z[number, 0])
        torch.testing.assert_close(log_det[number, 0], torch.linalg.slogdet(jacobian).logabsdet)


def test_a_flow_is_standard_normal_before_training():
    made, z = priors.CouplingFlow(7), torch.randn(9, 7)
    expected = -0.5 * (z**2 + math.log(2 * math.pi)).sum(-1)
    torch.testing.assert_close(log_density(made, z), expected)


def grid(size=12.0, count=601):
    """Points of the plane (N, 2), and the area of one."""
    axis = torch.linspace(-size, size, count, dtype=torch.float64)
    return torch.cartesian_prod(axis, axis), (2 * size / (count - 1)) ** 2


def test_a_density_integrates_to_one():
    points, area = grid()
    assert float(log_density(flow(2, scale=0.4).double(), points).exp().sum()) * area == pytest.approx(1, abs=1e-3)


def test_noise_becomes_draws_from_the_density():
    made = flow(2, scale=0.4).double()
    draws = made.inverse(torch.randn(20_000, 2, generator=torch.Generator().manual_seed(3), dtype=torch.float64))
    points, area = grid()
    density = log_density(made, points).exp() * area
    mean = (density[:, None] * points).sum(0)
    error = draws.std(0) / math.sqrt(len(draws))
    assert ((draws.mean(0) - mean).abs() < 4 * error).all()
    assert not torch.allclose(mean, torch.zeros(2, dtype=torch.float64), atol=0.1)  # unlike N(0, I)
    assert all(stats.kstest(each, "norm").pvalue > 1e-3 for each in made(draws)[0].T.numpy())


def mixture(latents=2, components=3):
    """A mixture with random weights, means and variances."""
    torch.manual_seed(2)
    made = priors.Mixture(latents, components)
    with torch.no_grad():
        made.logits.normal_()
        made.log_variances.normal_()
    return made.double().requires_grad_(False)


def vamp():
    torch.manual_seed(3)
    made = priors.Vamp(6, 4)
    with torch.no_grad():
        made.pseudo_inputs.mul_(4)
    return made.double().requires_grad_(False)


def fitted(latents=2, components=3):
    """A mixture with random weights, means and full covariances."""
    torch.manual_seed(7)
    made = priors.FittedMixture(latents, components).double()
    made.log_weights = torch.randn(components, dtype=torch.float64).log_softmax(0)
    made.means = torch.randn(components, latents, dtype=torch.float64)
    made.factors = torch.randn(components, latents, latents, dtype=torch.float64).tril(-1)
    made.factors += torch.diag_embed(torch.rand(components, latents, dtype=torch.float64) + 0.5)
    return made


def normals(made):
    """The components of `fitted`, by torch."""
    return torch.distributions.MultivariateNormal(made.means, scale_tril=made.factors)


def test_a_mixture_with_full_covariances_has_the_density_of_its_components():
    made, z = fitted(4), torch.randn(5, 3, 4, dtype=torch.float64)
    choice = torch.distributions.Categorical(logits=made.log_weights)
    expected = torch.distributions.MixtureSameFamily(choice, normals(made))
    torch.testing.assert_close(made.log_density(z) - 2 * math.log(2 * math.pi), expected.log_prob(z))


def test_noise_becomes_draws_from_a_mixture_with_full_covariances():
    made = fitted()
    rng = torch.Generator().manual_seed(3)
    draws = made.inverse(torch.randn(40_000, 2, generator=rng, dtype=torch.float64))
    weights, covariances = made.log_weights.exp(), made.factors @ made.factors.mT
    mean = weights @ made.means
    products = torch.einsum("c,cij->ij", weights, covariances + made.means[:, :, None] * made.means[:, None])
    error = draws.std(0) / math.sqrt(len(draws))
    assert ((draws.mean(0) - mean).abs() < 4 * error).all()
    torch.testing.assert_close(draws.T @ draws / len(draws), products, rtol=0.02, atol=0.02)


def test_a_fitted_mixture_is_standard_normal_before():
    z = torch.randn(6, 5)
    torch.testing.assert_close(priors.prior("fitted_mixture", 5).log_density(z), -0.5 * z.square().sum(1))


def test_a_prior_that_would_fit_worse_than_the_standard_normal_is_not_taken():
    z = torch.randn(40, 20, generator=torch.Generator().manual_seed(1))
    made = priors.FittedMixture(20)
    made.fit(z[:20], z[20:], torch.Generator().manual_seed(2))
    torch.testing.assert_close(made.log_density(z), -0.5 * z.square().sum(1))


def test_one_component_is_fitted_in_closed_form():
    rng = torch.Generator().manual_seed(1)
    z = torch.randn(300, 3, generator=rng) @ torch.randn(3, 3, generator=rng) + 2
    made = priors.FittedMixture(3, 1)
    made.fit(z, z, rng)
    torch.testing.assert_close(made.means[0], z.mean(0))
    # The covariance of all latents counts as fifty more of them, so it is the same as without.
    torch.testing.assert_close(made.factors[0] @ made.factors[0].T, torch.cov(z.T, correction=0), rtol=1e-4, atol=1e-4)


def test_a_fit_finds_the_mixture_that_latents_are_drawn_from():
    truth, rng = fitted(3), torch.Generator().manual_seed(5)
    noise = torch.randn(31_000, 3, generator=rng, dtype=torch.float64)
    z, held_out, fresh = truth.inverse(noise).float().split([9000, 2000, 20_000])
    made = priors.FittedMixture(3, 6)
    made.fit(z, held_out, rng)
    exact, found = truth.log_density(fresh.double()).mean(), made.log_density(fresh).mean()
    normal = torch.distributions.MultivariateNormal(z.mean(0), torch.cov(z.T)).log_prob(fresh).mean()
    assert exact - 0.02 < found <= exact + 0.01
    assert normal + 1.5 * math.log(2 * math.pi) < exact - 0.1


@pytest.mark.parametrize("count", [1, 2, 20])
def test_a_fit_to_a_few_latents_is_a_density(count):
    z = torch.randn(count, 4, generator=torch.Generator().manual_seed(2))
    made = priors.FittedMixture(4)
    made.fit(z, z, torch.Generator().manual_seed(3))
    assert made.log_density(torch.randn(9, 4)).isfinite().all() and made.inverse(torch.randn(9, 4)).isfinite().all()


def test_a_mixture_has_the_density_of_its_components():
    made, z = mixture(4), torch.randn(5, 3, 4, dtype=torch.float64)
    components = torch.distributions.Independent(
        torch.distributions.Normal(made.means, torch.exp(0.5 * made.log_variances)), 1
    )
    expected = torch.distributions.MixtureSameFamily(torch.distributions.Categorical(logits=made.logits), components)
    found = made.log_density(z) - 2 * math.log(2 * math.pi)
    torch.testing.assert_close(found, expected.log_prob(z))


def test_noise_becomes_draws_from_a_mixture():
    made = mixture()
    noise = torch.randn(40_000, 2, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    draws, weights = made.inverse(noise), torch.softmax(made.logits, 0)
    variances = made.log_variances.exp()
    for number in range(2):  # each coordinate by itself: its distribution function is that of a mixture of normals

        def distribution(x, number=number):
            place = (torch.as_tensor(x)[:, None] - made.means[:, number]) / variances[:, number].sqrt()
            return (weights * torch.special.ndtr(place)).sum(1).numpy()

        assert stats.kstest(draws[:, number].numpy(), distribution).pvalue > 1e-3
    mean = weights @ made.means
    product = weights @ (made.means[:, 0] * made.means[:, 1])  # the coordinates depend on each other by the component
    error = (draws[:, 0] * draws[:, 1]).std() / math.sqrt(len(draws))
    assert abs((draws[:, 0] * draws[:, 1]).mean() - product) < 4 * error
    assert abs(product - mean[0] * mean[1]) > 15 * error


def test_two_levels_are_a_normal_given_a_normal():
    torch.manual_seed(1)
    made = priors.prior("two_levels", 6).double().requires_grad_(False)
    made.layers[0].outer.weight.normal_(0, 0.3)
    z = torch.randn(5, 6, dtype=torch.float64)
    kept, moved = z[:, made.orders[0]].split(3, 1)
    log_scale, shift = made.layers[0](kept)
    normal = torch.distributions.Normal
    expected = normal(0, 1).log_prob(kept).sum(1) + normal(-shift, torch.exp(-log_scale)).log_prob(moved).sum(1)
    torch.testing.assert_close(made.log_density(z) - 3 * math.log(2 * math.pi), expected)


class Model:
    """A VAE of 6 pixels and 2 latents with random weights, in float64; log p(x) by integration.

    prior, posterior_flow: modules. The flow, if any, has the encoder's four numbers as its context.
    """

    def __init__(self, prior, posterior_flow=None):
        torch.manual_seed(5)
        encoder, decoder = nn.Linear(6, 4), nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 6))
        with torch.no_grad():  # posteriors wider than the true ones, so that importance sampling works
            encoder.weight.mul_(0.3)
            encoder.bias.copy_(torch.tensor([0.0, 0.0, 2.0, 2.0]))
        self.vae = vae.VAE(encoder, decoder, 2, likelihoods.Bernoulli(), (6,))
        self.vae.prior, self.vae.posterior_flow = prior, posterior_flow
        self.vae.double().requires_grad_(False)
        self.x = torch.bernoulli(torch.full((3, 6), 0.5, dtype=torch.float64))
        self.points, self.area = grid(count=401)
        self.log_p = self.vae.log_prior(self.points) - math.log(2 * math.pi)
        assert float(self.log_p.exp().sum()) * self.area == pytest.approx(1, abs=1e-3)
        self.exact = self.log_likelihood(self.x)
        mean, log_variance = posterior = tuple(part[:, None] for part in self.vae.posterior(self.x))
        y, log_det = self.vae.unwarp(self.points.expand(3, -1, -1), posterior)
        log_q = torch.distributions.Normal(mean, torch.exp(0.5 * log_variance)).log_prob(y).sum(-1) - log_det
        torch.testing.assert_close(
            log_q.exp().sum(1) * self.area, torch.ones(3, dtype=torch.float64), rtol=0, atol=2e-3
        )
        self.kl = ((log_q - self.log_p) * log_q.exp()).sum(1) * self.area

    def log_likelihood(self, x):
        """log p(x) of x (M, 6): (M,)."""
        log_joint = self.vae.log_prob(x[:, None], self.vae.decode(self.points)) + self.log_p
        return torch.logsumexp(log_joint, 1) + math.log(self.area)


PRIORS = {
    "normal": priors.StandardNormal,
    "flow": lambda: flow(2, scale=0.4),
    "mixture": mixture,
    "vamp": vamp,
    "fitted": fitted,
}


@pytest.fixture(scope="module", params=["flow", "mixture", "vamp", "fitted", "normal, flow", "flow, flow"])
def model(request):
    prior, _, posterior = request.param.partition(", ")
    return Model(PRIORS[prior](), flow(2, layers=2, scale=0.2, seed=4, conditions=4) if posterior else None)


def draws(model, count, seed=1):
    """(noise, latents) of q(z|x), (count, M, L)."""
    posterior = model.vae.posterior(model.x)
    noise = torch.randn(count, *posterior[0].shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return noise, model.vae.warp(gaussian.reparameterise(*posterior, noise), posterior)[0]


def test_the_kl_is_that_of_the_integral(model):
    noise, _ = draws(model, 40_000)
    _, found = vae.elbo_terms(model.vae, model.x, noise)
    torch.testing.assert_close(found, model.kl, rtol=0.03, atol=0.01)


def test_importance_sampling_finds_the_integral(model):
    _, z = draws(model, 40_000)
    found = vae.importance_log_likelihood(model.vae, model.x, z.transpose(0, 1))
    torch.testing.assert_close(found, model.exact, rtol=0, atol=0.02)


def test_the_evaluation_of_a_model_agrees(model):
    generator = torch.Generator().manual_seed(2)
    single = copy.deepcopy(model.vae).float()
    found = vae.evaluate_likelihood(single, model.x, 20_000, [20_000], generator)
    torch.testing.assert_close(found["log_likelihood"], model.exact, rtol=0, atol=0.03)
    torch.testing.assert_close(found["kl"], model.kl, rtol=0.06, atol=0.02)
    assert (found["elbo"] < model.exact).all()


SETTINGS = {
    "chains": 64, "temperatures": 60, "leapfrog_steps": 5, "warmup_temperatures": 30, "acceptance": 0.65,
    "temperature_schedule": "sigmoid",
}  # fmt: skip


def test_annealing_finds_the_integral(model):
    found = annealing.annealed_log_likelihood(
        model.vae, model.x, model.vae.posterior(model.x), torch.Generator().manual_seed(4), SETTINGS
    )
    assert ((found["log_likelihood"] - model.exact).abs() < 4 * found["standard_error"] + 0.02).all()


def test_both_bounds_of_simulated_images_are_near_the_integral(model):
    generator = torch.Generator().manual_seed(8)
    x, z = annealing.simulate(model.vae, 20, generator)
    found = annealing.annealed_log_likelihood(model.vae, x, model.vae.posterior(x), generator, SETTINGS, z)
    exact = model.log_likelihood(x)
    assert ((found["upper"] - exact).abs() < 4 * found["upper_error"] + 0.02).all()
    assert float(found["upper_error"].mean()) < 0.15 and abs(float(found["gap"].mean())) < 0.1


def test_without_annealing_the_upper_bound_is_the_weight_of_the_exact_sample(model):
    generator = torch.Generator().manual_seed(8)
    x, z = annealing.simulate(model.vae, 20, generator)
    settings = SETTINGS | {"temperatures": 1}
    found = annealing.annealed_log_likelihood(model.vae, x, model.vae.posterior(x), generator, settings, z)
    torch.testing.assert_close(found["upper"], sum(vae.importance_terms(model.vae, x, z[:, None]))[:, 0])


def test_a_refined_proposal_is_nearer_and_its_estimate_still_the_integral(model):
    generator = torch.Generator().manual_seed(9)
    refined = proposals.refine_posterior(model.vae, model.x, generator, 100, 20, 0.1)
    weights = [
        proposals.importance_weights(model.vae, model.x, proposal, 4000, generator, 3000)
        for proposal in (model.vae.posterior(model.x), refined)
    ]
    torch.testing.assert_close(importance.log_mean_exp(weights[1]), model.exact, rtol=0, atol=0.1)
    assert (weights[1].mean(1) > weights[0].mean(1)).all()


def test_posterior_draws_are_those_of_the_posterior(model):
    """Their mean log p(z), against the integral over q(z|x)."""
    pictures = model.x[:1].expand(20_000, -1)
    z = vae.posterior_draws(model.vae, pictures, torch.Generator().manual_seed(3), torch.Tensor.double, 5000)
    _, expected = draws(model, 20_000, seed=5)
    found, expected = model.vae.log_prior(z.double()), model.vae.log_prior(expected[:, 0])
    error = math.hypot(found.std(), expected.std()) / math.sqrt(20_000)
    assert abs(float(found.mean() - expected.mean())) < 4 * error


def test_a_proposal_s_ratio_is_the_same_as_the_importance_weight(model):
    noise, z = draws(model, 9)
    u = noise.transpose(0, 1)
    expected = sum(vae.importance_terms(model.vae, model.x, z.transpose(0, 1)))
    posterior = model.vae.posterior(model.x)
    torch.testing.assert_close(proposals.log_ratio(model.vae, model.x, posterior, posterior, u), expected)


def test_simulated_latents_are_draws_from_the_prior(model):
    _, z = annealing.simulate(model.vae, 4000, torch.Generator().manual_seed(6))
    points, area = grid(count=401)
    density = (model.vae.log_prior(points) - math.log(2 * math.pi)).exp() * area
    for function in (lambda z: z[:, 0], lambda z: z[:, 1], lambda z: z[:, 0] * z[:, 1]):
        found = function(z)
        assert abs(found.mean() - density @ function(points)) < 4 * found.std() / math.sqrt(len(z))


@pytest.mark.parametrize("objective", ["elbo", "iwae"])
def test_training_moves_the_prior_towards_the_posteriors(objective):
    """A prior alone, for fixed networks whose posteriors are far from N(0, I)."""
    torch.manual_seed(7)
    encoder = nn.Linear(6, 4)
    with torch.no_grad():
        encoder.weight.zero_()
        encoder.bias.copy_(torch.tensor([2.0, -1.0, -2.0, -2.0]))
    encoder.requires_grad_(False)
    model = vae.VAE(encoder, nn.Linear(2, 6), 2, likelihoods.Bernoulli(), (6,), "flow")
    settings = {
        "learning_rate": 0.002, "optimizer": "adam", "weight_decay": 0.0, "schedule": "constant", "warmup_steps": 0,
        "kl_warmup_epochs": 0, "kl_weight": 1.0, "average_decay": 0.0, "objective": objective, "samples_per_image": 4,
        "encoder_steps": 0, "precision": "float32",
    }  # fmt: skip
    x = torch.bernoulli(torch.full((64, 6), 0.5))
    task = vae_training.VAETraining(model, x.byte(), settings)
    numbers = {"learning_rate": 0.002, "kl_weight": 1.0, "average_rate": 1.0}
    first = float(task.step(x, numbers)["train_kl"]) / 64
    for _ in range(200):
        last = float(task.step(x, numbers)["train_kl"]) / 64
    closed = float(gaussian.kl(*model.posterior(x[:1])))
    assert first == pytest.approx(closed, rel=0.1) and last < 0.2 < closed


class Curve(nn.Module):
    """A decoder of two pixels that are both on, by and large, where z lies near the parabola z_2 = z_1^2."""

    def forward(self, z):
        distance = z[:, 1:] - z[:, :1] ** 2
        return 8 * torch.cat([0.2 + distance, 0.2 - distance], 1)


def test_a_flow_as_the_posterior_comes_nearer_to_a_curved_one_than_a_gaussian():
    x, reached = torch.ones(32, 2), {}
    for name in ("gaussian", "flow"):
        torch.manual_seed(3)
        model = vae.VAE(nn.Linear(2, 4), Curve(), 2, likelihoods.Bernoulli(), (2,), posterior=name)
        settings = {
            "learning_rate": 0.005, "optimizer": "adam", "weight_decay": 0.0, "schedule": "constant", "warmup_steps": 0,
            "kl_warmup_epochs": 0, "kl_weight": 1.0, "average_decay": 0.0, "objective": "elbo", "samples_per_image": 4,
            "encoder_steps": 0, "precision": "float32",
        }  # fmt: skip
        task = vae_training.VAETraining(model, x.byte(), settings)
        for _ in range(500):
            task.step(x, {"learning_rate": 0.005, "kl_weight": 1.0, "average_rate": 1.0})
        with torch.no_grad():
            reconstruction, kl = vae.elbo_terms(model, x, torch.randn(1000, 32, 2))
        reached[name] = float((reconstruction - kl).mean())
    points, area = grid()
    log_prior = torch.distributions.Normal(0.0, 1.0).log_prob(points).sum(1)
    log_joint = likelihoods.bernoulli_log_prob(torch.ones(2).double(), Curve()(points)) + log_prior
    exact = float(torch.logsumexp(log_joint, 0)) + math.log(area)
    assert 0 < exact - reached["flow"] < 0.5 * (exact - reached["gaussian"])


@pytest.mark.parametrize(
    ("name", "posterior"),
    [("flow", "gaussian"), ("two_levels", "gaussian"), ("mixture", "gaussian"), ("vamp", "gaussian"), ("flow", "flow")],
)
def test_a_prior_is_trained_saved_and_loaded_by_its_name(tmp_path, name, posterior):
    torch.manual_seed(1)
    model = vae.binary_vae("suggested", 4, prior=name, posterior=posterior)
    settings = {
        "learning_rate": 0.002, "optimizer": "adam", "weight_decay": 0.0, "schedule": "constant", "warmup_steps": 0,
        "kl_warmup_epochs": 0, "kl_weight": 1.0, "average_decay": 0.0, "objective": "elbo", "samples_per_image": 1,
        "encoder_steps": 0, "precision": "float32",
    }  # fmt: skip
    x = torch.randint(0, 2, (6, 784), dtype=torch.uint8)
    before, task = copy.deepcopy(model.prior.state_dict()), vae_training.VAETraining(model, x, settings)
    task.step(x, {"learning_rate": 0.002, "kl_weight": 1.0, "average_rate": 1.0})
    assert any(not torch.equal(before[key], value) for key, value in model.prior.state_dict().items())
    about = {
        "architecture": "suggested",
        "latents": 4,
        "prior": name,
        "posterior": posterior,
        "model": "vae",
        "seed": 1,
        "data": {"title": "t"},
    }
    vae.save_vae(tmp_path / "vae.safetensors", task.average.module, about)
    loaded, z = vae.load_binary_vae(tmp_path / "vae.safetensors")[0], torch.randn(5, 4)
    kept = {"vamp": "mixture"}.get(name, name)  # its pseudo-inputs are encoded once
    assert type(loaded.prior) is type(priors.prior(kept, 4, 784))
    trained = task.average.module.eval()
    torch.testing.assert_close(loaded.log_prior(z), trained.log_prior(z))
    gaussians = torch.randn(2, 5, 4).unbind()
    for found, expected in zip(loaded.warp(z, gaussians), trained.warp(z, gaussians), strict=True):
        torch.testing.assert_close(found, expected)
    assert (posterior == "flow") == bool(loaded.posterior_flow)


def test_each_name_is_of_its_own_prior():
    named = {name: type(priors.prior(name, 4, 784)) for name in ("flow", "two_levels", "mixture", "vamp")}
    assert (named["mixture"], named["vamp"], named["flow"]) == (priors.Mixture, priors.Vamp, priors.CouplingFlow)
