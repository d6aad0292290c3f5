import json

import numpy as np
import pandas as pd
import plot_digits
import plot_ladder
import plot_learning_curves
import plot_log_likelihood
import pytest
from genlab import InputError
from genlab.report import brackets, plotting
from matplotlib.collections import PolyCollection
from PIL import Image
from stage import run_here, run_stage, run_without_torch

TITLE = "embedded stand-in for Binarized MNIST"
ABOUT = {"title": TITLE, "source": "embedded"}


def history(epochs=24, shift=0.0):
    """A learning curve as train_binary_vae.py writes it: first epochs far below, best before the end."""
    epoch = np.arange(1, epochs + 1)
    columns = {"epoch": epoch, "step": 100 * epoch, "learning_rate": 1e-3, "kl_weight": 1.0}
    for split, last in (("train", -86.0), ("valid", -89.0 + shift)):
        elbo = last - 60 * np.exp(-(epoch - 1.0)) - 0.02 * np.abs(epoch - 0.75 * epochs)
        kl = 25 - 5 * np.exp(-epoch / 3)
        columns |= {f"{split}_elbo": elbo, f"{split}_reconstruction": elbo + kl, f"{split}_kl": kl}
    return pd.DataFrame(columns | {"images_per_second": 900.0, "seconds": 60.0 * epoch})


def training(best_epoch, seed=1, **changes):
    return {"data": ABOUT, "best_epoch": best_epoch, "model": "vae", "seed": seed} | changes


def estimate(mean, values):
    return {"mean": mean, "sd": None, "values": values, "standard_error": 0.3}


def likelihoods(seeds=(1,)):
    """(table, summary) over seeds; a seed's curve is 0.2 * seed higher, its standard error 0.1 * seed.

    Beyond K = 200, 20 images of another level gain 0.1 * seed at 1000 and 0.2 * seed at 5000.
    """
    rows, splits = [], {}
    for split, level in (("valid", -88.0), ("test", -87.5)):
        for seed in seeds:
            base = level + 0.2 * seed
            rows += [
                (seed, split, 1234, 200, k, base + np.log10(k), 0.1 * seed, np.log10(k / 200), 0.01)
                for k in (1, 10, 100, 200)
            ]
            rows += [
                (seed, split, 20, 5000, k, -50.0, 9.0, gain * seed, 0.3 * abs(gain) * seed)
                for k, gain in ((10, -0.5), (200, 0.0), (1000, 0.1), (5000, 0.2))
            ]
        values = [level + 0.2 * seed + np.log10(200) for seed in seeds]
        splits[split] = {
            "images": 1234,
            "elbo": estimate(level - 1, [level - 1]),
            "log_likelihood": estimate(float(np.mean(values)), values),
            "effective_sample_size": {"mean": 9.0, "median": 6.1, "min": 1.0},
        }
    table = pd.DataFrame(rows, columns=["seed", "split", *plot_log_likelihood.NUMBERS[1:]])
    return table, {"data": ABOUT, "model": "vae", "seeds": list(seeds), "k": 200, "splits": splits}


def digits(**changes):
    rng = np.random.default_rng(1)
    arrays = {
        "originals": rng.integers(0, 2, (6, 28, 28), np.uint8),
        "reconstructions": rng.random((6, 28, 28), np.float32),
        "samples": rng.random((5, 28, 28), np.float32),
        "about": np.array(json.dumps({"data": ABOUT, "model": "vae", "seed": 1})),
    }
    return {name: array for name, array in (arrays | changes).items() if array is not None}


