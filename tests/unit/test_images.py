import logging
import re

import numpy as np
import pytest
import torch
from genlab import ComputationError, InputError
from genlab.data import images
from PIL import Image


@pytest.fixture(scope="module")
def pictures():
    return np.random.default_rng(1).integers(0, 256, (7, 3, 32, 32), np.uint8)


def read(path, **keywords):
    """All the images of a directory, as one array."""
    return np.concatenate(list(images.read_directory(path, **keywords)[1]))


def contents(path):
    return {str(file.relative_to(path)): file.read_bytes() for file in path.rglob("*") if file.is_file()}


@pytest.fixture
def folder(tmp_path, pictures):
    """The class folder of a sample directory of seven images; its parent is the directory."""
    images.write_directory(tmp_path / "set", pictures)
    return tmp_path / "set" / "samples"


# Pixel ranges


BYTES = torch.arange(256, dtype=torch.uint8)


def test_pixels_span_the_range_evenly():
    model = images.to_model(BYTES)
    assert model.dtype == torch.float32
    assert (model[0], model[255]) == (-1, 1) and model.diff().min() > 0
    torch.testing.assert_close(model, torch.linspace(-1, 1, 256))


def test_pixels_come_back_as_they_were():
    assert torch.equal(images.to_uint8(images.to_model(BYTES)), BYTES)


def test_pixels_beyond_the_range_are_cut():
    assert torch.equal(images.to_uint8(torch.tensor([-1.2, 1.2])), BYTES[[0, 255]])


@pytest.mark.parametrize("dtype", [torch.float32, torch.int64, torch.int8])
def test_only_uint8_is_taken_for_pixels(dtype):
    with pytest.raises(TypeError, match=f"images are {dtype}; expected uint8"):
        images.to_model(torch.zeros(3, dtype=dtype))


# Directories


def test_a_directory_holds_png_files_in_order(folder, pictures):
    assert [file.name for file in sorted(folder.iterdir())] == [f"{n:04}.png" for n in range(7)]
    with Image.open(folder / "0003.png") as image:
        assert (image.format, image.mode, image.size, image.info) == ("PNG", "RGB", (32, 32), {})
        np.testing.assert_array_equal(np.asarray(image), pictures[3].transpose(1, 2, 0))


def test_a_directory_is_read_in_batches(folder, pictures):
    count, batches = images.read_directory(folder.parent, batch=3)
    batches = list(batches)
    assert count == 7 and [len(batch) for batch in batches] == [3, 3, 1]
    assert all(batch.dtype == np.uint8 for batch in batches)
    np.testing.assert_array_equal(np.concatenate(batches), pictures)


@pytest.mark.parametrize("limits", [{"KEPT": 0}, {"KEPT": 2}, {"SMALL": 2000}, {"SMALL": 0}])
def test_files_read_again_and_large_ones_give_the_same_pixels(folder, pictures, monkeypatch, limits):
    Image.new("RGB", (32, 32)).save(folder / "0003.png")  # less than 2000 bytes, the others more
    for name, value in limits.items():
        monkeypatch.setattr(images, name, value)
    expected = np.where(np.arange(7)[:, None, None, None] == 3, 0, pictures)
    np.testing.assert_array_equal(read(folder.parent, batch=3), expected)


def test_the_same_images_are_the_same_bytes(folder, pictures):
    before = contents(folder.parent)
    images.write_directory(folder.parent, torch.from_numpy(pictures))
    assert contents(folder.parent) == before


def test_a_directory_is_replaced_as_a_whole(folder, pictures):
    images.write_directory(folder.parent, pictures[:2])
    assert sorted(contents(folder.parent)) == ["samples/0000.png", "samples/0001.png"]
    assert [entry.name for entry in folder.parent.parent.iterdir()] == ["set"]  # nothing temporary is left


def test_names_are_as_long_as_the_number_asks(tmp_path, monkeypatch):
    monkeypatch.setattr(Image.Image, "save", lambda self, path: path.touch())  # time is in the writing
    images.write_directory(tmp_path / "set", np.zeros((10001, 3, 32, 32), np.uint8))
    names = sorted(file.name for file in (tmp_path / "set" / "samples").iterdir())
    assert (names[0], names[-1], len(names)) == ("00000.png", "10000.png", 10001)


