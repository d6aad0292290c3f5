"""The NPZ files of prepared data: written with the same bytes, read whole or refused, never taken for the originals."""

import io
import json
import zipfile

import numpy as np
import pytest
from genlab import InputError, files
from genlab.data import arrays


def random_bits(n, width=784, seed=0):
    return np.random.default_rng(seed).integers(0, 2, (n, width), dtype=np.uint8)


def random_digits(n, seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (n, 3, 32, 32), dtype=np.uint8), (np.arange(n) % 10).astype(np.uint8)


def flipped(content, position, bits=0xFF):
    return content[:position] + bytes([content[position] ^ bits]) + content[position + 1 :]


COUNTS = {"train": 1}


@pytest.fixture
def paths(tmp_path):
    """{split: path} of two files that are not the official ones."""
    paths = {split: tmp_path / f"{split}_32x32.mat" for split in ("train", "test")}
    for split, path in paths.items():
        path.write_text(split)
    return paths


@pytest.fixture
def official(paths, monkeypatch):
    """The same files, as the official ones."""
    known = {
        split: {key: value for key, value in files.digests(path).items() if key in ("bytes", "md5")}
        for split, path in paths.items()
    }
    monkeypatch.setitem(arrays.OFFICIAL, "SVHN", known)
    return paths


def test_other_files_that_are_called_official_are_custom(paths):
    about = arrays.describe("SVHN", "official", paths, COUNTS)
    assert about["source"] == "custom" and about["title"] == "custom files in the format of SVHN"


def test_a_stand_in_is_called_one(paths):
    about = arrays.describe("SVHN", "embedded", paths, COUNTS)
    assert about["source"] == "embedded" and about["title"] == "embedded stand-in for SVHN"


@pytest.mark.parametrize("declared", ["official", "embedded"])
def test_official_files_are_known_by_their_content(official, declared):
    about = arrays.describe("SVHN", declared, official, COUNTS)
    assert about["source"] == "official" and about["title"] == "SVHN"


def test_a_changed_official_file_is_custom(official):
    official["train"].write_text("tRain")
    assert arrays.describe("SVHN", "official", official, COUNTS)["source"] == "custom"


def test_describe_gives_counts_split_and_checksums(paths):
    about = arrays.describe("SVHN", "official", paths, COUNTS, split={"seed": 1})
    assert about["counts"] == COUNTS and about["split"] == {"seed": 1}
    assert about["files"] == {path.name: files.digests(path)["sha256"] for path in paths.values()}


@pytest.mark.parametrize("other", ["a", "b"])
def test_describe_refuses_one_file_twice(tmp_path, other):
    (tmp_path / "a").write_text("same")
    (tmp_path / "b").write_text("same")
    with pytest.raises(InputError, match="given for two splits, or equal"):
        arrays.describe("SVHN", "official", {"train": tmp_path / "a", "test": tmp_path / other}, {})


def test_describe_refuses_two_files_of_one_name(tmp_path):
    (tmp_path / "folder").mkdir()
    for path in (tmp_path / "a", tmp_path / "folder" / "a"):
        path.write_text(str(path))
    with pytest.raises(InputError, match="is called a too"):
        arrays.describe("SVHN", "official", {"train": tmp_path / "a", "test": tmp_path / "folder" / "a"}, {})


def binarized_arrays():
    return {split: np.packbits(random_bits(5, seed=i), axis=1) for i, split in enumerate(("train", "valid", "test"))}


def svhn_arrays():
    fields = {}
    for seed, split in enumerate(("train", "valid", "test")):
        fields[f"{split}_images"], fields[f"{split}_labels"] = random_digits(10, seed)
    return fields


each_data_set = pytest.mark.parametrize(
    ("load", "dataset", "make"),
    [
        (arrays.load_binarized_mnist, "Binarized MNIST", binarized_arrays),
        (arrays.load_images, "SVHN", svhn_arrays),
    ],
)


