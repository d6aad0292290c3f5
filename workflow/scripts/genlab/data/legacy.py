"""Read weights from a file of `torch.save` without running anything in it.

Such a file holds a pickle: a program that may call any function of any installed package, and `torch.load` runs it.
Here the program is only followed: its few harmless instructions build plain values and the descriptions below, every
name that it asks for must be on a short list, and nothing is imported. Both forms are read, of a whole module or of
its state dict: the archive that torch has written since 1.6, and the older one (the course's `svhn_classifier.pt`).
"""

import io
import math
import pickletools
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from .. import InputError

ZIP = b"PK\x03\x04"
BEGINNINGS = (ZIP, b"\x80")  # first bytes of an archive and of a pickle
LIMIT = 1 << 30  # bytes of a file, which is read as a whole; the course's has fewer than a million
MAGIC, PROTOCOL = 0x1950A86A20F9469CFC6C, 1001  # what an old file begins with


class Refused(ValueError):
    """Why a file is not read."""


@dataclass(frozen=True)
class Name:
    """A class or function that the file asks for, by name only."""

    name: str


@dataclass(eq=False)
class Module:
    """A layer, with the attributes it would have."""

    state: dict


@dataclass(eq=False)
class Storage:
    """`numel` numbers of one type in the file, and their `array` once it is read."""

    dtype: np.dtype
    numel: int
    array: np.ndarray | None = None

    def fill(self, raw):
        if len(raw) != self.numel * self.dtype.itemsize:
            raise Refused(f"cut off: {len(raw)} bytes where {self.numel} numbers of {self.dtype} are announced")
        self.array = np.frombuffer(raw, self.dtype).copy()


@dataclass(eq=False)
class Tensor:
    """A view of a storage; offset and strides in elements."""

    storage: Storage
    offset: int
    size: tuple
    stride: tuple

    def build(self):
        if len(self.size) > 8:
            raise Refused("a tensor has more than 8 dimensions")
        numbers = (self.offset, *self.size, *self.stride)
        if any(type(number) is not int or number < 0 for number in numbers) or len(self.size) != len(self.stride):
            raise Refused("the size, strides and offset of a tensor are no whole numbers from 0 on")
        last = self.offset + sum((size - 1) * stride for size, stride in zip(self.size, self.stride, strict=True))
        # Check the product too: a stride of 0 makes a tensor of any size from one number.
        if max(math.prod(self.size), last + 1) > self.storage.numel or min(self.size, default=1) == 0:
            raise Refused(f"a tensor of size {self.size} that the file's {self.storage.numel} numbers do not fill")
        return torch.from_numpy(self.storage.array).as_strided(self.size, self.stride, self.offset)


LAYERS = {
    "__main__.Classifier", "torch.nn.modules.container.Sequential", "torch.nn.modules.activation.ELU",
    "torch.nn.modules.conv.Conv2d", "torch.nn.modules.linear.Linear", "torch.nn.modules.pooling.MaxPool2d",
    "torch.nn.modules.dropout.Dropout", "torch.nn.modules.dropout.Dropout2d",
}  # fmt: skip
STORAGES = {
    f"torch.{name}Storage": np.dtype(code) for name, code in {"Float": "<f4", "Double": "<f8", "Half": "<f2"}.items()
}
# What replaces a call of each function: our description of its result, or None where the result is not needed.
FUNCTIONS = {
    "collections.OrderedDict": lambda: {},
    "__builtin__.set": lambda items: None,
    "torch._utils._rebuild_tensor_v2": lambda storage, offset, size, stride, *_: Tensor(storage, offset, size, stride),
    "torch._utils._rebuild_parameter": lambda tensor, *_: tensor,
    "torch.nn.backends.thnn._get_thnn_function_backend": lambda: None,  # every layer of torch before 1.2 has one
}


