"""Networks from a file of one's own: loaded, and checked against what training and sampling need of them.

A place is text, "FILE.py:NAME": a class, or for binary images a function, in that file. Its code runs only where a
person names it, in a configuration or on a command line; never because a file of weights does.
"""

import copy
import importlib.util
import sys
from pathlib import Path

from .. import InputError, consistency, files

CONTRACTS = {
    "generator": "a class made with latents=L, a torch module z (M, L) -> images (M, 3, 32, 32) in [-1, 1]",
    "critic": "a class made without arguments, a torch module images (M, 3, 32, 32) -> scores (M,), each image alone",
    "encoder": "a class made with latents=L, a torch module images (M, 3, 32, 32) -> (M, 2 L), means, then "
    "log-variances of q(z|x)",
    "feature-network": "a class made without arguments, a torch module images (M, 3, H, H) in [-1, 1] -> features "
    "(M, D); H is its attribute size, or 32",
    "architecture": "a function of latents=L that returns two torch modules: encoder, images (M, 1, 28, 28) -> "
    "(M, 2 L), and decoder, z (M, L) -> logits (M, 1, 28, 28)",
}


def add_options(parser, *parts):
    """Add to the parser of a stage that loads weights an option for each part that may be of one's own."""
    for part in parts:
        parser.add_argument(
            f"--{part}",
            default="",
            metavar="FILE.py:NAME",
            help=f"your own {part}, if the weights are of one: the file is run (default: the project's)",
        )


def add_feature_network(parser):
    """Add to a parser the option that names the network of the features."""
    parser.add_argument(
        "--feature-network", default="classifier", metavar="NAME",
        help="network that the weights are of: classifier, inception (torchvision's v3), dinov2, or your own, "
        "FILE.py:CLASS (default: classifier)",
    )  # fmt: skip


def given(options):
    """{part: place} from parsed options of `add_options`."""
    return {part: getattr(options, part) for part in consistency.OWN_PARTS if hasattr(options, part)}


def split(place):
    """(path, name) of a place; raises `InputError` for other text, and if there is no such file."""
    path, _, name = place.rpartition(":")
    if not path.endswith(".py") or not name.isidentifier():
        raise InputError(f"{place}: expected FILE.py:NAME, a file and a class or function in it")
    if not Path(path).is_file():
        raise InputError(f"{place}: no file {path}; give FILE.py:NAME")
    return Path(path), name


def noted(settings):
    """What a file of weights says of these parts: {part: {"place", "sha256" of its file}}."""
    own = consistency.own_files(settings)
    return {part: {"place": settings[part], "sha256": files.checksum(path)} for part, path in own.items()}


def check_same(place, about, weights, part):
    """Raise `InputError` unless weights were trained with `place`; about: what their file says of itself."""
    about = {"networks": {}} | about
    files.check_fields(weights, about, {"networks": dict})
    trained = about["networks"].get(part)
    if trained is not None:
        files.check_fields(weights, about, {f"networks/{part}/{field}": str for field in ("place", "sha256")})
    if trained is None:
        if place:
            raise InputError(f"--{part} {place}: {weights} is of the project's own {part}; leave the option out")
    elif not place:
        raise InputError(f"{weights}: its {part} is from {trained['place']}; give --{part} {trained['place']}")
    elif files.checksum(split(place)[0]) != trained["sha256"]:
        raise InputError(f"{place}: the file has changed since {weights} was trained; give that file, or train anew")


def load(place):
    """The class or function of a place. Runs the file; raises `InputError` if that fails."""
    path, name = split(place)
    module_name = f"own_{files.checksum(path)[:16]}"
    if module_name not in sys.modules:
        specification = importlib.util.spec_from_file_location(module_name, path)
        module = importlib.util.module_from_spec(specification)
        sys.modules[module_name] = module
        writes, sys.dont_write_bytecode = sys.dont_write_bytecode, True  # leave nothing beside the file
        try:
            specification.loader.exec_module(module)
        except (Exception, SystemExit) as error:  # any code can raise anything
            del sys.modules[module_name]
            raise InputError(f"{path}: cannot be run ({type(error).__name__}: {error})") from None
        finally:
            sys.dont_write_bytecode = writes
    if not hasattr(sys.modules[module_name], name):
        raise InputError(f"{path}: defines no {name}")
    return getattr(sys.modules[module_name], name)


def generator(place, latents):
    """The generator of a place, with its number of `latents`; raises `InputError` unless it keeps the contract."""
    import torch

    network = _made(place, "generator", latents=latents)
    network.latents = latents
    with torch.random.fork_rng(devices=[]):
        pictures = _checked(place, "generator", network, torch.randn(4, latents), (4, 3, 32, 32))
    if pictures.abs().max() > 1.0001:
        _refuse(place, "generator", f"gives pixels up to {float(pictures.abs().max()):.3g}")
    return network


