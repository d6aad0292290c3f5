"""Train a Wasserstein GAN with gradient penalty on colour images and keep its averaged generator.

Reads the file that prepare_svhn.py or prepare_images.py wrote. The generator is the one that train_vae.py trains as a
decoder. The validation images and the feature classifier only watch: the critic's estimate on images it was not
trained on, and the Frechet distance of few samples (the test images are never looked at). The last epoch is kept, or
with --keep best the measured one of the lowest distance. Writes a folder with the weights of generator and critic
(model.safetensors), one row for each epoch (history.csv), samples of the same latents after several epochs
(frames.npz), and what is needed to trace them (training.json). Killed or interrupted, the same command resumes where
it stopped.

example:
  python workflow/scripts/train_gan.py --data resources/prepared/embedded/svhn.npz \\
      --classifier results/classifier/trained.safetensors --output trained/gan --epochs 5
"""

from pathlib import Path

from genlab import InputError, cli, configuration, consistency, files
from genlab.training import experiment


def parser():
    result = experiment.parser(__doc__, "gan", "generator", "image_gan")
    result.add_argument("--classifier", type=Path, required=True, metavar="WEIGHTS", help="the feature classifier")
    return result


def main(options):
    size, settings = (configuration.settings(options, name) for name in ("generator", "image_gan"))

    import torch
    from genlab.data import arrays
    from genlab.models import classifier, image_model, own_networks, wgan
    from genlab.training import loop

    prepared = arrays.load_images(options.data)
    if fault := consistency.critic_fault(settings, len(prepared.train_images)):
        raise InputError(f"--critic-steps: {fault}")
    if fault := consistency.group_fault(settings):
        raise InputError(f"--critic-group: {fault}")
    device = loop.set_up(options.device, options.threads, options.seed)
    features, _ = classifier.load_classifier(options.classifier, device)
    train, valid = (torch.from_numpy(split).to(device) for split in (prepared.train_images, prepared.valid_images))
    critic = image_model.critic(settings["critic_width"], settings["critic"], settings["critic_group"]).to(device)
    generator = image_model.generator(size, settings["generator"]).to(device)
    task = wgan.WGANTraining(generator, critic, valid, features, settings)

    def publish(path, facts):
        parts = {"generator": task.average.module, "critic": critic}
        image_model.save_model(
            path, parts, facts | {"kind": "gan", "generator": size, "networks": own_networks.noted(settings)}
        )
        with files.atomic(options.output / "frames.npz") as temporary:
            images, epochs = (tensor.cpu().numpy() for tensor in (task.frames.images, task.frames.epochs))
            arrays.write(temporary, facts, frames=images, epochs=epochs)

    summary = experiment.run(
        options,
        size | settings,
        task,
        train,
        prepared.about,
        publish,
        {"classifier": options.classifier, **consistency.own_files(settings)},
    )
    print(
        f"epoch {summary['best_epoch']}: Frechet distance of {settings['monitor_samples']} samples "
        f"to the validation images {summary['best']['valid_fid']:.1f}"
    )


if __name__ == "__main__":
    cli.run(main, parser())
