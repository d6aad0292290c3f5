"""Frechet distance of 26,032 and 1,000 vectors of 512 numbers: pytorch-fid's calculation against this project's.

The calculation is numpy's mean and covariance and scipy's square root of the product, with its offset on the diagonals
where that is singular; written anew. Both begin with float32 features in memory. A process of its own for each
turn of each shows the peak memory. Held together: the distances, to 1e-6 relative.
"""

import time

import side_by_side
from genlab import cli


def parser():
    result = side_by_side.parser(__doc__)
    result.add_argument("--vectors", type=cli.positive, nargs=2, default=[26032, 1000], help="(default: 26032 1000)")
    result.add_argument("--dimensions", type=cli.positive, default=512, help="(default: 512)")
    return result


def features(threads, counts, dimensions):
    """Two sets of correlated vectors, float32, from a seed."""
    side_by_side.limit_threads(threads)
    import numpy as np

    chance = np.random.default_rng(1)
    mixing = chance.normal(size=(dimensions, dimensions)) / dimensions**0.5
    sets = [chance.normal(0.1 * place, 1 + 0.1 * place, (count, dimensions)) for place, count in enumerate(counts)]
    return [(vectors @ mixing).astype(np.float32) for vectors in sets]


def reference(threads, counts, dimensions):
    """(seconds, distance) the plain way."""
    import numpy as np
    from scipy import linalg

    sets = features(threads, counts, dimensions)
    linalg.sqrtm(np.eye(2))
    start = time.perf_counter()
    (mean, covariance), (other_mean, other_covariance) = (
        (vectors.mean(axis=0), np.cov(vectors, rowvar=False)) for vectors in sets
    )
    root = linalg.sqrtm(covariance @ other_covariance)
    if not np.isfinite(root).all():
        offset = 1e-6 * np.eye(dimensions)
        root = linalg.sqrtm((covariance + offset) @ (other_covariance + offset))
    if np.iscomplexobj(root):
        assert np.allclose(root.diagonal().imag, 0, atol=1e-3)
        root = root.real
    difference = mean - other_mean
    distance = difference @ difference + np.trace(covariance) + np.trace(other_covariance) - 2 * np.trace(root)
    return time.perf_counter() - start, float(distance)


def batches(vectors):
    """500 at a time."""
    return (vectors[start : start + 500] for start in range(0, len(vectors), 500))


def ours(threads, counts, dimensions):
    """(seconds, distance) of `frechet.calculate_fid_score`, from batches of 500 as the stages make them."""
    sets = features(threads, counts, dimensions)
    from genlab import frechet

    frechet.calculate_fid_score(*(vectors[:2, :2] for vectors in sets))
    start = time.perf_counter()
    distance = frechet.calculate_fid_score(*map(batches, sets))
    return time.perf_counter() - start, distance


def main(options):
    def check(expected, found):
        assert abs(found - expected) < 1e-6 * expected, (found, expected)

    counts, dimensions = options.vectors, options.dimensions
    return [
        side_by_side.compare_apart(
            f"Frechet distance of {counts[0]} and {counts[1]} vectors of {dimensions}", reference, ours,
            (options.threads, counts, dimensions), check, options.turns, 5,
        )
    ]  # fmt: skip


if __name__ == "__main__":
    options = parser().parse_args()
    side_by_side.write(options, main(options))