def load_state_dict(path):
    """{name: tensor} of the parameters and buffers in a file of `torch.save`: a module's, or a state dict's.

    The tensors are on the CPU, wherever they were saved from. Raises InputError with the cause for a damaged
    file and for a file that asks for anything but layers and tensors.
    """
    if (size := Path(path).stat().st_size) > LIMIT:
        raise InputError(f"{path}: {size:,} bytes; give weights of {LIMIT:,} bytes or fewer")
    content = Path(path).read_bytes()
    try:
        root = _read_zip(content) if content.startswith(ZIP) else _read_old(content)
        return {name: tensor.build() for name, tensor in _named_tensors(root)}
    except Refused as error:
        reason = str(error)
    except Exception as error:  # a damaged file causes errors of any kind
        reason = f"damaged or cut off ({type(error).__name__}: {' '.join(str(error).split())})"
    raise InputError(f"{path}: {reason[:300]}; refused, and nothing in it was run; give weights as safetensors")


def _read_old(content):
    """The object of a file of torch before 1.6: five pickles, then the storages one after another."""
    file, storages = io.BytesIO(content), {}
    magic, protocol, system, root, keys = (_Machine(file, storages, len(content)).run() for _ in range(5))
    if (magic, protocol) != (MAGIC, PROTOCOL) or system["little_endian"] is not True:
        raise Refused("not a file of torch.save by a little-endian machine")
    for key in keys:
        numel = int.from_bytes(file.read(8), "little", signed=True)
        if numel != storages[key].numel:
            raise Refused(f"a storage of {numel} numbers where {storages[key].numel} are announced")
        storages[key].fill(file.read(numel * storages[key].dtype.itemsize))
    return root


def _read_zip(content):
    """The object of a file of torch since 1.6: an archive with data.pkl and one member for each storage."""
    storages = {}
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = {info.filename.partition("/")[2]: info for info in archive.infolist()}

        def read(name):
            if members[name].compress_type != zipfile.ZIP_STORED or members[name].file_size > len(content):
                raise Refused(f"the archive's {name!a} is compressed, which torch.save does not do")
            return archive.read(members[name])

        if "byteorder" in members and read("byteorder") != b"little":
            raise Refused("not a file of torch.save by a little-endian machine")
        root = _Machine(io.BytesIO(read("data.pkl")), storages, len(content)).run()
        for key, storage in storages.items():
            storage.fill(read(f"data/{key}"))
    return root


def _named_tensors(part, prefix="", seen=None):
    """Yield (name, Tensor) from a `Module` and its children, or from a state dict."""
    seen = set() if seen is None else seen
    if id(part) in seen:
        raise Refused("a layer stands in two places")
    seen.add(id(part))
    if isinstance(part, dict):
        tensors, children = part, {}
    elif isinstance(part, Module):
        tensors, children = part.state["_parameters"] | part.state["_buffers"], part.state["_modules"]
    else:
        raise Refused("it holds neither a module nor a state dict")
    for name, tensor in tensors.items():
        if isinstance(tensor, Tensor):
            yield prefix + name, tensor
        elif tensor is not None:
            remedy = ", but a dict: save that alone" if isinstance(tensor, dict) else ""
            raise Refused(f"{prefix + name!a} is no tensor{remedy}")
    for name, child in children.items():
        if not isinstance(child, Module):
            raise Refused(f"{prefix + name!a} is no layer")
        yield from _named_tensors(child, f"{prefix}{name}.", seen)


