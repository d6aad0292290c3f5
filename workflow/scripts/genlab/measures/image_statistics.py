"""Statistics of a set of images: sharpness, spectrum, diversity, classes.

A number says nothing alone: compare it with that of as many real images. Images are
uint8 (N, 3, 32, 32); features and logits are a classifier's. numpy only.
"""

import numpy as np

REC_601 = np.array([0.299, 0.587, 0.114])  # luminance of red, green and blue (ITU-R BT.601)
BLOCK = 500  # images or points at a time, to bound the memory


def luminance(images):
    """Rec. 601 luminance, float64 (N, H, W) in grey levels 0..255, of uint8 images (N, 3, H, W)."""
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1] != 3:
        raise ValueError(f"images are {images.dtype} {images.shape}; expected uint8 (N, 3, H, W)")
    return np.einsum("nchw,c->nhw", images, REC_601)


def sharpness(images):
    """(N,): mean absolute difference of neighbouring pixels' luminance, across and down, in grey levels.

    images: uint8 (N, 3, 32, 32). A plain image has 0. Noise counts as much as detail.
    """

    def each(block):
        y = luminance(block)
        across, down = np.abs(np.diff(y, axis=2)), np.abs(np.diff(y, axis=1))
        return (across.sum((1, 2)) + down.sum((1, 2))) / (across[0].size + down[0].size)

    return _by_blocks(each, images)


def appearance(images):
    """What an image looks like at a glance, {name: (N,) float64}; images uint8 (N, 3, 32, 32).

    brightness  mean luminance
    contrast    standard deviation of the luminance
    redness     red less blue, mean
    greenness   green less the mean of red and blue, mean
    polarity    luminance of the middle 16 x 16 pixels less that of the rest: a bright digit on dark ground is positive
    slant       how far the ink of the middle 24 columns leans to the right for each pixel upwards; the ink of a pixel
                is how far its luminance is from the image's median
    """

    def each(block):
        y = luminance(block)
        red, green, blue = block.mean((2, 3)).T
        middle, whole = y[:, 8:24, 8:24].mean((1, 2)), y.mean((1, 2))
        ink = np.abs(y - np.median(y, axis=(1, 2), keepdims=True))[:, :, 4:28]
        up, right = 15.5 - np.arange(32.0), np.arange(24.0) - 11.5
        weight = ink.sum((1, 2)) + 1e-9
        mean_up, mean_right = ink.sum(2) @ up / weight, ink.sum(1) @ right / weight
        variance = ink.sum(2) @ up**2 / weight - mean_up**2
        covariance = np.einsum("nij,i,j->n", ink, up, right) / weight - mean_up * mean_right
        return np.stack([
            whole, y.std((1, 2)), red - blue, green - (red + blue) / 2,
            (middle - whole) * 4 / 3, covariance / np.maximum(variance, 1e-9),
        ], 1)  # fmt: skip

    names = ("brightness", "contrast", "redness", "greenness", "polarity", "slant")
    return dict(zip(names, _by_blocks(each, images).T, strict=True))


def power_spectrum(images):
    """Radially averaged power spectrum of the luminance: frequencies (R,) and power (N, R).

    images: uint8 (N, 3, S, S). Frequencies run from 1/S to 0.5 cycles per pixel in rings 1/S wide;
    power is in squared grey levels per (cycle per pixel)^2, so that white noise of variance v has
    power v everywhere, and the integral over the plane of frequencies is the variance.

    The mean of each image is subtracted, and the rest multiplied by a Hann window (Welch 1967). Without the
    window, the jump between opposite edges leaks into all frequencies and hides how far the power of smooth
    images falls. Corners above 0.5 are left out, because rings there are incomplete.
    """
    size = images.shape[-1]
    hann = np.sin(np.pi * np.arange(size) / size) ** 2
    window = np.outer(hann, hann)
    k = np.fft.fftfreq(size, 1 / size)
    radius = np.rint(np.hypot(k[:, None], k)).astype(int).ravel()
    rings = (radius[:, None] == np.arange(1, size // 2 + 1)).astype(float)
    rings /= rings.sum(0)

    def each(block):
        y = luminance(block)
        y -= np.average(y, axis=(1, 2), weights=np.broadcast_to(window, y.shape))[:, None, None]
        power = np.abs(np.fft.fft2(y * window)) ** 2 / (window**2).sum()
        return power.reshape(len(y), -1) @ rings

    return np.arange(1, size // 2 + 1) / size, _by_blocks(each, images)


def high_frequency_power(frequencies, power, above=0.25):
    """(N,): variance in squared grey levels in the rings with `above` < f <= 0.5 cycles per pixel, of `power_spectrum`.

    Rings are one frequency step wide: of 32 x 32 pixels, those from 9/32 to 16/32 cover 0.266 to 0.516.
    """
    ring = 2 * np.pi * frequencies * (frequencies[1] - frequencies[0])  # the area of each ring
    return power @ np.where(frequencies > above, ring, 0)


def pairwise_distances(points):
    """Euclidean distances of each of N points (N, D): the mean to all others (N,), and to the nearest other (N,).

    The mean of the first is the mean over all pairs. Exact, in the memory of one block of rows.
    """
    x = np.asarray(points, dtype=np.float64)
    if x.ndim != 2 or len(x) < 2:
        raise ValueError(f"points have shape {x.shape}; expected (N, D), N >= 2")
    x = x - x.mean(0)  # smaller numbers, smaller rounding errors
    squares = (x**2).sum(1)
    average, nearest = np.empty(len(x)), np.empty(len(x))
    for start in range(0, len(x), BLOCK):
        rows = slice(start, start + BLOCK)
        distances = np.sqrt(np.maximum(squares[rows, None] + squares - 2 * x[rows] @ x.T, 0))
        itself = np.arange(len(distances)), np.arange(start, start + len(distances))
        distances[itself] = 0
        average[rows] = distances.sum(1) / (len(x) - 1)
        distances[itself] = np.inf
        nearest[rows] = distances.min(1)
    return average, nearest


def class_histogram(choices, classes):
    """Shares (classes,) of the classes among a classifier's first choices, integers (N,); they sum to 1."""
    return np.bincount(choices, minlength=classes) / len(choices)


def probabilities(logits):
    """A classifier's probabilities of the classes (N, C), from logits (N, C)."""
    logits = np.asarray(logits, dtype=np.float64)
    odds = np.exp(logits - logits.max(1, keepdims=True))
    return odds / odds.sum(1, keepdims=True)


def top_probability(logits):
    """(N,): the probability of the classifier's first choice, from logits (N, C)."""
    return probabilities(logits).max(1)


def entropy(p):
    """Entropy of a histogram p (C,) that sums to 1, in nats; log C if all shares are equal."""
    p = np.asarray(p)
    return float(-(p[p > 0] * np.log(p[p > 0])).sum())


def jensen_shannon(p, q):
    """Jensen-Shannon divergence of two histograms (C,), in nats: 0 if equal, log 2 if disjoint."""
    p, q = np.asarray(p), np.asarray(q)
    return max(0.0, entropy((p + q) / 2) - (entropy(p) + entropy(q)) / 2)  # rounding can give less than 0


def _by_blocks(function, images):
    return np.concatenate([function(images[i : i + BLOCK]) for i in range(0, len(images), BLOCK)])
