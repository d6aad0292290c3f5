"""Draw random validation images of both prepared data sets, as the models see them.

Reads the NPZ files that prepare_binarized_mnist.py and prepare_svhn.py or prepare_images.py write. The name of each
data set is above its images, so that nobody takes a stand-in for the real data.

example:
  python workflow/scripts/plot_data.py --binarized-mnist resources/prepared/embedded/binarized_mnist.npz \\
      --images resources/prepared/embedded/svhn.npz --output data.png
"""

from pathlib import Path

from genlab import cli


def parser():
    result = cli.parser(__doc__, seed=True)
    result.add_argument("--binarized-mnist", type=Path, required=True, metavar="NPZ", help="prepared binary digits")
    result.add_argument("--images", type=Path, required=True, metavar="NPZ", help="prepared colour images")
    result.add_argument("--output", type=Path, required=True, metavar="PNG", help="figure to write, with a PDF beside")
    return result


def main(options):
    import numpy as np
    from genlab.data import amat, arrays
    from genlab.report import plotting

    plotting.check_output(options.output)
    digits, colour = arrays.load_binarized_mnist(options.binarized_mnist), arrays.load_images(options.images)
    rng = np.random.default_rng(options.seed)

    def some(images, count=80):
        return images[np.sort(rng.permutation(len(images))[:count])]

    sheets = [
        (digits.about, some(amat.unpack_bits(digits.valid).reshape(-1, 28, 28)).astype(np.float32), True),
        (colour.about, some(colour.valid_images).transpose(0, 2, 3, 1), False),
    ]
    figure = plotting.new_figure(11, 6.2)
    for axes, (about, images, ink) in zip(figure.subplots(1, 2), sheets, strict=True):
        axes.imshow(plotting.mosaic(images, 8, ink)[0], interpolation="nearest")
        axes.set_title(about["title"])
        axes.set_axis_off()
    plotting.save_figure(figure, options.output)


if __name__ == "__main__":
    cli.run(main, parser())
