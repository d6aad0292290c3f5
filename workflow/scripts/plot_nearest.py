"""Draw samples above their nearest training images by their features, and the same for test images.

Reads what evaluate_features.py writes. A sample that copies a training image would show as an equal pair at a
distance far below those of test images. No number here tells memorising from underfitting, so look.

example:
  python workflow/scripts/plot_nearest.py --nearest gan/nearest.npz --test test/nearest.npz \\
      --data resources/prepared/embedded/svhn.npz --output nearest_gan.png
"""

from pathlib import Path

from genlab import InputError, cli, files

COLUMNS = 8


def parser():
    result = cli.parser(__doc__)
    result.add_argument(
        "--nearest", type=Path, required=True, metavar="NPZ", help="samples and indices of their neighbours"
    )
    result.add_argument("--test", type=Path, required=True, metavar="NPZ", help="the same for test images")
    result.add_argument(
        "--data", type=Path, required=True, metavar="NPZ", help="prepared data, with the training images"
    )
    result.add_argument("--output", type=Path, required=True, metavar="PNG", help="figure to write, with a PDF beside")
    return result


def main(options):
    from genlab.data import arrays
    from genlab.report import plotting

    train = arrays.load_images(options.data)
    shapes = {"images": ("N", 3, 32, 32), "rows": ("N",), "distances": ("N",)}
    stacks, distances, abouts = [], [], []
    for path in (options.nearest, options.test):
        fields, about = arrays.read_pictures(path, shapes)
        if about["data"] != train.about:
            raise InputError(f"{path}: of {about['data']['title']}, with other files than those in {options.data}")
        if fields["rows"].min() < 0 or fields["rows"].max() >= len(train.train_images):
            raise InputError(f"{path}: 'rows' holds no rows of the training images; {files.REMAKE}")
        stacks += [fields["images"], train.train_images[fields["rows"]]]
        distances.append(fields["distances"])
        abouts.append(about)
    count = min(map(len, stacks))
    ours, real = (f"{each[:count].min():.3g} to {each[:count].max():.3g}" for each in distances)
    labels = ["sample", f"nearest:\n{ours} away", "test image", f"nearest:\n{real} away"]
    figure = plotting.image_grid([stack[:count].transpose(0, 2, 3, 1) for stack in stacks], COLUMNS, labels)
    title = f"{abouts[0]['model']}: samples beside their nearest training images"
    plotting.describe(figure, title, train.about["title"])
    plotting.save_figure(figure, options.output)


if __name__ == "__main__":
    cli.run(main, parser())
