"""What a result depends on, and what it records to be traced: source files, settings, versions, the machine."""

import ast
import contextlib
import functools
import hashlib
import os
import platform
import re
from importlib import metadata
from pathlib import Path

PACKAGE = Path(__file__).parent

# Modules that change no number: what people see, what is refused, how files are written and fetched (their checksums
# say what they hold), where a training keeps its state. A result depends on every other module that its stage imports.
# The rules and the saved trainings both use this list.
NO_NUMBERS = frozenset(
    PACKAGE / name
    for name in (
        "__init__.py", "cli.py", "configuration.py", "consistency.py", "files.py", "provenance.py",
        "data/addresses.py", "data/download.py", "data/transfer.py",
        "training/checkpoint.py", "training/experiment.py", "training/gpu.py", "training/watch.py",
    )
)  # fmt: skip


@functools.cache
def source_files(script):
    """The files that a stage's numbers depend on: the script and the genlab modules that it imports at any depth.

    They are read from the syntax, before anything runs. The modules in `NO_NUMBERS` are left out, so a reworded
    message retrains nothing.
    """
    files, queue = [], [Path(script)]
    while queue:
        file = queue.pop()
        if file not in files and file not in NO_NUMBERS:
            files.append(file)
            queue += imports(file)
    return tuple(files)


@functools.cache
def imports(file):
    """The source files of the genlab modules that a source file imports directly."""
    found = []
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.level or node.module.split(".")[0] == "genlab"):
            base = file.parents[node.level - 1] if node.level else PACKAGE.parent
            place = base.joinpath(*(node.module or "").split("."))
            if place.is_dir():  # a package: each name is one of its modules, or is defined in its __init__
                modules = [place / f"{alias.name}.py" for alias in node.names]
                found += [module if module.exists() else place / "__init__.py" for module in modules]
            else:
                found.append(place.with_suffix(".py"))
    return found


def code_checksum(script):
    """SHA-256 of the contents of a stage's `source_files`."""
    return hashlib.sha256(b"".join(file.read_bytes() for file in sorted(source_files(script)))).hexdigest()


def record(options, **more):
    """What a result records to be traced: options as given, versions, and `more`."""

    def plain(value):
        if isinstance(value, list):
            return [plain(item) for item in value]
        return str(value) if isinstance(value, Path) else value

    settings = {key: plain(value) for key, value in vars(options).items()}
    return {"settings": settings, "versions": versions(), **more}


def versions():
    """Versions of Python and of the installed packages that compute numbers."""
    found = {"python": platform.python_version()}
    for name in ("torch", "torchvision", "numpy", "scipy", "safetensors"):
        with contextlib.suppress(metadata.PackageNotFoundError):  # no stage's environment needs them all
            found[name] = metadata.version(name)
    return found


def machine():
    """This machine in one line: system, processor, cores."""
    model = platform.processor() or platform.machine()
    with contextlib.suppress(OSError):
        if match := re.search(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text()):
            model = match[1]
    return f"{platform.system()} {platform.machine()}, {model}, {os.cpu_count()} cores"
