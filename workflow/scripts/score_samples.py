"""Rank folders of samples against one set of real images: a leaderboard.

Each FOLDER holds images, or is an .npz file of them; any program may have made it. What is not a 32 x 32 image in
colour is converted or refused by the rules in docs/own_models.md, and the table says what was converted. Nothing
else is needed: no workflow and no configuration. Real images are given as FILE: an SVHN .mat file, a prepared
.npz, or a folder that holds one folder of images.

Writes into DIR: leaderboard.md, .tex, .csv and .html; pairs.csv, which of two entries is better; and
leaderboard.json, all numbers with their provenance. The interval of a FID is by a jackknife over ten blocks of
the images. Verdicts are corrected for the number of pairs (Holm). FIDs compare only between sets of one size,
so entries of another number of images have a table of their own, each with the FID of as many real training
images. Entries that hold copies of real images are named.

Features are kept in DIR/features by content, so a folder is not read through the network twice.

example:
  python workflow/scripts/score_samples.py student01 student02 student03 --model svhn_classifier.pt \\
      --reference test_32x32.mat --floor train_32x32.mat --output leaderboard
"""

import dataclasses
import itertools
from pathlib import Path

from genlab import InputError, cli, files, log, provenance
from genlab.models import own_networks

SHOWN = 36  # images of each entry on the page
COPIES = 0.01  # share of copies from which an entry is warned of


def parser():
    result = cli.parser(__doc__, seed=True, device=True)
    result.add_argument("folders", type=Path, nargs="+", metavar="FOLDER", help="samples: a folder or an .npz file")
    result.add_argument("--model", type=Path, required=True, metavar="WEIGHTS", help="weights of the feature network")
    own_networks.add_feature_network(result)
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

    from genlab.data import references
    from genlab.data import samples as given
    from genlab.measures import copies, frechet, ranking
    from genlab.measures.metric_table import Subject
    from genlab.models import feature_networks
    from genlab.report import leaderboard
    from genlab.training import loop

    device = loop.set_up(options.device, options.threads, options.seed)
    network, weights = feature_networks.load(options.model, options.feature_network, device)
    real, data, reference = references.read(options.reference, "test")
    pool = references.training_pool(options.floor, options.reference)
    aside = references.validation_images(options.floor, options.reference)
    samples, converted = {}, {}
    for name, folder in zip(names, options.folders, strict=True):  # all are read before anything is computed
        samples[name], converted[name] = given.read(folder)
        if (count := len(samples[name])) < ranking.FEWEST:
            raise InputError(f"{folder}: {count} images; give {ranking.FEWEST} or more, at best as many as the others")

    def subject(pictures):
        return Subject(*feature_networks.kept(network, weights, pictures, options.output / "features"))

    def score(pictures):
        return ranking.score(subject(pictures), test, moments, options.seed)

    test = subject(real)
    moments = frechet.moments([test.features], f"features of {options.reference}")
    entries, real_rows = [], []
    with cli.progress(total=len(samples), label="score", unit="folder") as bar:
        for name, pictures in samples.items():
            found = copies.count(pictures, real, pool and pool[0], aside)
            entry = {"name": name, "images": len(pictures), "converted": converted[name]}
            entries.append(entry | score(pictures) | found)
            bar.update(1)
    for count in sorted({entry["images"] for entry in entries}) if pool else ():
        training = pool[0]
        chosen = ranking.draws(len(training), count, options.floor_draws, options.seed)
        fid = ranking.real_data_fid(training, chosen, lambda pictures: subject(pictures).features, moments)
        measured = score(training[chosen[0]])  # the metrics beside the FID, of the first draw
        real_rows.append(measured | {"fid": fid["mean"], "sd": fid["sd"], "images": count, "of": chosen.shape[1]})

    board = ranking.rank(entries, real_rows)
    about = {
        "data": data["title"],
        "reference": f"{reference['images']:,} images of {reference['file']}",
        "features": f"{weights['words']}; weights {weights['file']}, SHA-256 {weights['sha256'][:8]}",
    }
    shown = {name: pictures[:SHOWN] for name, pictures in {**samples, "real images": real}.items()}
    leaderboard.write(board, about, shown, options.output)
    record = {"provenance": provenance.record(options, device=device.type)}
    files.write_json(options.output / "leaderboard.json", dataclasses.asdict(board) | about | record)
    print(leaderboard.text(board, about))
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


if __name__ == "__main__":
    cli.run(main, parser())
