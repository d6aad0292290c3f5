from pathlib import Path

import numpy as np
import pytest
from genlab import files
from genlab.data import amat, arrays
from stage import run_stage

SHARED = Path(__file__).parents[2].parent / "shared" / "data" / "binarized_mnist"
SPLITS = {"train": 30, "valid": 20, "test": 10}


def write_files(folder):
    """Write train.amat, valid.amat and test.amat; returns their pixels."""
    rng = np.random.default_rng(0)
    pixels = {split: rng.integers(0, 2, (count, 784), dtype=np.uint8) for split, count in SPLITS.items()}
    for split, each in pixels.items():
        amat.write(folder / f"{split}.amat", each)
    return pixels


@pytest.fixture
def bits(tmp_path):
    return write_files(tmp_path)


def prepare(folder, *more, output="out/prepared.npz", **files):
    named = {split: folder / f"{split}.amat" for split in SPLITS} | files
    options = [word for split, path in named.items() for word in (f"--{split}", path)]
    return run_stage("prepare_binarized_mnist", *options, "--output", folder / output, *more)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """The folder of three files, their pixels, and what was said."""
    folder = tmp_path_factory.mktemp("written")
    pixels = write_files(folder)
    done = prepare(folder)
    assert done.returncode == 0, done.stderr
    return folder, pixels, done.stderr


@pytest.fixture(scope="module")
def prepared(written):
    return arrays.load_binarized_mnist(written[0] / "out" / "prepared.npz")


def test_it_says_what_the_data_are(written):
    assert "custom files in the format of Binarized MNIST: 30 train, 20 valid, 10 test" in written[2]


def test_one_file_is_written(written):
    assert [path.name for path in (written[0] / "out").iterdir()] == ["prepared.npz"]


@pytest.mark.parametrize("split", SPLITS)
def test_images_are_those_of_their_file(written, prepared, split):
    np.testing.assert_array_equal(amat.unpack_bits(getattr(prepared, split)), written[1][split])


@pytest.mark.parametrize("split", SPLITS)
def test_each_file_has_its_checksum(written, prepared, split):
    assert prepared.about["files"][f"{split}.amat"] == files.digests(written[0] / f"{split}.amat")["sha256"]


def test_the_prepared_data_say_what_they_are(prepared):
    assert prepared.about["source"] == "custom" and prepared.about["counts"] == SPLITS


def test_stand_in_says_so_and_the_bytes_repeat(tmp_path, bits):
    for output in ("one.npz", "two.npz"):
        done = prepare(tmp_path, "--source", "embedded", output=output)
        assert "embedded stand-in for Binarized MNIST" in done.stderr
    assert (tmp_path / "one.npz").read_bytes() == (tmp_path / "two.npz").read_bytes()
    assert arrays.load_binarized_mnist(tmp_path / "one.npz").about["source"] == "embedded"


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda path: path.write_bytes(path.read_bytes()[:-500]), "valid.amat: line 20 has 534 values"),
        (lambda path: path.write_bytes(b""), "valid.amat: the file is empty"),
        (lambda path: path.unlink(), "valid.amat: No such file or directory"),
        (lambda path: path.write_bytes(path.with_name("test.amat").read_bytes()), "equal to another split's file"),
    ],
)
def test_bad_files_are_refused(tmp_path, bits, damage, words):
    damage(tmp_path / "valid.amat")
    done = prepare(tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("prepare_binarized_mnist.py: error: ") and done.stderr.count("\n") == 1
    assert words in done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(not SHARED.exists(), reason="the original Binarized MNIST files are not here")
def test_original_files_are_known(tmp_path):
    files = {split: SHARED / f"binarized_mnist_{split}.amat" for split in SPLITS}
    done = prepare(tmp_path, "--source", "official", **files)
    assert done.stderr.endswith(" Binarized MNIST: 50,000 train, 10,000 valid, 10,000 test\n")
    prepared = arrays.load_binarized_mnist(tmp_path / "out" / "prepared.npz")
    assert prepared.about["source"] == "official" and prepared.about["title"] == "Binarized MNIST"
    pixels = np.loadtxt(files["valid"], dtype=np.uint8, max_rows=50)
    np.testing.assert_array_equal(amat.unpack_bits(prepared.valid[:50]), pixels)
