"""Draw every metric of every model and reference with its interval.

Reads what compare.py writes.

example:
  python workflow/scripts/plot_summary.py --summary summary.csv --output summary.png
"""

from pathlib import Path

from genlab import InputError, cli, files

ARROWS = {"lower": "\N{LEFTWARDS ARROW} better", "higher": "better \N{RIGHTWARDS ARROW}", "neither": ""}
REFERENCES = tuple(f"references/{name}" for name in ("train", "test", "noise", "mean"))


def parser():
    result = cli.parser(__doc__)
    result.add_argument("--summary", type=Path, required=True, metavar="CSV", help="table of all metrics")
    result.add_argument("--output", type=Path, required=True, metavar="PNG", help="figure to write, with a PDF beside")
    return result


def main(options):
    from genlab.measures.metric_table import OF_IMAGES
    from genlab.report import plotting

    names = (
        "problem",
        "data",
        "protocol",
        "key",
        "subject",
        "kind",
        "metric",
        "better",
        "over",
        "low",
        "high",
        "values",
    )
    table = plotting.read_table(options.summary, ["value"], names)
    drawn = table["metric"].isin([metric.key for metric in OF_IMAGES])
    table = table[(table["problem"] == "images") & drawn].copy()
    if table.empty:
        raise InputError(f"{options.summary}: no metrics of images; {files.REMAKE}")
    try:
        for end in ("low", "high"):  # empty if one set of one seed gives no interval
            table[end] = table[end].where(table[end] != "", "nan").astype(float)
        table["values"] = [[float(value) for value in values.split()] for values in table["values"]]
    except ValueError as error:
        raise InputError(f"{options.summary}: {error}; {files.REMAKE}") from None
    plotting.save_figure(draw(table), options.output)


def draw(table):
    """The figure of the rows of images, `low` and `high` numbers or NaN, `values` lists of numbers."""
    from genlab.measures.metric_table import OF_IMAGES
    from genlab.report import plotting

    names = dict(zip(table["key"], table["subject"], strict=True))
    models = list(dict.fromkeys(table.loc[table["kind"] == "model", "key"]))
    others = [key for key in names if key not in models]
    subjects = models + sorted(
        others, key=lambda key: (key in REFERENCES, REFERENCES.index(key) if key in REFERENCES else 0)
    )
    looks = plotting.model_looks(models)
    panels = [metric for metric in OF_IMAGES if (table["metric"] == metric.key).any()]
    figure = plotting.new_figure(12.0, 1.2 + 0.42 * len(subjects) * 3)
    grid = figure.subplots(-(-len(panels) // 3), 3, sharey=True, squeeze=False)
    for axes in grid.ravel()[len(panels) :]:
        axes.set_visible(False)
    for axes, metric in zip(grid.ravel(), panels, strict=False):
        rows = table[table["metric"] == metric.key].set_index("key")
        for height, subject in enumerate(subjects):
            if subject not in rows.index:
                continue
            row = rows.loc[subject]
            look = looks.get(subject, {"color": "0.35", "marker": "x"})
            line = {"color": look["color"]}
            axes.plot(row["values"], [height] * len(row["values"]), linestyle="", marker="|", markersize=9, **line)
            axes.plot([row["low"], row["high"]], [height, height], linestyle="-", linewidth=2.5, alpha=0.5, **line)
            axes.plot([row["value"]], [height], markersize=7, **look | {"linestyle": ""})
        # Limits from the values alone: with few seeds an interval can be so wide that it hides everything else.
        values = [value for each in rows["values"] for value in each]
        low, high = min(values), max(values)
        if metric.scale == "share":
            axes.set_xlim(-0.03, 1.03)
        elif metric.scale == "log" and low > 0:
            axes.set_xscale("log", nonpositive="clip")
            axes.set_xlim(low / 2, high * 2)
        else:
            margin = 0.12 * (high - low) or 1
            axes.set_xlim(low - margin, high + margin)
            axes.locator_params("x", nbins=4)  # labels of small numbers are long
        axes.set_title(metric.title.replace("\N{INFINITY}", r"$_\infty$"), loc="left")
        axes.set_xlabel(ARROWS[rows["better"].iloc[0]], fontsize=10, color="0.25")
        axes.set_yticks(range(len(subjects)), [names[subject] for subject in subjects])
    grid[0, 0].set_ylim(len(subjects) - 0.5, -0.5)
    plotting.describe(figure, f"All models, all metrics ({table['protocol'].iloc[0]})", table["data"].iloc[0])
    return figure


if __name__ == "__main__":
    cli.run(main, parser())
