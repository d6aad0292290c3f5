"""ELBO and importance sampling against closed forms, exact sums and torch.distributions."""

import copy
import math

import pytest
import torch
from genlab import InputError
from genlab.models import binary_networks, gaussian, importance, likelihoods, vae, vae_training
from torch import distributions as D
from torch import nn


class Constant(nn.Module):
    """An encoder that says mean and log-variance by a function of x."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return torch.cat(self.function(x), 1)


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


@pytest.fixture
def linear_gaussian():
    """p(z) = N(0, I), p(x|z) = N(Wz + b, I), D = 5, L = 2: (model maker, W, b, exact p(x), posterior covariance)."""
    W, b = torch.randn(5, 2, dtype=torch.float64), torch.randn(5, dtype=torch.float64)
    covariance = torch.linalg.inv(torch.eye(2, dtype=torch.float64) + W.T @ W)
    decoder = nn.Linear(2, 5).double()
    decoder.weight.data, decoder.bias.data = W, b

    def make(log_variance):
        # The exact posterior's mean with any diagonal log-variance: the bound is loose, the estimate unbiased.
        encoder = Constant(lambda x: ((x - b) @ W @ covariance, log_variance.expand(len(x), 2)))
        return vae.VAE(encoder, decoder, 2, likelihoods.UnitNormal(), (5,))

    return make, W, b, D.MultivariateNormal(b, W @ W.T + torch.eye(5, dtype=torch.float64)), covariance


def test_kl_is_that_of_torch_distributions():
    mean, log_variance = torch.randn(7, 3), torch.randn(7, 3)
    exact = D.kl_divergence(D.Normal(mean, (0.5 * log_variance).exp()), D.Normal(0.0, 1.0)).sum(1)
    torch.testing.assert_close(gaussian.kl(mean, log_variance), exact)


def test_log_probs_are_those_of_torch_distributions():
    logits, x = 5 * torch.randn(4, 9), torch.randint(0, 2, (4, 9)).float()
    torch.testing.assert_close(likelihoods.bernoulli_log_prob(x, logits), D.Bernoulli(logits=logits).log_prob(x).sum(1))
    mean, y = torch.randn(4, 9), torch.randn(4, 9)
    torch.testing.assert_close(
        likelihoods.gaussian_log_prob(y, mean),
        D.MultivariateNormal(mean, torch.eye(9)).log_prob(y),
        rtol=1e-5,
        atol=1e-4,
    )


def test_bernoulli_log_prob_is_finite_at_extreme_logits():
    x, logits = torch.tensor([[1.0, 0.0, 1.0, 0.0]]), torch.tensor([[1e4, -1e4, -1e4, 1e4]])
    assert likelihoods.bernoulli_log_prob(x, logits).item() == -2e4


def test_bits_per_dimension_of_known_densities():
    # Uniform over [-1, 1]^D: each of the 255 steps of a pixel equally likely.
    assert likelihoods.UnitNormal.bits(-3072 * math.log(2), 3072) == pytest.approx(math.log2(255))
    # N(x; x, I): the least that a normal density of unit variance can have.
    x = torch.rand(1, 3072, dtype=torch.float64)
    best = likelihoods.gaussian_log_prob(x, x).item()
    assert likelihoods.UnitNormal.bits(best, 3072) == pytest.approx(0.5 * math.log2(2 * math.pi) + math.log2(127.5))


def test_with_the_exact_posterior_one_sample_gives_the_exact_log_likelihood():
    # A diagonal posterior is exact when the columns of W are orthogonal.
    W = torch.linalg.qr(torch.randn(5, 2, dtype=torch.float64))[0] * torch.tensor([2.0, 0.5], dtype=torch.float64)
    variance = 1 / (1 + (W**2).sum(0))
    decoder = nn.Linear(2, 5, bias=False).double()
    decoder.weight.data = W
    encoder = Constant(lambda x: (x @ W * variance, variance.log().expand(len(x), 2)))
    model = vae.VAE(encoder, decoder, 2, likelihoods.UnitNormal(), (5,))
    x = 3 * torch.randn(6, 5, dtype=torch.float64)
    z = torch.randn(6, 1, 2, dtype=torch.float64)
    exact = D.MultivariateNormal(torch.zeros(5, dtype=torch.float64), W @ W.T + torch.eye(5)).log_prob(x)
    torch.testing.assert_close(vae.importance_log_likelihood(model, x, z), exact, rtol=0, atol=1e-10)


def test_importance_estimate_converges_to_the_exact_marginal(linear_gaussian):
    make, _, _, marginal, covariance = linear_gaussian
    model = make(covariance.diagonal().log() + 0.5)
    x = marginal.sample((8,))
    mean, log_variance = (parameter[:, None] for parameter in model.posterior(x))
    z = mean + (0.5 * log_variance).exp() * torch.randn(8, 20_000, 2, dtype=torch.float64)
    torch.testing.assert_close(
        vae.importance_log_likelihood(model, x, z, chunk=7_000), marginal.log_prob(x), rtol=0, atol=0.03
    )


def test_elbo_falls_short_of_the_marginal_by_the_divergence_of_the_posteriors(linear_gaussian):
    make, W, b, marginal, covariance = linear_gaussian
    model = make(torch.tensor([-0.3, 0.2], dtype=torch.float64))
    x = marginal.sample((4,))
    reconstruction, kl = vae.elbo_terms(model, x, torch.randn(100_000, 4, 2, dtype=torch.float64))
    mean, log_variance = model.posterior(x)
    gap = D.kl_divergence(
        D.MultivariateNormal(mean, torch.diag_embed(log_variance.exp())),
        D.MultivariateNormal((x - b) @ W @ covariance, covariance),
    )
    torch.testing.assert_close(reconstruction - kl, marginal.log_prob(x) - gap, rtol=0, atol=0.05)


def test_importance_estimate_of_a_discrete_toy_is_its_exact_sum():
    # The decoder sees z only through the signs of its two dimensions: four equally likely patterns.
    table = torch.randn(4, 6)

    class Signs(nn.Module):
        def forward(self, z):
            return table[(z > 0).long() @ torch.tensor([1, 2])]

    encoder = Constant(lambda x: (0.3 * x[:, :2], torch.full((len(x), 2), 0.2)))
    model = vae.VAE(encoder, Signs(), 2, likelihoods.Bernoulli(), (6,))
    x = torch.randint(0, 2, (10, 6)).float()
    exact = torch.logsumexp(D.Bernoulli(logits=table).log_prob(x[:, None]).sum(2), 1) - math.log(4)
    mean, log_variance = (parameter[:, None] for parameter in model.posterior(x))
    z = mean + (0.5 * log_variance).exp() * torch.randn(10, 50_000, 2)
    torch.testing.assert_close(vae.importance_log_likelihood(model, x, z, 10_000), exact, rtol=0, atol=0.02)


def test_the_chunk_changes_nothing():
    model = vae.binary_vae("suggested", 5).eval()
    x, z = torch.randint(0, 2, (3, 784)).float(), torch.randn(3, 11, 5)
    whole = vae.importance_log_likelihood(model, x, z, 1000)
    assert whole.shape == (3,)
    torch.testing.assert_close(vae.importance_log_likelihood(model, x, z, 4), whole, rtol=1e-5, atol=1e-3)


@pytest.mark.parametrize("x, z", [((3, 784), (2, 4, 5)), ((3, 784), (3, 5)), ((3, 1, 28, 28), (3, 4, 5))])
def test_wrong_shapes_are_refused(x, z):
    with pytest.raises(ValueError, match=r"expected \(M, D\) and \(M, K, L\)"):
        vae.importance_log_likelihood(vae.binary_vae("suggested", 5), torch.zeros(x), torch.zeros(z))


@pytest.mark.parametrize("offset", [0.0, 1e4, -1e4])
def test_log_mean_exp_is_stable(offset):
    weights = torch.tensor([1.0, 2.0, 5.0], dtype=torch.float64)
    result = importance.log_mean_exp(weights.log() + offset)
    assert result.item() == pytest.approx(math.log(8 / 3) + offset, rel=1e-14)


def test_log_mean_exp_of_impossible_samples():
    assert importance.log_mean_exp(torch.tensor([-math.inf, 0.0])).item() == pytest.approx(-math.log(2))
    assert importance.log_mean_exp(torch.full((3,), -math.inf)).item() == -math.inf


def test_effective_sample_size():
    weights = torch.tensor([[1, 1, 1, 1], [1, 0, 0, 0], [1, 3, 0, 0]], dtype=torch.float64)
    sizes = importance.effective_sample_size(weights.log() - 500)
    torch.testing.assert_close(sizes, torch.tensor([4.0, 1.0, 16 / 10], dtype=torch.float64))


def test_log_likelihood_curve():
    log_weights = torch.randn(5, 7, dtype=torch.float64)
    curve = importance.log_likelihood_curve(log_weights, [1, 3, 7])
    torch.testing.assert_close(curve[:, 0], log_weights.mean(1))
    by_hand = (log_weights[:, :3].exp().mean(1).log() + log_weights[:, 3:6].exp().mean(1).log()) / 2
    torch.testing.assert_close(curve[:, 1], by_hand)
    torch.testing.assert_close(curve[:, 2], importance.log_mean_exp(log_weights))


def test_evaluate_likelihood_agrees_with_the_closed_form(linear_gaussian):
    make, W, b, marginal, covariance = linear_gaussian
    log_variance = covariance.diagonal().log() + 0.3
    model = make(log_variance)
    model.double()
    x = marginal.sample((30,))
    exact = marginal.log_prob(x.float().double())
    # evaluate_likelihood works in float32, as training does.
    single = vae.VAE(
        Constant(lambda x: tuple(p.float() for p in model.posterior(x.double()))),
        nn.Linear(2, 5),
        2,
        likelihoods.UnitNormal(),
        (5,),
    )
    single.decoder.weight.data, single.decoder.bias.data = W.float(), b.float()
    numbers = vae.evaluate_likelihood(single, x, 5_000, [1, 5_000], torch.Generator().manual_seed(1), chunk=5_000)
    assert {name: tuple(value.shape) for name, value in numbers.items()} == {
        "elbo": (30,), "kl": (30,), "log_likelihood": (30,), "elbo_gap": (30,), "curve": (30, 2),
        "effective_sample_size": (30,), "pareto_k": (30,),
    }  # fmt: skip
    torch.testing.assert_close(numbers["log_likelihood"], exact, rtol=0, atol=0.05)
    torch.testing.assert_close(numbers["curve"][:, 1], numbers["log_likelihood"])
    mean, _ = model.posterior(x)
    gap = D.kl_divergence(
        D.MultivariateNormal(mean, torch.diag(log_variance.exp())),
        D.MultivariateNormal((x - b) @ W @ covariance, covariance),
    )
    torch.testing.assert_close(numbers["elbo"], exact - gap, rtol=0, atol=0.15)
    torch.testing.assert_close(numbers["elbo_gap"], gap.expand(30), rtol=0, atol=0.15)
    torch.testing.assert_close(numbers["elbo"].mean(), (exact - gap).mean(), rtol=0, atol=0.03)
    torch.testing.assert_close(numbers["kl"], gaussian.kl(*model.posterior(x)), rtol=1e-5, atol=1e-5)
    assert (numbers["effective_sample_size"] > 1000).all() and (numbers["effective_sample_size"] <= 5000).all()
    assert (numbers["pareto_k"] < 0.7).all()  # q is wider than the posterior


SETTINGS = {
    "learning_rate": 0.1, "optimizer": "sgd", "weight_decay": 0.0, "schedule": "constant", "warmup_steps": 0,
    "kl_warmup_epochs": 0.0, "kl_weight": 1.0, "average_decay": 0.0, "objective": "elbo", "samples_per_image": 1,
    "encoder_steps": 0, "precision": "float32",
}  # fmt: skip


@pytest.mark.parametrize(
    "objective, samples, warmup, kl_weight",
    [
        ("elbo", 1, 0, 1),
        ("elbo", 3, 0, 1),
        ("elbo", 1, 10, 1),
        ("elbo", 1, 0, 5),
        ("elbo", 1, 9, 5),
        ("iwae", 4, 0, 1),
        ("iwae", 4, 0, 5),
        ("iwae", 4, 10, 1),
    ],
)
def test_a_training_step_descends_the_negative_bound(objective, samples, warmup, kl_weight):
    from genlab.training.optimization import Progress

    settings = SETTINGS | {"objective": objective, "samples_per_image": samples, "kl_warmup_epochs": warmup}
    settings |= {"kl_weight": kl_weight}
    model = vae.VAE(nn.Linear(6, 4), nn.Linear(2, 6), 2, likelihoods.Bernoulli(), (6,))
    x = torch.randint(0, 2, (5, 6), dtype=torch.uint8)
    task = vae_training.VAETraining(model, x, settings)
    state = torch.get_rng_state()
    noise = torch.randn(samples, 5, 2)

    mean, log_variance = model.encoder(x.float()).chunk(2, 1)
    q, p = D.Normal(mean, (0.5 * log_variance).exp()), D.Normal(0.0, 1.0)
    z = q.mean + q.stddev * noise
    log_p_x = D.Bernoulli(logits=model.decoder(z)).log_prob(x.float()).sum(2)
    kl = D.kl_divergence(q, p).sum(1)
    weight = kl_weight * (4 / warmup if warmup else 1)
    if objective == "iwae":
        log_weights = log_p_x + weight * (p.log_prob(z) - q.log_prob(z)).sum(2)
        bound = (torch.logsumexp(log_weights, 0) - math.log(samples)).mean()
    else:
        bound = (log_p_x.mean(0) - weight * kl).mean()
    gradients = torch.autograd.grad(bound, list(model.parameters()))
    expected = [p.detach() + 0.1 * g for p, g in zip(model.parameters(), gradients, strict=True)]

    torch.set_rng_state(state)
    sums = task.step(x, task.schedule(Progress(step=20, total=100, epochs=4.0)))
    torch.testing.assert_close(list(model.parameters()), expected)
    torch.testing.assert_close(list(task.average.module.parameters()), expected)
    torch.testing.assert_close(sums["train_elbo"], (log_p_x.mean(0) - kl).sum().detach())
    torch.testing.assert_close(sums["train_kl"], kl.sum().detach())


def test_a_training_step_moves_the_variance_towards_the_squared_error():
    from genlab.training.optimization import Progress

    normal, x = likelihoods.OptimalNormal(), torch.randint(0, 2, (5, 6), dtype=torch.uint8)
    model = vae.VAE(nn.Linear(6, 4), nn.Linear(2, 6), 2, normal, (6,))
    task, state = vae_training.VAETraining(model, x, SETTINGS), torch.get_rng_state()
    with torch.no_grad():
        mean, log_variance = model.encoder(x.float()).chunk(2, 1)
        decoded = model.decoder(mean + (0.5 * log_variance).exp() * torch.randn(1, 5, 2))
        error = (x.float() - decoded).square().mean().item()
    torch.set_rng_state(state)
    task.step(x, task.schedule(Progress(step=20, total=100, epochs=4.0)))
    assert normal.variance.item() == pytest.approx(0.95 + 0.05 * error, rel=1e-5)
    assert torch.equal(task.average.module.log_prob.variance, normal.variance)


def test_steps_of_the_encoder_alone_leave_the_variance(monkeypatch):
    from genlab.training.optimization import Progress

    normal, x, fits = likelihoods.OptimalNormal(), torch.randint(0, 2, (5, 6), dtype=torch.uint8), []
    monkeypatch.setattr(normal, "fit", lambda *images: fits.append(images))
    model = vae.VAE(nn.Linear(6, 4), nn.Linear(2, 6), 2, normal, (6,))
    task = vae_training.VAETraining(model, x, SETTINGS | {"encoder_steps": 3, "average_decay": 0.0})
    task.step(x, task.schedule(Progress(step=20, total=100, epochs=4.0)))
    assert len(fits) == 1


def gradients_of_a_step(objective, x, samples, clip_norm=0.0, kl_weight=1.0):
    """{parameter: gradient} of the bound, from a step of SGD; random numbers and weights are the same in each call."""
    from genlab.training.optimization import Progress

    torch.manual_seed(3)
    model = vae.VAE(nn.Linear(6, 4), nn.Linear(2, 6), 2, likelihoods.Bernoulli(), (6,))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    settings = SETTINGS | {"objective": objective, "samples_per_image": samples, "learning_rate": 1.0}
    settings |= {"clip_norm": clip_norm, "kl_weight": kl_weight}
    task = vae_training.VAETraining(model, x, settings)
    task.step(x, task.schedule(Progress(step=20, total=100, epochs=4.0)))
    return {name: value - before[name] for name, value in model.state_dict().items()}


@pytest.mark.parametrize("kl_weight", [0.5, 1.0, 2.0])
def test_the_doubly_reparameterised_gradient_is_that_of_the_importance_weighted_bound(kl_weight):
    x = torch.bernoulli(torch.full((6,), 0.5)).byte().repeat(200_000, 1)  # one image often: the mean over its noise
    plain, doubly = (gradients_of_a_step(objective, x, 4, kl_weight=kl_weight) for objective in ("iwae", "dreg"))
    for name, value in plain.items():
        # For the decoder it is the same number; for the encoder it has the same expectation, with other noise.
        allowed = 1e-5 if name.startswith("decoder") else 0.01 * max(1, kl_weight)
        torch.testing.assert_close(doubly[name], value, rtol=0, atol=allowed)
    assert plain["encoder.bias"].abs().max() > 0.2


def test_the_encoder_is_updated_alone_before_all_are():
    from genlab.training.optimization import Progress

    progress, x = Progress(step=20, total=100, epochs=4.0), torch.randint(0, 2, (9, 6), dtype=torch.uint8)
    torch.manual_seed(3)
    model = vae.VAE(nn.Linear(6, 4), nn.Linear(2, 6), 2, likelihoods.Bernoulli(), (6,), "flow")
    nn.init.normal_(model.prior.layers[0].outer.weight, 0, 0.3)
    plain, task = (
        vae_training.VAETraining(copy.deepcopy(model), x, SETTINGS | {"encoder_steps": steps}) for steps in (0, 2)
    )
    torch.manual_seed(4)
    task.step(x, task.schedule(progress))

    # The same by hand: two steps whose changes of decoder and prior are taken back, and a whole one.
    torch.manual_seed(4)
    for whole in (False, False, True):
        before = [copy.deepcopy(part.state_dict()) for part in (plain.model.decoder, plain.model.prior)]
        plain.step(x, plain.schedule(progress))
        if not whole:
            for part, state in zip((plain.model.decoder, plain.model.prior), before, strict=True):
                part.load_state_dict(state)
    torch.testing.assert_close(task.model.state_dict(), plain.model.state_dict())
    assert (task.model.prior.layers[0].outer.weight - model.prior.layers[0].outer.weight).abs().max() > 1e-4


def test_a_long_gradient_is_shortened_and_keeps_its_direction():
    x = torch.randint(0, 2, (9, 6), dtype=torch.uint8)
    whole, clipped, loose = (
        torch.cat([each.flatten() for each in gradients_of_a_step("elbo", x, 1, clip_norm).values()])
        for clip_norm in (0.0, 0.25, 100.0)
    )
    assert whole.norm() > 0.5 and torch.equal(whole, loose)
    torch.testing.assert_close(clipped, 0.25 * whole / whole.norm(), rtol=1e-4, atol=1e-6)


def test_noise_flips_a_share_of_the_encoder_s_pixels():
    model = vae.VAE(nn.Linear(6, 4), nn.Linear(2, 6), 2, likelihoods.Bernoulli(), (6,))
    x = torch.randint(0, 2, (20_000, 6)).float()
    seen = vae_training.VAETraining(model, x, SETTINGS | {"input_noise": 0.1}).seen(x)
    assert set(seen.unique().tolist()) == {0.0, 1.0}
    assert (seen != x).float().mean().item() == pytest.approx(0.1, abs=0.005)
    assert torch.equal(vae_training.VAETraining(model, x, SETTINGS).seen(x), x)


def test_dropout_and_width_reach_the_residual_architecture():
    narrow, wide = (vae.binary_vae("residual", 5, width=width, dropout=0.5) for width in (8, 16))
    size = [sum(p.numel() for p in model.parameters()) for model in (narrow, wide)]
    assert size[1] > 2 * size[0]
    drops = [module for module in wide.modules() if isinstance(module, nn.Dropout)]
    assert len(drops) == 10 and all(module.p == 0.5 for module in drops)
    x = torch.rand(2, 784)
    for block in (module for module in wide.modules() if isinstance(module, binary_networks.Residual)):
        nn.init.normal_(block.body[-1].weight)
    assert not torch.equal(*(wide.posterior(x)[0] for _ in range(2)))
    same = vae.binary_vae("residual", 5, width=16).eval()  # dropout is no part of the weights
    same.load_state_dict(wide.state_dict())
    torch.testing.assert_close(same.posterior(x), wide.eval().posterior(x))


@pytest.mark.parametrize("width", [8, 32])
def test_the_bottleneck_architecture_has_the_shapes_and_its_blocks_start_as_the_identity(width):
    model = vae.binary_vae("bottleneck", 100, width=width)
    assert sum(p.numel() for p in model.parameters()) == {8: 327_545, 32: 1_644_617}[width]
    mean, log_variance = model.posterior(torch.rand(2, 784))
    assert mean.shape == log_variance.shape == (2, 100)
    assert model.decode(torch.randn(2, 3, 100)).shape == (2, 3, 784)
    blocks = [module for module in model.modules() if isinstance(module, binary_networks.Bottleneck)]
    assert len(blocks) == 12
    for block in blocks:
        maps = torch.randn(2, len(block.body[-1].bias), 7, 7)
        assert torch.equal(block(maps), maps)
    before = mean.detach()
    nn.init.normal_(blocks[0].body[-1].weight)
    assert not torch.allclose(model.posterior(torch.rand(2, 784))[0], before)


def test_validation_numbers_are_per_image_means_of_all_images():
    model = vae.binary_vae("suggested", 3)
    x = torch.randint(0, 2, (300, 784), dtype=torch.uint8)  # more than one batch, the last one smaller
    from genlab.training.optimization import Progress

    task = vae_training.VAETraining(model, x, SETTINGS)
    numbers = task.evaluate(Progress(1, 2, 1.0))
    with torch.no_grad():
        mean, log_variance = model.posterior(x.float())
    assert numbers["valid_kl"] == pytest.approx(gaussian.kl(mean, log_variance).mean().item(), rel=1e-5)
    assert numbers["valid_elbo"] == pytest.approx(numbers["valid_reconstruction"] - numbers["valid_kl"])
    assert numbers == task.evaluate(Progress(1, 2, 1.0))  # the same noise every time


def test_saved_weights_come_back(tmp_path):
    model = vae.binary_vae("suggested", 3).eval()
    about = {"model": "vae", "seed": 1, "architecture": "suggested", "latents": 3, "data": {"title": "x"}}
    vae.save_vae(tmp_path / "a.safetensors", model, about)
    vae.save_vae(tmp_path / "b.safetensors", model, about)
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()
    loaded, read = vae.load_binary_vae(tmp_path / "a.safetensors")
    z = torch.randn(2, 3)
    assert read == about and torch.equal(loaded.decode(z), model.decode(z)) and not loaded.training


@pytest.mark.parametrize(
    "change, message",
    [
        ({"architecture": "made.py:network"}, "'architecture' is 'made.py:network'"),
        ({"architecture": []}, "unhashable"),
        ({"architecture": "residual", "width": 12}, "divisible"),
        ({"latents": 20_000_000}, "by its description"),
        ({"width": "32"}, "'width' is '32'"),
    ],
    ids=["a file of code", "no name", "an odd width", "latents that it does not have", "text"],
)
def test_weights_run_no_code_and_take_no_memory_for_what_they_claim(tmp_path, monkeypatch, change, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "made.py").write_text("raise SystemExit('code of a file of weights was run')\n")
    about = {"architecture": "suggested", "latents": 2, "model": "vae", "seed": 1, "data": {"title": "t"}}
    vae.save_vae(tmp_path / "vae.safetensors", vae.binary_vae("suggested", 2), about | change)
    with pytest.raises(InputError, match=f"vae.safetensors: not the weights of a binary VAE .*{message}"):
        vae.load_binary_vae(tmp_path / "vae.safetensors")
