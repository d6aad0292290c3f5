"""Binarized MNIST as text (.amat): lines of 0 and 1. In memory an image is packed, one bit per pixel, in 98 bytes."""

import io
from pathlib import Path

import numpy as np

from .. import InputError

PIXELS = 784  # of an image, 28 x 28 row by row
BLOCK = 1024  # rows handled at a time, so that temporaries stay in the cache


def read(path, width=PIXELS):
    """Images from a text file whose lines are `width` characters 0 or 1 with single spaces between.

    Returns uint8 (N, ceil(width / 8)): each row's bits packed, the first pixel in the highest bit (`unpack_bits`).
    All lines must end alike: an optional space, then \\n or \\r\\n. The last line may lack its end.
    Raises InputError with line and column for anything else.
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
        allowed = np.zeros(len(template), np.uint8)  # bits in which a byte may differ from the template
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
    """Fill the array from an unbuffered file as far as the file goes; returns the number of bytes."""
    view, size = memoryview(buffer.reshape(-1)), 0
    while size < len(view) and (count := file.readinto(view[size:])):
        size += count
    return size


def _pack(block, width):
    """The bits at the even columns of uint8 (R, >= 2 width), packed as by `np.packbits`."""
    if width % 8:
        return np.packbits(block[:, : 2 * width : 2], axis=1)
    # Eight pixels are two words of four. The second is shifted in between the first; one product gathers their bits.
    words = np.ascontiguousarray(block[:, : 2 * width]).view(np.uint64)
    eight = words[:, 1::2] << np.uint64(8)
    eight |= words[:, ::2]
    eight *= np.uint64(sum(1 << shift for shift in (63, 46, 29, 12, 51, 34, 17, 0)))
    eight >>= np.uint64(56)
    return eight.astype(np.uint8)


def _bad_line(path, number, line, width):
    """The InputError for a line that `read` refuses."""
    expected = f"each line must hold {width} digits 0 or 1, separated by single spaces; download or make the file again"
    text = line.rstrip(b"\r\n ")
    strange = next((i for i, byte in enumerate(text) if byte not in b"01 "), None)
    if not line:
        found = "the file is empty"
    elif strange is not None:
        found = f"line {number}, column {strange + 1}: found {chr(text[strange])!a}"
    elif len(text.split()) != width:
        found = f"line {number} has {len(text.split())} values"
    else:
        regular = b" ".join(text.split())
        column = next((i for i in range(len(regular)) if text[i] != regular[i]), len(text))
        found = f"line {number}, column {column + 1}: the spacing or the line's end differs from the other lines'"
    return InputError(f"{path}: {found}; {expected}")


def write(path, bits):
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
