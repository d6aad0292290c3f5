"""Read the three text files of Binarized MNIST, check them, and write their bits to one .npz file.

The output holds `train`, `valid` and `test`, eight pixels per byte, and `about`, which says what the files
are: the official ones (recognised by their checksums), the embedded stand-in, or custom files.

example:
  python workflow/scripts/prepare_binarized_mnist.py --train binarized_mnist_train.amat \\
      --valid binarized_mnist_valid.amat --test binarized_mnist_test.amat --output binarized_mnist.npz
"""

from pathlib import Path

from genlab import cli, files, log


def parser():
    result = cli.parser(__doc__)
    for split in ("train", "valid", "test"):
        result.add_argument(
            f"--{split}",
            type=Path,
            required=True,
            metavar="FILE",
            help=f"{split} images, 784 characters 0 or 1 per line",
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
    from genlab.data import amat, arrays

    paths = {"train": options.train, "valid": options.valid, "test": options.test}
    packed = {split: amat.read(path) for split, path in paths.items()}
    counts = {split: len(rows) for split, rows in packed.items()}
    about = arrays.describe("Binarized MNIST", options.source, paths, counts)
    with files.atomic(options.output) as temporary:
        arrays.write(temporary, about, **packed)
    log.info("%s: %s", about["title"], ", ".join(f"{count:,} {split}" for split, count in counts.items()))


if __name__ == "__main__":
    cli.run(main, parser())
