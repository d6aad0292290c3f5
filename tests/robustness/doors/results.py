"""Numbers that one stage writes and another reads: JSON and CSV files, and arrays for figures."""

import functools
import json

import numpy as np
from robustness.inputs import load
from robustness.runner import Case, Door
from robustness.spoil import beside, edits, npz, replaces, writes


def copied(name, to, **changed):
    """The sound JSON file under another name, too, with some values changed there."""

    def change(folder):
        (folder / to).write_bytes(load(folder, name).read_bytes())
        edits_of(folder / to, changed)

    return change


def edits_of(path, changed):
    content = json.loads(path.read_text())
    path.write_text(json.dumps(content | changed))


def scores():
    gather = functools.partial(Case, command="summarise_fid --scores score.json --output fid.txt")
    several = functools.partial(Case, command="summarise_fid --scores score.json second.json --output fid.txt")
    draw = functools.partial(Case, command="plot_fid --scores fid.json --output figure.png")
    return Door(
        "Scores (JSON)",
        "`summarise_fid` gathers what `score_fid` wrote of each seed, `plot_fid` draws it.",
        [
            gather("a file that is not there", says="No such file",
                   command="summarise_fid --scores gone.json --output fid.txt"),
            gather("an empty file", says="score.json: not a JSON file", prepare=writes("score.json", b"")),
            gather("text", says="not a JSON file", prepare=writes("score.json", "FID 12.5\n")),
            gather("JSON cut off", says="not a JSON file", prepare=writes("score.json", '{"fid": 12.')),
            gather("JSON in UTF-16", says="not a JSON file",
                   prepare=writes("score.json", '{"fid": 1}'.encode("utf-16"))),
            gather("JSON after a byte-order mark", says="not a JSON file",
                   prepare=writes("score.json", b"\xef\xbb\xbf{}")),
            gather("JSON nested a hundred thousand deep", says="not a JSON file",
                   prepare=writes("score.json", "[" * 100_000)),
            gather("a number of five thousand digits", says="not a JSON file",
                   prepare=writes("score.json", f'{{"fid": {"9" * 5000}}}')),
            gather("a list instead of an object", says="'model' is missing", prepare=writes("score.json", "[]")),
            gather("a value that is missing", says="'fid' is missing", prepare=edits("score.json", fid=None)),
            gather("text instead of a number", says="'fid' is \"12\"", prepare=edits("score.json", fid="12")),
            gather("a truth value instead of a number", says="'fid' is true", prepare=edits("score.json", fid=True)),
            gather("NaN instead of a number", says="NaN is no finite number",
                   prepare=edits("score.json", fid=float("nan"))),
            gather("infinity among the draws", says="Infinity is no finite number",
                   prepare=edits("score.json", floor__values=[1.0, float("inf")])),
            gather("no draws in the real-data FID", says="floor/values", prepare=edits("score.json", floor__values=[])),
            gather("text among the draws", says="floor/values", prepare=edits("score.json", floor__values=["a"])),
            several("one seed twice", says="the seeds are 1, 1", prepare=copied("score.json", "second.json")),
            several("scores of two models", says="its model differs",
                    prepare=copied("score.json", "second.json", model="vae")),
            several("scores of unequal numbers of samples", says="its samples differs",
                    prepare=copied("score.json", "second.json", samples=9)),
            gather("an output that does not end in .txt", says="ends in .txt",
                   command="summarise_fid --scores score.json --output fid"),
            gather("a score without training images", code=0, says="real data unknown", prepare=no_floor),
            draw("the score of one seed instead of the summary", says="'fid.mean' is missing",
                 command="plot_fid --scores score.json --output figure.png"),
            draw("one model twice", says="give each once",
                 command="plot_fid --scores fid.json fid.json --output figure.png"),
            draw("a negative FID", says="less than 0", prepare=edits("fid.json", fid__values=[-3.0])),
            draw("NaN for the mean", says="NaN is no finite number", prepare=edits("fid.json", fid__mean=float("nan"))),
            draw("infinity among the values", says="Infinity is no finite number",
                 prepare=edits("fid.json", fid__values=[float("inf")])),
            draw("truth values among the values", says="'fid/values' is [true]",
                 prepare=edits("fid.json", fid__values=[True])),
            draw("text where the reference should be", says="'reference.images' is missing",
                 prepare=edits("fid.json", reference="svhn")),
            draw("a figure that does not end in .png", says="ends in .png",
                 command="plot_fid --scores fid.json --output figure.svg"),
            draw("a model's name of nothing", code=0, says="", prepare=edits("fid.json", model="")),
        ],
    )  # fmt: skip


def no_floor(folder):
    edits_of(load(folder, "score.json"), {"floor": None, "ratio": None})


