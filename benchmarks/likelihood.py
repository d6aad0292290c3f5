"""Log-likelihood by importance sampling, K = 200: plain batched loops against this project's, in images per second.

Two references use torch's own layers in the default layout: one decodes all latents of a batch of images at once,
the other goes image by image. Ours is `vae.evaluate_likelihood` with the configuration's chunk, which also gives the
ELBO, the effective sample size, Pareto k-hat and the curve over K. Every turn runs in its own process, to show the peak
memory. The results must agree: the estimates with the same latents to 1e-5 relative, and those of all images to four
standard errors of their difference.
"""

import side_by_side
from genlab import cli, configuration

SAMPLES = 200


def parser():
    result = side_by_side.parser(__doc__, turns=3)
    result.add_argument("--images", type=cli.positive, default=250, help="images in a turn (default: 250)")
    result.add_argument(
        "--batch", type=cli.positive, default=25, help="images in a batch of the first reference (default: 25)"
    )
    result.add_argument(
        "--samples", type=cli.positive, default=SAMPLES, help=f"K, the samples for each image (default: {SAMPLES})"
    )
    return result


def model_and_images(threads, count):
    """A binary VAE whose posterior differs from the prior, and images uint8 (count, 784)."""
    side_by_side.limit_threads(threads)
    import plain
    from genlab.models import vae

    plain.set_up(threads)
    model = vae.binary_vae("suggested", 100).eval()
    for parameter in model.encoder[-1].parameters():
        parameter.data *= 3
    return model, plain.binary_blobs(count)


def estimate(encoder, decoder, x, samples, noise=None):
    """log 1/K sum_k p(x, z_k) / q(z_k | x) of floats x (M, 1, 28, 28), straight from the formula: (M,)."""
    import math

    import torch
    import torch.nn.functional as F
    from torch.distributions import Normal

    mean, log_variance = (part[:, None] for part in encoder(x).chunk(2, dim=1))
    std = torch.exp(0.5 * log_variance)
    noise = torch.randn(len(x), samples, mean.shape[-1]) if noise is None else noise
    z = mean + std * noise
    logits = decoder(z.flatten(0, 1)).view(len(x), samples, -1)
    target = x.flatten(1)[:, None].expand_as(logits)
    log_p_x = -F.binary_cross_entropy_with_logits(logits, target, reduction="none").sum(-1)
    log_p_z, log_q = Normal(0, 1).log_prob(z).sum(-1), Normal(mean, std).log_prob(z).sum(-1)
    return torch.logsumexp(log_p_x + log_p_z - log_q, 1) - math.log(samples)


def reference(threads, count, samples, batch):
    """(times, estimates) of the plain loop over batches of images."""
    import torch

    model, images = model_and_images(threads, count)
    import plain

    encoder, decoder = plain.binary_vae(model)
    floats = images.float().view(-1, 1, 28, 28)
    with torch.no_grad():
        estimate(encoder, decoder, floats[:batch], samples)
        return side_by_side.timed(
            lambda: torch.cat([estimate(encoder, decoder, x, samples) for x in floats.split(batch)]).tolist()
        )


def ours(threads, count, samples, batch):
    """(times, estimates) of `vae.evaluate_likelihood`."""
    import torch
    from genlab.models import vae
    from genlab.training import loop

    loop.set_up("cpu", threads, seed=1)
    model, images = model_and_images(threads, count)
    chunk = configuration.complete({})["likelihood"]["evaluation"]["chunk"]
    generator = torch.Generator().manual_seed(3)
    vae.evaluate_likelihood(model, images[:5], samples, [1, samples], generator, chunk)
    times, found = side_by_side.timed(
        lambda: vae.evaluate_likelihood(model, images, samples, [1, samples], generator, chunk)
    )
    return times, found["log_likelihood"].tolist()


def main(options):
    agree_on_latents(options)
    return [
        side_by_side.compare_apart(
            f"log-likelihood, K = {options.samples}, reference: {name}", reference, ours,
            (options.threads, options.images, options.samples, batch), check, options.turns, 4,
            (options.images, "images"),
        )
        for name, batch in ((f"{options.batch} images at once", options.batch), ("image by image", 1))
    ]  # fmt: skip


def check(expected, found):
    """Raise AssertionError if two lists of estimates differ by more than chance explains."""
    import torch

    difference = torch.tensor(expected) - torch.tensor(found)
    error = difference.std() / len(difference) ** 0.5
    assert abs(difference.mean()) < 4 * error, f"{difference.mean()} +- {error} nats apart"


def agree_on_latents(options):
    """Raise AssertionError unless both ways give the same estimates for the same latents."""
    import torch
    from genlab.models import gaussian, vae

    model, images = model_and_images(options.threads, 3)
    import plain

    with torch.no_grad():
        noise, x = torch.randn(3, options.samples, 100), images.float()
        expected = estimate(*plain.binary_vae(model), x.view(-1, 1, 28, 28), options.samples, noise)
        mean, log_variance = model.posterior(x)
        z = gaussian.reparameterise(mean[:, None], log_variance[:, None], noise)
        torch.testing.assert_close(vae.importance_log_likelihood(model, x, z), expected, rtol=1e-5, atol=1e-3)


if __name__ == "__main__":
    options = parser().parse_args()
    side_by_side.write(options, main(options))
