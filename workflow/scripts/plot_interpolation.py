"""Draw an interpolation between two latents above that between their images, and numbers over many pairs.

Reads what explore_latents.py writes: the images of one pair, and the table with mean and standard
error over all pairs at each alpha. The latent path is g(alpha z0 + (1 - alpha) z1), the sphere path that
along the arc between z1 and z0, the image path alpha g(z0) + (1 - alpha) g(z1), a double exposure.

example:
  python workflow/scripts/plot_interpolation.py --latents latents.npz --table paths.csv --output paths.png
"""

from pathlib import Path

from genlab import InputError, cli, files

PANELS = {"sharpness": "sharpness, grey levels", "distance": "feature distance to the\nnearest validation image"}

PATHS = {"latent": "latents, straight", "sphere": "latents, on the sphere", "image": "images"}


def parser():
    result = cli.parser(__doc__)
    result.add_argument("--latents", type=Path, required=True, metavar="NPZ", help="images of explore_latents.py")
    result.add_argument(
        "--table", type=Path, required=True, metavar="CSV", help="numbers at each alpha, of the same run"
    )
    result.add_argument("--output", type=Path, required=True, metavar="PNG", help="figure to write, with a PDF beside")
    return result


def main(options):
    import numpy as np
    from genlab.data import arrays
    from genlab.report import plotting

    plotting.check_output(options.output)
    shapes = {"alphas": ("A",)} | {f"{path}_path": ("A", 3, 32, 32) for path in PATHS}
    fields, about = arrays.read_pictures(options.latents, shapes)
    source = f"{options.latents} about"
    for field in ("mean", "standard_error"):
        for quantity in PANELS:
            files.read_field(about, f"real.{quantity}.{field}", float, source)
    columns = [f"{path}_{quantity}{end}" for path in PATHS for quantity in PANELS for end in ("", "_error")]
    table = plotting.read_table(options.table, ["alpha", *columns])
    if len(table) != len(fields["alphas"]) or not np.allclose(table["alpha"], fields["alphas"]):
        raise InputError(
            f"{options.table}: its alphas are not those of {options.latents}; give the table and the images of one run"
        )
    plotting.save_figure(draw(fields, table, about), options.output)


def draw(arrays, table, about):
    """The figure: images of one pair, and below them the means of the table with their standard errors."""
    from genlab.report import plotting

    looks = {
        "latent": {"color": plotting.COLOURS["blue"], "linestyle": "-", "marker": "o"},
        "sphere": {"color": plotting.COLOURS["green"], "linestyle": "-.", "marker": "^"},
        "image": {"color": plotting.COLOURS["vermillion"], "linestyle": "--", "marker": "s"},
    }
    looks = {path: {"label": label} | looks[path] for path, label in PATHS.items()}
    figure = plotting.new_figure(11, 6.5)
    above, below = figure.subfigures(2, 1, height_ratios=[3.2, 3.3])
    axes = above.subplots()
    alphas = arrays["alphas"]
    stacks = [arrays[f"{path}_path"].transpose(0, 2, 3, 1) for path in looks]
    picture, centres = plotting.mosaic(stacks, len(alphas))
    axes.imshow(picture)
    axes.grid(False)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    width = (picture.shape[1] - 1) / len(alphas)
    axes.set_xticks([width * (i + 0.5) for i in range(len(alphas))], [f"{alpha:g}" for alpha in alphas])
    axes.set_yticks(centres, [look["label"] for look in looks.values()])
    axes.set_xlabel(r"$\alpha$")

    for panel, (quantity, label) in zip(below.subplots(1, len(PANELS)), PANELS.items(), strict=True):
        real = about["real"][quantity]
        low, high = (real["mean"] + sign * real["standard_error"] for sign in (-1, 1))
        panel.axhspan(low, high, color="0.5", alpha=0.2, linewidth=0)
        panel.axhline(real["mean"], color="0.3", linestyle=":", label="real test images")
        for path, look in looks.items():
            mean, error = table[f"{path}_{quantity}"], table[f"{path}_{quantity}_error"]
            panel.fill_between(table["alpha"], mean - error, mean + error, color=look["color"], alpha=0.2, linewidth=0)
            panel.plot(table["alpha"], mean, **look)
        panel.set_ylim(bottom=0)
        panel.set_xlabel(r"$\alpha$")
        panel.set_ylabel(label)
    # Above the axes, where it covers no line.
    panel.legend(loc="lower right", bbox_to_anchor=(1, 1.02), borderaxespad=0, ncols=2, frameon=False)
    plotting.describe(
        figure,
        f"{about['model']}: interpolation between latents and between images",
        about["data"]["title"],
    )
    return figure


if __name__ == "__main__":
    cli.run(main, parser())
