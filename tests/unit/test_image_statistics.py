import numpy as np
import pytest
from genlab.measures import image_statistics
from scipy.spatial import distance
from scipy.special import softmax


def grey(y):
    """Images whose three channels are y, uint8 (N, 3, 32, 32), of (N, 32, 32)."""
    return np.repeat(np.asarray(y)[:, None], 3, axis=1).round().astype(np.uint8)


def noise(count, low, high, seed=1):
    return np.random.default_rng(seed).integers(low, high, (count, 3, 32, 32), dtype=np.uint8, endpoint=True)


def test_luminance_is_that_of_rec_601():
    colours = np.zeros((4, 3, 1, 1), np.uint8)
    colours[[0, 1, 2], [0, 1, 2]] = 255
    colours[3] = 255
    np.testing.assert_allclose(image_statistics.luminance(colours).ravel(), [76.245, 149.685, 29.07, 255])


def test_sharpness_of_plain_stripes_chequers_and_ramp():
    i, j = np.mgrid[:32, :32]
    images = grey([0 * i + 7, 200 * (j % 2), 200 * ((i + j) % 2), 3 * i + 2 * j])
    # Stripes: half of the neighbours, those across, differ; the ramp falls by 2 across and 3 down.
    np.testing.assert_allclose(image_statistics.sharpness(images), [0, 100, 200, 2.5])
    transposed = images.transpose(0, 1, 3, 2)
    np.testing.assert_allclose(image_statistics.sharpness(transposed), [0, 100, 200, 2.5])


def test_sharpness_weighs_the_channels_as_luminance_does():
    image = np.zeros((1, 3, 32, 32), np.uint8)
    image[:, 1, :, ::2] = 100  # green stripes
    assert image_statistics.sharpness(image) == pytest.approx(58.7 / 2)


def test_blocks_change_nothing(monkeypatch):
    images = noise(11, 0, 255)
    whole = (
        image_statistics.sharpness(images),
        image_statistics.power_spectrum(images)[1],
        *image_statistics.pairwise_distances(images[:, 0, 0]),
    )
    monkeypatch.setattr(image_statistics, "BLOCK", 4)
    parts = (
        image_statistics.sharpness(images),
        image_statistics.power_spectrum(images)[1],
        *image_statistics.pairwise_distances(images[:, 0, 0]),
    )
    for one, other in zip(whole, parts, strict=True):
        np.testing.assert_allclose(one, other)


@pytest.mark.parametrize("wrong", [np.zeros((2, 3, 8, 8)), np.zeros((2, 8, 8, 3), np.uint8), np.zeros(3, np.uint8)])
def test_images_of_another_kind_are_refused(wrong):
    with pytest.raises(ValueError, match=r"expected uint8 \(N, 3, H, W\)"):
        image_statistics.sharpness(wrong)


def test_white_noise_has_a_flat_spectrum_of_its_variance():
    images = noise(3000, 0, 255)
    frequencies, power = image_statistics.power_spectrum(images)
    # Uniform on 256 values: variance (256^2 - 1) / 12 of each channel, weighted by the squares of Rec. 601.
    variance = (256**2 - 1) / 12 * (0.299**2 + 0.587**2 + 0.114**2)
    np.testing.assert_allclose(frequencies, np.arange(1, 17) / 32)
    # The first ring lies beside the mean that was taken away.
    np.testing.assert_allclose(power[:, 1:].mean(0), variance, rtol=0.03)


def test_a_sinusoid_peaks_at_its_frequency_with_the_known_height():
    amplitude, k = 100, 8
    y = 127.5 + amplitude * np.cos(2 * np.pi * k * np.arange(32) / 32)
    frequencies, power = image_statistics.power_spectrum(grey(np.broadcast_to(y, (1, 32, 32))))
    assert frequencies[power[0].argmax()] == k / 32
    # By hand: the windowed wave has, at (k, 0) and its mirror, (A/2 sum w)^2 / sum w^2 = A^2/4 (4/9) 32^2, and
    # the Hann window spreads it over 3 x 3 modes with weights 1, 1/4 and 1/16. Of these the ring of radius 8
    # holds (8, 0) and (8, +-1); the ring has 2 * 26 = 52 modes.
    k_x, k_y = np.meshgrid(np.arange(-16, 16), np.arange(-16, 16))
    modes = np.rint(np.hypot(k_x, k_y)) == 8
    centre = amplitude**2 / 4 * 4 / 9 * 32**2
    assert power[0, 7] == pytest.approx(2 * centre * (1 + 2 / 4) / modes.sum(), rel=0.01)
    # Parseval: all the power lies in the rings 7 to 9, and its integral is the windowed variance, A^2/2.
    counts = [(np.rint(np.hypot(k_x, k_y)) == ring).sum() for ring in range(1, 17)]
    assert power[0] @ counts / 32**2 == pytest.approx(amplitude**2 / 2, rel=0.01)
    assert power[0, [0, 1, 2, 3, 4, 11, 12, 13, 14, 15]].max() < 1e-3 * power[0, 7]


def test_a_ramp_does_not_leak_into_high_frequencies():
    i, j = np.mgrid[:32, :32]
    frequencies, power = image_statistics.power_spectrum(grey([4.0 * i + 3 * j]))
    assert image_statistics.high_frequency_power(frequencies, power)[0] < 0.01  # without a window 116
    assert power[0, 0] > 1e4


def test_spectrum_does_not_see_brightness():
    dark = noise(5, 0, 100)
    np.testing.assert_allclose(
        image_statistics.power_spectrum(dark)[1], image_statistics.power_spectrum(dark + np.uint8(100))[1]
    )


