"""Pictures of the report: sheets of small images, and pictures too large for WebP."""

import base64
import io

import numpy as np
import pytest
from genlab.report import page
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
