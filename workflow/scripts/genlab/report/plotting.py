"""The one plot style, the figures' common parts, and the reader of tables to be drawn.

Importing this module sets matplotlib's style for the process. Figures are made with
`new_figure`, headed by `describe` (which always names the data set) and written by
`save_figure` as PNG and PDF. Nothing here imports torch.
"""

import logging
import math
import re
import textwrap
from pathlib import Path

import matplotlib
import numpy as np
from cycler import cycler
from matplotlib.figure import Figure

from .. import InputError, files
from ..files import REMAKE

DPI = 200

# Okabe & Ito (2008), "Color universal design": told apart by colour-blind readers.
COLOURS = {
    "blue": "#0072B2",
    "vermillion": "#D55E00",
    "green": "#009E73",
    "purple": "#CC79A7",
    "orange": "#E69F00",
    "sky": "#56B4E9",
    "black": "#000000",
}

# One meaning has one look in every figure; line styles and markers keep it legible in grey.
SPLITS = {
    "train": {"label": "training", "color": COLOURS["green"], "linestyle": "--", "marker": "^"},
    "valid": {"label": "validation", "color": COLOURS["blue"], "linestyle": "-", "marker": "o"},
    "test": {"label": "test", "color": COLOURS["vermillion"], "linestyle": "-.", "marker": "s"},
}

# Looks of image models. Six colours; every next six models get their markers in another order and another line style.
MODEL_COLOURS = ("vermillion", "blue", "green", "purple", "orange", "sky")
MODEL_MARKERS = ("o", "s", "^", "D", "v", "P", "X")
MODEL_LINES = ("-", "--", "-.", ":")

# The star of the chosen epoch, whose weights are kept.
BEST = {"color": "black", "marker": "*", "markersize": 13, "markeredgecolor": "white", "linestyle": "", "zorder": 5}

STYLE = {
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.labelsize": 12,
    "axes.prop_cycle": cycler(color=COLOURS.values()) + cycler(linestyle=["-", "--", "-.", ":", "-", "--", "-."]),
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": 12,
    "figure.titlesize": 14,
    "font.family": "DejaVu Sans",
    "font.size": 12,
    "grid.color": "0.85",
    "grid.linewidth": 0.6,
    "image.interpolation": "nearest",
    "legend.fontsize": 11,
    "legend.framealpha": 0.9,
    "lines.linewidth": 1.8,
    "lines.markersize": 5,
    "pdf.fonttype": 42,  # TrueType: many publishers refuse the default, Type 3
    "savefig.bbox": "tight",
    "savefig.dpi": DPI,
    "savefig.pad_inches": 0.1,
    "xtick.labelsize": 11,
    "ytick.labelsize": 11,
}

matplotlib.rcdefaults()  # a reader's own matplotlibrc must not change our figures
matplotlib.use("Agg")
matplotlib.rcParams.update(STYLE)
logging.getLogger("fontTools").setLevel(logging.WARNING)  # it tells of every glyph it puts into a PDF

LETTER = 0.54  # mean width of the font's letters, in its size
SEPARATOR, GROUP_GAP = 0.85, 5  # grey level of the lines between images; white pixels between groups of rows


def new_figure(width=9.0, height=4.5):
    """A `Figure` of `width` x `height` inches whose axes share the room without overlap.

    Give legends to the axes, not to the figure: a figure's legend moves when the box is widened.
    """
    return Figure(figsize=(width, height), layout="constrained")


def describe(figure, title, data):
    """Write `title` and the data set's title `data` above `figure`. Its caption stands on the page, not in the picture.

    Long lines are wrapped to the figure's width, never before a number. The text stands outside the figure's box,
    which `save_figure` widens to hold it.
    """

    size = matplotlib.rcParams["figure.titlesize"]
    letters = max(40, int(figure.get_figwidth() * 72 / (LETTER * size)))
    text = re.sub(r" (?=[\d=])|(?<==) ", "\N{NO-BREAK SPACE}", literal(f"{title}\nData: {data}"))
    lines = "\n".join(textwrap.fill(line, letters) for line in text.splitlines())
    figure.text(0, 1 + 0.1 / figure.get_figheight(), lines, size=size, va="bottom", linespacing=1.3)


def literal(name):
    """A name that a person gave, so that matplotlib takes no part of it for mathematics."""
    return name.replace("$", r"\$")


