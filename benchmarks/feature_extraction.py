"""Features of a directory of PNG images: a loop over torchvision's ImageFolder, batch 32, against this project's.

The reference: ImageFolder with ToTensor and Normalize, DataLoader, the plain layers in the default layout.
Ours: what score_fid.py does with a sample directory. The features must agree to 1e-4.
"""

import tempfile
from pathlib import Path

import side_by_side
from genlab import cli


def parser():
    result = side_by_side.parser(__doc__)
    result.add_argument("--images", type=cli.positive, default=1000, help="PNG files (default: 1000)")
    return result


def write_images(directory, count):
    """Write `count` smooth images with noise as PNG files; returns them, uint8 (count, 3, 32, 32)."""
    import plain
    import torch
    from genlab.data import images

    noise = torch.randint(-8, 9, (count, 3, 32, 32))
    pixels = (plain.coloured_blobs(count) + noise).clamp(0, 255).to(torch.uint8)
    images.write_directory(directory, pixels)
    return pixels


def reference(threads, directory):
    """(times, features) of the plain loop."""
    side_by_side.limit_threads(threads)
    import plain
    import torch
    from genlab.models import networks
    from torchvision import datasets, transforms

    plain.set_up(threads)
    printed = plain.feature_classifier(networks.FeatureClassifier())

    def features():
        to_range = transforms.Normalize((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
        folder = datasets.ImageFolder(directory, transforms.Compose([transforms.ToTensor(), to_range]))
        with torch.no_grad():
            loader = torch.utils.data.DataLoader(folder, batch_size=32)
            return torch.cat([printed(x)[:, :, 0, 0] for x, _ in loader]).numpy()

    features()
    return side_by_side.timed(features)


def ours(threads, directory):
    """(times, features) as in score_fid.py."""
    side_by_side.limit_threads(threads)
    import numpy as np
    from genlab.data import images
    from genlab.models import classifier, networks
    from genlab.training import loop

    loop.set_up("cpu", threads, seed=1)
    network = networks.FeatureClassifier().eval().requires_grad_(False)

    def features():
        _, batches = images.read_directory(directory)
        return np.concatenate([found for found, _ in classifier.feature_batches(network, batches)])

    features()
    return side_by_side.timed(features)


def main(options):
    side_by_side.limit_threads(options.threads)
    import numpy as np
    import plain

    plain.set_up(options.threads)

    def check(expected, found):
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)

    with tempfile.TemporaryDirectory() as temporary:
        directory = Path(temporary) / "images"
        write_images(directory, options.images)
        return [
            side_by_side.compare_apart(
                f"features of {options.images} PNG files", reference, ours, (options.threads, directory), check,
                options.turns, 3, (options.images, "images"),
            )
        ]  # fmt: skip


if __name__ == "__main__":
    options = parser().parse_args()
    side_by_side.write(options, main(options))
