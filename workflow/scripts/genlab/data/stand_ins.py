"""Stand-ins for Binarized MNIST and SVHN, drawn from the fonts that ship inside matplotlib.

With them the whole pipeline runs and is tested without any download. They are *not* the real
data: numbers measured on them show that the pipeline works, and nothing about the real sets.

A glyph is stored as a signed distance field, so that one bilinear look-up per pixel gives
an antialiased digit of any size, slant and stroke width. Images are rendered in chunks of
fixed size, each from its own random stream. So memory stays bounded, and a larger count
only adds images to those of a smaller one.
"""

import functools
from pathlib import Path
from typing import NamedTuple

import numpy as np

from .. import InputError

CHUNK = 250  # images; small enough that a chunk's arrays stay in the processor's cache

# Class frequencies of the SVHN training set, digits 0..9 (73,257 crops).
SVHN_COUNTS = np.array([4948, 13861, 10585, 8497, 7458, 6882, 5727, 5595, 5045, 4659])

ASCII = "0123456789"
SANS, SANS_BOLD, MONO = ("".join(chr(first + i) for i in range(10)) for first in (0x1D7E2, 0x1D7EC, 0x1D7F6))
# A face is a font file and the characters that stand for the digits 0..9 in it.
# Handwriting: thin, even strokes, and a plain bar for most of the ones.
PEN_FACES = (
    ("DejaVuSans.ttf", "0l23456789"),
    ("cmss10.ttf", "0l23456789"),
    ("STIXGeneral.ttf", SANS),
    ("STIXGeneral.ttf", MONO.replace(MONO[1], "|")),
    ("cmtt10.ttf", "0|23456789"),
    ("cmti10.ttf", ASCII),
    ("DejaVuSerif-Italic.ttf", "0l23456789"),
    ("STIXGeneralItalic.ttf", ASCII),
)
HOUSE_FACES = (
    ("DejaVuSans.ttf", ASCII),
    ("DejaVuSans-Bold.ttf", ASCII),
    ("DejaVuSerif.ttf", ASCII),
    ("DejaVuSerif-Bold.ttf", ASCII),
    ("DejaVuSerif-Italic.ttf", ASCII),
    ("STIXGeneral.ttf", ASCII),
    ("STIXGeneral.ttf", SANS),
    ("STIXGeneral.ttf", SANS_BOLD),
    ("STIXGeneralBol.ttf", ASCII),
    ("STIXGeneralBolIta.ttf", ASCII),
    ("cmb10.ttf", ASCII),
    ("cmr10.ttf", ASCII),
    ("cmss10.ttf", ASCII),
)

FRAME = 1.6  # side of a glyph's square frame, in glyph heights
FIELD, OVERSAMPLING = 64, 3  # side of a stored field in cells; rendered pixels per cell


class Glyphs(NamedTuple):
    """The glyphs of F faces: glyph `10 * face + digit`; the last one, `10 * F`, is blank.

    Lengths are in glyph heights from the middle of the glyph's bounding box; y points down.
    """

    fields: np.ndarray  # float32 (10 F + 1, FIELD, FIELD): distance to the outline, positive inside
    half_width: np.ndarray  # float32 (10 F + 1,)
    centroid: np.ndarray  # float32 (10 F + 1, 2): centre of mass (x, y) of the ink
    half_stroke: np.ndarray  # float32 (10 F + 1,): mean, as area over perimeter


def render_binary_digits(count, rng, progress=iter):
    """Handwriting-like binary digits in the manner of Binarized MNIST.

    Warped pen-like glyphs, centred by mass in about 20x20 of 28x28 pixels. Every pixel is a
    Bernoulli draw with its antialiased grey value as probability (Larochelle & Murray 2011).

    count >= 1; rng, a `numpy.random.Generator`, of which only spawned children are used;
    progress, a function that wraps the iterable over the chunks.
    Returns bits uint8 (count, 784) in {0, 1}, row by row, and labels uint8 (count,) in 0..9.
    Raises InputError if the images do not fit in memory.
    """
    return _render(count, rng, progress, _binary_chunk, (784,))


