"""Draw a latent traversal: the dimensions that change the image most and least, and the effect of all.

Reads the NPZ file that explore_latents.py writes: the images of one latent z and of z + epsilon e_i
and z - epsilon e_i for every dimension i, and the effect of each dimension in grey levels, for this
z and averaged over many. A dimension is labelled by the attribute of the image that it correlates with most,
if that is beyond chance.

example:
  python workflow/scripts/plot_latents.py --latents latents.npz --output latents.png
"""

from pathlib import Path

from genlab import InputError, cli, files

SHOWN = 5  # of the strongest dimensions, and of the weakest


def parser():
    result = cli.parser(__doc__)
    result.add_argument("--latents", type=Path, required=True, metavar="NPZ", help="images and effects")
    result.add_argument("--output", type=Path, required=True, metavar="PNG", help="figure to write, with a PDF beside")
    return result


def main(options):
    import numpy as np
    from genlab.data import arrays
    from genlab.report import plotting

    plotting.check_output(options.output)
    shapes = {"base": (3, 32, 32), "plus": ("L", 3, 32, 32), "minus": ("L", 3, 32, 32)}
    shapes |= {"effect": ("L",), "mean_effect": ("L",), "order": ("L",), "epsilon": (), "correlation": ("L", "A")}
    fields, about = arrays.read_pictures(options.latents, shapes)
    files.read_field(about, "starts", int, f"{options.latents} about")
    files.read_field(about, "chance", float, f"{options.latents} about")
    if len(files.read_field(about, "attributes", list, f"{options.latents} about")) != fields["correlation"].shape[1]:
        raise InputError(f"{options.latents}: 'attributes' are not as many as columns of 'correlation'; {files.REMAKE}")
    total = len(fields["order"])
    if not np.array_equal(np.sort(fields["order"]), np.arange(total)):
        raise InputError(f"{options.latents}: 'order' is no order of the dimensions 0 to {total - 1}; {files.REMAKE}")
    plotting.save_figure(draw(fields, about), options.output)


def draw(arrays, about):
    """The figure: traversal of the strongest and the weakest dimensions, and effect against rank."""
    import numpy as np
    from genlab.measures import image_statistics
    from genlab.report import plotting, typeset
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    order, epsilon, total = arrays["order"], float(arrays["epsilon"]), len(arrays["order"])
    shown = min(SHOWN, total)
    groups = {"strongest": np.arange(shown), "weakest": np.arange(total - shown, total)}
    change = image_statistics.luminance(arrays["plus"]) - image_statistics.luminance(arrays["minus"])
    limit = max(1.0, np.abs(change[order[:shown]]).max())
    scale = ScalarMappable(Normalize(-limit, limit), "RdBu_r")

    figure = plotting.new_figure(13.5, 5.2)
    *sheets, curve = figure.subplots(1, 3, width_ratios=[1, 1, 1.1])
    for axes, (name, ranks) in zip(sheets, groups.items(), strict=True):
        rows = order[ranks]
        columns = [arrays["minus"][rows], np.repeat(arrays["base"][None], shown, 0), arrays["plus"][rows]]
        columns = [images.transpose(0, 2, 3, 1) / 255 for images in columns]
        columns.append(scale.to_rgba(change[rows].reshape(-1, 32))[:, :, :3].reshape(-1, 32, 32, 3))
        picture, centres = plotting.mosaic(np.stack(columns, 1).reshape(-1, 32, 32, 3), len(columns))
        axes.imshow(picture)
        axes.grid(False)
        axes.spines[:].set_visible(False)
        axes.tick_params(length=0, labeltop=True, labelbottom=False)
        width = (picture.shape[1] - 1) / len(columns)
        heads = [f"$z - {epsilon:g}\\,e_i$", "$z$", f"$z + {epsilon:g}\\,e_i$", "change"]
        axes.set_xticks(width * (np.arange(len(columns)) + 0.5), heads)
        names = [plotting.literal(typeset.meaning(arrays["correlation"][i], about)) for i in rows]
        heads = [
            f"{rank + 1}: i = {i}, {arrays['effect'][i]:.3g}\n{name}"
            for rank, i, name in zip(ranks, rows, names, strict=True)
        ]
        axes.set_yticks(centres, heads)
        axes.set_title(f"{name} dimensions")
    bar = figure.colorbar(scale, ax=sheets, location="bottom", shrink=0.6, aspect=40, pad=0.02)
    bar.set_label("change of luminance from $-$ to $+$, grey levels (one scale for all)")

    ranks = np.arange(1, total + 1)
    curve.plot(ranks, arrays["effect"][order], color=plotting.COLOURS["blue"], label="this z")
    curve.plot(
        ranks,
        arrays["mean_effect"][order],
        color=plotting.COLOURS["vermillion"],
        linestyle="",
        marker="s",
        markersize=3.5,
        label=f"the same dimension, mean over {about['starts']} z",
    )
    curve.set_ylim(bottom=0)
    curve.set_xlabel("rank of the dimension by its effect at this z")
    curve.set_ylabel("effect, grey levels (RMS)")
    curve.legend()
    plotting.describe(
        figure,
        f"{about['model']}: latent traversal",
        about["data"]["title"],
    )
    return figure


if __name__ == "__main__":
    cli.run(main, parser())
