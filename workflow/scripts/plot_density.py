"""Draw a trained discriminator beside the best one possible, and the density it estimates beside the exact one.

Reads what estimate_density.py writes. Lines are means over seeds, bands their range.

example:
  python workflow/scripts/plot_density.py --table density.csv --summary density.json \\
      --histogram density_histogram.csv --output density.png
"""

from pathlib import Path

from genlab import cli, files

COLUMNS = ("x", "seed", "d", "d_optimal", "density", "density_exact")


def parser():
    result = cli.parser(__doc__)
    result.add_argument("--table", type=Path, required=True, metavar="CSV", help="curves of every seed over a grid")
    result.add_argument("--summary", type=Path, required=True, metavar="JSON", help="data and number of samples")
    result.add_argument("--histogram", type=Path, required=True, metavar="CSV", help="histogram of samples")
    result.add_argument("--output", type=Path, required=True, metavar="PNG", help="figure to write, with a PDF beside")
    return result


def main(options):
    from genlab.report import plotting

    table = plotting.read_table(options.table, COLUMNS)
    histogram = plotting.read_table(options.histogram, ("left", "right", "density"))
    content = files.read_json(options.summary)
    title = files.read_field(content, "data.title", str, options.summary)
    points = files.read_field(content, "settings.points", int, options.summary)
    plotting.save_figure(draw(table, histogram, points, title), options.output)


def draw(table, histogram, points, title):
    """The figure of the columns COLUMNS and a histogram of `points` samples."""
    from genlab.report import plotting

    figure = plotting.new_figure(10.5, 4.6)
    left, right = figure.subplots(1, 2, sharex=True)
    estimate = {"color": plotting.COLOURS["blue"], "linestyle": "-"}
    exact = {"color": plotting.COLOURS["vermillion"], "linestyle": "--"}
    widths = histogram["right"] - histogram["left"]
    right.bar(histogram["left"], histogram["density"], widths, align="edge", color="0.85", label=f"{points:,} samples")
    by_x = table.groupby("x")
    for axes, column, best, names in (
        (left, "d", "d_optimal", ("trained $D(x)$", r"best $D(x) = f_1 / (f_0 + f_1)$")),
        (right, "density", "density_exact", (r"estimate $f_0 D / (1 - D)$", "exact $f_1$")),
    ):
        values = by_x[column]
        mean = values.mean()
        axes.fill_between(mean.index, values.min(), values.max(), color=estimate["color"], alpha=0.25, linewidth=0)
        axes.plot(mean, **estimate, label=names[0])
        axes.plot(by_x[best].first(), **exact, label=names[1])
        axes.set_xlabel("x")
    left.set_ylabel(r"probability that x is of $f_1$")
    left.set_ylim(0, 1.15)
    right.set_ylabel("density")
    right.set_ylim(0, 1.35 * table[["density", "density_exact"]].to_numpy().max())
    for axes in (left, right):
        axes.legend(loc="upper left", fontsize=10, framealpha=0)
    plotting.describe(figure, "A density from a discriminator", title)
    return figure


if __name__ == "__main__":
    cli.run(main, parser())