def render_house_numbers(count, rng, progress=iter):
    """Crops of printed house numbers in the manner of SVHN, the labelled digit in the middle.

    Neighbouring digits, plates, shadows, low contrast, uneven light, blur and noise occur about
    as often as in SVHN, and labels are as frequent. Parameters as in `render_binary_digits`.
    Returns images uint8 (count, 3, 32, 32), RGB, and labels uint8 (count,) in 0..9.
    """
    return _render(count, rng, progress, _house_chunk, (3, 32, 32))


def _render(count, rng, progress, draw_chunk, shape):
    try:
        images, labels = np.empty((count, *shape), np.uint8), np.empty(count, np.uint8)
    except MemoryError:
        raise InputError(f"{count} images do not fit in this machine's memory; give a smaller --count") from None
    starts = range(0, count, CHUNK)
    for start, stream in zip(progress(starts), rng.spawn(len(starts)), strict=True):
        chunk = slice(start, start + CHUNK)
        drawn, digits = draw_chunk(stream)  # a whole one, for a shorter one would change the random numbers
        images[chunk], labels[chunk] = drawn[: count - start], digits[: count - start]
    return images, labels


def _binary_chunk(rng):
    normal, uniform, _ = _scalars(rng)
    glyphs = load_glyphs(PEN_FACES)
    labels = rng.integers(10, size=CHUNK)
    glyph = 10 * rng.integers(len(PEN_FACES), size=CHUNK) + labels
    height = uniform(18, 20)
    x, y = _to_glyph(
        28,
        height=height,
        width=uniform(0.9, 1.25),
        rotation=normal(0.07),
        slant=0.12 + normal(0.17),
        shift=[smooth_fields(rng, CHUNK, 28, 4) for _ in range(2)],  # elastic, 1 pixel
    )
    x += glyphs.centroid[glyph, 0, None, None]
    y += glyphs.centroid[glyph, 1, None, None]
    distance = _look_up(glyphs.fields, glyph[:, None, None], x, y)
    # Fonts of all weights get the same distribution of stroke widths, about 1.5 to 5 pixels.
    half_stroke = np.clip(1.1 + normal(0.27), 0.6, 1.8) / height
    grey = 0.5 + (distance + half_stroke - glyphs.half_stroke[glyph, None, None]) * height / 1.1
    return (rng.random(grey.shape, np.float32) < grey).reshape(CHUNK, 784), labels


def _house_chunk(rng):
    normal, uniform, chance = _scalars(rng)
    glyphs = load_glyphs(HOUSE_FACES)
    frequencies = SVHN_COUNTS / SVHN_COUNTS.sum()
    digits = rng.choice(10, p=frequencies, size=(3, CHUNK, 1, 1))
    left, middle, right = digits + 10 * rng.integers(len(HOUSE_FACES), size=(CHUNK, 1, 1))
    blank = len(glyphs.fields) - 1
    left, right = np.where(chance(0.6), left, blank), np.where(chance(0.6), right, blank)

    height = uniform(18, 29)
    along, y = _to_glyph(
        32,
        height=height,
        width=uniform(0.48, 0.95),
        rotation=normal(0.05),
        slant=normal(0.12),
        shift=(normal(1.3), normal(1.3)),
        tilt=(normal(0.003), normal(0.003)),
    )
    # Every digit of the number has a cell as wide as its glyph and the gap.
    gap, weight = uniform(0.06, 0.25), normal(0.012)
    cell = glyphs.half_width[middle] + gap / 2
    step_left, step_right = (cell + gap / 2 + glyphs.half_width[side] for side in (left, right))

    def coverage(along, y):
        after, before = along > cell, along < -cell
        glyph = np.where(after, right, np.where(before, left, middle))
        x = along - np.where(after, step_right, np.where(before, -step_left, np.float32(0)))
        return np.clip(0.5 + (_look_up(glyphs.fields, glyph, x, y) + weight) * height, 0, 1)

    ink = coverage(along, y)
    # Some digits stand off the wall and cast a shadow; some are on a plate with visible edges.
    shadow = np.where(chance(0.25), uniform(0.2, 0.6), 0) * coverage(along - normal(0.06), y - uniform(0.02, 0.1))
    margin = np.where(chance(0.5), uniform(0.1, 0.4), 10)
    ends = [step + glyphs.half_width[side] + margin for step, side in ((step_left, left), (step_right, right))]
    inside = np.minimum(np.minimum(0.5 + margin - abs(y), ends[1] - along), along + ends[0])
    plate = np.clip(0.5 + inside * height, 0, 1)
    return _photograph(rng, ink, shadow, plate), digits[1].ravel()