class _Machine:
    """Follows one pickle of protocol 2, as torch writes it, to the value that it describes."""

    def __init__(self, file, storages, room):
        self.file = file  # at the beginning of the pickle; afterwards just past its end
        self.storages = storages  # {key: Storage}; those that the pickle names are added
        self.room = room  # the most bytes that all storages of the pickle may have together
        self.stack, self.marks, self.memo = [], [], {}

    def run(self):
        stack = self.stack
        for opcode, argument, _ in pickletools.genops(self.file):
            match opcode.name:
                case "PROTO":
                    if argument != 2:
                        raise Refused(f"a pickle of protocol {argument}; torch.save writes protocol 2")
                case "STOP":
                    return stack.pop()
                case "NONE" | "NEWTRUE" | "NEWFALSE" as name:
                    stack.append({"NONE": None, "NEWTRUE": True, "NEWFALSE": False}[name])
                case "BININT" | "BININT1" | "BININT2" | "LONG1" | "BINFLOAT" | "BINUNICODE":
                    stack.append(argument)
                case "EMPTY_TUPLE" | "EMPTY_LIST" | "EMPTY_DICT" as name:
                    stack.append({"EMPTY_TUPLE": tuple, "EMPTY_LIST": list, "EMPTY_DICT": dict}[name]())
                case "TUPLE1" | "TUPLE2" | "TUPLE3" as name:
                    stack.append(tuple(self.top(int(name[-1]))))
                case "MARK":
                    self.marks.append(len(stack))
                case "TUPLE":
                    stack.append(tuple(self.since_mark()))
                case "APPEND":
                    self.extend(self.top(1))
                case "APPENDS":
                    self.extend(self.since_mark())
                case "SETITEM":
                    self.update(self.top(2))
                case "SETITEMS":
                    self.update(self.since_mark())
                case "BINPUT" | "LONG_BINPUT":
                    self.memo[argument] = stack[-1]
                case "BINGET" | "LONG_BINGET":
                    stack.append(self.memo[argument])
                case "POP":
                    self.top(1)
                case "GLOBAL":
                    stack.append(_name(argument))
                case "NEWOBJ" | "REDUCE" | "BUILD" as name:
                    stack.append({"NEWOBJ": _make, "REDUCE": _call, "BUILD": _set_state}[name](*self.top(2)))
                case "BINPERSID":
                    stack.append(self.outside(*self.top(1)))
                case name:
                    raise Refused(f"uses the pickle instruction {name}, which no weights need")

    def top(self, count):
        """Pop the `count` values at the top."""
        if count > len(self.stack):
            raise Refused("damaged: the pickle takes more than it has put")
        values = self.stack[len(self.stack) - count :]
        del self.stack[len(self.stack) - count :]
        return values

    def since_mark(self):
        """Pop the values above the last mark."""
        return self.top(len(self.stack) - self.marks.pop())

    def extend(self, values):
        """Append to the list at the top."""
        if type(self.stack[-1]) is not list:
            raise Refused("damaged: the pickle extends what is no list")
        self.stack[-1].extend(values)

    def update(self, values):
        """Put alternating keys and values into the dict at the top."""
        keys = values[::2]
        # Plain keys only: hashing deeply nested tuples can take forever.
        if type(self.stack[-1]) is not dict or any(type(key) not in (str, int) for key in keys):
            raise Refused("damaged: the pickle fills what is no dict, or with keys that are no text")
        self.stack[-1].update(zip(keys, values[1::2], strict=True))

    def outside(self, identity):
        """What a persistent id means: a storage or, in old files, a class with its source text."""
        match identity:
            case ("module", Name(name) as kind, _, _) if name in LAYERS:
                return kind
            case ("storage", Name(name), str(key), str(), int(numel), *view) if name in STORAGES:
                if key not in self.storages:
                    self.room -= numel * STORAGES[name].itemsize
                    self.storages[key] = Storage(STORAGES[name], numel)
                if numel < 0 or self.room < 0:
                    raise Refused(f"a storage of {numel} numbers, for which the file has no room")
                storage = self.storages[key]
                if (storage.dtype, storage.numel) != (STORAGES[name], numel) or view not in ([], [None]):
                    raise Refused(f"the storage {key[:80]!a} is given in two ways")
                return storage
        raise Refused("refers to something outside that is no storage")


def _name(argument):
    """GLOBAL: the `Name` of "module name", which must be on the list."""
    name = argument.replace(" ", ".", 1)
    if name not in LAYERS | STORAGES.keys() | FUNCTIONS.keys():
        raise Refused(f"asks for {ascii(name[:80])[1:-1]}, which no weights need")
    return Name(name)


def _make(kind, arguments):
    """NEWOBJ: a layer that has no attributes yet."""
    if not isinstance(kind, Name) or kind.name not in LAYERS or arguments != ():
        raise Refused("makes an object of what is no layer")
    return Module({})


def _call(function, arguments):
    """REDUCE: what replaces the result of the function."""
    if not isinstance(function, Name) or function.name not in FUNCTIONS or type(arguments) is not tuple:
        raise Refused("calls what is no function of a tensor")
    return FUNCTIONS[function.name](*arguments)


def _set_state(target, state):
    """BUILD: give a layer its attributes. A state dict's own (`_metadata`) are dropped."""
    if isinstance(target, Module) and type(state) is dict:
        target.state = state
    elif type(target) is not dict:
        raise Refused("sets the state of what is no layer")
    return target
