"""Pareto k-hat against arviz-stats and against samples of generalised Pareto distributions."""

import numpy as np
import pytest
import torch
from arviz_stats.base import array_stats
from genlab.models.importance import pareto_k
from scipy import stats


@pytest.mark.parametrize("samples", [25, 29, 200, 225, 226, 5000])
@pytest.mark.parametrize("spread", [0.1, 1.0, 5.0, 60.0])
def test_it_is_that_of_arviz(samples, spread):
    log_weights = spread * np.random.default_rng(1).normal(size=(6, samples))
    _, expected = array_stats.psislw(-log_weights, axis=-1)
    np.testing.assert_allclose(pareto_k(torch.from_numpy(log_weights)), expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize("k", [-0.3, 0.2, 0.5, 0.7, 1.0, 1.5])
def test_known_shapes_are_found_at_any_scale_of_the_weights(k):
    weights = stats.genpareto.rvs(k, size=(40, 40_000), random_state=1)
    estimates = pareto_k(torch.from_numpy(np.log(weights) - 5000))
    # 600 weights in a tail, so one estimate scatters by (1 + k) / sqrt(600); ten more at 0.5 draw it there.
    expected = (600 * k + 5) / 610
    assert estimates.mean().item() == pytest.approx(expected, abs=4 * (1 + k) / 24_000**0.5 + 0.01)
    assert estimates.std().item() == pytest.approx((1 + k) / 600**0.5, rel=0.5)


@pytest.mark.parametrize("ratio", [0.1, 0.3, 0.5])
def test_a_normal_proposal_that_is_too_narrow(ratio):
    # p = N(0, 1), q = N(0, ratio): P(p / q > t) falls as t^(-1 / k), but for a logarithm, with k = 1 - ratio.
    z = torch.randn(40, 100_000, generator=torch.Generator().manual_seed(1), dtype=torch.float64)  # in standard units
    assert pareto_k((1 - ratio) * z**2 / 2).mean().item() == pytest.approx(1 - ratio, abs=0.08)


def test_leading_dimensions_are_kept_and_float32_is_taken():
    log_weights = torch.randn(3, 4, 100, generator=torch.Generator().manual_seed(1))
    shapes = pareto_k(log_weights)
    assert shapes.shape == (3, 4) and shapes.dtype == torch.float64
    torch.testing.assert_close(shapes[1, 2], pareto_k(log_weights[1, 2]))


@pytest.mark.parametrize("samples", [1, 24])
def test_too_few_weights_have_no_shape(samples):
    assert pareto_k(torch.randn(3, samples)).isnan().tolist() == [True] * 3


def test_weights_at_the_extremes():
    equal, remote = torch.zeros(200), 1000 * torch.arange(200.0)  # an exact posterior; one weight that is all
    assert pareto_k(equal) < 0 and pareto_k(remote) > 1
