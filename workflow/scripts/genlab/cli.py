"""The habits every stage shares: options, logging, progress, atomic files, provenance.

A stage is

    def parser(): ...            # cli.parser(__doc__) plus its own options
    def main(options): ...       # heavy imports inside, so that --help is instant

    if __name__ == "__main__":
        cli.run(main, parser())

Exit codes: 0 done, 1 the computation failed, 2 the input is wrong,
75 interrupted by a signal or a time limit, and the same command goes on (`EXIT_RESUMABLE`).
"""

import argparse
import contextlib
import errno
import glob
import hashlib
import json
import logging
import os
import platform
import re
import shutil
import signal
import socket
import sys
import time
from importlib import metadata
from pathlib import Path

from . import InputError

EXIT_FAILED, EXIT_INPUT, EXIT_RESUMABLE = 1, 2, 75  # 75 is EX_TEMPFAIL of sysexits.h

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # no room: the disk, the quota, the largest file allowed
STARTED = time.monotonic()  # this module is the first that a stage imports

log = logging.getLogger("genlab")


class ComputationError(RuntimeError):
    """The input was sound but the computation failed (say, the loss became NaN)."""


class Interrupted(BaseException):
    """A signal or a time limit asked to stop; everything needed to go on has been saved. No code may swallow it."""


class Distinct(argparse.Action):
    """argparse action: a list of values, each given once."""

    def __call__(self, parser, namespace, values, option_string=None):
        if len(set(values)) < len(values):
            raise argparse.ArgumentError(self, f"{' '.join(map(str, values))}; give each once")
        setattr(namespace, self.dest, values)


def parser(doc, *, seed=False, seeds=False, device=False, threads=False):
    """An `ArgumentParser` described by a stage's docstring, with the common options.

    `seed` adds --seed, `seeds` --seeds for a stage that computes several at once; `device` adds
    --device and --threads, `threads` --threads alone for a stage that computes on the CPU.
    """
    result = argparse.ArgumentParser(
        description=doc, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    if seed:
        result.add_argument(
            "--seed", type=seed_number, default=1, help="seed of every random number drawn here (default: 1)"
        )
    if seeds:
        result.add_argument(
            "--seeds", type=seed_number, nargs="+", action=Distinct, default=[1], help="one result of each (default: 1)"
        )
    if device:
        result.add_argument(
            "--device",
            choices=("auto", "cpu", "cuda"),
            default="auto",
            help="where to compute; auto takes a GPU if there is one (default: auto)",
        )
    if device or threads:
        result.add_argument("--threads", type=positive, default=cores(), help="CPU threads to use (default: all cores)")
    return result


def seconds_since_start():
    """How long this process has run."""
    return time.monotonic() - STARTED


def cores():
    """The CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def seed_number(text):
    """argparse type: an integer from 0 to 2^31 - 1, which every random generator takes."""
    value = natural(text)
    if value >= 2**31:
        raise argparse.ArgumentTypeError(f"{value} is too large; give less than {2**31}")
    return value


def natural(text):
    """argparse type: an integer >= 0."""
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"{value} is negative; give 0 or more")
    return value


def positive(text):
    """argparse type: an integer >= 1."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{value} is too small; give 1 or more")
    return value


def run(main, parser, argv=None):
    """Parse the command line, call `main(options)` and leave with its exit code."""
    options = parser.parse_args(argv)
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", datefmt="%H:%M:%S", stream=sys.stderr
    )
    # Before torch or numpy start their pools: oversubscribed threads are ruinous.
    for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[variable] = str(getattr(options, "threads", 1))

    def stop(number, _):
        raise Interrupted(f"by {signal.Signals(number).name}; no file is half-written; run again")

    handlers = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGUSR1)}
    try:
        main(options)
    except InputError as error:
        fail(parser, "error", error, EXIT_INPUT)
    except ComputationError as error:
        fail(parser, "failed", error, EXIT_FAILED)
    except Interrupted as error:
        fail(parser, "interrupted", error, EXIT_RESUMABLE)
    except KeyboardInterrupt:
        fail(parser, "interrupted", "nothing was written", 130)
    except MemoryError as error:
        fail(parser, "failed", f"not enough memory ({error}); ask for less at a time", EXIT_FAILED)
    except RuntimeError as error:
        if type(error).__name__ != "OutOfMemoryError":  # torch's, which is not imported here
            raise
        reason = str(error).split(". ")[0]
        fail(parser, "failed", f"the GPU's memory is full ({reason}); free it, or give --device cpu", EXIT_FAILED)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(EXIT_FAILED)
    except OSError as error:
        if error.filename is None or error.errno in FULL:
            fail(parser, "failed", error, EXIT_FAILED)
        fail(parser, "error", f"{error.filename}: {error.strerror}", EXIT_INPUT)
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


