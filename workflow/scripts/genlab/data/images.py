"""Colour images: the one place that converts pixel ranges, and directories of image files.

On disk and in memory images are uint8 0..255, (N, 3, 32, 32); models see floats in [-1, 1]. A sample
directory has the layout that torchvision's `ImageFolder` reads: it holds one folder, the class, and that
folder holds the image files. Importing this module does not import torch.
"""

import io
import os
import shutil
import stat
import warnings
from collections import Counter
from pathlib import Path

import numpy as np
from PIL import Image

from .. import InputError, files, log

GREY_LEVELS = 127.5  # 8-bit grey levels per unit of the models' range [-1, 1]
SIZE = (32, 32)
CLASS = "samples"  # the class folder that `write_directory` makes
STAMP = ".snakemake_timestamp"  # what Snakemake puts into a folder that a rule wrote
FORMATS = ("PNG", "JPEG", "BMP", "WEBP")
PIXELS = 2**24  # an image of more is refused before it is decoded
FEWER = f"give images of {PIXELS:,} pixels or fewer"
DEPTH = 24  # where a PNG file says how many bits a channel has
KNOWN = (*FORMATS, "GIF", "TIFF")  # those that are recognised, to be read or refused
GREY, ALPHA = {"1", "L", "I", "I;16", "I;16B", "F"}, {"RGBA", "RGBa", "LA", "La", "PA"}
SMALL = 2**14  # bytes: smaller files are read at once, faster than by Pillow's many short reads
KEPT = 1000  # so many small files stay open between the check of all files and their decoding
# What systems leave in folders, besides hidden files, in any case: Windows, a Mac, a network drive, a disk's root.
CLUTTER = {
    "thumbs.db", "ehthumbs.db", "ehthumbs_vista.db", "desktop.ini", "icon\r", "__macosx", "@eadir", "#recycle",
    "$recycle.bin", "system volume information", "lost+found",
}  # fmt: skip

warnings.filterwarnings("ignore", module=r"PIL\.")  # of damage and of many pixels: what matters is refused here


def to_model(images):
    """torch uint8 0..255 of any shape -> float32 in [-1, 1]: x / 127.5 - 1."""
    import torch

    if images.dtype != torch.uint8:
        raise TypeError(f"images are {images.dtype}; expected uint8 0..255")
    return images.float() / GREY_LEVELS - 1


def to_uint8(images):
    """torch floats in [-1, 1] -> uint8 0..255, rounded: the inverse of `to_model`. Values outside are clipped."""
    import torch

    return ((images + 1) * GREY_LEVELS).round().clamp(0, 255).to(torch.uint8)


def write_directory(path, images):
    """Write images, uint8 (N, 3, 32, 32), as lossless RGB files path/samples/0000.png, 0001.png, ...

    The directory appears whole or not at all. It replaces an earlier sample directory at `path`; anything
    else there is an `InputError`. The same images give the same bytes.
    """
    images = np.asarray(images)
    if images.dtype != np.uint8 or images.shape[1:] != (3, *SIZE) or not len(images):
        raise ValueError(f"images must be uint8 (N, 3, 32, 32), N >= 1, not {images.dtype} {images.shape}")
    path = Path(path).resolve()
    if path.exists() and not (path.is_dir() and {entry.name for entry in path.iterdir()} <= {CLASS, STAMP}):
        raise InputError(f"{path}: exists and is no sample directory, so it is not replaced; give another name")
    with files.folder_of(path):
        temporary = files.beside(path, "part")
        earlier = files.beside(path, "old")
        try:
            folder = temporary / CLASS
            folder.mkdir(parents=True)
            digits = max(4, len(str(len(images) - 1)))
            for number, image in enumerate(images.transpose(0, 2, 3, 1)):
                Image.fromarray(np.ascontiguousarray(image)).save(folder / f"{number:0{digits}}.png")
            if path.exists():
                path.rename(earlier)
            temporary.rename(path)
        except OSError as error:  # name the path that the user gave, not the temporary one
            if error.errno in files.FULL:
                raise files.cannot_write(path, error.strerror) from None
            raise OSError(error.errno, error.strerror, str(path)) from None
        finally:
            if earlier.exists() and not path.exists():
                earlier.rename(path)
            shutil.rmtree(temporary, ignore_errors=True)
            shutil.rmtree(earlier, ignore_errors=True)


def read_directory(path, batch=500):
    """(N, iterator of images uint8 (M, 3, 32, 32), M <= batch) of a sample directory, in the order of names.

    Formats are recognised by content: PNG, JPEG, BMP, WebP. Images that are not 32 x 32 are resized
    (bilinear, antialiased). One warning is logged if any are resized, and one if any are lossy.
    Raises `InputError` at once unless exactly one class folder holds RGB images and no image lies beside it.
    Damaged pixels are found only when the iterator reaches them.
    """
    files = _class_files(path)
    sizes, formats, kept = Counter(), Counter(), {}
    for file in files:
        image = _open(file)
        sizes[image.size] += 1
        formats[image.format] += 1
        if len(kept) < KEPT and isinstance(image.fp, io.BytesIO):
            kept[file] = image
        else:
            image.close()
    if others := {size: count for size, count in sorted(sizes.items()) if size != SIZE}:
        shown = sorted(others.items(), key=lambda each: -each[1])[:5]
        listed = ", ".join(f"{width} x {height} ({count})" for (width, height), count in shown)
        listed += f" and {len(others) - 5} sizes more" if len(others) > 5 else ""
        log.warning(
            "%s: %d of %d images are not 32 x 32 and are resized, which moves the FID: %s",
            path, sum(others.values()), len(files), listed,
        )  # fmt: skip
    if lossy := sum(formats[name] for name in ("JPEG", "MPO", "WEBP")):
        log.warning(
            "%s: %d of %d images are JPEG or WebP; lossy compression moves the FID: save PNG",
            path, lossy, len(files),
        )  # fmt: skip
    return len(files), (_read(files[start : start + batch], kept) for start in range(0, len(files), batch))


