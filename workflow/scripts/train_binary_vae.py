"""Train a variational autoencoder on binary 28x28 images and keep its best weights.

Reads the file that prepare_binarized_mnist.py wrote. Trains on its training images, picks the
epoch with the highest ELBO on its validation images (the test images are never looked at), and
writes a folder with the weights (model.safetensors), one row for each epoch (history.csv) and what is
needed to trace them (training.json). Killed or interrupted, the same command resumes where it
stopped, and ends with the same weights as if nothing had happened.

example:
  python workflow/scripts/train_binary_vae.py --data resources/prepared/embedded/binarized_mnist.npz \\
      --output trained/vae --epochs 5
"""

from genlab import InputError, cli, configuration, consistency
from genlab.training import experiment


def parser():
    return experiment.parser(__doc__, "vae", "binary_vae")


def main(options):
    settings = configuration.settings(options, "binary_vae")
    if fault := consistency.binary_vae_fault(settings) or consistency.objective_fault(settings):
        raise InputError(f"--{fault}")

    import torch
    from genlab.data import amat, arrays
    from genlab.models import own_networks, vae, vae_training
    from genlab.training import loop

    prepared = arrays.load_binarized_mnist(options.data)
    device = loop.set_up(options.device, options.threads, options.seed)
    train, valid = (torch.from_numpy(amat.unpack_bits(split)).to(device) for split in (prepared.train, prepared.valid))
    size = {key: settings[key] for key in ("architecture", "latents", "prior", "posterior", "width")}
    model = vae.binary_vae(**size, dropout=settings["dropout"]).to(device)
    task = vae_training.VAETraining(model, valid, settings)

    def publish(path, facts):
        vae.save_vae(path, task.average.module, facts | size | {"networks": own_networks.noted(settings)})

    more = consistency.own_files(settings)
    summary = experiment.run(options, settings, task, train, prepared.about, publish, more)
    print(f"best epoch {summary['best_epoch']}: validation ELBO {summary['best']['valid_elbo']:.3f} nats")


if __name__ == "__main__":
    cli.run(main, parser())
