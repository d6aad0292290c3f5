import io
import json
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest
import scipy.io
from genlab import InputError, files
from genlab.data import arrays

SHARED = Path(__file__).parents[2].parent / "shared" / "data"


def random_bits(n, width=784, seed=0):
    return np.random.default_rng(seed).integers(0, 2, (n, width), dtype=np.uint8)


def random_digits(n, seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (n, 3, 32, 32), dtype=np.uint8), (np.arange(n) % 10).astype(np.uint8)


# --- .amat


def test_write_amat_is_the_original_format(tmp_path):
    arrays.write_amat(tmp_path / "x.amat", np.array([[0, 1, 1], [1, 0, 0]], np.uint8))
    assert (tmp_path / "x.amat").read_bytes() == b"0 1 1\n1 0 0\n"


@pytest.mark.parametrize("width", [784, 9, 1])
def test_amat_against_loadtxt(tmp_path, width):
    bits = random_bits(2100, width)  # more than two blocks
    arrays.write_amat(tmp_path / "x.amat", bits)
    np.testing.assert_array_equal(np.loadtxt(tmp_path / "x.amat", dtype=np.uint8, ndmin=2), bits)
    packed = arrays.read_amat(tmp_path / "x.amat", width)
    assert packed.dtype == np.uint8
    np.testing.assert_array_equal(packed, np.packbits(bits, axis=1))


def test_unpack_bits_inverts():
    bits = random_bits(5)
    unpacked = arrays.unpack_bits(np.packbits(bits, axis=1))
    assert unpacked.dtype == np.uint8
    np.testing.assert_array_equal(unpacked, bits)


@pytest.mark.parametrize("ending", ["\n", "\r\n", " \n", " \r\n"])
@pytest.mark.parametrize("last", [True, False])
def test_amat_line_ends(tmp_path, ending, last):
    text = ending.join(["0 1 1", "1 0 0", "1 1 1"]) + ending * last
    (tmp_path / "x.amat").write_bytes(text.encode())
    np.testing.assert_array_equal(arrays.read_amat(tmp_path / "x.amat", 3), [[0b011 << 5], [0b100 << 5], [0b111 << 5]])


@pytest.mark.parametrize("ending", ["\r\n", " \n"])
@pytest.mark.parametrize("last", [True, False])
def test_amat_line_ends_of_whole_bytes(tmp_path, ending, last):
    bits = random_bits(1025, 16)  # a block and a row
    text = ending.join(" ".join(map(str, row)) for row in bits) + ending * last
    (tmp_path / "x.amat").write_bytes(text.encode())
    np.testing.assert_array_equal(arrays.read_amat(tmp_path / "x.amat", 16), np.packbits(bits, axis=1))


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
        arrays.read_amat(tmp_path / "x.amat", 3)
    assert str(tmp_path / "x.amat") in str(caught.value) and "expected lines of 3 characters" in str(caught.value)


def test_amat_names_the_line_in_a_later_block(tmp_path):
    arrays.write_amat(tmp_path / "x.amat", random_bits(3000, 9))
    content = bytearray((tmp_path / "x.amat").read_bytes())
    content[2500 * 18 + 4] = ord("x")
    (tmp_path / "x.amat").write_bytes(content)
    with pytest.raises(InputError, match="line 2501, column 5: found 'x'"):
        arrays.read_amat(tmp_path / "x.amat", 9)


def test_amat_memory_is_bounded(tmp_path):
    arrays.write_amat(tmp_path / "x.amat", random_bits(8000))  # 12.5 MB of text, 0.8 MB packed
    tracemalloc.start()
    arrays.read_amat(tmp_path / "x.amat")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 9e6


@pytest.mark.parametrize("bits", [np.full((2, 3), 2, np.uint8), np.zeros((2, 3)), np.zeros(3, np.uint8)])
def test_write_amat_refuses_what_is_no_bits(tmp_path, bits):
    with pytest.raises(ValueError, match="bits must be uint8"):
        arrays.write_amat(tmp_path / "x.amat", bits)
    assert not (tmp_path / "x.amat").exists()


