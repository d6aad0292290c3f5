"""Differentiable augmentation of a critic's images (Zhao et al. 2020, "Differentiable Augmentation", DiffAugment).

With few training images a critic learns them by heart. It is therefore shown only randomly changed images, real and
generated ones alike. The changes are differentiable, so the generator learns through them, and random for each image,
so that the generator's best images are still the unchanged ones. The critic is a function of changed images: its
gradient penalty is taken at interpolates of those.
"""

import torch
import torch.nn.functional as F


def augment(images, policy):
    """Images (M, 3, H, W) in [-1, 1], each changed by random amounts; policy: a key of `POLICIES`."""
    for change in POLICIES[policy]:
        images = change(images)
    return images


def _uniform(images, low, high):
    return low + (high - low) * torch.rand(len(images), 1, 1, 1, device=images.device)


def brightness(images):
    """Add a number from [-0.5, 0.5] to all pixels and channels."""
    return images + _uniform(images, -0.5, 0.5)


def contrast(images):
    """Scale the differences from the image's mean by a number from [0.5, 1.5]."""
    mean = images.mean((1, 2, 3), keepdim=True)
    return mean + _uniform(images, 0.5, 1.5) * (images - mean)


def saturation(images):
    """Scale the differences from the grey of each pixel by a number from [0, 2]."""
    grey = images.mean(1, keepdim=True)
    return grey + _uniform(images, 0, 2) * (images - grey)


def translation(images):
    """Shift by whole pixels, up to an eighth of the size along both axes; what enters is 0, mid-grey."""
    count, _, *size = images.shape
    margins = [extent // 8 for extent in size]
    padded = F.pad(images, (margins[1], margins[1], margins[0], margins[0])).permute(0, 2, 3, 1)
    rows, columns = (
        torch.randint(0, 2 * margin + 1, (count, 1), device=images.device) + torch.arange(extent, device=images.device)
        for margin, extent in zip(margins, size, strict=True)
    )
    image = torch.arange(count, device=images.device)[:, None, None]
    return padded[image, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


COLOUR = (brightness, saturation, contrast)
POLICIES = {
    "none": (),
    "colour": COLOUR,
    "translation": (translation,),
    "colour_translation": (*COLOUR, translation),
}
