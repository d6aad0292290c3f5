"""Metrics between two sets of feature vectors: KID, precision, recall, density, coverage, and FID against N.

Features are rows (N, D) of any real type. Everything is computed in float64, block by block, so that little
memory is needed beside them. Wrong shapes and non-finite numbers are ValueErrors. numpy and scipy only.
The Frechet distance itself is in `frechet`.
"""

import numpy as np

from . import frechet, intervals

BLOCK = 2**23  # entries of a matrix of pairs at a time: 64 MB
CURVE_SETS = 10  # measurements at each N suffice for their mean and spread


def kernel_distance(x, y, within_y=None):
    """KID: unbiased estimate of the squared MMD between features x (N, D) and y (M, D), a float; N, M >= 2.

    The kernel is (a.b / D + 1)^3 (Binkowski et al. 2018, "Demystifying MMD GANs", section 4). Pairs of
    a vector with itself are left out. So for two sets of one distribution the expectation is 0 at any N and M,
    and about half of the estimates are negative. All pairs are used, without drawing subsets. Give
    `within_y`, `kernel_mean(y)`, to compute it once when many x are compared with one y.
    """
    x, y = _vectors(x, "x"), _vectors(y, "y")
    if x.shape[1] != y.shape[1] or min(len(x), len(y)) < 2:
        raise ValueError(f"x has shape {x.shape} and y {y.shape}; expected (N, D) and (M, D), N and M >= 2")
    across = sum(_kernel_sum(x[rows], y) for rows in _blocks(len(x), len(y)))
    within_y = kernel_mean(y) if within_y is None else within_y
    return float(kernel_mean(x) + within_y - 2 * across / (len(x) * len(y)))


def kernel_mean(x):
    """Mean of KID's kernel over all pairs of different vectors of x (N, D), N >= 2: a float."""
    x, total = _vectors(x, "x"), 0
    if len(x) < 2:
        raise ValueError(f"x has shape {x.shape}; expected (N, D), N >= 2")
    for rows in _blocks(len(x), len(x)):  # each pair is computed once
        total += _kernel_sum(x[rows], x[rows]) + 2 * _kernel_sum(x[rows], x[rows.stop :])
    itself = (((x**2).sum(1) / x.shape[1] + 1) ** 3).sum()
    return float((total - itself) / (len(x) * (len(x) - 1)))


def neighbourhoods(real, fake, k=5):
    """Precision, recall, density and coverage, floats in a dict, of two sets (N, D) of equal N > k.

    The ball of a vector reaches to its k-th nearest other vector in its own set.
    precision: share of fakes that lie in the ball of a real vector: are they realistic?
    recall: share of real vectors that lie in the ball of a fake: do the fakes reach all of reality?
    (Both Kynkaanniemi et al. 2019, "Improved precision and recall metric".)
    density: mean number of real balls that a fake lies in, divided by k; about 1 for equal distributions,
    and it may exceed 1.
    coverage: share of real vectors whose ball holds a fake; a single outlier among the fakes cannot raise it.
    (Both Naeem et al. 2020, "Reliable fidelity and diversity metrics"; the balls are open as in their code.)

    All four depend on N and k, coverage and recall most. So unequal N is a ValueError, and only numbers of the
    same N compare. For equal distributions coverage is about 1 - 2^-k; the others have no fixed value.
    """
    real, fake = _vectors(real, "real"), _vectors(fake, "fake")
    if real.shape != fake.shape or not 1 <= k < len(real):
        raise ValueError(f"real has shape {real.shape}, fake {fake.shape}, k is {k}; expected one (N, D), 1 <= k < N")
    real_radii, fake_radii = _squared_radii(real, k), _squared_radii(fake, k)
    balls = np.zeros(len(fake), int)  # how many real balls each fake lies in
    covered, recalled = np.empty((2, len(real)), bool)
    for rows, squared in _squared_distances(real, fake):
        inside = squared < real_radii[rows, None]
        balls += inside.sum(0)
        covered[rows] = inside.any(1)
        recalled[rows] = (squared < fake_radii).any(1)
    return {
        "precision": float((balls > 0).mean()),
        "recall": float(recalled.mean()),
        "density": float(balls.mean() / k),
        "coverage": float(covered.mean()),
    }


def nearest_distances(points, pool):
    """Euclidean distance of points (N, D) to the nearest in a pool (M, D): float64 (N,), and its index, int (N,).

    A point that is in the pool has distance exactly 0. Among equally near ones the first counts.
    """
    points, pool = _vectors(points, "points"), _vectors(pool, "pool")
    if points.shape[1] != pool.shape[1] or not len(pool):
        raise ValueError(f"points have shape {points.shape} and the pool {pool.shape}; expected (N, D) and (M, D)")
    distances, indices = np.empty(len(points)), np.empty(len(points), int)
    centre = pool.mean(0)
    size = ((points - centre) ** 2).sum(1) + ((pool - centre) ** 2).sum(1).max()
    # Twice the largest rounding error of the expanded squares. Candidates within it are measured directly.
    slack = 2 * (pool.shape[1] + 8) * np.finfo(np.float64).eps * size
    for rows, squared in _squared_distances(points, pool):
        near = squared <= (squared.min(1) + slack[rows])[:, None]
        for i, row in zip(range(rows.start, rows.stop), near, strict=True):
            candidates = np.flatnonzero(row)
            exact = np.sqrt(((pool[candidates] - points[i]) ** 2).sum(1))
            distances[i], indices[i] = exact.min(), candidates[exact.argmin()]
    return distances, indices


