"""Weights: safetensors, PyTorch's own files, and the networks that are made of them."""

import functools
import json
import pickle
import struct
import zipfile

import numpy as np
from robustness.runner import Case, Door
from robustness.spoil import changes, cut, flips, moved, tensors, writes
from safetensors.numpy import save_file


def safetensors_of(header, data=b""):
    """The bytes of a safetensors file with this header, as text or as an object."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def safetensors():
    command = "import_classifier --weights classifier.safetensors --output imported.safetensors"
    case = functools.partial(Case, command=command)
    name = "classifier.safetensors"
    tensor = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}
    overlapping = {"a": tensor, "b": tensor | {"data_offsets": [4, 12]}}
    bias = "mlp__2__bias"
    sample = "sample --weights gan.safetensors --count 4 --output drawn --threads 1"
    likelihood = (
        "estimate_likelihood --weights binary_vae.safetensors --data binarized_mnist.npz --samples 5 --output out.json"
    )
    return Door(
        "Weights as safetensors",
        "Numbers with a header of JSON. A damaged one, or one of another network, is named by what is wrong.",
        [
            case("a file that is not there", says="no such file",
                 command=command.replace("weights classifier", "weights gone")),
            case("a folder", says="is no file", prepare=lambda folder: (folder / name).mkdir()),
            case("an empty file", says="neither safetensors nor", prepare=writes(name, b"")),
            case("text", says="neither safetensors nor", prepare=writes(name, "conv_stack: see the course's page\n")),
            case("a page of HTML", says="neither safetensors nor", prepare=writes(name, "<!DOCTYPE html>" * 9)),
            case("a pointer of Git LFS", says="neither safetensors nor",
                 prepare=writes(name, "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2146\nsize 1234\n")),
            case("a header cut off", says="not a sound safetensors file", prepare=changes(name, lambda b: b[:100])),
            case("numbers cut off", says="not a sound safetensors file", prepare=cut(name)),
            case("a byte too many", says="not a sound safetensors file", prepare=changes(name, lambda b: b + b"x")),
            case("a header that claims two to the 60 bytes", says="not a sound safetensors file",
                 prepare=changes(name, lambda b: struct.pack("<Q", 2**60) + b[8:])),
            case("a header that is no JSON", says="not a sound", prepare=writes(name, safetensors_of(b"{tensor: 1}"))),
            case("a header nested ten thousand deep", says="not a sound",
                 prepare=writes(name, safetensors_of(b'{"a":' + b"[" * 10_000 + b"]" * 10_000 + b"}"))),
            case("a tensor of a negative size", says="not a sound",
                 prepare=writes(name, safetensors_of({"a": tensor | {"shape": [-2]}}, bytes(8)))),
            case("a tensor beyond the end", says="not a sound",
                 prepare=writes(name, safetensors_of({"a": tensor | {"data_offsets": [0, 800]}}, bytes(8)))),
            case("two tensors in one place", says="not a sound",
                 prepare=writes(name, safetensors_of(overlapping, bytes(12)))),
            case("a kind of number that nobody knows", says="not a sound",
                 prepare=writes(name, safetensors_of({"a": tensor | {"dtype": "F7"}}, bytes(8)))),
            case("no tensor at all", says="no conv_stack.0.weight", prepare=writes(name, safetensors_of({}))),
            case("a description that is no object", says="no object",
                 prepare=changes(name, lambda b: safetensors_of({"__metadata__": {"genlab": "[]"}}))),
            case("a tensor that is missing", says="no mlp.2.bias", prepare=tensors(name, **{bias: None})),
            case("a tensor too many", says="is too many", prepare=tensors(name, extra=lambda _: np.zeros(3, "f4"))),
            case("names with the prefix of DataParallel", says="no mlp.2.bias",
                 prepare=tensors(name, **{bias: None, f"module__{bias}": lambda _: np.zeros(10, "f4")})),
            case("a tensor of another shape", says="expected float32 (10,)",
                 prepare=tensors(name, **{bias: lambda b: b[:9]})),
            case("half precision", says="float16", prepare=tensors(name, **{bias: lambda b: b.astype("f2")})),
            case("NaN among the numbers", says="not finite", prepare=tensors(name, **{bias: lambda b: b * np.nan})),
            case("infinity among the numbers", says="not finite",
                 prepare=tensors(name, **{bias: lambda b: b + np.array([np.inf] + [0] * 9, "f4")})),
            case("no description, as other programs write it", code=0, says="", prepare=tensors(name, metadata=False)),
            case("safetensors under the name of PyTorch's file", code=0, says="", prepare=moved(name, "weights.pt"),
                 command=command.replace(name, "weights.pt")),
            case("a classifier where a GAN is wanted", says="not the weights of an image model",
                 command=sample.replace("gan.safetensors", name)),
            case("a GAN that says nothing of itself", says="it does not say what it is", command=sample,
                 prepare=tensors("gan.safetensors", metadata=False)),
            case("a GAN of another width than it says", says="not the weights of an image model", command=sample,
                 prepare=tensors("gan.safetensors", about={"generator": {"latents": 5, "width": 8}})),
            case("a GAN that claims a billion channels", says="not the weights of an image model", command=sample,
                 prepare=tensors("gan.safetensors", about={"generator": {"latents": 5, "width": 10**9}})),
            case("a GAN of text instead of numbers", says="not the weights of an image model", command=sample,
                 prepare=tensors("gan.safetensors", about={"generator": {"latents": "many", "width": 4}})),
            case("a GAN of no latents", says="not the weights of an image model", command=sample,
                 prepare=tensors("gan.safetensors", about={"generator": {"latents": 0, "width": 4}})),
            case("a GAN whose description has no model", says="'model' is missing", command=sample,
                 prepare=tensors("gan.safetensors", about={"model": None})),
            case("NaN in a GAN", says="not finite", command=sample,
                 prepare=tensors("gan.safetensors", generator__project__0__weight=lambda w: w * np.nan)),
            case("noise of p(x|z) asked of a GAN", says="--noise", command=f"{sample} --noise"),
            case("a binary VAE of an unknown architecture", says="not the weights of a binary VAE", command=likelihood,
                 prepare=tensors("binary_vae.safetensors", about={"architecture": "transformer"})),
            case("a binary VAE of another number of latents", says="not the weights of a binary VAE",
                 command=likelihood,
                 prepare=tensors("binary_vae.safetensors", about={"latents": 7})),
            case("NaN in a binary VAE", says="not finite", command=likelihood,
                 prepare=tensors("binary_vae.safetensors", encoder__0__weight=lambda w: w * np.nan)),
            case("weights so large that the numbers overflow", says="is not finite", code=1, command=likelihood,
                 prepare=tensors("binary_vae.safetensors", decoder__11__weight=lambda w: w + np.float32(1e37))),
            case("a binary VAE of other data", says="trained on", command=likelihood,
                 prepare=tensors("binary_vae.safetensors", about={"data": {"title": "other digits"}})),
        ],
    )  # fmt: skip


NETWORK = """import torch
class Net(torch.nn.Module):
    size = {size}
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(3 * size * size, 9)
    def forward(self, x):
        return {returned}
