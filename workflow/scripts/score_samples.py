"""Rank folders of samples against one set of real images: a leaderboard.

Each FOLDER holds one folder of image files (PNG, 32 x 32, RGB), as score_fid.py reads it; any program may have
made it. Nothing else is needed: no workflow and no configuration. Real images are given as FILE: an SVHN .mat
file, a prepared .npz, or another folder of images.

Writes into DIR: leaderboard.md, .tex, .csv and .html, and pairs.csv, which of two entries is better. The
interval of a FID is by a jackknife over ten blocks of the images. Verdicts are corrected for the number of
pairs (Holm). Only entries of as many images compare, so entries of another size have a table of their own,
each with the FID of as many real training images. Entries that hold copies of real images are named.

Features are kept in DIR/features by content, so a folder is not read through the classifier twice.

example:
  python workflow/scripts/score_samples.py student01 student02 student03 --model svhn_classifier.pt \\
      --reference test_32x32.mat --floor train_32x32.mat --output leaderboard
"""

import hashlib
import itertools
from pathlib import Path

from genlab import InputError, cli, files, log, provenance

BLOCKS = 10  # of the jackknife
FEWEST = 2 * BLOCKS + 2  # images of an entry
COPIES = 0.01  # share of copies from which an entry is warned of
METRICS = ("kid", "precision", "recall", "density", "coverage", "class_divergence")


def parser():
    result = cli.parser(__doc__, seed=True, device=True)
    result.add_argument("folders", type=Path, nargs="+", metavar="FOLDER", help="samples: one folder of images inside")
    result.add_argument("--model", type=Path, required=True, metavar="WEIGHTS", help="classifier of the features")
    result.add_argument("--reference", type=Path, required=True, metavar="FILE", help="real images to compare with")
    result.add_argument(
        "--floor", type=Path, metavar="FILE",
        help="real training images, for the real-data FID and for copies (default: those of an .npz reference)",
    )  # fmt: skip
    result.add_argument(
        "--floor-draws", type=cli.positive, default=10, metavar="N", help="draws for the real-data FID (default: 10)"
    )
    result.add_argument("--output", type=Path, required=True, metavar="DIR", help="folder to write")
    return result


def main(options):
    names = entry_names(options.folders)

    import numpy as np
    from genlab.data import images
    from genlab.measures import frechet, metric_table
    from genlab.models import classifier, references
    from genlab.training import loop

    device = loop.set_up(options.device, options.threads, options.seed)
    network, weights = classifier.load_classifier(options.model, device)
    real, data, _ = references.read(options.reference, "test")
    floor_path = options.floor or (options.reference if options.reference.suffix == ".npz" else None)
    pool = references.read(floor_path, "train") if floor_path else None
    samples = {}
    for name, folder in zip(names, options.folders, strict=True):  # all are read before anything is computed
        count, batches = images.read_directory(folder)
        if count < FEWEST:
            raise InputError(f"{folder}: {count} images; give {FEWEST} or more, at best as many as the others")
        samples[name] = np.concatenate(list(batches))

    def features(pictures):
        return cached_features(pictures, network, weights, options.output / "features")

    test = metric_table.Subject(*features(real))
    moments = frechet.moments([test.features], f"features of {options.reference}")
    entries, real_rows = [], []
    with cli.progress(total=len(samples), label="score", unit="folder") as bar:
        for name, pictures in samples.items():
            found = metric_table.Subject(*features(pictures))
            entries.append(score(found, test, moments, options.seed) | {"name": name, "images": len(pictures)})
            entries[-1] |= copies(pictures, real, pool and pool[0])
            bar.update(1)
    for count in sorted({entry["images"] for entry in entries}) if pool else ():
        row = references.real_data_fid(
            pool, count, options.floor_draws, options.seed, lambda batches: (features(b)[0] for b in batches), moments
        )
        drawn = np.random.default_rng(options.seed).choice(len(pool[0]), row["images"], replace=False)
        measured = score(metric_table.Subject(*features(pool[0][drawn])), test, moments, options.seed)
        real_rows.append(measured | {"fid": row["mean"], "sd": row["sd"], "images": count, "of": row["images"]})

    from genlab.report import leaderboard

    about = {
        "data": data["title"],
        "reference": f"{len(real):,} images of {options.reference.name}",
        "classifier": f"{weights['file']}, SHA-256 {weights['sha256'][:8]}",
        "provenance": provenance.record(options, device=device.type),
    }
    board = leaderboard.rank(entries, real_rows, about)
    leaderboard.write(board, {name: pictures[:36] for name, pictures in samples.items()}, real[:36], options.output)
    print(leaderboard.text(board))
    for entry in board.entries:
        if entry["exact"] + entry["near"] > COPIES * entry["images"]:
            log.warning(
                "%s: %d of %d images are copies of real ones, pixel for pixel, and %d nearly so",
                entry["name"], entry["exact"], entry["images"], entry["near"],
            )  # fmt: skip


def entry_names(folders):
    """A name for each folder: its last part, with as many parts before it as make it unique."""
    paths = [folder.resolve() for folder in folders]
    for first, second in itertools.combinations(range(len(paths)), 2):
        if paths[first] == paths[second]:
            raise InputError(f"{folders[second]}: given twice, as {folders[first]} too; give each folder once")
    for parts in range(1, max(len(path.parts) for path in paths) + 1):
        names = ["/".join(path.parts[-parts:]) for path in paths]
        if len(set(names)) == len(names):
            return names
    raise AssertionError("different paths have different names")


def cached_features(pictures, network, weights, folder):
    """(features (N, 512), classes (N,)) of images uint8 (N, 3, 32, 32), from `folder` if they are there."""
    import numpy as np
    from genlab.data import arrays
    from genlab.models import classifier, references

    content = np.ascontiguousarray(pictures)
    key = hashlib.sha256(weights["sha256"].encode() + content.tobytes()).hexdigest()
    path = folder / f"{key[:32]}.npz"
    try:
        found, _ = arrays.read(path, ("features", "classes"))
        if found["features"].shape == (len(pictures), 512) and np.isfinite(found["features"]).all():
            return found["features"], found["classes"]
    except (OSError, InputError):
        pass  # not there, or damaged: computed anew
    parts = list(classifier.feature_batches(network, references.batches(content)))
    features = np.concatenate([part for part, _ in parts])
    classes = np.concatenate([logits.argmax(1) for _, logits in parts]).astype(np.uint8)
    with files.atomic(path) as temporary:
        arrays.write(temporary, {"classifier": weights["sha256"]}, features=features, classes=classes)
    return features, classes


def score(subject, test, moments, seed):
    """FID with its standard error, and the other metrics, of a `metric_table.Subject` against the test images."""
    from genlab.measures import metric_table, metrics

    images = metric_table.Images(subject, test, None, min(len(subject.features), len(test.features)), seed)
    found = {key: float(metric_table.BY_KEY[key].function(images.parts[0])) for key in METRICS}
    fid = metric_table.frechet.moments([subject.features]).distance(moments)
    return found | {"fid": fid, "error": metrics.frechet_error(subject.features, moments, BLOCKS)}


def copies(pictures, *originals):
    """How many images are copies of real ones: exactly, nearly, and of each other."""
    import numpy as np
    from genlab.measures import copies

    distances = np.min([copies.nearest(pictures, each) for each in originals if each is not None], axis=0)
    exact = int((distances == 0).sum())
    return {
        "exact": exact,
        "near": int((distances <= copies.NEAR).sum()) - exact,
        "repeated": copies.repeated(pictures),
    }


if __name__ == "__main__":
    cli.run(main, parser())
