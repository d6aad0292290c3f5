import json
from pathlib import Path

import numpy as np
import pandas as pd
import plot_gan_training
import plot_image_statistics
import plot_samples
import pytest
from genlab import InputError
from genlab.data import arrays, images
from genlab.report import plotting
from matplotlib.backends.backend_agg import FigureCanvasAgg
from PIL import Image
from stage import run_here, run_stage, run_without_torch

TITLE = "embedded stand-in for SVHN"
ABOUT = {"dataset": "SVHN", "source": "embedded", "title": TITLE}


def noise(count, seed):
    return np.random.default_rng(seed).integers(0, 256, (count, 3, 32, 32), np.uint8)


def statistics(model="vae", factor=0.5, **changes):
    """What evaluate_samples.py writes, as far as it is drawn: samples have `factor` times the test's measures."""
    shares = [0.19, 0.15, 0.11, 0.09, 0.11, 0.08, 0.07, 0.07, 0.06, 0.07]
    result = {"model": model, "data": ABOUT, "images": 100, "draws": 4}
    for part, scale, error in (
        ("samples", factor, "standard_error"),
        ("test", 1.0, "standard_error"),
        ("train", 1.1, "sd"),
    ):
        result[part] = {
            name: {"value": scale * level, error: 0.02 * level}
            for level, name in enumerate(plot_image_statistics.LABELS, start=5)
        }
        result[part]["class_divergence"] = {"value": 0.004 * abs(scale - 1)}
        result[part]["class_shares"] = shares if part == "test" else shares[::-1]
    del result["samples"]["feature_nearest"]["standard_error"], result["test"]["feature_nearest"]["standard_error"]
    return result | changes


def spectrum(factor=0.5):
    f = np.arange(1, 17) / 32
    test = 100 / f**2
    table = {"frequency": f, "samples": factor * test, "samples_error": 0.01 * test, "test": test, "train": 1.1 * test}
    return pd.DataFrame(table)


def history(shift=0.0):
    """The epochs of train_gan.py; the Frechet distance is measured every third epoch and at the last."""
    epoch = np.arange(1, 9)
    fid = np.where((epoch % 3 == 0) | (epoch == 8), 50 - epoch, np.nan)
    columns = {"train_critic_estimate": 9 - epoch, "valid_critic_estimate": 8 - epoch, "train_gradient_norm": 1 + shift}
    return pd.DataFrame({"epoch": epoch, "train_critic_loss": epoch - 9.0, "valid_fid": fid + shift} | columns)


def training(**changes):
    return {"model": "gan", "data": ABOUT, "settings": {"monitor_samples": 321}} | changes


def write_frames(path, **changes):
    frames = noise(3 * 6, 1).reshape(3, 6, 3, 32, 32)
    about = json.dumps({"model": "gan", "seed": 7, "data": ABOUT})
    np.savez(path, **({"frames": frames, "epochs": np.array([1, 2, 8]), "about": np.array(about)} | changes))
    return frames


@pytest.fixture
def inputs(tmp_path):
    """A folder with sound inputs of all plot stages; the arguments of each stage, outputs in folder `out`."""
    out = tmp_path / "out"
    for seed, model in enumerate(("vae", "gan")):
        images.write_directory(tmp_path / model, noise(7, seed))
        (tmp_path / f"{model}.json").write_text(json.dumps(statistics(model, 0.5 + seed)))
        spectrum(0.5 + seed).to_csv(tmp_path / f"{model}.csv", index=False)
        history(0.1 * seed).to_csv(tmp_path / f"history{seed}.csv", index=False)
        (tmp_path / f"training{seed}.json").write_text(json.dumps(training()))
    fields = {}
    for split in ("train", "valid", "test"):
        fields |= {f"{split}_images": noise(9, 5), f"{split}_labels": np.zeros(9, np.uint8)}
    arrays.write(tmp_path / "svhn.npz", ABOUT, **fields)
    write_frames(tmp_path / "frames.npz")
    arguments = {
        "plot_samples": [
            *("--samples", tmp_path / "vae", tmp_path / "gan", "--names", "VAE", "WGAN-GP"),
            *("--data", tmp_path / "svhn.npz", "--columns", 3, "--rows", 2, "--output", out / "samples.png"),
        ],
        "plot_image_statistics": [
            *("--statistics", tmp_path / "vae.json", tmp_path / "gan.json"),
            *("--spectra", tmp_path / "vae.csv", tmp_path / "gan.csv", "--output", out / "statistics.png"),
        ],
        "plot_gan_training": [
            *("--history", tmp_path / "history0.csv", tmp_path / "history1.csv"),
            *("--training", tmp_path / "training0.json", tmp_path / "training1.json"),
            *("--frames", tmp_path / "frames.npz", "--columns", 4),
            *("--output", out / "training.png", out / "frames.png"),
        ],
    }
    return tmp_path, arguments


