"""The project's four trainings on any device, with the settings of a configuration, and their plain loops."""

from pathlib import Path

import numpy as np
import plain
import torch
import yaml
from gan_training import WGANTraining
from genlab import configuration
from genlab.data import images
from genlab.models import binary_networks, classifier, image_model, networks, vae, vae_training, wgan

ROOT = Path(__file__).parents[2]
LATENTS = 100


def settings(name, file="full.yaml", **more):
    """The settings of a training: the schema's defaults, then config.yaml, then a file of config/, then `more`."""
    definition, *path = {
        "binary VAE": ("binary_vae", "likelihood", "models", "vae"),
        "image VAE": ("image_vae", "images", "models", "vae"),
        "WGAN-GP": ("image_gan", "images", "models", "gan"),
        "classifier": ("classifier", "images", "classifier"),
        "generator": ("generator", "images", "generator"),
    }[name]
    result = configuration.defaults(definition)
    for layer in (ROOT / "config.yaml", ROOT / "config" / file):
        part = yaml.safe_load(layer.read_text(encoding="utf-8"))
        for key in path:
            part = part.get(key, {})
        result |= part
    return {key: value for key, value in result.items() if key != "kind"} | more


def data(name, count, seed=1):
    """Images uint8 that a network can learn from: (count, 784) of 0 and 1, or (count, 3, 32, 32)."""
    torch.manual_seed(seed)
    return plain.binary_blobs(count) if name == "binary VAE" else plain.coloured_blobs(count)


def make(name, pixels, device, options):
    """(task, the data that `training.graphs.Steps` cuts into batches) on a device, with the same weights on each."""
    torch.manual_seed(1)
    pixels = pixels.to(device)
    valid = pixels[:500]
    if name == "binary VAE":
        model = vae.binary_vae(options.get("architecture", "suggested"), LATENTS)
        return vae_training.VAETraining(model.to(device), valid, options), pixels
    if name == "classifier":
        labels = torch.from_numpy(np.random.default_rng(1).integers(0, 10, len(pixels))).to(device)
        model = networks.FeatureClassifier().to(device)
        pairs = (pixels, labels), (valid, labels[:500])
        return classifier.ClassifierTraining(model, *pairs, options), torch.arange(len(pixels), device=device)
    size = {"latents": LATENTS, "width": options["width"]}
    generator = image_model.generator(size)
    if name == "image VAE":
        model = vae.image_vae(generator, image_model.encoder(size)).to(device)
        return vae_training.VAETraining(model, valid.flatten(1), options, images.to_model), pixels.flatten(1)
    critic, features = image_model.critic(options["critic_width"]), networks.FeatureClassifier().eval()
    features = features.requires_grad_(False).to(device)
    return wgan.WGANTraining(generator.to(device), critic.to(device), valid, features, options), pixels


def plain_epoch(name, device, options):
    """A function that trains by the plain loop, in float32, on images in the CPU's memory."""
    torch.manual_seed(1)
    batch_size = options["batch_size"]
    if name == "classifier":
        return _plain_classifier(device, options)
    if name == "WGAN-GP":
        parts = networks.Generator(LATENTS, options["width"]), networks.Critic(options["critic_width"])
        training = WGANTraining(*_contiguous(parts, device), options)
        return lambda pixels: training.epoch(images.to_model(pixels), batch_size)
    if name == "binary VAE":
        parts, log_prob = binary_networks.suggested_binary_vae(LATENTS), plain.bernoulli
    else:
        width = options["width"]
        parts, log_prob = (networks.Encoder(LATENTS, width), networks.Generator(LATENTS, width)), plain.gaussian
    training = plain.VAETraining(*_contiguous(parts, device), log_prob, options)
    if name == "binary VAE":
        return lambda bits: training.epoch(bits.float().view(-1, 1, 28, 28))
    return lambda pixels: training.epoch(images.to_model(pixels))


def _contiguous(parts, device):
    return [part.to(device, memory_format=torch.contiguous_format) for part in parts]


def _plain_classifier(device, options):
    (network,) = _contiguous([networks.FeatureClassifier()], device)
    optimizer = torch.optim.Adam(network.parameters(), options["learning_rate"])

    def epoch(pixels):
        data = torch.utils.data.TensorDataset(images.to_model(pixels), torch.arange(len(pixels)) % 10)
        for x, labels in torch.utils.data.DataLoader(data, options["batch_size"], shuffle=True):
            loss = torch.nn.functional.cross_entropy(network(x.to(device)), labels.to(device))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            loss.item()

    return epoch
