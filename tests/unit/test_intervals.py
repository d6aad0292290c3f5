"""Means with their errors, intervals and differences, checked against scipy and against what they must cover."""

import numpy as np
import pytest
from genlab.measures import intervals
from scipy import stats


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def test_mean_and_error_along_any_axis():
    values = normal(40, 3)
    for axis in (0, 1, -1):
        mean, error = intervals.mean_and_error(values, axis)
        np.testing.assert_allclose(mean, values.mean(axis), rtol=1e-12)
        np.testing.assert_allclose(error, stats.sem(values, axis), rtol=1e-12)


def test_spread_of_seeds():
    assert intervals.spread([1.0, 2.0, 6.0]) == {"mean": 3.0, "sd": pytest.approx(7**0.5), "values": [1.0, 2.0, 6.0]}


def test_one_seed_has_no_spread():
    assert intervals.spread([4]) == {"mean": 4, "sd": None, "values": [4]}


def test_error_of_a_ratio_agrees_with_the_bootstrap():
    rng = np.random.default_rng(1)
    ends = rng.uniform(1, 3, 400)
    assert intervals.ratio_and_error(2 * ends, ends) == pytest.approx((2, 0), abs=1e-12)
    noisy = 2 * ends + rng.normal(size=400)
    ratio, error = intervals.ratio_and_error(noisy, ends)
    assert ratio == pytest.approx(noisy.mean() / ends.mean())
    rows = rng.integers(0, 400, (2000, 400))  # the bootstrap
    assert error == pytest.approx(np.std(noisy[rows].mean(1) / ends[rows].mean(1)), rel=0.1)


def test_interval_is_students():
    values = normal(7)
    result = intervals.interval(values, 0.9)
    assert (result["low"], result["high"]) == pytest.approx(stats.t.interval(0.9, 6, values.mean(), stats.sem(values)))
    assert (result["value"], result["standard_error"]) == pytest.approx((values.mean(), stats.sem(values)))
    assert result["sets"] == 7


def test_one_set_has_no_interval():
    alone = {"value": 3, "standard_error": None, "low": None, "high": None, "sets": 1}
    assert intervals.interval([3]) == alone


@pytest.fixture(params=[0, 3])
def models(request):
    """The values of two models, and whether they differ."""
    seeds = 10 * normal(6)  # what the two models of a seed have in common
    return seeds + normal(6, seed=1) + request.param, seeds + normal(6, seed=2), request.param > 0


def test_difference_is_the_paired_t_test(models):
    first, second, _ = models
    result = intervals.difference(first, second, 0.9)
    interval = stats.ttest_rel(first, second).confidence_interval(0.9)
    assert (result["low"], result["high"]) == pytest.approx(tuple(interval))
    assert result["value"] == pytest.approx(first.mean() - second.mean())
    assert result["standard_error"] == pytest.approx(stats.sem(first - second))
    assert result["pairs"] == 6 and "sets" not in result


def test_a_difference_beyond_the_noise_is_distinguishable_either_way(models):
    first, second, differ = models
    small = stats.ttest_rel(first, second).pvalue < 0.1
    assert intervals.difference(first, second, 0.9)["distinguishable"] is differ is bool(small)
    assert intervals.difference(second, first)["distinguishable"] is differ


def test_models_that_are_not_paired_are_told_apart_by_welch_s_interval():
    first, second = normal(5, seed=1), 3 * normal(7, seed=2) + 1
    found = intervals.difference_of_means(first, second)
    expected = stats.ttest_ind(first, second, equal_var=False).confidence_interval()
    assert (found["low"], found["high"]) == pytest.approx((expected.low, expected.high), rel=1e-12)
    assert found["value"] == pytest.approx(first.mean() - second.mean()) and found["pairs"] is None
    assert found["distinguishable"] == (not expected.low <= 0 <= expected.high)


def test_a_single_value_allows_no_verdict_on_models_that_are_not_paired():
    found = intervals.difference_of_means([1.0], [3.0, 4.0])
    assert found["value"] == -2.5 and found["low"] is found["distinguishable"] is None


def test_equal_values_that_are_not_paired_are_certain():
    found = intervals.difference_of_means([1.0, 1.0], [3.0, 3.0, 3.0])
    assert (found["value"], found["low"], found["high"], found["distinguishable"]) == (-2, -2, -2, True)


def test_one_pair_allows_no_verdict():
    single = {"value": -1, "standard_error": None, "low": None, "high": None, "pairs": 1, "distinguishable": None}
    assert intervals.difference([1], [2]) == single


