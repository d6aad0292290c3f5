"""Every NPZ file that the project writes and reads: prepared data, features, images for figures.

Each holds arrays and `about`, JSON text that describes them. Nothing here imports torch.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .. import InputError
from ..files import REMAKE, check_fields, digests, read_field
from . import npz
from .amat import PIXELS

# Checksums of the original files. A file with another checksum is never presented as an original.
OFFICIAL = {
    "Binarized MNIST": {
        "train": {"sha256": "ad693b29f94c14277b095f5238ddefbbdaaae0939789dd2f4f0205278cee3e4d"},
        "valid": {"sha256": "1de3d397c40fe8eeb33dafd4099a1f665ec01e96d9be234aaeeac8a34930e2e2"},
        "test": {"sha256": "e6687bfea3f820c174f33b7865140b2a2dd2930ef786f35d45795fc193b5ab2c"},
    },
    "SVHN": {
        "train": {"bytes": 182040794, "md5": "e26dedcc434d2e4c54c9b2d4a06d8373"},
        "test": {"bytes": 64275384, "md5": "eb5a983be6a315427106f1b164d9cef3"},
    },
}
LIMIT = 2**33  # bytes that an array may take
# The paths of an interpolation in latents.npz: between latents on a line and on the sphere, and between images.
PATHS = ("latent", "sphere", "image")


def write(path, about, **arrays):
    """Write arrays and a JSON-able `about` as .npz. The same content gives the same bytes."""
    with Path(path).open("wb") as file:
        np.savez(file, about=np.array(json.dumps(about)), **arrays)


def read(path, names, what="", remedy=REMAKE):
    """The named arrays of a file that `write` wrote, and its `about`: ({name: array}, parsed JSON).

    Raises `InputError` for any other file; `what` names the expected file in the message.
    """
    what = what or f"an NPZ file of the arrays {', '.join(names)}"
    with Path(path).open("rb") as file:
        try:
            content = npz.opened(file)
            npz.check(content, [*names, "about"], LIMIT)
            fields, text = {name: content[name] for name in names}, str(content["about"])
        except MemoryError:
            raise
        except Exception as error:  # zipfile raises errors of any kind for a damaged archive
            raise InputError(f"{path}: not {what} ({error}); {remedy}") from None
    try:
        return fields, json.loads(text)
    except (ValueError, RecursionError):
        raise InputError(f"{path}: 'about' is not JSON text; {remedy}") from None


@dataclass(frozen=True, eq=False)
class BinarizedMNIST:
    """Images as packed bits, uint8 (N, 98); `amat.unpack_bits` gives pixels. `about`: see `describe`."""

    train: np.ndarray
    valid: np.ndarray
    test: np.ndarray
    about: dict


@dataclass(frozen=True, eq=False)
class ColourImages:
    """Images uint8 (N, 3, 32, 32), labels (N,), whole numbers from 0. `about`: see `describe`.

    `about["classes"]`, where it is there, names the classes; without it they are the digits.
    """

    train_images: np.ndarray
    train_labels: np.ndarray
    valid_images: np.ndarray
    valid_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray
    about: dict

    @property
    def classes(self):
        """The names of the classes, a list of text."""
        return class_names(self.about)


def describe(dataset, declared, files, counts, **more):
    """The `about` of a prepared file: dataset, source, title, files (SHA-256), counts, and `more`.

    declared: "embedded" or "official", what the files claim to be; files: {split: path}.
    The source is "official" only if every file has the checksum of the original. Files that claim to be
    official and are not are "custom". Raises InputError if two files have the same name or content.
    """
    found = {split: digests(path) for split, path in files.items()}
    names = [Path(path).name for path in files.values()]
    hashes = [each["sha256"] for each in found.values()]
    for path, name, sha256 in zip(files.values(), names, hashes, strict=True):
        if hashes.count(sha256) > 1:
            raise InputError(f"{path}: given for two splits, or equal to another split's file; give each split its own")
        if names.count(name) > 1:
            raise InputError(f"{path}: another split's file is called {name} too; give the files different names")
    official = all(found[split].items() >= known.items() for split, known in OFFICIAL[dataset].items())
    source = "official" if official else "embedded" if declared == "embedded" else "custom"
    title = {
        "official": dataset,
        "embedded": f"embedded stand-in for {dataset}",
        "custom": f"custom files in the format of {dataset}",
    }[source]
    listed = dict(zip(names, hashes, strict=True))
    return {"dataset": dataset, "source": source, "title": title, "files": listed, "counts": counts, **more}


def class_names(about):
    """The names of the classes of colour images, a list of text, from the `about` of their file."""
    return about.get("classes", [str(digit) for digit in range(10)])


def class_word(about):
    """What a class is called: "digit", or "class" of images of one's own."""
    return "class" if "classes" in about else "digit"


def class_titles(about):
    """What figures call each class: "digit 3", or "class rose"."""
    return [f"{class_word(about)} {name}" for name in class_names(about)]


def as_labels(values, classes):
    """Labels of so many classes, numbered from 0: uint8 if that is enough, else uint16."""
    return np.asarray(values).astype(np.uint8 if classes <= 256 else np.uint16)


