"""Where the time goes: a training step by kind of layer; Frechet distance and features of PNG files by part.

The clock is read before and after every layer, and when the gradient of a layer's output is ready. The time between
two such gradients is the backward pass of the later layer. Torch's profiler is not used, because it slows some
operations down many times. Threads and sizes are those of the benchmarks that measure ratios.
"""

import collections
import gc
import statistics
import tempfile
import time
from pathlib import Path
from unittest import mock

import side_by_side
from genlab import cli


def parser():
    result = side_by_side.parser(__doc__, turns=20)
    result.add_argument(
        "--width", type=cli.positive, default=32, help="width of the image models (default: 32, as in config/full.yaml)"
    )
    result.add_argument("--images", type=cli.positive, default=1000, help="PNG files (default: 1000)")
    result.add_argument(
        "--vectors", type=cli.positive, nargs=2, default=[26032, 1000],
        help="numbers of vectors for the Frechet distance (default: 26032 1000)",
    )  # fmt: skip
    return result


def main(options):
    side_by_side.limit_threads(options.threads)
    from genlab.training import loop

    loop.set_up("cpu", options.threads, seed=1)
    records = [
        *binary_vae(options), *image_vae(options), *gan(options), *frechet_distance(options), *png_features(options),
    ]  # fmt: skip
    for each in records:
        print(f"{each['computation']}: {each['part']} {each['seconds'] * 1e3:.3g} ms")
    return records


class Stopwatch:
    """Seconds by part: of functions called through it, and of a model's layers."""

    def __init__(self):
        self.spent, self.marks = collections.Counter(), []

    def through(self, part, function):
        """`function`, with its time added to `part`."""

        def call(*arguments, **options):
            start = time.perf_counter()
            try:
                return function(*arguments, **options)
            finally:
                self.spent[part] += time.perf_counter() - start

        return call

    def watch(self, layer):
        """Add the time of a layer's forward and backward passes to its class."""
        kind, starts = type(layer).__name__, []

        def after(layer, inputs, output):
            self.spent[f"{kind}, forward"] += time.perf_counter() - starts.pop()
            if output.requires_grad:
                output.register_hook(lambda gradient: self.marks.append((kind, time.perf_counter())))

        layer.register_forward_pre_hook(lambda layer, inputs: starts.append(time.perf_counter()))
        layer.register_forward_hook(after)

    def backward(self):
        """Add the times between the marks of the backward pass that has just ended."""
        self.marks.append((None, time.perf_counter()))
        for (kind, start), (_, end) in zip(self.marks, self.marks[1:], strict=False):
            self.spent[f"{kind}, backward"] += end - start
        self.marks.clear()

    def records(self, computation, step, turns):
        """Records of `turns` steps after two that are not counted: largest part first, with "the rest"."""
        for _ in range(2):
            step()
        self.spent.clear()
        start = time.perf_counter()
        for _ in range(turns):
            step()
        self.spent["the rest"] = time.perf_counter() - start - sum(self.spent.values())
        return [
            {"computation": computation, "part": part, "seconds": seconds / turns}
            for part, seconds in self.spent.most_common()
        ]


def steps_of_vae(options, computation, task, batch):
    """Records of a step of a `vae_training.VAETraining` by class of layer."""
    from genlab.training.optimization import Progress

    watch = Stopwatch()
    for layer in task.model.modules():
        if not list(layer.children()) and type(layer).__name__ != "Identity":
            watch.watch(layer)
    optimizer, update = task.optimizers["optimizer"], task.average.update

    def stepped(step=optimizer.step):
        watch.backward()
        watch.through("optimizer", step)()

    optimizer.step = stepped
    task.average.update = watch.through("moving average", update)
    return watch.records(computation, lambda: task.step(batch, task.schedule(Progress(0, 1000, 0.0))), options.turns)


def binary_vae(options):
    import binary_vae_training
    from genlab.models import vae_training

    model, settings, images, _ = binary_vae_training.begin(options.threads, 64, 64, "bfloat16")
    task = vae_training.VAETraining(model, images, settings)
    return steps_of_vae(options, "train the binary VAE, bfloat16, 64 images", task, images)