@pytest.fixture
def inputs(tmp_path):
    """A folder with sound inputs of all plot stages; the arguments of each stage, outputs in folder `out`."""
    out = tmp_path / "out"
    for seed in (1, 2):
        history(shift=0.1 * seed).to_csv(tmp_path / f"history{seed}.csv", index=False)
        (tmp_path / f"training{seed}.json").write_text(json.dumps(training(18, seed)))
    table, summary = likelihoods((1, 2))
    table.to_csv(tmp_path / "table.csv", index=False)
    (tmp_path / "summary.json").write_text(json.dumps(summary))
    np.savez(tmp_path / "digits.npz", **digits())
    arguments = {
        "plot_learning_curves": [
            *("--history", tmp_path / "history1.csv", tmp_path / "history2.csv"),
            *("--training", tmp_path / "training1.json", tmp_path / "training2.json"),
            *("--output", out / "curves.png"),
        ],
        "plot_log_likelihood": [
            *("--table", tmp_path / "table.csv", "--summary", tmp_path / "summary.json"),
            *("--output", out / "likelihood.png"),
        ],
        "plot_digits": [
            *("--images", tmp_path / "digits.npz", "--columns", 4),
            *("--output", out / "pairs.png", out / "samples.png"),
        ],
    }
    return tmp_path, arguments


def test_stages_write_png_and_pdf_without_torch_and_the_same_bytes_anywhere(inputs, monkeypatch):
    folder, arguments = inputs
    for stage, words in arguments.items():
        result = run_stage(stage, *words)
        assert (result.returncode, result.stderr) == (0, "")
    files = {}
    for file in (folder / "out").iterdir():
        files[file.name] = file.read_bytes()
        file.unlink()
    names = ("curves", "likelihood", "pairs", "samples")
    assert sorted(files) == sorted(f"{name}.{suffix}" for name in names for suffix in ("png", "pdf"))

    # All again in one process that a user has set up in another way; torch must never be imported.
    (folder / "matplotlibrc").write_text("font.size: 30\naxes.facecolor: red\nsavefig.dpi: 50\nbackend: svg\n")
    for variable, value in (("MATPLOTLIBRC", folder), ("PYTHONHASHSEED", 7), ("TZ", "Asia/Tokyo")):
        monkeypatch.setenv(variable, str(value))
    run_without_torch(arguments)
    assert {file.name: file.read_bytes() for file in (folder / "out").iterdir()} == files

    for name in names:
        image = Image.open(folder / "out" / f"{name}.png")
        assert image.width > 1000 and image.info["dpi"][0] == pytest.approx(200, abs=0.1)


