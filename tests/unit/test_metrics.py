import tracemalloc
from types import SimpleNamespace

import numpy as np
import prdc
import pytest
import torch
from genlab.measures import frechet, intervals, metric_table, metrics
from scipy import stats
from scipy.spatial import distance
from torchmetrics.image.kid import poly_mmd


def normal(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def standard(size):
    """Moments of mean 0 and covariance I exactly: of the vectors +-c e_i."""
    return frechet.moments([np.sqrt(size - 0.5) * np.concatenate([np.eye(size), -np.eye(size)])])


def near(values, truth, errors=4):
    """Is the mean of values within so many of its standard errors of the truth?"""
    return abs(np.mean(values) - truth) < errors * np.std(values, ddof=1) / np.sqrt(len(values))


# KID


def test_kernel_distance_agrees_with_torchmetrics():
    x, y = normal(60, 16, seed=1), 1.2 * normal(60, 16, seed=2) + 0.3
    expected = float(poly_mmd(torch.from_numpy(x), torch.from_numpy(y)))
    assert expected > 0.1
    assert metrics.kernel_distance(x, y) == pytest.approx(expected, rel=1e-10)


def test_kernel_distance_of_unequal_sets_is_the_sum_over_pairs():
    x, y = normal(7, 5, seed=1), normal(11, 5, seed=2) + 0.5

    def kernel(a, b):
        return (a @ b / 5 + 1) ** 3

    def within(z):
        return np.mean([kernel(a, b) for i, a in enumerate(z) for j, b in enumerate(z) if i != j])

    across = np.mean([kernel(a, b) for a in x for b in y])
    expected = within(x) + within(y) - 2 * across
    assert metrics.kernel_mean(y) == pytest.approx(within(y), rel=1e-12)
    assert metrics.kernel_distance(x, y) == pytest.approx(expected, rel=1e-10)
    assert metrics.kernel_distance(x, y, within_y=within(y)) == pytest.approx(expected, rel=1e-10)


def test_kernel_distance_is_unbiased():
    size, shift = 4, np.array([1.0, 0.5, 0, -0.5])
    draws = [normal(50, size, seed=seed) for seed in range(2000)]
    same = [metrics.kernel_distance(x[:20], x[20:]) for x in draws]
    moved = [metrics.kernel_distance(x[:20], x[20:] + shift) for x in draws]
    assert near(same, 0) and min(same) < 0
    # By hand, from the moments of a.b for a and b of N(0, I) or N(shift, I), with m = |shift|^2.
    m = shift @ shift
    yy = (m**3 + 6 * m**2 + 3 * m * size + 6 * m) / size**3 + 3 * (size + 2 * m + m**2) / size**2 + 3 * m / size + 1
    xx, xy = 3 / size + 1, 3 * (size + m) / size**2 + 1
    assert near(moved, yy + xx - 2 * xy)
    assert np.mean(moved) > 20 * np.std(moved) / np.sqrt(len(moved))


# Neighbourhoods


@pytest.mark.parametrize("k", [1, 5])
def test_neighbourhoods_agree_with_prdc(k):
    real, fake = normal(300, 6, seed=1), 0.7 * normal(300, 6, seed=2) + 0.4
    expected = prdc.compute_prdc(real, fake, k)
    assert len({round(float(value), 2) for value in expected.values()}) == 4
    assert metrics.neighbourhoods(real, fake, k) == pytest.approx(expected, rel=1e-12)


def test_neighbourhoods_by_hand():
    real, fake = [[0], [1], [3], [9]], [[0.5], [1.7], [14], [15.2]]
    # The radii of the real balls are 1, 1, 2, 6 and of the fake ones 1.2. The fakes lie in 2, 2, 1, 0 real balls,
    # every real ball holds a fake, and in fake balls lie the reals 0 and 1.
    expected = {"precision": 3 / 4, "recall": 2 / 4, "density": 5 / 4, "coverage": 1}
    assert metrics.neighbourhoods(real, fake, k=1) == pytest.approx(expected)
    exchanged = metrics.neighbourhoods(fake, real, k=1)
    assert (exchanged["precision"], exchanged["recall"]) == (2 / 4, 3 / 4)


@pytest.fixture
def equals():
    """Real and fake points of one distribution."""
    return normal(1000, 8, seed=1), normal(1000, 8, seed=2)


def test_neighbourhoods_of_equal_fakes(equals):
    found = metrics.neighbourhoods(*equals)
    expected = 1 - np.prod([(1000 - i) / (2000 - i) for i in range(1, 6)])  # Naeem et al. 2020, equation 10
    assert found["coverage"] == pytest.approx(expected, abs=0.02)
    assert found["density"] == pytest.approx(1, abs=0.05)


def test_collapsed_fakes_are_precise_and_cover_little(equals):
    real, fake = equals
    found = metrics.neighbourhoods(real, 1e-3 * fake)
    assert found["precision"] == 1 and found["recall"] < 0.01 and found["coverage"] < 0.3


def test_far_fakes_have_no_neighbours(equals):
    real, fake = equals
    assert set(metrics.neighbourhoods(real, fake + 100).values()) == {0}


# Nearest neighbours


def test_nearest_distances_agree_with_scipy():
    points, pool = normal(40, 12, seed=1) + 100, normal(70, 12, seed=2) + 100
    expected = distance.cdist(points, pool)
    distances, indices = metrics.nearest_distances(points, pool)
    assert distances.dtype == np.float64 and indices.dtype.kind == "i"
    np.testing.assert_allclose(distances, expected.min(1), rtol=1e-13)
    np.testing.assert_array_equal(indices, expected.argmin(1))


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_a_copy_is_at_distance_zero_even_among_near_copies(kind):
    exact = (normal(50, 12) * 10 + 1000).astype(kind)
    close = [np.nextafter(exact, direction * np.inf, dtype=kind) for direction in (-1, 1)]
    pool = np.concatenate([close[0], normal(50, 12, seed=1).astype(kind), exact, close[1], exact])
    distances, indices = metrics.nearest_distances(exact, pool)
    assert (distances == 0).all()
    np.testing.assert_array_equal(indices, np.arange(100, 150))  # the first of the two
    distances, indices = metrics.nearest_distances(exact, pool[:100])
    np.testing.assert_array_equal(indices, np.arange(50))
    np.testing.assert_array_equal(distances, np.linalg.norm(exact.astype(float) - close[0], axis=1))


def test_blocks_change_nothing_and_bound_the_memory(monkeypatch):
    x, y = normal(1000, 5, seed=1), normal(1000, 5, seed=2) + 0.5

    def all_of_them():
        tracemalloc.start()
        found = [
            metrics.kernel_distance(x, y),
            *metrics.neighbourhoods(x, y).values(),
            *np.concatenate(metrics.nearest_distances(x, y)),
        ]
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found, peak

    whole, peak = all_of_them()
    assert peak > 8 * 1000 * 1000
    monkeypatch.setattr(metrics, "BLOCK", 30_999)  # 30 rows: the last block is smaller
    parts, peak = all_of_them()
    np.testing.assert_allclose(parts, whole, rtol=1e-12)
    assert peak < 8 * 1000 * 1000 / 8


# The Frechet distance and the number of samples


def test_frechet_curve_is_that_of_consecutive_sets():
    x, reference = normal(1005, 6, seed=1) + 0.3, standard(6)

    def distances(n, sets):
        return [frechet.moments([x[i * n : (i + 1) * n]]).distance(reference) for i in range(sets)]

    curve = metrics.frechet_curve(x, reference, [50, 200, 1005])
    assert [(each["n"], each["sets"]) for each in curve] == [(50, 10), (200, 5), (1005, 1)]
    for each in curve:
        expected = distances(each["n"], each["sets"])
        assert each["mean"] == pytest.approx(np.mean(expected), rel=1e-12)
    assert curve[1]["sd"] == pytest.approx(stats.tstd(distances(200, 5)), rel=1e-9)
    assert curve[2]["sd"] is None


def test_frechet_curve_of_no_sizes_is_empty():
    assert metrics.frechet_curve(normal(1005, 6, seed=1), standard(6), []) == []


def test_frechet_infinity_is_the_formula_and_its_jackknife():
    x, reference, n, blocks = normal(163, 4, seed=1) + 0.3, standard(4), 40, 4

    def extrapolated(chosen):
        parts = [x[b * n : (b + 1) * n] for b in chosen]
        single = np.mean([frechet.moments([part]).distance(reference) for part in parts])
        pooled = frechet.moments([np.concatenate(parts)]).distance(reference)
        return (len(parts) * pooled - single) / (len(parts) - 1)

    without = np.array([extrapolated([b for b in range(blocks) if b != left]) for left in range(blocks)])
    error = np.sqrt(3 / 4 * ((without - without.mean()) ** 2).sum())
    result = metrics.frechet_infinity(x, reference, blocks)
    assert result["value"] == pytest.approx(extrapolated(range(blocks)), rel=1e-9)
    assert result["standard_error"] == pytest.approx(error, rel=1e-9)
    assert (result["n"], result["blocks"]) == (n, blocks)
    low, high = stats.t.interval(0.95, blocks - 1, result["value"], error)
    assert (result["low"], result["high"]) == pytest.approx((low, high), rel=1e-9)


@pytest.mark.parametrize("shift", [0, 0.5])
def test_frechet_infinity_of_gaussians_is_that_of_their_parameters(shift):
    size, offset = 16, shift * np.eye(16)[3]
    x, truth = normal(20_000, size, seed=1) + offset, shift**2
    result = metrics.frechet_infinity(x, standard(size))
    assert abs(result["value"] - truth) < 3 * result["standard_error"]
    # To first order in 1/n a set of n is too far by the mean's D/n and the covariance's D (D + 1) / (4 n).
    excess = (size + size * (size + 1) / 4) / 1000
    (thousand,) = metrics.frechet_curve(x, standard(size), [1000])
    assert thousand["mean"] - truth == pytest.approx(excess, rel=0.1)
    assert excess > 20 * result["standard_error"] or shift


# Intervals


def share_covered(intervals, truth):
    return np.mean([each["low"] <= truth <= each["high"] for each in intervals])


def test_interval_of_the_distance_at_n_covers_its_expectation():
    n, size, reference = 50, 8, standard(8)

    def distances(seed, sets):
        return [frechet.moments([x]).distance(reference) for x in normal(sets, n, size, seed=seed)]

    expectation = np.mean(distances(999, 4000))
    found = [intervals.interval(distances(seed, 10)) for seed in range(200)]
    assert 0.88 <= share_covered(found, expectation) <= 0.99


@pytest.mark.parametrize(("shift", "least", "most"), [(0.5, 0.88, 0.99), (0, 0.95, 1)])
def test_interval_of_the_extrapolation_covers_the_truth(shift, least, most):
    reference = standard(8)
    intervals = [
        metrics.frechet_infinity(normal(2000, 8, seed=seed) + shift * np.eye(8)[0], reference) for seed in range(200)
    ]
    assert least <= share_covered(intervals, shift**2) <= most
    # At distance 0 the error is too large, and known to be; elsewhere it is the spread of the values.
    values, errors = (np.array([each[key] for each in intervals]) for key in ("value", "standard_error"))
    assert np.sqrt(np.mean(errors**2)) / values.std() == pytest.approx(1 if shift else 1.5, rel=0.15)


# What is refused


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: metrics.kernel_distance(np.eye(3), np.eye(2)), r"x has shape \(3, 3\) and y \(2, 2\)"),
        (lambda: metrics.kernel_distance(np.eye(3)[:1], np.eye(3)), "expected .* N and M >= 2"),
        (lambda: metrics.kernel_mean(np.eye(3)[:1]), r"\(1, 3\); expected \(N, D\), N >= 2"),
        (lambda: metrics.kernel_distance(np.eye(3), np.full((3, 3), np.nan)), "y holds NaN or infinity"),
        (
            lambda: metrics.neighbourhoods(np.eye(3), np.eye(3)[:2], 1),
            r"real has shape \(3, 3\), fake \(2, 3\)",
        ),
        (lambda: metrics.neighbourhoods(np.eye(3), np.eye(3), 3), "k is 3; expected .* 1 <= k < N"),
        (lambda: metrics.neighbourhoods(np.eye(3), np.eye(3), 0), "k is 0"),
        (lambda: metrics.nearest_distances(np.eye(3), np.eye(2)), r"\(3, 3\) and the pool \(2, 2\)"),
        (lambda: metrics.nearest_distances(np.eye(3), np.eye(3)[:0]), r"pool \(0, 3\)"),
        (
            lambda: metrics.nearest_distances(np.zeros(3), np.eye(3)),
            r"points has shape \(3,\); expected \(N, D\)",
        ),
        (lambda: metrics.frechet_curve(np.eye(3), standard(3), [2, 4]), "a set of 4 of 3 features"),
        (lambda: metrics.frechet_curve(np.eye(3), standard(3), [1]), "a set of 1"),
        (lambda: metrics.frechet_infinity(normal(19, 3), standard(3)), "19 features in 10 blocks"),
        (lambda: metrics.frechet_infinity(normal(19, 3), standard(3), 2), "19 features in 2 blocks"),
    ],
)
def test_refuses(call, message):
    with pytest.raises(ValueError, match=message):
        call()


