"""Frechet distance of 26,032 and 1,000 vectors of 512 numbers: pytorch-fid's calculation against this project's.

The reference, written anew, is numpy's mean and covariance and scipy's square root of the product, with an offset on
the diagonals if the product is singular. Both begin with float32 features in memory. Every turn runs in its own
process, to show the peak memory. The distances must agree to 1e-6 relative.
"""

import side_by_side
from genlab import cli


def parser():
    result = side_by_side.parser(__doc__)
    result.add_argument(
        "--vectors", type=cli.positive, nargs=2, default=[26032, 1000], help="vectors in each set (default: 26032 1000)"
    )
    result.add_argument("--dimensions", type=cli.positive, default=512, help="numbers in a vector (default: 512)")
    return result


def features(threads, counts, dimensions):
    """Two sets of correlated vectors, float32, from a fixed seed."""
    side_by_side.limit_threads(threads)
    import numpy as np

    rng = np.random.default_rng(1)
    mixing = rng.normal(size=(dimensions, dimensions)) / dimensions**0.5
    sets = [rng.normal(0.1 * place, 1 + 0.1 * place, (count, dimensions)) for place, count in enumerate(counts)]
    return [(vectors @ mixing).astype(np.float32) for vectors in sets]


def reference(threads, counts, dimensions):
    """(times, distance) of the reference."""
    sets = features(threads, counts, dimensions)
    from scipy import linalg

    linalg.sqrtm([[2.0, 1.0], [1.0, 2.0]])  # scipy imports its parts at their first call
    return side_by_side.timed(lambda: plain_distance(*sets))


def plain_distance(vectors, others):
    """The distance as in pytorch-fid."""
    import numpy as np
    from scipy import linalg

    (mean, covariance), (other_mean, other_covariance) = (
        (each.mean(axis=0), np.cov(each, rowvar=False)) for each in (vectors, others)
    )
    root = linalg.sqrtm(covariance @ other_covariance)
    if not np.isfinite(root).all():
        offset = 1e-6 * np.eye(len(covariance))
        root = linalg.sqrtm((covariance + offset) @ (other_covariance + offset))
    if np.iscomplexobj(root):
        assert np.allclose(root.diagonal().imag, 0, atol=1e-3)
        root = root.real
    difference = mean - other_mean
    return float(difference @ difference + np.trace(covariance + other_covariance) - 2 * np.trace(root))


def ours(threads, counts, dimensions):
    """(times, distance) of `frechet.calculate_fid_score`, from batches of 500 as in the stages."""
    sets = features(threads, counts, dimensions)
    from genlab.measures import frechet

    frechet.calculate_fid_score(*(vectors[:3, :2] for vectors in sets))
    return side_by_side.timed(lambda: frechet.calculate_fid_score(*map(batches, sets)))


def batches(vectors):
    """The vectors in batches of 500."""
    return (vectors[start : start + 500] for start in range(0, len(vectors), 500))


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
