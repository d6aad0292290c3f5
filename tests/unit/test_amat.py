"""Binarized MNIST as text: what is read, written and refused, and in how much memory."""

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from genlab import InputError, files
from genlab.data import amat, arrays

SHARED = Path(__file__).parents[2].parent / "shared" / "data"


def random_bits(n, width=784, seed=0):
    return np.random.default_rng(seed).integers(0, 2, (n, width), dtype=np.uint8)


def test_write_amat_is_the_original_format(tmp_path):
    amat.write(tmp_path / "x.amat", np.array([[0, 1, 1], [1, 0, 0]], np.uint8))
    assert (tmp_path / "x.amat").read_bytes() == b"0 1 1\n1 0 0\n"


@pytest.mark.parametrize("width", [784, 9, 1])
def test_amat_against_loadtxt(tmp_path, width):
    bits = random_bits(2100, width)  # more than two blocks
    amat.write(tmp_path / "x.amat", bits)
    np.testing.assert_array_equal(np.loadtxt(tmp_path / "x.amat", dtype=np.uint8, ndmin=2), bits)
    packed = amat.read(tmp_path / "x.amat", width)
    assert packed.dtype == np.uint8
    np.testing.assert_array_equal(packed, np.packbits(bits, axis=1))


def test_unpack_bits_inverts():
    bits = random_bits(5)
    unpacked = amat.unpack_bits(np.packbits(bits, axis=1))
    assert unpacked.dtype == np.uint8
    np.testing.assert_array_equal(unpacked, bits)


@pytest.mark.parametrize("ending", ["\n", "\r\n", " \n", " \r\n"])
@pytest.mark.parametrize("last", [True, False])
def test_amat_line_ends(tmp_path, ending, last):
    text = ending.join(["0 1 1", "1 0 0", "1 1 1"]) + ending * last
    (tmp_path / "x.amat").write_bytes(text.encode())
    np.testing.assert_array_equal(amat.read(tmp_path / "x.amat", 3), [[0b011 << 5], [0b100 << 5], [0b111 << 5]])


@pytest.mark.parametrize("ending", ["\r\n", " \n"])
@pytest.mark.parametrize("last", [True, False])
def test_amat_line_ends_of_whole_bytes(tmp_path, ending, last):
    bits = random_bits(1025, 16)  # a block and a row
    text = ending.join(" ".join(map(str, row)) for row in bits) + ending * last
    (tmp_path / "x.amat").write_bytes(text.encode())
    np.testing.assert_array_equal(amat.read(tmp_path / "x.amat", 16), np.packbits(bits, axis=1))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "the file is empty"),
        (b"0 1 1 0 1 1 0 1 1 0 1 1\n", "line 1 has 12 values"),
        (b"0" * 5000, "line 1 has 1 values"),
        (b"\n", "line 1 has 0 values"),
        (b"0 1 1\n0 1\n1 1 1\n", "line 2 has 2 values"),
        (b"0 1 1 0\n0 1 1 0\n", "line 1 has 4 values"),
        (b"0 1 1\n1 1 1 1\n0 0 0\n", "line 2 has 4 values"),
        (b"0 1 1\n0 0 0\n1 ", "line 3 has 1 values"),
        (b"0 1 1\n0 0 0\n1 1 ", "line 3 has 2 values"),
        (b"0 1 1\n\n0 0 0\n", "line 2 has 0 values"),
        (b"0 1 1\n0 0 0\n\n", "line 3 has 0 values"),
        (b"0 1 1\n0 2 0\n", "line 2, column 3: found '2'"),
        (b"0 1 1\n0 -1 0\n", "line 2, column 3: found '-'"),
        (b"0.0 1.0 1.0\n", r"line 1, column 2: found '\.'"),
        (b"0 1 1\n0\t1 0\n", r"line 2, column 2: found '\\t'"),
        (b"0 1 1\n0\x001 0\n", r"line 2, column 2: found '\\x00'"),
        (b"<!DOCTYPE html>\n", "line 1, column 1: found '<'"),
        (b"0 1 1\n0  1 0\n", "line 2, column 3: the spacing"),
        (b"0 1 1\n 0 1 0\n", "line 2, column 1: the spacing"),
        (b"0 1 1\n0 1 0\r\n", "line 2, column 6: the spacing or the line's end"),
    ],
)
def test_amat_refused(tmp_path, content, words):
    (tmp_path / "x.amat").write_bytes(content)
    with pytest.raises(InputError, match=words) as caught:
        amat.read(tmp_path / "x.amat", 3)
    assert str(tmp_path / "x.amat") in str(caught.value) and "each line must hold 3 digits" in str(caught.value)


def test_amat_names_the_line_in_a_later_block(tmp_path):
    amat.write(tmp_path / "x.amat", random_bits(3000, 9))
    content = bytearray((tmp_path / "x.amat").read_bytes())
    content[2500 * 18 + 4] = ord("x")
    (tmp_path / "x.amat").write_bytes(content)
    with pytest.raises(InputError, match="line 2501, column 5: found 'x'"):
        amat.read(tmp_path / "x.amat", 9)


def test_amat_memory_is_bounded(tmp_path):
    amat.write(tmp_path / "x.amat", random_bits(8000))  # 12.5 MB of text, 0.8 MB packed
    tracemalloc.start()
    amat.read(tmp_path / "x.amat")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 9e6


@pytest.mark.parametrize("bits", [np.full((2, 3), 2, np.uint8), np.zeros((2, 3)), np.zeros(3, np.uint8)])
def test_write_amat_refuses_what_is_no_bits(tmp_path, bits):
    with pytest.raises(ValueError, match="bits must be uint8"):
        amat.write(tmp_path / "x.amat", bits)
    assert not (tmp_path / "x.amat").exists()


@pytest.mark.skipif(not SHARED.exists(), reason="the original Binarized MNIST files are not here")
def test_original_files_round_trip(tmp_path):
    for split in ("valid", "test"):
        packed = amat.read(SHARED / "binarized_mnist" / f"binarized_mnist_{split}.amat")
        assert packed.shape == (10_000, 98)
        amat.write(tmp_path / split, amat.unpack_bits(packed))
        assert files.digests(tmp_path / split).items() >= arrays.OFFICIAL["Binarized MNIST"][split].items()
