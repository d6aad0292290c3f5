"""Reconstruct test images with a trained binary VAE, and sample new ones from its prior.

Writes an NPZ with `originals` (N, 28, 28) uint8 in {0, 1}, their `reconstructions` and `samples`
(M, 28, 28), float32 Bernoulli means in [0, 1], and `about`, JSON text on their origin. A
reconstruction decodes one draw from q(z|x), a sample one draw from the prior p(z).

example:
  python workflow/scripts/sample_binary_vae.py --weights vae.safetensors \\
      --data resources/prepared/embedded/binarized_mnist.npz --output images.npz
"""

from pathlib import Path

from genlab import cli, files, provenance
from genlab.models import own_networks


def parser():
    result = cli.parser(__doc__, seed=True, device=True)
    result.add_argument(
        "--weights", type=Path, required=True, metavar="SAFETENSORS", help="weights of train_binary_vae.py"
    )
    result.add_argument("--data", type=Path, required=True, metavar="NPZ", help="prepared data")
    result.add_argument("--output", type=Path, required=True, metavar="NPZ", help="images to write")
    result.add_argument(
        "--reconstructions", type=cli.positive, default=20, help="test images to reconstruct (default: 20)"
    )
    result.add_argument("--count", type=cli.positive, default=100, help="samples to draw (default: 100)")
    own_networks.add_options(result, "architecture")
    return result


def main(options):
    import numpy as np
    import torch
    from genlab.data import amat, arrays
    from genlab.models import gaussian, vae
    from genlab.training import loop

    device = loop.set_up(options.device, options.threads, options.seed)
    model, about = vae.load_binary_vae(options.weights, device, options.architecture)
    prepared = arrays.load_binarized_mnist(options.data)
    arrays.check_trained_on(prepared, about, options.weights, options.data)
    chosen = np.random.default_rng(options.seed).permutation(len(prepared.test))[: options.reconstructions]
    x = torch.from_numpy(amat.unpack_bits(prepared.test[chosen])).to(device).float()
    with torch.no_grad():
        posterior = model.posterior(x)
        z, _ = model.warp(gaussian.reparameterise(*posterior, torch.randn_like(posterior[0])), posterior)
        reconstructions = torch.sigmoid(model.decode(z))
        noise = torch.randn(options.count, model.latents, device=device)
        samples = torch.sigmoid(model.decode(model.prior.inverse(noise, model.posterior)))
    about = {
        "data": prepared.about,
        "model": about["model"],
        "seed": about["seed"],
        "provenance": provenance.record(options, trained_with=about, model_checksum=files.checksum(options.weights)),
    }
    with files.atomic(options.output) as temporary:
        arrays.write(
            temporary,
            about,
            originals=x.byte().view(-1, 28, 28).cpu().numpy(),
            reconstructions=reconstructions.view(-1, 28, 28).cpu().numpy(),
            samples=samples.view(-1, 28, 28).cpu().numpy(),
        )


if __name__ == "__main__":
    cli.run(main, parser())
