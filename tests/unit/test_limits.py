"""Small files that announce or unpack to very much: each is refused within the memory and time that are stated.

A check of the check stands at the end: the memory that is allowed is too little for what a file announces.
"""

import io
import os
import pickle
import struct
import subprocess
import sys
import zipfile
import zlib

import confined
import numpy as np
import pytest
from genlab import InputError, files
from genlab.data import amat, images, legacy, samples, svhn
from genlab.training import checkpoint
from stage import SCRIPTS


def text(words):
    """The pickle's instruction that puts a text."""
    return b"X" + struct.pack("<I", len(words)) + words.encode()


def archive(root, members=()):
    """The bytes of a file of torch.save around a pickle, by way of zipfile."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as made:
        made.writestr("x/data.pkl", b"\x80\x02" + root + b".")
        for name, content in members:
            made.writestr(f"x/{name}", content)
    return file.getvalue()


def layer(parameters, modules):
    """The pickle's instructions for a layer with these two of its parts."""
    start = b"ctorch.nn.modules.container\nSequential\n)\x81}(" + text("_parameters") + parameters
    return start + text("_buffers") + b"}" + text("_modules") + modules + b"ub"


def directory(count):
    """An archive of nothing but its directory, of so many members."""
    entry = struct.pack("<4s6H3I5H2I", b"PK\1\2", 20, 20, 0, 0, 0, 33, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0) + b"a"
    end = struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, 65535, 65535, count * len(entry), 4, 0)
    return legacy.ZIP + entry * count + end


def shared(layers, tensors):
    """A layer of many that have the same many parameters: named, they are the product."""
    storage = b"(" + text("storage") + b"ctorch\nFloatStorage\n" + text("0") + text("cpu") + b"K\1tQ"
    tensor = b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + b"K\0)))}tRq\1"
    parameters = b"}q\2(" + text("0") + tensor + b"".join(text(f"{each}") + b"h\1" for each in range(1, tensors)) + b"u"
    children = b"".join(text(f"{each}") + layer(b"h\2", b"}") for each in range(layers))
    return archive(layer(parameters, b"}(" + children + b"u"), [("data/0", bytes(4))])


def long_names(depth, length):
    """Layers in layers, all of one long name."""
    inner, name = layer(b"}", b"}"), text("a" * length) + b"q\1"
    for each in range(depth):
        inner = layer(b"}", b"}" + (b"h\1" if each < depth - 1 else name) + inner + b"s")
    return archive(inner)


def same_hashes(count):
    """A dict whose keys are different numbers with the same hash."""
    keys = b"".join(b"\x8a\x0a" + (each * (2**61 - 1)).to_bytes(10, "little") + b"N" for each in range(1, count))
    return archive(b"}(" + keys + b"u")


WEIGHTS = {
    "dicts": (lambda: archive(b"}" * 20_000_000), "a pickle of more than 100,000 instructions"),
    "tuples": (lambda: archive(b")" + b"\x85" * 5_000_000), "a pickle of more than 100,000 instructions"),
    "members": (lambda: directory(500_000), "an archive of more than 10,000 members"),
    "tensors": (lambda: shared(2000, 2000), "more than 10,000 tensors"),
    "names": (lambda: long_names(400, 1_000_000), "a tensor's name of more than 1,000 characters"),
    "hashes": (lambda: same_hashes(40_000), "with keys that are neither text nor an index"),
    "text": (lambda: archive(b"X\xff\xff\xff\xff"), "expected 4294967295 bytes"),
    "bytes": (lambda: archive(b"\x8e" + b"\xff" * 7 + b"\x7f"), "damaged"),
    "number": (lambda: archive(b"\x8b\xff\xff\xff\x7f"), "damaged"),
    "old": (lambda: pickle.dumps(legacy.MAGIC, 2) + b"\x80\x02" + b"]" * 20_000_000, "more than 100,000 instructions"),
}


@pytest.mark.parametrize("name", WEIGHTS)
def test_legacy_weights_that_grow_are_refused(tmp_path, name):
    make, words = WEIGHTS[name]
    (tmp_path / "x.pt").write_bytes(make())
    error = confined.call(legacy.load_state_dict, tmp_path / "x.pt")
    assert type(error) is InputError and words in str(error)


def test_a_file_of_weights_that_is_too_large_is_not_read(tmp_path):
    for begin in files.PYTORCH:
        with open(tmp_path / "x.pt", "wb") as file:
            file.write(begin)
            file.truncate(legacy.SIZE + 1)
        error = confined.call(legacy.load_state_dict, tmp_path / "x.pt", megabytes=50)
        assert type(error) is InputError and "a file of 2,147,483,649 bytes, more than 2,147,483,648" in str(error)


