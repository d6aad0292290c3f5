"""Read Binarized MNIST's text format: `split` and `int` for every line, and numpy's reader, against amat.read.

The file has the size of the official training file (50,000 lines, 78 MB) and random bits. It is written to a
temporary folder, so it is in the system's file cache when it is read. All three must give the same bits.
"""

import tempfile
from pathlib import Path

import side_by_side


def parser():
    result = side_by_side.parser(__doc__, turns=3)
    result.add_argument("--lines", type=int, default=50_000, help="images in the file (default: 50000)")
    return result


def main(options):
    side_by_side.limit_threads(options.threads)
    import numpy as np
    from genlab.data import amat

    bits = np.random.default_rng(1).integers(0, 2, (options.lines, amat.PIXELS), dtype=np.uint8)

    def by_line():
        with open(path) as file:
            return np.array([[int(word) for word in line.split()] for line in file], np.uint8)

    def by_numpy():
        return np.loadtxt(path, dtype=np.uint8)

    def check(pixels, packed):
        assert np.array_equal(pixels, bits) and np.array_equal(amat.unpack_bits(packed), bits)

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "train.amat"
        amat.write(path, bits)
        megabytes = path.stat().st_size / 1e6
        return [
            side_by_side.compare(
                f"parse {megabytes:.0f} MB of .amat, reference: {name}", reference, lambda: amat.read(path),
                check, options.turns, wanted, (megabytes, "MB"),
            )
            for name, reference, wanted in (("split and int", by_line, 100), ("numpy.loadtxt", by_numpy, 20))
        ]  # fmt: skip


if __name__ == "__main__":
    options = parser().parse_args()
    side_by_side.write(options, main(options))
