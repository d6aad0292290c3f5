"""Full trainings with config/gpu.yaml: the binary VAE and its likelihood, the image VAE, the GAN and its FID over time.

The data are rendered files of the official sizes, or given prepared files. The three trainings run side by side; the
GAN gets as many epochs as take about `--train-seconds`.
"""

import csv
import json
import math
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from genlab.data import arrays
from genlab.measures import frechet
from genlab.models import classifier, image_model
from genlab.training import loop

from . import tasks
from .resume import stage

OFFICIAL = {
    "binarized_mnist": {"train": 50000, "valid": 10000, "test": 10000},
    "svhn": {"train": 73257, "test": 26032},
}


def run(options, record):
    folder = options.output / "training"
    folder.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(3) as pool:
        jobs = []
        if "binary VAE" in options.trainings:
            bits = options.binarized_mnist or render("binarized_mnist", "amat", folder, options)
            jobs.append(pool.submit(binary_vae, bits, folder, options, record))
        if {"image VAE", "WGAN-GP"} & set(options.trainings):
            svhn = options.svhn or render("svhn", "mat", folder, options)
            weights = options.classifier or train_classifier(svhn, folder, options)
        if "image VAE" in options.trainings:
            jobs.append(pool.submit(image_vae, svhn, weights, folder, options, record))
        if "WGAN-GP" in options.trainings:
            jobs.append(pool.submit(gan, svhn, weights, folder, options, record))
    for job in jobs:
        job.result()


def render(name, suffix, folder, options):
    """Prepared data of the official sizes."""
    files = []
    for split, count in OFFICIAL[name].items():
        file = folder / f"{name}_{split}.{suffix}"
        stage("render_digits", "--output", file, "--count", 300 if options.quick else count)
        files += [f"--{split}", file]
    stage(f"prepare_{name}", *files, "--source", "embedded", "--output", folder / f"{name}.npz")
    return folder / f"{name}.npz"


def words(name, options, **more):
    """The settings of config/gpu.yaml as command-line options."""
    settings = tasks.settings(name, "gpu.yaml") | more
    if options.quick:
        settings |= {"epochs": 1}
        settings |= {key: 4 for key in ("width", "critic_width") if key in settings}
        settings |= {"monitor_samples": 40} if "monitor_samples" in settings else {}
    return [f"--{key.replace('_', '-')}={value}" for key, value in settings.items()]


def train_classifier(svhn, folder, options):
    stage("train_classifier", "--data", svhn, "--output", folder / "classifier", *words("classifier", options),
          "--device", options.device)  # fmt: skip
    return folder / "classifier" / "trained.safetensors"


def told(folder, name):
    """What a training says of itself, and its history."""
    about = json.loads((folder / name / "training.json").read_text())
    with (folder / name / "history.csv").open() as file:
        return about, list(csv.DictReader(file))


def binary_vae(data, folder, options, record):
    stage("train_binary_vae", "--data", data, "--output", folder / "binary_vae", *words("binary VAE", options),
          "--device", options.device)  # fmt: skip
    about, history = told(folder, "binary_vae")
    record("binary VAE", data=about["data"]["title"], epochs=len(history), seconds=about["seconds"],
           valid_elbo=about["best"]["valid_elbo"])  # fmt: skip
    start = time.perf_counter()
    few = ["--images", 20, "--train-images", 20, "--curve-images", 0] if options.quick else ["--train-images", 10000]
    stage("estimate_likelihood", "--weights", folder / "binary_vae" / "model.safetensors", "--data", data,
          "--output", folder / "likelihood.json",
          "--device", options.device, *few)  # fmt: skip
    splits = json.loads((folder / "likelihood.json").read_text())["splits"]
    numbers = {
        f"{split}_{name}": splits[split][name]["mean"] for split in splits for name in ("elbo", "log_likelihood")
    }
    record("likelihood, K = 200", seconds=time.perf_counter() - start, **numbers)


def image_vae(svhn, weights, folder, options, record):
    stage("train_vae", "--data", svhn, "--output", folder / "vae", *words("generator", options),
          *words("image VAE", options), "--device", options.device)  # fmt: skip
    score("image VAE", "vae", svhn, weights, folder, options, record)


def gan(svhn, weights, folder, options, record):
    count = len(arrays.load_images(svhn).train_images)
    steps = math.ceil(count / tasks.settings("WGAN-GP", "gpu.yaml")["batch_size"])
    share = 0.9 if options.trainings == ["WGAN-GP"] else 0.65  # of the time, because the other two run beside it
    epochs = max(1, int(share * options.train_seconds * rate(options) / steps))
    more = {"epochs": epochs, "monitor_epochs": max(1, epochs // 40)}
    stage("train_gan", "--data", svhn, "--classifier", weights, "--output", folder / "gan",
          *words("generator", options), *words("WGAN-GP", options, **more), "--device", options.device)  # fmt: skip
    score("WGAN-GP", "gan", svhn, weights, folder, options, record)


def rate(options):
    """Updates of the GAN per second: measured by the part `speed`, else a guess."""
    path = options.output / "speed.json"
    records = json.loads(path.read_text())["records"] if path.exists() else []
    found = [each["steps_a_second"]["graphs"] for each in records if each["name"] == "WGAN-GP of config/gpu.yaml"]
    return found[0] if found else 300 if options.device == "cuda" else 1


def score(title, name, svhn, weights, folder, options, record):
    """FID of 1000 samples to the test images, beside that of 1000 training images (the real-data FID)."""
    device = loop.set_up(options.device, 1, 1)
    prepared, (network, _) = arrays.load_images(svhn), classifier.load_classifier(weights, device)
    parts, _ = image_model.load_model(folder / name / "model.safetensors", device)
    z = torch.randn(1000, parts["generator"].latents, generator=torch.Generator().manual_seed(1))
    samples = image_model.generate(parts["generator"], z.to(device))
    real = torch.from_numpy(prepared.train_images)
    real = real[torch.randperm(len(real), generator=torch.Generator().manual_seed(1))[:1000]]
    test, generated, training = (
        (batch for batch, _ in classifier.feature_batches(network, torch.as_tensor(each).split(500)))
        for each in (torch.from_numpy(prepared.test_images), samples, real)
    )
    test = list(test)
    fid, floor = (frechet.calculate_fid_score(each, iter(test)) for each in (generated, training))
    about, history = told(folder, name)
    curve = [
        [float(row["seconds"]), int(row["step"]), float(row["valid_fid"])] for row in history if row.get("valid_fid")
    ]
    best = {key: value for key, value in about["best"].items() if key.startswith("valid")}
    record(title, data=about["data"]["title"], epochs=len(history), steps=int(history[-1]["step"]), best=best,
           seconds=about["seconds"], settings=about["settings"], parameters=about["parameters"],
           fid=fid, real_data_fid=floor, ratio=fid / floor, curve=curve)  # fmt: skip
    np.save(folder.parent / f"samples_{name}.npy", samples.numpy())
