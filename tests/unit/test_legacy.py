"""Files of torch.save, honest and hostile: the honest give the weights that torch gives, the hostile run nothing."""

import io
import os
import pickle
import struct
import subprocess
import sys
import zipfile

import pytest
import torch
from genlab import InputError
from genlab.data import legacy
from genlab.models import networks

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
    torch.save({k: v.half() for k, v in model.state_dict().items()}, f"{folder}/half.pt")
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


def test_half_precision_is_read_as_such(saved):
    expected = torch.load(saved / "expected.pt", weights_only=True)
    for name, tensor in legacy.load_state_dict(saved / "half.pt").items():
        assert torch.equal(tensor, expected[name].half())


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
    deep = b"\x80\x02" + (start + b"X\x01\x00\x00\x00a") * 50_000 + b"N" + b"sub" * 50_000 + b"."
    (tmp_path / "deep.pt").write_bytes(old_file(deep))
    refused(tmp_path / "deep.pt", "RecursionError")


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
        (tensor(0, (1,) * 100_000, (1,) * 100_000), "more than 8 dimensions"),
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
