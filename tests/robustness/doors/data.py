"""Data sets: text of Binarized MNIST, MATLAB files of SVHN, and the prepared arrays."""

import functools
import gzip
import io
import zipfile

import numpy as np
from robustness.inputs import load
from robustness.runner import Case, Door
from robustness.spoil import about, both, changes, cut, flips, moved, npz, writes

BITS = b" ".join([b"0", b"1"] * 392)  # a line of 784


def amat():
    command = "prepare_binarized_mnist --train train.amat --valid valid.amat --test test.amat --output digits.npz"
    case = functools.partial(Case, command=command)

    def lines(*texts):
        return writes("train.amat", b"".join(texts))

    return Door(
        "Binarized MNIST as text (`.amat`)",
        "Lines of 784 characters 0 or 1. A bad line is named by its number and column.",
        [
            case("a file that is not there", says="No such file", command=command.replace("valid.amat", "gone.amat")),
            case("an empty file", says="the file is empty", prepare=lines()),
            case("an HTML page instead of the file", says="line 1, column 1", prepare=lines(b"<!DOCTYPE html>\n")),
            case("the file compressed by gzip", says="line 1, column", prepare=changes("train.amat", gzip.compress)),
            case("text in UTF-16", says="line 1, column 1", prepare=lines(BITS.decode().encode("utf-16"))),
            case("a byte-order mark before sound lines", says="line 1, column 1: found",
                 prepare=lines(b"\xef\xbb\xbf" + BITS + b"\n")),
            case("the digit 2", says="line 2, column 3: found '2'", prepare=lines(BITS + b"\n", b"0 2" + BITS[3:])),
            case("a minus sign", says="line 2, column 1", prepare=lines(BITS + b"\n", b"-1" + BITS[1:] + b"\n")),
            case("decimal numbers", says="column 2: found '.'", prepare=lines(BITS.replace(b" ", b".0 ") + b"\n")),
            case("tabs between the values", says="column 2", prepare=lines(BITS.replace(b" ", b"\t") + b"\n")),
            case("commas between the values", says="found ','", prepare=lines(BITS.replace(b" ", b",") + b"\n")),
            case("a byte of 0 in a line", says="x00", prepare=lines(BITS[:9] + b"\0" + BITS[10:] + b"\n")),
            case("783 values in a line", says="line 1 has 783 values", prepare=lines(BITS[:-2] + b"\n")),
            case("785 values in a line", says="line 1 has 785 values", prepare=lines(BITS + b" 0\n")),
            case("a file cut off in its last line", says="line 20 has", prepare=cut("train.amat", 0.999)),
            case("an empty line between two", says="line 2 has 0 values", prepare=lines(BITS + b"\n\n" + BITS)),
            case("two spaces between two values", says="the spacing",
                 prepare=lines(BITS[:9] + b" " + BITS[9:] + b"\n")),
            case("lines that end in two ways", says="the line's end", prepare=lines(BITS + b"\n", BITS + b"\r\n")),
            case("a gigabyte of zero bytes (a sparse file)", says="line 1, column 1: found '\\x00'", prepare=sparse),
            case("a folder", says="a directory", prepare=lambda folder: (folder / "train.amat").mkdir()),
            case("one file for two splits", says="given for two splits",
                 command=command.replace("valid.amat", "train.amat")),
            case("two files of one content", says="equal to another split's file",
                 prepare=lambda folder: load(folder, "test.amat").with_name("valid.amat").write_bytes(
                     load(folder, "test.amat").read_bytes())),
            case("two files of one name in two folders", says="give the files different names",
                 command=command.replace("valid.amat", "more/train.amat"),
                 prepare=both(moved("valid.amat", "more/train.amat"))),
            case("a single image", code=0, says="", prepare=lines(BITS + b"\n")),
            case("lines that end in CR LF", code=0, says="", prepare=lines(BITS + b"\r\n", BITS + b"\r\n")),
            case("a last line without its end", code=0, says="", prepare=lines(BITS + b"\n", BITS)),
        ],
    )  # fmt: skip


