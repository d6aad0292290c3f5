"""Train the classifier of colour images whose features the Frechet distance is taken on.

Reads the file that prepare_svhn.py or prepare_images.py wrote. Trains on its training images and keeps the epoch with
the highest accuracy on its validation images (the test images are never looked at). Writes a
folder with the weights (trained.safetensors), one row for each epoch (history.csv) and what is needed to
trace them (training.json).
Killed or interrupted, the same command resumes where it stopped, and ends with the same weights
as if nothing had happened.

example:
  python workflow/scripts/train_classifier.py --data resources/prepared/embedded/svhn.npz \\
      --output trained/classifier
"""

from genlab import cli, configuration
from genlab.training import experiment

WEIGHTS = "trained.safetensors"


def parser():
    return experiment.parser(__doc__, "classifier", "classifier", weights=WEIGHTS)


def main(options):
    settings = configuration.settings(options, "classifier")

    import torch
    from genlab.data import arrays
    from genlab.models import classifier, networks
    from genlab.training import checkpoint, loop

    prepared = arrays.load_images(options.data)
    device = loop.set_up(options.device, options.threads, options.seed)
    train, valid = (
        (torch.from_numpy(images).to(device), torch.from_numpy(labels.astype("int64")).to(device))
        for images, labels in (
            (prepared.train_images, prepared.train_labels),
            (prepared.valid_images, prepared.valid_labels),
        )
    )
    model = networks.FeatureClassifier(len(prepared.classes)).to(device)
    task = classifier.ClassifierTraining(model, train, valid, settings)

    def publish(path, facts):
        checkpoint.save_tensors(path, task.average.module.state_dict(), facts | {"source": "trained"})

    indices = torch.arange(len(train[0]), device=device)
    summary = experiment.run(options, settings, task, indices, prepared.about, publish, weights=WEIGHTS)
    print(f"best epoch {summary['best_epoch']}: validation accuracy {summary['best']['valid_accuracy']:.2%}")


if __name__ == "__main__":
    cli.run(main, parser())
