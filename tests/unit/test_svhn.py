"""SVHN as MATLAB files: what is read, written and refused, and how it is split."""

import numpy as np
import pytest
import scipy.io
from genlab import InputError
from genlab.data import svhn


def random_digits(n, seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (n, 3, 32, 32), dtype=np.uint8), (np.arange(n) % 10).astype(np.uint8)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A written file, its images and its labels."""
    path, digits = tmp_path_factory.mktemp("svhn") / "x.mat", random_digits(1100)
    svhn.write_mat(path, *digits)
    return path, *digits


def test_svhn_has_the_layout_of_the_official_files(written):
    path, images, _ = written
    content = scipy.io.loadmat(path)  # the independent reader
    assert content["X"].shape == (32, 32, 3, 1100) and content["X"].dtype == np.uint8
    assert content["y"].shape == (1100, 1) and content["y"].dtype == np.uint8
    assert content["X"][5, 7, 2, 1030] == images[1030, 2, 5, 7]
    np.testing.assert_array_equal(content["y"][:11, 0], [10, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10])


def test_svhn_is_read_as_written(written):
    path, images, labels = written
    read_images, read_labels = svhn.read_mat(path)
    assert read_images.dtype == read_labels.dtype == np.uint8
    np.testing.assert_array_equal(read_images, images)
    np.testing.assert_array_equal(read_labels, labels)


def test_svhn_bytes_carry_no_date(tmp_path, monkeypatch):
    images, labels = random_digits(3)
    for day in ("Mon Jan  1 00:00:00 2001", "Tue Jan  2 00:00:00 2002"):
        monkeypatch.setattr("time.asctime", lambda *now, day=day: day)
        svhn.write_mat(tmp_path / day, images, labels)
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
    read_images, read_labels = svhn.read_mat(tmp_path / "x.mat")
    np.testing.assert_array_equal(read_images, images)
    np.testing.assert_array_equal(read_labels, labels)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"X": None}, "holds no variable X"),
        ({"y": None}, "holds no variable y"),
        ({"X": np.zeros((32, 32, 3, 20))}, "X is double, not uint8"),
        ({"X": np.zeros((32, 32, 3, 20), bool)}, "X is logical or complex, not uint8"),
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
        svhn.read_mat(tmp_path / "x.mat")
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
        svhn.read_mat(tmp_path / "x.mat")


def flipped(content, position, bits=0xFF):
    return content[:position] + bytes([content[position] ^ bits]) + content[position + 1 :]


@pytest.mark.parametrize("write", [compressed, lambda path: svhn.write_mat(path, *random_digits(20))])
def test_svhn_damage_is_refused_and_never_a_crash(tmp_path, write):
    write(tmp_path / "whole.mat")
    whole = (tmp_path / "whole.mat").read_bytes()
    for length in [*range(130, 400, 9), *np.linspace(400, len(whole) - 1, 40, dtype=int), len(whole) - 1]:
        (tmp_path / "x.mat").write_bytes(whole[:length])
        with pytest.raises(InputError):
            svhn.read_mat(tmp_path / "x.mat")
    for position in range(128, 192):  # types, sizes and names of the first variable
        for bits in (0x01, 0x80, 0xFF):
            (tmp_path / "x.mat").write_bytes(flipped(whole, position, bits))
            try:
                svhn.read_mat(tmp_path / "x.mat")
            except InputError as error:
                assert "\n" not in str(error)


def test_svhn_compressed_damage_anywhere_is_refused(tmp_path):
    compressed(tmp_path / "x.mat")
    whole = (tmp_path / "x.mat").read_bytes()
    size = int.from_bytes(whole[132:136], "little")  # of X
    for position in np.linspace(136, 135 + size, 60, dtype=int):
        (tmp_path / "x.mat").write_bytes(flipped(whole, position))
        with pytest.raises(InputError):
            svhn.read_mat(tmp_path / "x.mat")


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
    read_images, read_labels = svhn.read_mat(tmp_path / "x.mat")
    np.testing.assert_array_equal(read_images, images)
    np.testing.assert_array_equal(read_labels, [1, 0, 3])


@pytest.fixture(scope="module")
def split():
    """5000 labels, and the indices of both parts."""
    labels = np.random.default_rng(0).choice(10, 5000, p=np.arange(1, 11) / 55)
    return labels, *svhn.stratified_split(labels, 0.1, seed=1)


def test_stratified_split_puts_each_item_in_one_part(split):
    _, train, valid = split
    assert len(valid) == 500
    np.testing.assert_array_equal(np.sort(np.concatenate([train, valid])), np.arange(5000))


def test_stratified_split_keeps_the_order(split):
    _, train, valid = split
    assert (np.diff(train) > 0).all() and (np.diff(valid) > 0).all()


def test_stratified_split_takes_the_same_share_of_each_label(split):
    labels, _, valid = split
    assert (np.abs(np.bincount(labels[valid]) - np.bincount(labels) / 10) < 1).all()


def test_stratified_split_by_largest_remainder():
    labels = np.repeat([0, 1, 2, 3], [13, 28, 44, 15])
    _, valid = svhn.stratified_split(labels, 0.1, seed=1)
    np.testing.assert_array_equal(np.bincount(labels[valid]), [1, 3, 4, 2])  # of 1.3, 2.8, 4.4, 1.5


def test_stratified_split_is_seeded():
    labels = np.repeat(np.arange(10), 100)
    valid = [svhn.stratified_split(labels, 0.2, seed)[1] for seed in (1, 1, 2)]
    np.testing.assert_array_equal(valid[0], valid[1])
    assert len(np.intersect1d(valid[0], valid[2])) < 80  # 40 expected by chance


def test_stratified_split_takes_each_item_as_likely_as_every_other():
    labels = np.repeat(np.arange(10), 100)
    # 400 seeds, each takes an item with probability 0.2.
    taken = sum(np.isin(np.arange(1000), svhn.stratified_split(labels, 0.2, seed)[1]) for seed in range(400))
    assert abs(taken.mean() - 80) < 1e-9 and 54 < taken.var() < 74  # binomial: 400 * 0.2 * 0.8 = 64


def test_stratified_split_of_odd_labels():
    train, valid = svhn.stratified_split(np.array([7, 7, 7, 7, 100]), 0.4, seed=1)
    assert len(train) == 3 and len(valid) == 2


@pytest.mark.parametrize(
    ("count", "fraction"), [(10, 0), (10, 1), (10, -0.1), (10, 1.5), (4, 0.1), (4, 0.99), (0, 0.5)]
)
def test_stratified_split_impossible(count, fraction):
    with pytest.raises(InputError, match=f"fraction of {fraction} takes . of {count} images"):
        svhn.stratified_split(np.zeros(count, np.uint8), fraction, seed=1)


def test_stratified_split_refuses_nan():
    with pytest.raises(InputError, match="nan"):
        svhn.stratified_split(np.zeros(9, np.uint8), float("nan"), seed=1)


def test_take_in_place():
    array = np.arange(5000)
    indices = np.flatnonzero(array % 3 > 0)
    expected = array[indices]
    taken = svhn.take_in_place(array, indices)
    np.testing.assert_array_equal(taken, expected)
    assert taken.base is array
