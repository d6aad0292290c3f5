"""The machine's limits, and how close to them each computation comes.

The limits: a large matrix product and a large convolution in float32 and bfloat16, channels last, and the copy of a
large tensor. Then, for one step of every training and one batch of every evaluation: the floating-point operations
(torch's formulas for convolutions and matrix products), the bytes read and written (sizes of all operands and results
except views), the seconds, and both rates as fractions of the limits.
"""

import statistics
import time

import side_by_side
from genlab import cli, configuration


def parser():
    result = side_by_side.parser(__doc__, turns=10)
    result.add_argument("--size", type=cli.positive, default=2048, help="rows of the large matrix (default: 2048)")
    result.add_argument(
        "--width", type=cli.positive, default=32, help="width of the image models (default: 32, as in config/full.yaml)"
    )
    return result


def main(options):
    side_by_side.limit_threads(options.threads)
    from genlab.training import loop

    loop.set_up("cpu", options.threads, seed=1)
    limits = measure_limits(options)
    for name, value in limits.items():
        print(f"{name}: {value / 1e9:.0f} G/s")
    records = []
    for name, dtype, step in computations(options):
        flops, size = count(step)
        took = seconds(step, options.turns)
        row = {
            "computation": name, "dtype": dtype, "flops": flops, "bytes": size, "seconds": took,
            "of_matrix_product": flops / took / limits[f"matrix product {dtype}"],
            "of_convolution": flops / took / limits[f"convolution {dtype}"],
            "of_copy": size / took / limits["copy, bytes read and written"],
        }  # fmt: skip
        records.append(row)
        print(
            f"{name}, {dtype}: {flops / 1e9:.3g} GFLOP, {size / 1e6:.0f} MB, {took * 1e3:.1f} ms; of the limits: "
            f"{row['of_matrix_product']:.0%} of the matrix product, {row['of_convolution']:.0%} of the convolution, "
            f"{row['of_copy']:.0%} of the copy"
        )
    return [{"limits": limits}, *records]


def seconds(function, turns):
    """The median time of `turns` calls, after one that is not counted."""
    times = []
    for _ in range(turns + 1):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return statistics.median(times[1:])


def measure_limits(options):
    """{name: floating-point operations or bytes per second}."""
    import torch
    import torch.nn.functional as F

    limits, n = {}, options.size
    for dtype in (torch.float32, torch.bfloat16):
        kind = str(dtype).removeprefix("torch.")
        a = torch.randn(n, n).to(dtype)
        limits[f"matrix product {kind}"] = 2 * n**3 / seconds(lambda a=a: a @ a, options.turns)
        x = torch.randn(n // 64, 128, 32, 32).to(dtype).to(memory_format=torch.channels_last)
        weight = torch.randn(128, 128, 3, 3).to(dtype).to(memory_format=torch.channels_last)
        took = seconds(lambda x=x, weight=weight: F.conv2d(x, weight, padding=1), options.turns)
        limits[f"convolution {kind}"] = 2 * x.numel() * 128 * 9 / took
    source = torch.randn(n * n * 8)
    target = torch.empty_like(source)
    limits["copy, bytes read and written"] = 8 * source.numel() / seconds(lambda: target.copy_(source), options.turns)
    return limits


def count(step):
    """(floating-point operations, bytes read and written) of a call."""
    import torch
    from torch.utils._python_dispatch import TorchDispatchMode
    from torch.utils._pytree import tree_leaves
    from torch.utils.flop_counter import flop_registry

    class Counter(TorchDispatchMode):  # FlopCounterMode counts no bytes
        flops = bytes = 0

        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            kwargs = kwargs or {}
            result = function(*args, **kwargs)
            if formula := flop_registry.get(function._overloadpacket):
                self.flops += formula(*args, **kwargs, out_val=result)
            if not function.is_view:
                tensors = [leaf for leaf in tree_leaves((args, kwargs, result)) if isinstance(leaf, torch.Tensor)]
                self.bytes += sum(tensor.numel() * tensor.element_size() for tensor in tensors)
            return result

    step()
    with Counter() as counter:
        step()
    return counter.flops, counter.bytes


def computations(options):
    """Yield (name, dtype, function without arguments) for what the stages spend their time on."""
    import plain
    import torch
    from genlab.data import images
    from genlab.models import classifier, image_model, networks, vae, vae_training, wgan
    from genlab.training import optimization

    start = optimization.Progress(0, 1000, 0.0)
    defaults = configuration.complete(
        {
            "likelihood": {"models": {"vae": {}}},
            "images": {"models": {"vae": {"kind": "vae"}, "gan": {"kind": "gan"}}},
        }
    )
    bits = torch.randint(0, 2, (64, 784), dtype=torch.uint8)
    pixels = plain.coloured_blobs(64)
    for dtype in ("float32", "bfloat16"):
        settings = defaults["likelihood"]["models"]["vae"] | {"precision": dtype}
        task = vae_training.VAETraining(vae.binary_vae("suggested", 100), bits, settings)
        yield "train_binary_vae, 64 images", dtype, lambda task=task: task.step(bits, task.schedule(start))
    model = vae.binary_vae("suggested", 100).eval()
    chunk = defaults["likelihood"]["evaluation"]["chunk"]
    chance = torch.Generator().manual_seed(1)
    yield (
        "estimate_likelihood, 10 images, K = 200", "float32",
        lambda: vae.evaluate_likelihood(model, bits[:10], 200, [200], chance, chunk),
    )  # fmt: skip
    size = {"latents": 100, "width": options.width}
    image_networks = image_model.generator(size), image_model.critic(options.width)
    features = networks.FeatureClassifier().eval().requires_grad_(False)
    for dtype in ("float32", "bfloat16"):
        settings = defaults["images"]["models"]["vae"] | {"precision": dtype}
        model = vae.image_vae(image_networks[0], image_model.encoder(size))
        task = vae_training.VAETraining(model, pixels.flatten(1), settings, images.to_model)
        yield "train_vae, 64 images", dtype, lambda task=task: task.step(pixels.flatten(1), task.schedule(start))
    for dtype in ("float32", "bfloat16"):
        settings = defaults["images"]["models"]["gan"] | {"precision": dtype, "epochs": 1, "critic_steps": 1}
        task = wgan.WGANTraining(*image_networks, pixels, features, settings)
        yield "train_gan, 64 images", dtype, lambda task=task: task.step(pixels, task.schedule(start))
    network = networks.FeatureClassifier()
    labels = torch.randint(0, 10, (64,))
    task = classifier.ClassifierTraining(
        network, (pixels, labels), (pixels, labels), defaults["images"]["classifier"] | {"precision": "float32"}
    )
    yield "train_classifier, 64 images", "float32", lambda: task.step(torch.arange(64), task.schedule(start))
    many = pixels.repeat(8, 1, 1, 1)[:500]
    yield "features, 500 images", "float32", lambda: list(classifier.feature_batches(features, [many]))
    drawn = image_networks[0].eval()
    z = torch.randn(250, 100)
    yield "sample, 250 images", "float32", lambda: image_model.generate(drawn, z)


if __name__ == "__main__":
    options = parser().parse_args()
    side_by_side.write(options, main(options))
