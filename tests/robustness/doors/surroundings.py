"""What is around a stage: disk, rights, memory, locks, terminal, environment, links; and downloads."""

import functools
import hashlib

from robustness.inputs import load
from robustness.runner import Case, Door
from robustness.spoil import both, edits, link, mode, moved, writes

PREPARE = "prepare_binarized_mnist --train train.amat --valid valid.amat --test test.amat --output digits.npz"
TRAIN = (
    "train_binary_vae --data binarized_mnist.npz --output trained --epochs 1 --warmup-steps 1 --batch-size 10 "
    "--device cpu --threads 1"
)


def surroundings():
    prepare = "prepare_svhn --train train.mat --test test.mat --output numbers.npz"
    summarise = "summarise_fid --scores score.json --output fid.txt"
    sample = "sample --weights gan.safetensors --count 24 --output drawn --threads 1"
    full = functools.partial(Case, says="make room", code=1)

    def named(model):
        return edits("score.json", model=model)

    return Door(
        "Disk, permissions, memory, locks, terminal, environment",
        "A limit of the size of files stands in for a full disk. Permissions bind root here too. File systems without "
        "locks are simulated.",
        [
            full("a full disk: an array", prepare, under="file-size=100000"),
            full("a full disk: text", "render_digits --count 3 --output digits.amat", under="file-size=1000"),
            full("a full disk: JSON and text", summarise, under="file-size=400"),
            full("a full disk: a figure", "plot_fid --scores fid.json --output figure.png", under="file-size=5000"),
            full("a full disk: a folder of images", sample, under="file-size=500"),
            full("a full disk: weights", "import_classifier --weights classifier.pt --output imported.safetensors",
                 under="file-size=5000"),
            full("a full disk: a page and its tables", "score_samples given samples --model classifier.safetensors "
                 "--reference svhn.npz --output new/board --floor-draws 2 --threads 1", under="file-size=500"),
            Case("a folder that may not be written to", PREPARE.replace("digits.npz", "closed/digits.npz"), code=2,
                 says="Permission denied", prepare=mode("closed", 0o555), under="modes"),
            Case("a folder that cannot be made", sample.replace("drawn", "new/drawn"), says="Permission denied",
                 prepare=mode("new", 0o555), under="modes"),
            Case("a file that may not be read", prepare, says="Permission denied",
                 prepare=lambda folder: load(folder, "train.mat").chmod(0), under="modes"),
            Case("a folder that may not be looked into",
                 "score_fid samples --model classifier.safetensors --reference svhn.npz",
                 says="Permission denied", prepare=lambda folder: load(folder, "samples").chmod(0), under="modes"),
            Case("an earlier result that may not be written to, in a folder that may", PREPARE, code=0, says="",
                 prepare=lambda folder: writes("digits.npz", "x")(folder) or (folder / "digits.npz").chmod(0o444),
                 under="modes"),
            Case("too little memory for the images that are asked for",
                 "render_digits --count 100000 --output digits.mat", says="--count", under="memory=30000000"),
            Case("too little memory for a model's latents", sample.replace("24", "2000000000"), code=1,
                 says="you tried to allocate 40000000000 bytes", under="memory=1000000000"),
            Case("a file system without locks (ENOLCK)", TRAIN, code=0, says="has no locks", under="locks=ENOLCK"),
            Case("a file system without locks (ENOSYS)", "fetch --output new/digits.amat --url train.amat", code=0,
                 says="has no locks", under="locks=ENOSYS"),
            Case("standard output on a full disk",
                 "score_fid samples --model classifier.safetensors --reference test.mat --threads 1",
                 code=1, says="standard output: No space left on device", under="stdout=/dev/full"),
            Case("a terminal that shows ASCII alone (`PYTHONIOENCODING=ascii`), and a name that is not", summarise,
                 code=0, says="(\\xe9chantillons, 1 seed",
                 prepare=named("échantillons"), env={"PYTHONIOENCODING": "ascii"}, fresh=True),
            Case("the locale `C`", summarise, code=0, says="échantillons", prepare=named("échantillons"),
                 env={"LC_ALL": "C"}, fresh=True),
            Case("a name that steers the terminal", summarise.replace("score.json", "'\x1b[2Jscore.json'"),
                 says="\\x1b[2Jscore.json: No such file"),
            Case("a name of two lines", summarise.replace("score.json", "'one\ntwo'"), says="No such file"),
            Case("no `HOME`, no `USER`, no `PATH`", summarise, code=0, says="FID",
                 env={"HOME": None, "USER": None, "PATH": None}),
            Case("`HOME` that does not exist, for a figure", "plot_fid --scores fid.json --output figure.png", code=0,
                 says="",
                 env={"HOME": "/nowhere", "MPLCONFIGDIR": None, "XDG_CACHE_HOME": None, "XDG_CONFIG_HOME": None}),
            Case("`TZ=Nowhere/Nothing`", PREPARE, code=0, says="", env={"TZ": "Nowhere/Nothing"}),
            Case("`OMP_NUM_THREADS=many`", PREPARE, code=0, says="", env={"OMP_NUM_THREADS": "many"}),
            Case("`umask 077`", PREPARE, code=0, says="", under="umask=077"),
            Case("spaces, quotes and letters of any script in every path",
                 "prepare_svhn --train 'данные \"1\"/train é.mat' --test 'данные \"1\"/te st.mat' "
                 "--output 'new/aus gabe/числа.npz'", code=0, says="",
                 prepare=both(moved("train.mat", 'данные "1"/train é.mat'), moved("test.mat", 'данные "1"/te st.mat'))),
            Case("inputs and the folder of the output by symbolic links", prepare.replace("numbers", "linked/numbers"),
                 code=0, says="",
                 prepare=both(moved("train.mat", "there/train.mat"), link("train.mat", "there/train.mat"),
                 link("linked", "there"))),
            Case("an output that is a symbolic link", PREPARE, code=0, says="",
                 prepare=both(writes("other.txt", "not ours"), link("digits.npz", "other.txt"))),
            Case("an input that links to itself", prepare, says="Too many levels of symbolic links",
                 prepare=link("train.mat", "train.mat")),
            Case("an input that links to nothing", prepare, says="No such file", prepare=link("train.mat", "nothing")),
            Case("an output that is read, too", "summarise_fid --scores score.json --output score.txt",
                 says="score.json: is read"),
            Case("a hidden file of another machine's run, half written", PREPARE, code=0, says="",
                 prepare=writes(".digits.npz.elsewhere-123.part.npz", "half")),
        ],
    )  # fmt: skip