@each_data_set
def test_prepared_data_are_read_as_written(tmp_path, load, dataset, make):
    about = {"dataset": dataset, "title": "é"}
    arrays.write(tmp_path / "x.npz", about, **make())
    prepared = load(tmp_path / "x.npz")
    assert prepared.about == about
    for name, array in make().items():
        np.testing.assert_array_equal(getattr(prepared, name), array)
    with pytest.raises(AttributeError):
        prepared.about = {}


@each_data_set
def test_the_same_data_are_the_same_bytes(tmp_path, load, dataset, make):
    for name in ("x.npz", "no_suffix"):
        arrays.write(tmp_path / name, {"dataset": dataset, "title": "é"}, **make())
    assert (tmp_path / "x.npz").read_bytes() == (tmp_path / "no_suffix").read_bytes()
    with zipfile.ZipFile(tmp_path / "x.npz") as archive:  # no clock in the bytes
        assert {item.date_time for item in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}


def refuse(path, load, words):
    with pytest.raises(InputError, match=words) as caught:
        load(path)
    message = str(caught.value)
    assert str(path) in message and "make the file with prepare_" in message and "\n" not in message


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"test_images": None}, "not a prepared file of colour images .*test_images"),
        ({"valid_images": np.zeros((10, 32, 32, 3), np.uint8)}, r"valid_images is uint8 \(10, 32, 32, 3\), expected"),
        ({"valid_images": np.zeros((10, 3, 32, 32))}, "valid_images is float64"),
        ({"valid_images": np.zeros((0, 3, 32, 32), np.uint8)}, r"valid_images is uint8 \(0, "),
        ({"test_labels": np.uint8(3)}, r"test_labels is uint8 \(\), expected uint8 \(N\)"),
        ({"test_labels": np.zeros(9, np.uint8)}, "10 test images and 9 labels"),
        ({"train_labels": np.full(10, 10, np.uint8)}, "labels up to 10"),
        ({"train_labels": np.zeros(10, np.int64)}, r"train_labels is int64 \(10,\), expected uint8 \(N\)"),
        ({"train_labels": np.array([None] * 10)}, "not a prepared file of colour images"),
    ],
)
def test_load_images_refused(tmp_path, changes, words):
    fields = {name: value for name, value in (svhn_arrays() | changes).items() if value is not None}
    arrays.write(tmp_path / "x.npz", {"dataset": "SVHN", "title": "t"}, **fields)
    refuse(tmp_path / "x.npz", arrays.load_images, words)


def test_images_of_one_s_own_name_their_classes(tmp_path):
    about = {"dataset": "own images", "title": "t", "classes": ["iris", "rose"]}
    labels = {f"{split}_labels": (np.arange(10) % 2).astype(np.uint8) for split in ("train", "valid", "test")}
    arrays.write(tmp_path / "x.npz", about, **svhn_arrays() | labels)
    found = arrays.load_images(tmp_path / "x.npz")
    assert found.classes == ["iris", "rose"] and arrays.class_titles(about) == ["class iris", "class rose"]
    arrays.write(tmp_path / "x.npz", about, **svhn_arrays() | labels | {"test_labels": np.full(10, 2, np.uint8)})
    refuse(tmp_path / "x.npz", arrays.load_images, "labels up to 2, expected one label 0 to 1 for each")
    arrays.write(tmp_path / "x.npz", about | {"classes": ["iris"]}, **svhn_arrays() | labels)
    refuse(tmp_path / "x.npz", arrays.load_images, "'classes' is no list of two names or more")


def test_classes_of_digits_are_the_digits():
    assert arrays.class_titles({"dataset": "SVHN", "title": "t"})[3] == "digit 3"


@pytest.mark.parametrize(
    ("about", "words"),
    [
        ({"about": np.array(json.dumps({"dataset": "SVHN", "title": "t"}))}, "something other than Binarized MNIST"),
        ({"about": np.array("not JSON")}, "'about' is not JSON text"),
        ({"about": np.array(json.dumps([1]))}, "something other"),
        ({}, "about"),
    ],
)
def test_load_refuses_what_is_not_about_its_data_set(tmp_path, about, words):
    np.savez(tmp_path / "x.npz", **about, **binarized_arrays())
    refuse(tmp_path / "x.npz", arrays.load_binarized_mnist, words)


