"""The embedded stand-ins: deterministic, plausible, and labelled with what they show."""

import numpy as np
import pytest
from genlab.data import stand_ins
from genlab.data.stand_ins import (
    CHUNK,
    SVHN_COUNTS,
    blur,
    load_glyphs,
    render_binary_digits,
    render_house_numbers,
    smooth_fields,
)
from scipy.ndimage import gaussian_filter

RENDERERS = pytest.mark.parametrize("render", [render_binary_digits, render_house_numbers])


def rng(seed=0):
    return np.random.default_rng(seed)


@pytest.fixture(scope="module")
def binary():
    return render_binary_digits(4000, rng())


@pytest.fixture(scope="module")
def house():
    return render_house_numbers(6000, rng())


@RENDERERS
def test_same_generator_same_bytes_other_generator_other_bytes(render):
    first, again, other = (render(CHUNK + 7, rng(seed)) for seed in (3, 3, 4))
    for one, two, three in zip(first, again, other, strict=True):
        assert one.tobytes() == two.tobytes()
        assert one.tobytes() != three.tobytes()


@RENDERERS
@pytest.mark.parametrize("count", [1, CHUNK - 1, CHUNK, CHUNK + 1])
def test_a_larger_count_extends_a_smaller_one(render, count):
    few, many = render(count, rng()), render(2 * CHUNK + 1, rng())
    for short, long in zip(few, many, strict=True):
        assert len(short) == count
        np.testing.assert_array_equal(short, long[:count])


@RENDERERS
def test_no_image_occurs_twice(render):
    images, _ = render(3 * CHUNK, rng())
    assert len({image.tobytes() for image in images}) == len(images)


def test_progress_sees_every_chunk():
    seen = []
    render_binary_digits(2 * CHUNK + 1, rng(), lambda chunks: (seen.append(chunk) or chunk for chunk in chunks))
    assert seen == [0, CHUNK, 2 * CHUNK]


def test_binary_digits_are_bits(binary):
    bits, _ = binary
    assert bits.shape == (4000, 784) and bits.dtype == np.uint8 and set(np.unique(bits)) == {0, 1}


@pytest.mark.parametrize(("name", "count"), [("binary", 4000), ("house", 6000)])
def test_each_image_has_a_label(name, count, request):
    labels = request.getfixturevalue(name)[1]
    assert labels.shape == (count,) and labels.dtype == np.uint8


def test_house_numbers_are_rgb(house):
    images, _ = house
    assert images.shape == (6000, 3, 32, 32) and images.dtype == np.uint8
    assert images.min() < 10 and images.max() > 245


@pytest.mark.parametrize(("name", "expected"), [("binary", np.full(10, 0.1)), ("house", SVHN_COUNTS / 73257)])
def test_label_frequencies_within_sampling_error(name, expected, request):
    labels = request.getfixturevalue(name)[1]
    frequencies = np.bincount(labels, minlength=10) / len(labels)
    deviations = (frequencies - expected) / np.sqrt(expected * (1 - expected) / len(labels))
    assert abs(deviations).max() < 4


@pytest.fixture(scope="module")
def pictures(binary):
    return binary[0].reshape(-1, 28, 28).astype(float)


def test_binary_digits_have_mnist_like_ink(pictures):
    ink = pictures.mean((1, 2))
    assert 0.11 < ink.mean() < 0.15  # Binarized MNIST: 0.130
    assert 0.03 < ink.std() < 0.06  # 0.044
    assert ink.min() > 0.01  # none is empty


def test_the_rim_of_binary_digits_is_free(pictures):
    assert pictures[:, [0, -1]].mean() < 0.005 and pictures[:, :, [0, -1]].mean() < 0.005


@pytest.mark.parametrize("axis", [1, 2])
def test_binary_digits_have_their_mass_in_the_middle(pictures, axis):
    centre = (pictures.sum(3 - axis) @ np.arange(28)) / pictures.sum((1, 2))
    assert abs(centre.mean() - 13.5) < 0.15
    assert centre.std() < 1.2


def test_binary_digits_have_edges_as_ragged_as_mnist(binary):
    """How often a pixel is ink, given how many of its four neighbours are; grey cut at 1/2 gives 0.03 for one."""
    images = binary[0].reshape(-1, 28, 28)
    beside = images[:, 1:-1, :-2] + images[:, 1:-1, 2:]
    neighbours = beside + images[:, :-2, 1:-1] + images[:, 2:, 1:-1]
    middle = images[:, 1:-1, 1:-1]
    frequencies = [middle[neighbours == count].mean() for count in range(5)]
    assert frequencies == pytest.approx([0.001, 0.12, 0.53, 0.88, 0.98], abs=0.03)  # Binarized MNIST


def test_house_numbers_have_svhn_like_colours(house):  # of real crops
    images = house[0].astype(np.float32)
    assert images.mean((0, 2, 3)) == pytest.approx([113, 114, 121], abs=8)
    assert images.std((0, 2, 3)) == pytest.approx([52, 52, 52], abs=8)
    saturation = np.median((images.max(1) - images.min(1)).mean((1, 2)))
    assert saturation == pytest.approx(18, rel=0.3)


