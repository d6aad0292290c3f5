"""The scores of sets of samples, their ranks, and which differences are beyond chance. numpy and scipy only."""

import itertools
from dataclasses import dataclass

import numpy as np

from . import frechet, intervals, metric_table, metrics

BLOCKS = 10  # of the jackknife
FEWEST = 2 * BLOCKS + 2  # images of a set
LEVEL = 0.05  # of the corrected p-values
METRICS = ("kid", "precision", "recall", "density", "coverage", "class_divergence")  # beside the FID


def score(subject, test, moments, seed):
    """{"fid", "error", and each of METRICS} of a `metric_table.Subject` against that of the test images.

    moments: of the test images' features. error: the FID's standard error. seed: shuffles the samples, since a folder
    may be sorted by class, and draws as many test images as there are samples, for the metrics that need it. Without
    classes there is no divergence of them, None.
    """
    fid = frechet.moments([subject.features]).distance(moments)
    order = np.random.default_rng([seed, len(subject.features)]).permutation(len(subject.features))
    subject = metric_table.Subject(*(part if part is None else part[order] for part in subject))
    size = min(len(subject.features), len(test.features))
    (part, *_) = metric_table.Images(subject, test, None, size, seed).parts
    known = [key for key in METRICS if key != "class_divergence" or subject.classes is not None]
    found = dict.fromkeys(METRICS) | {key: float(metric_table.BY_KEY[key].function(part)) for key in known}
    return found | {"fid": fid, "error": metrics.frechet_error(subject.features, moments, BLOCKS)}


def draws(available, samples, count, seed):
    """Rows (count, samples) of random draws without replacement from `available` images; one draw of all if too few."""
    size = min(samples, available)
    rng = np.random.default_rng(seed)
    count = count if size < available else 1
    return np.stack([rng.choice(available, size, replace=False) for _ in range(count)])


def real_data_fid(images, chosen, features, moments):
    """The `intervals.spread` of the distances of `draws` of real images to the reference.

    chosen (S, N) are rows of `images`; features: a function from images to their features (M, D); moments: of the
    reference's features.
    """
    used, rows = np.unique(chosen, return_inverse=True)  # each image's features are computed once
    found = features(images[used])
    distances = [
        frechet.moments([found[draw]], "features of the training images").distance(moments)
        for draw in rows.reshape(chosen.shape)
    ]
    return intervals.spread(distances)


@dataclass
class Board:
    """Entries in order, of one size after the other; `real` {images: row of real training images}; pairs compared."""

    entries: list
    real: dict
    pairs: list


def rank(entries, real_rows):
    """The `Board` of scored entries: dicts with name, images, fid, error, the metrics of METRICS, and copies.

    Entries of one size are compared in pairs by Welch's test of their FIDs, corrected by Holm over all pairs.
    """
    freedom = BLOCKS - 1
    entries = sorted(entries, key=lambda entry: (-entry["images"], entry["fid"]))
    pairs = []
    for first, second in itertools.combinations(entries, 2):
        if first["images"] == second["images"]:
            errors = first["error"], second["error"]
            found = intervals.compare(first["fid"], second["fid"], errors, [freedom, freedom])
            pairs.append({"first": first["name"], "second": second["name"], **found})
    for pair, corrected in zip(pairs, intervals.holm([pair["p"] for pair in pairs]), strict=True):
        pair["p_corrected"] = float(corrected)
        better = pair["first"] if pair["difference"] < 0 else pair["second"]
        pair["winner"] = better if corrected < LEVEL else ""
    real = {row["images"]: row for row in real_rows}
    for entry in entries:
        alike = [pair for pair in pairs if not pair["winner"] and entry["name"] in (pair["first"], pair["second"])]
        entry["like"] = [pair["second" if pair["first"] == entry["name"] else "first"] for pair in alike]
        row = real.get(entry["images"])
        entry["ratio"] = entry["fid"] / row["fid"] if row and row["fid"] > 0 else None
        spread = intervals.student(entry["fid"], entry["error"], freedom, 0.95)
        entry["low"], entry["high"] = max(0.0, spread["low"]), spread["high"]
    for _, group in itertools.groupby(entries, key=lambda entry: entry["images"]):
        for place, entry in enumerate(group, 1):
            entry["rank"] = place
    return Board(entries, real, pairs)
