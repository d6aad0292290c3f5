"""The readers of files that other people make, each with small sound files to begin from.

`TARGETS` gives for each reader such files, as bytes, the name under which it finds one in a folder, and the function
that reads it there. A reader may raise `InputError` and nothing else. It runs nothing, writes nothing, and opens no
file but its own.
"""

# Those marked F401 are what a reader imports when it first needs it: done here, it is no deed that `Watch` sees.
import contextlib
import encodings.cp437
import encodings.raw_unicode_escape  # noqa: F401
import io
import json
import os
import struct
import sys
from pathlib import Path

import jsonschema  # noqa: F401
import numpy as np
import PIL.Image
import scipy.io
import torch
import yaml.composer  # noqa: F401
from genlab import InputError, configuration, files
from genlab.data import amat, arrays, images, legacy, samples, svhn
from genlab.training import checkpoint
from torch import nn

PIL.Image.init()  # every format, so that nothing is imported later
ROOT = Path(__file__).parents[2]
PIXELS = np.random.default_rng(1).integers(0, 256, (2, 32, 32, 3), np.uint8)
# What a reader of files never does, in the words of Python's audit hooks.
NEVER = (
    "os.system", "os.exec", "os.fork", "os.posix_spawn", "subprocess.Popen", "socket.", "os.remove", "os.rename",
    "os.mkdir", "os.rmdir", "os.chmod", "os.symlink", "os.link", "os.truncate", "shutil.", "tempfile.", "ctypes.",
    "pickle.find_class", "urllib.Request", "webbrowser.open", "exec", "import",
)  # fmt: skip


class Watch:
    """Notes what is done that no reader does, while it watches."""

    def __init__(self):
        self.folder, self.seen = None, []
        sys.addaudithook(self.audit)

    def audit(self, event, arguments):
        if self.folder is None:
            return
        if event.startswith(NEVER) or (event == "open" and not self.allowed(*arguments)):
            self.seen.append((event, str(arguments)[:200]))

    def allowed(self, path, mode, flags):
        """Whether a file may be opened: to read, in the folder that is read, or of the project itself."""
        if not isinstance(path, (str, bytes, os.PathLike)):
            return True  # one that is open
        place = os.path.abspath(os.fsdecode(path))
        return place.startswith((self.folder, f"{ROOT}/workflow/schemas/")) and not flags & (os.O_WRONLY | os.O_RDWR)

    @contextlib.contextmanager
    def within(self, folder):
        """Raise an AssertionError if anything is done that no reader does."""
        self.folder, self.seen = os.path.abspath(folder) + os.sep, []
        try:
            yield
        finally:
            self.folder = None
            assert not self.seen, f"a reader did {self.seen}"


watch = Watch()


def read(name, content, folder):
    """Let a reader read `content`; returns the reason if it refuses it, None if not."""
    _, place, function = TARGETS[name]
    path = Path(folder, place)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return read_by(function, path, folder)


def read_by(function, path, folder=None):
    """The same of a file at `path`, which is there already."""
    with watch.within(folder or path.parent):
        try:
            function(path)
        except InputError as error:
            reason = str(error)
        else:
            return None
    assert not any(word in reason for word in ("MemoryError", "bad_alloc", "Unable to allocate")), reason
    return reason


def sample_directory(image):
    """All images of the sample directory that an image lies in."""
    return list(images.read_directory(image.parents[1])[1])


def written(write):
    """The bytes that write(file) writes."""
    file = io.BytesIO()
    write(file)
    return file.getvalue()


def pictures():
    """Images of every kind that is read, small."""
    colours, grey = PIL.Image.fromarray(PIXELS[0][:8, :8]), PIL.Image.fromarray(PIXELS[0][:8, :8, 0])
    for form in ("PNG", "JPEG", "BMP", "WEBP", "GIF", "TIFF"):
        yield written(lambda file, form=form: colours.save(file, form))
    exif = PIL.Image.Exif()
    exif[samples.ORIENTATION] = 6
    yield written(lambda file: colours.save(file, "JPEG", exif=exif))
    yield written(lambda file: colours.quantize(7).save(file, "PNG"))
    yield written(lambda file: colours.quantize(7).save(file, "BMP"))
    yield written(lambda file: colours.convert("RGBA").save(file, "PNG"))
    yield written(lambda file: grey.save(file, "PNG"))
    yield written(lambda file: PIL.Image.fromarray(PIXELS[0][:8, :8, 0].astype(np.uint16)).save(file, "PNG"))
    yield written(lambda file: colours.save(file, "PNG", save_all=True, append_images=[colours.rotate(90)]))
    yield written(lambda file: colours.save(file, "WEBP", lossless=True, save_all=True, append_images=[grey]))


def weights():
    """Files of torch.save."""
    torch.manual_seed(1)
    network = nn.Sequential(nn.Conv2d(1, 1, 2), nn.ELU())
    for what in network, network.state_dict(), {"state_dict": network.state_dict(), "epoch": 3}:
        for new in True, False:
            yield written(lambda file, what=what, new=new: torch.save(what, file, _use_new_zipfile_serialization=new))


def matlab():
    content = {"X": PIXELS.transpose(1, 2, 3, 0), "y": np.array([[1], [10]], np.uint8)}
    for more in {}, {"do_compression": True}:
        yield written(lambda file, more=more: scipy.io.savemat(file, content, **more))
    yield written(lambda file: scipy.io.savemat(file, content | {"other": np.eye(2), "text": "a"}))


def npz(**content):
    yield written(lambda file: np.savez(file, **content))
    yield written(lambda file: np.savez_compressed(file, **content))


def safetensors():
    about = json.dumps({"kind": "vae", "nested": [1, 2.5, None, {"a": "é"}]})
    header = {"__metadata__": {checkpoint.METADATA: about}, "a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}
    header["b"] = {"dtype": "BF16", "shape": [1, 1], "data_offsets": [8, 10]}
    text = json.dumps(header).encode()
    yield struct.pack("<Q", len(text)) + text + bytes(10)


def bits():
    rows = np.random.default_rng(2).integers(0, 2, (3, 8), np.uint8)
    text = "".join(" ".join(map(str, row)) + "\n" for row in rows)
    return [text.encode(), text.replace("\n", " \r\n").encode(), text.rstrip().encode()]


def configurations():
    for name in "config.yaml", "config/smoke.yaml":
        yield (ROOT / name).read_bytes()
    yield b"seeds: [1, 2]\nimages: {models: {a: {kind: gan, epochs: 1e2}, b: &x {kind: vae}, c: *x, vae: null}}\n"


TARGETS = {
    "amat": (bits, "x.amat", lambda path: amat.read(path, 8)),
    "matlab": (matlab, "x.mat", svhn.read_mat),
    "weights": (weights, "x.pt", legacy.load_state_dict),
    "safetensors": (safetensors, "x.safetensors", checkpoint.load_tensors),
    "own npz": (lambda: npz(a=PIXELS, about=np.array('{"a": 1}')), "x.npz", lambda path: arrays.read(path, ("a",))),
    "npz": (lambda: npz(images=PIXELS), "x.npz", samples.read),
    "images": (pictures, "set/samples/0.png", sample_directory),
    "samples": (pictures, "set/0.png", lambda path: samples.read(path.parent)),
    "json": (lambda: [b'{"a": {"b": [1, 2.5, "x"]}}'], "x.json", lambda path: files.read_json(path, {"a/b": list})),
    "configuration": (configurations, "x.yaml", configuration.read),
}