def tables():
    compare = functools.partial(Case, command="compare --metrics metrics/metrics.json --output compared")
    summary = functools.partial(Case, command="plot_summary --summary compared/summary.csv --output figure.png")
    training = (
        "plot_gan_training --history history.csv --training training.json --frames frames.npz --output a.png b.png"
    )
    history = functools.partial(Case, command=training)
    likelihood = functools.partial(
        Case, command="summarise_likelihood --estimates likelihood.json --curves likelihood.csv --output vae.txt"
    )
    statistics = functools.partial(
        Case,
        command="plot_image_statistics --statistics statistics/statistics.json --spectra statistics/spectrum.csv "
        "--output figure.png",
    )
    confusion = functools.partial(Case, command="plot_confusion --evaluation accuracy.json --output figure.png")
    digits = functools.partial(Case, command="plot_digits --images digits.npz --output a.png b.png")
    nearest = functools.partial(
        Case,
        command="plot_nearest --nearest metrics/nearest.npz --test metrics/nearest.npz --data svhn.npz "
        "--output figure.png",
    )
    path, csv, epochs = "metrics/metrics.json", "compared/summary.csv", "history.csv"
    nan, inf = float("nan"), float("inf")
    return Door(
        "Tables and figures (CSV, JSON, `.npz`)",
        "A stage that compares or draws reads only numbers. Each must be there, and finite.",
        [
            compare("nothing to compare", says="give --metrics or --likelihoods", command="compare --output compared"),
            compare("a score instead of metrics", says="'subject' is missing",
                    command="compare --metrics score.json --output compared"),
            compare("a list instead of an object", says="is missing", prepare=beside("metrics", writes(path, "[]"))),
            compare("one file twice", says="was given before",
                    command="compare --metrics metrics/metrics.json metrics/metrics.json --output compared"),
            compare("text for a metric", says="'metrics/fid/value' is \"low\"",
                    prepare=edits(path, metrics__fid__value="low")),
            compare("NaN for a metric", says="NaN is no finite number", prepare=edits(path, metrics__fid__value=nan)),
            compare("a metric without its interval", says="'metrics/fid/low' is missing",
                    prepare=edits(path, metrics__fid__low=None)),
            summary("an empty table", says="not a CSV table", prepare=beside("compared", writes(csv, b""))),
            summary("text instead of a table", says="no column",
                    prepare=beside("compared", writes(csv, "FID 12.5\n"))),
            summary("bytes that are no text", says="not a CSV table",
                    prepare=beside("compared", writes(csv, b"\xff\xfe\x00a"))),
            summary("a column that is missing", says="no column 'low'", prepare=replaces(csv, ",low,", ",lowest,")),
            history("no row", says="no rows", prepare=beside(epochs, writes(epochs, HEADER))),
            history("an empty cell", says="holds '' in data row 1", prepare=replaces(epochs, "1,3,2,", "1,,2,")),
            history("text instead of a number", says="holds 'three'",
                    prepare=replaces(epochs, "1,3,2,", "1,three,2,")),
            history("NaN instead of a number", says="holds 'nan'", prepare=replaces(epochs, "1,3,2,", "1,nan,2,")),
            history("infinity instead of a number", says="holds 'inf'",
                    prepare=replaces(epochs, "1,3,2,", "1,inf,2,")),
            history("epochs that do not rise", says="does not rise", prepare=replaces(epochs, "2,4,3", "1,4,3")),
            history("two histories and one training", says="give one of each",
                    command=training.replace("history.csv", "history.csv history.csv")),
            history("frames of another model", says="give the frames of the same training",
                    prepare=beside(epochs, other_model)),
            history("NaN in the frames' epochs", says="not finite",
                    prepare=beside(epochs, npz("frames.npz", epochs=np.array([1, nan])))),
            likelihood("a split that is missing", says="likelihood.json",
                       prepare=edits("likelihood.json", splits__test__elbo=None)),
            likelihood("NaN for an ELBO", says="NaN is no finite number",
                       prepare=edits("likelihood.json", splits__test__elbo__mean=nan)),
            likelihood("a table without rows", says="has no rows",
                       prepare=beside("likelihood.json", writes("likelihood.csv", "split,k\n"))),
            likelihood("a row that is too long", says="another length",
                       prepare=beside("likelihood.json", writes("likelihood.csv", "split,k\na,1,2\n"))),
            statistics("infinity for a statistic", says="Infinity is no finite number",
                       prepare=edits("statistics/statistics.json", samples__sharpness__value=inf)),
            statistics("shares of nine classes", says="no list of 10 numbers",
                       prepare=edits("statistics/statistics.json", test__class_shares=[0.1] * 9)),
            statistics("a spectrum of zeros", says="expected more than 0", prepare=beside("statistics", zero_spectrum)),
            confusion("a matrix of 9 x 9", says="10 x 10",
                      prepare=edits("accuracy.json", splits__test__confusion=[[1] * 9] * 9)),
            confusion("counts that are no whole numbers", says="10 x 10",
                      prepare=edits("accuracy.json", splits__test__confusion=[[0.5] * 10] * 10)),
            confusion("no images at all", says="10 x 10",
                      prepare=edits("accuracy.json", splits__test__confusion=[[0] * 10] * 10)),
            digits("pixels beyond 1", says="expected [0, 1]", prepare=npz("digits.npz", samples=lambda x: x + 1)),
            digits("NaN among the pixels", says="not finite", prepare=npz("digits.npz", samples=lambda x: x * nan)),
            digits("no images", says="digits.npz", prepare=npz("digits.npz", samples=lambda x: x[:0])),
            digits("two outputs of one name", says="--output",
                   command="plot_digits --images digits.npz --output a.png a.png"),
            nearest("rows that the data do not have", says="holds no rows of the training images",
                    prepare=beside("metrics", npz_in("metrics/nearest.npz", rows=lambda rows: rows + 10**6))),
        ],
    )  # fmt: skip


HEADER = "epoch,train_critic_estimate,valid_critic_estimate,train_gradient_norm,train_critic_loss,valid_fid\n"


def other_model(folder):
    edits_of(folder / "training.json", {"model": "other"})


def zero_spectrum(folder):
    path = folder / "statistics" / "spectrum.csv"
    head, _, *rest = path.read_text().splitlines()
    path.write_text("\n".join([head, ",".join(["0.0"] * len(head.split(","))), *rest]) + "\n")


def npz_in(name, **changed):
    """A sound NPZ file inside a folder, with some arrays changed."""

    def change(folder):
        path = folder / name
        with np.load(path) as content:
            arrays = dict(content)
        np.savez(path, **arrays | {key: function(arrays[key]) for key, function in changed.items()})

    return change


DOORS = [scores(), tables()]
