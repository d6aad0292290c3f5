"""The uint8 arrays of a MATLAB v5 file (MathWorks, "MAT-File Format", the part on level 5).

scipy reads such files too, but a damaged one can crash the whole process there. Arrays of
bytes need only a small part of the format; whatever else a file holds is refused or passed over.
"""

import math
import struct
import zlib

import numpy as np

UINT8, INT32, MATRIX, COMPRESSED = 2, 5, 14, 15  # types of data elements
CLASSES = ("cell", "struct", "object", "char", "sparse", "double", "single", "int8", "uint8")
CLASSES += ("int16", "uint16", "int32", "uint32", "int64", "uint64")
COMPLEX_OR_LOGICAL = 0x0A00  # bits of the array flags
CHUNK = 1 << 20


def read_uint8_arrays(file, names):
    """{name: uint8 array in Fortran order} for those of `names` that a file, open for reading bytes, holds.

    Memory: the arrays and little more. Raises ValueError, with the reason, if the file is no MATLAB v5
    file, is damaged or cut off, or holds something else than uint8 under one of the names.
    """
    header = file.read(128)
    if header.startswith((b"\x89HDF\r\n\x1a\n", b"MATLAB 7.3")):
        raise ValueError("a MATLAB v7.3 (HDF5) file, not v5 (in MATLAB: save -v7)")
    if not header.startswith(b"MATLAB 5.0") or header[126:] not in (b"IM", b"MI"):
        raise ValueError("not a MATLAB v5 file, or cut off in its header")
    order = "<" if header[126:] == b"IM" else ">"
    found = {}
    while tag := file.read(8):
        kind, size = _words(tag, order)
        end = file.tell() + size
        try:
            source = _Source(file, size, compressed=kind == COMPRESSED)
            if kind == COMPRESSED:
                kind, size = _words(source.read(8), order)
            if kind != MATRIX:
                raise ValueError(f"damaged (an element of type {kind} where a variable should be)")
            name, array = _read_variable(source, order, names)
            if array is not None:
                source.finish()
                found[name] = array
        except zlib.error as error:
            raise ValueError(f"damaged ({error})") from None
        file.seek(end)
    return found


def _read_variable(source, order, names):
    """(name, array) of one variable; the array is None if its name is none of `names`."""
    flags = _words(_element(source, order)[1], order)
    kind, dimensions = _element(source, order)
    if kind != INT32 or len(dimensions) % 4:
        raise ValueError("damaged (the dimensions of a variable)")
    dimensions = dimensions.view(f"{order}i4").tolist()
    name = _element(source, order)[1].tobytes().decode("latin-1")
    if name not in names:
        return name, None
    number = flags[0] & 0xFF
    if number != CLASSES.index("uint8") + 1 or flags[0] & COMPLEX_OR_LOGICAL:
        kind = CLASSES[number - 1] if 0 < number <= len(CLASSES) else "of unknown class"
        raise ValueError(f"{name} is {'logical or complex' if kind == 'uint8' else kind}, expected uint8")
    kind, values = _element(source, order)
    if kind != UINT8 or min(dimensions) < 0 or len(values) != math.prod(dimensions):
        raise ValueError(f"damaged (the values of {name} do not fit its dimensions)")
    return name, values.reshape(dimensions, order="F")


def _element(source, order):
    """(type, bytes) of the next data element."""
    tag = source.read(8)
    kind, size = _words(tag, order)
    if small := kind >> 16:  # up to four bytes lie in the tag itself
        return kind & 0xFFFF, tag[4 : 4 + small]
    values = source.read(size)
    source.read(-size % 8)
    return kind, values


def _words(values, order):
    """The two unsigned 32-bit numbers of 8 bytes."""
    if len(values) != 8:
        raise ValueError("damaged or cut off")
    return struct.unpack(f"{order}II", values)


class _Source:
    """Reads the bytes of one element of the file, inflating them if they are compressed."""

    def __init__(self, file, size, compressed):
        self.file, self.left = file, size
        self.inflater = zlib.decompressobj() if compressed else None

    def read(self, count):
        """Exactly `count` bytes, as a uint8 array; ValueError if there are fewer."""
        if self.inflater is None and count > self.left:
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
            if not raw:
                raise ValueError("damaged or cut off")

    def finish(self):
        """Read on to the end, where zlib compares its checksum; there must be nothing more but the end."""
        if self.inflater:
            rest = self.inflater.decompress(self.inflater.unconsumed_tail + self.file.read(self.left), 1)
            if rest or not self.inflater.eof:
                raise ValueError("damaged or cut off")
