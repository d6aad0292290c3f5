"""Try an input on a stage, in a folder of its own: what it says, how it ends, what it leaves, what it promised.

A `Case` is one input. `run` tries it and gives an `Outcome`; `Outcome.broken` lists the promises that were not kept.
"""

import dataclasses
import os
import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import forks
from robustness import inputs
from stage import SCRIPTS

UNDER = Path(__file__).with_name("under.py")
# Stages that never import torch run in children of a smaller process, which take half the time.
SMALL = ("compare", "export", "fetch", "import_samples", "plot", "prepare", "render", "summarise")
MODULES = (
    "PIL.BmpImagePlugin", "jsonschema", "matplotlib.backends.backend_pdf", "matplotlib.figure", "pandas", "requests",
    "scipy.io", "scipy.linalg", "scipy.stats", "yaml",
)  # fmt: skip
EARLIER = b"a result of an earlier run\n"
# What the stages that write a folder write into it; the others write files beside the one that --output names.
FOLDERS = {
    "compare": ("summary.csv", "comparison.csv"),
    "evaluate_features": ("metrics.json", "fid_curve.csv", "nearest.npz"),
    "evaluate_samples": ("statistics.json", "spectrum.csv"),
    "explore_latents": ("latents.json", "latents.npz"),
    "export_tables": ("acceptance.md", "acceptance.tex"),
    "import_samples": ("samples/samples/0000.png", "images.npz", "import.json"),
    "sample": ("samples/0000.png",),
    "score_samples": ("leaderboard.csv", "leaderboard.json"),
    "train_classifier": ("trained.safetensors", "history.csv", "training.json"),
    "train_binary_vae": ("model.safetensors", "history.csv", "training.json"),
    "train_gan": ("model.safetensors", "history.csv", "training.json", "frames.npz"),
    "train_vae": ("model.safetensors", "history.csv", "training.json"),
}
BESIDE = {".png": ".pdf", ".txt": ".json"}
# How a sentence asks for what is to be done.
REMEDY = re.compile(
    r"\b(ask for|call|check|choose|did you mean|expected|fetch|free|give|known keys here|leave|lower|make|name|needs?|"
    r"permit|put|quote|raise|remake|remove|rename|run|save|set|train|use|write)\b|--help lists|the contract of --|"
    r"FILE\.py:(CLASS|NAME)|is not (one of|of type)|the minimum of|should be|has non-unique|does not match|must"
)
# What a complaint may name besides the files and options of the command.
PLACE = re.compile(
    r"--(?!help)[a-z]|DIRECTORY|configuration: [a-z]|error: \.: |not enough memory|standard output|learning_rate"
)
CONVERSATION = re.compile(r"^\d\d:\d\d:\d\d (INFO|WARNING) (.*)$")
PROGRESS = re.compile(r"\d+%\||\[\d\d:\d\d[<,]")


@dataclasses.dataclass(frozen=True)
class Case:
    """An input, and the stage that it is tried on.

    what      the input in words, for the page
    command   the stage and its arguments; what `inputs` can make and `prepare` has not made is put there sound
    says      a part of what the stage must say
    prepare   called with the folder that the stage runs in
    code      2 for wrong input, 1 for a computation that fails, 0 for what is to be taken
    under     faults of the surroundings, as `under.py` takes them
    env       changes to the environment; None unsets
    fresh     in a new interpreter, for what an interpreter reads when it starts
    """

    what: str
    command: str
    says: str
    prepare: Callable[[Path], object] = lambda folder: None
    code: int = 2
    under: str = ""
    env: dict = dataclasses.field(default_factory=dict)
    fresh: bool = False


