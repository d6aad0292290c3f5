"""SVHN as MATLAB files: read, written, and split into training and validation.

Images are uint8 (N, 3, 32, 32), labels uint8 (N,), 0..9. scipy reads MATLAB files too, but a damaged
file can crash it and the whole process. Arrays of bytes need only a small part of the format; anything
else in a file is refused or skipped. The format: MathWorks, "MAT-File Format", level 5.
"""

import math
import struct
import zlib
from pathlib import Path

import numpy as np

from .. import InputError

BLOCK = 1024  # images handled at a time

UINT8, INT32, MATRIX, COMPRESSED = 2, 5, 14, 15  # types of data elements
CLASSES = ("cell", "struct", "object", "char", "sparse", "double", "single", "int8", "uint8")
CLASSES += ("int16", "uint16", "int32", "uint32", "int64", "uint64")
COMPLEX_OR_LOGICAL = 0x0A00  # bits of the array flags
CHUNK = 1 << 20
# Limits of what a file may announce, which can be far more than it holds. SVHN's largest has 531,131 images.
LIMIT = 1_000_000 * 3073  # bytes of all arrays: a million images with their labels
SMALL = 128  # bytes of a variable's flags, its dimensions, or its name
RATIO = 1032  # bytes that zlib unpacks from one, at most


def read_mat(path):
    """Images uint8 (N, 3, 32, 32) and labels uint8 (N,), 0..9, of an SVHN "cropped digits" file.

    The file holds X, uint8 (32, 32, 3, N), and y, uint8 (N, 1), in which 10 means the digit 0.
    Raises InputError for anything else. Memory: little more than the images.
    """
    remedy = "give an SVHN file in MATLAB v5 format; download or make it again if it is damaged"
    with Path(path).open("rb") as file:
        try:
            content = read_uint8_arrays(file, ("X", "y"))
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
    # MATLAB stores columns first, so X.T is (N, 3, column, row). Transpose in place, because it is large.
    for start in range(0, len(images), BLOCK):
        block = images[start : start + BLOCK]
        block[...] = block.swapaxes(2, 3)
    return images, labels % 10


