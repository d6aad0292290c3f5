"""The networks whose features the metrics of images are taken on: the project's classifier, or another one.

A network here is a torch module in eval mode with `features`: images (M, 3, 32, 32) in [-1, 1] -> (M, D). Others than
the classifier see images in a size of their own, resized in the manner of clean-fid (Parmar et al. 2022): bicubic,
antialiased, not rounded to grey levels. Weights are given as a file; nothing is downloaded.
"""

import hashlib

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from .. import InputError, files, provenance
from ..data import arrays
from . import classifier, dinov2, own_networks, weights

IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # mean and standard deviation of pixels in [0, 1]
COUNT = "num_batches_tracked"  # of batch norm, which uses it in training alone
UNUSED = ("AuxLogits.", "fc.")  # of Inception's weights, after the features


class Resized(nn.Module):
    """`features` of a network that takes images of another size, in [-1, 1] or standardised pixels of [0, 1]."""

    def __init__(self, network, size, standard=None):
        super().__init__()
        self.network, self.size = network, size
        self.part = {"cpu": 100 if size <= 64 else 10, "cuda": 500}  # images at a time: activations are large
        if standard:
            for name, values in zip(("mean", "deviation"), standard, strict=True):
                self.register_buffer(name, torch.tensor(values)[:, None, None], persistent=False)
        self.standard = standard is not None

    def features(self, x):
        """Images (M, 3, 32, 32) in [-1, 1] -> (M, D)."""
        if self.size != x.shape[-1]:
            x = F.interpolate(x, (self.size, self.size), mode="bicubic", antialias=True)
        if self.standard:
            x = ((x + 1) / 2 - self.mean) / self.deviation
        return self.network(x).float()


def load(path, network="classifier", device="cpu"):
    """(network, about) of a file of weights. Raises `InputError` for weights that are not of that network.

    network  "classifier", "inception" (torchvision's v3), "dinov2", or FILE.py:CLASS of one's own
    about    what the weights are: file, sha256, `network`, `words` that say it beside a number, and of one's own its
             file and SHA-256 in `networks`
    """
    if network == "classifier":
        module, about = classifier.load_classifier(path, device)
        return module, about | {"network": network, "words": "the 512 features of a classifier (not an Inception FID)"}
    kinds = {"inception": _inception, "dinov2": _dinov2}
    if network not in kinds and ".py:" not in network:
        raise InputError(
            f"--feature-network {network!r} is unknown; give classifier, {', '.join(kinds)}, or FILE.py:CLASS"
        )
    tensors, _ = weights.read(path, "give a file of weights, safetensors or PyTorch's .pt or .pth")
    module, name = kinds[network](path, tensors) if network in kinds else _own(path, tensors, network)
    module = module.to(device).eval().requires_grad_(False)
    count = features(module, np.zeros((1, 3, 32, 32), np.uint8)).shape[1]
    resized = "" if module.size == 32 else f", images resized to {module.size} x {module.size}, bicubic and antialiased"
    about = {"file": path.name, "sha256": files.checksum(path), "network": network}
    about["networks"] = own_networks.noted({"feature_network": network})
    return module, about | {"words": f"the {count:,} features of {name}{resized}"}


def features(network, images):
    """Features float32 (M, D), numpy, of images uint8 (M, 3, 32, 32)."""
    return classifier.features(network, images).cpu().numpy()


def kept(network, about, images, folder):
    """(features (N, D), classes (N,)) of images uint8 (N, 3, 32, 32), kept in `folder` by content.

    about: of the network, as `load` gives it. Classes are the first choices of a classifier, None of any other network.
    Another call with the same images and network reads the file. A damaged file is replaced.
    """
    content = np.ascontiguousarray(images)
    own = about.get("networks", {}).get("feature_network", {})
    identity = " ".join([about["network"], about["sha256"], own.get("sha256", ""), provenance.code_checksum(__file__)])
    key = hashlib.sha256(identity.encode() + content.tobytes()).hexdigest()
    path, classes = folder / f"{key[:32]}.npz", hasattr(network, "mlp")
    names = ("features", "classes") if classes else ("features",)
    try:
        found, _ = arrays.read(path, names)
        if found["features"].shape[:1] == (len(content),) and np.isfinite(found["features"]).all():
            return found["features"], found.get("classes")
    except (OSError, InputError):
        pass  # not there, or damaged
    if classes:
        numbers, logits = classifier.classify(network, content)
        found = {"features": numbers, "classes": arrays.as_labels(logits.argmax(1), logits.shape[1])}
    else:
        found = {"features": features(network, content)}
    with files.atomic(path) as temporary:
        arrays.write(temporary, {"network": identity}, **found)
    return found["features"], found.get("classes")


def _inception(path, tensors):
    from torchvision.models import inception_v3

    with torch.device("meta"):
        network = inception_v3(weights=None, aux_logits=False, transform_input=False, init_weights=False)
        network.fc = nn.Identity()
    used = {name: tensor for name, tensor in tensors.items() if not name.startswith(UNUSED)}
    return Resized(_filled(network, path, used, "torchvision's Inception v3"), 299), "torchvision's Inception v3"


def _dinov2(path, tensors):
    try:
        with torch.device("meta"):
            network = dinov2.shaped_like(tensors)
    except ValueError as error:
        raise InputError(f"{path}: not the weights of a DINOv2 ({error}); give those of vits14, b14 or l14") from None
    return Resized(_filled(network, path, tensors, "DINOv2"), 224, IMAGENET), "DINOv2, its class token"


def _own(path, tensors, place):
    network = own_networks.feature_network(place)
    return Resized(_filled(network, path, tensors, place), network.size), place.rpartition("/")[2]


def _filled(network, path, tensors, name):
    """`network` with its weights; raises `InputError` if they are not its own. Counts of batches may be missing."""
    counts = {key: torch.tensor(0) for key in network.state_dict() if key.endswith(COUNT)}
    wanted = {key: value for key, value in network.state_dict().items() if not key.endswith(COUNT)}
    given = {key: value for key, value in tensors.items() if not key.endswith(COUNT)}
    weights.check(path, given, wanted, name, "give the weights that belong to the network")
    network.load_state_dict(given | counts, assign=True)
    return network
