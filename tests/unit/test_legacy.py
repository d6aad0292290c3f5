"""Files of torch.save, honest and hostile: the honest give the weights that torch gives, the hostile run nothing."""

import argparse
import io
import os
import pickle
import pickletools
import struct
import subprocess
import sys
import warnings
import zipfile

import pytest
import torch
from genlab import InputError
from genlab.data import legacy
from genlab.models import networks
from torch import nn

# What the course did: a program whose own class is saved as a whole module.
PROGRAM = """
import sys
import torch
from torch import nn

class Classifier(nn.Module):
    def __init__(self):
        super().__init__()
        layers = []
        for a, b, c in (3, 8, 16), (16, 16, 32), (32, 64, 128):
            for i, o in (a, b), (b, c):
                layers += [nn.Conv2d(i, o, 3, padding=1), nn.ELU(), nn.Dropout2d(0.1)]
            layers.append(nn.MaxPool2d(2))
        self.conv_stack = nn.Sequential(*layers, nn.Conv2d(128, 512, 2))
        self.mlp = nn.Sequential(nn.ELU(), nn.Dropout(0.5), nn.Linear(512, 10))

torch.manual_seed(7)
folder, model = sys.argv[1], Classifier()
if __name__ == "__main__":
    torch.save(model.state_dict(), f"{folder}/expected.pt")
    for name, new in ("zip", True), ("old", False):
        torch.save(model, f"{folder}/{name}.pt", _use_new_zipfile_serialization=new)
        torch.save(model.state_dict(), f"{folder}/{name}_dict.pt", _use_new_zipfile_serialization=new)
        strided = model.to(memory_format=torch.channels_last)
        torch.save(strided, f"{folder}/{name}_strided.pt", _use_new_zipfile_serialization=new)
        model = model.to(memory_format=torch.contiguous_format)
    torch.serialization.location_tag = lambda storage: "cuda:0"
    for name, new in ("zip", True), ("old", False):
        torch.save(model, f"{folder}/{name}_cuda.pt", _use_new_zipfile_serialization=new)
"""


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A folder with expected.pt, the state dict, and the forms of zip*.pt and old*.pt."""
    folder = tmp_path_factory.mktemp("saved")
    (folder / "classify.py").write_text(PROGRAM)
    subprocess.run([sys.executable, folder / "classify.py", folder], check=True)
    return folder


FORMS = [f"{form}{kind}" for form in ("zip", "old") for kind in ("", "_dict", "_strided", "_cuda")]


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_weights_that_torch_reads(saved, form):
    if form.endswith("_cuda"):
        assert b"cuda:0" in (saved / f"{form}.pt").read_bytes()
    expected = torch.load(saved / "expected.pt", weights_only=True)
    found = legacy.load_state_dict(saved / f"{form}.pt")
    assert found.keys() == expected.keys() == networks.FeatureClassifier().state_dict().keys()
    for name, tensor in found.items():
        assert tensor.dtype == torch.float32 and torch.equal(tensor, expected[name]), name


@pytest.mark.parametrize("kind", [torch.half, torch.bfloat16, torch.double, torch.long, torch.int])
@pytest.mark.parametrize("new", [True, False])
def test_numbers_of_other_types_are_read_as_such(tmp_path, kind, new):
    expected = {"a": torch.tensor([[1.5, -2.25], [3.75, 100.0]]).to(kind), "b": torch.ones((), dtype=kind)}
    torch.save(expected, tmp_path / "x.pt", _use_new_zipfile_serialization=new)
    found = legacy.load_state_dict(tmp_path / "x.pt")
    assert found.keys() == expected.keys()
    for name, tensor in found.items():
        assert tensor.dtype == kind and torch.equal(tensor, expected[name])


def wrapped(network):
    """(what people save, words of the log) for each form in which they wrap a network's weights."""
    state, wide = network.state_dict(), torch.nn.DataParallel(network)
    adam = torch.optim.Adam(network.parameters())
    network(torch.zeros(1, 3, 32, 32)).sum().backward()
    adam.step()  # gives it a state
    wide.src_device_obj = torch.device("cuda:0")  # which it has on a GPU
    yield network, ""
    yield wide, ""
    yield wide.state_dict(), ""
    yield {name: torch.nn.Parameter(tensor) for name, tensor in state.items()}, ""
    yield {"state_dict": state, "epoch": 3, "optimizer": adam.state_dict(), "best": 0.5, "arch": "x"}, "'state_dict'"
    yield {"epoch": 3, "model_state_dict": wide.state_dict(), "loss": None}, "'model_state_dict'"
    yield {"model": network, "epoch": 3}, "'model'"
    yield {"net": state}, "'net'"