"""


def feature_networks():
    """Other networks than the classifier; `mine.py` is the one of one's own."""
    name = "classifier.safetensors"

    def case(what, network, says, prepare=lambda folder: None, weights=name, **others):
        command = (
            f"score_fid samples --model {weights} --feature-network {network} --reference svhn.npz "
            "--floor-draws 2 --output fid.json --threads 1 --device cpu"
        )
        return Case(what, command, says=says, prepare=prepare, **others)

    def own(what, says, size="32", returned="self.layer(x.flatten(1))", **others):
        text = NETWORK.format(size=size, returned=returned).replace("* size * size", f"* {size} * {size}")
        return case(what, "mine.py:Net", says, writes("mine.py", text), **others)

    def dinov2(**changed):
        """Weights in the shapes of a small DINOv2, with some tensors of other shapes."""

        def change(folder):
            shapes = {"cls_token": (1, 1, 64), "pos_embed": (1, 17, 64), "patch_embed.proj.weight": (64, 3, 14, 14)}
            shapes |= {key.replace("__", "."): shape for key, shape in changed.items()}
            tensors = {key: np.zeros(shape, "f4") for key, shape in shapes.items()}
            save_file(tensors, folder / "other.safetensors")

        return change

    return Door(
        "Feature networks other than the classifier",
        "Weights are a file that the user gives. A network of one's own is checked against its contract first.",
        [
            case("a network that is not known", "resnet", "'resnet' is unknown"),
            case("a classifier's weights for Inception", "inception", "not the weights of torchvision's Inception v3"),
            case("a classifier's weights for DINOv2", "dinov2", "not the weights of a DINOv2"),
            case("weights of DINOv2 without its layers", "dinov2", "not the weights of a DINOv2",
                 dinov2(), "other.safetensors"),
            case("weights of DINOv2 with a grid that is no square", "dinov2", "not the weights of a DINOv2",
                 dinov2(pos_embed=(1, 19, 64)), "other.safetensors"),
            case("weights of DINOv2 of no width", "dinov2", "not the weights of a DINOv2",
                 dinov2(cls_token=(1, 1, 0), pos_embed=(1, 17, 0)), "other.safetensors"),
            case("weights that are not there", "inception", "no such file", weights="gone.pth"),
            case("a file of one's own that is not there", "mine.py:Net", "no file mine.py"),
            own("a network of a size that no image has", "a whole number from 32 to 1024", size="8"),
            own("a network that gives a number an image", "mine.py:Net", returned="self.layer(x.flatten(1))[:, 0]"),
            own("a network that gives NaN", "not finite", returned="self.layer(x.flatten(1)) / 0 * 0"),
            own("another network's weights for one's own", "no layer.weight"),
        ],
    )  # fmt: skip


