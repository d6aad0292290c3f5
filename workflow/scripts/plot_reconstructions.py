"""Draw test images above their reconstructions by an image VAE.

Reads the NPZ file that reconstruct_images.py writes: originals and reconstructions, uint8
(N, 3, 32, 32), and `about`.

example:
  python workflow/scripts/plot_reconstructions.py --images reconstructions.npz --output reconstructions.png
"""

from pathlib import Path

from genlab import cli, files


def parser():
    result = cli.parser(__doc__)
    result.add_argument("--images", type=Path, required=True, metavar="NPZ", help="originals and reconstructions")
    result.add_argument("--output", type=Path, required=True, metavar="PNG", help="figure to write, with a PDF beside")
    result.add_argument("--columns", type=cli.positive, default=10, help="images in a row (default: 10)")
    return result


def main(options):
    from genlab.data import arrays
    from genlab.report import plotting

    plotting.check_output(options.output)
    shapes = {"originals": ("N", 3, 32, 32), "reconstructions": ("N", 3, 32, 32)}
    images, about = arrays.read_pictures(options.images, shapes)
    rmse = files.read_field(about, "rmse", float, f"{options.images} about")
    stacks = [images[name].transpose(0, 2, 3, 1) for name in shapes]
    count = len(stacks[0])
    figure = plotting.image_grid(stacks, min(options.columns, count), ["original", "reconstruction"])
    title = f"{about['model']}: reconstructions of test images, root mean square error {rmse:.1f} of 255 grey levels"
    plotting.describe(figure, title, about["data"]["title"])
    plotting.save_figure(figure, options.output)


if __name__ == "__main__":
    cli.run(main, parser())
