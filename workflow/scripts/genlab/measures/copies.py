"""Images that are copies of others, exact or near. numpy only."""

import hashlib

import numpy as np

NEAR = 5.0  # grey levels of root mean square difference up to which an image counts as a near copy
CANDIDATES = 20  # of each image, those with the most similar 8 x 8 means, are compared pixel by pixel
BLOCK = 500  # images at a time


def nearest(images, originals):
    """Root mean square difference to the most similar original, in grey levels: float64 (N,).

    images (N, 3, 32, 32) and originals (M, 3, 32, 32), uint8. The difference of 4 x 4 block means is never larger than
    that of the pixels. So candidates are found by those, and an image at NEAR or below is found unless CANDIDATES
    others are as near by their means.
    """
    small, found = _means(originals), np.empty(len(images))
    squares = (small**2).sum(1)
    candidates = min(CANDIDATES, len(originals))
    for start in range(0, len(images), BLOCK):
        block = images[start : start + BLOCK]
        distances = squares - 2 * _means(block) @ small.T  # but for a constant of each row
        chosen = np.argpartition(distances, candidates - 1, axis=1)[:, :candidates]
        for row, (image, rows) in enumerate(zip(block, chosen, strict=True)):
            difference = originals[rows].astype(np.float32) - image
            found[start + row] = np.sqrt(np.square(difference).mean((1, 2, 3)).min())
    return found


def count(images, *originals):
    """{"exact", "near", "repeated"}: how many images equal one of several sets of real ones, nearly, or each other.

    A set that is None is left out.
    """
    distances = np.min([nearest(images, each) for each in originals if each is not None], axis=0)
    exact, near = int((distances == 0).sum()), int((distances <= NEAR).sum())
    return {"exact": exact, "near": near - exact, "repeated": repeated(images)}


def repeated(images):
    """How many images (N, ...) equal an earlier one."""
    return len(images) - len(_digests(images))


def equal(images, originals):
    """How many images (N, ...) equal one of `originals` (M, ...)."""
    known = _digests(originals)
    return sum(_digest(image) in known for image in images)


def _digests(images):
    return {_digest(image) for image in images}


def _digest(image):
    """16 bytes in the place of an image's thousands."""
    return hashlib.blake2b(image.tobytes(), digest_size=16).digest()


def _means(images):
    """Means of blocks of 4 x 4 pixels about mid-grey, float32 (N, 192)."""
    blocks = images.reshape(len(images), 3, 8, 4, 8, 4)
    return (blocks.mean((3, 5), dtype=np.float32) - 127.5).reshape(len(images), -1)
