"""File formats and data sets: Binarized MNIST (.amat), SVHN (MATLAB v5), the prepared .npz of each, and features.

Images are uint8 arrays here. Binarized MNIST is kept at one bit a pixel, rows of 98 bytes;
SVHN as (N, 3, 32, 32) with values 0..255 and labels 0..9.
"""

import io
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .. import InputError
from ..files import digests
from . import matlab

PIXELS = 784  # of a Binarized MNIST image, 28 x 28 row by row
BLOCK = 1024  # rows handled at a time, so that temporaries stay in the cache

# What the original files are known by. A file that differs is never presented as one of them.
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


# --- Binarized MNIST: lines of 0 and 1 ---------------------------------------------------------


def read_amat(path, width=PIXELS):
    """Images of a text file whose lines are `width` characters 0 or 1, single spaces between.

    Returns uint8 (N, ceil(width / 8)): the bits of a row packed first pixel highest (`unpack_bits`).
    Lines may end in a space and in \\r\\n, all alike, and the last may lack its end.
    Raises InputError naming line and column for anything else.
    """
    packed, line = [], 1
    with Path(path).open("rb", buffering=0) as file:
        first = file.read(2 * width + 2)
        ending = first[2 * width - 1 :].partition(b"\n")
        ending = ending[0] + ending[1] or b"\n"
        if not first or ending not in (b"\n", b"\r\n", b" \n", b" \r\n"):
            file.seek(0)
            raise _bad_line(path, 1, io.BufferedReader(file).readline(1 << 20), width)
        template = np.frombuffer(b" ".join([b"0"] * width) + ending, np.uint8)
        allowed = np.zeros(len(template), np.uint8)  # the bits in which a byte may differ from the template's
        allowed[: 2 * width : 2] = 1
        buffer = np.empty((BLOCK, len(template)), np.uint8)
        file.seek(0)
        while size := _fill(file, buffer):
            rows = -(-size // len(template))
            if 0 < (missing := rows * len(template) - size) <= len(ending):
                buffer.reshape(-1)[size : size + missing] = np.frombuffer(ending[-missing:], np.uint8)
                missing = 0
            block = buffer[: rows if missing == 0 else rows - 1]
            block ^= template
            if missing or (np.bitwise_or.reduce(block, axis=0, initial=0) & ~allowed).any():
                wrong = (block & ~allowed).any(axis=1)
                good = int(np.argmax(wrong)) if wrong.any() else len(block)
                block ^= template
                bad = buffer.reshape(-1)[good * len(template) : size].tobytes().split(b"\n", 1)[0] + b"\n"
                raise _bad_line(path, line + good, bad, width)
            packed.append(_pack(block, width))
            line += len(block)
    return np.concatenate(packed)


def _fill(file, buffer):
    """Read into the array as much as there is of an unbuffered file; returns the number of bytes."""
    view, size = memoryview(buffer.reshape(-1)), 0
    while size < len(view) and (count := file.readinto(view[size:])):
        size += count
    return size


def _pack(block, width):
    """Bits from bytes 0 and 1 at the even columns of uint8 (R, >= 2 width), as `np.packbits` would give them."""
    if width % 8:
        return np.packbits(block[:, : 2 * width : 2], axis=1)
    # Eight pixels are two words of four; the second goes between the first, and one product brings their bits together.
    words = np.ascontiguousarray(block[:, : 2 * width]).view(np.uint64)
    eight = words[:, 1::2] << np.uint64(8)
    eight |= words[:, ::2]
    eight *= np.uint64(sum(1 << shift for shift in (63, 46, 29, 12, 51, 34, 17, 0)))
    eight >>= np.uint64(56)
    return eight.astype(np.uint8)


def _bad_line(path, number, line, width):
    """The InputError that says what is wrong with a line that `read_amat` could not take."""
    expected = f"expected lines of {width} characters 0 or 1 with single spaces between; fetch or make the file again"
    text = line.rstrip(b"\r\n ")
    strange = next((i for i, byte in enumerate(text) if byte not in b"01 "), None)
    if not line:
        found = "the file is empty"
    elif strange is not None:
        found = f"line {number}, column {strange + 1}: found {chr(text[strange])!r}"
    elif len(text.split()) != width:
        found = f"line {number} has {len(text.split())} values"
    else:
        regular = b" ".join(text.split())
        column = next((i for i in range(len(regular)) if text[i] != regular[i]), len(text))
        found = f"line {number}, column {column + 1}: the spacing or the line's end is unlike the others'"
    return InputError(f"{path}: {found}; {expected}")


def write_amat(path, bits):
    """Write bits, uint8 (N, width) of 0 and 1, as the original files are written."""
    if bits.dtype != np.uint8 or bits.ndim != 2 or bits.max(initial=0) > 1:
        raise ValueError(f"bits must be uint8 (N, width) of 0 and 1, not {bits.dtype} {bits.shape}")
    with Path(path).open("wb") as file:
        for start in range(0, len(bits), BLOCK):
            block = bits[start : start + BLOCK]
            text = np.full((len(block), 2 * block.shape[1]), ord(" "), np.uint8)
            text[:, ::2] = block + np.uint8(ord("0"))
            text[:, -1] = ord("\n")
            file.write(text.tobytes())


def unpack_bits(packed):
    """uint8 (N, 784) of 0 and 1 from packed rows, uint8 (N, 98)."""
    return np.unpackbits(packed, axis=1, count=PIXELS)


# --- SVHN: MATLAB v5 ---------------------------------------------------------------------------


def read_svhn_mat(path):
    """Images uint8 (N, 3, 32, 32) and labels uint8 (N,), 0..9, of an SVHN "cropped digits" file.

    The file holds X, uint8 (32, 32, 3, N), and y, uint8 (N, 1), in which 10 means the digit 0.
    Raises InputError for anything else. Memory: little above the images themselves.
    """
    remedy = "expected an SVHN file in MATLAB v5 format; fetch or make the file again"
    with Path(path).open("rb") as file:
        try:
            content = matlab.read_uint8_arrays(file, ("X", "y"))
        except ValueError as error:
            raise InputError(f"{path}: {error}; {remedy}") from None
    if missing := {"X", "y"} - content.keys():
        raise InputError(f"{path}: holds no variable {min(missing)}; {remedy}")
    images, y = content["X"].T, content["y"]
    if images.shape[1:] != (3, 32, 32) or y.shape != (len(images), 1) or y.size == 0:
        raise InputError(
            f"{path}: X is {images.shape[::-1]} and y {y.shape}, expected (32, 32, 3, N) and (N, 1), N > 0; {remedy}"
        )
    labels = y[:, 0]
    if not 1 <= labels.min() <= labels.max() <= 10:
        item = int(np.argmax((labels < 1) | (labels > 10)))
        raise InputError(
            f"{path}: label {labels[item]} of image {item}, expected 1 to 10 (10 is the digit 0); {remedy}"
        )
    # MATLAB stores columns first, so X.T is (N, 3, column, row). Turn it in place: it is large.
    for start in range(0, len(images), BLOCK):
        block = images[start : start + BLOCK]
        block[...] = block.swapaxes(2, 3)
    return images, labels % 10


def write_svhn_mat(path, images, labels):
    """Write images uint8 (N, 3, 32, 32) and labels uint8 (N,), 0..9, as `read_svhn_mat` reads them.

    The variables are not compressed, so that the bytes depend on no version of a compressor.
    """
    from scipy.io import savemat

    if images.dtype != np.uint8 or images.shape != (len(labels), 3, 32, 32):
        raise ValueError(f"images must be uint8 ({len(labels)}, 3, 32, 32), not {images.dtype} {images.shape}")
    if labels.dtype != np.uint8 or labels.max(initial=0) > 9:
        raise ValueError(f"labels must be uint8 0..9, not {labels.dtype} up to {labels.max(initial=0)}")
    y = np.where(labels == 0, np.uint8(10), labels)[:, None]
    with Path(path).open("wb") as file:
        savemat(file, {"X": images.transpose(2, 3, 1, 0), "y": y})
        file.seek(0)
        file.write(b"MATLAB 5.0 MAT-file".ljust(116))  # scipy wrote the date there


def stratified_split(labels, fraction, seed):
    """Split items at random into training and validation, every class in the same proportion.

    labels: integers (N,); fraction: of the items that go to validation, in all round(N * fraction),
    shared among the classes by largest remainder. Returns two ascending index arrays (train, valid).
    Raises InputError if either side would be empty.
    """
    total = round(len(labels) * fraction) if 0 < fraction < 1 else 0
    if not 0 < total < len(labels):
        raise InputError(
            f"a validation fraction of {fraction} takes {total} of {len(labels)} images; "
            "both parts need at least one: give a fraction between 0 and 1 that leaves some on each side"
        )
    _, classes, counts = np.unique(labels, return_inverse=True, return_counts=True)
    share, remainder = np.divmod(counts * total, len(labels))
    share[np.argsort(-remainder, kind="stable")[: total - share.sum()]] += 1
    order = np.random.default_rng(seed).permutation(len(labels))
    order = order[np.argsort(classes[order], kind="stable")]  # class by class, shuffled within each
    rank = np.arange(len(labels)) - np.repeat(np.cumsum(counts) - counts, counts)
    chosen = rank < np.repeat(share, counts)
    return np.sort(order[~chosen]), np.sort(order[chosen])


def take_in_place(array, indices):
    """`array[indices]` for ascending `indices`, moved to the front of `array`: no second copy in memory."""
    for start in range(0, len(indices), BLOCK):
        rows = indices[start : start + BLOCK]
        array[start : start + len(rows)] = array[rows]
    return array[: len(indices)]


# --- prepared files ----------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class BinarizedMNIST:
    """Bits packed in rows of 98 bytes, uint8 (N, 98); `unpack_bits` gives pixels. `about`: see `describe`."""

    train: np.ndarray
    valid: np.ndarray
    test: np.ndarray
    about: dict


@dataclass(frozen=True, eq=False)
class SVHN:
    """Images uint8 (N, 3, 32, 32), labels uint8 (N,), 0..9. `about`: see `describe`."""

    train_images: np.ndarray
    train_labels: np.ndarray
    valid_images: np.ndarray
    valid_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray
    about: dict


def describe(dataset, declared, files, counts, **more):
    """What a prepared file says about itself: dataset, source, title, files (SHA-256), counts, and `more`.

    declared: "embedded" or "official", what the files are claimed to be; files: {split: path}.
    The source is "official" exactly when every file has the digests of the original; files that were
    claimed to be and are not are "custom". Raises InputError if two files have one name or one content.
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


def write_prepared(path, about, **arrays):
    """Write a prepared data set as .npz; the bytes depend on nothing but the content."""
    with Path(path).open("wb") as file:
        np.savez(file, about=np.array(json.dumps(about)), **arrays)


def load_binarized_mnist(path):
    """The `BinarizedMNIST` of a file that prepare_binarized_mnist.py wrote; InputError if it is none."""
    rows = dict.fromkeys(("train", "valid", "test"), (PIXELS // 8,))
    return BinarizedMNIST(**_load_prepared(path, "Binarized MNIST", "prepare_binarized_mnist.py", rows))


def load_svhn(path):
    """The `SVHN` of a file that prepare_svhn.py wrote; InputError if it is none."""
    splits = ("train", "valid", "test")
    rows = {f"{split}_images": (3, 32, 32) for split in splits} | {f"{split}_labels": () for split in splits}
    fields = _load_prepared(path, "SVHN", "prepare_svhn.py", rows)
    for split in splits:
        images, labels = fields[f"{split}_images"], fields[f"{split}_labels"]
        if len(images) != len(labels) or labels.max() > 9:
            raise InputError(
                f"{path}: {len(images)} {split} images and {len(labels)} labels up to {labels.max()}, "
                "expected one label 0 to 9 for each; make the file with prepare_svhn.py"
            )
    return SVHN(**fields)


def check_trained_on(prepared, trained, model_path, data_path):
    """Raise InputError unless what a model's file says of itself, `trained`, names the data set `prepared`."""
    if trained["data"] != prepared.about:
        raise InputError(
            f"{model_path}: trained on {trained['data']['title']} with other files than those in {data_path}; "
            "give the data that it was trained on"
        )


@dataclass(frozen=True)
class Features:
    """A classifier's features of N images: `features` float32 (N, D), `classes` uint8 (N,), its first choices.

    `rows` int64 (N,) says which image of its split each is. `images` uint8 (S, 3, 32, 32) are the first S
    of them; `about` says what they are.
    """

    features: np.ndarray
    classes: np.ndarray
    rows: np.ndarray
    images: np.ndarray
    about: dict


def load_features(path):
    """The `Features` of a file that extract_features.py wrote; InputError if it is none."""
    remedy = "make the file with extract_features.py"
    arrays = *_, about = _read_npz(path, ("features", "classes", "rows", "images"), "a file of features", remedy)
    found = Features(*arrays)
    kinds = [array.dtype for array in arrays[:4]]
    sound = kinds == [np.float32, np.uint8, np.int64, np.uint8] and isinstance(about, dict) and "set" in about
    shapes = sound and (found.features.ndim, found.images.ndim, found.images.shape[1:]) == (2, 4, (3, 32, 32))
    if not shapes or not len(found.features) == len(found.classes) == len(found.rows) > 0:
        raise InputError(f"{path}: not a file of features; {remedy}")
    if not np.isfinite(found.features).all():
        raise InputError(f"{path}: features hold NaN or infinity; {remedy}, from sound images and weights")
    return found


def _read_npz(path, names, what, remedy):
    """The named arrays of an .npz file and its `about`, parsed; InputError if it is not `what`."""
    with Path(path).open("rb") as file:
        try:
            with np.load(file, allow_pickle=False) as content:
                return [content[name] for name in names] + [json.loads(str(content["about"]))]
        except Exception as error:  # a damaged archive raises whatever the damage makes zipfile stumble over
            raise InputError(f"{path}: not {what} ({error}); {remedy}") from None


def _load_prepared(path, dataset, stage, rows):
    """The arrays named in `rows` ({name: shape of one row}, all uint8, not empty) and `about`."""
    remedy = f"make the file with {stage}"
    *arrays, about = _read_npz(path, rows, f"a prepared {dataset} file", remedy)
    fields = dict(zip(rows, arrays, strict=True))
    if not isinstance(about, dict) or about.get("dataset") != dataset:
        raise InputError(f"{path}: describes itself as something other than {dataset}; {remedy}")
    for name, row in rows.items():
        array = fields[name]
        if array.dtype != np.uint8 or array.ndim != 1 + len(row) or array.shape[1:] != row or array.size == 0:
            expected = ", ".join(["N", *map(str, row)])
            raise InputError(f"{path}: {name} is {array.dtype} {array.shape}, expected uint8 ({expected}); {remedy}")
    return fields | {"about": about}
