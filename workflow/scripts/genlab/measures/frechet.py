"""The Frechet distance between two sets of feature vectors, from their means and covariances.

Heusel et al. (2017), "GANs trained by a two time-scale update rule", equation 6. Between Gaussians it
is the squared 2-Wasserstein distance (Dowson and Landau 1982). All in float64, without torch.
Matrix products use scipy, like the decompositions: numpy's own threads would compete with scipy's.
"""

import numpy as np
from scipy import linalg

from .. import InputError

BLOCK = 4096  # vectors at a time: few, large matrix products in little memory


class Moments:
    """Mean and covariance of feature vectors in batches, in one pass.

    Batches are merged as in Chan, Golub and LeVeque (1983), in coordinates relative to their first
    vectors. So neither order, batch size nor a large common offset costs accuracy.
    Memory: two D x D matrices for any number of vectors.
    """

    def __init__(self, name="features"):
        self.name = name  # of the vectors, in errors
        self.count = 0
        self._gaussian = None  # what `distance` needs of them, once it is known

    def update(self, batch):
        """Add a batch of real numbers (M, D). `InputError` for another shape or D, or non-finite numbers."""
        try:
            batch = np.asarray(batch)
        except ValueError as error:
            raise InputError(f"{self.name} are not vectors of one length ({error})") from None
        if batch.ndim != 2 or not batch.shape[1] or batch.dtype.kind not in "biuf":
            raise InputError(f"{self.name} are {batch.dtype} {batch.shape}; expected real numbers (D,) or (M, D)")
        if self.count and batch.shape[1] != len(self._origin):
            raise InputError(f"{self.name} have {len(self._origin)} numbers and then {batch.shape[1]}; expected one D")
        if not (finite := np.isfinite(batch).all(axis=1)).all():
            raise InputError(
                f"{self.name}: vector {self.count + int(np.argmin(finite))} holds NaN or infinity; "
                "check the image or the weights of the feature net that gave it"
            )
        if not len(batch):
            return
        batch = batch.astype(np.float64)
        origin = batch[0].copy()
        batch -= origin
        mean = batch.mean(axis=0)
        batch -= mean
        self._add(len(batch), origin, mean, linalg.blas.dsyrk(1.0, batch.T))

    def merge(self, other):
        """Add the vectors of other moments, as if they had been added here. Raises `InputError` for another D."""
        if self.count and other.count and len(other._origin) != len(self._origin):
            raise InputError(
                f"{self.name} have {len(self._origin)} numbers and {other.name} {len(other._origin)}; expected one D"
            )
        if other.count:
            self._add(other.count, other._origin, other._mean, other._scatter)

    def _add(self, count, origin, mean, scatter):
        if not self.count:
            self._origin = origin
            self._mean = np.zeros_like(mean)  # relative to the origin
            self._scatter = np.zeros_like(scatter)  # about the mean; above the diagonal, as dsyrk fills it
        shift, total = origin - self._origin + mean - self._mean, self.count + count
        self._scatter += scatter
        self._scatter = linalg.blas.dsyr(self.count * count / total, shift, a=self._scatter, overwrite_a=True)
        self._mean += shift * (count / total)
        self.count, self._gaussian = total, None

    @property
    def mean(self):
        """The mean, float64 (D,). Raises `InputError` for fewer than two vectors."""
        self._require_two()
        return self._origin + self._mean

    @property
    def covariance(self):
        """Unbiased covariance (divided by N - 1), float64 (D, D). Raises `InputError` for fewer than two vectors."""
        self._require_two()
        upper = np.triu(self._scatter) / (self.count - 1)
        return upper + np.triu(upper, 1).T

    def distance(self, other):
        """`frechet_distance` to other moments. Raises `InputError` for another D or fewer than two vectors."""
        if len(self.mean) != len(other.mean):
            raise InputError(
                f"{self.name} have {len(self.mean)} numbers each and {other.name} {len(other.mean)}; "
                "take both from one feature net"
            )
        return _distance(self._factored(), other._factored())

    def _factored(self):
        if self._gaussian is None:
            self._gaussian = _factored(self.mean, self.covariance)
        return self._gaussian

    def _require_two(self):
        if self.count < 2:
            raise InputError(f"{self.name}: {self.count} in all; moments need 2 or more")


