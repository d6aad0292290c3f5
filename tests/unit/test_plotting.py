import matplotlib
import numpy as np
import pytest
from genlab import InputError
from genlab.report import plotting
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text
from PIL import Image

PADDING = 20  # pixels that save_figure leaves around: 0.1 inch at 200 dpi


def picture(path):
    return np.asarray(Image.open(path).convert("RGB"))


def line_figure(title="Title"):
    figure = plotting.new_figure(6, 3)
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], label="line")
    axes.set_xlabel("epoch")
    axes.legend()
    plotting.describe(figure, title, "stand-in for digits")
    return figure


def texts(figure):
    return [text for text in figure.findobj(Text) if text.get_text()]


def test_every_text_is_readable_in_a_talk():
    figure = line_figure()
    FigureCanvasAgg(figure).draw()
    assert len(texts(figure)) > 5
    assert min(text.get_fontsize() for text in texts(figure)) >= 11


def test_splits_differ_in_colour_line_and_marker():
    for key in ("color", "linestyle", "marker", "label"):
        assert len({look[key] for look in plotting.SPLITS.values()}) == 3
    # Blue, vermillion and bluish green as Okabe and Ito give them, in 0..255.
    rgb = [tuple(round(255 * part) for part in matplotlib.colors.to_rgb(c)) for c in plotting.COLOURS.values()]
    assert {(0, 114, 178), (213, 94, 0), (0, 158, 115)} <= set(rgb)


def test_models_have_looks_that_differ_however_many_they_are():
    looks = list(plotting.model_looks([f"m{number}" for number in range(1000)]).values())
    assert len({tuple(look.values()) for look in looks[:168]}) == 168
    assert {look["linestyle"] for look in looks[:6]} == {"-"}  # the first differ without any line
    assert len({look["color"] for look in looks[:6]}) == len({look["marker"] for look in looks[:6]}) == 6


@pytest.fixture
def described():
    """The title of a figure in many words, and its box; and the figure."""
    figure = line_figure("A very long title that says K = 200 and goes on " * 4)
    (title,) = figure.texts
    return title.get_text(), title.get_window_extent(FigureCanvasAgg(figure).get_renderer()), figure


def test_describe_names_the_data(described):
    assert "Data: stand-in for digits" in described[0]


def test_a_name_with_dollars_is_no_mathematics():
    figure = plotting.new_figure(6, 3)
    plotting.class_ticks(figure.subplots().xaxis, ["$10_$20", "b"])
    plotting.describe(figure, "Title", "images of $10_$20/train")
    FigureCanvasAgg(figure).draw()  # as mathematics it would end in an error


def test_a_long_title_stands_above_the_figure_within_its_width(described):
    text, box, figure = described
    assert text.count("\n") > 2 and box.width <= figure.bbox.width
    assert box.y0 > figure.bbox.height


def test_a_number_is_not_parted_from_its_name(described):
    assert not any(line.startswith(("=", "200")) for line in described[0].splitlines())


@pytest.fixture
def saved(tmp_path):
    """A folder with a saved figure of 6 by 3 inches."""
    figure = plotting.new_figure(6, 3)
    figure.add_subplot().set_axis_off()
    figure.get_layout_engine().set(w_pad=0, h_pad=0)  # the axes fill the figure's box
    plotting.save_figure(figure, tmp_path / "a" / "figure.png")
    return tmp_path / "a"


def test_png_has_the_stated_size(saved):
    height, width, _ = picture(saved / "figure.png").shape
    assert (width, height) == (6 * 200 + 2 * PADDING, 3 * 200 + 2 * PADDING)


def test_pdf_lies_beside(saved):
    assert sorted(file.name for file in saved.iterdir()) == ["figure.pdf", "figure.png"]
    assert (saved / "figure.pdf").read_bytes().startswith(b"%PDF-")


def test_the_same_figure_is_the_same_bytes(tmp_path):
    for name in ("one", "two"):
        plotting.save_figure(line_figure(), tmp_path / f"{name}.png")
    for suffix in (".png", ".pdf"):
        assert (tmp_path / f"one{suffix}").read_bytes() == (tmp_path / f"two{suffix}").read_bytes()


def test_pdf_has_no_date(saved):
    assert b"Date" not in (saved / "figure.pdf").read_bytes()


def test_a_failed_save_leaves_what_was_there(tmp_path, monkeypatch):
    figure = line_figure()
    plotting.save_figure(figure, tmp_path / "figure.png")
    before = {file: file.read_bytes() for file in tmp_path.iterdir()}
    monkeypatch.setattr(figure, "savefig", lambda path, **_: path.write_bytes(b"half") and 1 / 0)
    with pytest.raises(ZeroDivisionError):
        plotting.save_figure(figure, tmp_path / "figure.png")
    assert {file: file.read_bytes() for file in tmp_path.iterdir()} == before


@pytest.mark.parametrize("name", ["figure.pdf", "figure", "figure.jpg"])
def test_save_figure_refuses_other_names(tmp_path, name):
    with pytest.raises(InputError, match=r"give a name that ends in \.png"):
        plotting.save_figure(plotting.new_figure(), tmp_path / name)
    assert not list(tmp_path.iterdir())


