"""Importance sampling of a trained binary VAE: which proposal gives the tightest bound in the same seconds.

For random test images, log p(x) is estimated with latents from q(z|x), and with latents from a Gaussian that gradient
steps fit to each image, with several numbers of steps and samples. Every estimate is a lower bound in expectation, so
the higher one is the better. Prints a Markdown table.

example:
  python benchmarks/proposals.py --weights vae.safetensors --data resources/prepared/official/binarized_mnist.npz
"""

import time
from pathlib import Path

import side_by_side
from genlab import cli

SETTINGS = [  # steps of the fit, latents for each step, K
    (0, 0, 200), (0, 0, 1000), (0, 0, 5000), (10, 1, 150), (25, 1, 100), (25, 4, 200), (100, 4, 500), (100, 10, 1000),
]  # fmt: skip
AT_ONCE = 25  # images


def parser():
    result = cli.parser(__doc__)
    result.add_argument("--weights", type=Path, required=True, metavar="SAFETENSORS", help="of train_binary_vae.py")
    result.add_argument("--data", type=Path, required=True, metavar="NPZ", help="prepared data")
    result.add_argument("--images", type=cli.positive, default=100, help="test images (default: 100)")
    result.add_argument("--threads", type=cli.positive, default=1, help="CPU threads (default: 1)")
    return result


def main(options):
    side_by_side.limit_threads(options.threads)
    import numpy as np
    import torch
    from genlab.data import amat, arrays
    from genlab.measures import intervals
    from genlab.models import gaussian, importance, proposals, vae
    from genlab.training import loop

    device = loop.set_up("cpu", options.threads, seed=1)
    model, _ = vae.load_binary_vae(options.weights, device)
    test = arrays.load_binarized_mnist(options.data).test
    rows = np.random.default_rng(1).permutation(len(test))[: options.images]
    parts = torch.from_numpy(amat.unpack_bits(test[rows])).float().split(AT_ONCE)

    def estimate(steps, samples, K):
        """Estimates of all images, float64 (N,), and seconds."""
        generator, start, found = gaussian.generator([1], device), time.perf_counter(), []
        for x in parts:
            with torch.no_grad():
                proposal = model.posterior(x)
            if steps:
                proposal = proposals.refine_posterior(model, x, generator, steps, samples)
            weights = proposals.importance_weights(model, x, proposal, K, generator, vae.CHUNK["cpu"])
            found.append(importance.log_mean_exp(weights))
        return torch.cat(found).numpy(), time.perf_counter() - start

    estimate(0, 0, 20)  # a first call is slower
    first = None
    print("| steps of the fit, latents a step | K | seconds for an image | above the first row, nats |")
    print("| --- | ---: | ---: | ---: |")
    for steps, samples, K in SETTINGS:
        found, seconds = estimate(steps, samples, K)
        first = found if first is None else first
        gain = intervals.mean_and_error_of_images(found - first)
        fit = f"{steps}, {samples}" if steps else r"none: q(z\|x) as it is"  # a bare | would end the cell
        print(
            f"| {fit} | {K} | {seconds / len(rows):.3f} | {gain['mean']:.2f} ± {gain['standard_error']:.2f} |",
            flush=True,
        )


if __name__ == "__main__":
    cli.run(main, parser())