def write_mat(path, images, labels):
    """Write images uint8 (N, 3, 32, 32) and labels uint8 (N,), 0..9, as `read_mat` reads them.

    The variables are not compressed, so the bytes do not depend on the version of a compressor.
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

    labels: integers (N,); fraction: the share of validation, round(N * fraction) items in all, divided among
    the classes by largest remainder. Returns two ascending index arrays (train, valid).
    Raises InputError if either would be empty.
    """
    total = round(len(labels) * fraction) if 0 < fraction < 1 else 0
    if not 0 < total < len(labels):
        raise InputError(
            f"a validation fraction of {fraction} takes {total} of {len(labels)} images; both parts need at least one: "
            "give a --valid-fraction between 0 and 1 that leaves some on each side"
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


# --- the uint8 arrays of a MATLAB v5 file ------------------------------------------------------


def read_uint8_arrays(file, names):
    """{name: uint8 array in Fortran order} for those of `names` that a file, open in binary mode, holds.

    Memory: the arrays and little more. Raises ValueError with the reason if the file is not a MATLAB v5
    file, is damaged or cut off, or holds anything but uint8 under one of the names.
    """
    header = file.read(128)
    if header.startswith((b"\x89HDF\r\n\x1a\n", b"MATLAB 7.3")):
        raise ValueError("a MATLAB v7.3 (HDF5) file, not v5 (in MATLAB: save -v7)")
    if not header.startswith(b"MATLAB 5.0") or header[126:] not in (b"IM", b"MI"):
        raise ValueError("not a MATLAB v5 file, or cut off in its header")
    order = "<" if header[126:] == b"IM" else ">"
    found, room, size_of_file = {}, LIMIT, file.seek(0, 2)
    file.seek(128)
    while tag := file.read(8):
        kind, size = _words(tag, order)
        end = file.tell() + size
        try:
            source = _Source(file, min(size, size_of_file - file.tell()), compressed=kind == COMPRESSED)
            if kind == COMPRESSED:
                kind, size = _words(source.read(8), order)
            if kind != MATRIX:
                raise ValueError(f"damaged (an element of type {kind} where a variable should be)")
            name, array = _read_variable(source, order, names, room)
            if name in found:
                raise ValueError(f"damaged (two variables {name})")
            if array is not None:
                source.finish()
                found[name] = array
                room -= array.size
        except zlib.error as error:
            raise ValueError(f"damaged ({error})") from None
        file.seek(end)
    return found


def _read_variable(source, order, names, room):
    """(name, array) of one variable; the array, of at most `room` bytes, is None if the name is not in `names`."""
    flags = _words(_element(source, order)[1], order)
    kind, dimensions = _element(source, order)
    if kind != INT32 or len(dimensions) % 4 or len(dimensions) < 8:
        raise ValueError("damaged (the dimensions of a variable)")
    dimensions = dimensions.view(f"{order}i4").tolist()
    name = _element(source, order)[1].tobytes().decode("latin-1")
    if name not in names:
        return name, None
    number = flags[0] & 0xFF
    if number != CLASSES.index("uint8") + 1 or flags[0] & COMPLEX_OR_LOGICAL:
        kind = CLASSES[number - 1] if 0 < number <= len(CLASSES) else "of unknown class"
        raise ValueError(f"{name} is {'logical or complex' if kind == 'uint8' else kind}, not uint8")
    size = math.prod(dimensions)
    if size > room:
        raise ValueError(f"{name} has {size:,} values; the arrays of a file may have {LIMIT:,}")
    misfit = f"damaged (the values of {name} do not fit its dimensions)"
    kind, values = _element(source, order, size, misfit)
    if kind != UINT8 or min(dimensions) < 0 or len(values) != size:
        raise ValueError(misfit)
    return name, values.reshape(dimensions, order="F")


def _element(source, order, most=SMALL, refusal="damaged (the description of a variable)"):
    """(type, bytes) of the next data element; ValueError if there are more than `most`."""
    tag = source.read(8)
    kind, size = _words(tag, order)
    if small := kind >> 16:  # up to four bytes are in the tag itself
        return kind & 0xFFFF, tag[4 : 4 + small]
    if size > most:
        raise ValueError(refusal)
    values = source.read(size)
    source.read(-size % 8)
    return kind, values


def _words(values, order):
    """The two unsigned 32-bit numbers of 8 bytes."""
    if len(values) != 8:
        raise ValueError("damaged or cut off")
    return struct.unpack(f"{order}II", values)


class _Source:
    """Reads the bytes of one element of the file, decompressed if necessary."""

    def __init__(self, file, size, compressed):
        self.file, self.left = file, size
        self.inflater = zlib.decompressobj() if compressed else None

    def read(self, count):
        """Exactly `count` bytes, as a uint8 array; ValueError if there are fewer."""
        most = self.left
        if self.inflater:
            most = RATIO * (self.left + len(self.inflater.unconsumed_tail) + 64)  # it may hold a little itself
        if count > most:
            raise ValueError("damaged or cut off")
        result = np.empty(count, np.uint8)
        filled = 0
        while filled < count:
            piece = self._piece(min(count - filled, CHUNK))
            result[filled : filled + len(piece)] = np.frombuffer(piece, np.uint8)
            filled += len(piece)
        return result

    def _piece(self, most):
        """At least one byte, at most `most`."""
        while True:
            waiting = self.inflater.unconsumed_tail if self.inflater else b""
            raw = waiting or self.file.read(min(self.left, most))
            self.left -= 0 if waiting else len(raw)
            piece = self.inflater.decompress(raw, most) if self.inflater else raw
            if piece:
                return piece
            if not raw or self.inflater.eof:
                raise ValueError("damaged or cut off")

    def finish(self):
        """Read to the end, where zlib checks its checksum. Nothing else may follow."""
        if self.inflater:
            rest = self.inflater.decompress(self.inflater.unconsumed_tail + self.file.read(self.left), 1)
            if rest or not self.inflater.eof:
                raise ValueError("damaged or cut off")