@pytest.mark.skipif(not SHARED.exists(), reason="the original Binarized MNIST files are not here")
def test_original_files_round_trip(tmp_path):
    for split in ("valid", "test"):
        packed = arrays.read_amat(SHARED / "binarized_mnist" / f"binarized_mnist_{split}.amat")
        assert packed.shape == (10_000, 98)
        arrays.write_amat(tmp_path / split, arrays.unpack_bits(packed))
        assert files.digests(tmp_path / split).items() >= arrays.OFFICIAL["Binarized MNIST"][split].items()


# --- SVHN .mat


def test_svhn_round_trip_and_layout(tmp_path):
    images, labels = random_digits(1100)
    arrays.write_svhn_mat(tmp_path / "x.mat", images, labels)
    content = scipy.io.loadmat(tmp_path / "x.mat")  # the independent reader
    assert content["X"].shape == (32, 32, 3, 1100) and content["X"].dtype == np.uint8
    assert content["y"].shape == (1100, 1) and content["y"].dtype == np.uint8
    assert content["X"][5, 7, 2, 1030] == images[1030, 2, 5, 7]
    np.testing.assert_array_equal(content["y"][:11, 0], [10, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10])
    read_images, read_labels = arrays.read_svhn_mat(tmp_path / "x.mat")
    assert read_images.dtype == read_labels.dtype == np.uint8
    np.testing.assert_array_equal(read_images, images)
    np.testing.assert_array_equal(read_labels, labels)


def test_svhn_bytes_carry_no_date(tmp_path, monkeypatch):
    images, labels = random_digits(3)
    for day in ("Mon Jan  1 00:00:00 2001", "Tue Jan  2 00:00:00 2002"):
        monkeypatch.setattr("time.asctime", lambda *now, day=day: day)
        arrays.write_svhn_mat(tmp_path / day, images, labels)
    first, second = (path.read_bytes() for path in sorted(tmp_path.iterdir()))
    assert first == second and b"2001" not in first[:128]


def mat(path, variables, **keywords):
    scipy.io.savemat(path, variables, appendmat=False, **keywords)


def compressed(path, **changes):
    """A compressed file, as the official ones are, with some variables changed (None: left out)."""
    images, labels = random_digits(20)
    variables = {"X": images.transpose(2, 3, 1, 0), "y": np.where(labels == 0, 10, labels).astype(np.uint8)[:, None]}
    variables |= changes
    mat(path, {name: value for name, value in variables.items() if value is not None}, do_compression=True)
    return images, labels


def test_svhn_compressed(tmp_path):
    images, labels = compressed(tmp_path / "x.mat", extra=np.zeros(3))
    read_images, read_labels = arrays.read_svhn_mat(tmp_path / "x.mat")
    np.testing.assert_array_equal(read_images, images)
    np.testing.assert_array_equal(read_labels, labels)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"X": None}, "holds no variable X"),
        ({"y": None}, "holds no variable y"),
        ({"X": np.zeros((32, 32, 3, 20))}, "X is double, expected uint8"),
        ({"X": np.zeros((32, 32, 3, 20), bool)}, "X is logical or complex, expected uint8"),
        ({"X": "text"}, "X is char"),
        ({"X": {"field": 1}}, "X is struct"),
        ({"X": scipy.sparse.eye_array(3).tocsc()}, "X is sparse"),
        ({"y": np.ones((20, 1))}, "y is double"),
        ({"y": np.ones((20, 1), np.int8)}, "y is int8"),
        ({"X": np.zeros((20, 32, 32, 3), np.uint8)}, r"X is \(20, 32, 32, 3\) and y \(20, 1\), expected \(32, 32, 3"),
        ({"X": np.zeros((32, 32, 3), np.uint8)}, r"X is \(32, 32, 3\)"),
        ({"y": np.ones((1, 20), np.uint8)}, r"y \(1, 20\)"),
        ({"y": np.ones((19, 1), np.uint8)}, r"\(32, 32, 3, 20\) and y \(19, 1\)"),
        ({"X": np.zeros((32, 32, 3, 0), np.uint8), "y": np.zeros((0, 1), np.uint8)}, "N > 0"),
        ({"y": np.arange(20, dtype=np.uint8)[:, None] % 10}, "label 0 of image 0"),
        ({"y": 1 + np.arange(20, dtype=np.uint8)[:, None] % 11}, "label 11 of image 10"),
    ],
)
def test_svhn_variables_refused(tmp_path, changes, words):
    compressed(tmp_path / "x.mat", **changes)
    with pytest.raises(InputError, match=words) as caught:
        arrays.read_svhn_mat(tmp_path / "x.mat")
    assert str(tmp_path / "x.mat") in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "not a MATLAB v5 file"),
        (b"<!DOCTYPE html>" * 50, "not a MATLAB v5 file"),
        (b"MATLAB 5.0 MAT-file", "cut off in its header"),
        (b"\x89HDF\r\n\x1a\n" + bytes(600), "v7.3"),
        (b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM" + bytes(600), "v7.3"),
        (b"MATLAB 5.0 MAT-file".ljust(124) + b"\x00\x01IM", "holds no variable X"),
    ],
)
def test_svhn_files_refused(tmp_path, content, words):
    (tmp_path / "x.mat").write_bytes(content)
    with pytest.raises(InputError, match=words):
        arrays.read_svhn_mat(tmp_path / "x.mat")