# The table


def test_each_row_of_the_table_is_complete_and_told_apart():
    rows = metric_table.METRICS
    assert len({row.key for row in rows}) == len({row.title for row in rows}) == len(rows) > 9
    for row in rows:
        assert row.better in ("higher", "lower", "neither") and row.scale in ("log", "linear", "share"), row.key
        assert row.against in ("test", "train", None), row.key


def test_a_row_is_all_that_a_metric_needs(monkeypatch):
    """A row added here is measured on each part, and on real images too unless it compares with them."""

    def width(part):
        return part.features.max() - part.features.min()

    def images(features):
        return SimpleNamespace(features=features, classes=np.zeros(len(features), int))

    rows = [
        metric_table.Metric("width", "width", "neither", function=width, against=None),
        metric_table.Metric("size", "size", "neither", function=lambda whole: whole.size, whole=True),
    ]
    monkeypatch.setattr(metric_table, "OF_IMAGES", rows)
    features, real = normal(70, 3, seed=1), images(normal(40, 3, seed=2))
    sets = metric_table.Images(images(features), real, real, 20, seed=1)
    found = metric_table.measure(sets, "samples")
    parts = [features[:20], features[20:40], features[40:60]]
    assert found == {"width": intervals.interval([np.ptp(part) for part in parts]), "size": 20}
    assert set(metric_table.measure(sets, "test")) == {"width"}