@pytest.mark.parametrize(
    ("stage", "file", "content", "message"),
    [
        ("plot_learning_curves", "history2.csv", "epoch,train_elbo\n1,-90\n", "history2.csv: no column 'train_recon"),
        ("plot_digits", "digits.npz", "no NPZ", "digits.npz: not an NPZ file of the arrays originals"),
        ("plot_log_likelihood", "table.csv", None, "table.csv: No such file or directory"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(inputs, stage, file, content, message):
    folder, arguments = inputs
    (folder / file).write_text(content) if content else (folder / file).unlink()
    result = run_stage(stage, *arguments[stage])
    assert result.returncode == 2
    assert result.stderr.startswith(f"{stage}.py: error: ") and result.stderr.count("\n") == 1
    assert message in result.stderr
    assert not (folder / "out").exists()


def refused(inputs, module, message):
    folder, arguments = inputs
    with pytest.raises(InputError, match=message):
        run_here(module, *arguments[module.__name__])
    assert not (folder / "out").exists()


# Learning curves


def legend(axes):
    return [text.get_text() for text in axes.get_legend().get_texts()]


@pytest.fixture
def curves():
    return plot_learning_curves.draw([(history(), 18)], "vae", TITLE)


def test_the_title_of_learning_curves_names_model_and_data(curves):
    (title,) = (text.get_text() for text in curves.texts)
    assert TITLE in title and "vae" in title


def test_learning_curves_show_the_numbers(curves):
    table = history()
    for axes, term in zip(curves.axes, ("elbo", "reconstruction", "kl"), strict=True):
        for line, split in zip(axes.lines, ("train", "valid"), strict=False):
            np.testing.assert_array_equal(line.get_xydata(), table[["epoch", f"{split}_{term}"]])
            assert line.get_color() == plotting.SPLITS[split]["color"]


def test_a_star_marks_the_best_epoch(curves):
    star = curves.axes[0].lines[2]
    assert star.get_marker() == "*"
    np.testing.assert_allclose(star.get_xydata(), [[18, history()["valid_elbo"][17]]])
    assert legend(curves.axes[0]) == ["training", "validation", "best: \N{MINUS SIGN}89.00 nats, epoch 18"]


def test_the_first_epochs_are_cut(curves):
    low, high = curves.axes[0].get_ylim()
    table = history()
    later = table.loc[4:, ["train_elbo", "valid_elbo"]].to_numpy()
    assert table["valid_elbo"][0] < low < later.min() and later.max() < high < 0
    assert high - low < 1.2 * np.ptp(later)


def test_short_training_is_shown_whole():
    for epochs in (1, 5):
        table = history(epochs)
        figure = plot_learning_curves.draw([(table, 1)], "vae", TITLE)
        low, high = figure.axes[0].get_ylim()
        values = table[["train_elbo", "valid_elbo"]].to_numpy()
        assert low < values.min() and values.max() < high


def test_best_epoch_is_seen_even_if_it_is_the_first():
    table = history()
    table.loc[0, "valid_elbo"] = -50.0
    figure = plot_learning_curves.draw([(table, 1)], "vae", TITLE)
    low, high = figure.axes[0].get_ylim()
    assert low < -50 < high


@pytest.fixture
def of_two_seeds():
    (axes, *_) = plot_learning_curves.draw([(history(), 18), (history(shift=0.5), 17)], "vae", TITLE).axes
    return axes


def test_seeds_share_colours(of_two_seeds):
    lines = of_two_seeds.lines
    assert len(lines) == 6
    assert len({line.get_color() for line in lines}) == 3
    assert {line.get_linewidth() for line in lines if line.get_marker() != "*"} == {1.0}


def test_seeds_share_a_legend(of_two_seeds):  # and the best epoch of each stands there
    assert legend(of_two_seeds)[:2] == ["training", "validation"] and len(legend(of_two_seeds)) == 4


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("history1.csv", "", r"history1\.csv: not a CSV table"),
        ("history1.csv", history().assign(valid_kl=np.nan).to_csv(), r"history1\.csv: column 'valid_kl' holds ''"),
        ("history1.csv", pd.concat([history()] * 2).to_csv(), "column 'epoch' does not rise"),
        ("training2.json", json.dumps(training(99)), r"training2\.json: 'best_epoch' is 99"),
        ("training2.json", json.dumps(training(None)), r"training2\.json: 'best_epoch' is missing"),
        ("training2.json", json.dumps(training(18, model="other")), r"training2\.json: other on .* is vae on"),
        ("training1.json", json.dumps(training(18, data={"title": "MNIST"})), "one model on one data set"),
        ("training1.json", json.dumps(training(18, data={})), r"training1\.json: 'data\.title' is missing"),
        ("training1.json", "[]", r"training1\.json: 'best_epoch' is missing"),
    ],
)
def test_learning_curves_refuse(inputs, file, content, message):
    (inputs[0] / file).write_text(content)
    refused(inputs, plot_learning_curves, message)


def test_learning_curves_want_one_training_for_each_history(inputs):
    inputs[1]["plot_learning_curves"].remove(inputs[0] / "training2.json")
    refused(inputs, plot_learning_curves, "2 files for --history but 1 for --training")


# Digits


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"samples": None}, r"digits\.npz: not an NPZ file of the arrays originals, .*it has no array 'samples'"),
        (
            {"originals": np.zeros((6, 784), np.uint8)},
            r"'originals' is uint8 \(6, 784\); expected numbers \(N, 28, 28\)",
        ),
        ({"samples": np.zeros((0, 28, 28))}, r"'samples' is float64 \(0, 28, 28\)"),
        ({"samples": np.full((2, 28, 28), "a")}, "'samples' is <U1"),
        (
            {"originals": np.full((6, 28, 28), 255, np.uint8)},
            r"'originals' holds values in \[255, 255\]; expected \[0, 1\]",
        ),
        ({"reconstructions": np.full((6, 28, 28), np.nan, np.float32)}, "'reconstructions' holds numbers that are not"),
        (
            {"reconstructions": np.zeros((5, 28, 28), np.float32)},
            r"'reconstructions' is float32 \(5, 28, 28\); expected numbers \(6, 28, 28\)",
        ),
        ({"about": np.array("no JSON")}, r"digits\.npz: 'about' is not JSON"),
        ({"about": np.array('{"model": "vae", "seed": 1}')}, r"digits\.npz about: 'data\.title' is missing"),
    ],
)
def test_digits_refuse(inputs, changes, message):
    np.savez(inputs[0] / "digits.npz", **digits(**changes))
    refused(inputs, plot_digits, message)