def refused(inputs, module, message):
    folder, arguments = inputs
    with pytest.raises(InputError, match=message):
        run_here(module, *arguments[module.__name__])
    assert not (folder / "out").exists()


def captured(inputs, module, monkeypatch):
    """The figures that the stage would write, by the stem of their names."""
    figures = {}
    monkeypatch.setattr(plotting, "save_figure", lambda figure, path: figures.update({path.stem: figure}))
    run_here(module, *inputs[1][module.__name__])
    return figures


def words(figure):
    """The title of a figure, without line breaks and unbreakable spaces; no caption stands in the picture."""
    (title,) = figure.texts
    return title.get_text().replace("\n", " ").replace("\N{NO-BREAK SPACE}", " ")


def test_stages_write_png_and_pdf_without_torch_and_the_same_bytes_again(inputs):
    folder, arguments = inputs
    for stage, words in arguments.items():
        result = run_stage(stage, *words)
        assert (result.returncode, result.stderr) == (0, "")
    files = {}
    for file in (folder / "out").iterdir():
        files[file.name] = file.read_bytes()
        file.unlink()
    names = ("samples", "statistics", "training", "frames")
    assert sorted(files) == sorted(f"{name}.{suffix}" for name in names for suffix in ("png", "pdf"))
    run_without_torch(arguments)
    assert {file.name: file.read_bytes() for file in (folder / "out").iterdir()} == files
    for name in names:
        assert Image.open(folder / "out" / f"{name}.png").width > 1000