def flipped(content, position, bits=0xFF):
    return content[:position] + bytes([content[position] ^ bits]) + content[position + 1 :]


@pytest.mark.parametrize("write", [compressed, lambda path: arrays.write_svhn_mat(path, *random_digits(20))])
def test_svhn_damage_is_refused_and_never_a_crash(tmp_path, write):
    write(tmp_path / "whole.mat")
    whole = (tmp_path / "whole.mat").read_bytes()
    for length in [*range(130, 400, 9), *np.linspace(400, len(whole) - 1, 40, dtype=int), len(whole) - 1]:
        (tmp_path / "x.mat").write_bytes(whole[:length])
        with pytest.raises(InputError):
            arrays.read_svhn_mat(tmp_path / "x.mat")
    for position in range(128, 192):  # types, sizes and names of the first variable
        for bits in (0x01, 0x80, 0xFF):
            (tmp_path / "x.mat").write_bytes(flipped(whole, position, bits))
            try:
                arrays.read_svhn_mat(tmp_path / "x.mat")
            except InputError as error:
                assert "\n" not in str(error)


def test_svhn_compressed_damage_anywhere_is_refused(tmp_path):
    compressed(tmp_path / "x.mat")
    whole = (tmp_path / "x.mat").read_bytes()
    size = int.from_bytes(whole[132:136], "little")  # of X
    for position in np.linspace(136, 135 + size, 60, dtype=int):
        (tmp_path / "x.mat").write_bytes(flipped(whole, position))
        with pytest.raises(InputError):
            arrays.read_svhn_mat(tmp_path / "x.mat")


def test_svhn_big_endian(tmp_path):
    def element(kind, content):
        return np.array([kind, len(content)], ">u4").tobytes() + content + bytes(-len(content) % 8)

    def variable(name, array):
        flags = element(6, np.array([9, 0], ">u4").tobytes())
        shape = element(5, np.array(array.shape, ">i4").tobytes())
        return element(14, flags + shape + element(1, name) + element(2, array.tobytes(order="F")))

    images, _ = random_digits(3)
    content = b"MATLAB 5.0 MAT-file".ljust(124) + b"\x01\x00MI"
    content += variable(b"X", images.transpose(2, 3, 1, 0)) + variable(b"y", np.array([[1], [10], [3]], np.uint8))
    (tmp_path / "x.mat").write_bytes(content)
    np.testing.assert_array_equal(scipy.io.loadmat(tmp_path / "x.mat")["y"], [[1], [10], [3]])
    read_images, read_labels = arrays.read_svhn_mat(tmp_path / "x.mat")
    np.testing.assert_array_equal(read_images, images)
    np.testing.assert_array_equal(read_labels, [1, 0, 3])


# --- the split


def test_stratified_split():
    labels = np.random.default_rng(0).choice(10, 5000, p=np.arange(1, 11) / 55)
    train, valid = arrays.stratified_split(labels, 0.1, seed=1)
    assert len(valid) == 500
    np.testing.assert_array_equal(np.sort(np.concatenate([train, valid])), np.arange(5000))
    assert (np.diff(train) > 0).all() and (np.diff(valid) > 0).all()
    assert (np.abs(np.bincount(labels[valid]) - np.bincount(labels) / 10) < 1).all()


def test_stratified_split_by_largest_remainder():
    labels = np.repeat([0, 1, 2, 3], [13, 28, 44, 15])
    _, valid = arrays.stratified_split(labels, 0.1, seed=1)
    np.testing.assert_array_equal(np.bincount(labels[valid]), [1, 3, 4, 2])  # of 1.3, 2.8, 4.4, 1.5