def _photograph(rng, ink, shadow, plate):
    """Colour the masks, float32 (CHUNK, 32, 32) in 0..1, and imitate a poor camera: uint8 (CHUNK, 3, 32, 32).

    Brightness, contrast, saturation and sharpness vary about as much as in real SVHN crops.
    """
    normal, uniform, chance = _scalars(rng)

    def colour(brightness):
        """(CHUNK, 3, 1, 1): mostly greyish, sometimes vivid, along the warm-cold and green-magenta axes."""
        vivid = rng.exponential(10, (CHUNK, 1, 1))
        warmth, green = vivid * normal(1.2), vivid * normal(0.4)
        tint = np.stack([warmth - 3, green - 1, 4 - warmth], 1).astype(np.float32)
        return tint + np.clip(brightness, 6, 250)[:, None]

    half_contrast = np.clip(50 * np.exp(normal(0.5)), 14, 100)
    middle = np.clip(117 + normal(33), 6 + half_contrast, 250 - half_contrast)
    half_contrast *= np.where(chance(0.5), 1, -1)
    paint, paper, wall = colour(middle + half_contrast), colour(middle - half_contrast), colour(115 + normal(40))
    image = wall + (paper * (1 - shadow[:, None]) - wall) * plate[:, None]
    image += (paint - image) * ink[:, None]
    image *= 1 + 0.1 * smooth_fields(rng, CHUNK, 32, 3)[:, None]
    texture = smooth_fields(rng, 3 * CHUNK, 32, 12).reshape(image.shape)
    image += rng.exponential(2.2, (CHUNK, 1, 1, 1)) * texture
    image = blur(image, np.clip(0.95 * np.exp(normal(0.6)), 0.35, 2.5))
    image += uniform(0.5, 4)[:, None] * rng.standard_normal(image.shape, np.float32)
    return np.clip(image, 0, 255).astype(np.uint8)


def smooth_fields(rng, count, size, knots):
    """Random fields float32 (count, size, size) of unit variance at every pixel, with about `knots` bumps a side."""
    pixels, centres = np.linspace(0, 1, size)[:, None], np.linspace(0, 1, knots)
    basis = np.exp(-0.5 * ((pixels - centres) * (knots - 1) / 0.7) ** 2)
    basis = (basis / np.linalg.norm(basis, axis=1, keepdims=True)).astype(np.float32)
    return basis @ rng.standard_normal((count, knots, knots), np.float32) @ basis.T


def blur(images, sigma):
    """Gaussian blur of float32 (B, C, S, S) by `sigma` (B, 1, 1) pixels. Edge pixels average only what is inside."""
    pixels = np.arange(images.shape[-1], dtype=np.float32)
    kernel = np.exp(-0.5 * ((pixels[:, None] - pixels) / sigma) ** 2)
    kernel = (kernel / kernel.sum(-1, keepdims=True))[:, None]
    return kernel @ images @ kernel.swapaxes(-1, -2)


