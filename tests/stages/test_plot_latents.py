"""plot_latents, plot_interpolation and plot_reconstructions: what they draw, and what they refuse."""

import json

import numpy as np
import pandas as pd
import plot_interpolation
import plot_latents
import plot_reconstructions
import pytest
from genlab import InputError
from genlab.measures import image_statistics
from genlab.report import plotting
from PIL import Image
from stage import run_here, run_stage, run_without_torch

TITLE = "embedded stand-in for SVHN"
L = 12
MODULES = {module.__name__: module for module in (plot_latents, plot_interpolation, plot_reconstructions)}


def about(**changes):
    real = {name: {"mean": 8.0, "standard_error": 0.5} for name in ("sharpness", "distance")} | {"images": 150}
    content = {
        "data": {"title": TITLE},
        "model": "gan",
        "seed": 1,
        "starts": 64,
        "pairs": 200,
        "real": real,
        "attributes": ["slant", "contrast"],
        "chance": 0.1,
    }
    return np.array(json.dumps(content | {"rmse": 12.34} | changes))


def pictures(*shape):
    return np.random.default_rng(1).integers(0, 256, (*shape, 3, 32, 32), np.uint8)


def latents(**changes):
    effect = np.random.default_rng(2).uniform(0, 20, L)
    arrays = {
        "base": pictures(), "plus": pictures(L), "minus": pictures(L)[::-1], "effect": effect,
        "mean_effect": effect + 1, "order": np.argsort(-effect), "epsilon": np.float64(2.5),
        "alphas": np.arange(11) / 10, "latent_path": pictures(11), "image_path": pictures(11)[::-1], "about": about(),
        "sphere_path": pictures(11), "correlation": np.tile([0.05, -0.25], (L, 1)),
    }  # fmt: skip
    return {name: array for name, array in (arrays | changes).items() if array is not None}


def table():
    columns = {"alpha": np.arange(11) / 10}
    for number, name in enumerate(f"{p}_{q}" for p in ("latent", "sphere", "image") for q in ("sharpness", "distance")):
        columns |= {name: 5 + number + np.arange(11) % 3, f"{name}_error": 0.25}
    return pd.DataFrame(columns)


def pairs(**changes):
    arrays = {"originals": pictures(6), "reconstructions": pictures(6)[::-1], "about": about(model="vae")}
    return {name: array for name, array in (arrays | changes).items() if array is not None}


@pytest.fixture
def inputs(tmp_path):
    """A folder with sound inputs; the arguments of each stage, outputs in folder `out`."""
    np.savez(tmp_path / "latents.npz", **latents())
    np.savez(tmp_path / "pairs.npz", **pairs())
    table().to_csv(tmp_path / "paths.csv", index=False)
    out = tmp_path / "out"
    arguments = {
        "plot_latents": ["--latents", tmp_path / "latents.npz", "--output", out / "latents.png"],
        "plot_interpolation": [
            *("--latents", tmp_path / "latents.npz", "--table", tmp_path / "paths.csv"),
            *("--output", out / "paths.png"),
        ],
        "plot_reconstructions": ["--images", tmp_path / "pairs.npz", "--output", out / "pairs.png", "--columns", 4],
    }
    return tmp_path, arguments


def test_stages_write_png_and_pdf_without_torch_and_the_same_bytes_again(inputs):
    folder, arguments = inputs
    made = []
    for _ in range(2):
        run_without_torch(arguments)
        made.append({file.name: file.read_bytes() for file in (folder / "out").iterdir()})
    names = ("latents", "paths", "pairs")
    assert sorted(made[0]) == sorted(f"{name}.{suffix}" for name in names for suffix in ("png", "pdf"))
    assert made[0] == made[1]
    for name in names:
        assert Image.open(folder / "out" / f"{name}.png").width > 1000


@pytest.mark.parametrize(
    ("stage", "file", "message"),
    [
        ("plot_latents", "latents.npz", "latents.npz: not an NPZ file of the arrays base, plus"),
        ("plot_interpolation", "paths.csv", "paths.csv: no column 'alpha' among no NPZ"),
        ("plot_reconstructions", "pairs.npz", "pairs.npz: not an NPZ file of the arrays originals, reconstructions"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(inputs, stage, file, message):
    folder, arguments = inputs
    (folder / file).write_text("no NPZ\n1\n")
    result = run_stage(stage, *arguments[stage])
    assert result.returncode == 2
    assert result.stderr.startswith(f"{stage}.py: error: ") and result.stderr.count("\n") == 1
    assert message in result.stderr
    assert not (folder / "out").exists()


@pytest.mark.parametrize(
    ("stage", "changes", "message"),
    [
        (
            "plot_latents",
            {"plus": None},
            r"latents\.npz: not an NPZ file of the arrays base, plus.*it has no array 'plus'",
        ),
        ("plot_latents", {"plus": pictures(L - 1)}, r"'minus' is uint8 \(12, 3, 32, 32\); expected uint8 \(11, 3, 32"),
        ("plot_latents", {"base": np.zeros((3, 32, 32))}, r"'base' is float64 \(3, 32, 32\); expected uint8 \(3, 32"),
        ("plot_latents", {"effect": np.zeros((L, 1))}, r"'effect' is float64 \(12, 1\); expected numbers \(L\)"),
        ("plot_latents", {"effect": np.full(L, np.nan)}, "'effect' holds numbers that are not finite"),
        ("plot_latents", {"order": np.zeros(L, int)}, r"'order' is no order of the dimensions 0 to 11"),
        ("plot_latents", {"order": -np.arange(L)}, r"'order' is no order of the dimensions"),
        ("plot_latents", {"about": np.array("no JSON")}, "'about' is not JSON"),
        ("plot_latents", {"about": about(seed="1")}, r"latents\.npz about: 'seed' is \"1\"; expected a whole number"),
        ("plot_interpolation", {"about": about(real={})}, r"'real\.sharpness\.mean' is missing"),
        ("plot_interpolation", {"alphas": np.arange(11) / 11}, r"paths\.csv: its alphas are not those of .*latents"),
        ("plot_interpolation", {"latent_path": pictures(0)}, r"'latent_path' is uint8 \(0, 3, 32, 32\)"),
    ],
)
def test_exploration_refused(inputs, stage, changes, message):
    np.savez(inputs[0] / "latents.npz", **latents(**changes))
    with pytest.raises(InputError, match=message):
        run_here(MODULES[stage], *inputs[1][stage])
    assert not (inputs[0] / "out").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"reconstructions": pictures(5)}, r"'reconstructions' is uint8 \(5, 3, 32, 32\); expected uint8 \(6, 3, 32"),
        ({"originals": np.zeros((6, 3, 32, 32), np.float32)}, "'originals' is float32"),
        ({"about": about(rmse=None)}, "'rmse' is missing; expected a finite number"),
    ],
)
def test_pairs_refused(inputs, changes, message):
    np.savez(inputs[0] / "pairs.npz", **pairs(**changes))
    with pytest.raises(InputError, match=message):
        run_here(plot_reconstructions, *inputs[1]["plot_reconstructions"])
    assert not (inputs[0] / "out").exists()