def load_binarized_mnist(path):
    """The `BinarizedMNIST` of a file that prepare_binarized_mnist.py wrote; InputError if it is none."""
    rows = dict.fromkeys(("train", "valid", "test"), (PIXELS // 8,))
    remedy = "make the file with prepare_binarized_mnist.py"
    return BinarizedMNIST(**_load_prepared(path, ("Binarized MNIST",), "Binarized MNIST", remedy, rows))


def load_images(path):
    """The `ColourImages` of a file that prepare_svhn.py or prepare_images.py wrote; InputError if it is none."""
    splits = ("train", "valid", "test")
    rows = {f"{split}_images": (3, 32, 32) for split in splits} | {f"{split}_labels": () for split in splits}
    remedy = "make the file with prepare_svhn.py or prepare_images.py"
    fields = _load_prepared(path, ("SVHN", "own images"), "colour images", remedy, rows)
    names = class_names(fields["about"])
    if not isinstance(names, list) or len(names) < 2 or not all(isinstance(name, str) for name in names):
        raise InputError(f"{path}: 'classes' is no list of two names or more; {remedy}")
    for split in splits:
        images, labels = fields[f"{split}_images"], fields[f"{split}_labels"]
        if len(images) != len(labels) or labels.max() >= len(names):
            raise InputError(
                f"{path}: {len(images)} {split} images and {len(labels)} labels up to {labels.max()}, "
                f"expected one label 0 to {len(names) - 1} for each; {remedy}"
            )
    return ColourImages(**fields)


def check_trained_on(prepared, trained, model_path, data_path):
    """Raise InputError unless a model was trained on the data set `prepared`; trained: the `about` of its file."""
    if trained["data"] != prepared.about:
        raise InputError(
            f"{model_path}: trained on {trained['data']['title']} with other files than those in {data_path}; "
            "give the data that it was trained on"
        )


@dataclass(frozen=True)
class Features:
    """A feature network's features of N images.

    features float32 (N, D); classes uint8 or uint16 (N,), the classifier's first choices; rows int64 (N,), the index
    of each image in its split; images uint8 (S, 3, 32, 32), the first S of the images; about, what they are.
    """

    features: np.ndarray
    classes: np.ndarray
    rows: np.ndarray
    images: np.ndarray
    about: dict


def read_samples(path):
    """(images uint8 (N, 3, 32, 32), `about`) of a file that import_samples.py wrote; InputError if it is none."""
    remedy = "make the file with import_samples.py"
    fields, about = read(path, ("images",), "a file of samples", remedy)
    found = fields["images"]
    if found.dtype != np.uint8 or found.ndim != 4 or found.shape[1:] != (3, 32, 32) or not len(found):
        raise InputError(f"{path}: 'images' is {found.dtype} {found.shape}, expected uint8 (N, 3, 32, 32); {remedy}")
    for field, kind in (("model", str), ("kind", str), ("seed", int)):
        read_field(about, field, kind, f"{path} about")
    return found, about


def load_features(path):
    """The `Features` of a file that extract_features.py wrote; InputError if it is none."""
    remedy = "make the file with extract_features.py"
    fields, about = read(path, ("features", "classes", "rows", "images"), "a file of features", remedy)
    check_fields(path, about, {"set": str, "subject": str, "data/title": str, "features": dict, "provenance": dict})
    found = Features(**fields, about=about)
    kinds = [array.dtype for array in fields.values()]
    wide = np.uint16 if found.classes.dtype == np.uint16 else np.uint8
    sound = kinds == [np.float32, wide, np.int64, np.uint8]
    shapes = sound and (found.features.ndim, found.images.ndim, found.images.shape[1:]) == (2, 4, (3, 32, 32))
    if not shapes or not len(found.features) == len(found.classes) == len(found.rows) > 0:
        raise InputError(f"{path}: not a file of features; {remedy}")
    if not np.isfinite(found.features).all():
        raise InputError(f"{path}: features hold NaN or infinity; {remedy}, from sound images and weights")
    return found


def _load_prepared(path, datasets, what, remedy, rows):
    """The arrays named in `rows` ({name: shape of one row}, not empty; labels uint8 or uint16, else uint8) and `about`.

    datasets: what `about` may call the data; what: the expected data in words.
    """
    fields, about = read(path, rows, f"a prepared file of {what}", remedy)
    if not isinstance(about, dict) or about.get("dataset") not in datasets:
        raise InputError(f"{path}: describes itself as something other than {what}; {remedy}")
    check_fields(path, about, {"title": str})
    for name, row in rows.items():
        array = fields[name]
        kinds = (np.uint8, np.uint16) if name.endswith("_labels") else (np.uint8,)
        if array.dtype not in kinds or array.ndim != 1 + len(row) or array.shape[1:] != row or array.size == 0:
            expected = ", ".join(["N", *map(str, row)])
            raise InputError(f"{path}: {name} is {array.dtype} {array.shape}, expected uint8 ({expected}); {remedy}")
    return fields | {"about": about}


def read_pictures(path, shapes):
    """The arrays of an NPZ file that `shapes` names, and its `about`: ({name: array}, dict).

    shapes  {name: shape}; a letter in a shape is a size of 1 or more, the same in every shape.
            Arrays (..., 3, 32, 32) must be uint8 images, all others finite numbers.

    `about` is JSON text with at least model, seed and data.title. Raises `InputError` for anything else.
    """
    fields, about = read(path, shapes)
    sizes = {}
    for name, shape in shapes.items():
        array = fields[name]
        kind, what = (np.uint8, "uint8") if shape[-3:] == (3, 32, 32) else (np.number, "numbers")
        expected = shape
        if array.ndim == len(shape):
            found = zip(shape, array.shape, strict=True)
            expected = tuple(sizes.setdefault(size, n) if isinstance(size, str) else size for size, n in found)
        if array.shape != expected or not array.size or not np.issubdtype(array.dtype, kind):
            raise InputError(
                f"{path}: {name!r} is {array.dtype} {array.shape}; "
                f"expected {what} ({', '.join(map(str, expected))}); {REMAKE}"
            )
        if not np.isfinite(array).all():
            raise InputError(f"{path}: {name!r} holds numbers that are not finite; {REMAKE}")
    for field, kind in (("model", str), ("data.title", str), ("seed", int)):
        read_field(about, field, kind, f"{path} about")
    return fields, about