def _class_files(path):
    """The paths of the files in the only class folder of `path`, as text, sorted by name."""
    shape = "expected one folder that holds the images, as in DIRECTORY/samples/0000.png"
    entries = visible(path)
    folders = [entry for entry in entries if entry.is_dir()]
    if len(folders) != 1:
        found = (
            f"{len(folders)} folders ({', '.join(folder.name for folder in folders[:5])})" if folders else "no folder"
        )
        loose = len(entries) - len(folders)
        raise InputError(f"{path}: holds {found} and {loose} files; {shape}")
    if beside := next((entry for entry in entries if entry.is_file() and _is_image(entry.path)), None):
        raise InputError(
            f"{path}: holds the image {beside.name} beside the folder {folders[0].name}, and either may be meant; "
            "leave one folder with all the images"
        )
    files = visible(folders[0].path)
    if nested := [entry.name for entry in files if entry.is_dir()]:
        raise InputError(f"{folders[0].path}: holds the folder {nested[0]!r}; put all the images into one folder")
    if not files:
        raise InputError(f"{folders[0].path}: the folder is empty; {shape}")
    return [entry.path for entry in files]  # text: a million `Path` objects would take several times the memory


def _is_image(file):
    """Whether a file begins like an image of a known format."""
    try:
        Image.open(file, formats=KNOWN).close()
    except (OSError, SyntaxError, ValueError):
        return False
    except Image.DecompressionBombError:
        pass
    return True


def is_clutter(name):
    """Whether a file or folder of this name is hidden, or one that systems leave behind."""
    return name[0] == "." or name.lower() in CLUTTER


def check_size(file, image):
    """Raise `InputError` for an opened image of too many pixels or frames."""
    if image.width * image.height > PIXELS:
        raise InputError(f"{file}: {image.width} x {image.height} pixels; {FEWER}")
    if image.format != "MPO" and getattr(image, "n_frames", 1) > 1:
        raise InputError(f"{file}: an animation of {image.n_frames} frames; save one still image a file")


def visible(folder):
    """The entries of `folder` (`os.DirEntry`) sorted by name, without hidden files and those that systems leave."""
    if not os.path.isdir(folder):
        found = "is a file, not a folder" if os.path.exists(folder) else "no such folder"
        raise InputError(f"{folder}: {found}; give a folder that holds one folder of images")
    with os.scandir(folder) as entries:
        visible = [entry for entry in entries if not is_clutter(entry.name)]
    return sorted(visible, key=lambda entry: entry.name)


def regular(file):
    """`file`, if it is one: to open a pipe may take forever."""
    if not stat.S_ISREG(os.stat(file).st_mode):
        raise InputError(f"{file}: no regular file; remove it")
    return file


def _open(file):
    """The opened image of `file`, not yet decoded; `InputError` unless it is in colour, opaque and not too large."""
    try:
        with open(regular(file), "rb", buffering=0) as raw:
            begin = raw.read(SMALL)
        image = Image.open(io.BytesIO(begin) if len(begin) < SMALL else file, formats=FORMATS)
    except InputError:
        raise
    except Image.DecompressionBombError:
        raise InputError(f"{file}: too many pixels; {FEWER}") from None
    except (OSError, SyntaxError, ValueError) as error:
        if getattr(error, "errno", None):  # an error of the system, not of the format
            raise
        raise InputError(f"{file}: not a PNG, JPEG, BMP or WebP image; remove it or save it anew") from None
    wrong = None
    if image.mode in GREY:
        wrong = f"a greyscale image (mode {image.mode}); save it in colour, three channels"
    elif image.mode in ALPHA or "transparency" in image.info:
        wrong = f"an image with transparency (mode {image.mode}); save it opaque, as RGB"
    elif image.mode not in ("RGB", "P"):
        wrong = f"an image of colour mode {image.mode}; save it as RGB"
    elif image.format == "PNG" and begin[DEPTH : DEPTH + 1] == b"\x10":
        wrong = "an image of 16 bits a channel; save it with 8"
    if wrong:
        image.close()
        raise InputError(f"{file}: {wrong}")
    check_size(file, image)
    return image


def _read(files, kept):
    """The pixels of `files`, uint8 (M, 3, 32, 32). kept: {file: opened image} of some; used images are removed."""
    result = np.empty((len(files), *SIZE, 3), np.uint8)  # channels last: Pillow's layout, fastest for convolutions
    for pixels, file in zip(result, files, strict=True):
        with kept.pop(file, None) or _open(file) as image:
            try:
                colours = image if image.mode == "RGB" else image.convert("RGB")
                colours.load()
            except MemoryError:
                raise
            except Exception as error:  # decoders raise errors of any kind for a damaged file
                raise InputError(f"{file}: the image is damaged ({error}); save it anew") from None
            if colours.size != SIZE:
                colours = colours.resize(SIZE, Image.Resampling.BILINEAR)  # Pillow's is antialiased
            pixels[:] = np.asarray(colours)
    return result.transpose(0, 3, 1, 2)