def sparse(folder):
    with open(folder / "train.amat", "wb") as file:
        file.truncate(1 << 30)


def mat():
    command = "prepare_svhn --train train.mat --test test.mat --output numbers.npz"
    case = functools.partial(Case, command=command)

    def saves(**variables):
        """A MATLAB file as scipy writes it, with some variables other than sound ones; None leaves one out."""

        def change(folder):
            from scipy.io import savemat

            sound = {"X": np.zeros((32, 32, 3, 20), np.uint8), "y": (np.arange(20, dtype=np.uint8)[:, None] % 10) + 1}
            sound |= variables
            savemat(folder / "train.mat", {key: value for key, value in sound.items() if value is not None},
                    do_compression=True)  # fmt: skip

        return change

    header = b"MATLAB 5.0 MAT-file".ljust(124)
    return Door(
        "SVHN as MATLAB files (`.mat`)",
        "A small reader of the project's own; scipy's can be crashed by a damaged file.",
        [
            case("a file that is not there", says="No such file", command=command.replace("test.mat", "gone.mat")),
            case("an empty file", says="not a MATLAB v5 file", prepare=writes("train.mat", b"")),
            case("a page of HTML", says="not a MATLAB v5 file", prepare=writes("train.mat", "<!DOCTYPE html>" * 50)),
            case("a header and nothing else", says="holds no variable X",
                 prepare=writes("train.mat", header + b"\x00\x01IM")),
            case("a MATLAB v7.3 file", says="in MATLAB: save -v7",
                 prepare=writes("train.mat", b"\x89HDF\r\n\x1a\n" + bytes(600))),
            case("a file cut off in the middle", says="cut off", prepare=cut("train.mat")),
            case("a file without its last byte", says="cut off", prepare=changes("train.mat", lambda b: b[:-1])),
            case("a compressed file with one byte wrong", says="damaged",
                 prepare=both(saves(), flips("train.mat", 0.7))),
            case("images that claim four gigabytes", says="holds no variable y",
                 prepare=changes("train.mat", lambda b: b[:132] + b"\xf0\xff\xff\xff" + b[136:])),
            case("negative dimensions", says="do not fit its dimensions",
                 prepare=changes("train.mat",
                 lambda b: b.replace(b"\x20\0\0\0\x20\0\0\0\3", b"\xe0\xff\xff\xff\x20\0\0\0\3"))),
            case("no images", says="holds no variable X", prepare=saves(X=None)),
            case("no labels", says="holds no variable y", prepare=saves(y=None)),
            case("images as decimal numbers", says="X is double", prepare=saves(X=np.zeros((32, 32, 3, 20)))),
            case("images as truth values", says="logical or complex", prepare=saves(X=np.zeros((32, 32, 3, 20), bool))),
            case("text instead of images", says="X is char", prepare=saves(X="text")),
            case("a structure instead of images", says="X is struct", prepare=saves(X={"field": 1})),
            case("images of 28 x 28", says="expected (32, 32, 3, N)",
                 prepare=saves(X=np.zeros((28, 28, 3, 20), np.uint8))),
            case("grey images", says="expected (32, 32, 3, N)", prepare=saves(X=np.zeros((32, 32, 20), np.uint8))),
            case("fewer labels than images", says="(19, 1)", prepare=saves(y=np.ones((19, 1), np.uint8))),
            case("a label of 0", says="label 0 of image 0", prepare=saves(y=np.zeros((20, 1), np.uint8))),
            case("a label of 11", says="label 11 of image 0", prepare=saves(y=np.full((20, 1), 11, np.uint8))),
            case("no images and no labels in them", says="N > 0",
                 prepare=saves(X=np.zeros((32, 32, 3, 0), np.uint8), y=np.zeros((0, 1), np.uint8))),
            case("one image, of which none is left to validate with", says="a validation fraction of 0.1 takes 0 of 1",
                 prepare=saves(X=np.zeros((32, 32, 3, 1), np.uint8), y=np.ones((1, 1), np.uint8))),
            case("the test file for training, too", says="given for two splits",
                 command=command.replace("train.mat", "test.mat")),
            case("no image of the digit 7", code=0, says="",
                 prepare=saves(y=np.repeat(np.array([1, 2, 3, 4], np.uint8), 5)[:, None])),
            case("images that are all alike", code=0, says="", prepare=saves()),
        ],
    )  # fmt: skip


