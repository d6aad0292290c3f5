"""Train a variational autoencoder on colour images and keep its best weights.

Reads the file that prepare_svhn.py or prepare_images.py wrote; x are its pixels in [-1, 1], g the
generator that the GAN of train_gan.py has too. --likelihood chooses p(x|z): N(x; g(z), I),
N(x; g(z), v I) with the variance v that fits best, or a discretised mixture of logistics, for which the
generator's last layer has more channels.

Trains on the training images, picks the epoch with the highest ELBO on the validation images (the test
images are never looked at), and writes a folder with the weights (model.safetensors), one row for each
epoch (history.csv) and what is needed to trace them (training.json). The ELBO is in nats per image, and in
bits per dimension of 8-bit pixels. Killed or interrupted, the same command resumes where it stopped.

example:
  python workflow/scripts/train_vae.py --data resources/prepared/embedded/svhn.npz \\
      --output trained/vae --epochs 5
"""

from genlab import InputError, cli, configuration, consistency
from genlab.training import experiment


def parser():
    return experiment.parser(__doc__, "vae", "generator", "image_vae")


def main(options):
    size, settings = (configuration.settings(options, name) for name in ("generator", "image_vae"))
    if fault := consistency.objective_fault(settings):
        raise InputError(f"--{fault}")

    import torch
    from genlab.data import arrays, images
    from genlab.models import image_model, likelihoods, own_networks, vae, vae_training
    from genlab.training import loop

    prepared = arrays.load_images(options.data)
    device = loop.set_up(options.device, options.threads, options.seed)
    train, valid = (
        torch.from_numpy(split).flatten(1).to(device) for split in (prepared.train_images, prepared.valid_images)
    )
    outputs = likelihoods.OF_IMAGES[settings["likelihood"]].outputs
    if settings["generator"] and outputs != 3:
        raise InputError(f"--likelihood {settings['likelihood']}: needs more outputs than your own generator's images")
    parts = image_model.generator(size, settings["generator"], outputs), image_model.encoder(size, settings["encoder"])
    model = vae.image_vae(*parts, settings["likelihood"], settings["prior"]).to(device)
    task = vae_training.VAETraining(model, valid, settings, images.to_model)

    final = {}

    def publish(path, facts):
        final.update(task.finish(train, options.seed))
        best = task.average.module
        parts = {"generator": best.decoder, "encoder": best.encoder, "likelihood": best.log_prob, "prior": best.prior}
        image_model.save_model(
            path, parts, facts | {"kind": "vae", "generator": size, "networks": own_networks.noted(settings)}
        )

    more = consistency.own_files(settings)
    summary = experiment.run(options, size | settings, task, train, prepared.about, publish, more)
    best = summary["best"] | final
    print(
        f"best epoch {summary['best_epoch']}: validation ELBO {best['valid_elbo']:.1f} nats, "
        f"{best['valid_bits_per_dimension']:.4f} bits per dimension"
    )


if __name__ == "__main__":
    cli.run(main, parser())
