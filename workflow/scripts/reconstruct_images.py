"""Reconstruct test images with a trained image VAE, and measure its ELBO: what its latents keep of a picture.

A reconstruction is the decoder's mean g(z) for one draw of z from q(z|x), not the mean over draws.
Writes an NPZ with `originals` and `reconstructions`, uint8 (N, 3, 32, 32), of a random subset of
the test images, and `about`, JSON text that traces them, with the root mean square error (rmse)
over all their pixels in grey levels of 8 bits.

Writes also the JSON file --elbo: the ELBO of all validation and test images, with one draw of z each, in nats
and in bits per dimension, with the KL term and the standard error over images. A GAN has no encoder and is
refused.

example:
  python workflow/scripts/reconstruct_images.py --weights vae.safetensors \\
      --data resources/prepared/embedded/svhn.npz --output reconstructions.npz --elbo elbo.json
"""

from pathlib import Path

from genlab import InputError, cli, files, provenance
from genlab.models import own_networks


def parser():
    result = cli.parser(__doc__, seed=True, device=True)
    result.add_argument("--weights", type=Path, required=True, metavar="SAFETENSORS", help="weights of train_vae.py")
    result.add_argument("--data", type=Path, required=True, metavar="NPZ", help="prepared data")
    result.add_argument("--output", type=Path, required=True, metavar="NPZ", help="images to write")
    result.add_argument("--elbo", type=Path, required=True, metavar="JSON", help="ELBO to write")
    result.add_argument("--count", type=cli.positive, default=20, help="test images to reconstruct (default: 20)")
    own_networks.add_options(result, "generator", "encoder")
    return result


def main(options):
    import numpy as np
    import torch
    from genlab.data import arrays, images
    from genlab.measures import intervals
    from genlab.models import image_model, vae
    from genlab.training import loop

    device = loop.set_up(options.device, options.threads, options.seed)
    parts, trained = image_model.load_model(options.weights, device, own_networks.given(options))
    if "encoder" not in parts:
        raise InputError(
            f"{options.weights}: a {trained['kind']} has no encoder to reconstruct with; give weights of train_vae.py"
        )
    prepared = arrays.load_images(options.data)
    arrays.check_trained_on(prepared, trained, options.weights, options.data)
    chosen = np.random.default_rng(options.seed).permutation(len(prepared.test_images))[: options.count]
    originals = torch.from_numpy(prepared.test_images[chosen])
    normal = torch.Generator().manual_seed(options.seed)
    reconstructions = vae.reconstruct(parts, originals, normal)
    rmse = (originals.double() - reconstructions).square().mean().sqrt().item()
    about = {name: trained[name] for name in ("data", "model", "kind", "seed")}
    about["provenance"] = provenance.record(
        options, trained_with=trained, model_checksum=files.checksum(options.weights)
    )

    model, splits, normal = vae.of_parts(parts), {}, torch.Generator().manual_seed(options.seed)
    for split, pictures in (("valid", prepared.valid_images), ("test", prepared.test_images)):
        x = torch.from_numpy(pictures).flatten(1).to(device)
        reconstruction, kl = vae.evaluate_elbo(model, x, normal, images.to_model).cpu().numpy()
        elbo = intervals.mean_and_error_of_images(reconstruction - kl)
        splits[split] = {
            "images": len(x),
            "elbo": elbo["mean"],
            "standard_error": elbo["standard_error"],
            "kl": float(kl.mean()),
            "bits": model.log_prob.bits(elbo["mean"], model.dimensions),
        }
    summary = {
        "likelihood": model.log_prob.name,
        "standard_deviation": model.log_prob.standard_deviation,
        "splits": splits,
    }
    files.write_json(options.elbo, about | summary | {"rmse": rmse})
    about["rmse"] = rmse
    with files.atomic(options.output) as temporary:
        arrays.write(temporary, about, originals=originals.numpy(), reconstructions=reconstructions.numpy())
    print(f"root mean square error {rmse:.2f} grey levels over {len(originals)} test images")


if __name__ == "__main__":
    cli.run(main, parser())
