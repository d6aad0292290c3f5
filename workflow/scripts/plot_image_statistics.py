"""Compare the samples of several models with real images: sharpness, spectrum, diversity, classes.

Reads what evaluate_samples.py writes, one JSON and one CSV for each model, in the same order.
All must be measured on as many samples and against the same test images.

example:
  python workflow/scripts/plot_image_statistics.py --statistics vae/statistics.json gan/statistics.json \\
      --spectra vae/spectrum.csv gan/spectrum.csv --output image_statistics.png
"""

from pathlib import Path

from genlab import InputError, cli, files

LABELS = {  # short; in the order of the rows
    "sharpness": "sharpness",
    "high_frequency_power": "power above\n0.25 cycles/pixel",
    "pixel_distance": "pixel distance,\nall pairs",
    "feature_distance": "feature distance,\nall pairs",
    "feature_nearest": "feature distance,\nnearest",
}
FEW = 6  # most models whose names fit into the panels; else one legend below has them
SPECTRUM = ("frequency", "samples", "samples_error", "test", "train")


def parser():
    result = cli.parser(__doc__)
    result.add_argument("--statistics", type=Path, nargs="+", required=True, metavar="JSON", help="one for each model")
    result.add_argument("--spectra", type=Path, nargs="+", required=True, metavar="CSV", help="in the same order")
    result.add_argument("--output", type=Path, required=True, metavar="PNG", help="figure to write, with a PDF beside")
    return result


def main(options):
    if len(options.statistics) != len(options.spectra):
        raise InputError(
            f"{len(options.statistics)} files for --statistics but {len(options.spectra)} for --spectra; "
            "give one of each for every model, in the same order"
        )
    from genlab.report import plotting

    models = [read_statistics(path) for path in options.statistics]
    first = models[0]
    for path, model in zip(options.statistics, models, strict=True):
        for key in ("data", "images"):
            if model[key] != first[key]:
                raise InputError(
                    f"{path}: its {key} is {model[key]}, but {first[key]} in {options.statistics[0]}; "
                    "give models that were measured on one data set, as many images of each"
                )
    names = [model["model"] for model in models]
    if len(set(names)) < len(names):
        raise InputError(f"--statistics: the models are {', '.join(names)}; give each once")
    spectra = [read_spectrum(path) for path in options.spectra]
    plotting.save_figure(draw(models, spectra), options.output)


def read_statistics(path):
    """What the figure shows of a JSON file: model, data, images, draws, and the statistics of each set of images.

    A statistic is (value, error). The error is the standard error over images or, for training images, the
    standard deviation over sets.
    """
    from genlab.data import arrays

    content = files.read_json(path)

    def read(field, kind=float):
        return files.read_field(content, field, kind, path)

    result = {"model": read("model", str), "data": read("data.title", str)}
    result |= {"classes": arrays.class_names(content["data"]), "class_word": arrays.class_word(content["data"])}
    result |= {"images": read("images", int), "draws": read("draws", int)}
    for part in ("samples", "train", "test"):
        result[part] = {"class_divergence": read(f"{part}.class_divergence.value")}
        for name in LABELS:
            error = "sd" if part == "train" else "standard_error"
            median = name == "feature_nearest" and part != "train"  # has no standard error
            result[part][name] = read(f"{part}.{name}.value"), 0.0 if median else read(f"{part}.{name}.{error}")
            if part == "test" and not result[part][name][0] > 0:
                raise InputError(f"{path}: 'test.{name}.value' is not above 0; {files.REMAKE}")
        shares = content[part].get("class_shares")
        count = len(result["classes"])
        if not isinstance(shares, list) or len(shares) != count or not all(isinstance(x, (int, float)) for x in shares):
            raise InputError(f"{path}: '{part}.class_shares' is no list of {count} numbers; {files.REMAKE}")
        result[part]["class_shares"] = shares
    return result


def read_spectrum(path):
    """The table of a CSV file. Frequencies and powers of real images must be above 0, for logarithmic axes.

    Samples may have none, if they are all of one grey level: a gap in the curve.
    """
    from genlab.report import plotting

    table = plotting.read_table(path, SPECTRUM)
    for name in ("frequency", "test", "train"):
        if not (table[name] > 0).all():
            raise InputError(f"{path}: column {name!r} holds {table[name].min():g}; expected more than 0")
    return table.assign(samples=table["samples"].where(table["samples"] > 0))


def draw(models, spectra):
    """The figure of `models` and `spectra`, as `read_statistics` and `read_spectrum` give them."""
    from genlab.report import plotting

    more = max(0, len(models) - FEW)
    figure = plotting.new_figure(10.5, 8.6 + 0.4 * more)
    panels = figure.subplot_mosaic([["spectrum", "ratios"], ["classes", "classes"]], height_ratios=[1.25, 1])
    looks = list(plotting.model_looks([model["model"] for model in models]).values())
    draw_spectra(panels["spectrum"], models, spectra, looks)
    draw_ratios(panels["ratios"], models, looks)
    draw_classes(panels["classes"], models, looks)
    first = models[0]
    plotting.describe(
        figure,
        f"{first['images']:,} samples beside as many real images: spectrum, sharpness, diversity, classes",
        first["data"],
    )
    return figure


