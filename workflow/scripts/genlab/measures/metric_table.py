"""The table of metrics: a row each. What measures, compares, tabulates and draws metrics reads this table.

A new metric of images is a function, in `metrics` or where it belongs, and a row here. numpy and scipy only.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from . import frechet, image_statistics, intervals, metrics

PARTS = 10  # disjoint sets of images are enough for a mean and its interval


@dataclass(frozen=True)
class Metric:
    """One row.

    better    "higher", "lower" or "neither"
    scale     of its panel in the figure: "log", "linear", or "share" from 0 to 1
    function  its value on a `Part`, or with `whole` its interval on all `Images`; None: another stage computes it
    against   the real images it compares with, "test", "train" or None; of a set of those it is not measured
    """

    key: str
    title: str
    better: str
    scale: str = "linear"
    function: Callable | None = None
    whole: bool = False
    against: str | None = "test"


class Subject(NamedTuple):
    """What metrics need of images: `features` (M, D), and a classifier's first choices, `classes` (M,), or None."""

    features: np.ndarray
    classes: np.ndarray


class Images:
    """A set of images in parts of one size, beside real ones: what metrics see. Computes only what they ask for.

    subject, test, train  with `features` (M, D) and `classes` (M,); those of the subject in random order
    size                  N, images in a part; no more than the test images
    seed                  draws N of the test images
    """

    def __init__(self, subject, test, train, size, seed):
        self.features, self.test, self.train, self.size, self.seed = subject.features, test, train, size, seed
        cuts = [slice(start, start + size) for start in range(0, len(self.features) - size + 1, size)][:PARTS]
        given = subject.classes is not None
        self.classes = 1 + int(max(subject.classes.max(), test.classes.max())) if given else 0
        self.parts = [Part(self.features[cut], subject.classes[cut] if given else None, self) for cut in cuts]

    @cached_property
    def test_moments(self):
        return frechet.moments([self.test.features], "features of the test images")

    @cached_property
    def test_kernel_mean(self):
        return metrics.kernel_mean(self.test.features)

    @cached_property
    def test_histogram(self):
        return image_statistics.class_histogram(self.test.classes, self.classes)

    @cached_property
    def few_test(self):
        """N random test images, for metrics that need as many real ones as others."""
        rows = np.random.default_rng(self.seed).permutation(len(self.test.features))[: self.size]
        return self.test.features[rows]


class Part:
    """N images of a set: `features` (N, D), `classes` (N,), and the whole as `images`."""

    def __init__(self, features, classes, images):
        self.features, self.classes, self.images = features, classes, images

    @cached_property
    def neighbourhoods(self):
        return metrics.neighbourhoods(self.images.few_test, self.features)

    @cached_property
    def nearest_training(self):
        """Distances to the nearest training images (N,), and their indices (N,)."""
        return metrics.nearest_distances(self.features, self.images.train.features)


def fid(part):
    return frechet.moments([part.features]).distance(part.images.test_moments)


def fid_infinity(images):
    return metrics.frechet_infinity(images.features, images.test_moments)


def kid(part):
    return metrics.kernel_distance(part.features, part.images.test.features, part.images.test_kernel_mean)


def class_divergence(part):
    histogram = image_statistics.class_histogram(part.classes, part.images.classes)
    return image_statistics.jensen_shannon(histogram, part.images.test_histogram)


def nearest_training(part):
    return np.median(part.nearest_training[0])


METRICS = (
    # Frechet distance to all test images; biased, so only values at one N compare.
    Metric("fid", "FID", "lower", "log", fid),
    # Extrapolated to infinitely many samples, from blocks of the whole set; interval by the jackknife.
    Metric("fid_infinity", "FID\N{INFINITY}", "lower", "log", fid_infinity, whole=True),
    # Unbiased squared MMD, polynomial kernel, to all test images.
    Metric("kid", "KID", "lower", "log", kid),
    # Shares inside the other's 5-nearest-neighbour balls, against N random test images.
    Metric("precision", "precision", "higher", "share", lambda part: part.neighbourhoods["precision"]),
    Metric("recall", "recall", "higher", "share", lambda part: part.neighbourhoods["recall"]),
    # The same balls of real images, counted and reached.
    Metric("density", "density", "higher", "linear", lambda part: part.neighbourhoods["density"]),
    Metric("coverage", "coverage", "higher", "share", lambda part: part.neighbourhoods["coverage"]),
    # Jensen-Shannon, of the histogram of the classifier's first choices to the test images'.
    Metric("class_divergence", "class divergence, nats", "lower", "linear", class_divergence),
    # Median distance of features; too small is memorising, too large is far from the data.
    Metric(
        "nearest_training", "distance to nearest training image", "neither", "linear", nearest_training, against="train"
    ),
    # What estimate_likelihood.py computes.
    Metric("elbo_valid", "ELBO, validation", "higher"),
    Metric("log_likelihood_valid", "log-likelihood, validation", "higher"),
    Metric("elbo_test", "ELBO, test", "higher"),
    Metric("log_likelihood_test", "log-likelihood, test", "higher"),
)
OF_IMAGES = tuple(metric for metric in METRICS if metric.function)
BY_KEY = {metric.key: metric for metric in METRICS}


def measure(images, name):
    """{key: interval} of every metric of `Images`; `name` is "test" or "train" where these are the real ones."""
    return {
        metric.key: metric.function(images)
        if metric.whole
        else intervals.interval([metric.function(part) for part in images.parts])
        for metric in OF_IMAGES
        if metric.against != name
    }
