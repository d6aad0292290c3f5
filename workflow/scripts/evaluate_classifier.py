"""Measure how well the feature classifier tells the classes apart: accuracy and confusion matrices.

Reads the file that prepare_svhn.py or prepare_images.py wrote and weights of the classifier. Writes one JSON with, for
the validation and for the test images: accuracy with its 95% interval (Wilson), accuracy of each
class, and the confusion matrix, rows the true class, columns the classifier's.

example:
  python workflow/scripts/evaluate_classifier.py --data resources/prepared/embedded/svhn.npz \\
      --classifier classifier.safetensors --output accuracy.json
"""

from pathlib import Path

from genlab import cli, files, provenance


def parser():
    result = cli.parser(__doc__, device=True)
    result.add_argument("--data", type=Path, required=True, metavar="NPZ", help="prepared data")
    result.add_argument("--classifier", type=Path, required=True, metavar="WEIGHTS", help="weights of the classifier")
    result.add_argument("--output", type=Path, required=True, metavar="JSON", help="numbers to write")
    return result


def main(options):
    from genlab.data import arrays
    from genlab.models import classifier
    from genlab.training import loop

    prepared = arrays.load_images(options.data)
    device = loop.set_up(options.device, options.threads, seed=0)  # nothing here is random
    network, about = classifier.load_classifier(options.classifier, device)
    classifier.check_classes(network, prepared.classes, options.classifier, options.data)
    splits = {
        "valid": measure(network, prepared.valid_images, prepared.valid_labels),
        "test": measure(network, prepared.test_images, prepared.test_labels),
    }
    files.write_json(
        options.output,
        {
            "data": prepared.about,
            "classifier": about,
            "splits": splits,
            "provenance": provenance.record(options, data_checksum=files.checksum(options.data), device=device.type),
        },
    )
    for split, numbers in splits.items():
        low, high = numbers["interval"]
        print(f"{split}: accuracy {numbers['accuracy']:.2%} ({low:.2%} to {high:.2%}) of {numbers['images']} images")


def measure(network, images, labels):
    """The numbers of one split: images uint8 (N, 3, 32, 32), labels whole numbers (N,)."""
    import numpy as np
    from genlab.models import classifier

    _, logits = classifier.classify(network, images)
    confusion = classifier.confusion_matrix(labels, logits.argmax(1), logits.shape[1])
    correct = int(np.trace(confusion))
    return {
        "images": len(labels),
        "correct": correct,
        "accuracy": correct / len(labels),
        "interval": classifier.wilson_interval(correct, len(labels)),
        # A class that no image shows has no accuracy.
        "class_accuracy": [int(row[i]) / int(row.sum()) if row.any() else None for i, row in enumerate(confusion)],
        "confusion": confusion.tolist(),
    }


if __name__ == "__main__":
    cli.run(main, parser())
