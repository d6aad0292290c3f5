"""Differentiable augmentation: what each change leaves as it is, its range, and its gradient."""

import pytest
import torch
from genlab.models import augmentation


@pytest.fixture
def images():
    torch.manual_seed(0)
    return torch.rand(40, 3, 16, 32, dtype=torch.float64) * 2 - 1


def test_none_changes_nothing(images):
    assert augmentation.augment(images, "none") is images


def test_brightness_adds_one_number_to_an_image(images):
    change = (augmentation.brightness(images) - images).flatten(1)
    torch.testing.assert_close(change, change[:, :1].expand_as(change))
    assert change.min() < -0.4 and change.max() > 0.4 and change.abs().max() <= 0.5


def test_contrast_keeps_the_mean_and_scales_the_rest(images):
    changed = augmentation.contrast(images)
    torch.testing.assert_close(changed.mean((1, 2, 3)), images.mean((1, 2, 3)))
    scale = changed.flatten(1).std(1) / images.flatten(1).std(1)
    assert 0.5 <= scale.min() < 0.6 and 1.4 < scale.max() <= 1.5


def test_saturation_keeps_the_grey_of_each_pixel_and_scales_the_colour(images):
    changed = augmentation.saturation(images)
    torch.testing.assert_close(changed.mean(1), images.mean(1))
    scale = (changed - changed.mean(1, keepdim=True)).flatten(1).norm(dim=1)
    scale = scale / (images - images.mean(1, keepdim=True)).flatten(1).norm(dim=1)
    assert 0 <= scale.min() < 0.2 and 1.8 < scale.max() <= 2


def test_translation_shifts_by_whole_pixels_and_fills_with_zero(images):
    shifts = set()
    for image, changed in zip(images, augmentation.translation(images), strict=True):
        found = [
            (down, right)
            for down in range(-2, 3)
            for right in range(-4, 5)
            if torch.equal(changed, _shifted(image, down, right))
        ]
        assert len(found) == 1
        shifts.update(found)
    assert {down for down, _ in shifts} == set(range(-2, 3)) and {right for _, right in shifts} == set(range(-4, 5))


def _shifted(image, down, right):
    height, width = image.shape[1:]
    result = torch.zeros_like(image)
    rows, columns = (slice(max(0, s), n + min(0, s)) for s, n in ((down, height), (right, width)))
    from_rows, from_columns = (slice(max(0, -s), n + min(0, -s)) for s, n in ((down, height), (right, width)))
    result[:, rows, columns] = image[:, from_rows, from_columns]
    return result


@pytest.mark.parametrize("change", augmentation.POLICIES["colour_translation"])
def test_gradients_are_those_of_finite_differences(images, change):
    x = images[:2, :, :8, :8].clone().requires_grad_()

    def changed(x):
        torch.manual_seed(1)  # the same change each time
        return change(x)

    torch.autograd.gradcheck(changed, x)


def test_changes_are_applied_in_turn(images):
    torch.manual_seed(2)
    together = augmentation.augment(images, "colour_translation")
    torch.manual_seed(2)
    coloured = augmentation.augment(images, "colour")
    torch.testing.assert_close(together, augmentation.translation(coloured))