def frechet_distance(mean_p, covariance_p, mean_q, covariance_q):
    """|mean_p - mean_q|^2 + Tr(C_p + C_q - 2 (C_p C_q)^1/2) >= 0, a float in squared units of the features.

    means: (D,), covariances: symmetric positive semi-definite (D, D); they may be rank-deficient.
    The last trace is the sum of the singular values of C_p^1/2 C_q^1/2. It is always real, and accurate
    where a square root of the product is not. Raises ValueError for shapes that do not match and for
    non-finite numbers.
    """
    p, q = _factored(mean_p, covariance_p), _factored(mean_q, covariance_q)
    if len(p[0]) != len(q[0]):
        raise ValueError(f"means of shapes {p[0].shape} and {q[0].shape}; expected (D,), twice")
    return _distance(p, q)


def _factored(mean, covariance):
    """(mean, trace of the covariance, `_factor` of it), of numbers that are checked."""
    mean, covariance = np.asarray(mean, np.float64), np.asarray(covariance, np.float64)
    if mean.ndim != 1 or covariance.shape != (len(mean), len(mean)):
        raise ValueError(f"shapes {mean.shape}, {covariance.shape}; expected (D,), (D, D)")
    if not (np.isfinite(mean).all() and np.isfinite(covariance).all()):
        raise ValueError("a mean or covariance holds NaN or infinity; expected finite numbers")
    return mean, np.trace(covariance), _factor(covariance)


def _distance(p, q):
    """`frechet_distance` of two Gaussians as `_factored` gives them."""
    (mean_p, trace_p, factor_p), (mean_q, trace_q, factor_q) = p, q
    cross = linalg.svdvals(linalg.blas.dgemm(1.0, factor_p, factor_q, trans_a=True)).sum()
    return max(0.0, float(np.sum((mean_p - mean_q) ** 2) + (trace_p + trace_q - 2 * cross)))


def _factor(covariance):
    """F with F F^T = covariance; any such F gives the singular values that the symmetric root gives.

    Pivoted Cholesky decomposition. It stops where the remainder is 0 within rounding (or below): the square root of
    such a remainder would be 1e8 times the rounding error.
    """
    rounding = len(covariance) * np.finfo(np.float64).eps * max(covariance.diagonal().max(initial=0), 0)
    lower, pivots, rank, _ = linalg.lapack.dpstrf(covariance, tol=rounding, lower=1)
    factor = np.empty((len(covariance), rank), order="F")
    factor[pivots - 1] = np.tril(lower)[:, :rank]
    return factor


def calculate_fid_score(sample_features, test_features):
    """The Frechet distance between two sets of features. Each is read once and never held in memory as a whole.

    sample_features, test_features: iterables of vectors (D,) or batches (M, D) from the same feature
    net, at least two vectors each. Raises `InputError` (a ValueError) for fewer vectors, for unequal D,
    and for non-finite numbers.
    """
    return moments(sample_features, "sample features").distance(moments(test_features, "test features"))


def moments(features, name="features"):
    """`Moments` of an iterable of vectors (D,) or batches (M, D), read once; `name` is used in errors."""
    result, waiting, vectors = Moments(name), [], 0
    for item in features:
        item = np.asarray(item)
        item = item[None] if item.ndim == 1 else item
        if waiting and (item.ndim != 2 or item.shape[1:] != waiting[0].shape[1:] or vectors + len(item) > BLOCK):
            result.update(np.concatenate(waiting))
            waiting, vectors = [], 0
        if item.ndim != 2 or len(item) >= BLOCK:
            result.update(item)
        else:
            waiting.append(item)
            vectors += len(item)
    if waiting:
        result.update(np.concatenate(waiting))
    return result