def variable(shape, values, size=None, name=b"X"):
    """A variable of a MATLAB file, uint8, whose values take or announce to take `size` bytes."""

    def element(kind, content, size=None):
        return struct.pack("<II", kind, len(content) if size is None else size) + content + bytes(-len(content) % 8)

    parts = element(6, struct.pack("<II", 9, 0)) + element(5, struct.pack(f"<{len(shape)}i", *shape))
    return element(14, parts + element(1, name) + element(2, values, size))


def packed(content, more=b""):
    """A compressed variable."""
    content = zlib.compress(content) + more
    return struct.pack("<II", 15, len(content)) + content


LARGE = 2**31 - 1
MATLAB = {
    "shape": (variable((32, 32, 3, LARGE), b""), "X has 6,597,069,763,584 values"),
    "many dimensions": (variable((LARGE,) * 30, b""), "X has "),
    "very many dimensions": (variable((1,) * 100, b"a"), "the description of a variable"),
    "announced": (variable((32, 32, 3, 300_000), b"", 921_600_000), "damaged or cut off"),
    "announced, packed": (packed(variable((32, 32, 3, 300_000), b"", 921_600_000)), "damaged or cut off"),
    "not of the shape": (packed(variable((1, 1), bytes(2 * 10**8))), "do not fit its dimensions"),
    "name": (packed(variable((1, 1), b"a", name=bytes(2 * 10**8))), "the description of a variable"),
    "rest": (packed(variable((1, 1), b"a")[:40], bytes(10**8)), "damaged or cut off"),
    "twice": (variable((1, 1), b"a") * 2, "two variables X"),
}


@pytest.mark.parametrize("name", MATLAB)
def test_matlab_files_that_grow_are_refused(tmp_path, name):
    content, words = MATLAB[name]
    (tmp_path / "x.mat").write_bytes(b"MATLAB 5.0 MAT-file".ljust(124) + b"\0\1IM" + content)
    error = confined.call(svhn.read_mat, tmp_path / "x.mat", megabytes=100)
    assert type(error) is InputError and words in str(error)


def npy(shape, version=1, spaces=0):
    """The beginning of an array uint8 of an NPZ file."""
    text = repr({"descr": "|u1", "fortran_order": False, "shape": shape}).encode() + b" " * spaces
    return b"\x93NUMPY" + bytes([version, 0]) + struct.pack("<H" if version == 1 else "<I", len(text)) + text


def lie(content, size):
    """An archive whose directory says that its one member has so many bytes."""
    place = content.rindex(b"PK\1\2") + 24
    return content[:place] + struct.pack("<I", size) + content[place + 4 :]


NPZ = {
    "shape": (npy((10**6, 32, 32, 3)), zipfile.ZIP_STORED, None, "announces uint8 (1000000, 32, 32, 3)"),
    "absurd shape": (npy((2**64, 0)), zipfile.ZIP_STORED, None, "announces uint8"),
    "negative shape": (npy((-1, -1)) + b"a", zipfile.ZIP_STORED, None, "announces uint8"),
    "packed": (npy((10**8,)) + bytes(2 * 10**8), zipfile.ZIP_DEFLATED, None, "announces uint8"),
    "size": (npy((1,)) + b"a", zipfile.ZIP_STORED, 2**32 - 2, "'images': takes 4,294,967,294 bytes"),
    "description": (npy((1,), 2, 2 * 10**8) + b"a", zipfile.ZIP_DEFLATED, None, "more than 10,000 characters"),
    "other compression": (npy((1,)) + b"a", zipfile.ZIP_LZMA, None, "in a way that numpy does not write"),
}


@pytest.mark.parametrize("name", NPZ)
def test_npz_files_of_samples_that_grow_are_refused(tmp_path, name):
    content, compression, size, words = NPZ[name]
    with zipfile.ZipFile(tmp_path / "x.npz", "w", compression) as archive:
        archive.writestr("images.npy", content)
    if size:
        (tmp_path / "x.npz").write_bytes(lie((tmp_path / "x.npz").read_bytes(), size))
    error = confined.call(samples.read, tmp_path / "x.npz", megabytes=100)
    assert type(error) is InputError and words in str(error)


def test_an_array_that_is_no_archive_is_not_read(tmp_path):
    (tmp_path / "x.npz").write_bytes(npy((10**11,)))
    error = confined.call(samples.read, tmp_path / "x.npz", megabytes=100)
    assert type(error) is InputError and "not an NPZ file of numbers (no zip archive)" in str(error)


