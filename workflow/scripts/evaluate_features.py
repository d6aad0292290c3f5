"""Measure a set of images against real test images, by many metrics on one classifier's features.

Reads what extract_features.py writes of the set, of the test and of the training images. Every metric is taken
on each of the disjoint sets of N = --count images that the set holds, at most ten, and given as their mean with
a 95% Student t interval. The interval tells of the chance of drawing images, given this one training.

The metrics are FID, at N and extrapolated to infinitely many samples, KID, precision, recall, density, coverage, the
divergence of classes from the test images', and the distance to the nearest training image; a row each in
genlab/measures/metric_table.py. Of fewer than N test images, N is their number. A set of the test images themselves
has only the distance, one of the training images all but that. Memorising and underfitting both can lie close to the
training images: the pairs of images in nearest.npz are there to be looked at.

example:
  python workflow/scripts/evaluate_features.py --features gan.npz --test test.npz --train train.npz \\
      --output gan
"""

from pathlib import Path

from genlab import InputError, cli, consistency, files, provenance

SIZES = (100, 200, 500, 1000, 2000, 5000, 10000, 20000, 50000)


def parser():
    result = cli.parser(__doc__, seed=True, threads=True)
    result.add_argument("--features", type=Path, required=True, metavar="NPZ", help="features of the set")
    result.add_argument("--test", type=Path, required=True, metavar="NPZ", help="features of the test images")
    result.add_argument("--train", type=Path, required=True, metavar="NPZ", help="features of the training images")
    result.add_argument(
        "--count", type=cli.positive, default=1000, metavar="N", help="images in a measured set (default: 1000)"
    )
    result.add_argument(
        "--output", type=Path, required=True, metavar="DIR",
        help="folder to write: metrics.json, fid_curve.csv (FID at each N), nearest.npz (images, rows of neighbours)",
    )  # fmt: skip
    return result


def main(options):
    import numpy as np
    import pandas
    from genlab.data import arrays
    from genlab.measures import metric_table, metrics

    subject, test, train = (arrays.load_features(path) for path in (options.features, options.test, options.train))
    for path, other, name in ((options.test, test, "test"), (options.train, train, "train")):
        if other.about["set"] != name:
            raise InputError(f"{path}: features of {other.about['set']!r}; give those of {name!r}")
        for key in ("data", "features"):
            if other.about[key] != subject.about[key]:
                raise InputError(f"{path}: its {key} differs from that of {options.features}; take both from one")
    size = min(options.count, len(test.features))
    if size < consistency.FEWEST or len(subject.features) < size:
        raise InputError(
            f"{options.features}: {len(subject.features)} images, and {len(test.features)} test images, for sets of "
            f"{options.count}; give {consistency.FEWEST} or more, and no fewer than --count"
        )
    name = subject.about["set"]
    images = metric_table.Images(subject, test, train, size, options.seed)
    found = metric_table.measure(images, name)
    curve, nearest = [], {"images": subject.images[:0], "rows": train.rows[:0], "distances": np.empty(0)}
    if name != "test":
        sizes = [n for n in sorted({*SIZES, size}) if n <= len(subject.features)]
        curve = metrics.frechet_curve(subject.features, images.test_moments, sizes)
    if name != "train":
        pairs = zip(*(part.nearest_training for part in images.parts), strict=True)
        distances, rows = (np.concatenate(of_parts)[: len(subject.images)] for of_parts in pairs)
        nearest = {"images": subject.images, "rows": train.rows[rows], "distances": distances}
    result = {
        "subject": subject.about["subject"],
        "set": name,
        "model": subject.about.get("model"),
        "kind": subject.about.get("kind"),
        "seed": subject.about.get("model_seed"),
        "data": subject.about["data"],
        "features": subject.about["features"],
        "images": size,
        "sets": len(images.parts),
        "metrics": found,
        "provenance": provenance.record(options, features=subject.about["provenance"]),
    }
    with files.atomic(options.output / "fid_curve.csv") as temporary:
        pandas.DataFrame(curve, columns=["n", "sets", "mean", "sd"]).to_csv(temporary, index=False)
    with files.atomic(options.output / "nearest.npz") as temporary:
        seed = options.seed if result["seed"] is None else result["seed"]
        about = {"model": result["subject"], "seed": seed, "data": result["data"]}
        arrays.write(temporary, about, **nearest)
    files.write_json(options.output / "metrics.json", result)
    for key, number in found.items():
        error = number["standard_error"]
        print(f"{key:18}{number['value']:12.5g}" + (f" +- {error:.2g}" if error is not None else ""))


if __name__ == "__main__":
    cli.run(main, parser())
