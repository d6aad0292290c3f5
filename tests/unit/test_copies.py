"""Copies of images: distances against brute force, and what is found."""

import numpy as np
import pytest
from genlab.measures import copies

RNG = np.random.default_rng(1)


@pytest.fixture
def originals():
    return RNG.integers(0, 256, (70, 3, 32, 32), np.uint8)


def test_an_exact_copy_has_distance_zero(originals):
    found = copies.nearest(originals[[5, 40]], originals)
    assert found.tolist() == [0, 0]


def test_a_near_copy_has_the_root_mean_square_difference(originals):
    changed = np.clip(originals[:30].astype(int) + RNG.integers(-6, 7, originals[:30].shape), 0, 255).astype(np.uint8)
    every = np.sqrt(((changed[:, None].astype(float) - originals) ** 2).mean((2, 3, 4))).min(1)
    np.testing.assert_allclose(copies.nearest(changed, originals), every, rtol=1e-5)
    assert (every < copies.NEAR).all()


def test_another_image_is_far(originals):
    assert copies.nearest(RNG.integers(0, 256, (4, 3, 32, 32), np.uint8), originals).min() > 50


def test_fewer_originals_than_candidates_will_do(originals):
    assert copies.nearest(originals[:3], originals[:2])[:2].tolist() == [0, 0]


def test_blocks_join(originals, monkeypatch):
    whole = copies.nearest(originals[::-1], originals[:40])
    monkeypatch.setattr(copies, "BLOCK", 7)
    np.testing.assert_array_equal(copies.nearest(originals[::-1], originals[:40]), whole)


def test_repeated_images_are_counted_once_each(originals):
    assert copies.repeated(originals) == 0
    assert copies.repeated(originals[[1, 2, 1, 1, 3, 2]]) == 3


def test_copies_are_counted_over_several_sets_of_originals(originals):
    near = np.clip(originals[[50]].astype(int) + 2, 0, 255).astype(np.uint8)
    pictures = np.concatenate([originals[[5, 5, 40]], near, RNG.integers(0, 256, (2, 3, 32, 32), np.uint8)])
    assert copies.count(pictures, originals[:30], originals[30:]) == {"exact": 3, "near": 1, "repeated": 1}
    assert copies.count(pictures, originals[:30], None) == {"exact": 2, "near": 0, "repeated": 1}