def draw_spectra(axes, models, spectra, looks):
    """Mean power against frequency, on logarithmic axes, with real images in black."""
    real = spectra[0]
    axes.plot(real["frequency"], real["test"], color="black", linestyle="-", linewidth=2.5, label="real, test")
    axes.plot(real["frequency"], real["train"], color="0.6", linestyle="--", label="real, training")
    for model, table, look in zip(models, spectra, looks, strict=True):
        line = axes.errorbar(table["frequency"], table["samples"], table["samples_error"], linewidth=1.3, **look)
        line.set_label(model["model"])
    axes.set_xscale("log")
    axes.set_yscale("log")
    ticks = [1 / 32, 1 / 16, 1 / 8, 1 / 4, 1 / 2]
    axes.set_xticks(ticks, [f"1/{round(1 / tick)}" for tick in ticks])
    axes.set_xticks([], minor=True)
    axes.set_xlabel("frequency, cycles per pixel")
    axes.set_ylabel(r"power, grey levels$^2$ / (cycle/pixel)$^2$")
    axes.set_title("power spectrum", loc="left")
    shown = axes.get_legend_handles_labels()[0]
    axes.legend(handles=shown if len(models) <= FEW else shown[:2], loc="lower left")


def draw_ratios(axes, models, looks):
    """Every statistic divided by that of the test images, one per row, with training images as a band."""
    rows = list(LABELS)
    for row, name in enumerate(rows):
        value, error = ratio(models[0]["train"], models[0]["test"], name, shared=True)
        axes.fill_betweenx([row - 0.42, row + 0.42], value - error, value + error, color="0.8", linewidth=0)
        axes.plot([value, value], [row - 0.42, row + 0.42], color="0.6", linestyle="--", linewidth=1.2)
    for number, (model, look) in enumerate(zip(models, looks, strict=True)):
        values, errors = zip(*(ratio(model["samples"], model["test"], name) for name in rows), strict=True)
        offset = 0.6 * ((number + 0.5) / len(models) - 0.5)
        axes.errorbar(values, [row + offset for row in range(len(rows))], xerr=errors, **look | {"linestyle": ""})
    axes.axvline(1, color="black", linewidth=1.5, zorder=1)
    axes.set_yticks(range(len(rows)), LABELS.values())
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_xlim(left=-0.03)  # no marker at 0 is cut
    axes.grid(visible=False, axis="y")
    axes.set_xlabel("ratio to real test images")
    axes.set_title("relative to real images (grey: training)", loc="left")


def ratio(part, test, name, shared=False):
    """Value and error of a statistic relative to the test images. shared: leave out the error of the test images."""
    (value, error), (reference, reference_error) = part[name], test[name]
    own = error / reference
    return value / reference, own if shared else (own**2 + (value * reference_error / reference**2) ** 2) ** 0.5


def draw_classes(axes, models, looks):
    """Shares of the classes: real test images as bars, the models as markers."""
    from genlab.report import plotting
    from matplotlib.lines import Line2D

    names = models[0]["classes"]
    places = range(len(names))
    top = max(share for part in ("samples", "test") for model in models for share in model[part]["class_shares"])
    axes.bar(places, models[0]["test"]["class_shares"], width=0.9, color="0.85", edgecolor="black", label="real, test")
    for number, (model, look) in enumerate(zip(models, looks, strict=True)):
        offset = 0.7 * ((number + 0.5) / len(models) - 0.5)
        shares = model["samples"]["class_shares"]
        axes.errorbar(
            [place + offset for place in places],
            shares,
            [(share * (1 - share) / model["images"]) ** 0.5 for share in shares],
            label=f"{model['model']}: divergence {model['samples']['class_divergence']:.4f}",
            **look | {"linestyle": ""},
        )
    plotting.class_ticks(axes.xaxis, names)
    axes.grid(visible=False, axis="x")
    axes.set_xlabel(f"{models[0]['class_word']} that the classifier sees")
    axes.set_ylabel("share of images")
    axes.set_title("classes", loc="left")
    if len(models) <= FEW:
        axes.set_ylim(0, 1.4 * top)
        axes.legend(loc="upper right", ncols=3)
        return
    (bars, *_), labels = axes.get_legend_handles_labels()
    lines = [Line2D([], [], label=label, **look) for label, look in zip(labels[1:], looks, strict=True)]
    axes.legend(
        handles=[bars, *lines],
        loc="upper left",
        bbox_to_anchor=(0, 0),
        borderaxespad=4.5,  # clear of the digits and their label
        ncols=plotting.legend_columns(labels, 9.5),
    )


if __name__ == "__main__":
    cli.run(main, parser())