@pytest.mark.parametrize("number", range(8))
@pytest.mark.parametrize("new", [True, False])
def test_weights_in_wrappers_are_found(tmp_path, caplog, number, new):
    caplog.set_level("INFO")
    torch.manual_seed(1)
    network = nn.Sequential(nn.Conv2d(3, 2, 3), nn.ELU(), nn.Sequential(nn.Dropout(), nn.MaxPool2d(2)))
    content, words = list(wrapped(network))[number]
    path = tmp_path / "x.pt"
    torch.save(content, path, _use_new_zipfile_serialization=new)
    found, expected = legacy.load_state_dict(path), network.state_dict()
    assert found.keys() == expected.keys() == {"0.weight", "0.bias"}
    assert all(torch.equal(tensor, expected[name]) for name, tensor in found.items())
    said = [record.getMessage() for record in caplog.records]
    assert said == ([f"{path}: the weights are those under {words}; the rest is left out"] if words else [])


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"state_dict": {"a": torch.ones(1)}, "model": {"a": torch.ones(1)}}, "under 'state_dict' and under 'model'"),
        ({"weights": {"a": torch.ones(1)}}, "'weights' is no tensor; save the state dict alone"),
        ({"state_dict": {"model": {"a": torch.ones(1)}}}, "'model' is no tensor"),
        ({"a": torch.ones(1), "epoch": 3}, "'epoch' is no tensor"),
        ({"a": torch.ones(1), "state_dict": {"b": torch.ones(1)}}, "'state_dict' is no tensor"),
        ({1: torch.ones(1)}, "1 is no name of a tensor"),
        ({"a" * 2000: torch.ones(1)}, "more than 1,000 characters"),
        ([torch.ones(1)], "neither a module nor a state dict"),
        ({"state_dict": {}, "args": argparse.Namespace()}, "asks for argparse.Namespace, which no weights need"),
        (nn.BatchNorm2d(2), "asks for torch.nn.modules.batchnorm.BatchNorm2d"),
    ],
)
def test_other_wrappers_are_refused_with_what_is_in_the_way(tmp_path, content, words):
    torch.save(content, tmp_path / "x.pt")
    refused(tmp_path / "x.pt", words)


def test_the_prefix_of_parallel_training_goes_only_if_it_stands_before_every_name(tmp_path):
    for names, expected in ((["module.a", "module.module.b"], ["a", "module.b"]), (["module.a", "b"],) * 2, ([], [])):
        torch.save({name: torch.ones(1) for name in names}, tmp_path / "x.pt")
        assert list(legacy.load_state_dict(tmp_path / "x.pt")) == expected


def test_a_module_of_torch_before_1_2_names_its_backend(tmp_path):
    """Such a module holds the object of a function of torch.nn.backends, which no longer exists."""
    state = (
        b"}(X\x0b\x00\x00\x00_parameters}X\x08\x00\x00\x00_buffers}X\x08\x00\x00\x00_modules}X\x08\x00\x00\x00_backend"
    )
    root = (
        b"\x80\x02(X\x06\x00\x00\x00modulec__main__\nClassifier\nX\x01\x00\x00\x00fX\x01\x00\x00\x00stQ)\x81"
        + state + b"ctorch.nn.backends.thnn\n_get_thnn_function_backend\n)Rub."
    )  # fmt: skip
    (tmp_path / "old.pt").write_bytes(old_file(root))
    assert legacy.load_state_dict(tmp_path / "old.pt") == {}


def old_file(root, keys=(), storages=b"", little_endian=True):
    """The bytes of a file of the older form around the pickle `root`."""
    head = [legacy.MAGIC, legacy.PROTOCOL, {"little_endian": little_endian}]
    return b"".join(pickle.dumps(part, 2) for part in head) + root + pickle.dumps(list(keys), 2) + storages


