"""Train the VAE of images of SVHN's shape: the plain loop against this project's, in images per second.

The reference: DataLoader, the same layers in the default layout, float32, torch.optim.Adam. Ours: the task of
train_vae.py, stepped as the training loop steps it, its moving average of the weights included. Both start from the
same weights. Held together: the ELBO of one batch with the same noise, to 1e-5 relative (float32) or 3e-3 (bfloat16),
and the mean ELBO of each pass, to --tolerance relative: batches and noise of the passes differ.
"""

import side_by_side
from genlab import cli, configuration


def parser():
    result = side_by_side.parser(__doc__)
    result.add_argument("--images", type=cli.positive, default=2560, help="images of a pass (default: 2560)")
    result.add_argument("--batch-size", type=cli.positive, default=64, help="images of an update (default: 64)")
    result.add_argument("--width", type=cli.positive, default=32, help="of both networks (default: 32, as full)")
    result.add_argument("--tolerance", type=float, default=0.05, help="of the mean ELBO (default: 0.05)")
    result.add_argument(
        "--precision", choices=("float32", "bfloat16"), nargs="+", default=["bfloat16"],
        help="of ours, one comparison each (default: bfloat16, what `auto` takes where the processor has it)",
    )  # fmt: skip
    return result


def main(options):
    side_by_side.limit_threads(options.threads)
    return [compare(options, precision) for precision in options.precision]


def compare(options, precision):
    import copy

    import plain
    import torch
    from genlab import images, networks, training, vae

    training.set_up("cpu", options.threads, seed=1)
    defaults = configuration.complete({"images": {"models": {"vae": {"kind": "vae"}}}})["images"]["models"]["vae"]
    plainly = {"batch_size": options.batch_size, "schedule": "constant", "warmup_steps": 0}
    settings = defaults | plainly | {"precision": precision}
    pixels = plain.coloured_blobs(options.images)
    floats = images.to_model(pixels)

    model = vae.image_vae(networks.Generator(100, options.width))
    encoder, decoder = (
        copy.deepcopy(part).to(memory_format=torch.contiguous_format) for part in (model.encoder, model.decoder)
    )
    plain.agree_on_a_batch(model, encoder, decoder, plain.gaussian, floats[:64].flatten(1), floats[:64], precision)
    reference = plain.VAETraining(encoder, decoder, plain.gaussian, settings)
    task = vae.VAETraining(model, pixels[:64].flatten(1), settings, images.to_model)

    def ours(pixels):
        elbo = plain.epoch(task, pixels, options.batch_size, seed=1)["train_elbo"]
        return elbo + 0.5 * pixels.shape[1] * vae.LOG_2PI

    def check(expected, found):
        torch.testing.assert_close(found, expected, rtol=options.tolerance, atol=0)

    warm_up = 2 * options.batch_size
    reference.epoch(floats[:warm_up])
    ours(pixels[:warm_up].flatten(1))
    return side_by_side.compare(
        f"train the VAE of images, width {options.width}, ours in {precision}",
        lambda: reference.epoch(floats), lambda: ours(pixels.flatten(1)), check,
        options.turns, 2.5, (options.images, "images"),
    )  # fmt: skip


if __name__ == "__main__":
    options = parser().parse_args()
    side_by_side.write(options, main(options))
