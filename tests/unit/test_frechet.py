import numpy as np
import pytest
import torch
from genlab import InputError
from genlab.measures.frechet import BLOCK, Moments, calculate_fid_score, frechet_distance
from scipy import linalg
from torchmetrics.image.fid import FrechetInceptionDistance


def correlated(count, size=64, seed=0):
    """Features with a mean and a full covariance of their own, eigenvalues over four decades."""
    rng = np.random.default_rng(seed)
    mix = np.logspace(0, -2, size)[:, None] * rng.standard_normal((size, size))
    return rng.standard_normal((count, size)) @ mix + rng.standard_normal(size)


def moments(*batches):
    result = Moments()
    for batch in batches:
        result.update(batch)
    return result


def distance(p, q):
    p, q = moments(p), moments(q)
    return frechet_distance(p.mean, p.covariance, q.mean, q.covariance)


# The distance


class Features(torch.nn.Identity):
    """For torchmetrics: a feature net whose images are features already."""

    num_features = 64


def test_agrees_with_torchmetrics():
    p, q = correlated(300, seed=1), correlated(500, seed=2)
    metric = FrechetInceptionDistance(feature=Features()).set_dtype(torch.float64)
    metric.update(torch.from_numpy(p), real=False)
    metric.update(torch.from_numpy(q), real=True)
    expected = float(metric.compute())
    assert expected > 1
    assert calculate_fid_score(iter(p), iter(q)) == pytest.approx(expected, rel=1e-6)


def test_agrees_with_the_formula_by_a_matrix_square_root():
    p, q = correlated(300, seed=1), correlated(500, seed=2)
    cov_p, cov_q = np.cov(p, rowvar=False), np.cov(q, rowvar=False)
    root = linalg.sqrtm(cov_p @ cov_q)
    expected = np.sum((p.mean(0) - q.mean(0)) ** 2) + np.trace(cov_p + cov_q - 2 * root.real)
    assert calculate_fid_score(p, q) == pytest.approx(expected, rel=1e-9)


def test_a_shift_is_as_far_as_its_length_squared():
    x, shift = correlated(200), np.random.default_rng(3).standard_normal(64)
    assert distance(x, x + shift) == pytest.approx(shift @ shift, rel=1e-9)


def test_the_distance_of_diagonal_covariances_is_that_of_their_deviations():
    (a, b), zero = np.random.default_rng(3).random((2, 30)), np.zeros(30)
    diagonal = frechet_distance(zero, np.diag(a), zero, np.diag(b))
    assert diagonal == pytest.approx(np.sum((np.sqrt(a) - np.sqrt(b)) ** 2), rel=1e-12)


def test_points_spread_three_times_as_wide_are_four_variances_away():
    x = correlated(200)
    assert distance(x, 3 * (x - x.mean(0)) + x.mean(0)) == pytest.approx(4 * np.trace(np.cov(x.T)), rel=1e-9)


def test_the_distance_of_one_feature():
    assert frechet_distance([1.0], [[4.0]], [3.0], [[9.0]]) == pytest.approx(4 + 1)


@pytest.mark.parametrize("order", [1, -1])
def test_a_few_points_are_at_no_distance_from_themselves(order):
    x = correlated(100, 512)
    assert abs(distance(x, x[::order])) < 1e-9 * np.trace(np.cov(x.T))


def test_the_distance_of_rank_deficient_covariances_is_exact():
    # Against the value from the centred features themselves, of which no rank is lost.
    x, y = correlated(100, 512), correlated(120, 512, seed=5)
    p, q = (each - each.mean(0) for each in (x, y))
    cross = linalg.svdvals(p @ q.T).sum() / np.sqrt((len(p) - 1) * (len(q) - 1))
    exact = np.sum((x.mean(0) - y.mean(0)) ** 2) + np.trace(np.cov(x.T)) + np.trace(np.cov(y.T)) - 2 * cross
    assert distance(x, y) == pytest.approx(exact, rel=1e-9)


@pytest.mark.parametrize(("kept", "tolerance"), [(200, 1e-9), (0, 1e-12)])  # with 0 one side is a point
def test_a_projection_is_away_by_the_variance_that_it_loses(kept, tolerance):
    rng, zero = np.random.default_rng(4), np.zeros(512)
    axes, _ = linalg.qr(rng.standard_normal((512, 512)))
    variance = rng.random(512)
    covariance, part = (axes * variance) @ axes.T, (axes[:, :kept] * variance[:kept]) @ axes[:, :kept].T
    assert frechet_distance(zero, covariance, zero, part) == pytest.approx(variance[kept:].sum(), rel=tolerance)


def test_distance_refuses():
    mean, covariance = np.zeros(3), np.eye(3)
    with pytest.raises(ValueError, match=r"means of shapes \(3,\) and \(2,\)"):
        frechet_distance(mean, covariance, mean[:2], covariance[:2, :2])
    with pytest.raises(ValueError, match=r"shapes \(3,\), \(3,\)"):
        frechet_distance(mean, np.ones(3), mean, covariance)
    for bad in (np.nan, np.inf):
        with pytest.raises(ValueError, match="NaN or infinity"):
            frechet_distance(mean, covariance, mean, np.full((3, 3), bad))


