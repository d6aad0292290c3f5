"""Draw the FID of several models beside the real-data FID, that of real training images.

Reads what summarise_fid.py writes, one JSON for each model, all scored alike. Every model has a row:
its seeds as points, their mean and standard deviation, and its ratio to the real-data FID. A dashed line
marks the real-data FID, a band the range of its draws.

example:
  python workflow/scripts/plot_fid.py --scores fid_vae.json fid_gan.json --output fid.png
"""

from pathlib import Path

from genlab import InputError, cli, files

# What all models must have in common.
COMMON = ("data", "samples", "reference", "images of the real-data FID", "features")


def parser():
    result = cli.parser(__doc__)
    result.add_argument("--scores", type=Path, nargs="+", required=True, metavar="JSON", help="one for each model")
    result.add_argument("--output", type=Path, required=True, metavar="PNG", help="figure to write, with a PDF beside")
    return result


def main(options):
    from genlab.report import plotting

    plotting.check_output(options.output)
    models = [read_score(path) for path in options.scores]
    first = models[0]
    for path, model in zip(options.scores, models, strict=True):
        for key in COMMON:
            if model[key] != first[key]:
                raise InputError(
                    f"{path}: its {key} is {model[key]}, but {first[key]} in {options.scores[0]}; "
                    "give models that were scored alike"
                )
    names = [model["model"] for model in models]
    if len(set(names)) < len(names):
        raise InputError(f"--scores: the models are {', '.join(names)}; give each once")
    plotting.save_figure(draw(models), options.output)


def read_score(path):
    """What the figure shows of a summary: the fields `COMMON`, model, fid and floor (mean, sd and values each)."""

    content = files.read_json(path)

    def read(field, kind):
        return files.read_field(content, field, kind, path)

    def spread(name):
        mean = read(f"{name}.mean", float)
        files.check_fields(path, content, {f"{name}/values": [files.NUMBER]})
        values = content[name]["values"]
        if min(values) < 0:
            raise InputError(f"{path}: '{name}.values' holds {min(values):g}, less than 0; {files.REMAKE}")
        return {"mean": mean, "sd": read(f"{name}.sd", float) if len(values) > 1 else 0.0, "values": values}

    result = {"model": read("model", str), "data": read("data.title", str), "samples": read("samples", int)}
    size, file = read("reference.images", int), read("reference.file", str)
    split = "test " if content["reference"].get("split") == "test" else ""
    floor = spread("floor") if content.get("floor") else None
    return result | {
        "reference": f"{size:,} real {split}images ({file})",
        "features": read("features.sha256", str),
        "fid": spread("fid"),
        "floor": floor,
        "images of the real-data FID": read("floor.images", int) if floor else 0,
    }


def draw(models):
    """The figure of the models, as `read_score` returns them, the first on top."""
    from genlab.report import plotting
    from genlab.report.typeset import number, plus_minus
    from matplotlib.ticker import LogLocator, NullLocator

    first = models[0]
    figure = plotting.new_figure(8.5, 1.6 + 0.55 * len(models))
    axes = figure.subplots()
    shown = [value for model in models for part in ("fid", "floor") if model[part] for value in model[part]["values"]]
    logarithmic = max(shown) > 10 * min(shown) > 0
    if logarithmic:
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter("{x:,g}")
        axes.xaxis.set_minor_locator(NullLocator())
    # Models scored with the same seeds share the same draws.
    draws = {value for model in models if model["floor"] for value in model["floor"]["values"]}
    if draws:
        floor = sum(draws) / len(draws)
        label = f"real-data FID, of {first['images of the real-data FID']:,} training images: {number(floor)}"
        axes.axvspan(min(draws), max(draws), color="0.87", linewidth=0, zorder=1)
        axes.axvline(floor, color="0.3", linestyle="--", zorder=1.5, label=label)
    looks = plotting.model_looks([model["model"] for model in models])
    for row, model in enumerate(models):
        fid, look = model["fid"], looks[model["model"]] | {"linestyle": ""}
        axes.errorbar(fid["mean"], row, xerr=fid["sd"] or None, markersize=9, capsize=5, zorder=3, **look)
        if len(fid["values"]) > 1:
            seeds = fid["values"]
            axes.plot(seeds, [row + 0.25] * len(seeds), color="black", marker=".", linestyle="", markersize=6)
        text = plus_minus(fid["mean"], fid["sd"])
        if model["floor"] and model["floor"]["mean"] > 0:
            text += f"  ({fid['mean'] / model['floor']['mean']:.2f} \N{MULTIPLICATION SIGN} real-data FID)"
        axes.annotate(text, (1.02, row), xycoords=("axes fraction", "data"), va="center")
    axes.set_yticks(range(len(models)), [model["model"] for model in models])
    axes.set_ylim(len(models) - 0.5, -0.5)
    axes.grid(axis="y", visible=False)
    axes.set_xlabel(f"FID, lower is better{' (log scale)' if logarithmic else ''}")
    if logarithmic:
        axes.set_xlim(min(shown) / 1.5, max(shown) * 1.5)
    else:
        axes.set_xlim(0, 1.08 * max(shown))
    if draws:
        # Above the axes, where it covers no point.
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1.0), borderaxespad=0.2, frameon=False)
    plotting.describe(figure, f"FID of {first['samples']:,} samples to {first['reference']}", first["data"])
    return figure


if __name__ == "__main__":
    cli.run(main, parser())