def test_the_jackknife_error_of_a_frechet_distance_is_its_spread_over_draws():
    rng, scales = np.random.default_rng(3), np.linspace(0.5, 2, 6)
    reference = frechet.moments([rng.normal(0.4, 1, (4000, 6))])
    draws = [scales * rng.normal(size=(200, 6)) for _ in range(150)]
    spread = np.std([frechet.moments([draw]).distance(reference) for draw in draws], ddof=1)
    errors = [metrics.frechet_error(draw, reference) for draw in draws]
    assert np.sqrt(np.mean(np.square(errors))) == pytest.approx(spread, rel=0.15)


def test_the_jackknife_error_of_a_frechet_distance_is_its_formula():
    x, reference = normal(163, 4, seed=1) + 0.3, standard(4)
    parts = np.array_split(x, 4)
    without = np.array([
        frechet.moments([np.concatenate(parts[:b] + parts[b + 1 :])]).distance(reference) for b in range(4)
    ])  # fmt: skip
    expected = np.sqrt(3 / 4 * ((without - without.mean()) ** 2).sum())
    assert metrics.frechet_error(x, reference, 4) == pytest.approx(expected, rel=1e-9)


def test_a_jackknife_of_too_few_is_refused():
    with pytest.raises(ValueError, match="21 features in 10 blocks; expected 2 blocks or more of 2 or more each"):
        metrics.frechet_error(np.eye(21), frechet.moments([np.eye(21)]))
