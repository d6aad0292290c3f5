"""Weights in a file of `torch.save`, read without running anything in it.

`torch.load` runs the program that a pickle is; `pickles` only follows it. Both forms of file are read: the archive that
torch has written since 1.6, and the older one (the course's `svhn_classifier.pt`). Either may hold a whole module, its
state dict, or a dict with one of them under a name of `WRAPPERS`.
"""

import io
import re
import zipfile
from pathlib import Path

from .. import InputError, log
from ..files import PYTORCH
from .pickles import Machine, Module, Refused, Tensor

ZIP = PYTORCH[0]
MAGIC, PROTOCOL = 0x1950A86A20F9469CFC6C, 1001  # what an old file begins with
# Limits far above the weights of any network that is used here. Memory: at most four times the file, and 300 MB.
SIZE = 2**31  # bytes of the file
MEMBERS = 10_000  # of an archive
TENSORS, LENGTH = 10_000, 1000  # how many, and characters of a tensor's name
WRAPPERS = ("state_dict", "model_state_dict", "model", "net")  # what training programs call the weights they save
PARALLEL = "module."  # what torch's DataParallel puts before every name


def load_state_dict(path):
    """{name: tensor} of the parameters and buffers in a file of `torch.save`: a module's, or a state dict's.

    The tensors are on the CPU, wherever they were saved from. Raises InputError with the cause for a damaged
    file and for a file that asks for anything but layers and tensors.
    """
    path = Path(path)
    content = path.read_bytes() if (size := path.stat().st_size) <= SIZE else b""
    try:
        if size > SIZE:
            raise Refused(f"a file of {size:,} bytes, more than {SIZE:,}")
        root, wrapper = _unwrapped(_read_zip(content) if content.startswith(ZIP) else _read_old(content))
        tensors = {}
        for name, tensor in _named_tensors(root):
            tensors[name] = tensor.build()
            if len(tensors) > TENSORS:  # a few layers can share their dicts with very many
                raise Refused(f"more than {TENSORS:,} tensors")
    except Refused as error:
        reason = str(error)
    except MemoryError:
        raise
    except Exception as error:  # a damaged file causes errors of any kind
        reason = f"damaged or cut off ({type(error).__name__}: {' '.join(str(error).split())})"
    else:
        if wrapper:
            log.info("%s: the weights are those under %r; the rest is left out", path, wrapper)
        return unprefixed(tensors)
    raise InputError(
        f"{path}: {reason[:300]}; refused, and nothing in it was run; give weights as safetensors"
    ) from None


def unprefixed(tensors):
    """{name: tensor} without what DataParallel puts before every name."""
    if all(name.startswith(PARALLEL) for name in tensors):
        return {name.removeprefix(PARALLEL): tensor for name, tensor in tensors.items()}
    return tensors


def _unwrapped(root):
    """(the module or state dict, "" or its name) in an object, which may be a dict that holds it beside other things.

    Only one of `WRAPPERS` may hold weights: of two, either may be meant.
    """
    if not isinstance(root, dict) or any(isinstance(value, Tensor) for value in root.values()):
        return root, ""
    held = [name for name in WRAPPERS if isinstance(root.get(name), (dict, Module))]
    if len(held) > 1:
        raise Refused(f"it holds weights under {held[0]!r} and under {held[1]!r}; save one state dict alone")
    return (root[held[0]], held[0]) if held else (root, "")


def _read_old(content):
    """The object of a file of torch before 1.6: five pickles, then the storages one after another."""
    file, storages = io.BytesIO(content), {}
    magic, protocol, system, root, keys = (Machine(file, storages, len(content)).run() for _ in range(5))
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
    if content.count(b"PK\x01\x02") > MEMBERS:  # an entry of the archive's directory begins so
        raise Refused(f"an archive of more than {MEMBERS:,} members")
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = {info.filename.partition("/")[2]: info for info in archive.infolist()}
        folders = {info.filename.partition("/")[0] for info in archive.infolist()}
        if len(folders) != 1 or len(members) != len(archive.infolist()):
            raise Refused("an archive of several folders, or with two members of one name")
        if odd := next((name for name in (*folders, *members) if re.search(r"(^|/)\.\.?(/|$)|\\|^/", name)), None):
            raise Refused(f"an archive with a member {odd[:80]!a}, which torch.save does not write")

        def read(name):
            if members[name].compress_type != zipfile.ZIP_STORED or members[name].file_size > len(content):
                raise Refused(f"the archive's {name!a} is compressed, which torch.save does not do")
            return archive.read(members[name])

        if "byteorder" in members and read("byteorder") != b"little":
            raise Refused("not a file of torch.save by a little-endian machine")
        root = Machine(io.BytesIO(read("data.pkl")), storages, len(content)).run()
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
    for name in (*tensors, *children):
        if type(name) is not str:
            raise Refused(f"{name} is no name of a tensor or layer")
        if len(prefix) + len(name) > LENGTH:
            raise Refused(f"a tensor's name of more than {LENGTH:,} characters")
    for name, tensor in tensors.items():
        if isinstance(tensor, Tensor):
            yield prefix + name, tensor
        elif tensor is not None:
            raise Refused(f"{prefix + name!a} is no tensor; save the state dict alone")
    for name, child in children.items():
        if not isinstance(child, Module):
            raise Refused(f"{prefix + name!a} is no layer")
        yield from _named_tensors(child, f"{prefix}{name}.", seen)
