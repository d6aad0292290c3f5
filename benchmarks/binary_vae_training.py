"""Train the suggested binary VAE, batch 64: the plain loop against this project's, in images per second.

The reference: DataLoader, torch's own layers, float32, default layout, torch.optim.Adam. Ours: the task of
train_binary_vae.py, stepped as the training loop steps it, its moving average of the weights included. Both start
from the same weights. Held together: the ELBO of one batch with the same noise, to 1e-5 relative (float32) or 3e-3
(bfloat16), and the mean ELBO of each pass, to --tolerance relative: batches and noise of the passes differ.
"""

import side_by_side
from genlab import cli, configuration


def parser():
    result = side_by_side.parser(__doc__)
    result.add_argument("--images", type=cli.positive, default=6400, help="images of a pass (default: 6400)")
    result.add_argument("--batch-size", type=cli.positive, default=64, help="images of an update (default: 64)")
    result.add_argument("--tolerance", type=float, default=0.05, help="of the mean ELBO (default: 0.05)")
    result.add_argument(
        "--precision", choices=("float32", "bfloat16"), nargs="+", default=["float32", "bfloat16"],
        help="of ours, one comparison each; float32 is the configuration's (default: both)",
    )  # fmt: skip
    return result


def main(options):
    side_by_side.limit_threads(options.threads)
    return [compare(options, precision) for precision in options.precision]


def compare(options, precision):
    import plain
    import torch
    from genlab import training, vae

    training.set_up("cpu", options.threads, seed=1)
    defaults = configuration.complete({"likelihood": {"models": {"vae": {}}}})["likelihood"]["models"]["vae"]
    plainly = {"batch_size": options.batch_size, "schedule": "constant", "warmup_steps": 0}
    settings = defaults | plainly | {"precision": precision}
    # Blobs, for on noise there is nothing to learn and nothing to compare.
    coarse = torch.rand(options.images, 1, 4, 4)
    images = torch.nn.functional.interpolate(coarse, size=28, mode="bilinear").flatten(1).gt(0.5).byte()
    floats = images.float().view(-1, 1, 28, 28)

    model = vae.binary_vae("suggested", settings["latents"])
    encoder, decoder = plain.binary_vae(model)
    plain.agree_on_a_batch(model, encoder, decoder, plain.bernoulli, images[:64].float(), floats[:64], precision)
    reference = plain.VAETraining(encoder, decoder, plain.bernoulli, settings)
    task = vae.VAETraining(model, images[:64], settings)

    def check(expected, found):
        torch.testing.assert_close(found, expected, rtol=options.tolerance, atol=0)

    def ours(images):
        return plain.epoch(task, images, options.batch_size, seed=1)["train_elbo"]

    warm_up = 3 * options.batch_size
    reference.epoch(floats[:warm_up])
    ours(images[:warm_up])
    return side_by_side.compare(
        f"train the binary VAE, ours in {precision}", lambda: reference.epoch(floats), lambda: ours(images), check,
        options.turns, 3, (options.images, "images"),
    )  # fmt: skip


if __name__ == "__main__":
    options = parser().parse_args()
    side_by_side.write(options, main(options))