def naive_mosaic(stacks, columns):
    """`mosaic` of RGB floats in (G, N, H, W, 3), image by image."""
    together, count, height, width, _ = stacks.shape
    bands = -(-count // columns)
    apart = plotting.GROUP_GAP + 1 if together > 1 else 0
    total = bands * together * (height + 1) + 1 + (bands - 1) * apart
    result = np.ones((total, columns * (width + 1) + 1, 3))
    tops = []
    for band in range(bands):
        start = band * (together * (height + 1) + apart)
        result[start : start + together * (height + 1) + 1] = plotting.SEPARATOR
        for row in range(together):
            top = start + row * (height + 1) + 1
            tops.append(top)
            for column in range(columns):
                number = band * columns + column
                image = stacks[row, number] if number < count else 1.0
                left = column * (width + 1) + 1
                result[top : top + height, left : left + width] = image
    return result, np.array(tops) + (height - 1) / 2


@pytest.mark.parametrize("count", [1, 4, 7])
@pytest.mark.parametrize("together", [1, 2, 3])
def test_mosaic_lays_out_as_image_by_image(count, together):
    stacks = np.random.default_rng(1).random((together, count, 3, 5, 3))
    expected, centres = naive_mosaic(stacks, 4)
    result = plotting.mosaic(list(stacks) if together > 1 else stacks[0], 4)
    np.testing.assert_array_equal(result[0], expected)
    np.testing.assert_array_equal(result[1], centres)


GREY = np.array([[[0, 51], [102, 255]]], np.uint8)


@pytest.mark.parametrize("channel", range(3))
def test_mosaic_of_grey_bytes_is_light_or_ink(channel):
    inside = np.s_[1:-1, 1:-1, channel]
    np.testing.assert_allclose(plotting.mosaic(GREY, 1)[0][inside], GREY[0] / 255)
    np.testing.assert_allclose(plotting.mosaic(GREY, 1, ink=True)[0][inside], 1 - GREY[0] / 255)


def test_ink_turns_neither_the_lines_nor_the_paper():
    pixels, _ = plotting.mosaic(GREY, 2, ink=True)
    assert (pixels[0] == plotting.SEPARATOR).all()
    empty = pixels[1:-1, 4:-1]
    assert empty.size and (empty == 1).all()


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (np.full((2, 4, 4), -0.5), r"\[-0.5, -0.5\]; expected \[0, 1\]"),
        (np.full((2, 4, 4), np.nan), r"expected \[0, 1\]"),
        (np.full((2, 4, 4), 255.0), r"expected \[0, 1\]"),
        (np.zeros((4, 4)), "have shape"),
        (np.zeros((0, 4, 4)), "have shape"),
        (np.zeros((2, 3, 4, 4)), "have shape"),  # channels first
    ],
)
def test_mosaic_refuses_what_is_no_image(images, message):
    with pytest.raises(ValueError, match=message):
        plotting.mosaic(images, 2)


@pytest.mark.parametrize(("count", "columns", "size"), [(6, 3, 28), (30, 10, 28), (5, 1, 32)])
def test_every_image_pixel_is_one_square_of_the_png(tmp_path, count, columns, size):
    images = np.random.default_rng(2).integers(0, 256, (count, size, size, 3), np.uint8)
    figure = plotting.image_grid(images, columns)
    plotting.save_figure(figure, tmp_path / "grid.png")
    expected = np.round(plotting.mosaic(images, columns)[0] * 255)
    drawn = picture(tmp_path / "grid.png")[PADDING:-PADDING, PADDING:-PADDING]
    scale = drawn.shape[0] // expected.shape[0]
    assert scale >= 2
    np.testing.assert_allclose(drawn, np.kron(expected, np.ones((scale, scale, 1))), atol=1)


def test_image_grid_labels_stand_at_their_rows(tmp_path):
    images = np.zeros((6, 8, 8))
    figure = plotting.image_grid([images, images + 1], 4, ["upper", "lower"])
    (axes,) = figure.axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["upper", "lower"] * 2
    np.testing.assert_array_equal(axes.get_yticks(), plotting.mosaic([images, images], 4)[1])


def test_signed():
    assert plotting.signed(-83.456) == "\N{MINUS SIGN}83.46"
    assert plotting.signed(1.25, 1) == "1.2"


def test_read_table_gives_numbers_and_names(tmp_path):
    (tmp_path / "a.csv").write_text("k,split,other,x\n1,valid,,-1.5\n2,NA,?,3e2\n")
    table = plotting.read_table(tmp_path / "a.csv", ["x", "k"], ["split"])
    assert table.to_dict("list") == {"x": [-1.5, 300.0], "k": [1, 2], "split": ["valid", "NA"]}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not a CSV table"),
        (b"k,x\n", "a header and no rows"),
        (b"k,y\n1,2\n", "no column 'x' among k, y"),
        (b"k,x\n1,2\n2,nan\n", "column 'x' holds 'nan' in data row 2"),
        (b"k,x\n1,\n", "column 'x' holds '' in data row 1"),
        (b"k,x\n1,inf\n", "column 'x' holds 'inf' in data row 1"),
        (b"k,x\none,2\n", "column 'k' holds 'one' in data row 1"),
        (b"k,x\n1,2\n1,2,3,4\n", "not a CSV table"),
        (b"\x89PNG\r\n\x1a\n\xff\xfe", "not a CSV table"),
    ],
)
def test_read_table_names_file_and_column(tmp_path, content, message):
    (tmp_path / "a.csv").write_bytes(content)
    with pytest.raises(InputError, match=rf"a\.csv: .*{message}.*; remake it"):
        plotting.read_table(tmp_path / "a.csv", ["k", "x"])
