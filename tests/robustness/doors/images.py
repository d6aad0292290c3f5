"""Images: folders in the project's own layout, read strictly, and what people hand in, read with tolerance."""

import functools
import shlex
import struct
import zlib

import numpy as np
from PIL import Image
from robustness.inputs import pixels
from robustness.runner import Case, Door
from robustness.spoil import beside, both, image, link, moved, npz, png_bytes, writes

LEAVINGS = ("__MACOSX", "@eaDir", "lost+found", "$RECYCLE.BIN", "System Volume Information", ".Trashes")
ODD = "пример 'é\" $(x)"
FILES = ("Thumbs.db", "thumbs.DB", "ehthumbs.db", "Desktop.ini", "Icon\r", ".DS_Store", "._0001.png")


def many(name, count, size=lambda number: (32, 32)):
    """Images in a folder."""

    def change(folder):
        for number in range(count):
            image(f"{name}/{number:04}.png", size=size(number))(folder)

    return change


def folders(*names):
    return lambda folder: [(folder / name).mkdir(parents=True) for name in names]


def png_with(chunk, data=b"", size=(32, 32), depth=8):
    """A PNG file's bytes with one more chunk, or with another size or depth in its header."""

    def part(name, content):
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    width, height = size
    rows = (b"\0" + bytes(3 * 32 * depth // 8)) * 32
    header = part(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, 2, 0, 0, 0))
    more = part(chunk, data) if chunk else b""
    return b"\x89PNG\r\n\x1a\n" + header + more + part(b"IDAT", zlib.compress(rows)) + part(b"IEND", b"")


def animated(name, **options):
    def change(folder):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        frames = [Image.fromarray(each.transpose(1, 2, 0)) for each in pixels(3)]
        frames[0].save(folder / name, save_all=True, append_images=frames[1:], **options)

    return change


def cut_image(name, form):
    def change(folder):
        image(name, format=form)(folder)
        whole = (folder / name).read_bytes()
        (folder / name).write_bytes(whole[: len(whole) // 2])

    return change


def strict():
    command = "score_fid samples --model classifier.safetensors --reference test.mat --output fid.json --threads 1"
    case = functools.partial(Case, command=command)
    extra = "samples/samples/9999.png"
    draw = functools.partial(
        Case, command="plot_samples --samples samples --names a --data svhn.npz --output figure.png"
    )

    def more(what, says, change, code=2, all_pixels=False):
        """A sound folder and one thing more. all_pixels: it is seen only when all images are decoded."""
        return (case if code == 0 or all_pixels else draw)(
            what, says=says, prepare=beside("samples", change), code=code
        )

    return Door(
        "Folders of samples, read strictly",
        "The stages that read DIRECTORY take one folder of 8-bit colour images inside it, and nothing else.",
        [
            case("a folder that is not there", says="no such folder", command=command.replace("samples", "gone")),
            draw("a file instead of the folder", says="is a file", prepare=writes("samples", b"x")),
            draw("an empty folder", says="holds no folder and 0 files", prepare=folders("samples")),
            case("the folder of the images itself", says="holds no folder and 24 files",
                 command=command.replace("fid samples", "fid samples/samples")),
            draw("an empty folder inside", says="the folder is empty", prepare=folders("samples/samples")),
            draw("a folder of hidden files alone", says="the folder is empty",
                 prepare=writes("samples/a/.hidden.png", png_bytes())),
            more("two folders", "2 folders (other, samples)", many("samples/other", 2)),
            more("a folder inside the folder of images", "holds the folder 'inner'", folders("samples/samples/inner")),
            draw("40 images beside a folder of 3 thumbnails", says="holds the image 0000.png beside the folder thumbs",
                 prepare=both(many("samples", 40), many("samples/thumbs", 3))),
            more("a picture beside the folder of images", "holds the image preview.gif", image("samples/preview.gif")),
            more("a text beside the folder of images", "", writes("samples/notes.txt", "x"), code=0),
            more("text among the images", "not a PNG, JPEG, BMP or WebP", writes(extra, "text")),
            more("an empty file among the images", "not a PNG, JPEG, BMP or WebP", writes(extra, b"")),
            more("a page of HTML called .png", "not a PNG, JPEG, BMP or WebP", writes(extra, "<!DOCTYPE html>")),
            more("a script in SVG", "not a PNG, JPEG, BMP or WebP",
                 writes(extra, "<svg><script>alert(1)</script></svg>")),
            more("PostScript, which other programs would run", "not a PNG", writes(extra, "%!PS-Adobe-3.0 EPSF-3.0\n")),
            more("a GIF", "not a PNG, JPEG, BMP or WebP", image(extra, format="GIF")),
            more("a grey image", "a greyscale image (mode L)", image(extra, mode="L")),
            more("a black-and-white image", "a greyscale image (mode 1)", image(extra, mode="1")),
            more("an image with transparency", "an image with transparency (mode RGBA)", image(extra, mode="RGBA")),
            more("an image in CMYK", "colour mode CMYK", image(extra, mode="CMYK", format="JPEG")),
            more("a palette with a transparent colour", "transparency (mode P)",
                 image(extra, mode="P", transparency=0)),
            more("16 bits a channel", "16 bits", writes(extra, png_with(None, depth=16))),
            more("an animation", "an animation", animated(extra, format="PNG")),
            more("a PNG file cut off", "damaged", cut_image(extra, "PNG"), all_pixels=True),
            more("a JPEG file cut off", "not a PNG, JPEG, BMP or WebP", cut_image(extra, "JPEG")),
            more("a BMP file cut off", "damaged", cut_image(extra, "BMP"), all_pixels=True),
            more("a WebP file cut off", "9999.png", cut_image(extra, "WEBP")),
            more("a PNG file with a checksum wrong", "damaged",
                 writes(extra, png_bytes()[:60] + b"x" + png_bytes()[61:]), all_pixels=True),
            more("a PNG file of 100 million pixels", "10000 x 10000 pixels; give images of 16,777,216",
                 writes(extra, png_with(None, size=(10_000, 10_000)))),
            more("a PNG file of 400 million pixels", "too many pixels; give images of 16,777,216",
                 writes(extra, png_with(None, size=(20_000, 20_000)))),
            more("a PNG file whose text unpacks to 64 MB", "9999.png",
                 writes(extra, png_with(b"zTXt", b"k\0\0" + zlib.compress(bytes(1 << 26))))),
            more("a PNG file of no pixels", "9999.png", writes(extra, png_with(None, size=(0, 0)))),
            more("a link to nowhere", "No such file", link(extra, "nowhere.png")),
            more("a link to itself", "9999.png", link(extra, "9999.png")),
            more("a link to an image", "", link(extra, "0000.png"), code=0),
            case("a single image", says="moments need 2 or more", prepare=many("samples/samples", 1)),
            case("2 images, all alike", code=0, says="FID",
                 prepare=both(image("samples/a/0.png"), image("samples/a/1.png"))),
            case("400 images of 400 sizes", code=0, says="400 of 400 images are not 32 x 32",
                 prepare=many("samples/samples", 400, lambda number: (33 + number % 20, 33 + number // 20))),
            case("JPEG files", code=0, says="lossy", prepare=both(*(image(f"samples/a/{n}.jpg") for n in range(2)))),
            more("what Mac, Windows and network drives leave", "", both(
                folders(*(f"samples/{name}" for name in LEAVINGS), *(f"samples/samples/{name}" for name in LEAVINGS)),
                *(writes(f"samples/{place}{name}", b"x") for place in ("", "samples/") for name in FILES)), code=0),
            case("names with spaces, quotes and letters of any script", code=0, says="FID",
                 prepare=moved("samples", ODD), command=command.replace("fid samples", f"fid {shlex.quote(ODD)}")),
            case("a name that is no UTF-8", code=0, says="FID", prepare=moved("samples", "caf\udce9"),
                 command=command.replace("fid samples", "fid caf\udce9")),
            case("the reference as its own floor", says="cannot be its own floor",
                 command=f"{command} --floor test.mat"),
            case("a text file for the reference", says="cannot be read as real images", prepare=writes("real.txt", "x"),
                 command=command.replace("test.mat", "real.txt")),
        ],
    )  # fmt: skip


def handed_in():
    command = "import_samples --samples given --count 24 --output out"
    case = functools.partial(Case, command=command)
    arrays = command.replace("given", "given.npz")
    extra = "given/more.png"

    def more(what, says, change, **others):
        return case(what, says=says, prepare=beside("given", change), **others)

    return Door(
        "Samples that people hand in",
        "`import_samples` and `score_samples` convert by the rules in [own_models.md](own_models.md), and say what "
        "they converted.",
        [
            case("a folder that is not there", says="no such file or folder", command=command.replace("given", "gone")),
            case("an archive of another kind", says="neither a folder nor",
                 prepare=writes("given.tar", b"x"),
                 command=command.replace("given", "given.tar")),
            case("a folder without images", says="holds no image", prepare=writes("given/notes.txt", "x")),
            case("fewer images than are scored", says="30 images, fewer than the 40",
                 command=command.replace("24", "40")),
            more("text called .png", "not an image of a known format; remove it", writes(extra, "text")),
            more("an image cut off", "not an image that can be read", cut_image(extra, "PNG")),
            more("a GIF", "a file of the format GIF; save it as PNG", image("given/a.gif")),
            more("a TIFF", "a file of the format TIFF; save it as PNG", image("given/a.tif")),
            more("an image in CMYK", "colour mode CMYK", image("given/a.jpg", mode="CMYK")),
            more("an animation", "an animation of 3 frames", animated("given/a.webp")),
            more("parts that are transparent", "parts of it are transparent",
                 image(extra, mode="RGBA", color=(1, 2, 3, 100))),
            more("400 million pixels", "too many pixels; give images of 16,777,216",
                 writes(extra, png_with(None, size=(20_000, 20_000)))),
            more("PostScript called .png", "not an image of a known format",
                 writes(extra, "%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n")),
            more("text that unpacks to 64 MB in a PNG file", "more.png",
                 writes(extra, png_with(b"zTXt", b"k\0\0" + zlib.compress(bytes(1 << 26))))),
            more("a link to nowhere", "more.png", link(extra, "nowhere.png")),
            more("a folder that links to its parent", "", link("given/loop", "."), code=0),
            more("grey, 16 bits, a palette, an opaque alpha channel, another size, JPEG",
                 "grey, repeated in three channels: 1", both(
                image("given/a.png", mode="L"), writes("given/b.png", png_with(None, depth=16)), image("given/c.png",
                      mode="P"),
                image("given/d.png", mode="RGBA"), image("given/e.png", size=(64, 48)), image("given/f.jpg")), code=0),
            more("what Mac, Windows and network drives leave", "", both(
                *(writes(f"given/{name}/a.png", b"x") for name in LEAVINGS),
                  *(writes(f"given/{name}", b"x") for name in FILES)), code=0),
            more("a text and a table among the images", "files left out that are no images: 2",
                 both(writes("given/README.txt", "x"), writes("given/log.csv", "x")), code=0),
            case("images that are all alike", code=0, says="equal to an earlier one: 29",
                 prepare=both(*(image(f"given/{n}.png", color=(9, 9, 9)) for n in range(30)))),
            case("an .npz file of text", says="no zip archive", prepare=writes("given.npz", "text"),
                 command=arrays),
            case("an .npz file of decimal numbers", says="float64", prepare=npz("given.npz", images=lambda x: x / 255),
                 command=arrays),
            case("an .npz file of 64 x 64 images", says="(30, 3, 64, 64)", command=arrays,
                 prepare=npz("given.npz", images=lambda x: x.repeat(2, 2).repeat(2, 3))),
            case("an .npz file of no images", says="(0, 3, 32, 32)", prepare=npz("given.npz", images=lambda x: x[:0]),
                 command=arrays),
            case("an .npz file of statistics", says="call the one of the images 'images'", command=arrays,
                 prepare=npz("given.npz", images=None, mu=np.zeros(512), sigma=np.zeros((2, 2)))),
            case("an .npz file of Python objects", says="not an NPZ file of numbers", command=arrays,
                 prepare=npz("given.npz", images=np.array([{"x": 1}], object))),
            case("an .npz file that unpacks to four gigabytes", says="more than 3,072,001,000", prepare=four_gigabytes,
                 command=arrays),
            case("an .npz file with the colour last", code=0, says="30 of 30 images",
                 prepare=npz("given.npz", images=lambda x: x.transpose(0, 2, 3, 1)), command=arrays),
            case("a command that lacks {seed}", says="{seed} missing",
                 command="import_samples --command 'draw {output} {count}' --output out"),
            case("a command that fails", code=1, says="ended with exit code 3",
                 command="import_samples --command 'exit 3 # {output} {count} {seed}' --output out"),
            case("a command that writes nothing", code=1, says="has not made the folder",
                 command="import_samples --command 'true {output} {count} {seed}' --output out"),
            case("a command that is not installed", code=1, says="ended with exit code 127",
                 command="import_samples --command 'nothing-of-this-name {output} {count} {seed}' --output out"),
            case("a folder that is no sample directory where the samples go", says="is no sample directory",
                 prepare=writes("out/samples/thesis.tex", "x")),
        ],
    )  # fmt: skip


def four_gigabytes(folder):
    import zipfile

    with zipfile.ZipFile(folder / "given.npz", "w") as file:
        header = (
            b"\x93NUMPY\x01\0v\0"
            + b"{'descr': '|u1', 'fortran_order': False, 'shape': (2, 32, 32, 3)}".ljust(117)
            + b"\n"
        )
        file.writestr("images.npy", header + bytes(100))
    whole = bytearray((folder / "given.npz").read_bytes())
    place = whole.rindex(b"PK\x01\x02")  # the central directory, which tells the size
    whole[place + 24 : place + 28] = struct.pack("<I", 2**32 - 2)
    (folder / "given.npz").write_bytes(bytes(whole))


DOORS = [strict(), handed_in()]