def frechet_curve(features, reference, sizes):
    """The Frechet distance at several sample sizes: a list of {"n", "sets", "mean", "sd"}, one for each n in `sizes`.

    features: (N, D); reference: `frechet.Moments`. The sets are disjoint, n consecutive vectors each, at most
    10 of them. `sd` is the standard deviation between the sets, None for one set. The distance is biased by
    about a/n: compare only values of the same n. ValueError for n < 2 and n > N.
    """
    features = _vectors(features, "features")
    curve = []
    for n in sizes:
        if not 2 <= n <= len(features):
            raise ValueError(
                f"a set of {n} of {len(features)} features; expected 2 or more, and no more than there are"
            )
        starts = range(0, len(features) - n + 1, n)[:CURVE_SETS]
        values = [frechet.moments([features[i : i + n]]).distance(reference) for i in starts]
        sd = float(np.std(values, ddof=1)) if len(values) > 1 else None
        curve.append({"n": n, "sets": len(values), "mean": float(np.mean(values)), "sd": sd})
    return curve


def frechet_infinity(features, reference, blocks=10, confidence=0.95):
    """The Frechet distance extrapolated to infinitely many samples, with its interval.

    features: (N, D), in random order; reference: `frechet.Moments`; blocks: B >= 3. With FID(n) = FID_inf + a/n
    (Chong and Forsyth 2020, "Effectively unbiased FID"), F_n the mean distance of B disjoint blocks of
    n = N // B >= 2 vectors and F_Bn that of all B n:
        FID_inf = (B F_Bn - F_n) / (B - 1)
    Returns {"value", "standard_error", "low", "high", "n", "blocks"}. The error is from a jackknife that deletes one
    block at a time, the interval is Student's with B - 1 degrees of freedom. Both assume n well above D, where terms
    beyond a/n are small. The value may be below 0, and it keeps the bias of the reference's finite size.
    If the features are distributed like the reference, the error is about 1.5 times too large and the interval too
    wide: the jackknife sees only terms linear in the features' distribution, and those vanish there.
    """
    features = _vectors(features, "features")
    n = len(features) // blocks if blocks >= 3 else 0
    if n < 2:
        raise ValueError(f"{len(features)} features in {blocks} blocks; expected 3 blocks or more of 2 or more each")
    parts = [frechet.moments([features[b * n : (b + 1) * n]]) for b in range(blocks)]
    distances = [part.distance(reference) for part in parts]
    value = _extrapolated(parts, distances, reference)
    without = [
        _extrapolated(parts[:b] + parts[b + 1 :], distances[:b] + distances[b + 1 :], reference) for b in range(blocks)
    ]
    error = float(np.sqrt((blocks - 1) * np.var(without)))
    return intervals.student(value, error, blocks - 1, confidence) | {"n": n, "blocks": blocks}


def frechet_error(features, reference, blocks=10):
    """Standard error of the Frechet distance of features (N, D), N >= 2 blocks + 2, to `reference`, by a jackknife.

    It deletes one of `blocks` blocks at a time. A bootstrap would not do: repeated vectors make a set less varied.
    features in random order; reference: `frechet.Moments`.
    """
    features = _vectors(features, "features")
    if blocks < 2 or len(features) < 2 * blocks + 2:
        raise ValueError(f"{len(features)} features in {blocks} blocks; expected 2 blocks or more of 2 or more each")
    parts = [frechet.moments([part]) for part in np.array_split(features, blocks)]
    values = [_pooled(parts[:b] + parts[b + 1 :]).distance(reference) for b in range(blocks)]
    return float(np.sqrt((blocks - 1) * np.var(values)))


def _vectors(array, name):
    array = np.asarray(array, np.float64)
    if array.ndim != 2 or not array.shape[1]:
        raise ValueError(f"{name} has shape {array.shape}; expected (N, D)")
    if not np.isfinite(array).all():
        raise ValueError(f"{name} holds NaN or infinity; expected finite numbers")
    return array


def _blocks(rows, columns):
    """Slices of `rows` such that a block of (rows, columns) has no more than BLOCK entries."""
    step = max(1, BLOCK // columns)
    return [slice(start, min(start + step, rows)) for start in range(0, rows, step)]


def _kernel_sum(x, y):
    values = x @ y.T
    values /= x.shape[1]
    values += 1
    return np.vdot(values * values, values)


def _squared_distances(x, y):
    """Squared Euclidean distances of x (N, D) to y (M, D) in blocks: pairs (slice of rows, (rows, M))."""
    centre = y.mean(0)  # smaller numbers, smaller rounding errors
    x, y = x - centre, y - centre
    squares = (y**2).sum(1)
    for rows in _blocks(len(x), len(y)):
        squared = x[rows] @ y.T
        squared *= -2
        squared += (x[rows] ** 2).sum(1)[:, None]
        squared += squares
        yield rows, np.maximum(squared, 0, out=squared)


def _squared_radii(x, k):
    """(N,): squared distance to the k-th nearest other vector of the set."""
    radii = np.empty(len(x))
    for rows, squared in _squared_distances(x, x):
        squared[np.arange(len(squared)), np.arange(rows.start, rows.stop)] = np.inf  # not itself
        squared.partition(k - 1, axis=1)
        radii[rows] = squared[:, k - 1]
    return radii


def _extrapolated(parts, distances, reference):
    """FID_inf from the moments of blocks of one size and their distances to the reference."""
    return (len(parts) * _pooled(parts).distance(reference) - float(np.mean(distances))) / (len(parts) - 1)


def _pooled(parts):
    """The moments of several blocks together."""
    pooled = frechet.Moments()
    for part in parts:
        pooled.merge(part)
    return pooled