def fail(parser, kind, message, code):
    """Print one line on stderr and exit."""
    print(f"{parser.prog}: {kind}: {message}", file=sys.stderr)
    sys.exit(code)


def progress(iterable=None, *, total=None, label="", unit="it", initial=0, **keywords):
    """A tqdm progress bar: redrawn in a terminal, a line every 10 s in a log file."""
    from tqdm import tqdm

    class LineByLine(tqdm):
        def display(self, msg=None, pos=None):
            self.fp.write((msg or str(self)) + "\n")
            self.fp.flush()

        def close(self):
            if not self.disable:
                self.refresh()
                self.disable = True  # tqdm's own close would add an empty line

    terminal = sys.stderr.isatty()
    return (tqdm if terminal else LineByLine)(
        iterable,
        total=total,
        desc=label,
        unit=unit,
        initial=initial,
        mininterval=0.2 if terminal else 10,
        miniters=1,
        dynamic_ncols=terminal,
        ncols=None if terminal else 100,
        **keywords,
    )


@contextlib.contextmanager
def atomic(path):
    """Yield a temporary path beside `path`; rename it onto `path` only if all went well.

    A result appears whole or not at all: an exception, or a kill, leaves `path` as it was.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = beside(path, f"part{path.suffix}")
    try:
        yield temporary
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())
        os.umask(umask := os.umask(0))
        os.chmod(temporary, 0o666 & ~umask)  # some writers make private files
        os.replace(temporary, path)
    except OSError as error:  # a full disk has no file name of its own
        if error.errno in FULL:
            raise cannot_write(path, error.strerror) from None
        raise OSError(error.errno, error.strerror, str(path)) from None
    finally:
        temporary.unlink(missing_ok=True)


def cannot_write(path, reason):
    """The error of a disk that takes no more."""
    return ComputationError(f"{path}: cannot be written ({reason}); what was there is unchanged; make room, run again")


def beside(path, ending):
    """A hidden name beside `path` that is this process's own; what killed ones left there is deleted."""
    mark = f".{path.name}.{socket.gethostname()}-"
    for left in path.parent.glob(f"{glob.escape(mark)}*"):
        number = left.name.removeprefix(mark).partition(".")[0]
        if number.isdigit() and not _alive(int(number)):
            shutil.rmtree(left) if left.is_dir() else left.unlink(missing_ok=True)
    return path.with_name(f"{mark}{os.getpid()}.{ending}")


def _alive(number):
    """Whether there is a process of this number."""
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True  # of another user
    return True


def locked(path):
    """The opened file at `path`, locked until it is closed or its process ends; None if another one holds it."""
    import fcntl

    with contextlib.ExitStack() as stack:
        file = stack.enter_context(open(path, "w"))
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return None
        stack.pop_all()
        return file


def write_text(path, text):
    """Write a text file atomically."""
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path, content):
    """Write JSON atomically; NaN and infinity are refused, for they are not JSON."""
    write_text(path, json.dumps(content, indent=2, allow_nan=False) + "\n")


def read_json(path):
    """Read a JSON file; refuse anything else with one clear line."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise InputError(f"{path}: not a JSON file ({error}); remake it with the stage that writes it") from None


def digests(path):
    """{"bytes": size, "md5": hex, "sha256": hex} of a file, read once."""
    md5, sha256 = hashlib.md5(usedforsecurity=False), hashlib.sha256()
    with Path(path).open("rb") as file:
        while chunk := file.read(1 << 20):
            md5.update(chunk)
            sha256.update(chunk)
        return {"bytes": file.tell(), "md5": md5.hexdigest(), "sha256": sha256.hexdigest()}


def checksum(path):
    """SHA-256 of a file, as hexadecimal text."""
    return digests(path)["sha256"]


def provenance(options, **more):
    """What a result must carry to be traced: options as given, versions, and what `more` says."""
    settings = {key: str(value) if isinstance(value, Path) else value for key, value in vars(options).items()}
    return {"settings": settings, "versions": versions(), **more}


def versions():
    """Versions of Python and of the packages of requirements that compute numbers."""
    names = ("torch", "torchvision", "numpy", "scipy", "safetensors")
    return {"python": platform.python_version()} | {name: metadata.version(name) for name in names}


def machine():
    """One line that names the class of this machine: system, processor, cores."""
    model = platform.processor() or platform.machine()
    with contextlib.suppress(OSError):
        if match := re.search(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text()):
            model = match[1]
    return f"{platform.system()} {platform.machine()}, {model}, {os.cpu_count()} cores"
