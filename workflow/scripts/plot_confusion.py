"""Draw the confusion matrix of the feature classifier on the test images.

Reads the JSON that evaluate_classifier.py writes. A row is a true class and a column the class that the
classifier chose. Numbers count images, shades are shares of the row. Many classes have no numbers, and some no name.

example:
  python workflow/scripts/plot_confusion.py --evaluation accuracy.json --output confusion.png
"""

from pathlib import Path

from genlab import InputError, cli, files

FEW = 20  # classes whose cells have room for numbers


def parser():
    result = cli.parser(__doc__)
    result.add_argument(
        "--evaluation", type=Path, required=True, metavar="JSON", help="output of evaluate_classifier.py"
    )
    result.add_argument("--output", type=Path, required=True, metavar="PNG", help="figure to write, with a PDF beside")
    return result


def main(options):
    from genlab.report import plotting

    plotting.check_output(options.output)
    plotting.save_figure(draw(*read_evaluation(options.evaluation)), options.output)


def read_evaluation(path):
    """What the figure shows: confusion matrix int64 (C, C), interval (low, high), classifier's name, `data`."""
    import numpy as np
    from genlab.data import arrays

    content = files.read_json(path)
    files.read_field(content, "data.title", str, path)
    classes = len(arrays.class_names(content["data"]))
    source = files.read_field(content, "classifier.source", str, path)
    try:
        split = content["splits"]["test"]
        confusion = np.array(split["confusion"])
        low, high = (float(bound) for bound in split["interval"])
        sound = (
            confusion.shape == (classes, classes)
            and confusion.dtype == np.int64
            and confusion.min() >= 0 < confusion.max()
            and low - 1e-9 <= np.trace(confusion) / confusion.sum() <= high + 1e-9
        )
    except (KeyError, TypeError, ValueError):
        sound = False
    if not sound:
        raise InputError(
            f"{path}: 'splits.test' holds no {classes} x {classes} matrix of counts with the interval of "
            f"their accuracy; {files.REMAKE}"
        )
    return confusion, (low, high), source, content["data"]


def draw(confusion, interval, source, data):
    """The figure of what `read_evaluation` returns."""
    import numpy as np
    from genlab.data import arrays
    from genlab.report import plotting

    what = arrays.class_word(data)
    total, correct = int(confusion.sum()), int(np.trace(confusion))
    shares = confusion / np.maximum(confusion.sum(axis=1, keepdims=True), 1)
    figure = plotting.new_figure(7.5, 6.5)
    axes = figure.subplots()
    # One hue from light to dark, so that it also works in grey.
    picture = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for (row, column), count in np.ndenumerate(confusion):
        if count and len(confusion) <= FEW:
            colour = "white" if shares[row, column] > 0.55 else "black"
            axes.text(column, row, f"{count:,}", ha="center", va="center", color=colour, size=10)
    axes.grid(False)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    plotting.class_ticks(axes.xaxis, arrays.class_names(data))
    plotting.class_ticks(axes.yaxis, arrays.class_names(data))
    axes.set_xlabel(f"{what} that the classifier chooses")
    axes.set_ylabel(f"true {what}")
    figure.colorbar(picture, ax=axes, label=f"share of the images of the true {what}", fraction=0.046)
    low, high = interval
    title = f"Feature classifier ({source}): {correct:,} of {total:,} test images right, {correct / total:.2%}"
    plotting.describe(figure, f"{title} (95% interval {low:.2%} to {high:.2%})", data["title"])
    return figure


if __name__ == "__main__":
    cli.run(main, parser())
