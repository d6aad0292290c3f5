"""The likelihoods of image VAEs, against torch.distributions, sums over all grey levels, and their own samples."""

import math

import pytest
import torch
from genlab.models import likelihoods
from torch import distributions as D

LEVELS = torch.arange(256).double() / 127.5 - 1


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


@pytest.fixture
def mixture():
    return likelihoods.LogisticMixture()


def parameters(mixture, pixels, count=1, scale=1.0):
    return scale * torch.randn(count, mixture.outputs * pixels, dtype=torch.float64)


def test_the_unit_normal_is_torch_s():
    x, mean = torch.randn(2, 4, 9, dtype=torch.float64)
    torch.testing.assert_close(likelihoods.UnitNormal()(x, mean), D.Normal(mean, 1.0).log_prob(x).sum(1))


def test_the_optimal_normal_is_torch_s():
    x, mean = torch.randn(2, 4, 9, dtype=torch.float64)
    normal = likelihoods.OptimalNormal().double()
    normal.variance.fill_(0.3)
    torch.testing.assert_close(normal(x, mean), D.Normal(mean, 0.3**0.5).log_prob(x).sum(1))


def test_the_fitted_variance_is_the_one_with_the_highest_likelihood():
    x, mean = torch.randn(2, 50, 8, dtype=torch.float64)
    normal = likelihoods.OptimalNormal().double()
    for _ in range(400):
        normal.fit(x, mean)
    found, best = normal.variance.clone(), normal(x, mean).sum()
    for factor in (0.99, 1.01):
        normal.variance.copy_(factor * found)
        assert normal(x, mean).sum() < best


def test_the_optimal_normal_needs_fewer_bits_than_the_unit_normal_for_small_errors():
    x = 0.5 * torch.randn(50, 12)
    mean, normal = x + 0.1 * torch.randn(50, 12), likelihoods.OptimalNormal()
    for _ in range(400):
        normal.fit(x, mean)
    unit, optimal = (each.bits(each(x, mean).mean().item(), 12) for each in (likelihoods.UnitNormal(), normal))
    # A density of variance v has 1/2 log2 (2 pi e v) bits at its own samples, and at variance 1 the error adds less.
    assert optimal == pytest.approx(0.5 * math.log2(2 * math.pi * math.e * 0.01) + math.log2(127.5), abs=0.05)
    assert unit == pytest.approx(0.5 * math.log2(2 * math.pi) + 0.005 / math.log(2) + math.log2(127.5), abs=0.01)


@pytest.mark.parametrize("kind", [likelihoods.UnitNormal, likelihoods.OptimalNormal])
def test_a_normal_s_draws_have_its_mean_and_variance(kind):
    normal = kind()
    normal.load_state_dict({name: torch.tensor(0.25) for name in normal.state_dict()})
    draws = normal.draw(torch.full((20_000,), 0.5), torch.Generator().manual_seed(0))
    assert draws.mean().item() == pytest.approx(0.5, abs=0.02)
    assert draws.var().item() == pytest.approx(0.25 if normal.state_dict() else 1.0, rel=0.03)


def test_the_mixture_s_probabilities_of_all_levels_of_a_channel_sum_to_one(mixture):
    numbers = parameters(mixture, 1, scale=2.0)
    numbers.view(10, -1)[[4, 5]] = -9  # red and green so narrow that all but one colour is impossible
    numbers.view(10, -1)[[1, 2]], numbers.view(10, -1)[[7, 8]] = LEVELS[40], 0
    colours = torch.stack([LEVELS[40].expand(256), LEVELS[40].expand(256), LEVELS], 1)
    bin = 2 * torch.tensor(math.exp(7) / 255).sigmoid().item() - 1  # of a narrowest logistic
    assert mixture(colours, numbers.expand(256, -1)).exp().sum().item() == pytest.approx(bin**2)


def _components(mixture, numbers):
    """By hand, from the paper: weights (C,), and for each channel the bin probabilities as a function of its mean."""
    grid = numbers.view(10, mixture.COMPONENTS)
    return grid[0].softmax(0), grid[1:4], (grid[4:7] - 1.5).clamp(min=-7).exp(), grid[7:10].tanh()