@pytest.fixture
def figures(inputs, monkeypatch):
    """Each stage's figure."""
    found = {}
    monkeypatch.setattr(plotting, "save_figure", lambda figure, path: found.update({path.stem: figure}))
    for stage in inputs[1]:
        run_here(MODULES[stage], *inputs[1][stage])
    return found


def words(figure):
    """The title, on one line; no caption stands in the picture."""
    (title,) = figure.texts
    return title.get_text().replace("\n", " ").replace("\N{NO-BREAK SPACE}", " ")


def cell(axes, row, column):
    """The image in a cell of a mosaic, (32, 32, 3)."""
    return np.asarray(axes.images[0].get_array())[1 + 33 * row : 33 + 33 * row, 1 + 33 * column : 33 + 33 * column]


def test_latents_show_the_strongest_and_the_weakest(figures):
    arrays = latents()
    strongest, weakest, curve, bar = figures["latents"].axes
    change = image_statistics.luminance(arrays["plus"]) - image_statistics.luminance(arrays["minus"])
    limit = np.abs(change[arrays["order"][:5]]).max()
    assert bar.get_xlim() == pytest.approx((-limit, limit))  # symmetric
    for axes, ranks in ((strongest, range(5)), (weakest, range(L - 5, L))):
        labels = [label.get_text() for label in axes.get_yticklabels()]
        for row, rank in enumerate(ranks):
            i = arrays["order"][rank]
            assert labels[row] == f"{rank + 1}: i = {i}, {arrays['effect'][i]:.3g}\ncontrast \N{MINUS SIGN}0.25"
            for column, picture in enumerate((arrays["minus"][i], arrays["base"], arrays["plus"][i])):
                np.testing.assert_allclose(cell(axes, row, column), picture.transpose(1, 2, 0) / 255)
            red_less_blue = cell(axes, row, 3)[..., 0] - cell(axes, row, 3)[..., 2]
            clear = np.abs(change[i]) > limit / 10
            assert (np.sign(red_less_blue)[clear] == np.sign(change[i])[clear]).all()
    one, many = curve.lines
    np.testing.assert_allclose(one.get_ydata(), np.sort(arrays["effect"])[::-1])
    np.testing.assert_allclose(many.get_ydata(), arrays["mean_effect"][arrays["order"]])
    assert TITLE in words(figures["latents"])


def test_paths_stand_above_each_other_with_their_numbers_below(figures):
    arrays, rows = latents(), table()
    sheet, *panels = figures["paths"].axes
    assert [label.get_text() for label in sheet.get_xticklabels()] == [f"{k / 10:g}" for k in range(11)]
    assert [label.get_text() for label in sheet.get_yticklabels()] == list(plot_interpolation.PATHS.values())
    for row, name in enumerate(("latent_path", "sphere_path", "image_path")):
        for column, picture in enumerate(arrays[name]):
            np.testing.assert_allclose(cell(sheet, row, column), picture.transpose(1, 2, 0) / 255)
    for panel, quantity in zip(panels, ("sharpness", "distance"), strict=True):
        lines = {line.get_label(): line for line in panel.lines}
        for (path, label), band in zip(plot_interpolation.PATHS.items(), panel.collections, strict=True):
            np.testing.assert_allclose(lines[label].get_ydata(), rows[f"{path}_{quantity}"])
            corners = band.get_paths()[0].vertices
            middle = corners[np.isclose(corners[:, 0], 0.5), 1]
            assert np.ptp(middle) == pytest.approx(0.5)
        np.testing.assert_allclose(lines["real test images"].get_ydata(), 8)
    assert TITLE in words(figures["paths"])


def test_reconstructions_stand_below_their_originals(figures):
    arrays = pairs()
    (axes,) = figures["pairs"].axes
    stacks = [arrays[name].transpose(0, 2, 3, 1) for name in ("originals", "reconstructions")]
    np.testing.assert_allclose(axes.images[0].get_array(), plotting.mosaic(stacks, 4)[0])
    assert [label.get_text() for label in axes.get_yticklabels()] == ["original", "reconstruction"] * 2
    title = words(figures["pairs"])
    assert TITLE in title and "root mean square error 12.3 of 255 grey levels" in title