def test_digits_refuse_a_name_before_writing_anything(inputs):
    inputs[1]["plot_digits"][-1] = inputs[0] / "out" / "samples.jpg"
    refused(inputs, plot_digits, r"samples\.jpg: a figure is written as PNG")


def test_digits_are_drawn_in_ink_with_labels_and_title(inputs, monkeypatch):
    figures = {}
    monkeypatch.setattr(plotting, "save_figure", lambda figure, path: figures.update({path.stem: figure}))
    run_here(plot_digits, *inputs[1]["plot_digits"])
    arrays = digits()
    for name, stacks in (("pairs", ["originals", "reconstructions"]), ("samples", ["samples"])):
        (axes,) = figures[name].axes
        white = [1 - arrays[stack].astype(np.float32) for stack in stacks]
        expected, _ = plotting.mosaic(white if len(white) > 1 else white[0], 4)
        np.testing.assert_allclose(axes.images[0].get_array(), expected, atol=1e-6)
        assert TITLE in figures[name].texts[0].get_text()
    labels = [label.get_text() for label in figures["pairs"].axes[0].get_yticklabels()]
    assert labels == ["original", "reconstruction"] * 2


# Log-likelihood


@pytest.fixture
def likelihood_axes(inputs):
    table, _ = likelihoods((1, 2))
    figure = plot_log_likelihood.draw(table, plot_log_likelihood.read_summary(inputs[0] / "summary.json"))
    (axes,) = figure.axes
    return axes


@pytest.fixture
def lines(likelihood_axes):
    """{label: line} of the figure of log-likelihoods."""
    return {line.get_label(): line for line in likelihood_axes.lines}


def bracket(k=200):
    shortfall = {"mean": 1.25, "standard_error": 0.5}
    curve = [{"k": 1, "shortfall": {"mean": 9.0, "standard_error": 9.0}}, {"k": k, "shortfall": shortfall}]
    simulated = {"images": 7, "gap": {"mean": 0.1, "standard_error": 0.02}}
    return {"sets": {"test": {"images": 30, "posterior": {"curve": curve}}, "simulated": simulated}}


def test_a_bracket_is_a_line_at_the_annealed_value(inputs):
    path = inputs[0] / "bracket.json"
    path.write_text(json.dumps(bracket()))
    table, summary = likelihoods((1, 2))
    read = plot_log_likelihood.read_summary(inputs[0] / "summary.json")
    at_k = summary["splits"]["test"]["log_likelihood"]["mean"]
    figure, value = plot_log_likelihood.draw(table, read, brackets.read_bracket(path, 200, at_k)), at_k + 1.25
    (line,) = (line for line in figure.axes[0].lines if "annealing" in line.get_label())
    assert list(line.get_ydata()) == pytest.approx([value, value])
    assert line.get_label() == f"test by annealing: \u2212{-value:.2f}, 30 images"
    (bar,) = (line for line in figure.axes[0].lines if "bounds" in line.get_label())
    assert list(bar.get_ydata()) == pytest.approx([value, value + 0.1]) and list(bar.get_xdata()) == [7000, 7000]
    assert bar.get_label() == "bounds 0.10 apart, 7 images drawn"
    arguments = [*inputs[1]["plot_log_likelihood"], "--bracket", path]
    run_here(plot_log_likelihood, *arguments)
    alone = bracket()
    del alone["sets"]["simulated"]
    path.write_text(json.dumps(alone))
    assert "gap" not in (found := brackets.read_bracket(path, 200, at_k)) and found["gain"] == 1.25
    path.write_text(json.dumps(bracket(100)))
    with pytest.raises(InputError, match="no comparison with K = 200"):
        brackets.read_bracket(path, 200, at_k)


each_split = pytest.mark.parametrize(
    ("number", "split", "name", "level"), [(0, "valid", "validation", -88.0), (1, "test", "test", -87.5)]
)
K = np.array([1, 10, 100, 200])


