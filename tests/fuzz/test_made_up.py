"""Files made up from the parts of their formats: each is read as what it says, or refused."""

import io
import json
import math
import pickletools
import struct
import zipfile
import zlib

import confined
import numpy as np
import pytest
import targets
import yaml
from genlab import InputError, configuration
from genlab.data import amat, npz, svhn
from hypothesis import given
from hypothesis import strategies as some
from test_fuzz import EDGES, examples

WORDS = [number for number in EDGES if number < 2**32]
ANYTHING = some.recursive(
    some.none() | some.booleans() | some.integers() | some.floats() | some.text(max_size=9) | some.sampled_from(EDGES),
    lambda inner: some.lists(inner, max_size=4) | some.dictionaries(some.text(max_size=9), inner, max_size=4),
    max_leaves=9,
)


@pytest.fixture(autouse=True)
def little_memory():
    with confined.little_memory():
        yield


@examples(200)
@given(some.data())
def test_amat_is_read_as_it_was_written_and_no_change_goes_unseen(tmp_path, data):
    path, width = tmp_path / "x.amat", data.draw(some.integers(1, 40))
    rows = data.draw(some.lists(some.integers(0, 2**width - 1), min_size=1, max_size=5))
    bits = np.array([[row >> place & 1 for place in range(width)] for row in rows], np.uint8)
    amat.write(path, bits)
    text = path.read_bytes()
    ending = data.draw(some.sampled_from([b"\n", b"\r\n", b" \n", b" \r\n"]))
    whole = data.draw(some.booleans())
    path.write_bytes(text.replace(b"\n", ending)[: None if whole else -len(ending)])
    assert (amat.read(path, width) == np.packbits(bits, axis=1)).all()
    place = data.draw(some.integers(0, len(text) - 2))  # but for the last line's end
    byte = data.draw(some.integers(0, 255).filter(lambda byte: byte != text[place]))
    path.write_bytes(text[:place] + bytes([byte]) + text[place + 1 :])
    if chr(text[place]) in "01" and chr(byte) in "01":
        bits[place // (2 * width), place % (2 * width) // 2] ^= 1
        assert (amat.read(path, width) == np.packbits(bits, axis=1)).all()
    else:
        assert str(path) in targets.read_by(lambda path: amat.read(path, width), path)


@examples(40)
@given(some.integers(1, 5), some.integers(0, 99))
def test_matlab_is_read_as_it_was_written(tmp_path, count, seed):
    rng = np.random.default_rng(seed)
    images, labels = rng.integers(0, 256, (count, 3, 32, 32), np.uint8), rng.integers(0, 10, count, np.uint8)
    svhn.write_mat(tmp_path / "x.mat", images, labels)
    found = svhn.read_mat(tmp_path / "x.mat")
    assert (found[0] == images).all() and (found[1] == labels).all()


@examples(400)
@given(some.data())
def test_matlab_of_any_shape_is_what_it_says_or_refused(data):
    """Headers of all kinds around few bytes; most have one thing wrong."""

    def usually(value, other):
        return value if data.draw(some.integers(0, 5)) else data.draw(other)

    def element(kind, content):
        size = usually(len(content), some.sampled_from(WORDS))
        return struct.pack("<II", usually(kind, some.integers(0, 20)), size) + content + bytes(-len(content) % 8)

    shape = data.draw(some.lists(some.integers(0, 4), min_size=2, max_size=4))
    values = data.draw(some.binary(min_size=math.prod(shape), max_size=math.prod(shape)))
    shown = usually(shape, some.lists(some.sampled_from(WORDS), max_size=40))
    name = usually(b"X", some.binary(max_size=200))
    variable = element(6, struct.pack("<II", usually(9, some.integers(0, 2**32 - 1)), 0))
    variable += element(5, struct.pack(f"<{len(shown)}I", *shown)) + element(1, name) + element(2, values)
    body = element(14, variable)
    if data.draw(some.booleans()):
        body = element(15, zlib.compress(body))
    file = io.BytesIO(b"MATLAB 5.0 MAT-file".ljust(124) + b"\0\1IM" + body * usually(1, some.integers(0, 3)))
    try:
        found = svhn.read_uint8_arrays(file, ("X",))
    except ValueError as error:
        assert not isinstance(error, InputError) and len(str(error)) < 200
    else:
        for array in found.values():
            assert list(array.shape) == shown and array.tobytes(order="F") == values


@examples(300)
@given(some.data())
def test_arrays_of_any_description_are_what_they_say_or_refused(tmp_path, data):
    shape = data.draw(some.lists(some.sampled_from([*range(9), *EDGES, -1]), max_size=5))
    kind = data.draw(some.sampled_from(["|u1", "<f4", "<i8", "|O", "|V0", "<U0", "<U9", "[('a','<f4')]", "x", "|b1"]))
    text = repr({"descr": kind, "fortran_order": data.draw(some.booleans()), "shape": tuple(shape)})
    text = data.draw(some.just(text) | some.text(max_size=30)).encode("latin-1", "replace")
    version, size = data.draw(some.sampled_from([1, 2, 3])), data.draw(some.just(len(text)) | some.sampled_from(WORDS))
    begin = b"\x93NUMPY" + bytes([version, 0]) + struct.pack("<H" if version == 1 else "<I", size % 2 ** (16 * version))
    values = data.draw(some.binary(max_size=40))
    with zipfile.ZipFile(tmp_path / "x.npz", "w", data.draw(some.sampled_from([0, 8, 12, 14]))) as archive:
        archive.writestr("images.npy", begin + text + values)
    targets.read_by(targets.TARGETS["npz"][2], tmp_path / "x.npz")
    try:
        with npz.opened(tmp_path / "x.npz") as content:
            npz.check(content, ["images"], 100)
            found = content["images"]
    except ValueError:
        return
    assert found.shape == tuple(shape) and found.tobytes("A") == values[: found.nbytes] and len(values) == found.nbytes


@examples(300)
@given(some.data())
def test_safetensors_of_any_header_are_read_or_refused(tmp_path, data):
    number = some.sampled_from(EDGES) | some.integers(-1, 20)
    kinds = some.sampled_from(["F32", "F64", "F16", "BF16", "I64", "U8", "BOOL", "F8_E4M3", "F4", "U64", "C64", "x"])
    tensor = some.fixed_dictionaries({
        "dtype": kinds, "shape": some.lists(number, max_size=3), "data_offsets": some.lists(number, max_size=3),
    })  # fmt: skip
    about = (ANYTHING | some.dictionaries(some.text(max_size=5), ANYTHING, min_size=1)).map(json.dumps)
    about |= some.sampled_from(["[" * 100_000, '{"a": ' * 100_000, "1" * 5000, '{"a": NaN}', ""])
    header = {"__metadata__": {"genlab": data.draw(about)}} | data.draw(
        some.dictionaries(some.text(max_size=5), tensor)
    )
    text = json.dumps(header).encode("utf-8", "replace")
    size = data.draw(some.just(len(text)) | some.sampled_from(EDGES))
    (tmp_path / "x").write_bytes(struct.pack("<Q", size) + text + data.draw(some.binary(max_size=20)))
    targets.read_by(targets.TARGETS["safetensors"][2], tmp_path / "x")


OPCODES = {opcode.code.encode("latin-1"): opcode.arg and opcode.arg.n for opcode in pickletools.opcodes}
NAMES = [
    b"collections\nOrderedDict\n",
    b"torch._utils\n_rebuild_tensor_v2\n",
    b"torch\nFloatStorage\n",
    b"os\nsystem\n",
]
NAMES += [b"torch.nn.modules.container\nSequential\n", b"torch._utils\n_rebuild_parameter\n", b"torch\ndevice\n"]


@some.composite
def instructions(draw):
    """A pickle of instructions in any order."""
    result = [b"\x80\x02"]
    for code in draw(some.lists(some.sampled_from(sorted(OPCODES)), max_size=60)):
        size = OPCODES[code]
        if code == b"c":
            argument = draw(some.sampled_from(NAMES))
        elif size is not None and size > 0:
            argument = draw(some.binary(min_size=size, max_size=size))
        else:
            text = draw(some.sampled_from([b"_parameters", b"_buffers", b"_modules", b"storage", b"0", b"cpu"]))
            argument = {b"X": struct.pack("<I", len(text)) + text, b"\x8a": b"\1\1"}.get(code, b"") if size else b""
        result.append(code + argument)
    return b"".join([*result, b"."])


@examples(400)
@given(instructions())
def test_weights_of_any_instructions_are_tensors_or_refused(tmp_path, root):
    with zipfile.ZipFile(tmp_path / "x.pt", "w") as archive:
        archive.writestr("x/data.pkl", root)
        archive.writestr("x/data/0", bytes(8))
    targets.read_by(targets.TARGETS["weights"][2], tmp_path / "x.pt")


def places(schema, definitions):
    """The paths of the keys that a schema names, of a table's entries as well."""
    if "$ref" in schema:
        schema = definitions[schema["$ref"].rpartition("/")[2]]
    for key, child in schema.get("properties", {}).items():
        yield (key,)
        yield from ((key, *rest) for rest in places(child, definitions))
    if isinstance(schema.get("additionalProperties"), dict):
        yield from (("a", *rest) for rest in places(schema["additionalProperties"], definitions))
    for branch in schema.get("allOf", ()):
        yield from places(branch["then"], definitions)


SCHEMA = yaml.safe_load(configuration.SCHEMA.read_text())
PLACES = sorted(set(places(SCHEMA, SCHEMA["$defs"])))


@some.composite
def configurations(draw):
    """A configuration with anything at some of the places that the schema names."""
    result = {}
    for path in draw(some.lists(some.sampled_from(PLACES), max_size=4)):
        part = result
        for key in path[:-1]:
            part = part.setdefault(key, {})
            if not isinstance(part, dict):
                break
        else:
            part[path[-1]] = draw(ANYTHING)
    return result


@examples(150)
@given(configurations())
def test_a_configuration_is_completed_once_and_for_all_or_refused(config):
    before = repr(config)
    try:
        whole = configuration.complete(config)
    except InputError as error:
        assert str(error).startswith("configuration: ") and "Traceback" not in str(error)
        assert repr(config) == before
    else:
        assert configuration.complete(whole) == whole and yaml.safe_load(yaml.safe_dump(whole)) == whole