def zip_file(root, compression=zipfile.ZIP_STORED, **members):
    """The bytes of an archive around the pickle `root`."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        for name, content in {"data.pkl": root, **members}.items():
            archive.writestr(f"x/{name}", content)
    return file.getvalue()


def refused(path, *words):
    """Assert that the file is refused with one line that holds `words`."""
    with pytest.raises(InputError) as error:
        legacy.load_state_dict(path)
    message = str(error.value)
    assert message.startswith(f"{path}: ") and "refused" in message and message.isprintable() and len(message) < 700
    for word in words:
        assert word in message


class Call:
    """Pickled, it asks for function(*arguments); with a state, BUILD on what that gives."""

    def __init__(self, function, *arguments, state=None):
        self.recipe = (function, arguments) if state is None else (function, arguments, state)

    def __reduce__(self):
        return self.recipe


# The instructions that no weights need, with an argument.
UNKNOWN = {
    b"\x82\x01": "EXT1", b"\x83\x01\0": "EXT2", b"\x84\x01\0\0\0": "EXT4", b"(o": "OBJ", b"(ios\nsystem\n": "INST",
    b"\x92": "NEWOBJ_EX", b"\x93": "STACK_GLOBAL", b"Px\n": "PERSID", b"2": "DUP", b"1": "POP_MARK", b"g0\n": "GET",
    b"p0\n": "PUT", b"\x94": "MEMOIZE", b"\x95" + b"\0" * 8: "FRAME", b"I1\n": "INT", b"L1L\n": "LONG",
    b"F1\n": "FLOAT", b"\x8b\x01\0\0\0\x01": "LONG4", b"S'a'\n": "STRING", b"Va\n": "UNICODE",
    b"T\x01\0\0\0a": "BINSTRING", b"U\x01a": "SHORT_BINSTRING", b"B\x01\0\0\0a": "BINBYTES",
    b"C\x01a": "SHORT_BINBYTES", b"\x97": "NEXT_BUFFER",
    b"\x8e\x01" + b"\0" * 7 + b"a": "BINBYTES8", b"\x96\x01" + b"\0" * 7 + b"a": "BYTEARRAY8",
    b"\x98": "READONLY_BUFFER", b"\x8c\x01a": "SHORT_BINUNICODE", b"\x8d\x01" + b"\0" * 7 + b"a": "BINUNICODE8",
    b"l": "LIST", b"d": "DICT", b"\x8f": "EMPTY_SET", b"\x90": "ADDITEMS", b"\x91": "FROZENSET",
}  # fmt: skip


KNOWN = {
    "PROTO", "STOP", "NONE", "NEWTRUE", "NEWFALSE", "BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "BINUNICODE",
    "EMPTY_TUPLE", "EMPTY_LIST", "EMPTY_DICT", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3", "MARK", "APPEND", "APPENDS",
    "SETITEM", "SETITEMS", "BINPUT", "LONG_BINPUT", "BINGET", "LONG_BINGET", "POP", "GLOBAL", "NEWOBJ", "REDUCE",
    "BUILD", "BINPERSID",
}  # fmt: skip


def hostile(sentinel):
    """(pickle, words of the refusal): each would make the file `sentinel` if it were run."""
    command = f"touch {sentinel}"

    def text(words):
        return b"X" + struct.pack("<I", len(words)) + words.encode()

    def asks(module, name):
        return b"\x80\x02c" + f"{module}\n{name}\n".encode() + text(command) + b"\x85R."

    system = f"{os.name}.system"
    yield pickle.dumps(Call(os.system, command), 2), f"asks for {system}, which no weights need"
    yield pickle.dumps({"conv_stack.0.weight": Call(os.system, command)}, 2), f"asks for {system}"
    yield pickle.dumps(Call(eval, f"open({str(sentinel)!r}, 'w')"), 2), "asks for __builtin__.eval"
    yield asks("builtins", "exec"), "asks for builtins.exec"
    yield asks("torch.nn.modules", "module.os.system"), "asks for torch.nn.modules.module.os.system"
    yield (
        asks("torch.nn.modules.container", "Sequential.__init__.__globals__"),
        "asks for torch.nn.modules.container.Seq",
    )
    yield asks("torch._utils", "_rebuild_tensor_v2.__globals__"), "asks for torch._utils._rebuild_tensor_v2.__globals__"
    yield asks("torch.nn.modules.linear Linear\\os", "system"), "which no weights need"
    yield asks("torch", "load"), "asks for torch.load"
    yield asks("torch.hub", "load"), "asks for torch.hub.load"
    yield asks("copyreg", "_reconstructor"), "asks for copyreg._reconstructor"
    yield asks("copyreg", "add_extension"), "asks for copyreg.add_extension"
    yield asks("\x1b[2J\r", "system"), "asks for \\x1b[2J\\r.system"
    yield asks("torch.nn.modules.linear", "Linear"), "calls what is no function of a tensor"
    yield asks("torch", "FloatStorage"), "calls what is no function of a tensor"
    # An allowed class or function whose attributes or state become a call.
    linear = b"\x80\x02ctorch.nn.modules.linear\nLinear\n"
    state = b"}X\x0c\x00\x00\x00__setstate__cposix\nsystem\ns"
    yield linear + b")\x81" + state + b"b" + text(command) + b"b.", "asks for posix.system"
    yield linear + b"}X\x08\x00\x00\x00__call__Nsb.", "sets the state of what is no layer"
    yield linear + b")\x81]b.", "sets the state of what is no layer"
    yield linear + text(command) + b"\x85\x81.", "makes an object of what is no layer"
    yield b"\x80\x02ccollections\nOrderedDict\n)\x81.", "makes an object of what is no layer"
    yield b"\x80\x02" + text(command) + b")R.", "calls what is no function"
    # Ways around GLOBAL and REDUCE.
    yield b"\x80\x02(" + text(command) + b"ios\nsystem\n.", "instruction INST"
    yield b"\x80\x02" + text("os") + text("system") + b"\x93" + text(command) + b"\x85R.", "instruction STACK_GLOBAL"
    yield b"\x80\x02(cos\nsystem\n" + text(command) + b"o.", "asks for os.system"
    yield b"\x80\x02\x82\x01.", "instruction EXT1"
    yield b"\x80\x02Pposix.system\n.", "instruction PERSID"
    yield b"\x80\x02" + text(command) + b"Q.", "something outside"
    yield b"\x80\x02(" + text("module") + b"cos\nsystem\n" + text("f") + text("s") + b"tQ.", "asks for os.system"
    yield b"\x80\x02(" + text("module") + text("os.system") + text("f") + text("s") + b"tQ.", "something outside"
    yield pickle.dumps(Call(os.system, command), 4), "protocol 4"
    yield b"\x80\x02(" + text("module") + text("f") + text(f"import os; os.system({command!r})") + b"tQ.", "outside"
    for group in "weights", "os.system", "module ":
        yield b"\x80\x02(" + text(group) + text("0") + text("0") + text("cpu") + b"K\x01tQ.", "something outside"
    yield b"\x80\x02(" + text("storage") + text("os.system") + text("0") + text("cpu") + b"K\x01tQ.", "outside"
    yield b"\x80\x02(" + text("storage") + b"ctorch\ndevice\n" + text("0") + text("cpu") + b"K\x01tQ.", "outside"
    # Pickles in pickles, and other ways from one name to another.
    inner = pickle.dumps(Call(os.system, command), 2)
    yield pickle.dumps(Call(pickle.loads, inner), 2), "asks for pickle.loads"
    yield pickle.dumps(Call(torch.storage._load_from_bytes, inner), 2), "asks for torch.storage._load_from_bytes"
    for module, name in (
        ("__builtin__", "getattr"), ("__builtin__", "apply"), ("__builtin__", "__import__"), ("_codecs", "encode"),
        ("operator", "attrgetter"), ("functools", "partial"), ("types", "FunctionType"), ("runpy", "run_path"),
        ("importlib", "import_module"), ("subprocess", "Popen"), ("socket", "create_connection"), ("ctypes", "CDLL"),
        ("urllib.request", "urlopen"), ("shutil", "rmtree"), ("pathlib", "Path"), ("torch.jit", "load"), ("pdb", "run"),
        ("numpy.core.multiarray", "_reconstruct"), ("torch.utils.cpp_extension", "load"), ("sys", "exit"),
    ):  # fmt: skip
        yield asks(module, name), f"asks for {module}.{name}, which no weights need"
    # The memo: an allowed name that becomes another, a number that was never put, a layer that is put into itself.
    sequential = b"ctorch.nn.modules.container\nSequential\n"
    yield b"\x80\x02" + sequential + b"q\x000cposix\nsystem\nq\x00" + text(command) + b"\x85R.", "asks for posix.system"
    yield b"\x80\x02h\x05" + text(command) + b"\x85R.", "damaged"
    yield b"\x80\x02q\x05.", "damaged"
    yield b"\x80\x02" + sequential + b"q\x00h\x00\x85\x81.", "makes an object of what is no layer"
    # Every instruction that is not known.
    for code, name in UNKNOWN.items():
        yield b"\x80\x02" + text(command) + code, f"uses the pickle instruction {name}, which no weights need"
    # What takes memory or time.
    yield b"\x80\x02r\xff\xff\xff\xff.", "damaged"
    yield b"\x80\x02\x8e" + struct.pack("<Q", 2**62) + b"x.", "damaged"
    yield b"\x80\x02)" + b"q\x00h\x00\x86" * 200 + b"}h\x00Ns.", "fills what is no dict"
    yield b"\x80\x02}" + b"q\x00h\x00\x86" * 200 + b"h\x00s.", "damaged"
    yield b"\x80\x02N.", "neither a module nor a state dict"
    yield pickle.dumps({"weight": 3}, 2), "'weight' is no tensor"
    yield pickle.dumps({"weight": Call(torch._utils._rebuild_parameter, 3)}, 2), "'weight' is no tensor"


def test_hostile_files_are_refused_by_name_and_run_nothing(tmp_path):
    sentinel = tmp_path / "sentinel"
    count = 0
    for count, (root, words) in enumerate(hostile(sentinel), 1):
        for name, content in ("old", old_file(root)), ("zip", zip_file(root)):
            path = tmp_path / f"{name}{count}.pt"
            path.write_bytes(content)
            refused(path, words)
            assert not sentinel.exists(), root
        if words.startswith("asks for"):  # the bare pickle, too
            path.write_bytes(root)
            refused(path, words)
    assert count > 30 and not sentinel.exists()


def test_the_instructions_that_are_tried_are_all_there_are():
    assert {*UNKNOWN.values()}.isdisjoint(KNOWN)
    assert {*UNKNOWN.values()} | KNOWN == {opcode.name for opcode in pickletools.opcodes}


def test_hostile_pickles_anywhere_in_a_file_run_nothing(tmp_path):
    """An old file has five pickles, of which the weights are the fourth; an archive may hold more than data.pkl."""
    sentinel, path = tmp_path / "sentinel", tmp_path / "x.pt"
    hostile_one = next(hostile(sentinel))[0]
    good = [*(pickle.dumps(part, 2) for part in (legacy.MAGIC, legacy.PROTOCOL, {"little_endian": True}, {}, []))]
    for place in range(5):
        path.write_bytes(b"".join([*good[:place], hostile_one, *good[place + 1 :]]))
        refused(path, "asks for posix.system")
    root = dump({"a": tensor(0, (6,), (1,))})
    for name in "version", "constants.pkl", "code/x.py", ".data/serialization_id", "data/1":
        path.write_bytes(zip_file(root, **{"data/0": NUMBERS, name: hostile_one}))
        assert legacy.load_state_dict(path)["a"].tolist() == [0, 1, 2, 3, 4, 5]
    assert not sentinel.exists()


def test_the_hostile_files_are_hostile(tmp_path):
    """The check of the check: an ordinary unpickler does make the sentinel."""
    sentinel = tmp_path / "sentinel"
    pickle.loads(next(hostile(sentinel))[0])
    assert sentinel.exists()


def test_a_module_that_holds_itself_or_very_many_ends(tmp_path):
    groups = b"".join(
        b"X" + struct.pack("<I", len(name)) + name + b"}" for name in (b"_parameters", b"_buffers", b"_modules")
    )
    start = b"c__main__\nClassifier\n)\x81q\x01}(" + groups
    itself = b"\x80\x02" + start + b"X\x01\x00\x00\x00ah\x01sub."
    (tmp_path / "itself.pt").write_bytes(old_file(itself))
    refused(tmp_path / "itself.pt", "a layer stands in two places")
    deep = b"\x80\x02" + (start + b"X\x01\x00\x00\x00a") * 3000 + b"N" + b"sub" * 3000 + b"."
    (tmp_path / "deep.pt").write_bytes(old_file(deep))
    refused(tmp_path / "deep.pt", "a tensor's name of more than 1,000 characters")


class Storage:
    """Pickled by `dump`, the persistent id of a storage."""

    def __init__(self, *identity):
        self.identity = identity


def dump(value):
    class Pickler(pickle.Pickler):
        def persistent_id(self, thing):
            return thing.identity if isinstance(thing, Storage) else None

    file = io.BytesIO()
    Pickler(file, 2).dump(value)
    return file.getvalue()


def tensor(offset, size, stride, numel=6, kind=torch.FloatStorage, key="0", view=None):
    storage = Storage("storage", kind, key, "cpu", numel, view)
    return Call(torch._utils._rebuild_tensor_v2, storage, offset, size, stride, False, {})


NUMBERS = struct.pack("<6f", *range(6))


@pytest.mark.parametrize(
    "view, expected",
    [
        ((0, (2, 3), (3, 1)), [[0, 1, 2], [3, 4, 5]]),
        ((0, (3, 2), (1, 3)), [[0, 3], [1, 4], [2, 5]]),
        ((5, (), ()), 5),
        ((1, (5,), (1,)), [1, 2, 3, 4, 5]),
        ((0, (4,), (0,)), [0, 0, 0, 0]),
    ],
)
def test_views_that_fit_are_what_torch_makes_of_them(tmp_path, view, expected):
    (tmp_path / "x.pt").write_bytes(old_file(dump({"a": tensor(*view)}), ["0"], struct.pack("<q", 6) + NUMBERS))
    assert legacy.load_state_dict(tmp_path / "x.pt")["a"].tolist() == expected


@pytest.mark.parametrize(
    "value, words",
    [
        (tensor(0, (7,), (1,)), "do not fill"),
        (tensor(1, (2, 3), (3, 1)), "do not fill"),
        (tensor(0, (2, 3), (4, 1)), "do not fill"),
        (tensor(0, (10**15,), (0,)), "do not fill"),
        (tensor(0, (0, 2**70), (1, 1)), "do not fill"),
        (tensor(-1, (2,), (1,)), "no whole numbers from 0 on"),
        (tensor(0, (-2, -3), (3, 1)), "no whole numbers from 0 on"),
        (tensor(5, (2,), (-1,)), "no whole numbers from 0 on"),
        (tensor(0.0, (2,), (1,)), "no whole numbers from 0 on"),
        (tensor(0, ((2,),), (1,)), "no whole numbers from 0 on"),
        (tensor(0, (2, 3), (1,)), "no whole numbers from 0 on"),
        (tensor(0, (1,) * 10_000, (1,) * 10_000), "more than 8 dimensions"),
        (tensor(0, (1,), (2**80,)), "damaged"),
        (tensor(0, (6,), (1,), numel=-6), "a storage of -6 numbers"),
        (tensor(0, (6,), (1,), numel=10**15), "for which the file has no room"),
        (tensor(0, (6,), (1,), numel=2**80), "for which the file has no room"),
        (tensor(0, (5,), (1,), numel=5), "announced"),
        (tensor(0, (6,), (1,), kind=torch.DoubleStorage), "announced"),
        (tensor(0, (6,), (1,), kind=torch.BoolStorage), "asks for torch.BoolStorage"),
        (tensor(0, (6,), (1,), view=("0", 2, 3)), "given in two ways"),
        ([tensor(0, (6,), (1,)), tensor(0, (3,), (1,), numel=3)], "given in two ways"),
        (tensor(0, (6,), (1,), key="1"), "damaged"),
        (Call(torch._utils._rebuild_tensor_v2, "storage", 0, (1,), (1,)), "damaged"),
    ],
)
def test_tensors_that_their_numbers_do_not_fill_are_refused(tmp_path, value, words):
    root = dump({"a": value})
    (tmp_path / "old.pt").write_bytes(old_file(root, ["0"], struct.pack("<q", 6) + NUMBERS))
    (tmp_path / "zip.pt").write_bytes(zip_file(root, **{"data/0": NUMBERS}))
    refused(tmp_path / "old.pt", words)
    refused(tmp_path / "zip.pt", words)


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["../data.pkl", "../data/0"], "'..', which torch.save does not write"),
        (["/data.pkl", "/data/0"], None),
        (["x/../data.pkl", "x/data.pkl", "x/data/0"], "'../data.pkl', which"),
        (["x/data.pkl", "x/data/0", "x/data/../../../../etc/passwd"], "'data/../../../../etc/passwd', which"),
        (["x/data.pkl", "x/data/0", "x//etc/passwd"], "'/etc/passwd', which"),
        (["x/data.pkl", "x/data/0", "x/..\\..\\evil"], "evil', which"),
        (["x/data.pkl", "y/data.pkl", "x/data/0"], "several folders"),
        (["x/data.pkl", "x/data/0", "x/data/0"], "two members of one name"),
        (["x/data.pkl"], "damaged"),
        (["data.pkl", "data/0"], "several folders"),
    ],
)
def test_paths_in_an_archive_lead_nowhere(tmp_path, names, words):
    root = dump({"a": tensor(0, (6,), (1,))})
    folder = tmp_path / "a" / "b"
    folder.mkdir(parents=True)
    path = folder / "x.pt"
    with zipfile.ZipFile(path, "w") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of a name twice
        for name in names:
            archive.writestr(name, root if name.endswith("data.pkl") else NUMBERS)
    if words:
        refused(path, words)
    else:
        assert legacy.load_state_dict(path)["a"].tolist() == [0, 1, 2, 3, 4, 5]
    assert list(tmp_path.rglob("*")) == [tmp_path / "a", folder, path]


def test_other_faults_of_the_container_are_refused(tmp_path):
    path, root = tmp_path / "x.pt", dump({"a": tensor(0, (6,), (1,))})
    storages = struct.pack("<q", 6) + NUMBERS
    for content, words in (
        (old_file(root, ["0"], struct.pack("<q", 5) + NUMBERS), "a storage of 5 numbers where 6"),
        (old_file(root, ["0"], struct.pack("<q", -1) + NUMBERS), "a storage of -1 numbers"),
        (old_file(root, [], storages), "damaged"),
        (old_file(root, ["1"], storages), "damaged"),
        (old_file(root, ["0"], storages, little_endian=False), "little-endian"),
        (old_file(root, ["0"], storages).replace(b"\xfc\x9cF", b"\xfc\x9cG"), "not a file of torch.save"),
        (zip_file(root, zipfile.ZIP_DEFLATED, **{"data/0": NUMBERS}), "compressed"),
        (zip_file(root, byteorder="big", **{"data/0": NUMBERS}), "little-endian"),
        (zip_file(root), "damaged"),
        (legacy.ZIP, "damaged"),
        (b"", "damaged"),
        (b"text", "damaged"),
    ):
        path.write_bytes(content)
        refused(path, words)


@pytest.mark.parametrize("form", ["zip", "old"])
def test_a_file_cut_off_anywhere_is_refused(saved, tmp_path, form):
    content = (saved / f"{form}.pt").read_bytes()
    length = len(content)
    for at in [*range(0, 4000, 97), *range(4000, length, length // 40), length - 1]:
        (tmp_path / "cut.pt").write_bytes(content[:at])
        refused(tmp_path / "cut.pt")


def test_flipped_bytes_never_give_anything_but_tensors_or_a_refusal(saved, tmp_path):
    content = bytearray((saved / "old_dict.pt").read_bytes())
    generator = torch.Generator().manual_seed(1)
    for position, value in zip(
        torch.randint(3000, (300,), generator=generator).tolist(),
        torch.randint(256, (300,), generator=generator).tolist(),
        strict=True,
    ):
        damaged = content.copy()
        damaged[position] = value
        (tmp_path / "x.pt").write_bytes(damaged)
        try:
            assert all(isinstance(each, torch.Tensor) for each in legacy.load_state_dict(tmp_path / "x.pt").values())
        except InputError as error:
            assert str(error).isprintable()
