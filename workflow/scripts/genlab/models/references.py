"""Real images to score samples against, from any file that holds some, and the real-data FID."""

import numpy as np

from .. import InputError, files
from ..data import arrays, images, svhn
from ..measures import frechet, intervals

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
        prepared = arrays.load_svhn(path)
        found, about, taken["split"] = getattr(prepared, f"{split}_images"), prepared.about, split
    else:
        raise InputError(f"{path}: cannot be read as real images; give a .mat, a prepared .npz, or a directory")
    return found, about, taken | {"images": len(found), "title": about["title"]}


def batches(images):
    """Batches of an array of images."""
    return (images[start : start + BATCH] for start in range(0, len(images), BATCH))


def real_data_fid(pool, samples, draws, seed, features, real_moments):
    """The distances of random draws of `samples` real images from `pool` (see `read`) to the reference.

    A draw is without replacement; where the pool has no more than `samples` images it is the whole pool.
    """
    real, _, taken = pool
    size = min(samples, len(real))
    draws = draws if size < len(real) else 1
    rng = np.random.default_rng(seed)
    chosen = np.stack([rng.choice(len(real), size, replace=False) for _ in range(draws)])
    used, rows = np.unique(chosen, return_inverse=True)  # each image's features are computed once
    found = np.concatenate(list(features(real[part] for part in batches(used))))
    values = [
        frechet.moments([found[draw]], f"features of {taken['file']}").distance(real_moments)
        for draw in rows.reshape(draws, size)
    ]
    return intervals.spread(values) | {"images": size, "source": taken}
