"""Sample images from a trained image model (VAE or GAN) and write them as PNG files.

The latents are drawn from p(z), N(0, I) or a learned prior; none is selected. Images of a VAE are the means of
p(x|z), or with --noise draws from it. Writes DIR/samples/0000.png, 0001.png, ...:
lossless 32 x 32 RGB, in the layout that score_fid.py reads. The directory appears as a whole and replaces
an earlier one.

example:
  python workflow/scripts/sample.py --weights gan.safetensors --output results/samples/gan --count 1000
"""

from pathlib import Path

from genlab import cli, log
from genlab.models import own_networks


def parser():
    result = cli.parser(__doc__, seed=True, device=True)
    result.add_argument(
        "--weights", type=Path, required=True, metavar="SAFETENSORS", help="weights of train_vae.py or train_gan.py"
    )
    result.add_argument("--output", type=Path, required=True, metavar="DIR", help="directory to write")
    result.add_argument("--count", type=cli.positive, default=1000, help="images to sample (default: 1000)")
    result.add_argument(
        "--noise", action="store_true", help="draw the images of a VAE from p(x|z) instead of taking its mean"
    )
    own_networks.add_options(result, "generator", "encoder")
    return result


def main(options):
    import torch
    from genlab.data import images
    from genlab.models import image_model
    from genlab.training import loop

    device = loop.set_up(options.device, options.threads, options.seed)
    parts, about = image_model.load_model(options.weights, device, own_networks.given(options))
    drawn = torch.cat(list(image_model.sample(parts["generator"], options.count, options.seed, options.noise)))
    images.write_directory(options.output, drawn)
    log.info("%s (seed %d), latents of seed %d, device %s", about["model"], about["seed"], options.seed, device)
    print(f"{options.count} images of {about['model']} in {options.output}")


if __name__ == "__main__":
    cli.run(main, parser())
