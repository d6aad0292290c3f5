"""NPZ files that others wrote, checked against what they announce before an array is unpacked."""

import math
import zipfile

import numpy as np

HEADER = 10_000  # characters of an array's description; numpy's own limit, which it checks after it has read them


def opened(source):
    """The NPZ file of a path or an open file; nothing is unpacked yet. Raises ValueError for a file of another kind."""
    if not zipfile.is_zipfile(source):  # numpy would speak of pickles, and of how to load them
        raise ValueError("no zip archive")
    return np.load(source, allow_pickle=False)


def check(content, names, limit):
    """Raise ValueError unless the named arrays of an open NPZ file are numbers that fill what they announce.

    limit: bytes that each may take. Without this, a small file can ask for any amount of memory.
    """
    for name in names:
        if f"{name}.npy" not in content.zip.namelist():
            raise ValueError(f"it has no array {name!r}")
        if name in content.zip.namelist():  # numpy would read this one, and it is not checked
            raise ValueError(f"two of its members are called {name!r}")
        try:
            _check(content.zip, f"{name}.npy", limit)
        except MemoryError:
            raise
        except Exception as error:  # zipfile and numpy raise errors of any kind for what is damaged
            raise ValueError(f"{name!r}: {error}") from None


def _check(archive, name, limit):
    """The same for one member of a zip archive."""
    info = archive.getinfo(name)
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ValueError("compressed in a way that numpy does not write")
    if info.file_size > limit:
        raise ValueError(f"takes {info.file_size:,} bytes, more than {limit:,}")
    with archive.open(info) as member:
        begin = member.read(12)
    if int.from_bytes(begin[8:10] if begin[6:7] == b"\1" else begin[8:], "little") > HEADER:
        raise ValueError(f"a description of more than {HEADER:,} characters")
    with archive.open(info) as member:
        version = np.lib.format.read_magic(member)
        if version not in ((1, 0), (2, 0)):
            raise ValueError(f"of version {version} of its format, which numbers do not need")
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read(member)
        size = member.tell() + math.prod(shape) * dtype.itemsize
    if dtype.hasobject:
        raise ValueError("holds Python objects, which could run code")
    if size != info.file_size or not all(0 <= each <= limit for each in shape):
        raise ValueError(f"announces {dtype} {shape}, which its {info.file_size:,} bytes are not")
