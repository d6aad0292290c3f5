"""The same numbers on both devices: losses, gradients, graphs, samples, features, Frechet distances, likelihoods.

The CPU in float32 is the reference. Weights and random numbers are the same on both.
"""

import contextlib

import torch
from genlab.data import images
from genlab.measures import frechet
from genlab.models import classifier, gaussian, image_model, monitor, networks, vae
from genlab.training.graphs import Steps
from genlab.training.optimization import Progress

from . import tasks

# Loss: error relative to the larger of 1 and the loss. Gradient: length of the difference over its own length.
TOLERANCES = {"float32": (1e-4, 1e-3), "tf32": (1e-2, 3e-2), "bfloat16": (3e-2, 0.15)}
BATCH = 64


def run(options, record):
    for name in options.trainings:
        pixels, width = tasks.data(name, 1000), 4 if options.quick else 32
        expected = one_step(name, pixels, "cpu", "float32", width)
        for precision in TOLERANCES:
            losses, gradients = one_step(name, pixels, options.device, precision, width)
            loss = max(abs(a - b) / max(1, abs(b)) for a, b in zip(losses, expected[0], strict=True))
            gradient = max(float((a - b).norm() / b.norm()) for a, b in zip(gradients, expected[1], strict=True))
            least = TOLERANCES[precision]
            record(
                f"{name}, one step in {precision}", loss_error=loss, gradient_error=gradient, tolerances=least,
                agrees=loss <= least[0] and gradient <= least[1],
            )  # fmt: skip
        graphs(name, pixels, width, options, record)
    for check in (samples_and_features, likelihoods):
        check(options, record)


def one_step(name, pixels, device, precision, width):
    """(losses by column, gradients of each optimizer) of one step, without dropout; float64 on the CPU."""
    # Adam's first step follows the signs of gradients, and rounding decides the sign of a small one. With this learning
    # rate the critic has hardly moved when the generator is updated.
    settings = tasks.settings(name, precision=precision, width=width, critic_width=width, learning_rate=1e-12)
    task, data = tasks.make(name, pixels, device, settings)
    for module in task.modules["model"].modules() if "model" in task.modules else ():
        if isinstance(module, torch.nn.Dropout | torch.nn.Dropout2d):
            module.p = 0.0
    with same_noise():
        sums = task.step(data[:BATCH], task.schedule(Progress(0, 1000, 0.0)))
    gradients = [
        torch.cat([p.grad.flatten().cpu().double() for group in each.param_groups for p in group["params"]])
        for each in task.optimizers.values()
    ]
    return [float(value) / BATCH for value in sums.values()], gradients


@contextlib.contextmanager
def same_noise():
    """Inside, torch.randn and torch.rand draw on the CPU from one seed, for any device."""
    generator, drawers = torch.Generator().manual_seed(2), {name: getattr(torch, name) for name in ("randn", "rand")}
    for name, draw in drawers.items():
        setattr(torch, name, lambda *shape, device=None, draw=draw, **_: draw(*shape, generator=generator).to(device))
    try:
        yield
    finally:
        for name, draw in drawers.items():
            setattr(torch, name, draw)


def graphs(name, pixels, width, options, record):
    """Twenty steps with and without CUDA graphs, from one seed, in float32; then a repeat without graphs."""
    weights = []
    for recorded in (False, False, True):
        settings = tasks.settings(name, precision="float32", width=width, critic_width=width)
        task, data = tasks.make(name, pixels, options.device, settings)
        torch.manual_seed(3)
        steps = Steps(task, data, {}, graphs=recorded and data.is_cuda)
        for step in range(20):
            indices = torch.arange(step * 10, step * 10 + BATCH, device=data.device)
            steps(indices, task.schedule(Progress(step, 1000, 0.0)))
        weights.append(torch.cat([p.detach().flatten() for m in task.modules.values() for p in m.parameters()]))
        if recorded and data.is_cuda:
            assert steps.graphs and steps.recorded, "no graph was recorded"
    moved = (weights[0] - weights[1]).norm() / weights[0].norm(), (weights[0] - weights[2]).norm() / weights[0].norm()
    repeat, graph = map(float, moved)
    record(f"{name}, 20 steps as CUDA graphs", repeat_error=repeat, graph_error=graph, tolerances=[1e-2],
           agrees=graph <= 1e-2)  # fmt: skip


@torch.no_grad()
def samples_and_features(options, record):
    torch.manual_seed(1)
    generator = networks.Generator(tasks.LATENTS, 32)
    network = networks.FeatureClassifier()
    for _ in range(20):
        generator(torch.randn(64, tasks.LATENTS))  # running statistics of its own
    z, real = torch.randn(600, tasks.LATENTS), tasks.data("WGAN-GP", 600)
    found = {}
    for device in ("cpu", options.device):
        parts = generator.eval().to(device), network.eval().to(device)
        pictures = image_model.generate(parts[0], z.to(device))
        features = [classifier.features(parts[1], each).cpu().numpy() for each in (pictures, real)]
        watched = monitor.FrechetMonitor(parts[1], real.to(device)).distance(pictures)
        found[device] = pictures, features, frechet.calculate_fid_score(*map(iter, features)), watched
    (p, features, fid, watched), (q, expected, fid_cpu, _) = found[options.device], found["cpu"]
    levels = (p.int() - q.int()).abs()
    largest, share = int(levels.max()), float((levels > 0).double().mean())
    record("samples", largest_difference=largest, share_that_differs=share, tolerances=[1], agrees=largest <= 1)
    error = max(abs(a - b).max() / abs(b).max() for a, b in zip(features, expected, strict=True))
    record("features", largest_error=float(error), tolerances=[1e-2], agrees=bool(error <= 1e-2))
    for name, value in (("FID", fid), ("FID while training", watched)):
        error = abs(value - fid_cpu) / fid_cpu
        record(name, cpu=fid_cpu, device=value, error=error, tolerances=[1e-3], agrees=error <= 1e-3)


@torch.no_grad()
def likelihoods(options, record):
    torch.manual_seed(1)
    model, bits = vae.binary_vae("suggested", tasks.LATENTS).eval(), tasks.data("binary VAE", 50).float()
    mean, log_variance = model.posterior(bits)
    noise = torch.randn(50, 200, tasks.LATENTS)
    z = gaussian.reparameterise(mean[:, None], log_variance[:, None], noise)
    expected = vae.importance_log_likelihood(model, bits, z)
    model.to(options.device)
    found = vae.importance_log_likelihood(model, bits.to(options.device), z.to(options.device), chunk=5000).cpu()
    error = float((found - expected).abs().max())
    record("log-likelihood, K = 200", largest_error_in_nats=error, tolerances=[5e-3], agrees=error <= 5e-3)
    assert (
        images.to_uint8(images.to_model(torch.arange(256, dtype=torch.uint8).to(options.device)))
        .cpu()
        .equal(torch.arange(256, dtype=torch.uint8))
    ), "pixel values do not survive the round trip"
