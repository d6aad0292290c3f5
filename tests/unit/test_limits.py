"""Small files that announce or unpack to very much: each is refused within the memory and time that are stated.

A check of the check stands at the end: the memory that is allowed is too little for what a file announces.
"""

import io
import pickle
import struct
import zipfile

import confined
import numpy as np
import pytest
from genlab import InputError, files
from genlab.data import legacy


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


def test_the_memory_that_is_allowed_is_little():
    assert isinstance(confined.call(np.ones, 2**26), MemoryError)
    assert confined.call(np.ones, 2**10).sum() == 2**10
    with pytest.raises(AssertionError, match="the child ended with -9"):
        confined.call(sum, range(10**12), seconds=1)