def downloads():
    command = "fetch --output digits.amat --url"
    content = b"what is fetched\n"
    here = writes("mirror/digits.amat", content)
    good, wrong = hashlib.sha256(content).hexdigest(), "0" * 64

    def case(what, words, says, **others):
        return Case(what, f"{command} {words}", says=says, **others)

    return Door(
        "Downloads",
        "A file gets its name when its checksum is right, and not before. A server that lies, stalls or breaks off is "
        "simulated in `tests/unit/test_download.py`.",
        [
            case("a folder that does not exist", "nowhere/digits.amat", "No such file or directory"),
            case("an address that nobody answers", "http://127.0.0.1:1/digits.amat --retries 0", "Connection refused"),
            case("a mirror that does not exist, and an address that nobody answers",
                 "http://127.0.0.1:1/digits.amat --retries 0 --mirror nowhere",
                 "nowhere/digits.amat (No such file or directory)"),
            case("a mirror that does not exist, before one that does",
                 f"http://127.0.0.1:1/digits.amat --mirror nowhere mirror --sha256 {good}",
                 "nowhere/digits.amat: No such file", prepare=here, code=0),
            case("another content than the checksum says", f"mirror/digits.amat --sha256 {wrong}", f"expected {wrong}",
                 prepare=here),
            case("another size", "mirror/digits.amat --bytes 3", "more than 3 bytes", prepare=here),
            case("an empty file", f"mirror/digits.amat --sha256 {good}", "sha256 is",
                 prepare=writes("mirror/digits.amat", b"")),
            case("a folder instead of the file", "mirror", "Is a directory", prepare=here),
            case("`ftp://`", "ftp://example.org/digits.amat", "ftp:// are not known"),
            case("`file://` and a host", "file://host/digits.amat", "three slashes"),
            case("`http://` and no host", "http:///digits.amat", "names no host"),
            case("an address that ends in a slash", "http://127.0.0.1:1/", "names no file"),
            case("a checksum of three letters", "mirror/digits.amat --sha256 abc", "expected 64 hexadecimal digits"),
            case("no checksum", "mirror/digits.amat", "no checksum is known", prepare=here, code=0),
        ],
    )  # fmt: skip


DOORS = [surroundings(), downloads()]
