from pathlib import Path

import numpy as np
import pytest
import scipy.io
from genlab.data import arrays, svhn
from stage import run_stage

SHARED = Path(__file__).parents[2].parent / "shared" / "data" / "svhn_small"


def digits(count, seed):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (count, 3, 32, 32), dtype=np.uint8), (np.arange(count) % 10).astype(np.uint8)


def write_files(folder):
    svhn.write_mat(folder / "train_32x32.mat", *digits(1200, seed=1))
    svhn.write_mat(folder / "test_32x32.mat", *digits(40, seed=2))


@pytest.fixture
def files(tmp_path):
    write_files(tmp_path)
    return tmp_path


def prepare(folder, *more, train="train_32x32.mat", test="test_32x32.mat", output="out/prepared.npz"):
    options = ("--train", folder / train, "--test", folder / test, "--output", folder / output)
    return run_stage("prepare_svhn", *options, *more)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """What was said, and the folder of the output."""
    folder = tmp_path_factory.mktemp("written")
    write_files(folder)
    done = prepare(folder)
    assert done.returncode == 0, done.stderr
    return done.stderr, folder / "out"


@pytest.fixture(scope="module")
def prepared(written):
    return arrays.load_images(written[1] / "prepared.npz")


def test_it_says_what_the_data_are(written):
    assert "custom files in the format of SVHN: 1,080 train, 120 valid, 40 test" in written[0]


def test_one_file_is_written(written):
    assert [path.name for path in written[1].iterdir()] == ["prepared.npz"]


def test_both_parts_of_the_training_file_have_the_same_share_of_each_digit(prepared):
    np.testing.assert_array_equal(np.bincount(prepared.train_labels), 108)
    np.testing.assert_array_equal(np.bincount(prepared.valid_labels), 12)


def test_each_training_image_is_on_one_side_with_its_label_in_the_file_s_order(prepared):
    images, labels = digits(1200, seed=1)
    train, valid = svhn.stratified_split(labels, 0.1, seed=1)
    for split, rows in ("train", train), ("valid", valid):
        np.testing.assert_array_equal(getattr(prepared, f"{split}_images"), images[rows])
        np.testing.assert_array_equal(getattr(prepared, f"{split}_labels"), labels[rows])


def test_test_images_are_those_of_their_file(prepared):
    images, labels = digits(40, seed=2)
    np.testing.assert_array_equal(prepared.test_images, images)
    np.testing.assert_array_equal(prepared.test_labels, labels)


def test_the_prepared_data_say_how_they_were_made(prepared):
    assert prepared.about["split"] == {"seed": 1, "valid_fraction": 0.1}
    assert prepared.about["counts"] == {"train": 1080, "valid": 120, "test": 40}
    assert prepared.about["files"].keys() == {"train_32x32.mat", "test_32x32.mat"}


def test_seed_decides_the_split_and_the_bytes(files):
    for output, seed in ("one.npz", 5), ("two.npz", 5), ("three.npz", 6):
        done = prepare(files, "--seed", seed, "--valid-fraction", 0.25, "--source", "embedded", output=output)
        assert "embedded stand-in for SVHN: 900 train, 300 valid, 40 test" in done.stderr
    assert (files / "one.npz").read_bytes() == (files / "two.npz").read_bytes()
    first, other = (arrays.load_images(files / name) for name in ("one.npz", "three.npz"))
    assert (first.valid_images != other.valid_images).any()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--valid-fraction", "0"], "a validation fraction of 0.0 takes 0 of 1200 images"),
        (["--valid-fraction", "1"], "give a --valid-fraction between 0 and 1"),
        (["--valid-fraction", "0.0001"], "takes 0 of 1200 images"),
    ],
)
def test_bad_fraction_is_refused(files, options, words):
    refused(files, prepare(files, *options), words)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda path: path.write_bytes(path.read_bytes()[:50_000]), "test_32x32.mat: damaged or cut off"),
        (lambda path: path.write_text("<html>not found</html>"), "test_32x32.mat: not a MATLAB v5 file"),
        (lambda path: path.unlink(), "test_32x32.mat: No such file or directory"),
        (lambda path: svhn.write_mat(path, *digits(0, seed=2)), "N > 0"),
        (lambda path: svhn.write_mat(path, *digits(1200, seed=1)), "equal to another split's file"),
    ],
)
def test_bad_files_are_refused(files, damage, words):
    damage(files / "test_32x32.mat")
    refused(files, prepare(files), words)


def refused(folder, done, words):
    assert done.returncode == 2
    assert done.stderr.startswith("prepare_svhn.py: error: ") and done.stderr.count("\n") == 1
    assert words in done.stderr
    assert not (folder / "out").exists()


@pytest.mark.skipif(not SHARED.exists(), reason="the real SVHN crops are not here")
def test_real_crops(tmp_path):
    done = prepare(SHARED, output=tmp_path / "prepared.npz")
    assert done.returncode == 0, done.stderr
    prepared = arrays.load_images(tmp_path / "prepared.npz")
    assert prepared.about["source"] == "custom"  # 1,024 of the 26,032 are not the official file
    content = scipy.io.loadmat(SHARED / "test_32x32.mat")
    np.testing.assert_array_equal(prepared.test_images, content["X"].transpose(3, 2, 0, 1))
    np.testing.assert_array_equal(prepared.test_labels, content["y"][:, 0] % 10)
