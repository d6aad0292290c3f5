"""Labelled images of one's own: a folder of classes, or an NPZ file."""

import functools

import numpy as np
from robustness.inputs import pixels
from robustness.runner import Case, Door
from robustness.spoil import both, image, writes

COMMAND = "prepare_images --train cats --test dogs --valid-fraction 0.3 --output own.npz"


def classes(folder, first=0, **counts):
    """A folder of classes with so many images each, none of which equals another."""
    colours = iter(range(first, 256))
    return both(
        *(
            image(f"{folder}/{name}/{number}.png", color=(next(colours), 9, 99))
            for name, count in counts.items()
            for number in range(count)
        )
    )


def arrays(name, **changed):
    """An NPZ file of ten images of two classes, with some arrays other than sound ones; None leaves one out."""

    def change(folder):
        sound = {"images": pixels(10, seed=len(name)), "labels": np.arange(10) % 2, "classes": np.array(["a", "b"])}
        np.savez(folder / name, **{key: value for key, value in (sound | changed).items() if value is not None})

    return change


def labelled():
    sound = both(classes("cats", a=5, b=5), classes("dogs", 100, a=3, b=3))
    case = functools.partial(Case, command=COMMAND)
    of_arrays = functools.partial(case, command=COMMAND.replace("cats", "cats.npz").replace("dogs", "dogs.npz"))

    def folders(what, says, *changes, **others):
        return case(what, says=says, prepare=both(sound, *changes), **others)

    def npz(what, says, **changed):
        code = changed.pop("code", 2)
        return of_arrays(what, says=says, prepare=both(arrays("cats.npz", **changed), arrays("dogs.npz")), code=code)

    return Door(
        "Labelled images of one's own",
        "A folder with one folder a class, or an NPZ file of images and labels.",
        [
            folders("a folder that is not there", "no such file or folder", command=COMMAND.replace("cats", "gone")),
            folders("a text file instead of a folder", "neither a folder nor an .npz file", writes("cats.txt", "x"),
                    command=COMMAND.replace("cats", "cats.txt")),
            case("an empty folder", says="0 classes", prepare=both(sound, lambda folder: (folder / "none").mkdir()),
                 command=COMMAND.replace("cats", "none")),
            case("a single class", says="one class", prepare=both(classes("cats", a=9), classes("dogs", 100, a=3))),
            case("images that lie in no class", says="lies in no class", prepare=both(sound, image("cats/0.png"))),
            case("a class without an image", says="holds no image",
                 prepare=both(sound, lambda folder: (folder / "cats" / "c").mkdir())),
            case("a class of one training image", says="too few training images of the class 'b'",
                 prepare=both(classes("cats", a=9, b=1), classes("dogs", 100, a=3, b=3))),
            folders("a test class that training lacks", "which the training images lack", image("dogs/c/0.png")),
            folders("a damaged image in a class", "not an image of a known format", writes("cats/a/x.png", "x")),
            folders("a validation fraction of 1", "--valid-fraction", command=COMMAND.replace("0.3", "1")),
            folders("one folder for both splits", "10 test images equal a training image",
                    command=COMMAND.replace("dogs", "cats"), code=0),
            folders("a test image that is a training image, too", "1 test images equal", image("cats/a/x.png"),
                    image("dogs/a/x.png"), code=0),
            folders("a class that the test images lack", "", classes("cats", 50, c=5), code=0),
            folders("classes with odd names, and what systems leave", "", classes("cats", 50, **{"é $(x) 'y'": 5}),
                    writes("cats/.DS_Store", "x"), writes("cats/a/Thumbs.db", "x"), code=0),
            npz("an NPZ file without labels", "it has no array 'labels'", labels=None),
            npz("fewer labels than images", "'labels' is int64 (9,)", labels=np.zeros(9, int)),
            npz("labels as decimal numbers", "'labels' is float64", labels=np.zeros(10)),
            npz("a label below 0", "the label -1", labels=np.arange(10) - 1),
            npz("a label without a name", "'classes' names 2", labels=np.arange(10)),
            npz("two classes of one name", "'classes' is <U1 (2,)", classes=np.array(["a", "a"])),
            npz("names as Python objects", "cannot be read", classes=np.array(["a", {}], object)),
            npz("labels that take a million times their room", "more than 1,080", labels=np.zeros(10**6, int)),
            of_arrays("labels without names", says="", code=0,
                      prepare=both(arrays("cats.npz", classes=None), arrays("dogs.npz", classes=None))),
            npz("images of 16 bits", "is uint16", images=pixels(10).astype(np.uint16)),
        ],
    )  # fmt: skip


DOORS = [labelled()]
