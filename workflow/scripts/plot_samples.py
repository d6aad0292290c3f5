"""Draw samples of several models beside as many real test images, none selected.

A model's samples are the first in its folder, row by row; the real images are drawn at random.
If a model has fewer samples than asked for, every grid has that many.

example:
  python workflow/scripts/plot_samples.py --samples results/samples/vae results/samples/gan \\
      --names VAE GAN --data resources/prepared/embedded/svhn.npz --output samples.png
"""

from pathlib import Path

from genlab import InputError, cli

REAL = "real test images"
ABREAST = 3  # most panels side by side; more are put in two columns
GAP, HEAD = 0.2, 0.35  # inches between panels, and above each one for its name


def parser():
    result = cli.parser(__doc__, seed=True)
    result.add_argument(
        "--samples", type=Path, nargs="+", required=True, metavar="DIR", help="folders with one folder of PNG images"
    )
    result.add_argument(
        "--names", nargs="+", action=cli.Distinct, required=True, metavar="NAME", help="the models, in the same order"
    )
    result.add_argument("--data", type=Path, required=True, metavar="NPZ", help="prepared colour images")
    result.add_argument("--output", type=Path, required=True, metavar="PNG", help="figure to write, with a PDF beside")
    result.add_argument("--columns", type=cli.positive, default=10, help="images in a row (default: 10)")
    result.add_argument("--rows", type=cli.positive, default=8, help="rows of images of each model (default: 8)")
    return result


def main(options):
    if len(options.samples) != len(options.names):
        raise InputError(
            f"{len(options.samples)} folders for --samples but {len(options.names)} for --names; "
            "give one name for each folder"
        )
    if REAL in options.names:
        raise InputError(f"--names: {REAL!r} is the name of the images beside them; give another")
    import numpy as np
    from genlab.data import arrays
    from genlab.report import plotting

    plotting.check_output(options.output)
    most = options.columns * options.rows
    panels = {name: read_first(path, most) for name, path in zip(options.names, options.samples, strict=True)}
    prepared = arrays.load_images(options.data)
    test = prepared.test_images
    rows = np.random.default_rng(options.seed).permutation(len(test))[:most]
    panels[REAL] = test[rows].transpose(0, 2, 3, 1)
    count = min(len(images) for images in panels.values())
    panels = {name: images[:count] for name, images in panels.items()}
    figure = draw(panels, options.columns)
    names = " and ".join([", ".join(options.names[:-1]), options.names[-1]] if options.names[1:] else options.names)
    plotting.describe(figure, f"{names}: samples beside real images", prepared.about["title"])
    plotting.save_figure(figure, options.output)


def read_first(path, most):
    """The first images of a sample directory by name, at most `most`: uint8 (N, 32, 32, 3)."""
    from genlab.data import images

    _, batches = images.read_directory(path, most)
    return next(batches).transpose(0, 2, 3, 1)


def draw(panels, columns):
    """The figure of `panels`, {name: uint8 (N, 32, 32, 3)} of one size."""
    import numpy as np
    from genlab.report import plotting
    from matplotlib.figure import Figure

    pictures = [plotting.mosaic(images, columns)[0] for images in panels.values()]
    across = len(panels) if len(panels) <= ABREAST else 2
    down = -(-len(panels) // across)
    # Sizes in inches such that an image's pixel is a whole number of PNG pixels, so squares stay squares.
    scale = max(1, int(11 * plotting.DPI / (across * pictures[0].shape[1])))
    width, height = np.array(pictures[0].shape[1::-1]) * scale / plotting.DPI
    whole = np.array([across * (width + GAP) - GAP, down * (height + HEAD + GAP) - GAP])
    figure = Figure(figsize=whole)
    for number, (name, picture) in enumerate(zip(panels, pictures, strict=True)):
        row, column = divmod(number, across)
        corner = column * (width + GAP), (down - 1 - row) * (height + HEAD + GAP)
        axes = figure.add_axes((*(corner / whole), *((width, height) / whole)))
        axes.imshow(picture, interpolation="nearest", aspect="auto")
        axes.set_title(name, loc="left")
        axes.set_axis_off()
    return figure


if __name__ == "__main__":
    cli.run(main, parser())