def test_a_failed_write_leaves_what_was_there(folder, pictures, monkeypatch):
    before = contents(folder.parent)
    save, calls = Image.Image.save, []

    def failing(self, *args):
        calls.append(args)
        if len(calls) == 3:
            raise OSError(28, "No space left on device")
        save(self, *args)

    monkeypatch.setattr(Image.Image, "save", failing)
    for path in (folder.parent, folder.parent.parent / "new"):
        calls.clear()
        with pytest.raises(ComputationError, match=f"{re.escape(str(path))}: cannot be written .No space left"):
            images.write_directory(path, pictures)
    assert contents(folder.parent) == before
    assert [entry.name for entry in folder.parent.parent.iterdir()] == ["set"]


def test_write_replaces_nothing_but_samples(tmp_path, pictures):
    (tmp_path / "precious.txt").write_text("kept")
    for path in (tmp_path, tmp_path / "precious.txt"):
        with pytest.raises(InputError, match="is no sample directory, so it is not replaced"):
            images.write_directory(path, pictures)
    assert contents(tmp_path) == {"precious.txt": b"kept"}


def test_write_fills_an_empty_folder(tmp_path, pictures):
    images.write_directory(tmp_path, pictures)
    assert images.read_directory(tmp_path)[0] == len(pictures)


def test_write_replaces_samples_that_snakemake_has_stamped(tmp_path, pictures):
    images.write_directory(tmp_path, pictures)
    (tmp_path / ".snakemake_timestamp").touch()
    images.write_directory(tmp_path, pictures[:1])
    assert images.read_directory(tmp_path)[0] == 1


@pytest.mark.parametrize(
    "wrong", [np.zeros((2, 3, 32, 32)), np.zeros((2, 32, 32, 3), np.uint8), np.zeros((0, 3, 32, 32), np.uint8)]
)
def test_write_refuses_other_arrays(tmp_path, wrong):
    with pytest.raises(ValueError, match=r"images must be uint8 \(N, 3, 32, 32\)"):
        images.write_directory(tmp_path / "set", wrong)
    assert not list(tmp_path.iterdir())


def test_lossless_formats_are_known_by_content_and_clutter_is_ignored(tmp_path, pictures, caplog):
    folder = tmp_path / "any name"
    folder.mkdir()
    for name, picture, form in (
        ("b.png", pictures[0], "BMP"),
        ("a", pictures[1], "PNG"),
        ("c.dat", pictures[2], "BMP"),
    ):
        Image.fromarray(picture.transpose(1, 2, 0)).save(folder / name, form)
    for name in (".DS_Store", "Thumbs.db", "._a"):
        (folder / name).write_bytes(b"clutter")
    (tmp_path / ".hidden").mkdir()
    (tmp_path / "readme.txt").write_text("ImageFolder reads folders only")
    np.testing.assert_array_equal(read(tmp_path), pictures[[1, 0, 2]])
    assert not caplog.records


@pytest.fixture
def resized(folder, pictures, caplog):
    """What is read of a folder with an image of 64 x 64, and one of 28 x 30 in one colour."""
    Image.fromarray(enlarged(pictures[0]).transpose(1, 2, 0)).save(folder / "0001.png")
    Image.new("RGB", (28, 30), (10, 20, 30)).save(folder / "0002.png")
    with caplog.at_level(logging.INFO):
        return read(folder.parent, batch=2)


def enlarged(picture):
    return np.repeat(np.repeat(picture, 2, axis=1), 2, axis=2)


def test_images_of_another_size_are_told_in_one_warning(resized, caplog):
    (record,) = caplog.get_records("setup")
    message = record.getMessage()
    assert record.levelname == "WARNING" and "FID" in message
    assert "2 of 7 images are not 32 x 32" in message and "28 x 30 (1), 64 x 64 (1)" in message


def test_images_of_another_size_are_resized_smoothly(resized, pictures):
    assert resized.shape == (7, 3, 32, 32)
    assert (resized[2] == np.array([10, 20, 30])[:, None, None]).all()
    smooth = torch.nn.functional.interpolate(
        torch.from_numpy(enlarged(pictures[0])[None]).float(), (32, 32), mode="bilinear", antialias=True
    )
    assert np.abs(resized[1] - smooth.numpy()[0]).max() <= 1


