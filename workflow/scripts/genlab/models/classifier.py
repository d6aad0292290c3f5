"""The feature classifier: its weights in every supported format, its features in batches, its training.

Images are uint8 (M, 3, 32, 32), 0..255; labels are whole numbers from 0, C classes. The Frechet distance is taken on
the 512 features (`networks.FeatureClassifier`).
"""

import math
from pathlib import Path
from statistics import NormalDist

import numpy as np
import torch
import torch.nn.functional as F

from .. import InputError, files
from ..data.images import to_model
from ..training.optimization import WeightAverage, autocast, learning_rate, optimizer, set_rate
from . import layers, networks, weights

PART = {"cpu": 100, "cuda": 5000}  # images at a time: on a CPU the activations stay in the caches
REMEDY = "give weights that train_classifier.py or import_classifier.py wrote, or the course's svhn_classifier"


def load_classifier(path, device="cpu"):
    """(classifier in eval mode, about) from a file of weights: safetensors, ours or plain, or PyTorch's own format.

    `about` is what the file says about itself ({"source": "given"} if nothing), with its name as `file` and its
    `sha256`. The last layer says how many classes there are. Draws no random numbers.
    Raises InputError for any other file.
    """
    path = Path(path)
    tensors, about = weights.read(path, REMEDY)
    with torch.random.fork_rng(devices=[]):  # the meta device draws none, but to leave it imports torch's compiler
        shape = tuple(tensors["mlp.2.weight"].shape) if "mlp.2.weight" in tensors else ()
        classifier = networks.FeatureClassifier(shape[0] if len(shape) == 2 and shape[1] == 512 else 10)
    weights.check(path, tensors, classifier.state_dict(), "the feature classifier", REMEDY)
    classifier.load_state_dict(tensors)
    return layers.accelerate(classifier.to(device)).eval().requires_grad_(False), (about or {"source": "given"}) | {
        "file": path.name,
        "sha256": files.checksum(path),
    }


@torch.no_grad()
def features(network, images):
    """Features float32 (M, D) of images uint8 (M, 3, 32, 32), on the device of a feature network in eval mode."""
    if network.training:
        raise ValueError("the classifier is in training mode; call eval() first")
    device = next(network.parameters()).device
    parts = torch.as_tensor(images).to(device).split(getattr(network, "part", PART)[device.type])
    return torch.cat([network.features(to_model(part)) for part in parts])


@torch.no_grad()
def feature_batches(classifier, batches):
    """Yield (features (M, 512), logits (M, C)), float32 numpy, of each batch. The classifier must be in eval mode.

    batches: iterable of uint8 (M, 3, 32, 32), numpy arrays or torch tensors on any device.
    """
    for batch in batches:
        found = features(classifier, batch)
        yield found.cpu().numpy(), classifier.mlp(found).cpu().numpy()


def classify(network, pictures, batch=500):
    """Features (N, 512) and logits (N, C) of uint8 images (N, 3, 32, 32), `batch` at a time: float32."""
    batches = (pictures[start : start + batch] for start in range(0, len(pictures), batch))
    return (np.concatenate(parts) for parts in zip(*feature_batches(network, batches), strict=True))


def check_classes(network, classes, weights_path, data_path):
    """Raise InputError unless a classifier tells as many classes apart as the data have; `classes`: their names."""
    if (found := network.mlp[-1].out_features) != len(classes):
        raise InputError(
            f"{weights_path}: tells {found} classes apart, and {data_path} has {len(classes)}; give weights of a "
            "classifier of these classes, or train one"
        )


def confusion_matrix(labels, predictions, classes):
    """Counts int64 (classes, classes) from two integer arrays (N,): rows are true classes, columns predicted ones."""
    pairs = classes * labels.astype(np.int64) + predictions
    return np.bincount(pairs, minlength=classes**2).reshape(classes, classes)


def wilson_interval(successes, trials, confidence=0.95):
    """(low, high) of a proportion by Wilson (1927): it stays in [0, 1] and is valid for few trials, too."""
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    proportion, shrink = successes / trials, 1 + z**2 / trials
    centre = (proportion + z**2 / (2 * trials)) / shrink
    half = z / shrink * math.sqrt(proportion * (1 - proportion) / trials + z**2 / (4 * trials**2))
    return max(0.0, centre - half), min(1.0, centre + half)


class ClassifierTraining:
    """The task that `loop.train` runs: minimise the cross-entropy of a `networks.FeatureClassifier`.

    train, valid  pairs (images uint8 (N, 3, 32, 32), labels int64 (N,)) on the model's device
    settings      learning_rate, optimizer, weight_decay, schedule, warmup_steps, average_decay, precision

    `loop.train` shuffles the indices of the training images, int64 (N,), and cuts them into batches.
    So every image keeps its label.
    """

    select = "valid_accuracy"

    def __init__(self, model, train, valid, settings):
        self.model = layers.accelerate(model)
        self.train, self.valid, self.settings = train, valid, settings
        self.average = WeightAverage(model, settings["average_decay"])
        self.modules = {"model": model, "average": self.average}
        self.optimizers = {"optimizer": optimizer(model.parameters(), settings)}

    def schedule(self, progress):
        """The numbers of the next step that change with every step."""
        return {"learning_rate": learning_rate(progress, self.settings), "average_rate": self.average.next_rate()}

    def step(self, indices, numbers):
        """One update on the images at `indices` (B,); returns sums over the batch by column."""
        pixels, labels = (tensor[indices] for tensor in self.train)
        with autocast(self.settings, pixels.device):
            logits = self.model(to_model(pixels)).float()
        loss = F.cross_entropy(logits, labels)
        self.optimizers["optimizer"].zero_grad(set_to_none=True)
        loss.backward()
        set_rate(self.optimizers["optimizer"], numbers["learning_rate"])
        self.optimizers["optimizer"].step()
        self.average.update(self.model, numbers["average_rate"])
        return {"train_loss": loss.detach() * len(labels), "train_accuracy": (logits.argmax(1) == labels).sum()}

    @torch.no_grad()
    def evaluate(self, progress):
        """Validation loss (nats per image) and accuracy of the averaged weights, without dropout."""
        model = self.average.module.eval()
        logits = torch.cat([model(to_model(batch)) for batch in self.valid[0].split(500)])
        labels = self.valid[1]
        return {
            "valid_loss": float(F.cross_entropy(logits, labels)),
            "valid_accuracy": float((logits.argmax(1) == labels).double().mean()),
            "learning_rate": learning_rate(progress, self.settings),
        }
