"""Train the suggested binary VAE with batches of 64: the plain loop against this project's, in images per second.

The reference: DataLoader, torch's own layers, float32, default layout, torch.optim.Adam. Ours: the task of
train_binary_vae.py, stepped as in the training loop, with its moving average of the weights. Both start from the same
weights; every turn runs in its own process. The results must agree: the ELBO of one batch with the same noise to 1e-5
relative (float32) or 3e-3 (bfloat16), and the mean ELBO of each pass to --tolerance relative, because batches and
noise differ there.
"""

import side_by_side
from genlab import cli, configuration


def parser():
    result = side_by_side.parser(__doc__)
    result.add_argument("--images", type=cli.positive, default=12800, help="images in a pass (default: 12800)")
    result.add_argument("--batch-size", type=cli.positive, default=64, help="images in an update (default: 64)")
    result.add_argument("--tolerance", type=float, default=0.05, help="relative, for the mean ELBO (default: 0.05)")
    result.add_argument(
        "--precision", choices=("float32", "bfloat16"), nargs="+", default=["float32", "bfloat16"],
        help="number formats of ours, a comparison for each (default: both; the configuration has `auto`)",
    )  # fmt: skip
    return result


def main(options):
    side_by_side.limit_threads(options.threads)
    return [compare(options, precision) for precision in options.precision]


def compare(options, precision):
    import plain
    import torch

    model, _, images, floats = begin(options.threads, options.images, options.batch_size, precision)
    plain.agree_on_a_batch(
        model, *plain.binary_vae(model), plain.bernoulli, images[:64].float(), floats[:64], precision
    )

    def check(expected, found):
        torch.testing.assert_close(found, expected, rtol=options.tolerance, atol=0)

    return side_by_side.compare_apart(
        f"train the binary VAE, ours in {precision}", reference, ours,
        (options.threads, options.images, options.batch_size, precision), check,
        options.turns, 3, (options.images, "images"),
    )  # fmt: skip


def begin(threads, count, batch_size, precision):
    """(model, settings, images uint8 (count, 784), the same as floats (count, 1, 28, 28)), the same in every call."""
    side_by_side.limit_threads(threads)
    import plain
    from genlab.models import vae

    plain.set_up(threads)
    defaults = configuration.complete({"likelihood": {"models": {"vae": {}}}})["likelihood"]["models"]["vae"]
    plainly = {"batch_size": batch_size, "schedule": "constant", "warmup_steps": 0}
    # Blobs, because noise leaves nothing to learn and nothing to compare.
    images = plain.binary_blobs(count)
    model = vae.binary_vae("suggested", defaults["latents"])
    return model, defaults | plainly | {"precision": precision}, images, images.float().view(-1, 1, 28, 28)


def reference(threads, count, batch_size, precision):
    """(times, mean ELBO) of a pass of the plain loop, after a few updates."""
    model, settings, _, floats = begin(threads, count, batch_size, precision)
    import plain

    training = plain.VAETraining(*plain.binary_vae(model), plain.bernoulli, settings)
    training.epoch(floats[: 3 * batch_size])
    return side_by_side.timed(lambda: training.epoch(floats))


def ours(threads, count, batch_size, precision):
    """(times, mean ELBO) of a pass of the project's task, after a few updates."""
    from genlab.training import loop

    loop.set_up("cpu", threads, seed=1)
    model, settings, images, _ = begin(threads, count, batch_size, precision)
    import plain
    from genlab.models import vae_training

    task = vae_training.VAETraining(model, images[:64], settings)
    plain.epoch(task, images[: 3 * batch_size], batch_size, seed=1)
    return side_by_side.timed(lambda: plain.epoch(task, images, batch_size, seed=1)["train_elbo"])


if __name__ == "__main__":
    options = parser().parse_args()
    side_by_side.write(options, main(options))