def png(width, height, rows):
    """An image in colour, of which some rows are there."""

    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    content = zlib.compress(bytes(rows * (1 + 3 * width)))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", content) + chunk(b"IEND", b"")


@pytest.mark.parametrize("read", [lambda path: list(images.read_directory(path)[1]), samples.read])
@pytest.mark.parametrize("width, height", [(4097, 4096), (10_000, 10_000), (13_000, 13_000), (100_000, 100_000)])
def test_images_that_unpack_to_very_much_are_refused(tmp_path, read, width, height):
    (tmp_path / "samples").mkdir()
    (tmp_path / "samples" / "0.png").write_bytes(png(width, height, 1))
    error = confined.call(read, tmp_path, megabytes=100)
    assert type(error) is InputError
    said = "too many" if width > 13_000 else f"{width} x {height}"
    assert f"0.png: {said} pixels; give images of 16,777,216 pixels or fewer" in str(error)


def test_a_large_image_is_refused_in_one_line(tmp_path):
    (tmp_path / "0.png").write_bytes(png(10_000, 10_000, 1))
    code = "import sys; from genlab.data import samples; samples.read(sys.argv[1])"
    words = [sys.executable, "-c", code, tmp_path]
    done = subprocess.run(words, env=os.environ | {"PYTHONPATH": str(SCRIPTS)}, capture_output=True, text=True)
    assert "10000 x 10000 pixels" in done.stderr and "Warning" not in done.stderr


@pytest.mark.parametrize("read", [lambda path: next(images.read_directory(path)[1]), lambda p: samples.read(p)[0]])
def test_the_largest_image_takes_little_memory(tmp_path, read):
    (tmp_path / "samples").mkdir()
    (tmp_path / "samples" / "0.png").write_bytes(png(4096, 4096, 4096))
    assert confined.call(read, tmp_path).shape == (1, 3, 32, 32)


@pytest.mark.parametrize("read", [lambda path: list(images.read_directory(path)[1]), samples.read])
@pytest.mark.parametrize("name", ["0.png", "notes.txt"])
def test_a_pipe_among_the_images_is_not_waited_for(tmp_path, read, name):
    (tmp_path / "samples").mkdir()
    (tmp_path / "samples" / "1.png").write_bytes(png(32, 32, 32))
    os.mkfifo(tmp_path / "samples" / name)
    found = confined.call(read, tmp_path)
    if name == "notes.txt" and read is samples.read:
        assert found[1] == {"files left out that are no images": 1}
    else:
        assert type(found) is InputError and f"{name}: no regular file; remove it" in str(found)


def test_a_file_of_an_image_that_is_too_large_is_not_read(tmp_path):
    with open(tmp_path / "0.png", "wb") as file:
        file.truncate(samples.FILE + 1)
    error = confined.call(samples.read, tmp_path, megabytes=50)
    assert type(error) is InputError and "a file of 268,435,457 bytes; give images of 268,435,456" in str(error)


@pytest.mark.parametrize("content", [b"0 " * 5 * 10**7, b"0" * 10**8, bytes(10**8), b"\n" * 10**8])
def test_an_amat_file_of_one_line_is_refused_at_its_beginning(tmp_path, content):
    (tmp_path / "x.amat").write_bytes(content)
    error = confined.call(amat.read, tmp_path / "x.amat", megabytes=50)
    assert type(error) is InputError and "line 1" in str(error)


@pytest.mark.parametrize("size", [2**63, 2**40, 10**8, 0])
def test_safetensors_that_announce_a_long_header_are_refused(tmp_path, size):
    (tmp_path / "x.safetensors").write_bytes(struct.pack("<Q", size) + b"{}")
    error = confined.call(checkpoint.load_tensors, tmp_path / "x.safetensors")
    assert type(error) is InputError and "not a sound safetensors file" in str(error)


def test_json_within_json_has_an_end(tmp_path):
    for text in "[" * 10**6, '{"a":' * 10**6, "1" * 10**6:
        (tmp_path / "x.json").write_text(text)
        error = confined.call(files.read_json, tmp_path / "x.json")
        assert type(error) is InputError and "not a JSON file" in str(error)


def test_the_memory_that_is_allowed_is_little():
    assert isinstance(confined.call(np.ones, 2**26), MemoryError)
    assert confined.call(np.ones, 2**10).sum() == 2**10
    with pytest.raises(AssertionError, match="the child ended with -9"):
        confined.call(sum, range(10**12), seconds=1)
