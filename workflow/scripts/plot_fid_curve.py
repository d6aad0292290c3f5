"""Draw the Frechet distance against the number of samples N, for every model and for real training images.

Reads what evaluate_features.py writes for each set, JSON and CSV in the same order. Open markers show the
extrapolation to infinitely many samples, where 1/N is 0.

example:
  python workflow/scripts/plot_fid_curve.py --metrics gan/metrics.json train/metrics.json \\
      --curves gan/fid_curve.csv train/fid_curve.csv --output fid_curve.png
"""

from pathlib import Path

from genlab import InputError, cli, files


def parser():
    result = cli.parser(__doc__)
    result.add_argument("--metrics", type=Path, nargs="+", required=True, metavar="JSON", help="one for each set")
    result.add_argument("--curves", type=Path, nargs="+", required=True, metavar="CSV", help="in the same order")
    result.add_argument("--output", type=Path, required=True, metavar="PNG", help="figure to write, with a PDF beside")
    return result


def main(options):
    from genlab.report import plotting

    if len(options.metrics) != len(options.curves):
        raise InputError(
            f"{len(options.metrics)} files for --metrics but {len(options.curves)} for --curves; give one of each"
        )
    sets = []
    for path, curve in zip(options.metrics, options.curves, strict=True):
        content = files.read_json(path)
        fields = {"subject": str, "set": str, "images": int, "data.title": str, "metrics.fid_infinity.value": float}
        one = {name: files.read_field(content, name, kind, path) for name, kind in fields.items()}
        one["curve"] = plotting.read_table(curve, ("n", "mean"))
        sets.append(one)
        for key in ("images", "data.title"):
            if one[key] != sets[0][key]:
                raise InputError(f"{path}: its {key} is {one[key]}, not {sets[0][key]} as in {options.metrics[0]}")
    plotting.save_figure(draw(sets), options.output)


def draw(sets):
    """The figure of `sets`, dicts with subject, set, images, data.title, metrics.fid_infinity.value and curve."""
    from genlab.report import plotting

    models = list(dict.fromkeys(one["subject"] for one in sets if one["set"] == "samples"))
    subjects = {one["subject"] for one in sets}
    columns = min(4, plotting.legend_columns(subjects, 8.0))
    figure = plotting.new_figure(9.0, 5.2 + 0.25 * ((len(subjects) - 1) // columns))
    axes = figure.subplots()
    looks = plotting.model_looks(models)
    labelled, ends = set(), []
    for one in sets:
        look = looks[one["subject"]] if one["set"] == "samples" else {"color": "0.3", "marker": "x", "linestyle": "--"}
        label = one["subject"] if one["subject"] not in labelled else None
        labelled.add(one["subject"])
        curve, level = one["curve"], one["metrics.fid_infinity.value"]
        axes.plot(curve["n"], curve["mean"], label=label, linewidth=1.4, **look)
        ends.append((level, look))
    right = 3 * max(one["curve"]["n"].max() for one in sets)
    for level, look in ends:
        axes.plot([right], [level], **look | {"linestyle": "", "markerfacecolor": "none", "markersize": 9})
    size = sets[0]["images"]
    axes.axvline(size, color="0.3", linestyle=":", linewidth=1.3, zorder=1)
    axes.text(size, 1.01, f"N = {size:,}", transform=axes.get_xaxis_transform(), ha="center", color="0.3")
    axes.text(right, 1.01, r"$N \to \infty$", transform=axes.get_xaxis_transform(), ha="center", color="0.3")
    axes.set_xscale("log")
    lowest = min(min(one["curve"]["mean"].min(), one["metrics.fid_infinity.value"]) for one in sets)
    axes.set_yscale("log") if lowest > 0 else axes.set_yscale("symlog", linthresh=10)
    axes.set_xticks(sorted({*sets[0]["curve"]["n"]}), [f"{n:,}" for n in sorted({*sets[0]["curve"]["n"]})])
    axes.minorticks_off()
    axes.yaxis.set_major_formatter("{x:,g}")
    axes.set_xlabel("N, samples (log scale)")
    axes.set_ylabel("FID (log scale)")
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1.08), borderaxespad=0, ncols=columns, frameon=False)
    plotting.describe(figure, "Fréchet distance against the number of samples", sets[0]["data.title"])
    return figure


if __name__ == "__main__":
    cli.run(main, parser())
