"""Real images to score samples against, from any file that holds some."""

import numpy as np

from .. import InputError, files
from . import arrays, images, svhn

BATCH = 500  # real images whose features are computed at a time


def read(path, split):
    """(images uint8 (N, 3, 32, 32), `about` of the data, what was taken of it) of a file or directory.

    `split` is what is taken of a prepared file; of the others, which hold one, all images are.
    """
    taken = {"file": path.name, "sha256": None if path.is_dir() else files.checksum(path)}
    if path.is_dir():
        found, about = np.concatenate(list(images.read_directory(path)[1])), {"title": f"images in {path.name}"}
    elif path.suffix == ".mat":
        found, about = svhn.read_mat(path)[0], {"title": path.name}
        digests = files.digests(path)
        if any(known.items() <= digests.items() for known in arrays.OFFICIAL["SVHN"].values()):
            about = {"title": "SVHN"}
    elif path.suffix == ".npz":
        prepared = arrays.load_images(path)
        found, about, taken["split"] = getattr(prepared, f"{split}_images"), prepared.about, split
    else:
        raise InputError(f"{path}: cannot be read as real images; give a .mat, a prepared .npz, or a directory")
    return found, about, taken | {"images": len(found), "title": about["title"]}


def training_pool(path, reference):
    """`read` of real training images: of `path`, or if it is None of a prepared `reference`; None if there are none.

    Raises `InputError` if they would be the reference's own images.
    """
    path = path or (reference if reference.suffix == ".npz" else None)
    pool = read(path, "train") if path else None
    if pool and "split" not in pool[2] and path.resolve() == reference.resolve():
        raise InputError(f"{path}: the reference cannot be its own floor; give --floor training images")
    return pool


def validation_images(path, reference):
    """The validation images of where `training_pool` takes its images from, if that is a prepared file; else None.

    A model that was trained elsewhere may have seen them.
    """
    path = path or reference
    return arrays.load_images(path).valid_images if path.suffix == ".npz" else None


def batches(images):
    """Batches of an array of images."""
    return (images[start : start + BATCH] for start in range(0, len(images), BATCH))