def test_stratified_split_is_random_and_seeded():
    labels = np.repeat(np.arange(10), 100)
    valid = [arrays.stratified_split(labels, 0.2, seed)[1] for seed in (1, 1, 2)]
    np.testing.assert_array_equal(valid[0], valid[1])
    assert len(np.intersect1d(valid[0], valid[2])) < 80  # 40 expected by chance
    # Every item is as likely as every other: 400 seeds, each takes an item with probability 0.2.
    taken = sum(np.isin(np.arange(1000), arrays.stratified_split(labels, 0.2, seed)[1]) for seed in range(400))
    assert abs(taken.mean() - 80) < 1e-9 and 54 < taken.var() < 74  # binomial: 400 * 0.2 * 0.8 = 64


def test_stratified_split_of_odd_labels():
    train, valid = arrays.stratified_split(np.array([7, 7, 7, 7, 100]), 0.4, seed=1)
    assert len(train) == 3 and len(valid) == 2


@pytest.mark.parametrize(
    ("count", "fraction"), [(10, 0), (10, 1), (10, -0.1), (10, 1.5), (4, 0.1), (4, 0.99), (0, 0.5)]
)
def test_stratified_split_impossible(count, fraction):
    with pytest.raises(InputError, match=f"fraction of {fraction} takes . of {count} images"):
        arrays.stratified_split(np.zeros(count, np.uint8), fraction, seed=1)


def test_stratified_split_refuses_nan():
    with pytest.raises(InputError, match="nan"):
        arrays.stratified_split(np.zeros(9, np.uint8), float("nan"), seed=1)


def test_take_in_place():
    array = np.arange(5000)
    indices = np.flatnonzero(array % 3 > 0)
    expected = array[indices]
    taken = arrays.take_in_place(array, indices)
    np.testing.assert_array_equal(taken, expected)
    assert taken.base is array


# --- prepared files


def test_digests(tmp_path):
    (tmp_path / "x").write_bytes(b"abc")
    assert files.digests(tmp_path / "x") == {
        "bytes": 3,
        "md5": "900150983cd24fb0d6963f7d28e17f72",
        "sha256": "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
    }


def test_describe_never_presents_a_stand_in_as_the_original(tmp_path, monkeypatch):
    paths = {split: tmp_path / f"{split}_32x32.mat" for split in ("train", "test")}
    for split, path in paths.items():
        path.write_text(split)
    counts = {"train": 1}
    about = arrays.describe("SVHN", "official", paths, counts, split={"seed": 1})
    assert about["source"] == "custom" and about["title"] == "custom files in the format of SVHN"
    assert about["counts"] == counts and about["split"] == {"seed": 1}
    assert about["files"] == {path.name: files.digests(path)["sha256"] for path in paths.values()}
    about = arrays.describe("SVHN", "embedded", paths, counts)
    assert about["source"] == "embedded" and about["title"] == "embedded stand-in for SVHN"

    found = {split: files.digests(path) for split, path in paths.items()}
    known = {split: {key: each[key] for key in ("bytes", "md5")} for split, each in found.items()}
    monkeypatch.setitem(arrays.OFFICIAL, "SVHN", known)
    for declared in ("official", "embedded"):
        about = arrays.describe("SVHN", declared, paths, counts)
        assert about["source"] == "official" and about["title"] == "SVHN"
    paths["train"].write_text("tRain")
    assert arrays.describe("SVHN", "official", paths, counts)["source"] == "custom"


def test_describe_refuses_one_file_twice(tmp_path):
    (tmp_path / "a").write_text("same")
    (tmp_path / "b").write_text("same")
    for other in ("a", "b"):
        with pytest.raises(InputError, match="given for two splits, or equal"):
            arrays.describe("SVHN", "official", {"train": tmp_path / "a", "test": tmp_path / other}, {})
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "a").write_text("other")
    with pytest.raises(InputError, match="is called a too"):
        arrays.describe("SVHN", "official", {"train": tmp_path / "a", "test": tmp_path / "folder" / "a"}, {})


def binarized_arrays():
    return {split: np.packbits(random_bits(5, seed=i), axis=1) for i, split in enumerate(("train", "valid", "test"))}


