"""Read labelled images of your own, set aside validation images from the training images, and write all to one .npz.

PATH is a folder with one folder of image files a class, as torchvision's ImageFolder reads it; or an .npz file of
`images`, uint8 (N, 32, 32, 3) or (N, 3, 32, 32), `labels`, whole numbers from 0, and maybe `classes`, their names.
Images become 32 x 32 in colour by the rules in docs/own_models.md; what was done to how many is recorded.

The output holds images and labels for `train`, `valid` and `test`, and `about`, which says what they are. The
validation images are drawn at random, with the same share of every class. There must be 2 to 1,000 classes, with two
training images or more of each; the test images may lack some. Test images that are training images too are counted.

example:
  python workflow/scripts/prepare_images.py --train flowers/train --test flowers/test --title Flowers \\
      --output flowers.npz
"""

from pathlib import Path

from genlab import InputError, cli, files, log


def parser():
    result = cli.parser(__doc__, seed=True, split=True)
    for split, what in (("train", "training"), ("test", "test")):
        result.add_argument(
            f"--{split}", type=Path, required=True, metavar="PATH", help=f"{what} images: a folder, or an .npz file"
        )
    result.add_argument("--title", default="", help="what figures and tables call the data (default: by its folder)")
    result.add_argument("--output", type=Path, required=True, metavar="FILE.npz", help="the prepared data set")
    return result


def main(options):
    import numpy as np
    from genlab.data import arrays, own_images, samples, svhn
    from genlab.measures import copies

    images, labels, classes, done = own_images.read(options.train)
    own_images.check_training(labels, classes, options.train)
    test_images, test_labels, names, test_done = own_images.read(options.test)
    test_labels = own_images.align(test_labels, names, classes, options.test)
    train, valid = svhn.stratified_split(labels, options.valid_fraction, options.seed)
    if lost := [name for label, name in enumerate(classes) if not (labels[train] == label).any()]:
        raise InputError(
            f"--valid-fraction {options.valid_fraction}: takes all training images of the class {lost[0]!r}; give less"
        )
    leaked = copies.equal(test_images, images)
    fields = {"valid_images": images[valid], "test_images": test_images}
    fields["train_images"] = svhn.take_in_place(images, train)  # images is spent now
    of_splits = {"train": labels[train], "valid": labels[valid], "test": test_labels}
    fields |= {f"{split}_labels": arrays.as_labels(each, len(classes)) for split, each in of_splits.items()}
    counts = {split: len(each) for split, each in of_splits.items()}
    about = {
        "dataset": "own images",
        "source": "own",
        "title": options.title or f"images of {own_name(options.train)}",
        "files": {
            f"{split}: {own_name(path)}": files.content_checksum(path)
            for split, path in (("train", options.train), ("test", options.test))
        },
        "counts": counts,
        "split": {"seed": options.seed, "valid_fraction": options.valid_fraction},
        "classes": classes,
        "converted": {"train": done, "test": test_done},
        "test_images_in_training": leaked,
    }
    with files.atomic(options.output) as temporary:
        arrays.write(temporary, about, **{name: np.ascontiguousarray(each) for name, each in fields.items()})
    for split, each in about["converted"].items():
        if each:
            log.warning("%s images: %s", split, samples.said(each))
    if leaked:
        log.warning("%s: %d test images equal a training image; they tell nothing of new images", options.test, leaked)
    numbers = ", ".join(f"{count:,} {split}" for split, count in counts.items())
    log.info("%s: %d classes, %s", about["title"], len(classes), numbers)


def own_name(path):
    """The last two names of a path, as text."""
    return "/".join(path.resolve().parts[-2:]).strip("/")


if __name__ == "__main__":
    cli.run(main, parser())