def test_high_frequency_power_is_the_area_of_the_rings():
    frequencies = np.arange(1, 17) / 32
    flat = image_statistics.high_frequency_power(frequencies, np.full((2, 16), 7.0))
    # The rings 9 to 16, from 8.5/32 to 16.5/32.
    np.testing.assert_allclose(flat, 7 * np.pi * (16.5**2 - 8.5**2) / 32**2)
    low = np.where(frequencies <= 0.25, 1.0, 0)
    assert image_statistics.high_frequency_power(frequencies, low[None]) == 0


def test_distances_on_a_line():
    average, nearest = image_statistics.pairwise_distances(np.arange(1200.0)[:, None])
    assert average.mean() == pytest.approx(1201 / 3)  # mean |i - j| over pairs is (N + 1) / 3
    np.testing.assert_allclose(nearest, 1)


def test_distances_of_a_simplex():
    average, nearest = image_statistics.pairwise_distances(5 * np.eye(7))
    np.testing.assert_allclose(average, 5 * np.sqrt(2))
    np.testing.assert_allclose(nearest, 5 * np.sqrt(2))


def test_distances_agree_with_scipy_and_duplicates_are_near():
    points = np.random.default_rng(2).normal(1000, 1, (30, 50)).astype(np.float32)
    points[17] = points[3]
    average, nearest = image_statistics.pairwise_distances(points)
    truth = distance.pdist(points.astype(np.float64))
    assert average.mean() == pytest.approx(truth.mean(), rel=1e-9)
    square = distance.squareform(truth) + np.diag(np.full(30, np.inf))
    np.testing.assert_allclose(nearest, square.min(1), atol=1e-5)
    assert max(nearest[3], nearest[17]) < 1e-5


@pytest.mark.parametrize("wrong", [np.zeros((1, 4)), np.zeros(4)])
def test_distances_need_two_points(wrong):
    with pytest.raises(ValueError, match=r"expected \(N, D\), N >= 2"):
        image_statistics.pairwise_distances(wrong)


def test_class_histogram_counts_the_first_choices():
    logits = np.full((8, 10), -3.0)
    logits[np.arange(8), [0, 0, 0, 0, 6, 6, 3, 3]] = 1
    np.testing.assert_array_equal(
        image_statistics.class_histogram(logits.argmax(1), 10), [0.5, 0, 0, 0.25, 0, 0, 0.25, 0, 0, 0]
    )


def test_top_probability_is_that_of_the_softmax():
    logits = np.random.default_rng(3).normal(0, 3, (20, 10)).astype(np.float32)
    np.testing.assert_allclose(image_statistics.top_probability(logits), softmax(logits.astype(float), 1).max(1))
    np.testing.assert_allclose(image_statistics.top_probability(np.full((1, 10), 1e4)), 0.1)


def test_entropy_in_nats():
    assert image_statistics.entropy(np.full(10, 0.1)) == pytest.approx(np.log(10))
    assert image_statistics.entropy([1, 0, 0]) == 0
    assert image_statistics.entropy([0.5, 0.25, 0.25]) == pytest.approx(1.5 * np.log(2))


def test_jensen_shannon_from_zero_to_log_two():
    p, q = np.array([0.2, 0.3, 0.5, 0]), np.array([0.1, 0.1, 0.1, 0.7])
    assert image_statistics.jensen_shannon(p, p) == 0
    assert image_statistics.jensen_shannon([1, 0], [0, 1]) == pytest.approx(np.log(2))
    assert image_statistics.jensen_shannon(p, q) == pytest.approx(distance.jensenshannon(p, q) ** 2)
    assert image_statistics.jensen_shannon(p, q) == image_statistics.jensen_shannon(q, p)


def drawn(shear=0.0, ground=50, ink=200):
    """A grey image with an upright stroke of 4 pixels, leaning to the right by `shear` pixels for each pixel up."""
    image = np.full((3, 32, 32), ground, np.uint8)
    for row in range(4, 28):
        left = round(14 + shear * (15.5 - row))
        image[:, row, left : left + 4] = ink
    return image


def test_appearance_of_plain_colours_is_their_colour():
    colours = np.array([[200, 100, 50], [10, 10, 10]], np.uint8)
    found = image_statistics.appearance(np.broadcast_to(colours[:, :, None, None], (2, 3, 32, 32)))
    np.testing.assert_allclose(found["brightness"], colours @ [0.299, 0.587, 0.114])
    np.testing.assert_allclose(found["redness"], [150, 0])
    np.testing.assert_allclose(found["greenness"], [-25, 0])
    for name in ("contrast", "polarity", "slant"):
        np.testing.assert_allclose(found[name], 0, atol=1e-9)


def test_polarity_is_the_middle_less_the_rest():
    image = np.full((1, 3, 32, 32), 60, np.uint8)
    image[:, :, 8:24, 8:24] = 90
    found = image_statistics.appearance(np.concatenate([image, 150 - image]))
    np.testing.assert_allclose(found["polarity"], [30, -30])
    np.testing.assert_allclose(found["contrast"], 30 * np.sqrt(0.25 * 0.75))


@pytest.mark.parametrize("ground, ink", [(50, 200), (200, 50)])
def test_slant_is_the_lean_of_a_stroke_dark_or_bright(ground, ink):
    pictures = np.stack([drawn(shear, ground, ink) for shear in (-0.3, 0.0, 0.3)])
    np.testing.assert_allclose(image_statistics.appearance(pictures)["slant"], [-0.3, 0, 0.3], atol=0.02)


def test_probabilities_are_scipy_s_softmax():
    logits = np.random.default_rng(1).normal(0, 300, (20, 10))
    np.testing.assert_allclose(image_statistics.probabilities(logits), softmax(logits, axis=1), atol=1e-12)
