"""render_digits.py through its command line."""

import numpy as np
import pytest
from genlab.data.amat import read, unpack_bits
from genlab.data.stand_ins import render_binary_digits, render_house_numbers
from genlab.data.svhn import read_mat
from stage import run_stage


def test_amat_reads_back_as_drawn(tmp_path):
    path = tmp_path / "new" / "train.amat"
    result = run_stage("render_digits", "--output", path, "--count", 300, "--seed", 5)
    assert result.returncode == 0, result.stderr
    bits, _ = render_binary_digits(300, np.random.default_rng([5, *b"train.amat"]))
    np.testing.assert_array_equal(unpack_bits(read(path)), bits)
    assert [file.name for file in path.parent.iterdir()] == ["train.amat"]


def test_mat_reads_back_as_drawn(tmp_path):
    path = tmp_path / "train.mat"
    result = run_stage("render_digits", "--output", path, "--count", 300, "--seed", 5)
    assert result.returncode == 0, result.stderr
    drawn = render_house_numbers(300, np.random.default_rng([5, *b"train.mat"]))
    for found, expected in zip(read_mat(path), drawn, strict=True):
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("suffix", ["amat", "mat"])
def test_same_name_gives_the_same_bytes_another_name_others(tmp_path, suffix):
    def content(name):
        path = tmp_path / name
        result = run_stage("render_digits", "--output", path, "--count", 20)
        assert result.returncode == 0, result.stderr
        return path.read_bytes()

    train = content(f"a/train.{suffix}")
    assert content(f"b/train.{suffix}") == train  # the folder does not matter
    assert content(f"a/test.{suffix}") != train


@pytest.mark.parametrize(
    ("output", "count", "complaint"),
    [
        ("digits.txt", 5, "expected a name that ends in .amat (binary digits) or .mat (house numbers)"),
        ("digits", 5, "expected a name that ends in .amat (binary digits) or .mat (house numbers)"),
        ("digits.amat", 0, "argument --count: 0 is too small; give 1 or more"),
        ("digits.mat", -3, "argument --count: -3 is too small; give 1 or more"),
        ("digits.mat", 10**15, f"{10**15} images do not fit in this machine's memory; give a smaller --count"),
    ],
)
def test_bad_input_is_refused_in_one_line(tmp_path, output, count, complaint):
    result = run_stage("render_digits", "--output", tmp_path / output, "--count", count)
    assert result.returncode == 2
    assert result.stderr.splitlines()[-1].startswith("render_digits.py: error: ")
    assert result.stderr.splitlines()[-1].endswith(complaint)
    assert "Traceback" not in result.stderr
    assert not list(tmp_path.iterdir())


def test_help_says_how_the_splits_come_to_differ():
    result = run_stage("render_digits", "--help")
    assert result.returncode == 0
    assert "depend on --seed and on the name of the output file" in result.stdout
