import numpy as np
import pytest
from genlab import InputError
from genlab.data import own_images
from PIL import Image


def colours(count, seed=1, size=32):
    return np.random.default_rng(seed).integers(0, 256, (count, size, size, 3), dtype=np.uint8)


def save(folder, images, suffix=".png"):
    folder.mkdir(parents=True)
    for number, image in enumerate(images):
        Image.fromarray(image).save(folder / f"{number}{suffix}")


@pytest.fixture
def classes(tmp_path):
    """A folder of two classes, two and three images."""
    save(tmp_path / "tulip", colours(2, 1))
    save(tmp_path / "iris", colours(3, 2))
    return tmp_path


def test_a_folder_of_classes_is_read_in_the_order_of_imagefolder(classes):
    from torchvision.datasets import ImageFolder

    images, labels, names, done = own_images.read(classes)
    theirs = ImageFolder(classes)
    assert names == theirs.classes == ["iris", "tulip"]
    assert labels.tolist() == theirs.targets == [0, 0, 0, 1, 1] and done == {}
    np.testing.assert_array_equal(images, np.stack([np.asarray(image).transpose(2, 0, 1) for image, _ in theirs]))


def test_images_of_a_class_may_lie_deeper_and_are_converted(classes):
    save(classes / "iris" / "more", colours(1, 3, size=64), ".jpg")
    (classes / "iris" / "notes.txt").write_text("from the garden")
    (classes / ".DS_Store").write_bytes(b"\0")
    (classes / "labels.csv").write_text("0,iris")
    _, labels, _, done = own_images.read(classes)
    assert np.bincount(labels).tolist() == [4, 2]
    assert done == {"of a lossy format": 1, "resized to 32 x 32": 1, "files left out that are no images": 1}


@pytest.mark.parametrize("axes", [(0, 1, 2, 3), (0, 3, 1, 2)])
def test_an_npz_file_is_read_in_either_layout(tmp_path, axes):
    np.savez(tmp_path / "x.npz", images=colours(4).transpose(axes), labels=np.array([2, 0, 1, 2]))
    images, labels, names, done = own_images.read(tmp_path / "x.npz")
    np.testing.assert_array_equal(images, colours(4).transpose(0, 3, 1, 2))
    assert (labels.tolist(), names, done) == ([2, 0, 1, 2], ["0", "1", "2"], {})


def test_an_npz_file_may_name_its_classes(tmp_path):
    np.savez(tmp_path / "x.npz", images=colours(2), labels=[1, 0], classes=["iris", "rose", "tulip"])
    assert own_images.read(tmp_path / "x.npz")[2] == ["iris", "rose", "tulip"]


def test_labels_follow_the_names_of_the_training_classes():
    labels = own_images.align(np.array([0, 1, 1]), ["b", "d"], ["a", "b", "c", "d"], "test")
    assert labels.tolist() == [1, 3, 3]


def test_a_class_that_was_not_trained_on_is_refused():
    with pytest.raises(InputError, match="test: holds the class 'e', which the training images lack"):
        own_images.align(np.array([0]), ["e"], ["a", "b"], "test")


def test_a_class_of_one_training_image_is_refused():
    with pytest.raises(InputError, match="train: too few training images of the class 'b'; give two or more"):
        own_images.check_training(np.array([0, 0, 1]), ["a", "b"], "train")


def empty_class(folder):
    (folder / "lily").mkdir()


def loose_image(folder):
    Image.fromarray(colours(1)[0]).save(folder / "stray.png")


def too_many(folder):
    for number in range(999):
        (folder / f"class{number}").mkdir()


def one_class(folder):
    (folder / "iris").rename(folder / ".iris")


@pytest.mark.parametrize(
    "change, message",
    [
        (empty_class, "lily: the class holds no image; give one folder of images a class"),
        (loose_image, "the image stray.png lies in no class; give one folder of images a class"),
        (too_many, "1001 classes, expected 2 to 1000; give one folder of images a class"),
        (one_class, "one class, expected 2 to 1000; give one folder of images a class"),
    ],
)
def test_folders_refused(classes, change, message):
    change(classes)
    with pytest.raises(InputError) as caught:
        own_images.read(classes)
    assert message in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "changes, message",
    [
        (
            {"labels": None},
            "its labels cannot be read (it has no array 'labels'); give one whole number",
        ),
        ({"labels": [0, 1]}, "'labels' is int64 (2,); give one whole number from 0 for each image"),
        ({"labels": [0.0, 1, 1, 0]}, "'labels' is float64 (4,); give one whole number"),
        ({"labels": [0, 1, -1, 0]}, "the label -1 among 'labels'; give one whole number from 0"),
        ({"labels": [0, 0, 0, 0]}, "one class, expected 2 to 1000"),
        ({"labels": [0, 1, 2, 1000]}, "1001 classes, expected 2 to 1000"),
        ({"labels": [0, 1, 2**62, 1]}, "4611686018427387905 classes, expected 2 to 1000"),
        ({"classes": ["a", "b", "b"]}, "'classes' is <U1 (3,); give one name, as text, for each class"),
        ({"classes": [1, 2, 3]}, "'classes' is int64 (3,); give one name"),
        ({"classes": ["a", "b"]}, "label 2, but 'classes' names 2; give a name for each label from 0"),
        (
            {"labels": np.zeros(10**6, np.int64)},
            "its labels cannot be read ('labels': takes 8,000,128 bytes, more than",
        ),
        ({"images": colours(4)[..., :1]}, "'images' is uint8 (4, 32, 32, 1); expected uint8 images"),
    ],
)
def test_npz_files_refused(tmp_path, changes, message):
    fields = {"images": colours(4), "labels": [0, 1, 2, 0]} | changes
    np.savez(tmp_path / "x.npz", **{name: value for name, value in fields.items() if value is not None})
    with pytest.raises(InputError) as caught:
        own_images.read(tmp_path / "x.npz")
    assert message in str(caught.value)


def test_what_is_neither_is_refused(tmp_path):
    (tmp_path / "x.zip").write_bytes(b"")
    for name, problem in (("x.zip", "neither a folder nor an .npz file"), ("none", "no such file or folder")):
        with pytest.raises(InputError, match=problem):
            own_images.read(tmp_path / name)
