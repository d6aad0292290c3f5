"""Read the two SVHN files, set aside validation images from the training file, and write all to one .npz.

The output holds images and labels for `train`, `valid` and `test`, and `about`, which says what the files
are: the official ones (recognised by their checksums), the embedded stand-in, or custom files.
The validation images are drawn at random, with the same share of every digit.

example:
  python workflow/scripts/prepare_svhn.py --train train_32x32.mat --test test_32x32.mat \\
      --output svhn.npz
"""

from pathlib import Path

from genlab import cli, files, log


def parser():
    result = cli.parser(__doc__, seed=True, split=True)
    for split in ("train", "test"):
        result.add_argument(
            f"--{split}", type=Path, required=True, metavar="FILE.mat", help=f"{split} images and labels, MATLAB v5"
        )
    result.add_argument(
        "--source",
        choices=("embedded", "official"),
        default="official",
        help="what the files claim to be; without the official checksums they are called custom (default: official)",
    )
    result.add_argument("--output", type=Path, required=True, metavar="FILE.npz", help="the prepared data set")
    return result


def main(options):
    from genlab.data import arrays, svhn

    images, labels = svhn.read_mat(options.train)
    train, valid = svhn.stratified_split(labels, options.valid_fraction, options.seed)
    fields = {"valid_images": images[valid], "valid_labels": labels[valid], "train_labels": labels[train]}
    fields["train_images"] = svhn.take_in_place(images, train)
    fields["test_images"], fields["test_labels"] = svhn.read_mat(options.test)
    counts = {split: len(fields[f"{split}_labels"]) for split in ("train", "valid", "test")}
    about = arrays.describe(
        "SVHN",
        options.source,
        {"train": options.train, "test": options.test},
        counts,
        split={"seed": options.seed, "valid_fraction": options.valid_fraction},
    )
    with files.atomic(options.output) as temporary:
        arrays.write(temporary, about, **fields)
    log.info("%s: %s", about["title"], ", ".join(f"{count:,} {split}" for split, count in counts.items()))


if __name__ == "__main__":
    cli.run(main, parser())