class Calls:
    """Pickled as the call of a function of a name, with arguments."""

    def __init__(self, module, name, *arguments):
        self.module, self.name, self.arguments = module, name, arguments


def calls(module, name, argument="touch here"):
    """A pickle that calls a function when it is loaded."""
    text = argument.encode()
    return b"\x80\x02c" + f"{module}\n{name}\n".encode() + b"X" + struct.pack("<I", len(text)) + text + b"\x85R."


def archive(*members, compression=zipfile.ZIP_STORED):
    """An archive as torch writes it, with a pickle in it."""

    def change(folder):
        with zipfile.ZipFile(folder / "classifier.pt", "w", compression) as file:
            for name, content in members:
                file.writestr(f"archive/{name}", content)

    return change


def legacy():
    command = "import_classifier --weights classifier.pt --output imported.safetensors"
    case = functools.partial(Case, command=command)
    name = "classifier.pt"

    def runs(module, function):
        return archive(("data.pkl", calls(module, function)), ("byteorder", b"little"))

    return Door(
        "Weights in PyTorch's own files (`.pt`)",
        "A pickle is a program. It is followed, never run: a name that no weights need ends the reading. "
        "The corpus of hostile pickles in `tests/unit/test_legacy.py` has more.",
        [
            case("a state dict of today's PyTorch", code=0, says=""),
            case("a pickle that calls os.system", says="asks for os.system",
                 prepare=writes(name, calls("os", "system"))),
            case("an archive whose pickle calls os.system", says="asks for os.system", prepare=runs("os", "system")),
            case("… eval", says="asks for builtins.eval", prepare=runs("builtins", "eval")),
            case("… subprocess.Popen", says="asks for subprocess.Popen", prepare=runs("subprocess", "Popen")),
            case("… torch.load", says="asks for torch.load", prepare=runs("torch", "load")),
            case("… a name that steers the terminal", says="asks for \\x1b[2J", prepare=runs("\x1b[2J", "x")),
            case("a pickle of plain numbers", says="neither a module nor a state dict",
                 prepare=archive(("data.pkl", pickle.dumps([1, 2], 2)))),
            case("a pickle of protocol 4", says="protocol 4", prepare=archive(("data.pkl", pickle.dumps({}, 4)))),
            case("text among the tensors", says="is no tensor",
                 prepare=archive(("data.pkl", pickle.dumps({"weight": "text"}, 2)))),
            case("a checkpoint with no weights in it", says="no conv_stack.0.weight",
                 prepare=archive(("data.pkl", pickle.dumps({"state_dict": {}, "epoch": 3}, 2)))),
            case("an archive without its pickle", says="damaged", prepare=archive(("data/0", b"1234"))),
            case("a compressed archive", says="compressed",
                 prepare=archive(("data.pkl", calls("os", "system")), compression=zipfile.ZIP_DEFLATED)),
            case("an archive cut off", says="damaged", prepare=cut(name)),
            case("an archive with a byte wrong", says="damaged", prepare=flips(name, 0.6)),
            case("only the first bytes of a pickle", says="damaged", prepare=writes(name, b"\x80\x02")),
            case("a pickle that asks for two to the 62 bytes", says="damaged",
                 prepare=writes(name, b"\x80\x02\x8e" + struct.pack("<Q", 2**62) + b"x.")),
            case("a pickle nested fifty thousand deep", says="", prepare=writes(name, b"\x80\x02" + b"(" * 50_000)),
            case("a pickle that doubles a tuple a thousand times", says="no dict",
                 prepare=archive(("data.pkl", b"\x80\x02)" + b"q\x00h\x00\x86" * 1000 + b"}h\x00Ns."))),
            case("a file of 100 GB that begins like an archive (sparse)",
                 says="more than 2,147,483,648", prepare=huge),
        ],
    )  # fmt: skip


def huge(folder):
    with open(folder / "classifier.pt", "wb") as file:
        file.write(b"PK\x03\x04")
        file.truncate(100 << 30)


DOORS = [safetensors(), legacy(), feature_networks()]