@pytest.mark.parametrize(
    ("stage", "file", "message"),
    [
        ("plot_samples", "svhn.npz", "svhn.npz: not a prepared file of colour images"),
        ("plot_image_statistics", "gan.csv", "gan.csv: "),
        ("plot_gan_training", "frames.npz", "frames.npz: not an NPZ file of the arrays frames, epochs"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(inputs, stage, file, message):
    folder, arguments = inputs
    (folder / file).write_text("neither NPZ nor table")
    result = run_stage(stage, *arguments[stage])
    assert result.returncode == 2
    assert result.stderr.startswith(f"{stage}.py: error: ") and result.stderr.count("\n") == 1
    assert message in result.stderr
    assert not (folder / "out").exists()


@pytest.mark.parametrize(
    ("module", "word", "message"),
    [
        (plot_samples, "WGAN-GP", "2 folders for --samples but 1 for --names"),
        (plot_image_statistics, "gan.csv", "2 files for --statistics but 1 for --spectra"),
        (plot_gan_training, "training1.json", "2 files for --history but 1 for --training"),
    ],
)
def test_lists_that_belong_together_must_be_of_one_length(inputs, module, word, message):
    words = inputs[1][module.__name__]
    inputs[1][module.__name__] = [each for each in words if not str(each).endswith(word)]
    refused(inputs, module, message)


@pytest.mark.parametrize(
    ("name", "message"),
    [("VAE", "VAE VAE; give each once"), ("real test images", "is the name of the images beside them; give another")],
)
def test_each_sheet_has_a_name_of_its_own(inputs, name, message):
    words = inputs[1]["plot_samples"]
    inputs[1]["plot_samples"] = [name if word == "WGAN-GP" else word for word in words]
    process = run_stage("plot_samples", *inputs[1]["plot_samples"])
    assert process.returncode == 2 and message in process.stderr


@pytest.mark.parametrize("module", [plot_samples, plot_image_statistics, plot_gan_training])
def test_a_figure_must_be_named_png(inputs, module):
    words = inputs[1][module.__name__]
    words[-1] = words[-1].with_suffix(".jpg")
    refused(inputs, module, r"\.jpg: a figure is written as PNG")


# Samples


@pytest.fixture
def samples_figure(inputs, monkeypatch):
    (figure,) = captured(inputs, plot_samples, monkeypatch).values()
    return figure


def test_each_grid_has_its_name(samples_figure):
    assert [axes.get_title(loc="left") for axes in samples_figure.axes] == ["VAE", "WGAN-GP", "real test images"]


def test_samples_are_the_first(samples_figure):
    for seed, axes in enumerate(samples_figure.axes[:2]):
        expected, _ = plotting.mosaic(noise(7, seed)[:6].transpose(0, 2, 3, 1), 3)
        np.testing.assert_allclose(axes.images[0].get_array(), expected, atol=1e-6)


def test_real_images_stand_beside_samples_each_once(samples_figure):
    real = {image.tobytes() for image in noise(9, 5).transpose(0, 2, 3, 1)}
    grid = np.asarray(samples_figure.axes[2].images[0].get_array())
    cells = [grid[1 + 33 * i : 33 + 33 * i, 1 + 33 * j : 33 + 33 * j] for i in range(2) for j in range(3)]
    shown = {np.rint(255 * cell).astype(np.uint8).tobytes() for cell in cells}
    assert len(shown) == 6 and shown <= real


def test_the_title_of_samples_names_models_and_data(samples_figure):
    title = words(samples_figure)
    assert title.startswith("VAE and WGAN-GP: samples") and TITLE in title


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_panels_do_not_touch_and_pixels_stay_square(count):
    panels = {f"model {number}": noise(12, number).transpose(0, 2, 3, 1) for number in range(count)}
    figure = plot_samples.draw(panels, 4)
    pixels = figure.get_size_inches() * plotting.DPI
    places = []
    for axes in figure.axes:
        box = axes.get_position()
        height, width = axes.images[0].get_array().shape[:2]
        scale = np.array([box.width, box.height]) * pixels / (width, height)
        assert scale[0] == pytest.approx(scale[1]) and scale[0] == pytest.approx(round(scale[0]))
        assert box.x0 >= -1e-9 and box.x1 <= 1 + 1e-9 and box.y0 >= -1e-9 and box.y1 < 1
        places.append(box)
    for number, one in enumerate(places):
        for other in places[:number]:
            assert one.x0 > other.x1 or one.y1 < other.y0


def test_every_grid_holds_as_many_images_as_the_smallest_set(inputs, monkeypatch):
    inputs[1]["plot_samples"] += ["--rows", 4]
    (figure,) = captured(inputs, plot_samples, monkeypatch).values()
    for axes in figure.axes:
        grid = np.asarray(axes.images[0].get_array())
        assert grid.shape[0] == 3 * 33 + 1  # 7 images in rows of 3
        assert (grid[67:99, 34:66] == 1).all()  # the eighth place is white


def test_samples_refuse_a_folder_without_images(inputs):
    for file in (inputs[0] / "gan" / "samples").iterdir():
        file.unlink()
    refused(inputs, plot_samples, r"gan.*: the folder is empty")


# Statistics


@pytest.fixture
def statistics_figure(inputs, monkeypatch):
    (figure,) = captured(inputs, plot_image_statistics, monkeypatch).values()
    return figure


def test_samples_of_one_grey_level_have_no_spectrum_to_draw(inputs, tmp_path, monkeypatch):
    spectrum(0).to_csv(tmp_path / "vae.csv", index=False)
    (figure,) = captured(inputs, plot_image_statistics, monkeypatch).values()
    assert np.isnan(figure.axes[0].containers[0][0].get_ydata().astype(float)).all()


def test_spectra_of_samples_stand_beside_those_of_real_images(statistics_figure):
    axes, table = statistics_figure.axes[0], spectrum()
    lines = {line.get_label(): line for line in axes.lines}
    np.testing.assert_allclose(lines["real, test"].get_xydata(), table[["frequency", "test"]])
    np.testing.assert_allclose(lines["real, training"].get_ydata(), table["train"])
    for bars, factor in zip(axes.containers, (0.5, 1.5), strict=True):
        np.testing.assert_allclose(bars[0].get_xydata()[:, 1], factor * table["test"])


def test_spectra_are_told_apart_by_a_legend(statistics_figure):
    axes = statistics_figure.axes[0]
    lines = {line.get_label(): line for line in axes.lines}
    assert lines["real, test"].get_color() == "black"
    assert lines["real, training"].is_dashed()
    legend = [text.get_text() for text in axes.get_legend().get_texts()]
    assert legend == ["real, test", "real, training", "vae", "gan"]


def test_spectra_stand_on_logarithmic_axes(statistics_figure):
    axes = statistics_figure.axes[0]
    assert axes.get_xscale() == axes.get_yscale() == "log"


def test_each_measure_is_drawn_as_its_ratio_to_that_of_test_images(statistics_figure):
    axes = statistics_figure.axes[1]
    assert [label.get_text() for label in axes.get_yticklabels()] == list(plot_image_statistics.LABELS.values())
    for bars, factor in zip(axes.containers, (0.5, 1.5), strict=True):
        np.testing.assert_allclose(bars[0].get_xydata()[:, 0], factor)


def test_a_band_shows_the_spread_of_training_images(statistics_figure):
    band = statistics_figure.axes[1].collections[0].get_paths()[0].vertices[:, 0]
    np.testing.assert_allclose([band.min(), band.max()], [1.08, 1.12])


def test_the_error_of_a_ratio_has_the_errors_of_both_sides(statistics_figure):
    # Errors of 2% of the test's value on both sides of the ratio: 0.02 sqrt(1 + 1.5^2) for the second model.
    low, high = statistics_figure.axes[1].containers[1][2][0].get_segments()[0][:, 0]
    assert (high - low) / 2 == pytest.approx(0.02 * np.sqrt(1 + 1.5**2))


def test_shares_of_the_digits_stand_beside_those_of_real_images(statistics_figure):
    axes, shares = statistics_figure.axes[2], statistics()["test"]["class_shares"]
    np.testing.assert_allclose([bar.get_height() for bar in axes.patches], shares)
    for line in (bars[0] for bars in axes.containers[1:]):
        digits, values = line.get_xydata().T
        np.testing.assert_array_equal(np.rint(digits), range(10))
        np.testing.assert_allclose(values, shares[::-1])


def test_the_legend_of_the_digits_gives_the_divergence(statistics_figure):
    texts = [text.get_text() for text in statistics_figure.axes[2].get_legend().get_texts()]
    assert "vae: divergence 0.0020" in texts


def test_the_title_of_statistics_names_the_data_and_the_number_of_samples(statistics_figure):
    title = words(statistics_figure)
    assert TITLE in title and title.startswith("100 samples beside as many real images")


@pytest.fixture(params=[6, 7, 40])
def names(request):
    return [f"m{n}" for n in range(request.param)]


@pytest.fixture
def many(inputs, monkeypatch, names):
    """The figure of many models."""
    paths = [inputs[0] / name for name in names]
    for n, path in enumerate(paths):
        Path(f"{path}.json").write_text(json.dumps(statistics(path.name, 0.5 + 0.1 * n)))
        spectrum(0.5 + 0.1 * n).to_csv(f"{path}.csv", index=False)
    inputs[1]["plot_image_statistics"] = [
        *("--statistics", *(f"{path}.json" for path in paths), "--spectra", *(f"{path}.csv" for path in paths)),
        *("--output", inputs[0] / "out" / "many.png"),
    ]
    (figure,) = captured(inputs, plot_image_statistics, monkeypatch).values()
    return figure


def test_models_look_different_whatever_their_number(many, names):
    bars = [bars[0] for bars in many.axes[0].containers]
    looks = [(bar.get_color(), bar.get_marker(), bar.get_linestyle()) for bar in bars]
    assert len(set(looks)) == len(names) and len(set(looks[:6])) == len({look[0] for look in looks[:6]}) == 6


def test_models_are_named_whatever_their_number(many, names):
    legend = many.axes[2].get_legend()
    assert [text.get_text().split(":")[0] for text in legend.get_texts()] == ["real, test", *names]


def test_legends_hide_nothing_whatever_their_size(many, names):
    spectra, _, classes = many.axes
    renderer = FigureCanvasAgg(many).get_renderer()
    many.draw(renderer)
    box, inside = (axes.get_legend().get_window_extent(renderer) for axes in (classes, spectra))
    bars = max(bar.get_window_extent(renderer).y1 for bar in classes.patches)
    assert box.y0 > bars if len(names) <= 6 else box.y1 < classes.xaxis.label.get_window_extent(renderer).y0
    assert box.x0 >= 0 and box.x1 <= many.bbox.x1 and classes.get_window_extent(renderer).height > 250
    assert inside.height < 0.6 * spectra.get_window_extent(renderer).height


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("gan.json", json.dumps(statistics("vae")), "the models are vae, vae; give each once"),
        ("gan.json", json.dumps(statistics("gan", images=50)), r"gan\.json: its images is 50, but 100 in .*vae\.json"),
        ("gan.json", json.dumps(statistics("gan", data={"title": "SVHN"})), r"gan\.json: its data is SVHN, but"),
        ("gan.json", json.dumps(statistics("gan", test={})), r"'test\.class_divergence\.value' is missing"),
        ("gan.json", "[]", r"gan\.json: 'model' is missing"),
        (
            "vae.json",
            json.dumps(statistics() | {"train": statistics()["train"] | {"class_shares": [1]}}),
            r"'train\.class_shares' is no list of 10 numbers",
        ),
        (
            "vae.json",
            json.dumps(statistics() | {"test": statistics(factor=0)["samples"]}),
            r"'test\.sharpness\.value' is not above 0",
        ),
        ("vae.csv", spectrum().drop(columns="train").to_csv(), r"vae\.csv: no column 'train'"),
        ("vae.csv", spectrum().assign(test=0).to_csv(), r"vae\.csv: column 'test' holds 0; expected more than 0"),
    ],
)
def test_statistics_refuse(inputs, file, content, message):
    (inputs[0] / file).write_text(content)
    refused(inputs, plot_image_statistics, message)


# Training of the GAN


@pytest.fixture
def training_figure(inputs, monkeypatch):
    return captured(inputs, plot_gan_training, monkeypatch)["training"]


@pytest.fixture
def panels(training_figure):
    """{title: axes} of the training's figure."""
    return {axes.get_title(loc="left"): axes for axes in training_figure.axes}


def test_the_critic_s_estimates_are_drawn_for_both_splits_and_seeds(panels):
    table = history()
    train, valid, *second = panels["critic's estimate"].lines
    np.testing.assert_array_equal(train.get_xydata(), table[["epoch", "train_critic_estimate"]])
    np.testing.assert_array_equal(valid.get_xydata(), table[["epoch", "valid_critic_estimate"]])
    assert (train.get_color(), valid.get_color()) == tuple(plotting.SPLITS[s]["color"] for s in ("train", "valid"))
    assert len(second) == 2


def test_the_distance_skips_epochs_without_one(panels):
    first, second, *_ = panels["Fréchet distance"].lines
    np.testing.assert_allclose(first.get_xydata(), [[3, 47], [6, 44], [8, 42]])
    np.testing.assert_allclose(second.get_ydata(), [47.1, 44.1, 42.1])


def test_the_label_of_the_distance_says_of_how_many_samples(panels):
    assert panels["Fréchet distance"].get_ylabel() == "FID of 321 samples\nto validation images"


def test_the_gradient_norm_stands_beside_its_aim(panels):
    norm, *_, aim = panels["gradient norm of the critic"].lines
    np.testing.assert_allclose(norm.get_ydata(), 1)
    np.testing.assert_array_equal(aim.get_ydata(), [1, 1])


def test_the_critic_s_loss_is_drawn(panels):
    np.testing.assert_allclose(panels["critic's loss"].lines[0].get_ydata(), history()["train_critic_loss"])


def test_the_title_of_a_training_names_model_and_data(training_figure):
    title = words(training_figure)
    assert title.startswith("gan: training") and TITLE in title


def test_frames_are_the_first_columns_with_a_row_for_each_epoch(inputs, monkeypatch):
    figure = captured(inputs, plot_gan_training, monkeypatch)["frames"]
    (axes,) = figure.axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["epoch 1", "epoch 2", "epoch 8"]
    frames = write_frames(inputs[0] / "frames.npz")
    expected, _ = plotting.mosaic(list(frames[:, :4].transpose(0, 1, 3, 4, 2)), 4)
    np.testing.assert_allclose(axes.images[0].get_array(), expected, atol=1e-6)
    title = words(figure)
    assert TITLE in title


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("history1.csv", history().assign(valid_fid="many").to_csv(), "column 'valid_fid' holds 'many' in data row 1"),
        ("history1.csv", history().assign(valid_fid="inf").to_csv(), "column 'valid_fid' holds 'inf'"),
        ("history1.csv", history().drop(columns="valid_fid").to_csv(), "no column 'valid_fid'"),
        ("history0.csv", history().assign(train_critic_loss=np.nan).to_csv(), "'train_critic_loss' holds ''"),
        ("history0.csv", pd.concat([history()] * 2).to_csv(), "column 'epoch' does not rise"),
        ("training1.json", json.dumps(training(model="other")), r"training1\.json: .*other.* in .*training0\.json"),
        ("training0.json", json.dumps(training(settings={})), r"'settings\.monitor_samples' is missing"),
    ],
)
def test_training_refuses(inputs, file, content, message):
    (inputs[0] / file).write_text(content)
    refused(inputs, plot_gan_training, message)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"frames": np.zeros((3, 6, 32, 32), np.uint8)}, r"'frames' is uint8 \(3, 6, 32, 32\)"),
        ({"frames": np.zeros((3, 6, 3, 32, 32))}, r"'frames' is float64"),
        ({"epochs": np.array([1, 2])}, r"'epochs' is int64 \(2,\)"),
        (
            {"about": np.array(json.dumps({"model": "other", "seed": 1, "data": ABOUT}))},
            r"frames\.npz: other on .* is gan on .*; give the frames of the same training",
        ),
    ],
)
def test_frames_refuse(inputs, changes, message):
    write_frames(inputs[0] / "frames.npz", **changes)
    refused(inputs, plot_gan_training, message)
