"""Uncertainty: means with standard errors, intervals, and differences. numpy and scipy only."""

import math
import statistics

import numpy as np


def mean_and_error(values, axis=-1):
    """Mean and its standard error along an axis of `values` that has 2 numbers or more."""
    return values.mean(axis), values.std(axis, ddof=1) / np.sqrt(values.shape[axis])


def mean_and_error_of_images(values):
    """{"mean", "standard_error"} of one number per image (N,), as floats; the error of a single image is 0."""
    mean, error = mean_and_error(values) if len(values) > 1 else (values.mean(), 0)
    return {"mean": float(mean), "standard_error": float(error)}


def mean_by_difference(values, bounds, all_bounds):
    """The mean of a number over N images, of which it is known for n: as in `mean_and_error_of_images`.

    values      (n,), the number, such as the log-likelihood, of a random subset of the images
    bounds      (n,), something cheap that goes up and down with it, such as the ELBO, of the subset
    all_bounds  (N,), the same of all images
    The mean is that of `all_bounds`, plus that of values - bounds: the difference estimator of survey sampling (Cochran
    1977, section 7.3). Its variance, with b = all_bounds and d = values - bounds, is var(b) / N + var(d) / n +
    2 cov(b, d) / N. With n = N it is the plain mean's.
    """
    n, total, differences = len(values), len(all_bounds), values - bounds
    mean = all_bounds.mean() + differences.mean()
    if n < 2:
        return {"mean": float(mean), "standard_error": 0.0}
    (_, together), (_, spread) = np.cov(bounds, differences)
    variance = all_bounds.var(ddof=1) / total + spread / n + 2 * together / total
    return {"mean": float(mean), "standard_error": float(np.sqrt(max(variance, 0)))}


def reliability(sizes, shapes):
    """How sound importance weights are over images, from effective sample sizes (N,) and Pareto k-hat (N,).

    {"effective_sample_size": {"mean", "median", "min"}, "pareto_k": {"median", "share_above_0.7"}}; the latter two are
    None where there were too few samples for any k-hat.
    """
    shapes = shapes[np.isfinite(shapes)]
    return {
        "effective_sample_size": {
            "mean": float(sizes.mean()),
            "median": float(np.median(sizes)),
            "min": float(sizes.min()),
        },
        "pareto_k": {
            "median": float(np.median(shapes)) if len(shapes) else None,
            "share_above_0.7": float((shapes > 0.7).mean()) if len(shapes) else None,
        },
    }


def ratio_and_error(values, ends):
    """The ratio of the means of paired `values` and `ends` (P,), and its standard error by the delta method."""
    ratio = values.mean() / ends.mean()
    return ratio, mean_and_error(values - ratio * ends)[1] / ends.mean()


def spread(values):
    """{"mean", "sd", "values"} of a list of numbers, say over seeds; the standard deviation of one number is None."""
    sd = statistics.stdev(values) if len(values) > 1 else None
    return {"mean": statistics.fmean(values), "sd": sd, "values": values}


def interval(values, confidence=0.95):
    """Mean of independent measurements (S,) with its Student t interval.

    Returns {"value", "standard_error", "low", "high", "sets"}; for one measurement the middle three are None.
    The interval is exact for normally distributed measurements. It covers chance alone, not a bias that all
    measurements share.
    """
    values = np.asarray(values, np.float64)
    if values.ndim != 1 or not len(values) or not np.isfinite(values).all() or not 0 < confidence < 1:
        raise ValueError(f"values {values} at confidence {confidence}; expected one or more finite numbers and 0 to 1")
    sets, mean = len(values), float(values.mean())
    if sets == 1:
        return {"value": mean, "standard_error": None, "low": None, "high": None, "sets": 1}
    return student(mean, float(mean_and_error(values)[1]), sets - 1, confidence) | {"sets": sets}


def difference(first, second, confidence=0.95):
    """Do two models differ? `interval` of first - second, for values (S,) that are paired, say by seed.

    Returns {"value", "standard_error", "low", "high", "pairs", "distinguishable"}. distinguishable is True if the
    interval excludes 0, and None for a single pair. Pairing removes what both values of a pair share.
    """
    first, second = np.asarray(first, np.float64), np.asarray(second, np.float64)
    if first.shape != second.shape:
        raise ValueError(f"values have shapes {first.shape} and {second.shape}; expected pairs")
    result = interval(first - second, confidence)
    result["pairs"] = result.pop("sets")
    single = result["pairs"] == 1
    result["distinguishable"] = None if single else not result["low"] <= 0 <= result["high"]
    return result


def difference_of_means(first, second, confidence=0.95):
    """The same of first (S,) and second (T,) that are not paired: Welch's interval of the difference of their means.

    `pairs` is None. distinguishable is None, and so is the interval, if either is a single value.
    """
    values = [np.asarray(each, np.float64) for each in (first, second)]
    gap = {"value": float(values[0].mean() - values[1].mean()), "pairs": None}
    if min(map(len, values)) == 1:
        return gap | {"standard_error": None, "low": None, "high": None, "distinguishable": None}
    errors = [float(mean_and_error(each)[1]) for each in values]
    error, freedom = welch(errors, [len(each) - 1 for each in values])
    result = gap | student(gap["value"], error, freedom, confidence)
    return result | {"distinguishable": not result["low"] <= 0 <= result["high"]}


def welch(errors, freedom):
    """Standard error of the difference of two independent estimates, and its degrees of freedom (Welch 1947)."""
    variances = np.square(np.asarray(errors, np.float64))
    if not variances.any():
        return 0.0, min(freedom)
    degrees = variances.sum() ** 2 / (variances**2 / np.asarray(freedom)).sum()
    return math.sqrt(variances.sum()), float(degrees)


def student(value, error, freedom, confidence):
    """A value with the Student t interval of its `error`, which has `freedom` degrees of freedom."""
    from scipy import special

    half = error * float(special.stdtrit(freedom, (1 + confidence) / 2))
    return {"value": value, "standard_error": error, "low": value - half, "high": value + half}


def compare(first, second, errors, freedom):
    """Do two independent estimates differ? Welch's test of `first` - `second`.

    errors, freedom: standard error and degrees of freedom of each. Returns {"difference", "low", "high", "p"}: the 95%
    interval and the two-sided probability of so large a difference by chance.
    """
    from scipy import special

    (error, degrees), gap = welch(errors, freedom), first - second
    if error == 0:
        return {"difference": gap, "low": gap, "high": gap, "p": float(gap == 0)}
    found = student(gap, error, degrees, 0.95)
    p = 2 * float(special.stdtr(degrees, -abs(gap) / error))
    return {"difference": gap, "low": found["low"], "high": found["high"], "p": p}


def holm(probabilities):
    """Holm's (1979) correction of the p-values (M,) of M tests: float64 (M,), each at most 1.

    Calling every test below 0.05 significant then errs anywhere in at most 5% of cases.
    """
    p = np.asarray(probabilities, np.float64)
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    corrected = np.empty_like(p)
    corrected[order] = np.minimum(1, stepped)
    return corrected