def test_log_likelihood_is_drawn_in_nats_over_k_on_a_logarithmic_axis(likelihood_axes):
    axes = likelihood_axes
    assert axes.get_xscale() == "log" and "K" in axes.get_xlabel() and "nats" in axes.get_ylabel()


@each_split
def test_a_curve_is_the_mean_over_the_seeds(lines, number, split, name, level):
    line = lines[f"{name}: {plotting.signed(level + 0.3 + np.log10(200))} at K = 200"]
    np.testing.assert_allclose(line.get_xydata(), np.stack([K, level + 0.3 + np.log10(K)], 1))
    assert line.get_color() == plotting.SPLITS[split]["color"]


@each_split
def test_a_band_shows_the_standard_error_of_the_curve(likelihood_axes, number, split, name, level):
    bands = [band for band in likelihood_axes.collections if isinstance(band, PolyCollection)]
    corners = bands[number].get_paths()[0].vertices
    for x, y in zip(K, level + 0.3 + np.log10(K), strict=True):
        at_k = corners[corners[:, 0] == x, 1]
        np.testing.assert_allclose([at_k.min(), at_k.max()], [y - 0.15, y + 0.15])


@each_split
def test_a_dashed_line_shows_the_elbo(lines, number, split, name, level):
    elbo = lines[f"{name} ELBO: {plotting.signed(level - 1)}"]
    np.testing.assert_allclose(elbo.get_ydata(), [level - 1] * 2)
    assert elbo.is_dashed()


@each_split
def test_samples_beyond_k_go_on_from_the_curve_with_the_errors_of_their_gains(
    likelihood_axes, lines, number, split, name, level
):
    beyond = lines[f"{name}: +0.30 at K = 5000, 20 images"]
    at_k = level + 0.3 + np.log10(200)
    np.testing.assert_allclose(beyond.get_xydata(), [[200, at_k], [1000, at_k + 0.15], [5000, at_k + 0.3]])
    assert beyond.get_markerfacecolor() == "white" and beyond.get_color() == plotting.SPLITS[split]["color"]
    errors = likelihood_axes.containers[number].lines[2][0].get_segments()
    np.testing.assert_allclose(np.ptp(errors[2], 0), [0, 2 * 0.3 * 0.3])


def test_k_is_marked(likelihood_axes):
    assert any(list(line.get_xdata()) == [200, 200] for line in likelihood_axes.lines)
    assert [text.get_text() for text in likelihood_axes.texts] == ["K = 200"]


def test_the_title_of_log_likelihood_names_the_data(likelihood_axes):
    (title,) = (text.get_text().replace("\n", " ") for text in likelihood_axes.figure.texts)
    assert TITLE in title


def test_log_likelihood_without_samples_beyond_k_says_nothing_of_them(inputs):
    table, _ = likelihoods((1, 2))
    summary = plot_log_likelihood.read_summary(inputs[0] / "summary.json")
    figure = plot_log_likelihood.draw(table[table["samples"] == 200], summary)
    assert len(legend(figure.axes[0])) == 4


def without(summary, split, *fields):
    """`summary` as JSON text, with the innermost field removed."""
    summary = json.loads(json.dumps(summary))
    place = summary["splits"][split]
    for field in fields[:-1]:
        place = place[field]
    del place[fields[-1]]
    return json.dumps(summary)


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        (
            "table.csv",
            ",".join(["split", *plot_log_likelihood.NUMBERS]),
            r"table\.csv: the table has a header and no rows",
        ),
        ("table.csv", likelihoods()[0].drop(columns="k").to_csv(), r"table\.csv: no column 'k' among"),
        ("table.csv", likelihoods()[0].assign(k=0).to_csv(), "column 'k' holds 0; expected 1 or more"),
        ("table.csv", likelihoods()[0].assign(standard_error=-1).to_csv(), "column 'standard_error' holds -1"),
        ("table.csv", likelihoods()[0].assign(split="test").to_csv(), "of valid at k = 200 is nan"),
        ("table.csv", likelihoods([3])[0].to_csv(), "give the table and the summary of one evaluation"),
        ("summary.json", "{", r"summary\.json: not a JSON file"),
        ("summary.json", "{}", r"summary\.json: no 'splits' with 'valid' or 'test'"),
        ("summary.json", without(likelihoods()[1], "test", "elbo", "mean"), r"'splits\.test\.elbo\.mean' is missing"),
        (
            "summary.json",
            without(likelihoods()[1], "valid", "log_likelihood", "mean"),
            r"'splits\.valid\.log_likelihood\.mean' is missing",
        ),
    ],
)
def test_log_likelihood_refuses(inputs, file, content, message):
    (inputs[0] / file).write_text(content)
    refused(inputs, plot_log_likelihood, message)