def npy():
    buffer = io.BytesIO()
    np.save(buffer, np.zeros(3))
    return buffer.getvalue()


@pytest.mark.parametrize("content", [b"", b"text", b"PK\x03\x04 cut off", npy()])
def test_load_refuses_what_is_no_npz_file(tmp_path, content):
    (tmp_path / "x.npz").write_bytes(content)
    refuse(tmp_path / "x.npz", arrays.load_binarized_mnist, "not a prepared file of Binarized MNIST")


def test_load_refuses_damage(tmp_path):
    path = tmp_path / "x.npz"
    arrays.write(path, {"dataset": "SVHN", "title": "t"}, **svhn_arrays())
    whole = path.read_bytes()
    for length in np.linspace(1, len(whole) - 1, 30, dtype=int):
        path.write_bytes(whole[:length])
        refuse(path, arrays.load_images, "not a prepared file of colour images")
    entry = whole.index(b"PK\x01\x02")  # in the archive's directory: version, flags, compression of an array
    for position in [entry + 6, entry + 8, entry + 10]:
        path.write_bytes(flipped(whole, position))
        refuse(path, arrays.load_images, "not a prepared file of colour images")


def test_no_damage_changes_what_is_loaded(tmp_path):
    path, refused = tmp_path / "x.npz", 0
    arrays.write(path, {"dataset": "SVHN", "title": "t"}, **svhn_arrays())
    whole, positions = path.read_bytes(), range(0, path.stat().st_size, 500)
    for position in positions:
        path.write_bytes(flipped(whole, position))
        try:
            found = arrays.load_images(path)
        except InputError:
            refused += 1
            continue
        for name, expected in svhn_arrays().items():  # the byte says nothing, such as the date of a member
            np.testing.assert_array_equal(getattr(found, name), expected)
    assert refused > 0.9 * len(positions)


@pytest.fixture
def written(tmp_path):
    """An NPZ file of an array, of a pickle, and of what they are about."""
    arrays.write(tmp_path / "a.npz", {"k": 1}, x=np.arange(3), thing=np.array([{}, None]))
    return tmp_path / "a.npz"


def test_what_is_written_is_read(written):
    fields, about = arrays.read(written, ["x"])
    assert fields["x"].tolist() == [0, 1, 2] and list(fields) == ["x"] and about == {"k": 1}


def test_an_array_that_is_missing_is_named(written):
    with pytest.raises(
        InputError, match=r"a\.npz: not an NPZ file of the arrays x, y \(it has no array 'y'.*; remake it"
    ):
        arrays.read(written, ["x", "y"])


def test_a_pickle_is_never_loaded(written):
    with pytest.raises(InputError, match=r"a\.npz: not features .*holds Python objects, .*; ask again"):
        arrays.read(written, ["thing"], "features", "ask again")


def test_files_of_other_kinds_are_refused_by_name(written, tmp_path):
    np.save(tmp_path / "b.npy", np.zeros(3))
    (tmp_path / "c.npz").write_bytes(written.read_bytes()[:200])
    (tmp_path / "d.npz").write_bytes(b"")
    (tmp_path / "e.npz").write_text("text")
    np.savez(tmp_path / "f.npz", x=np.zeros(3))
    for name in ("b.npy", "c.npz", "d.npz", "e.npz", "f.npz"):
        with pytest.raises(InputError, match=f"{name}: not an NPZ file of the arrays x "):
            arrays.read(tmp_path / name, ["x"])


def test_an_about_that_is_no_json_is_refused_by_name(tmp_path):
    np.savez(tmp_path / "g.npz", x=np.zeros(3), about=np.array("no JSON"))
    with pytest.raises(InputError, match=r"g\.npz: 'about' is not JSON text; remake it"):
        arrays.read(tmp_path / "g.npz", ["x"])