def class_ticks(axis, names, most=40):
    """Label an axis with the names of classes 0, 1, ...; of more than `most` only every so many have one."""
    step = -(-len(names) // most)
    shown = [name if len(name) <= 16 else name[:15] + "\N{HORIZONTAL ELLIPSIS}" for name in names[::step]]
    turned = axis.axis_name == "x" and sum(map(len, shown)) > 60
    axis.set_ticks(range(0, len(names), step), list(map(literal, shown)), rotation=90 * turned)
    if len(shown) > 25:
        axis.set_tick_params(labelsize=7)


def check_output(path):
    """Raise `InputError` unless `path` is a name that `save_figure` can write."""
    if Path(path).suffix != ".png":
        raise InputError(f"{path}: a figure is written as PNG, and as PDF beside it; give a name that ends in .png")


def save_figure(figure, path):
    """Write `figure` as PNG at `path` and as PDF beside it; the same figure gives the same bytes.

    Both files appear whole or not at all. Raises `InputError` if `path` does not end in .png.
    """
    check_output(path)
    path = Path(path)
    with files.atomic(path.with_suffix(".pdf")) as pdf, files.atomic(path) as png:
        figure.savefig(png, metadata={"Software": None})
        figure.savefig(pdf, metadata={"CreationDate": None, "Creator": None, "Producer": None})


def model_looks(names):
    """{name: colour, marker and line style} of image models, the same in all figures; the first 168 all differ."""
    looks = {}
    for number, name in enumerate(names):
        turn, place = divmod(number, len(MODEL_COLOURS))
        looks[name] = {
            "color": COLOURS[MODEL_COLOURS[place]],
            "marker": MODEL_MARKERS[(place + turn) % len(MODEL_MARKERS)],
            "linestyle": MODEL_LINES[turn % len(MODEL_LINES)],
        }
    return looks


def legend_columns(labels, width):
    """How many columns of a legend with these labels fit into `width` inches; at least 1."""
    size = matplotlib.rcParams["legend.fontsize"] / 72
    column = LETTER * size * max(map(len, labels)) + 4.8 * size  # 4.8: matplotlib's handle and the gaps around it
    return max(1, int(width / column))


def mosaic(images, columns, ink=False):
    """Lay images out row by row, with thin grey lines between them.

    images: (N, H, W) or (N, H, W, 3), float in [0, 1] or uint8 in 0..255; or a list of G
    such arrays of one shape, which stand under each other, row under row, in groups of G
    rows. ink: show 0 as white paper and 1 as black ink. Returns the picture (height,
    width, 3), float in [0, 1], and the vertical centre of every row in its pixels. Raises
    ValueError for other shapes or ranges: an image in [-1, 1] is a mistake that must not
    be drawn.
    """
    stacks = np.stack(images) if isinstance(images, list) else np.asarray(images)[None]
    if stacks.ndim == 4:
        stacks = np.repeat(stacks[..., None], 3, axis=-1)
    if stacks.ndim != 5 or stacks.shape[-1] != 3 or not stacks.size:
        raise ValueError(f"images have shape {stacks.shape[1:]}; expected (N, H, W) or (N, H, W, 3), N >= 1")
    if stacks.dtype == np.uint8:
        stacks = stacks / 255
    if not (stacks.min() >= 0 and stacks.max() <= 1):
        raise ValueError(f"pixels lie in [{stacks.min()}, {stacks.max()}]; expected [0, 1]")
    if ink:
        stacks = 1 - stacks

    together, count, height, width, _ = stacks.shape
    bands = math.ceil(count / columns)
    cells = np.ones((together, bands * columns, height, width, 3))  # white where no image is left
    cells[:, :count] = stacks
    cells = np.pad(cells, ((0, 0), (0, 0), (0, 1), (0, 1), (0, 0)), constant_values=SEPARATOR)
    rows = cells.reshape(together, bands, columns, height + 1, width + 1, 3).transpose(1, 0, 3, 2, 4, 5)
    if together == 1:  # nothing to group: one band holds all the rows
        together, bands = bands, 1
    rows = rows.reshape(bands, together * (height + 1), columns * (width + 1), 3)
    rows = np.pad(rows, ((0, 0), (1, 0), (1, 0), (0, 0)), constant_values=SEPARATOR)
    rows = np.pad(rows, ((0, 0), (0, GROUP_GAP), (0, 0), (0, 0)), constant_values=1.0)
    tops = 1 + np.arange(bands)[:, None] * rows.shape[1] + np.arange(together) * (height + 1)
    return rows.reshape(-1, *rows.shape[2:])[:-GROUP_GAP], (tops + (height - 1) / 2).ravel()


def image_grid(images, columns, labels=(), ink=False, width=7.0):
    """A `Figure` about `width` inches wide that shows `images` (see `mosaic`) and nothing else.

    labels: one for every array of a list of images, written at the left of its rows.
    The figure's size is chosen so that an image's pixel is a whole number of the PNG's
    pixels: squares stay squares of one size.
    """
    picture, centres = mosaic(images, columns, ink)
    pixels = np.array(picture.shape[1::-1])
    scale = max(1, int(width * DPI / max(pixels)))
    figure = Figure(figsize=pixels * scale / DPI)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.imshow(picture, interpolation="nearest", aspect="auto")
    axes.grid(False)
    axes.spines[:].set_visible(False)
    axes.set_xticks([])
    axes.set_yticks(centres if labels else [], list(labels) * (len(centres) // len(labels)) if labels else [])
    axes.tick_params(length=0)
    return figure


def signed(value, digits=2):
    """`value` with `digits` decimals and a true minus sign, for text in a figure."""
    return f"{value:.{digits}f}".replace("-", "\N{MINUS SIGN}")


def read_table(path, numbers, names=()):
    """The columns `numbers` (finite numbers) and `names` (text) of a CSV file, as a DataFrame.

    Raises `InputError`, naming the file and the column, for anything else, an empty table too.
    """
    import pandas as pd  # some figures need no table, and pandas takes a while to import

    try:
        table = pd.read_csv(path, index_col=False, dtype=str, keep_default_na=False)
    except (pd.errors.EmptyDataError, pd.errors.ParserError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not a CSV table ({str(error).strip()}); {REMAKE}") from None
    if missing := [name for name in (*numbers, *names) if name not in table]:
        raise InputError(f"{path}: no column {missing[0]!r} among {', '.join(table)}; {REMAKE}")
    if table.empty:
        raise InputError(f"{path}: the table has a header and no rows; {REMAKE}")
    table = table[[*numbers, *names]].copy()
    for column in numbers:
        values = pd.to_numeric(table[column], errors="coerce")
        if not (finite := np.isfinite(values)).all():
            row = int(np.argmin(finite))
            raise InputError(
                f"{path}: column {column!r} holds {table[column][row]!r} in data row {row + 1}; "
                f"expected a finite number; {REMAKE}"
            )
        table[column] = values
    return table
