"""Weights of networks from files that anyone may have written: safetensors, or PyTorch's own format."""

from pathlib import Path

import torch

from .. import InputError, files
from ..data import legacy
from ..training.checkpoint import load_tensors


def read(path, remedy):
    """({name: tensor}, what the file says of itself or {}). Raises InputError, which ends in `remedy`, for others."""
    path = Path(path)
    if not path.is_file():
        found = "is no file" if path.exists() else "no such file"
        raise InputError(f"{path}: {found}; {remedy}")
    kind = files.kind_of_weights(path)
    if kind == "safetensors":
        return load_tensors(path, about={})
    if kind == "torch":
        return legacy.load_state_dict(path), {}
    raise InputError(f"{path}: neither safetensors nor a PyTorch file; {remedy}")


def check(path, tensors, expected, network, remedy):
    """Raise InputError unless `tensors` are those of a network: the names and shapes of `expected`, float32, finite."""
    if missing := [name for name in expected if name not in tensors]:
        raise InputError(f"{path}: not the weights of {network}: no {missing[0]}; {remedy}")
    if odd := [name for name in tensors if name not in expected]:
        raise InputError(f"{path}: not the weights of {network}: {odd[0][:80]!a} is too many; {remedy}")
    for name, tensor in tensors.items():
        if tensor.shape != expected[name].shape or tensor.dtype != torch.float32:
            found, wanted = tuple(tensor.shape), tuple(expected[name].shape)
            kind = str(tensor.dtype).removeprefix("torch.")
            raise InputError(f"{path}: {name} is {kind} {found}, expected float32 {wanted}; {remedy}")
        if not torch.isfinite(tensor).all():
            raise InputError(f"{path}: {name} holds numbers that are not finite; {remedy}")