@pytest.fixture(scope="module")
def grey(house):
    return house[0].astype(np.float32).mean(1)


def test_house_numbers_have_svhn_like_contrast(grey):
    contrast = np.quantile(grey.std((1, 2)), [0.05, 0.5, 0.95])
    assert contrast == pytest.approx([15, 28, 50], rel=0.3)


def test_house_numbers_are_as_sharp_as_svhn(grey):
    sharpness = np.quantile(abs(np.diff(grey)).mean((1, 2)), [0.05, 0.5, 0.95])
    assert sharpness == pytest.approx([3.9, 8.6, 17.7], rel=0.4)


def test_house_numbers_are_light_on_dark_as_often_as_dark_on_light(grey):
    brighter = grey[:, 8:24, 12:20].mean((1, 2)) > grey.mean((1, 2))
    assert 0.4 < brighter.mean() < 0.6


def test_binary_digits_show_their_labels(binary):
    """Least squares on pixels, half to fit and half to judge; scrambled labels give 0.1."""
    bits, labels = binary
    pixels = np.hstack([bits, np.ones((len(bits), 1))])
    train, test = pixels[:2000], pixels[2000:]
    targets = np.eye(10)[labels[:2000]]
    weights = np.linalg.solve(train.T @ train + 200 * np.eye(785), train.T @ targets)
    assert np.mean((test @ weights).argmax(1) == labels[2000:]) > 0.8  # Binarized MNIST: 0.84


def test_house_numbers_show_their_labels_in_the_middle(house):
    """Nearest neighbour by |correlation| (either polarity) of the middle; scrambled labels give about 0.11."""
    images, labels = house
    middle = images[:, :, 3:29, 8:24].mean(1).reshape(len(images), -1)
    middle -= middle.mean(1, keepdims=True)
    middle /= np.linalg.norm(middle, axis=1, keepdims=True)
    nearest = abs(middle[5000:] @ middle[:5000].T).argmax(1)
    assert np.mean(labels[:5000][nearest] == labels[5000:]) > 0.6


SIZE = stand_ins.FRAME / stand_ins.FIELD  # of a pixel of a glyph's field


@pytest.fixture(scope="module", params=[stand_ins.PEN_FACES, stand_ins.HOUSE_FACES], ids=["pen", "house"])
def glyphs(request):
    return load_glyphs(request.param)


def test_glyphs_have_unit_height(glyphs):
    height = (glyphs.fields[:-1] > 0).any(2).sum(1) * SIZE
    assert height == pytest.approx(np.ones(len(height)), abs=1.5 * SIZE)


def test_glyphs_are_as_wide_as_noted(glyphs):
    width = (glyphs.fields[:-1] > 0).any(1).sum(1) * SIZE
    assert width == pytest.approx(2 * glyphs.half_width[:-1], abs=2 * SIZE)


def test_glyphs_are_distance_fields(glyphs):
    slope = np.median(np.hypot(*np.gradient(glyphs.fields[:-1], SIZE, axis=(1, 2))), axis=(1, 2))
    assert slope == pytest.approx(np.ones(len(slope)), abs=0.03)


def test_no_face_has_boxes_for_missing_glyphs(glyphs):
    fields = glyphs.fields[:-1]
    assert len({field.tobytes() for field in fields}) > 0.9 * len(fields)


def test_the_last_glyph_is_empty(glyphs):
    assert (glyphs.fields[-1] < 0).all() and glyphs.half_width[-1] == 0


def test_a_bar_has_the_stroke_of_a_rectangle():
    glyphs = load_glyphs((("cmss10.ttf", "l"),))
    width = 2 * glyphs.half_width[0]
    assert glyphs.fields[0].max() == pytest.approx(width / 2, abs=0.01)
    assert glyphs.half_stroke[0] == pytest.approx(width / (2 * (1 + width)), rel=0.1)  # area over perimeter
    assert glyphs.centroid[0] == pytest.approx([0, 0], abs=0.005)


SIGMA = np.array([0.5, 1, 2], np.float32)


def test_blur_is_gaussian():
    images = rng().standard_normal((3, 2, 32, 32)).astype(np.float32)
    for image, result, width in zip(images, blur(images, SIGMA[:, None, None]), SIGMA, strict=True):
        expected = gaussian_filter(image, width, axes=(1, 2), truncate=8)
        np.testing.assert_allclose(result[:, 12:20, 12:20], expected[:, 12:20, 12:20], atol=1e-4)


def test_blur_keeps_constants():
    constant = np.ones((3, 2, 32, 32), np.float32)
    np.testing.assert_allclose(blur(constant, SIGMA[:, None, None]), 1, rtol=1e-5)


@pytest.fixture(scope="module")
def fields():
    return smooth_fields(rng(), 20000, 16, 4)


def test_smooth_fields_have_unit_variance(fields):
    assert fields.dtype == np.float32 and fields.shape == (20000, 16, 16)
    np.testing.assert_allclose(fields.var(0), 1, atol=0.06)


def test_smooth_fields_are_alike_side_by_side_and_not_far_apart(fields):
    assert np.mean(fields[:, :, :-1] * fields[:, :, 1:]) > 0.9
    assert abs(np.mean(fields[:, 0, 0] * fields[:, -1, -1])) < 0.03
