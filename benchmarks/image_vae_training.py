"""Train the VAE of SVHN-sized images: the plain loop against this project's, in images per second.

The reference: DataLoader, the same layers in the default layout, float32, torch.optim.Adam. Ours: the task of
train_vae.py, stepped as in the training loop, with its moving average of the weights. Both start from the same
weights; every turn runs in its own process. The results must agree: the ELBO of one batch with the same noise to 1e-5
relative (float32) or 3e-3 (bfloat16), and the mean ELBO of each pass to --tolerance relative, because batches and
noise differ there.
"""

import side_by_side
from genlab import cli, configuration


def parser():
    result = side_by_side.parser(__doc__)
    result.add_argument("--images", type=cli.positive, default=3200, help="images in a pass (default: 3200)")
    result.add_argument("--batch-size", type=cli.positive, default=64, help="images in an update (default: 64)")
    result.add_argument(
        "--width", type=cli.positive, default=32, help="width of both networks (default: 32, as in config/full.yaml)"
    )
    result.add_argument("--tolerance", type=float, default=0.05, help="relative, for the mean ELBO (default: 0.05)")
    result.add_argument(
        "--precision", choices=("float32", "bfloat16"), nargs="+", default=["bfloat16"],
        help="number formats of ours, a comparison for each (default: bfloat16, `auto` on processors that support it)",
    )  # fmt: skip
    return result


def main(options):
    side_by_side.limit_threads(options.threads)
    return [compare(options, precision) for precision in options.precision]


def compare(options, precision):
    import plain
    import torch

    arguments = (options.threads, options.images, options.batch_size, options.width, precision)
    model, parts, _, _, floats = begin(*arguments)
    plain.agree_on_a_batch(model, *parts, plain.gaussian, floats[:64].flatten(1), floats[:64], precision)

    def check(expected, found):
        torch.testing.assert_close(found, expected, rtol=options.tolerance, atol=0)

    return side_by_side.compare_apart(
        f"train the VAE of images, width {options.width}, ours in {precision}", reference, ours, arguments, check,
        options.turns, 2.5, (options.images, "images"),
    )  # fmt: skip


def begin(threads, count, batch_size, width, precision):
    """(model, its parts in the default layout, settings, images uint8, the same as floats), the same in every call."""
    side_by_side.limit_threads(threads)
    import copy

    import plain
    import torch
    from genlab.data import images
    from genlab.models import image_model, vae

    plain.set_up(threads)
    defaults = configuration.complete({"images": {"models": {"vae": {"kind": "vae"}}}})["images"]["models"]["vae"]
    plainly = {"batch_size": batch_size, "schedule": "constant", "warmup_steps": 0}
    size = {"latents": 100, "width": width}
    model = vae.image_vae(image_model.generator(size), image_model.encoder(size))
    parts = [copy.deepcopy(part).to(memory_format=torch.contiguous_format) for part in (model.encoder, model.decoder)]
    pixels = plain.coloured_blobs(count)
    return model, parts, defaults | plainly | {"precision": precision}, pixels, images.to_model(pixels)


def reference(threads, count, batch_size, width, precision):
    """(times, mean ELBO up to its constant) of a pass of the plain loop, after a few updates."""
    _, parts, settings, _, floats = begin(threads, count, batch_size, width, precision)
    import plain

    training = plain.VAETraining(*parts, plain.gaussian, settings)
    training.epoch(floats[: 2 * batch_size])
    return side_by_side.timed(lambda: training.epoch(floats))


def ours(threads, count, batch_size, width, precision):
    """(times, mean ELBO up to its constant) of a pass of the project's task, after a few updates."""
    from genlab.training import loop

    loop.set_up("cpu", threads, seed=1)
    model, _, settings, pixels, _ = begin(threads, count, batch_size, width, precision)
    import plain
    from genlab.data import images
    from genlab.models import likelihoods, vae_training

    pixels = pixels.flatten(1)
    task = vae_training.VAETraining(model, pixels[:64], settings, images.to_model)
    plain.epoch(task, pixels[: 2 * batch_size], batch_size, seed=1)
    times, sums = side_by_side.timed(lambda: plain.epoch(task, pixels, batch_size, seed=1))
    return times, sums["train_elbo"] + 0.5 * pixels.shape[1] * likelihoods.LOG_2PI


if __name__ == "__main__":
    options = parser().parse_args()
    side_by_side.write(options, main(options))
