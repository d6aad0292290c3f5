"""Draw a sheet of both prepared data sets: the validation images that the models see.

Reads the NPZ files that prepare_binarized_mnist.py and prepare_svhn.py wrote. Above each sheet
stands the name of its data set, so that a stand-in is never taken for the real thing.

example:
  python workflow/scripts/plot_data.py --binarized-mnist resources/prepared/embedded/binarized_mnist.npz \\
      --svhn resources/prepared/embedded/svhn.npz --output data.png
"""

from pathlib import Path

from genlab import cli


def parser():
    result = cli.parser(__doc__, seed=True)
    result.add_argument("--binarized-mnist", type=Path, required=True, metavar="NPZ", help="prepared binary digits")
    result.add_argument("--svhn", type=Path, required=True, metavar="NPZ", help="prepared house numbers")
    result.add_argument(
        "--output", type=Path, required=True, metavar="PNG", help="figure to write, and a PDF beside it"
    )
    return result


def main(options):
    import numpy as np
    from genlab.data import amat, arrays
    from genlab.report import plotting

    plotting.check_output(options.output)
    digits, numbers = arrays.load_binarized_mnist(options.binarized_mnist), arrays.load_svhn(options.svhn)
    rng = np.random.default_rng(options.seed)

    def some(images, count=80):
        return images[np.sort(rng.permutation(len(images))[:count])]

    sheets = [
        (digits.about, some(amat.unpack_bits(digits.valid).reshape(-1, 28, 28)).astype(np.float32), True),
        (numbers.about, some(numbers.valid_images).transpose(0, 2, 3, 1), False),
    ]
    figure = plotting.new_figure(11, 6.2)
    for axes, (about, images, ink) in zip(figure.subplots(1, 2), sheets, strict=True):
        axes.imshow(plotting.mosaic(images, 8, ink)[0], interpolation="nearest")
        axes.set_title(about["title"])
        axes.set_axis_off()
    plotting.save_figure(figure, options.output)


if __name__ == "__main__":
    cli.run(main, parser())
