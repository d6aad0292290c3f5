"""Pictures of the report: its figures, sheets of small images, and pictures too large for WebP."""

import base64
import io

import numpy as np
import pytest
from genlab import configuration
from genlab.report import figures, page
from PIL import Image


def shown(picture):
    """The pixels of a `picture`, and its kind."""
    head, content = picture["data"].split(",")
    image = Image.open(io.BytesIO(base64.b64decode(content)))
    assert image.size == (picture["width"], picture["height"])
    return np.asarray(image.convert("RGB")), head


@pytest.mark.parametrize(("count", "size"), [(3, (3, 3)), (511, (511, 3)), (512, (511, 6)), (1100, (511, 9))])
def test_a_sheet_holds_each_image_where_the_sliders_look_for_it(count, size):
    rows = [np.random.default_rng(row).integers(0, 256, (count, 3, 1, 1), np.uint8) for row in range(3)]
    rows = [np.broadcast_to(row, (count, 3, 32, 32)) for row in rows]
    pixels, head = shown(page.sheet(rows))
    assert head == "data:image/webp;base64" and pixels.shape == (size[1] * 32, size[0] * 32, 3)
    for at in {0, 1, 510, 511, count - 1} & set(range(count)):
        for row in range(3):
            top, left = 32 * (3 * (at // size[0]) + row), 32 * (at % size[0])
            assert (pixels[top : top + 32, left : left + 32] == rows[row][at, :, 0, 0]).all()


@pytest.mark.parametrize(("size", "kind"), [((16383, 2), "webp"), ((16384, 2), "png"), ((2, 16384), "png")])
def test_a_picture_larger_than_webp_allows_is_png(size, kind):
    image = Image.effect_noise(size, 90).convert("RGB")
    pixels, head = shown(page.picture(image))
    assert head == f"data:image/{kind};base64" and (pixels == np.asarray(image)).all()


def test_each_row_of_the_table_of_figures_has_its_own_file():
    assert len({row.name for row in figures.FIGURES}) == len(figures.FIGURES)


@pytest.mark.parametrize("row", figures.FIGURES, ids=lambda row: row.name)
def test_the_names_of_figures_of_models_hold_the_model(row):
    assert ("{model}" in row.name) == (row.of not in ("", "several"))


@pytest.mark.parametrize("row", figures.FIGURES, ids=lambda row: row.name)
def test_each_row_of_the_table_of_figures_has_its_words(row):
    assert row.alt.endswith(".")
    caption = page.FOLDER / f"{row.caption or row.name.removesuffix('_{model}')}.rst"
    assert caption.read_text(encoding="utf-8").strip(), caption


@pytest.fixture
def config():
    images = {"models": {"a": {"kind": "vae"}, "b": {"kind": "gan"}}}
    return configuration.complete({"likelihood": {"models": {"c": {}}}, "images": images})


def test_a_figure_knows_its_section_and_its_model(config):
    found = {name: (row.section, model) for row, model, name in figures.figures_of(config)}
    assert found["learning_curves_a"] == ("training", "a") and found["frames_b"] == ("training", "b")
    assert found["learning_curves_binary_c"] == ("likelihood", "c") and found["fid"] == ("quality", "")


def test_models_have_the_figures_of_the_networks_that_they_have(config):
    found = {name for _, _, name in figures.figures_of(config)}
    assert {"nearest_a", "nearest_b", "latents_a", "latents_b"} < found
    assert not {"learning_curves_b", "reconstructions_b", "training_a", "frames_a", "nearest_c"} & found


def test_without_image_models_there_are_no_figures_of_them(config):
    config["images"]["models"].clear()
    assert {row.section for row, _, _ in figures.figures_of(config)} == {"data", "divergences", "likelihood"}
