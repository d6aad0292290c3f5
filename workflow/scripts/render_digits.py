"""Render stand-in data from the fonts inside matplotlib, in the file formats of the real data.

The suffix of --output decides what is rendered:
  .amat   binary handwriting-like digits in the manner of Binarized MNIST, as text
  .mat    coloured crops of house numbers with labels in the manner of SVHN, as MATLAB v5

The random numbers depend on --seed and on the name of the output file without its folder.
So train, valid and test files of one seed hold different images. A larger --count only adds
images to those of a smaller one.

example:
  python workflow/scripts/render_digits.py --output train_32x32.mat --count 10000 --seed 1
"""

import functools
from pathlib import Path

from genlab import InputError, cli, files


def parser():
    result = cli.parser(__doc__, seed=True)
    result.add_argument("--output", type=Path, required=True, help="file to write, .amat or .mat")
    result.add_argument("--count", type=cli.positive, default=10000, help="number of images (default: 10000)")
    return result


def main(options):
    path = options.output
    if path.suffix not in (".amat", ".mat"):
        raise InputError(f"--output {path}: expected a name that ends in .amat (binary digits) or .mat (house numbers)")
    import numpy as np
    from genlab.data import amat, stand_ins, svhn

    rng = np.random.default_rng([options.seed, *path.name.encode()])
    progress = functools.partial(cli.progress, label=f"rendering {path.name}", unit="chunk")
    if path.suffix == ".amat":
        bits, _ = stand_ins.render_binary_digits(options.count, rng, progress)
        with files.atomic(path) as temporary:
            amat.write(temporary, bits)
    else:
        images, labels = stand_ins.render_house_numbers(options.count, rng, progress)
        with files.atomic(path) as temporary:
            svhn.write_mat(temporary, images, labels)


if __name__ == "__main__":
    cli.run(main, parser())
