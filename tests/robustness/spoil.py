"""Ways to spoil an input. Each gives a function of the folder that the stage will run in."""

import contextlib
import functools
import io
import json

import numpy as np
from robustness.inputs import load, pixels


def both(*changes):
    """Several changes, one after another."""

    def change(folder):
        for each in changes:
            each(folder)

    return change


def writes(name, content):
    """A file of these bytes, or of this text."""

    def change(folder):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())

    return change


def changes(name, function):
    """The sound file with its bytes changed by a function."""

    def change(folder):
        path = load(folder, name)
        path.write_bytes(function(path.read_bytes()))

    return change


def cut(name, share=0.5):
    """The first part of the sound file."""
    return changes(name, lambda whole: whole[: int(share * len(whole))])


def flips(name, *places):
    """The sound file with single bytes inverted; places are shares of its length."""

    def flipped(whole):
        spoilt = bytearray(whole)
        for place in places:
            spoilt[int(place * len(whole))] ^= 0xFF
        return bytes(spoilt)

    return changes(name, flipped)


def npz(name, **changed):
    """The sound NPZ file with some arrays changed: by a function, replaced, or, if None, left out."""

    def change(folder):
        path = load(folder, name)
        with np.load(path) as content:
            arrays = dict(content)
        for key, value in changed.items():
            arrays[key] = value(arrays[key]) if callable(value) else value
        with path.open("wb") as file:
            np.savez(file, **{key: value for key, value in arrays.items() if value is not None})

    return change


def about(name, **changed):
    """The sound NPZ file with some entries of its description changed; None leaves one out."""

    def described(text):
        content = json.loads(str(text)) | changed
        return np.array(json.dumps({key: value for key, value in content.items() if value is not None}))

    return npz(name, about=described)


def edits(name, **changed):
    """The sound JSON file with some values changed, by their places with two underscores; None leaves one out."""

    def change(folder):
        path = load(folder, name.split("/")[0]).parent / name
        content = json.loads(path.read_text())
        for place, value in changed.items():
            *way, last = place.split("__")
            part = functools.reduce(lambda part, key: part[key], way, content)
            if value is None:
                del part[last]
            else:
                part[last] = value
        path.write_text(json.dumps(content))

    return change


def replaces(name, old, new):
    """The sound text file, at any depth of a sound folder, with one text instead of another."""

    def change(folder):
        path = load(folder, name.split("/")[0]).parent / name
        text = path.read_text()
        assert old in text, (name, old)
        path.write_text(text.replace(old, new))

    return change


def tensors(name, metadata=True, about=None, **changed):
    """The sound safetensors file with some tensors changed, by their names with two underscores for dots.

    A tensor is changed by a function or left out if that is None. about: entries of the file's description to change,
    None leaves one out. metadata: whether the file keeps a description.
    """

    def change(folder):
        from safetensors import safe_open
        from safetensors.numpy import save_file

        path = load(folder, name)
        with safe_open(path, framework="np") as file:
            found, described = {key: file.get_tensor(key) for key in file.keys()}, file.metadata()  # noqa: SIM118
        for key, value in changed.items():
            key = key.replace("__", ".")
            found[key] = value and value(found.get(key))
        found = {key: np.array(value, order="C") for key, value in found.items() if value is not None}
        content = json.loads(described["genlab"]) | (about or {})
        content = {key: value for key, value in content.items() if value is not None}
        save_file(found, path, metadata={"genlab": json.dumps(content)} if metadata else None)

    return change


def image(name, *, mode="RGB", size=(32, 32), color=None, **options):
    """An image file; its pixels are random unless a colour is given."""

    def change(folder):
        from PIL import Image

        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if color is None:
            values = np.random.default_rng(7).integers(0, 256, (*size[::-1], 3), dtype=np.uint8)
            picture = Image.fromarray(values).convert(mode)
        else:
            picture = Image.new(mode, size, color)
        picture.save(path, **options)

    return change


def beside(name, change):
    """The sound input `name`, and then a change beside it or in it."""
    return both(lambda folder: load(folder, name), change)


def png_bytes(**options):
    """The bytes of a sound PNG file."""
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(pixels(1)[0].transpose(1, 2, 0)).save(file, "PNG", **options)
    return file.getvalue()


def link(name, target):
    """A symbolic link."""

    def change(folder):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(target)

    return change


def moved(name, to):
    """The sound input under another name."""

    def change(folder):
        path = folder / to
        path.parent.mkdir(parents=True, exist_ok=True)
        load(folder, name).rename(path)

    return change


def mode(name, bits):
    """A folder or file with other rights, made as a folder if it is not there."""

    def change(folder):
        with contextlib.suppress(FileExistsError):
            (folder / name).mkdir(parents=True)
        (folder / name).chmod(bits)

    return change
