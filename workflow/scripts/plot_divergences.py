"""Draw the estimated Jensen-Shannon divergence and Wasserstein distance against theta, beside the exact values.

Reads what estimate_divergences.py writes. Below each curve stand the errors, enlarged. Lines are means over
seeds, bands their range.

example:
  python workflow/scripts/plot_divergences.py --table divergences.csv --summary divergences.json \\
      --output divergences.png
"""

from pathlib import Path

from genlab import InputError, cli, files

COLUMNS = ("theta", "seed", "jsd", "jsd_exact", "w1", "w1_corrected", "w1_exact")


def parser():
    result = cli.parser(__doc__)
    result.add_argument("--table", type=Path, required=True, metavar="CSV", help="estimates at each theta and seed")
    result.add_argument("--summary", type=Path, required=True, metavar="JSON", help="what was estimated")
    result.add_argument("--output", type=Path, required=True, metavar="PNG", help="figure to write, with a PDF beside")
    return result


def main(options):
    from genlab.report import plotting

    table = plotting.read_table(options.table, COLUMNS)
    if table.duplicated(["theta", "seed"]).any():
        raise InputError(f"{options.table}: a theta stands twice for one seed; {files.REMAKE}")
    if not (table["theta"] == 0).any() or not (table["theta"] != 0).any():
        raise InputError(f"{options.table}: column 'theta' needs 0 and other values; {files.REMAKE}")
    content = files.read_json(options.summary)
    title = files.read_field(content, "data.title", str, options.summary)
    plotting.save_figure(draw(table, title), options.output)


def draw(table, title):
    """The figure of the columns COLUMNS."""
    from genlab.report import plotting

    figure = plotting.new_figure(10.5, 6.2)
    (jsd, w1), (jsd_error, w1_error) = figure.subplots(2, 2, sharex=True, height_ratios=[2.2, 1])
    estimate = {"color": plotting.COLOURS["blue"], "linestyle": "-", "marker": "o", "markersize": 4}
    corrected = {"color": plotting.COLOURS["vermillion"], "linestyle": "--", "marker": "s", "markersize": 4}
    exact = {"color": "black", "linestyle": ":", "linewidth": 1.6, "zorder": 1}
    by_theta = table.groupby("theta")
    truth = by_theta[["jsd_exact", "w1_exact"]].first()

    def band(axes, values, look, label=None):
        of_theta = values.groupby(table["theta"])
        mean = of_theta.mean()
        axes.fill_between(mean.index, of_theta.min(), of_theta.max(), color=look["color"], alpha=0.25, linewidth=0)
        axes.plot(mean, **look, label=label)

    # The exact divergence is a step: draw its two sides and the single point between them.
    for side in (truth[truth.index < 0], truth[truth.index > 0]):
        jsd.plot(
            [*side.index, 0] if side.index[0] < 0 else [0, *side.index],
            [side["jsd_exact"].iloc[0]] * (len(side) + 1),
            **exact,
        )
    jsd.plot(
        [0], truth["jsd_exact"].loc[[0]], marker="o", color="black", markersize=9, markerfacecolor="none", linestyle=""
    )
    w1.plot(truth["w1_exact"], **exact)

    scatter = {k: v for k, v in estimate.items() if k != "linestyle"} | {"linestyle": ""}
    band(jsd, table["jsd"], scatter, "estimate of the discriminator")
    band(w1, table["w1"], estimate, "estimate of the critic")
    band(w1, table["w1_corrected"], corrected, "divided by its steepest slope")
    band(jsd_error, table["jsd"] - table["jsd_exact"], estimate)
    band(w1_error, table["w1"] - table["w1_exact"], estimate)
    band(w1_error, table["w1_corrected"] - table["w1_exact"], corrected)
    jsd.plot([], [], **exact, label=r"exact: 0 at $\theta = 0$, else $\log 2$")
    w1.plot([], [], **exact, label=r"exact: $|\theta|$")

    jsd.set_ylabel("Jensen\N{EN DASH}Shannon\ndivergence, nats")
    w1.set_ylabel("Wasserstein distance")
    for axes in (jsd_error, w1_error):
        axes.axhline(0, **exact)
        axes.set_ylabel("error")
        axes.set_xlabel(r"$\theta$")
        axes.set_xticks([-1, -0.5, 0, 0.5, 1])
    jsd.set_ylim(-0.05, 0.9)
    w1.set_ylim(min(-0.05, table["w1"].min() - 0.05), max(1.35, table["w1"].max() * 1.3))
    for axes in (jsd, w1):
        axes.legend(loc="upper center", fontsize=10)
    plotting.describe(figure, "Two divergences of two segments, estimated from samples", title)
    return figure


if __name__ == "__main__":
    cli.run(main, parser())
