import numpy as np
import prepare_images
import pytest
from genlab import InputError, log
from genlab.data import arrays
from PIL import Image
from stage import run_here, run_stage


def save(folder, count, seed):
    folder.mkdir(parents=True)
    images = np.random.default_rng(seed).integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)
    for number, image in enumerate(images):
        Image.fromarray(image).save(folder / f"{number:03}.png")


@pytest.fixture
def flowers(tmp_path):
    """Training images of three classes, and test images of two of them."""
    for label, (name, count) in enumerate((("iris", 20), ("rose", 40), ("tulip", 60))):
        save(tmp_path / "train" / name, count, label)
    save(tmp_path / "test" / "tulip", 5, 10)
    save(tmp_path / "test" / "rose", 4, 11)
    return tmp_path


def prepare(folder, *more):
    run_here(
        prepare_images, "--train", folder / "train", "--test", folder / "test", "--output", folder / "out.npz", *more
    )
    return arrays.load_images(folder / "out.npz")


def test_images_and_labels_are_those_of_the_folders(flowers):
    found = prepare(flowers, "--title", "Flowers", "--valid-fraction", "0.25")
    assert found.classes == ["iris", "rose", "tulip"]
    assert np.bincount(found.train_labels).tolist() == [15, 30, 45]
    assert np.bincount(found.valid_labels).tolist() == [5, 10, 15]
    assert found.test_labels.tolist() == [1] * 4 + [2] * 5
    first = np.asarray(Image.open(flowers / "test" / "rose" / "000.png")).transpose(2, 0, 1)
    np.testing.assert_array_equal(found.test_images[0], first)
    both = np.concatenate([found.train_images, found.valid_images])
    iris = np.asarray(Image.open(flowers / "train" / "iris" / "007.png")).transpose(2, 0, 1)
    (row,) = np.flatnonzero((both == iris).all((1, 2, 3)))
    assert np.concatenate([found.train_labels, found.valid_labels])[row] == 0


def test_it_says_what_the_data_are(flowers):
    about = prepare(flowers, "--title", "Flowers").about
    assert (about["title"], about["source"], about["dataset"]) == ("Flowers", "own", "own images")
    assert about["counts"] == {"train": 108, "valid": 12, "test": 9} and about["test_images_in_training"] == 0
    assert [name.rsplit("/", 1)[-1] for name in about["files"]] == ["train", "test"]


def test_without_a_title_the_folder_names_the_data(flowers):
    assert prepare(flowers).about["title"] == f"images of {flowers.name}/train"


def test_the_same_folders_give_the_same_bytes(flowers):
    prepare(flowers)
    first = (flowers / "out.npz").read_bytes()
    prepare(flowers)
    assert (flowers / "out.npz").read_bytes() == first


def test_test_images_that_were_trained_on_are_counted_and_warned_of(flowers, caplog):
    content = (flowers / "train" / "iris" / "003.png").read_bytes()
    (flowers / "test" / "tulip" / "copy.png").write_bytes(content)
    with caplog.at_level("WARNING", log.name):
        assert prepare(flowers).about["test_images_in_training"] == 1
    assert "1 test images equal a training image" in caplog.text


def test_many_classes_keep_their_labels(tmp_path):
    images = np.random.default_rng(1).integers(0, 256, (1200, 32, 32, 3), dtype=np.uint8)
    labels = np.arange(1200) % 600
    np.savez(tmp_path / "train.npz", images=images, labels=labels)
    np.savez(tmp_path / "test.npz", images=images[:600], labels=labels[:600])
    words = ("--train", tmp_path / "train.npz", "--test", tmp_path / "test.npz", "--output", tmp_path / "out.npz")
    run_here(prepare_images, *words, "--valid-fraction", "0.5")
    found = arrays.load_images(tmp_path / "out.npz")
    assert found.train_labels.dtype == np.uint16 and found.test_labels.tolist() == list(range(600))
    assert sorted(found.train_labels) == sorted(found.valid_labels) == list(range(600))


def test_a_fraction_that_leaves_a_class_without_training_images_is_refused(flowers):
    with pytest.raises(InputError, match="takes all training images of the class 'iris'; give less"):
        prepare(flowers, "--valid-fraction", "0.99")


def test_a_fault_is_one_line_and_writes_nothing(flowers):
    save(flowers / "test" / "lily", 2, 12)
    words = ("--train", flowers / "train", "--test", flowers / "test", "--output", flowers / "out.npz")
    process = run_stage("prepare_images", *words)
    assert process.returncode == 2 and not (flowers / "out.npz").exists()
    said = f"{flowers}/test: holds the class 'lily', which the training images lack; leave it out"
    assert process.stderr == f"prepare_images.py: error: {said}\n"
