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
        arrays.write(tmp_path / name, about, **make())
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
    arrays.write(tmp_path / "x.npz", {"dataset": "SVHN"}, **fields)
    refuse(tmp_path / "x.npz", arrays.load_svhn, words)


def test_load_refuses_the_other_data_set_and_what_is_none(tmp_path):
    path = tmp_path / "x.npz"
    arrays.write(path, {"dataset": "SVHN"}, **binarized_arrays())
    refuse(path, arrays.load_binarized_mnist, "something other than Binarized MNIST")
    np.savez(path, about=np.array("not JSON"), **binarized_arrays())
    refuse(path, arrays.load_binarized_mnist, "'about' is not JSON text")
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
    arrays.write(path, {"dataset": "SVHN"}, **svhn_arrays())
    whole = path.read_bytes()
    for length in np.linspace(1, len(whole) - 1, 30, dtype=int):
        path.write_bytes(whole[:length])
        refuse(path, arrays.load_svhn, "not a prepared SVHN file")
    entry = whole.index(b"PK\x01\x02")  # in the archive's directory: version, flags, compression of an array
    for position in [entry + 6, entry + 8, entry + 10, *range(0, len(whole), 1500)]:
        path.write_bytes(flipped(whole, position))
        refuse(path, arrays.load_svhn, "not a prepared SVHN file")


def test_what_is_written_is_read_and_anything_else_refused_by_name(tmp_path):
    arrays.write(tmp_path / "a.npz", {"k": 1}, x=np.arange(3), thing=np.array([{}, None]))
    fields, about = arrays.read(tmp_path / "a.npz", ["x"])
    assert fields["x"].tolist() == [0, 1, 2] and list(fields) == ["x"] and about == {"k": 1}
    with pytest.raises(InputError, match=r"a\.npz: not an NPZ file of the arrays x, y \('y is not a file.*; remake it"):
        arrays.read(tmp_path / "a.npz", ["x", "y"])
    with pytest.raises(InputError, match=r"a\.npz: not features .*allow_pickle=False.*; ask again"):
        arrays.read(tmp_path / "a.npz", ["thing"], "features", "ask again")  # a pickle is never loaded
    np.save(tmp_path / "b.npy", np.zeros(3))
    (tmp_path / "c.npz").write_bytes((tmp_path / "a.npz").read_bytes()[:200])
    (tmp_path / "d.npz").write_bytes(b"")
    (tmp_path / "e.npz").write_text("text")
    np.savez(tmp_path / "f.npz", x=np.zeros(3))
    for name in ("b.npy", "c.npz", "d.npz", "e.npz", "f.npz"):
        with pytest.raises(InputError, match=f"{name}: not an NPZ file of the arrays x "):
            arrays.read(tmp_path / name, ["x"])
    np.savez(tmp_path / "g.npz", x=np.zeros(3), about=np.array("no JSON"))
    with pytest.raises(InputError, match=r"g\.npz: 'about' is not JSON text; remake it"):
        arrays.read(tmp_path / "g.npz", ["x"])
