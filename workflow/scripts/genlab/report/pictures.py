"""The reader of the NPZ files in which stages hand colour images on to be drawn. Nothing here imports torch."""

import json

import numpy as np

from .. import InputError
from . import plotting


def read_pictures(path, shapes):
    """The arrays of an NPZ file that `shapes` names, and its `about`: ({name: array}, dict).

    shapes  {name: shape}; a letter in a shape is a size of 1 or more, the same wherever it stands.
            Arrays (..., 3, 32, 32) must be uint8 images, all others finite numbers.

    `about` is JSON text with at least model, seed and data.title. Raises `InputError` for anything else.
    """
    *arrays, text = plotting.read_arrays(path, [*shapes, "about"])
    sizes = {}
    for (name, shape), array in zip(shapes.items(), arrays, strict=True):
        kind, what = (np.uint8, "uint8") if shape[-3:] == (3, 32, 32) else (np.number, "numbers")
        expected = shape
        if array.ndim == len(shape):
            found = zip(shape, array.shape, strict=True)
            expected = tuple(sizes.setdefault(size, n) if isinstance(size, str) else size for size, n in found)
        if array.shape != expected or not array.size or not np.issubdtype(array.dtype, kind):
            raise InputError(
                f"{path}: {name!r} is {array.dtype} {array.shape}; "
                f"expected {what} ({', '.join(map(str, expected))}); {plotting.REMAKE}"
            )
        if not np.isfinite(array).all():
            raise InputError(f"{path}: {name!r} holds numbers that are not finite; {plotting.REMAKE}")
    try:
        about = json.loads(str(text))
    except json.JSONDecodeError:
        raise InputError(f"{path}: 'about' is not JSON text; {plotting.REMAKE}") from None
    for field, kind in (("model", str), ("data.title", str), ("seed", int)):
        plotting.read_field(about, field, kind, f"{path} about")
    return dict(zip(shapes, arrays, strict=True)), about