def prepared():
    command = "plot_data --binarized-mnist binarized_mnist.npz --images svhn.npz --output data.png"
    case = functools.partial(Case, command=command)
    train = "train_vae --data svhn.npz --output trained --epochs 1 --device cpu --threads 1"
    shape = np.zeros((5, 3, 32, 32), np.uint8)
    return Door(
        "Prepared data and other arrays (`.npz`)",
        "Written by the prepare stages. No array of Python objects is ever unpickled.",
        [
            case("a file that is not there", says="No such file", command=command.replace("svhn.npz", "gone.npz")),
            case("an empty file", says="svhn.npz: not a prepared file", prepare=writes("svhn.npz", b"")),
            case("text", says="not a prepared file of colour images", prepare=writes("svhn.npz", "images\n")),
            case("a file cut off in the middle", says="not a prepared", prepare=cut("svhn.npz")),
            case("a byte wrong in an array", says="not a prepared", prepare=flips("svhn.npz", 0.3)),
            case("an array that is missing", says="valid_labels", prepare=npz("svhn.npz", valid_labels=None)),
            case("no description", says="about", prepare=npz("svhn.npz", about=None)),
            case("a description that is no JSON", says="not JSON", prepare=npz("svhn.npz", about=np.array("{"))),
            case("the prepared digits instead of the house numbers", says="not a prepared file of colour images",
                 command=command.replace("--images svhn.npz", "--images binarized_mnist.npz")),
            case("a description of another data set", says="other than",
                 prepare=about("svhn.npz", dataset="CIFAR-10")),
            case("images as decimal numbers", says="float64", prepare=npz("svhn.npz", test_images=lambda x: x / 255)),
            case("images with the colour last", says="expected uint8",
                 prepare=npz("svhn.npz", test_images=lambda x: x.transpose(0, 2, 3, 1))),
            case("an empty split", says="test_images is uint8 (0, 3, 32, 32)",
                 prepare=npz("svhn.npz", test_images=lambda x: x[:0], test_labels=lambda y: y[:0])),
            case("fewer labels than images", says="labels", prepare=npz("svhn.npz", test_labels=lambda y: y[:-1])),
            case("a label of 10", says="labels up to 10", prepare=npz("svhn.npz", test_labels=lambda y: y * 0 + 10)),
            case("an array of Python objects", says="svhn.npz: not a prepared",
                 prepare=npz("svhn.npz", train_images=np.array([{"x": 1}], object))),
            case("a training of such data", command=train, says="(0, 3, 32, 32)",
                 prepare=npz("svhn.npz", valid_images=shape[:0])),
            case("an array that claims 300 terabytes", says="svhn.npz: not a prepared", prepare=absurd),
        ],
    )  # fmt: skip


def absurd(folder):
    """Arrays of which the first claims in its header to hold very many images, and holds none."""
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "|u1", "fortran_order": False, "shape": (10**11, 3, 32, 32)})
    path = load(folder, "svhn.npz")
    with zipfile.ZipFile(path) as whole:
        parts = {name: whole.read(name) for name in whole.namelist()}
    with zipfile.ZipFile(path, "w") as spoilt:
        for name, content in (parts | {"train_images.npy": header.getvalue()}).items():
            spoilt.writestr(name, content)


DOORS = [amat(), mat(), prepared()]