def image_vae(options):
    import image_vae_training
    from genlab.data import images
    from genlab.models import vae_training

    model, _, settings, pixels, _ = image_vae_training.begin(options.threads, 64, 64, options.width, "bfloat16")
    task = vae_training.VAETraining(model, pixels.flatten(1), settings, images.to_model)
    return steps_of_vae(options, "train the VAE of images, bfloat16, 64 images", task, pixels.flatten(1))


def gan(options):
    import gan_training
    from genlab.training.optimization import Progress

    task, _, pixels, _ = gan_training.begin(options.threads, 1, 1, 64, options.width, "bfloat16")
    watch = Stopwatch()
    task.generator.forward = watch.through("generator, forward, twice", task.generator.forward)
    task.critic.forward = watch.through("critic, forward, 192 images", task.critic.forward)
    task.critic.input_gradients = watch.through("critic's gradients, 64 images", task.critic.input_gradients)
    task.average.update = watch.through("moving average", task.average.update)
    update = task.update
    task.update = lambda name, *more: watch.through(f"{name}, backward and optimizer", update)(name, *more)
    return watch.records(
        "train the WGAN-GP, bfloat16, 64 images",
        lambda: task.step(pixels, task.schedule(Progress(0, 1, 0.0))),
        options.turns,
    )


def frechet_distance(options):
    import frechet_distance as program
    import numpy as np
    from genlab.measures import frechet
    from scipy import linalg

    sets = program.features(options.threads, options.vectors, 512)
    mean_and_covariance = [(each.mean, each.covariance) for each in map(frechet.moments, sets)]
    factors = [frechet._factor(covariance) for _, covariance in mean_and_covariance]
    product = linalg.blas.dgemm(1.0, *factors, trans_a=True)
    parts = {
        **{
            f"moments of {len(vectors)} vectors": lambda vectors=vectors: frechet.moments(program.batches(vectors))
            for vectors in sets
        },
        "Cholesky factors, two": lambda: [frechet._factor(covariance) for _, covariance in mean_and_covariance],
        "their product": lambda: linalg.blas.dgemm(1.0, *factors, trans_a=True),
        "singular values": lambda: linalg.svdvals(product),
    }
    root = {"square root of the product": lambda: linalg.sqrtm(mean_and_covariance[0][1] @ mean_and_covariance[1][1])}
    moments = {
        f"mean and covariance of {len(vectors)} vectors": lambda vectors=vectors: np.cov(vectors, rowvar=False)
        for vectors in sets
    }
    return [*timed("Frechet distance", parts), *timed("its reference", moments | root)]


def png_features(options):
    import feature_extraction
    from genlab.data import images
    from genlab.models import classifier, networks

    network, watch = networks.FeatureClassifier().eval().requires_grad_(False), Stopwatch()
    network.features = watch.through("features", network.features)
    opening = mock.patch.object(images, "_open", watch.through("opening every file", images._open))
    # Up to images.KEPT files are opened before decoding. With more, some would count twice.
    decoding = mock.patch.object(images, "_read", watch.through("decoding", images._read))
    with tempfile.TemporaryDirectory() as temporary, opening, decoding:
        directory = Path(temporary) / "images"
        feature_extraction.write_images(directory, options.images)

        def step():
            _, batches = images.read_directory(directory)
            for _ in classifier.feature_batches(network, batches):
                pass

        gc.collect()
        gc.freeze()  # else the garbage collector searches what the trainings left, again and again
        return watch.records(f"features of {options.images} PNG files", step, options.turns)


def timed(computation, parts):
    """Records of {part: function without arguments}: the median of nine times each, after one that is not counted."""
    records = []
    for part, function in parts.items():
        seconds = [side_by_side.timed(function)[0][0] for _ in range(10)][1:]
        records.append({"computation": computation, "part": part, "seconds": statistics.median(seconds)})
    return records


if __name__ == "__main__":
    options = parser().parse_args()
    side_by_side.write(options, main(options))