def svhn_arrays():
    fields = {}
    for seed, split in enumerate(("train", "valid", "test")):
        fields[f"{split}_images"], fields[f"{split}_labels"] = random_digits(10, seed)
    return fields


@pytest.mark.parametrize(
    ("load", "dataset", "make"),
    [
        (arrays.load_binarized_mnist, "Binarized MNIST", binarized_arrays),
        (arrays.load_svhn, "SVHN", svhn_arrays),
    ],
)
def test_prepared_round_trip_and_same_bytes(tmp_path, load, dataset, make):
    about = {"dataset": dataset, "title": "é"}
    for name in ("x.npz", "no_suffix"):
        arrays.write_prepared(tmp_path / name, about, **make())
    assert (tmp_path / "x.npz").read_bytes() == (tmp_path / "no_suffix").read_bytes()
    with zipfile.ZipFile(tmp_path / "x.npz") as archive:  # no clock in the bytes
        assert {item.date_time for item in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
    prepared = load(tmp_path / "x.npz")
    assert prepared.about == about
    for name, array in make().items():
        np.testing.assert_array_equal(getattr(prepared, name), array)
    with pytest.raises(AttributeError):
        prepared.about = {}


def refuse(path, load, words):
    with pytest.raises(InputError, match=words) as caught:
        load(path)
    message = str(caught.value)
    assert str(path) in message and "make the file with prepare_" in message and "\n" not in message


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"test_images": None}, "not a prepared SVHN file .*test_images"),
        ({"valid_images": np.zeros((10, 32, 32, 3), np.uint8)}, r"valid_images is uint8 \(10, 32, 32, 3\), expected"),
        ({"valid_images": np.zeros((10, 3, 32, 32))}, "valid_images is float64"),
        ({"valid_images": np.zeros((0, 3, 32, 32), np.uint8)}, r"valid_images is uint8 \(0, "),
        ({"test_labels": np.uint8(3)}, r"test_labels is uint8 \(\), expected uint8 \(N\)"),
        ({"test_labels": np.zeros(9, np.uint8)}, "10 test images and 9 labels"),
        ({"train_labels": np.full(10, 10, np.uint8)}, "labels up to 10"),
        ({"train_labels": np.array([None] * 10)}, "not a prepared SVHN file"),
    ],
)
def test_load_svhn_refused(tmp_path, changes, words):
    fields = {name: value for name, value in (svhn_arrays() | changes).items() if value is not None}
    arrays.write_prepared(tmp_path / "x.npz", {"dataset": "SVHN"}, **fields)
    refuse(tmp_path / "x.npz", arrays.load_svhn, words)


def test_load_refuses_the_other_data_set_and_what_is_none(tmp_path):
    path = tmp_path / "x.npz"
    arrays.write_prepared(path, {"dataset": "SVHN"}, **binarized_arrays())
    refuse(path, arrays.load_binarized_mnist, "something other than Binarized MNIST")
    np.savez(path, about=np.array("not JSON"), **binarized_arrays())
    refuse(path, arrays.load_binarized_mnist, "not a prepared Binarized MNIST file")
    np.savez(path, about=np.array(json.dumps([1])), **binarized_arrays())
    refuse(path, arrays.load_binarized_mnist, "something other")
    np.savez(path, **binarized_arrays())
    refuse(path, arrays.load_binarized_mnist, "about")
    buffer = io.BytesIO()
    np.save(buffer, np.zeros(3))
    for content in (b"", b"text", b"PK\x03\x04 cut off", buffer.getvalue()):
        path.write_bytes(content)
        refuse(path, arrays.load_binarized_mnist, "not a prepared Binarized MNIST file")


def test_load_refuses_damage(tmp_path):
    path = tmp_path / "x.npz"
    arrays.write_prepared(path, {"dataset": "SVHN"}, **svhn_arrays())
    whole = path.read_bytes()
    for length in np.linspace(1, len(whole) - 1, 30, dtype=int):
        path.write_bytes(whole[:length])
        refuse(path, arrays.load_svhn, "not a prepared SVHN file")
    entry = whole.index(b"PK\x01\x02")  # in the archive's directory: version, flags, compression of an array
    for position in [entry + 6, entry + 8, entry + 10, *range(0, len(whole), 1500)]:
        path.write_bytes(flipped(whole, position))
        refuse(path, arrays.load_svhn, "not a prepared SVHN file")