def _scalars(rng):
    """Functions that draw one random number for every image of a chunk, of shape (CHUNK, 1, 1)."""
    shape = (CHUNK, 1, 1)
    return (
        lambda deviation: np.float32(deviation) * rng.standard_normal(shape, np.float32),
        lambda low, high: np.float32(low) + np.float32(high - low) * rng.random(shape, np.float32),
        lambda probability: rng.random(shape, np.float32) < probability,
    )


def _to_glyph(size, *, height, width, rotation, slant, shift, tilt=(0, 0)):
    """The glyph coordinates of every pixel of a size x size image: x, y float32 (CHUNK, size, size).

    `height` is in pixels, `width` relative to the height, `rotation` in radians (clockwise), `slant` the tangent
    of the slant to the right, `shift` (x, y) in pixels, `tilt` (x, y) the relative change of depth per pixel.
    """
    pixels = np.arange(size, dtype=np.float32) - np.float32((size - 1) / 2)
    x, y = pixels - shift[0], pixels[:, None] - shift[1]
    depth = height * (1 + tilt[0] * x + tilt[1] * y)
    x, y = (np.cos(rotation) * x + np.sin(rotation) * y) / depth, (np.cos(rotation) * y - np.sin(rotation) * x) / depth
    return x / width + slant * y, y


def _look_up(fields, glyph, x, y):
    """Bilinear value of `fields[glyph]` at glyph coordinates (x, y); outside the frame, the value at its edge."""
    column, row = (np.clip((c / FRAME + 0.5) * FIELD - 0.5, 0, FIELD - 1.001) for c in (x, y))
    left, top = column.astype(np.int32), row.astype(np.int32)
    column -= left
    row -= top
    corner = (glyph * FIELD + top) * FIELD + left
    flat = fields.reshape(-1)
    upper = flat[corner] * (1 - column) + flat[corner + 1] * column
    lower = flat[corner + FIELD] * (1 - column) + flat[corner + FIELD + 1] * column
    return upper + (lower - upper) * row


@functools.cache
def load_glyphs(faces):
    """The `Glyphs` of a tuple of faces, rendered once per process from matplotlib's font files."""
    import matplotlib
    from PIL import Image, ImageDraw, ImageFont
    from scipy.ndimage import distance_transform_edt

    side = FIELD * OVERSAMPLING
    height = side / FRAME
    fonts = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    fields, half_width, centroid, half_stroke = [], [], [], []
    for file, text in faces:
        for character in text:
            # The type size that makes this glyph `height` pixels tall.
            trial = ImageFont.truetype(fonts / file, side, layout_engine=ImageFont.Layout.BASIC)
            _, top, _, bottom = trial.getbbox(character)
            font = trial.font_variant(size=side * height / (bottom - top))
            left, top, right, bottom = font.getbbox(character)
            canvas = Image.new("L", (side, side))
            origin = (side - left - right) / 2, (side - top - bottom) / 2
            ImageDraw.Draw(canvas).text(origin, character, fill=255, font=font)
            ink = np.asarray(canvas) > 127
            distance = np.where(ink, distance_transform_edt(ink) - 0.5, 0.5 - distance_transform_edt(~ink))
            cells = distance.reshape(FIELD, OVERSAMPLING, FIELD, OVERSAMPLING).mean((1, 3)) / height
            rows, columns = np.nonzero(ink)
            fields.append(cells)
            half_width.append((np.ptp(columns) + 1) / 2 / height)
            centroid.append((np.array([columns.mean(), rows.mean()]) - (side - 1) / 2) / height)
            perimeter = np.count_nonzero(abs(distance) < 2) / 4
            half_stroke.append(np.count_nonzero(ink) / perimeter / height)
    fields.append(np.full_like(fields[0], -1))
    parts = fields, [*half_width, 0], [*centroid, (0, 0)], [*half_stroke, 0]
    return Glyphs(*(np.array(part, np.float32) for part in parts))
