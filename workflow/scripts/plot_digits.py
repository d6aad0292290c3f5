"""Draw digits beside their reconstructions, and digits sampled from the prior of a VAE.

Reads the NPZ file that sample_binary_vae.py writes: originals, uint8 (N, 28, 28) in {0, 1};
reconstructions (N, 28, 28) and samples (M, 28, 28), the Bernoulli mean of every pixel, in
[0, 1]; and `about`.

example:
  python workflow/scripts/plot_digits.py --images digits.npz \\
      --output reconstructions.png samples.png
"""

from pathlib import Path

from genlab import InputError, cli, files


def parser():
    result = cli.parser(__doc__)
    result.add_argument("--images", type=Path, required=True, metavar="NPZ", help="originals, reconstructions, samples")
    result.add_argument(
        "--output", type=Path, nargs=2, action=cli.Distinct, required=True, metavar=("PAIRS.png", "SAMPLES.png"),
        help="figures to write, with a PDF beside each",
    )  # fmt: skip
    result.add_argument("--columns", type=cli.positive, default=10, help="images in a row (default: 10)")
    return result


def main(options):
    from genlab.report import plotting

    for path in options.output:
        plotting.check_output(path)
    originals, reconstructions, samples, model, data = read_images(options.images)

    columns = min(options.columns, len(originals))
    figure = plotting.image_grid([originals, reconstructions], columns, ["original", "reconstruction"], ink=True)
    plotting.describe(figure, f"{model}: reconstructions", data)
    plotting.save_figure(figure, options.output[0])

    figure = plotting.image_grid(samples, min(options.columns, len(samples)), ink=True)
    plotting.describe(figure, f"{model}: samples", data)
    plotting.save_figure(figure, options.output[1])


def read_images(path):
    """(originals, reconstructions, samples, model's name, data set's title) of the file, checked.

    The images are float32 in [0, 1].
    """
    import numpy as np
    from genlab.data import arrays

    shapes = {"originals": ("N", 28, 28), "reconstructions": ("N", 28, 28), "samples": ("M", 28, 28)}
    fields, about = arrays.read_pictures(path, shapes)
    for name, images in fields.items():
        if images.min() < 0 or images.max() > 1:
            raise InputError(
                f"{path}: {name!r} holds values in [{images.min()}, {images.max()}]; expected [0, 1]; {files.REMAKE}"
            )
    stacks = [images.astype(np.float32) for images in fields.values()]
    return *stacks, about["model"], about["data"]["title"]


if __name__ == "__main__":
    cli.run(main, parser())
