"""Reconstruct test images with a trained image VAE: what its latents keep of a picture.

A reconstruction is the decoder's mean g(z) for one draw of z from q(z|x), not the mean over draws.
Writes an NPZ with `originals` and `reconstructions`, uint8 (N, 3, 32, 32), of a random subset of
the test images, and `about`, JSON text that traces them, with the root mean square error (rmse)
over all their pixels in grey levels of 8 bits. A GAN has no encoder and is refused.

example:
  python workflow/scripts/reconstruct_images.py --weights vae.safetensors \\
      --data resources/prepared/embedded/svhn.npz --output reconstructions.npz
"""

from pathlib import Path

from genlab import InputError, cli, files, provenance


def parser():
    result = cli.parser(__doc__, seed=True, device=True)
    result.add_argument("--weights", type=Path, required=True, metavar="SAFETENSORS", help="weights of train_vae.py")
    result.add_argument("--data", type=Path, required=True, metavar="NPZ", help="prepared data")
    result.add_argument("--output", type=Path, required=True, metavar="NPZ", help="images to write")
    result.add_argument("--count", type=cli.positive, default=20, help="test images to reconstruct (default: 20)")
    return result


def main(options):
    import numpy as np
    import torch
    from genlab.data import arrays
    from genlab.models import image_model
    from genlab.training import loop

    device = loop.set_up(options.device, options.threads, options.seed)
    parts, trained = image_model.load_model(options.weights, device)
    if "encoder" not in parts:
        raise InputError(
            f"{options.weights}: a {trained['kind']} has no encoder to reconstruct with; give weights of train_vae.py"
        )
    prepared = arrays.load_svhn(options.data)
    arrays.check_trained_on(prepared, trained, options.weights, options.data)
    chosen = np.random.default_rng(options.seed).permutation(len(prepared.test_images))[: options.count]
    originals = torch.from_numpy(prepared.test_images[chosen])
    normal = torch.Generator().manual_seed(options.seed)
    reconstructions = image_model.reconstruct(parts, originals, normal)
    rmse = (originals.double() - reconstructions).square().mean().sqrt().item()
    about = {name: trained[name] for name in ("data", "model", "kind", "seed")} | {
        "rmse": rmse,
        "provenance": provenance.record(options, trained_with=trained, model_checksum=files.checksum(options.weights)),
    }
    with files.atomic(options.output) as temporary:
        arrays.write(temporary, about, originals=originals.numpy(), reconstructions=reconstructions.numpy())
    print(f"root mean square error {rmse:.2f} grey levels over {len(originals)} test images")


if __name__ == "__main__":
    cli.run(main, parser())