def test_lossy_files_are_read_with_one_warning(folder, caplog):
    for number in (1, 2):
        Image.new("RGB", (32, 32), (200, 100, 50)).save(folder / f"000{number}.png", "JPEG", quality=95)
    Image.new("RGB", (32, 32), (200, 100, 50)).save(folder / "0003.png", "WEBP", quality=95)
    result = read(folder.parent)
    assert "3 of 7 images are JPEG or WebP" in caplog.text and len(caplog.records) == 1
    assert np.abs(result[1:4] - np.array([200, 100, 50])[:, None, None]).max() <= 3


def test_a_palette_without_transparency_is_colour(folder):
    Image.new("RGB", (32, 32), (200, 100, 50)).quantize(4).save(folder / "0001.png")
    assert (read(folder.parent)[1] == np.array([200, 100, 50])[:, None, None]).all()


@pytest.mark.parametrize(
    ("mode", "options", "message"),
    [
        ("1", {}, r"a greyscale image \(mode 1\); save it in colour"),
        ("L", {}, r"a greyscale image \(mode L\)"),
        ("I;16", {}, r"a greyscale image \(mode I;16\)"),
        ("LA", {}, r"an image with transparency \(mode LA\); save it opaque"),
        ("RGBA", {}, r"an image with transparency \(mode RGBA\)"),
        ("P", {"transparency": 0}, r"an image with transparency \(mode P\)"),
        ("RGB", {"transparency": (0, 0, 0)}, r"an image with transparency \(mode RGB\)"),
        ("CMYK", {"format": "JPEG"}, "an image of colour mode CMYK; save it as RGB"),
        ("RGB", {"format": "GIF"}, "not a PNG, JPEG, BMP or WebP image; remove it"),
    ],
)
def test_other_than_opaque_colour_is_refused_at_once(folder, mode, options, message):
    Image.new(mode, (32, 32)).save(folder / "0004.png", **options)
    with pytest.raises(InputError, match=r"samples/0004\.png: " + message):
        images.read_directory(folder.parent)


@pytest.mark.parametrize("content", [b"", b"not an image", b"\x89PNG\r\n\x1a\n", b"BM"])
def test_other_files_are_refused_at_once(folder, content):
    (folder / "0004.png").write_bytes(content)
    with pytest.raises(InputError, match=r"0004\.png: not a PNG, JPEG, BMP or WebP image"):
        images.read_directory(folder.parent)


@pytest.mark.parametrize("form", ["PNG", "JPEG", "BMP", "WEBP"])
def test_a_truncated_image_is_refused_by_name(folder, pictures, form):
    file = folder / "0004.png"
    Image.fromarray(pictures[0].transpose(1, 2, 0)).save(file, form)
    file.write_bytes(file.read_bytes()[:-900])
    with pytest.raises(InputError, match=r"0004\.png: .*(damaged|not a PNG)"):
        read(folder.parent)


@pytest.mark.parametrize("name", ["0000.png", "preview.gif", "scan.tiff"])
def test_images_beside_the_folder_of_images_are_refused(folder, name):
    (folder.parent / "notes.txt").write_text("no image")
    assert images.read_directory(folder.parent)[0] == 7
    Image.new("RGB", (32, 32)).save(folder.parent / name)
    with pytest.raises(InputError, match=f"set: holds the image {name} beside the folder samples, and either may be"):
        images.read_directory(folder.parent)


def test_shapes_of_directories_that_are_refused(folder, tmp_path):
    def refused(path, message):
        with pytest.raises(InputError, match=message):
            images.read_directory(path)

    refused(tmp_path / "absent", "absent: no such folder; give a folder that holds one folder of images")
    refused(folder / "0000.png", r"0000\.png: is a file, not a folder; give a folder")
    refused(folder, r"samples: holds no folder and 7 files; expected one folder that holds the images")
    (folder.parent / "other").mkdir()
    refused(folder.parent, r"set: holds 2 folders \(other, samples\) and 0 files; expected one folder")
    (folder.parent / "other").rename(folder / "inner")
    refused(folder.parent, "samples: holds the folder 'inner'; put all the images into one folder")
    (tmp_path / "bare" / "class").mkdir(parents=True)
    (tmp_path / "bare" / "class" / ".DS_Store").write_bytes(b"")
    refused(tmp_path / "bare", "class: the folder is empty; expected one folder that holds the images")
