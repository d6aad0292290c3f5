"""Samples that any program made: a folder of image files or an NPZ file, read by rules that say what they changed.

`images.read_directory` is the strict reader, of samples in this project's own layout. This one takes what people
hand in. What it takes, converts, leaves out and refuses is stated in docs/own_models.md.
"""

import io
import os
from collections import Counter
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from .. import InputError
from . import npz
from .images import DEPTH, FEWER, FORMATS, KNOWN, SIZE, check_size, is_clutter, regular

ENDINGS = {".png", ".jpg", ".jpeg", ".bmp", ".webp", ".gif", ".tif", ".tiff"}  # of files that must be images
NAMES = ("images", "samples", "arr_0")  # of the array in an NPZ file that has several
LIMIT = 1_000_000 * 3072 + 1000  # bytes of the images in an NPZ file, with their header
LEFT_OUT = "files left out that are no images"
FILE = 2**28  # bytes of an image's file
ORIENTATION = 0x0112  # the EXIF tag that says how to turn a photograph


def read(path):
    """(images uint8 (N, 3, 32, 32), {what was done: number of images}) of a folder or an .npz file.

    Images of a folder are in the order of their paths. Raises `InputError`, naming the file, for what is refused.
    """
    path = Path(path)
    if path.is_dir():
        found, done = _read_folder(path)
    elif path.suffix.lower() == ".npz":
        found, done = read_npz(path), Counter()
    else:
        raise InputError(f"{path}: {problem(path)}; give a folder of images, or an .npz file of them")
    return found, dict(done)


def problem(path):
    """What is wrong with the path of something that is neither a folder nor an .npz file."""
    return "neither a folder nor an .npz file" if path.exists() else "no such file or folder"


def said(done):
    """What was done to images, as text."""
    return "; ".join(f"{what}: {number:,}" for what, number in done.items())


def read_npz(path):
    """The images of an NPZ file, uint8 (N, 32, 32, 3) or (N, 3, 32, 32)."""
    expected = "expected uint8 images of 0 to 255, N x 32 x 32 x 3 or N x 3 x 32 x 32"
    try:
        with npz.opened(path) as content:
            names = content.files if len(content.files) == 1 else [name for name in NAMES if name in content.files]
            if not names:
                held = ", ".join(content.files[:5]) or "nothing"
                raise InputError(f"{path}: holds the arrays {held}; call the one of the images {NAMES[0]!r}")
            npz.check(content, names[:1], LIMIT)
            array = content[names[0]]
    except (InputError, FileNotFoundError, MemoryError):
        raise
    except Exception as error:  # zipfile raises errors of any kind for a damaged archive
        raise InputError(f"{path}: not an NPZ file of numbers ({error}); {expected}") from None
    if array.dtype != np.uint8 or array.ndim != 4 or not len(array):
        raise InputError(f"{path}: {names[0]!r} is {array.dtype} {array.shape}; {expected}")
    if array.shape[1:] == (*SIZE, 3):
        return np.ascontiguousarray(array.transpose(0, 3, 1, 2))
    if array.shape[1:] != (3, *SIZE):
        raise InputError(f"{path}: {names[0]!r} is {array.dtype} {array.shape}; {expected}")
    return array


def _read_folder(folder):
    """The images of a folder and of the folders in it, and counts of what was done to them."""
    files, others = image_files(folder)
    if not files:
        raise InputError(f"{folder}: holds no image; give a folder of PNG, JPEG, BMP or WebP files")
    pixels, done = decode_all(files)
    if others:
        done[LEFT_OUT] = others
    return pixels, done


def decode_all(files):
    """(images uint8 (N, 3, 32, 32) of image files, counts of what was done to them)."""
    result, done = np.empty((len(files), *SIZE, 3), np.uint8), Counter()
    for pixels, file in zip(result, files, strict=True):
        pixels[:] = decode(file, done)
    return result.transpose(0, 3, 1, 2), done


def image_files(folder):
    """(paths of the images at any depth, sorted by path; number of other files), less what systems leave in folders."""
    found, others = [], 0
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not is_clutter(name)]
        for name in names:
            if is_clutter(name):
                continue
            file = os.path.join(place, name)
            if is_image(file):
                found.append(file)
            else:
                others += 1
    return sorted(found), others


def is_image(file):
    """Whether a file has the ending of an image, or begins like one of a format that is read."""
    if os.path.splitext(file)[1].lower() in ENDINGS:
        return True
    if not os.path.isfile(file):
        return False
    with open(file, "rb") as raw:
        begin = raw.read(12)
    return begin.startswith((b"\x89PNG", b"\xff\xd8\xff", b"BM")) or begin[:4] + begin[8:] == b"RIFFWEBP"


def decode(file, done):
    """The pixels of an image file, uint8 (32, 32, 3). What was converted is counted in `done`."""
    if (size := os.path.getsize(regular(file))) > FILE:
        raise InputError(f"{file}: a file of {size:,} bytes; give images of {FILE:,} bytes or fewer")
    with open(file, "rb") as raw:
        content = raw.read()
    try:
        with Image.open(io.BytesIO(content), formats=KNOWN) as image:
            if image.format not in (*FORMATS, "MPO"):
                raise InputError(f"{file}: a file of the format {image.format}; save it as PNG")
            check_size(file, image)
            if image.format in ("JPEG", "MPO", "WEBP"):
                done["of a lossy format"] += 1
            if image.getexif().get(ORIENTATION, 1) != 1:
                image = ImageOps.exif_transpose(image)
                done["turned upright"] += 1
            image = _coloured(file, image, content, done)
            if image.size != SIZE:
                image = image.resize(SIZE, Image.Resampling.BILINEAR)  # Pillow's is antialiased
                done["resized to 32 x 32"] += 1
            return np.asarray(image)
    except (InputError, MemoryError):
        raise
    except UnidentifiedImageError:
        raise InputError(f"{file}: not an image of a known format; remove it or save it as PNG") from None
    except Image.DecompressionBombError:
        raise InputError(f"{file}: too many pixels; {FEWER}") from None
    except Exception as error:  # decoders raise errors of any kind for a damaged file
        raise InputError(f"{file}: not an image that can be read ({error}); remove it or save it anew") from None


def _coloured(file, image, content, done):
    """An opened image as RGB."""
    if image.format == "PNG" and content[DEPTH] == 16:
        done["16 bits, reduced to 8"] += 1
    if image.mode in ("I;16", "I;16B", "I") and image.format == "PNG":
        grey = np.rint(np.asarray(image, np.float64) / 257).astype(np.uint8)  # 65535 / 255 = 257
        image = Image.fromarray(grey)
    if image.mode == "P" and "transparency" not in image.info:
        done["of a palette"] += 1
    elif image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        image = image.convert("RGBA")
        if image.getchannel("A").getextrema()[0] < 255:
            raise InputError(f"{file}: parts of it are transparent; save it opaque, on the background that is meant")
        done["opaque alpha channel dropped"] += 1
    elif image.mode in ("1", "L"):
        done["grey, repeated in three channels"] += 1
    elif image.mode != "RGB":
        raise InputError(f"{file}: an image of colour mode {image.mode}; save it as RGB")
    return image.convert("RGB")