@dataclasses.dataclass(frozen=True)
class Door:
    """A way into the pipeline, and what is tried there."""

    title: str
    about: str
    cases: list[Case]


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What happened: exit code, lines that were said, files that are new or changed, and the promises not kept."""

    code: int
    said: tuple[str, ...]
    left: tuple[str, ...]
    earlier: bool
    broken: tuple[str, ...]


def run(case):
    """Try a case."""
    with tempfile.TemporaryDirectory(prefix="genlab-case-") as place:
        folder = Path(place, "here").resolve()
        folder.mkdir()
        name, *words = shlex.split(case.command)
        case.prepare(folder)
        written = outputs(name, words)
        for word in words:
            if word not in written:
                inputs.give(folder, word)
        earlier = put_earlier(folder, name, written)
        before = content(folder)
        process = start(case, name, words, folder)
        after = content(folder)
    log = tidy(process.stderr, folder).splitlines()
    said = conversation(log) if case.code == 0 else complaint(log, name)
    if case.code == 0 and process.stdout:
        said += tuple(rounded(line) for line in tidy(process.stdout, folder).splitlines()[:1])
    left = tuple(sorted(path for path in before.keys() | after.keys() if before.get(path) != after.get(path)))
    found = Outcome(process.returncode, said, left, earlier, ())
    return dataclasses.replace(found, broken=tuple(broken(case, found, log, names_in(before, words))))


def start(case, name, words, folder):
    """The finished process of a case."""
    program = [SCRIPTS / f"{name}.py", *words]
    if case.under:
        program = [UNDER, *case.under.split(), "--", *program]
    env = {**os.environ, "CUDA_VISIBLE_DEVICES": "", **case.env}
    env = {key: value for key, value in env.items() if value is not None}
    if case.fresh:
        command = [sys.executable, *map(str, program)]
        return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, errors="backslashreplace")
    return forks.run(program, MODULES if name.startswith(SMALL) else forks.STAGES, cwd=folder, env=env)


def outputs(name, words):
    """The words of a command that name what the stage writes."""
    if "--output" not in words:
        return []
    start = words.index("--output") + 1
    return words[start : start + (2 if name in ("plot_digits", "plot_gan_training") else 1)]


def put_earlier(folder, name, written):
    """Put results of an earlier run where the stage will write, but in "new"; returns whether there are any."""
    files = []
    for word in written:
        if word and not word.startswith(("new/", "-")) and not os.path.lexists(folder / word):
            path = folder / word
            files += [path / part for part in FOLDERS.get(name, ("",))]
            files.append(path.with_suffix(BESIDE.get(path.suffix, path.suffix)))
    try:
        for file in (file for file in files if not file.exists()):
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(EARLIER)
    except OSError:  # the name of the output is the input that is tried
        return False
    return bool(files)


def content(folder):
    """{path: bytes, or what else is there} of all that a folder holds."""
    found = {}
    for place, folders, names in os.walk(folder):
        for name in (*folders, *names):
            path = os.path.join(place, name)
            key = os.path.relpath(path, folder).encode(errors="surrogateescape").decode(errors="backslashreplace")
            if os.path.islink(path):
                found[key] = f"link to {os.readlink(path)}"
            elif os.path.isfile(path):
                size = os.path.getsize(path)
                found[key] = Path(path).read_bytes() if size < 1 << 26 else f"{size} bytes"
            elif not os.listdir(path):
                found[f"{key}/"] = "folder"
    return found


def tidy(text, folder):
    """Text without what differs from run to run."""
    for place, word in ((f"{folder}/", ""), (str(folder), "."), (str(SCRIPTS.parents[1]), "PROJECT")):
        text = text.replace(place, word)
    return re.sub(r"\b[0-9a-f]{32}\b", "…", text)  # kept features are named after the code, too


def rounded(line):
    """A line with numbers of two significant digits, so that it is the same on every machine."""
    return re.sub(r"\d+\.\d+(e[-+]\d+)?", lambda number: f"{float(number[0]):.2g}", line)


def conversation(log):
    """What a stage that succeeds says besides its progress: warnings, and whatever should not be there."""
    lines = [line for line in log if not PROGRESS.search(line)]
    matches = [(CONVERSATION.match(line), line) for line in lines]
    return tuple(rounded(match[2]) if match else line for match, line in matches if not match or match[1] != "INFO")


def complaint(log, name):
    """The lines from the one on with which a stage ends."""
    first = next((n for n, line in enumerate(log) if line.startswith(f"{name}.py: ")), len(log))
    lines = [line.removeprefix(f"{name}.py: ") for line in log[first:]]
    return tuple(re.sub(r"\d+\.\d{5,}", lambda number: f"{float(number[0]):.2g}", line) for line in lines)


def names_in(before, words):
    """The files and options that a complaint may name."""
    parts = {part for path in before for part in path.split("/")} | set(words)
    parts |= {re.sub(r"\.\w+$", "", part) for part in parts}  # files of other endings stand beside it
    return {name for part in parts for name in (part, ascii(part)[1:-1]) if len(name) > 2 and not name.isdecimal()}


def broken(case, found, log, names):
    """Yield a sentence for each promise that is not kept."""
    text = "\n".join(found.said)
    if found.code != case.code:
        yield f"ends with {found.code}, not {case.code}"
    if any("Traceback" in line or "Exception ignored" in line for line in log):
        yield "shows a traceback"
    if case.says not in text:
        yield f"does not say {case.says!r}"
    if hidden := [path for path in found.left if re.search(r"(^|/)\.[^/]*(part|old)", path)]:
        yield f"leaves {hidden[0]}"
    if case.code == 0:
        if stray := [line for line in log if not CONVERSATION.match(line) and not PROGRESS.search(line)]:
            yield f"says what is no message of its own: {stray[0]!r}"
        return
    if found.left and not (case.code == 1 and all("/tensorboard/" in path for path in found.left)):  # its log
        yield f"changes {', '.join(found.left)}"
    if not 1 <= len(found.said) <= 3:
        yield f"says {len(found.said)} lines"
    if not text.startswith("error: " if case.code == 2 else "failed: "):
        yield "does not call it an error, or failed"
    if not any(name in text for name in names) and not PLACE.search(text):
        yield "names neither a file nor an option"
    if not REMEDY.search(text):
        yield "names no remedy"
    if len(text) > 600:
        yield f"says {len(text)} letters"
    before = [line for line in log if not (PROGRESS.search(line) or CONVERSATION.match(line))]
    if stray := [line for line in before[: -len(found.said) or None] if not line.startswith("bash: ")]:
        yield f"says before: {stray[0]!r}"
