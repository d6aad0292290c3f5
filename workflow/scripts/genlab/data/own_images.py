"""Labelled colour images of one's own: a folder with one sub-folder a class, or an NPZ file.

Images are read as those of `samples`: any of them may be converted, by the rules stated in docs/own_models.md.
"""

from collections import Counter
from pathlib import Path

import numpy as np

from .. import InputError
from . import npz, samples
from .images import visible

CLASSES = (2, 1000)  # fewest and most
LIMIT = 1_000_000  # bytes of the names of the classes


def read(path):
    """(images uint8 (N, 3, 32, 32), labels int64 (N,), names, {what was done: number of images}) of a folder or NPZ.

    names: of the classes, a list of text; label i is of names[i]. Raises `InputError`, naming the file, for what is
    refused.
    """
    path = Path(path)
    if path.is_dir():
        return _read_folder(path)
    if path.suffix.lower() == ".npz":
        return _read_npz(path)
    raise InputError(
        f"{path}: {samples.problem(path)}; give a folder with one folder of images a class, or an .npz file"
    )


def count(path):
    """How many images `read` would find, without reading them; 0 of what it would refuse."""
    path = Path(path)
    if path.is_dir():
        return sum(len(samples.image_files(entry.path)[0]) for entry in visible(path) if entry.is_dir())
    try:
        with npz.opened(path) as content:
            npz.check(content, ["labels"], samples.LIMIT)
            return len(content["labels"])
    except Exception:  # zipfile raises errors of any kind for a damaged archive
        return 0


def align(labels, names, wanted, path):
    """Labels (N,) of the classes `names`, renumbered as those of `wanted`. InputError if a class is not there."""
    if unknown := [name for name in names if name not in wanted]:
        raise InputError(f"{path}: holds the class {unknown[0]!r}, which the training images lack; leave it out")
    return np.array([wanted.index(name) for name in names])[labels]


def _read_folder(folder):
    """`read` of a folder in the layout of torchvision's `ImageFolder`."""
    layout = "give one folder of images a class, as torchvision's ImageFolder reads it"
    entries = visible(folder)
    classes = [entry for entry in entries if entry.is_dir()]
    loose = [entry.name for entry in entries if not entry.is_dir() and samples.is_image(entry.path)]
    if loose:
        raise InputError(f"{folder}: the image {loose[0]} lies in no class; {layout}")
    _check_number(len(classes), folder, layout)
    files, labels, others = [], [], 0
    for label, entry in enumerate(classes):
        found, left_out = samples.image_files(entry.path)
        if not found:
            raise InputError(f"{entry.path}: the class holds no image; {layout}, or remove it")
        files += found
        labels += [label] * len(found)
        others += left_out
    pixels, done = samples.decode_all(files)
    if others:
        done[samples.LEFT_OUT] = others
    return pixels, np.array(labels), [entry.name for entry in classes], dict(done)


def _read_npz(path):
    """`read` of an NPZ file of `images`, `labels` and maybe `classes`, the names."""
    images = samples.read_npz(path)
    expected = "give one whole number from 0 for each image"
    try:
        with npz.opened(path) as content:
            npz.check(content, ["labels"], 8 * len(images) + 1000)  # 1,000 bytes for its description
            if "classes" in content.files:
                npz.check(content, ["classes"], LIMIT)
            labels = content["labels"]
            names = content["classes"] if "classes" in content.files else None
    except Exception as error:  # zipfile raises errors of any kind for a damaged archive
        raise InputError(f"{path}: its labels cannot be read ({error}); {expected}") from None
    if labels.shape == (len(images),) and labels.dtype.kind in "iu" and labels.min() < 0:
        raise InputError(f"{path}: the label {labels.min()} among 'labels'; {expected}")
    if labels.shape != (len(images),) or labels.dtype.kind not in "iu":
        raise InputError(f"{path}: 'labels' is {labels.dtype} {labels.shape}; {expected}")
    if names is None:
        names = np.array([str(number) for number in range(min(int(labels.max()), CLASSES[1]) + 1)])
    if names.ndim != 1 or names.dtype.kind != "U" or len(set(names.tolist())) != len(names):
        raise InputError(f"{path}: 'classes' is {names.dtype} {names.shape}; give one name, as text, for each class")
    _check_number(max(int(labels.max()) + 1, len(names)), path, expected)
    if labels.max() >= len(names):
        raise InputError(
            f"{path}: label {labels.max()}, but 'classes' names {len(names)}; give a name for each label from 0"
        )
    return images, labels.astype(np.int64), names.tolist(), {}


def _check_number(found, path, layout):
    if not CLASSES[0] <= found <= CLASSES[1]:
        what = "one class" if found == 1 else f"{found} classes"
        raise InputError(f"{path}: {what}, expected {CLASSES[0]} to {CLASSES[1]}; {layout}")


def check_training(labels, names, path):
    """Raise `InputError` unless every class has two images or more: one to train on, one for a split."""
    counts = Counter(labels.tolist())
    if few := [name for label, name in enumerate(names) if counts[label] < 2]:
        raise InputError(f"{path}: too few training images of the class {few[0]!r}; give two or more of each class")