def _bin(level, mean, scale):
    low = torch.where(level < -0.999, 0.0, torch.sigmoid((level - 1 / 255 - mean) / scale))
    high = torch.where(level > 0.999, 1.0, torch.sigmoid((level + 1 / 255 - mean) / scale))
    return high - low


def _marginal_of_red(mixture, numbers):
    weights, means, scales, _ = _components(mixture, numbers)
    return (weights * _bin(LEVELS[:, None], means[0], scales[0])).sum(1)


def test_the_mixture_is_the_paper_s_formula(mixture):
    numbers = parameters(mixture, 1)
    weights, means, scales, coefficients = _components(mixture, numbers)
    colours = LEVELS[torch.randint(0, 256, (300, 3))]
    colours[0], colours[1] = LEVELS[0], LEVELS[255]  # bins without end
    red, green, blue = colours.T[:, :, None]
    shifted = means[1] + coefficients[0] * red, means[2] + coefficients[1] * red + coefficients[2] * green
    by_hand = _bin(red, means[0], scales[0]) * _bin(green, shifted[0], scales[1]) * _bin(blue, shifted[1], scales[2])
    torch.testing.assert_close(
        mixture(colours, numbers.expand(300, -1)).exp(), (weights * by_hand).sum(1), rtol=1e-6, atol=1e-12
    )


def test_pixels_of_the_mixture_are_independent(mixture):
    numbers, x = parameters(mixture, 6), LEVELS[torch.randint(0, 256, (1, 18))]
    alone = [
        mixture(x.view(3, 6)[:, pixel].reshape(1, 3), numbers.view(-1, 6)[:, pixel].reshape(1, -1))
        for pixel in range(6)
    ]
    torch.testing.assert_close(mixture(x, numbers), sum(alone))


def test_the_mixture_s_draws_have_its_mean(mixture):
    numbers = parameters(mixture, 1, scale=0.2)
    numbers.view(10, -1)[4:7] -= 2  # narrow, so that nothing is clipped
    draws = mixture.draw(numbers.expand(40_000, -1), torch.Generator().manual_seed(0))
    torch.testing.assert_close(draws.mean(0), mixture.mean(numbers)[0], rtol=0, atol=5e-3)


def test_the_mixture_s_draws_follow_its_probabilities(mixture):
    numbers = parameters(mixture, 1)
    draws = mixture.draw(numbers.expand(40_000, -1), torch.Generator().manual_seed(0))[:, 0]
    counts = torch.histc(((draws + 1) * 127.5).round(), 16, -0.5, 255.5) / len(draws)
    expected = _marginal_of_red(mixture, numbers).view(16, 16).sum(1)
    torch.testing.assert_close(counts.double(), expected, rtol=0, atol=0.012)


def test_the_mixture_is_finite_far_from_its_means_in_float32_and_so_are_its_gradients(mixture):
    numbers = (20 * torch.randn(8, mixture.outputs * 4)).requires_grad_()
    x = LEVELS.float()[torch.randint(0, 256, (8, 12))]
    value = mixture(x, numbers).sum()
    value.backward()
    assert value.isfinite() and numbers.grad.isfinite().all()


def test_bits_of_a_uniform_guess_are_eight():
    assert likelihoods.LogisticMixture.bits(-3072 * math.log(256), 3072) == pytest.approx(8)
    # A density of 1/2 over [-1, 1] gives a grey level, 1/127.5 wide, 1/255.
    assert likelihoods.UnitNormal.bits(-3072 * math.log(2), 3072) == pytest.approx(math.log2(255))


def test_green_and_blue_follow_the_red_and_green_that_were_drawn(mixture):
    numbers = torch.zeros(1, mixture.outputs, dtype=torch.float64)
    grid = numbers.view(10, -1)
    grid[4:7], grid[7], grid[8], grid[9] = -3.0, 0.8, -0.5, 0.3  # narrow, so that nothing is clipped
    r, g, b = mixture.draw(numbers.expand(40_000, -1), torch.Generator().manual_seed(0)).T
    slope = torch.linalg.lstsq(r[:, None], g[:, None]).solution
    assert slope.item() == pytest.approx(math.tanh(0.8), abs=0.03)
    slopes = torch.linalg.lstsq(torch.stack([r, g], 1), b[:, None]).solution[:, 0]
    torch.testing.assert_close(slopes, torch.tensor([-0.5, 0.3]).double().tanh(), rtol=0, atol=0.03)