# The moments


def test_moments_equal_numpy_whatever_the_batching_and_order():
    x = correlated(1000)
    order = np.random.default_rng(6).permutation(1000)
    for batches in ([x], np.array_split(x, 7), x[:, None], [x[:1], x[1:3], x[3:3], x[3:]], [x[order]]):
        result = moments(*batches)
        assert result.count == 1000
        np.testing.assert_allclose(result.mean, x.mean(0), rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(result.covariance, np.cov(x, rowvar=False), rtol=1e-9, atol=1e-12)


def test_moments_keep_their_digits_at_a_large_offset():
    x = np.round(correlated(1000) * 2**10) / 2**10  # so that adding the offset is exact
    expected = np.cov(x, rowvar=False)
    for start in (0, 500):  # an offset of all, and a jump half-way
        far = x.copy()
        far[start:] += 2.0**30
        result = moments(*np.array_split(far, 9))
        if start == 0:
            np.testing.assert_allclose(result.covariance, expected, rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(result.mean, far.mean(0), rtol=1e-15)
    np.testing.assert_allclose(result.covariance, np.cov(far, rowvar=False), rtol=1e-12)


def test_merged_moments_are_those_of_all_vectors():
    x = correlated(1000)
    x[300:] += 1000  # the parts lie far from each other
    parts = [moments(part) for part in np.split(x, [1, 300, 300])]  # one vector, and none, among them
    for order in ([0, 1, 2, 3], [2, 3, 1, 0]):
        result = Moments()
        for i in order:
            result.merge(parts[i])
        assert result.count == 1000
        np.testing.assert_allclose(result.mean, x.mean(0), rtol=1e-12)
        np.testing.assert_allclose(result.covariance, np.cov(x, rowvar=False), rtol=1e-9, atol=1e-9)
    assert [part.count for part in parts] == [1, 299, 0, 700]  # and they stay as they were
    np.testing.assert_allclose(parts[3].covariance, np.cov(x[300:], rowvar=False), rtol=1e-9, atol=1e-12)


def test_merge_refuses_another_length():
    result, other = Moments("first"), Moments("second")
    result.update(np.eye(3))
    other.update(np.eye(2))
    with pytest.raises(InputError, match="first have 3 numbers and second 2; expected one D"):
        result.merge(other)


# The score of two iterators


def test_score_takes_vectors_batches_and_tensors_alike():
    p, q = correlated(BLOCK + 88, seed=1).astype(np.float32), correlated(300, seed=2).astype(np.float32)
    expected = distance(p, q)
    for first, second in (
        (iter(p), (vector for vector in q)),
        (np.array_split(p, 7), iter([q])),
        ([p[:5], *p[5:9], p[9:]], torch.from_numpy(q)),
    ):
        assert calculate_fid_score(first, second) == pytest.approx(expected, rel=1e-10)
    assert calculate_fid_score(q, p) == pytest.approx(expected, rel=1e-10)


def test_score_holds_few_vectors_at_a_time():
    alive, most = 0, 0

    class Vector(np.ndarray):
        def __del__(self):
            nonlocal alive
            alive -= 1

    def stream(count):
        nonlocal alive, most
        for values in np.random.default_rng(7).standard_normal((count, 4)):
            alive += 1
            most = max(most, alive)
            yield np.array(values).view(Vector)

    calculate_fid_score(stream(4 * BLOCK), stream(4 * BLOCK))
    assert most <= 2 * BLOCK + 2


@pytest.mark.parametrize(
    ("sample", "test", "message"),
    [
        ([], np.eye(3), "sample features: 0 in all; moments need 2"),
        (np.eye(3), np.eye(3)[:1], "test features: 1 in all; moments need 2"),
        (np.eye(3), np.eye(2), "sample features have 3 numbers each and test features 2"),
        ([*np.eye(3), np.zeros(2)], np.eye(3), "sample features have 3 numbers and then 2"),
        ([np.eye(3), np.eye(2)], np.eye(3), "sample features have 3 numbers and then 2"),
        (np.eye(3), [np.zeros(3), [0, np.nan, 0]], "test features: vector 1 holds NaN or infinity"),
        (np.full((2, 3), np.inf), np.eye(3), "sample features: vector 0 holds NaN"),
        (np.eye(3), np.eye(3) * 1j, r"test features are complex128 \(3, 3\)"),
        (["one", "two"], np.eye(3), "sample features are <U3"),
        (np.zeros((2, 3, 3, 3)), np.eye(3), r"sample features are float64 \(3, 3, 3\)"),
        (np.zeros((5, 0)), np.eye(3), r"sample features are float64 \(5, 0\)"),
    ],
)
def test_score_refuses(sample, test, message):
    with pytest.raises(InputError, match=message):
        calculate_fid_score(sample, test)
