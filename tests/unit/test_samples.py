"""Samples that any program made: what is taken, converted, left out and refused."""

import zipfile

import numpy as np
import pytest
from genlab import InputError
from genlab.data import samples
from PIL import Image


def random_images(*shape, seed=0, dtype=np.uint8):
    return np.random.default_rng(seed).integers(0, np.iinfo(dtype).max, shape, dtype=dtype, endpoint=True)


COLOURS = random_images(32, 32, 3)


def save(path, pixels=COLOURS, mode=None, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(pixels)
    (image.convert(mode) if mode else image).save(path, **options)


def read_one(path):
    """The pixels (32, 32, 3) of the only image, and what was done."""
    found, done = samples.read(path)
    assert found.shape == (1, 3, 32, 32) and found.dtype == np.uint8
    return found[0].transpose(1, 2, 0), done


def test_colours_are_read_as_they_are(tmp_path):
    save(tmp_path / "a.png")
    pixels, done = read_one(tmp_path)
    assert (pixels == COLOURS).all() and done == {}


def test_images_at_any_depth_are_read_in_the_order_of_their_paths(tmp_path):
    for number, name in enumerate(("b/2.PNG", "a/deep/1.png", "c")):
        save(tmp_path / name, np.full((32, 32, 3), number, np.uint8), format="PNG")
    assert samples.read(tmp_path)[0][:, 0, 0, 0].tolist() == [1, 0, 2]


def test_files_of_file_managers_are_not_spoken_of_and_others_are_counted(tmp_path):
    save(tmp_path / "a.png")
    for name in (".DS_Store", "Thumbs.db", "__MACOSX/._a.png", ".hidden/b.png", "README.txt", "log.csv"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x")
    assert read_one(tmp_path)[1] == {"files left out that are no images": 2}


def test_grey_is_repeated(tmp_path):
    save(tmp_path / "a.png", COLOURS[..., 0])
    pixels, done = read_one(tmp_path)
    assert (pixels == COLOURS[..., :1]).all() and done == {"grey, repeated in three channels": 1}


def test_sixteen_bits_are_rounded_to_eight(tmp_path):
    deep = random_images(32, 32, dtype=np.uint16)
    save(tmp_path / "a.png", deep)
    pixels, done = read_one(tmp_path)
    assert (pixels[..., 2] == np.rint(deep * (255 / 65535))).all()
    assert done == {"grey, repeated in three channels": 1, "16 bits, reduced to 8": 1}


def test_an_opaque_alpha_channel_is_dropped(tmp_path):
    save(tmp_path / "a.png", mode="RGBA")
    pixels, done = read_one(tmp_path)
    assert (pixels == COLOURS).all() and done == {"opaque alpha channel dropped": 1}


def test_a_palette_is_looked_up(tmp_path):
    flat = np.repeat(random_images(1, 8, 3), 32, axis=0).repeat(4, axis=1)
    Image.fromarray(flat).quantize(8).save(tmp_path / "a.png")
    pixels, done = read_one(tmp_path)
    assert abs(pixels.astype(int) - flat).max() <= 2 and done == {"of a palette": 1}


def test_jpeg_is_said_to_be_lossy(tmp_path):
    save(tmp_path / "a.JPG", np.full((32, 32, 3), 90, np.uint8))
    pixels, done = read_one(tmp_path)
    assert abs(pixels.astype(int) - 90).max() <= 1 and done == {"of a lossy format": 1}


def test_other_sizes_are_resized(tmp_path):
    save(tmp_path / "a.png", np.repeat(np.repeat(COLOURS, 2, 0), 2, 1))
    pixels, done = read_one(tmp_path)
    assert done == {"resized to 32 x 32": 1}
    assert abs(pixels.mean((0, 1)) - COLOURS.mean((0, 1))).max() < 1  # a blur leaves the mean


def test_a_photograph_is_turned_upright(tmp_path):
    exif = Image.Exif()
    exif[samples.ORIENTATION] = 6  # its top is at the right: turn by 90 degrees clockwise
    save(tmp_path / "a.png", exif=exif)
    pixels, done = read_one(tmp_path)
    assert (pixels == np.rot90(COLOURS, -1)).all() and done == {"turned upright": 1}


def test_repeated_images_are_kept(tmp_path):
    for name in "abc":
        save(tmp_path / f"{name}.png")
    found, done = samples.read(tmp_path)
    assert len(found) == 3 and done == {}


@pytest.mark.parametrize("name", ["images", "samples", "arr_0", "whatever"])
@pytest.mark.parametrize("last", [True, False])
def test_an_npz_file_has_its_channels_first_or_last(tmp_path, name, last):
    pictures = random_images(5, 3, 32, 32)
    np.savez(tmp_path / "a.npz", **{name: pictures.transpose(0, 2, 3, 1) if last else pictures})
    assert (samples.read(tmp_path / "a.npz")[0] == pictures).all()


def test_labels_beside_the_images_of_an_npz_file_do_no_harm(tmp_path):
    np.savez(tmp_path / "a.npz", arr_0=random_images(5, 32, 32, 3), arr_1=np.arange(5))
    assert len(samples.read(tmp_path / "a.npz")[0]) == 5


def animation(path):
    frames = [Image.fromarray(random_images(32, 32, 3, seed=seed)) for seed in range(3)]
    frames[0].save(path, save_all=True, append_images=frames[1:])


def transparent(path):
    save(path, np.dstack([COLOURS, np.full((32, 32), 100, np.uint8)]))


REFUSED = {
    "transparent": ("a.png", transparent, "a.png: parts of it are transparent; save it opaque"),
    "animated": ("a.webp", animation, "a.webp: an animation of 3 frames; save one still image a file"),
    "gif": ("a.gif", save, "a.gif: a file of the format GIF; save it as PNG"),
    "tiff": ("a.tif", save, "a.tif: a file of the format TIFF; save it as PNG"),
    "cmyk": ("a.jpg", lambda path: save(path, mode="CMYK"), "a.jpg: an image of colour mode CMYK; save it as RGB"),
    "damaged": (
        "a.png",
        lambda path: path.write_bytes(b"\x89PNG\r\n"),
        "a.png: not an image of a known format; remove it",
    ),
    "no image": ("a.png", lambda path: path.write_text("<html>"), "a.png: not an image of a known format; remove it"),
    "none": ("a.txt", lambda path: path.write_text("x"), "holds no image; give a folder of PNG"),
}


@pytest.mark.parametrize("name, make, message", REFUSED.values(), ids=REFUSED)
def test_a_folder_of_what_cannot_be_scored_is_refused_by_the_file(tmp_path, name, make, message):
    make(tmp_path / name)
    with pytest.raises(InputError, match=message):
        samples.read(tmp_path)


def test_a_cut_image_is_refused(tmp_path):
    save(tmp_path / "a.png")
    content = (tmp_path / "a.png").read_bytes()
    (tmp_path / "a.png").write_bytes(content[: len(content) // 2])
    with pytest.raises(InputError, match=r"a.png: not an image that can be read"):
        samples.read(tmp_path)


def test_an_image_of_absurd_size_is_refused_before_it_is_decoded(tmp_path):
    Image.new("1", (5000, 5000)).save(tmp_path / "a.png")
    with pytest.raises(InputError, match=r"a.png: 5000 x 5000 pixels; give images of 16,777,216 pixels or fewer"):
        samples.read(tmp_path)


@pytest.mark.parametrize(
    "arrays, message",
    [
        ({"images": np.zeros((2, 32, 32, 3))}, "'images' is float64 .2, 32, 32, 3.; expected uint8 images"),
        ({"images": np.zeros((2, 64, 64, 3), np.uint8)}, "'images' is uint8 .2, 64, 64, 3."),
        ({"images": np.zeros((0, 32, 32, 3), np.uint8)}, "'images' is uint8 .0, 32, 32, 3."),
        ({"x": np.zeros(3), "y": np.zeros(3)}, "holds the arrays x, y; call the one of the images 'images'"),
        ({"images": np.array([{}])}, "not an NPZ file of numbers"),
    ],
)
def test_other_npz_files_are_refused(tmp_path, arrays, message):
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(InputError, match=message):
        samples.read(tmp_path / "a.npz")


def test_a_member_that_numpy_would_read_in_place_of_the_one_checked_is_refused(tmp_path):
    np.savez(tmp_path / "a.npz", images=np.zeros((2, 32, 32, 3), np.uint8))
    with zipfile.ZipFile(tmp_path / "a.npz", "a") as archive:
        archive.writestr("images", b"\0" * 1000)
    with pytest.raises(InputError, match=r"a.npz: .*two of its members are called 'images'"):
        samples.read(tmp_path / "a.npz")


def test_an_array_that_unpacks_to_too_much_is_refused_before_it_is_unpacked(tmp_path, monkeypatch):
    np.savez_compressed(tmp_path / "a.npz", images=np.zeros((100, 32, 32, 3), np.uint8))
    monkeypatch.setattr(samples, "LIMIT", 99 * 3072)
    with pytest.raises(InputError, match=r"a.npz: .*'images': takes 307,328 bytes, more than 304,128"):
        samples.read(tmp_path / "a.npz")


@pytest.mark.parametrize(
    "name, message",
    [("a.tar", "neither a folder nor an .npz file"), ("b", "no such file or folder"), ("c.npz", "not an NPZ")],
)
def test_what_is_no_samples_is_refused(tmp_path, name, message):
    if name != "b":
        (tmp_path / name).write_text("x")
    with pytest.raises(InputError, match=f"{name}: {message}"):
        samples.read(tmp_path / name)