# The ladder of binary VAEs


def rung(model, level, seeds=(1,), k=200):
    def estimates(mean):
        return {"mean": mean, "sd": 0.5 if len(seeds) > 1 else None, "standard_error": 0.25}

    test = {"elbo": estimates(level - 4), "log_likelihood": estimates(level)}
    return {"model": model, "k": k, "seeds": list(seeds), "data": ABOUT, "splits": {"test": test}}


@pytest.fixture
def ladder(tmp_path):
    """The arguments of plot_ladder for two models and their brackets, by name."""
    for name, content in (
        ("a", rung("a", -90.0)), ("b", rung("b", -80.0)), ("other", rung("b", -80.0, k=100)),
        ("bracket", bracket()), ("no_bracket", {"sets": {}}),
    ):  # fmt: skip
        (tmp_path / f"{name}.json").write_text(json.dumps(content))

    def arguments(*summaries, brackets=()):
        words = ["--summaries", *(tmp_path / f"{name}.json" for name in summaries)]
        words += ["--brackets", *(tmp_path / f"{name}.json" for name in brackets)] if brackets else []
        return [*words, "--output", tmp_path / "out" / "ladder.png"]

    return arguments


def test_the_ladder_is_drawn_with_a_pdf_beside(ladder):
    run_here(plot_ladder, *ladder("a", "b", brackets=("bracket", "bracket")))
    assert {path.name for path in ladder("a")[-1].parent.iterdir()} == {"ladder.png", "ladder.pdf"}


def test_a_rung_has_its_values_and_errors():
    one, several = rung("a", -90.0), rung("b", -80.0, seeds=(1, 2))
    assert plot_ladder.rows(one) == [("elbo", -94.0, 0.25), ("log_likelihood", -90.0, 0.25)]
    assert plot_ladder.rows(several)[1] == ("log_likelihood", -80.0, 0.5)
    assert plot_ladder.rows(one, {"log_likelihood": -88.5, "gain_error": 0.1})[2] == ("annealed", -88.5, 0.1)
    figure = plot_ladder.draw(
        [one, several], [{"log_likelihood": value, "gain_error": 0.1} for value in (-88.5, -78.5)]
    )
    (axes,) = figure.axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["a", "b"]
    assert axes.get_ylim()[0] > axes.get_ylim()[1]  # the first on top
    drawn = [tuple(container.lines[0].get_xydata()[0]) for container in axes.containers]
    assert drawn == [(-94.0, 0), (-90.0, 0), (-88.5, 0), (-84.0, 1), (-80.0, 1), (-78.5, 1)]
    assert [text.get_text() for text in axes.texts] == ["\u221288.50", "\u221278.50"]


@pytest.mark.parametrize(
    ("summaries", "brackets", "message"),
    [
        (("a", "other"), (), "other.json: K = 100 on embedded stand-in .* has K = 200 on embedded"),
        (("a", "b"), ("bracket",), "--brackets: 1 for 2 summaries; give one for each"),
        (("a", "b"), ("bracket", "no_bracket"), "no_bracket.json: 'sets.*' is missing"),
        (("a", "bracket"), (), "bracket.json: 'model' is missing"),
    ],
)
def test_what_is_no_ladder_is_refused(ladder, summaries, brackets, message):
    with pytest.raises(InputError, match=message):
        run_here(plot_ladder, *ladder(*summaries, brackets=brackets))
    assert not ladder("a")[-1].parent.exists()