def test_equal_values_are_not_distinguishable():
    assert intervals.difference([1, 2], [1, 2])["distinguishable"] is False


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: intervals.interval([]), "expected one or more finite numbers"),
        (lambda: intervals.interval([1, np.inf]), "expected one or more finite numbers"),
        (lambda: intervals.interval([1, 2], 95), "at confidence 95"),
        (lambda: intervals.difference([1, 2], [1]), r"shapes \(2,\) and \(1,\); expected pairs"),
    ],
)
def test_what_has_no_interval_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_mean_and_error_of_images():
    assert intervals.mean_and_error_of_images(np.array([1.0, 2.0, 6.0])) == pytest.approx(
        {"mean": 3.0, "standard_error": (14 / 2 / 3) ** 0.5}
    )
    assert intervals.mean_and_error_of_images(np.array([2.5])) == {"mean": 2.5, "standard_error": 0.0}


def test_reliability_leaves_out_shapes_that_could_not_be_fitted():
    found = intervals.reliability(np.array([1.0, 9.0, 2.0]), np.array([0.6, np.nan, 0.8]))
    assert found["effective_sample_size"] == {"mean": 4.0, "median": 2.0, "min": 1.0}
    assert found["pareto_k"] == pytest.approx({"median": 0.7, "share_above_0.7": 0.5})
    none = intervals.reliability(np.array([1.0]), np.array([np.nan]))
    assert none["pareto_k"] == {"median": None, "share_above_0.7": None}


def test_a_comparison_is_welch_s_test_of_scipy():
    means, deviations, counts = (3.0, 2.2), (0.9, 0.4), (7, 12)
    errors = [deviation / count**0.5 for deviation, count in zip(deviations, counts, strict=True)]
    found = intervals.compare(*means, errors, [count - 1 for count in counts])
    expected = stats.ttest_ind_from_stats(means[0], deviations[0], counts[0], means[1], deviations[1], counts[1], False)
    assert found["p"] == pytest.approx(expected.pvalue)
    assert found["difference"] == pytest.approx(0.8)


def test_the_interval_of_a_comparison_is_welch_s_of_scipy():
    first, second = normal(7, seed=1) + 1, 0.4 * normal(12, seed=2)
    found = intervals.compare(first.mean(), second.mean(), [stats.sem(first), stats.sem(second)], [6, 11])
    expected = stats.ttest_ind(first, second, equal_var=False).confidence_interval()
    assert (found["low"], found["high"]) == pytest.approx((expected.low, expected.high), rel=1e-10)


@pytest.mark.parametrize("gap, p", [(0.0, 1.0), (1.0, 0.0)])
def test_a_comparison_without_errors_is_certain(gap, p):
    assert intervals.compare(gap, 0.0, [0.0, 0.0], [9, 9])["p"] == p


def test_holm_multiplies_the_smallest_by_all_and_keeps_the_order():
    # Holm (1979): sorted p times M, M - 1, ..., 1, never falling, at most 1.
    np.testing.assert_allclose(intervals.holm([0.01, 0.04, 0.03, 0.005]), [0.03, 0.06, 0.06, 0.02])
    np.testing.assert_allclose(intervals.holm([0.9, 0.8]), [1, 1])
    assert intervals.holm([]).shape == (0,)


@pytest.fixture
def population():
    """(values, bounds) of 400 images, whose difference varies little and rises a little with the bound."""
    bounds = normal(400, seed=8) * 20 - 100
    return bounds + 6 + normal(400, seed=9) - 0.05 * (bounds + 100), bounds


def test_a_mean_by_difference_has_the_error_that_it_says(population):
    values, bounds = population
    rng, means, errors = np.random.default_rng(10), [], []
    for _ in range(2000):  # 400 images of many, and of these a random tenth
        images = rng.integers(0, 400, 400)
        some = images[:40]
        found = intervals.mean_by_difference(values[some], bounds[some], bounds[images])
        means.append(found["mean"])
        errors.append(found["standard_error"])
    assert np.mean(means) == pytest.approx(values.mean(), abs=4 * np.std(means) / np.sqrt(2000))
    assert np.mean(errors) == pytest.approx(np.std(means), rel=0.05)


def test_a_mean_by_difference_of_all_images_is_their_mean(population):
    values, bounds = population
    found, plain = intervals.mean_by_difference(values, bounds, bounds), intervals.mean_and_error_of_images(values)
    assert found == pytest.approx(plain)


def test_a_mean_by_difference_from_a_single_image():
    found = intervals.mean_by_difference(np.array([-90.0]), np.array([-95.0]), np.array([-95.0, -105.0]))
    assert found == {"mean": -95.0, "standard_error": 0.0}
