"""Steps and images per second, and the share of the device's limits that they reach."""

import contextlib
import time

import machine
import torch
import torch.nn.functional as F
from genlab.models import classifier, image_model, layers, networks, vae
from genlab.training.graphs import Steps
from genlab.training.optimization import Progress

from . import tasks


def run(options, record):
    limits = measure_limits(options)
    record("limits", **limits)
    for name in options.trainings:
        size = tasks.settings(name)["batch_size"]
        for batch_size in (size, 4 * size, 16 * size)[: 1 if options.quick else 3]:
            training(name, batch_size, limits, options, record)
    large = tasks.settings("WGAN-GP", "gpu.yaml") | tasks.settings("generator", "gpu.yaml")
    if not options.quick:
        size = large.pop("batch_size")
        found, _ = steps_a_second("WGAN-GP", tasks.data("WGAN-GP", 4096), size, True, options, **large)
        record("WGAN-GP of config/gpu.yaml", steps_a_second={"graphs": found})
    evaluations(limits, options, record)


def synchronise():
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def rate(function, seconds=1.0, least=3):
    """Calls per second, from at least `least` calls in at least `seconds`, after one that is not counted."""
    function()
    synchronise()
    start, count = time.perf_counter(), 0
    while count < least or time.perf_counter() - start < seconds:
        function()
        count += 1
        if count % 50 == 0:
            synchronise()  # else only the launch would be timed
    synchronise()
    return count / (time.perf_counter() - start)


def measure_limits(options):
    """{name: floating-point operations or bytes per second}."""
    device, n = options.device, 512 if options.quick else 8192
    limits = {}
    for dtype in (torch.float32, torch.bfloat16):
        kind = str(dtype).removeprefix("torch.")
        a = torch.randn(n, n, device=device).to(dtype)
        limits[f"matrix product {kind}"] = 2 * n**3 * rate(lambda a=a: a @ a, 0.3)
        x = torch.randn(n // 16, 256, 32, 32, device=device).to(dtype).to(memory_format=torch.channels_last)
        weight = torch.randn(256, 256, 3, 3, device=device).to(dtype).to(memory_format=torch.channels_last)
        limits[f"convolution {kind}"] = (
            2 * x.numel() * 256 * 9 * rate(lambda x=x, weight=weight: F.conv2d(x, weight, padding=1), 0.3)
        )
    source = torch.randn(n * n, device=device)
    target = torch.empty_like(source)
    limits["copy, bytes read and written"] = 8 * source.numel() * rate(lambda: target.copy_(source), 0.3)
    return limits


def steps_a_second(name, pixels, batch_size, graphs, options, **more):
    """(steps per second of the project's own training, its step function)."""
    seconds = 0.2 if options.quick else 0.7
    width = 4 if options.quick else 32
    settings = tasks.settings(name, batch_size=batch_size, **{"width": width, "critic_width": width} | more)
    task, data = tasks.make(name, pixels, options.device, settings)
    steps = Steps(task, data, {}, graphs=graphs and data.is_cuda)
    order = torch.randperm(len(data), device=data.device)
    at = 0

    def step():
        nonlocal at
        at = (at + batch_size) % (len(data) - batch_size + 1)
        steps(order[at : at + batch_size], task.schedule(Progress(at, 10**6, 0.0)))

    for _ in range(2 if options.quick else 8):
        step()
    return rate(step, seconds), lambda: task.step(data[:batch_size], task.schedule(Progress(0, 10**6, 0.0)))


def training(name, batch_size, limits, options, record):
    pixels = tasks.data(name, 4 * batch_size if options.quick else max(4096, 4 * batch_size))
    precision = "auto"
    on_gpu = torch.device(options.device).type == "cuda"

    def measure(graphs=True, **more):
        more = {"precision": precision} | more
        return steps_a_second(name, pixels, batch_size, graphs, options, **more)

    found = {"graphs": measure()[0]} if on_gpu else {}
    found["kernel by kernel"], step = measure(graphs=False)
    if on_gpu and batch_size == tasks.settings(name)["batch_size"]:
        found["graphs, float32"], found["graphs, tf32"] = (measure(precision=p)[0] for p in ("float32", "tf32"))
        with changed(torch.backends.cudnn, "benchmark", True):
            found["graphs, cuDNN's fastest"] = measure()[0]
        with contextlib.ExitStack() as stack:
            for layer in vars(layers).values():
                if hasattr(layer, "fast_on"):
                    stack.enter_context(changed(layer, "fast_on", ("cpu",)))
            found["graphs, plain layers"] = measure()[0]
        with as_plain_programs_are():
            found["graphs, not deterministic"] = measure()[0]
    width = 4 if options.quick else 32
    epoch = tasks.plain_epoch(
        name, options.device, tasks.settings(name, batch_size=batch_size, width=width, critic_width=width)
    )
    few = pixels[: (4 if options.quick else 20) * batch_size]
    with as_plain_programs_are():
        found["plain loop"] = len(few) / batch_size * rate(lambda: epoch(few), 0.3 if options.quick else 0.7, least=1)
    flops, size = machine.count(step)
    best = found.get("graphs", found["kernel by kernel"])
    record(
        f"{name}, batches of {batch_size}", steps_a_second=found, ratio_to_plain_loop=best / found["plain loop"],
        flops=flops, bytes=size, of_matrix_product=flops * best / limits["matrix product bfloat16"],
        of_convolution=flops * best / limits["convolution bfloat16"],
        of_copy=size * best / limits["copy, bytes read and written"],
    )  # fmt: skip


@contextlib.contextmanager
def as_plain_programs_are():
    """Inside, torch has its own defaults: any algorithm, and TF32 in convolutions."""
    torch.use_deterministic_algorithms(False)
    with changed(torch.backends.cudnn, "allow_tf32", True):
        yield
    torch.use_deterministic_algorithms(True, warn_only=True)


class changed:
    """Inside, an attribute has another value."""

    def __init__(self, owner, name, value):
        self.owner, self.name, self.value, self.before = owner, name, value, getattr(owner, name)

    def __enter__(self):
        setattr(self.owner, self.name, self.value)

    def __exit__(self, *exception):
        setattr(self.owner, self.name, self.before)


@torch.no_grad()
def evaluations(limits, options, record):
    torch.manual_seed(1)
    device, many = options.device, 500 if options.quick else 10_000
    generator = networks.Generator(tasks.LATENTS, 32).eval().to(device)
    z = torch.randn(many, tasks.LATENTS, device=device)
    network = layers.accelerate(networks.FeatureClassifier()).eval().to(device)
    pictures = tasks.data("WGAN-GP", 500).repeat(many // 500, 1, 1, 1)
    model, bits = vae.binary_vae("suggested", tasks.LATENTS).eval().to(device), tasks.data("binary VAE", 500)
    rng = torch.Generator(device).manual_seed(1)
    few = bits[: 2 if options.quick else 500]
    for name, count, function in (
        ("sample", many, lambda: image_model.generate(generator, z)),
        ("features", many, lambda: classifier.features(network, pictures)),
        ("likelihood, K = 200", len(few), lambda: vae.evaluate_likelihood(model, few, 200, [200], rng)),
    ):
        calls = rate(function, 0.3 if options.quick else 1.0, least=1)
        flops, size = machine.count(function)
        record(
            name, images_a_second=count * calls, flops=flops, bytes=size,
            of_matrix_product=flops * calls / limits["matrix product float32"],
            of_copy=size * calls / limits["copy, bytes read and written"],
        )  # fmt: skip