def encoder(place, latents):
    """The encoder of a place; raises `InputError` unless it keeps the contract."""
    import torch

    network = _made(place, "encoder", latents=latents)
    with torch.random.fork_rng(devices=[]):
        _checked(place, "encoder", network, torch.rand(4, 3, 32, 32) * 2 - 1, (4, 2 * latents))
    return network


def critic(place):
    """The critic of a place; raises `InputError` unless it keeps the contract.

    It must score each image alone in training mode too, since the gradient penalty is defined for single images.
    """
    import torch

    network = _made(place, "critic")
    with torch.random.fork_rng(devices=[]):
        # From pale to full contrast: among images that are alike, statistics of the batch would hardly show.
        x = (torch.rand(4, 3, 32, 32) * 2 - 1) * torch.tensor([1.0, 0.5, 0.2, 0.05]).view(4, 1, 1, 1)
        _checked(place, "critic", network, x, (4,), alone_in_training=True)
        trial, points = copy.deepcopy(network), x.requires_grad_()

        def penalty():
            gradient = torch.autograd.grad(trial(points).sum(), points, create_graph=True)[0]
            gradient.square().sum().backward()

        _tried(place, "critic", "its gradient penalty", penalty)
    return network


def feature_network(place):
    """The feature network of a place, without its weights; raises `InputError` unless it keeps the contract."""
    import torch

    network = _made(place, "feature_network")
    size = network.size = getattr(network, "size", 32)
    if not isinstance(size, int) or not 32 <= size <= 1024:
        _refuse(place, "feature-network", f"has the size {size!r}, not a whole number from 32 to 1024")
    with torch.random.fork_rng(devices=[]):
        _checked(place, "feature-network", network, torch.rand(4, 3, size, size) * 2 - 1, (4, None), trains=False)
    return network


def architecture(place, latents):
    """(encoder, decoder) of binary images of a place; raises `InputError` unless they keep the contract."""
    import torch
    from torch import nn

    pair = _tried(place, "architecture", f"latents={latents}", load(place), latents=latents)
    if not isinstance(pair, tuple) or len(pair) != 2 or not all(isinstance(part, nn.Module) for part in pair):
        _refuse(place, "architecture", f"returns {type(pair).__name__}")
    with torch.random.fork_rng(devices=[]):
        _checked(place, "architecture", pair[0], torch.ones(4, 1, 28, 28), (4, 2 * latents))
        _checked(place, "architecture", pair[1], torch.randn(4, latents), (4, 1, 28, 28))
    return pair


def _made(place, part, **arguments):
    """An instance of the class of a place."""
    from torch import nn

    given = ", ".join(f"{key}={value}" for key, value in arguments.items()) or "no arguments"
    network = _tried(place, part, given, load(place), **arguments)
    if not isinstance(network, nn.Module):
        _refuse(place, part, f"makes a {type(network).__name__}, no torch module")
    return network


def _checked(place, part, network, x, shape, alone_in_training=False, trains=True):
    """The output of a copy of the network for x, which must have `shape` (None is any size), be finite, and treat each
    example alone.
    """
    import torch

    trial, said = copy.deepcopy(network).train(), f"an input {tuple(x.shape)}"
    if trains:
        if not any(each.requires_grad for each in trial.parameters()):
            _refuse(place, part, "has no parameters to train")
        _tried(place, part, f"{said}, forward and backward", lambda: trial(x).sum().backward())
    trial.train(alone_in_training)
    with torch.no_grad():
        found, *alone = (_tried(place, part, said, trial, each) for each in (x, *x.split(1)))
    held = tuple(found.shape) if isinstance(found, torch.Tensor) else type(found).__name__
    if len(held) != len(shape) or any(want not in (None, got) for want, got in zip(shape, held, strict=True)):
        wanted = str(shape).replace("None", "D")
        _refuse(place, part, f"gives {held} for {said}, not {wanted}")
    if not found.is_floating_point() or not torch.isfinite(found).all():
        _refuse(place, part, f"gives numbers that are not finite for {said}")
    allowed = 1e-3 * float(found.float().std())  # networks differ in scale, and new ones may give tiny numbers
    if not torch.allclose(found.float(), torch.cat(alone).float(), rtol=1e-4, atol=allowed):
        mode = "" if alone_in_training else " in eval mode"
        _refuse(place, part, f"gives another output for an example alone than among others{mode}")
    return found


def _tried(place, part, given, call, *arguments, **keywords):
    """The result of a call of somebody's code; any error of it becomes an `InputError`."""
    try:
        return call(*arguments, **keywords)
    except (Exception, SystemExit) as error:
        reason = (str(error).splitlines() or [""])[0]
        return _refuse(place, part, f"fails with {given} ({type(error).__name__}: {reason})")


def _refuse(place, part, fault):
    raise InputError(f"{place}: {fault}; the contract of --{part}: {CONTRACTS[part]}")
