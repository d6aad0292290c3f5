"""Draw the importance-sampled log-likelihood of a VAE against the number of samples K.

Reads what summarise_likelihood.py writes: the estimates at each K, seed and split, and the summary
over seeds. In expectation every estimate is a lower bound on log p(x) that rises with K. The slope
of the curve at the reported K shows how loose the bound still is. Beyond that K, the figure adds the
gain on a few images to the value of all, because the mean of a few images differs from that of all. With --bracket,
what bracket_likelihood.py wrote, a line shows where annealed importance sampling puts the test images.

example:
  python workflow/scripts/plot_log_likelihood.py --table log_likelihood.csv \\
      --summary log_likelihood.json --output log_likelihood.png
"""

from pathlib import Path

from genlab import InputError, cli, files

NUMBERS = [
    "seed", "images", "samples", "k", "log_likelihood", "standard_error", "gain", "gain_standard_error",
]  # fmt: skip
ELBO_DASHES = {"valid": (8, 3), "test": (3, 2)}  # in line widths, so that they differ in grey, too


def parser():
    result = cli.parser(__doc__)
    result.add_argument("--table", type=Path, required=True, metavar="CSV", help="estimates at each K of all seeds")
    result.add_argument("--summary", type=Path, required=True, metavar="JSON", help="estimates over all seeds")
    result.add_argument("--bracket", type=Path, nargs="?", metavar="JSON", help="bracket of one seed (default: none)")
    result.add_argument("--output", type=Path, required=True, metavar="PNG", help="figure to write, with a PDF beside")
    return result


def main(options):
    from genlab.report import brackets, plotting

    table = plotting.read_table(options.table, NUMBERS, ["split"])
    for column, least in (("images", 1), ("samples", 1), ("k", 1), ("standard_error", 0), ("gain_standard_error", 0)):
        if (smallest := table[column].min()) < least:
            raise InputError(
                f"{options.table}: column {column!r} holds {smallest:g}; expected {least} or more; {files.REMAKE}"
            )
    summary = read_summary(options.summary)
    for split, numbers in summary["splits"].items():
        rows = table[(table["split"] == split) & (table["samples"] == summary["k"]) & (table["k"] == summary["k"])]
        at_k = rows["log_likelihood"].mean()
        if not abs(at_k - numbers["log_likelihood.mean"]) < 0.01:
            raise InputError(
                f"{options.table}: the mean 'log_likelihood' of {split} at k = {summary['k']} is {at_k:.3f}, but "
                f"{options.summary} has {numbers['log_likelihood.mean']:.3f}; "
                "give the table and the summary of one evaluation"
            )
    bracket = None
    if options.bracket and (test := summary["splits"].get("test")):
        bracket = brackets.read_bracket(options.bracket, summary["k"], test["log_likelihood.mean"])
    plotting.save_figure(draw(table, summary, bracket), options.output)


def read_summary(path):
    """What the figure shows of the summary: model, data, k, and splits with their numbers."""

    content = files.read_json(path)
    fields = ("elbo.mean", "log_likelihood.mean")
    found = content.get("splits") if isinstance(content, dict) else None
    splits = [split for split in ("valid", "test") if isinstance(found, dict) and split in found]
    if not splits:
        raise InputError(f"{path}: no 'splits' with 'valid' or 'test'; {files.REMAKE}")
    return {
        "model": files.read_field(content, "model", str, path),
        "data": files.read_field(content, "data.title", str, path),
        "k": files.read_field(content, "k", int, path),
        "splits": {
            split: {field: files.read_field(content, f"splits.{split}.{field}", float, path) for field in fields}
            for split in splits
        },
    }


def draw(table, summary, bracket=None):
    """The figure of the table, of what `read_summary` returns, and of what `brackets.read_bracket` returns."""
    from genlab.report import plotting

    figure = plotting.new_figure(8.5, 5.0)
    axes = figure.subplots()
    seeds = table["seed"].nunique()
    for split, numbers in summary["splits"].items():
        look = plotting.SPLITS[split]
        rows = table[(table["split"] == split) & (table["samples"] == summary["k"])]
        mean = rows.groupby("k")[["log_likelihood", "standard_error"]].mean()
        line, error = mean["log_likelihood"], mean["standard_error"]
        axes.fill_between(mean.index, line - error, line + error, color=look["color"], alpha=0.15, linewidth=0)
        value = plotting.signed(numbers["log_likelihood.mean"])
        axes.plot(line, **look | {"label": f"{look['label']}: {value} at K = {summary['k']}"})
        if seeds > 1:
            for _, one in rows.sort_values("k").groupby("seed"):
                axes.plot(one["k"], one["log_likelihood"], color=look["color"], linewidth=0.7, linestyle="-", alpha=0.6)
        axes.axhline(
            numbers["elbo.mean"],
            color=look["color"],
            dashes=ELBO_DASHES[split],
            linewidth=1.3,
            label=f"{look['label']} ELBO: {plotting.signed(numbers['elbo.mean'])}",
        )
        beyond = table[(table["split"] == split) & (table["samples"] > summary["k"]) & (table["k"] >= summary["k"])]
        if len(beyond):
            mean = beyond.groupby("k")[["images", "gain", "gain_standard_error"]].mean()
            line, last = numbers["log_likelihood.mean"] + mean["gain"], mean.iloc[-1]
            label = f"{look['label']}: {last['gain']:+.2f} at K = {last.name}, {last['images']:.0f} images"
            beyond_look = look | {"label": label, "linestyle": ":", "markerfacecolor": "white"}
            axes.plot(line, **beyond_look, markevery=slice(1, None))
            axes.errorbar(
                line.index, line, mean["gain_standard_error"], fmt="none", ecolor=look["color"], capsize=3, zorder=1
            )
    if bracket:
        look = plotting.SPLITS["test"]
        value, error = bracket["log_likelihood"], bracket["gain_error"]
        axes.axhspan(value - error, value + error, color=look["color"], alpha=0.15, linewidth=0)
        label = f"{look['label']} by annealing: {plotting.signed(value)}, {bracket['images']} images"
        axes.axhline(value, color=look["color"], linewidth=2.0, label=label)
        if "gap" in bracket:
            label = f"bounds {bracket['gap']:.2f} apart, {bracket['simulated']} images drawn"
            place = 1.4 * table["k"].max()  # beside the last estimates
            axes.plot(
                [place] * 2, [value, value + bracket["gap"]], color="black", linestyle="-", linewidth=4, label=label
            )
    axes.axvline(summary["k"], color="0.3", linestyle=":", linewidth=1.3, zorder=1)
    axes.text(summary["k"], 1.01, f"K = {summary['k']}", transform=axes.get_xaxis_transform(), ha="center", color="0.3")
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.set_xlabel("K, importance samples per image (log scale)")
    axes.set_ylabel(r"estimate of $\log\,p(x)$, nats per image")
    # Above the axes and the mark of K, where it covers nothing.
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1.08), borderaxespad=0, ncols=2, frameon=False)
    title = f"{summary['model']}: log-likelihood by importance sampling"
    plotting.describe(figure, title, summary["data"])
    return figure


if __name__ == "__main__":
    cli.run(main, parser())
