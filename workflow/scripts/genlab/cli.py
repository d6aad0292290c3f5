"""What every stage shows the person who runs it: options, messages, exit codes, progress.

A stage is

    def parser(): ...            # cli.parser(__doc__) plus its own options
    def main(options): ...       # heavy imports inside, so that --help is instant

    if __name__ == "__main__":
        cli.run(main, parser())

Exit codes: 0 done, 1 the computation failed, 2 the input is wrong,
75 interrupted by a signal or a time limit; the same command resumes (`EXIT_RESUMABLE`), 130 stopped by Ctrl-C.
"""

import argparse
import contextlib
import errno
import logging
import os
import re
import signal
import sys
import time
from pathlib import Path

from . import ComputationError, InputError, Interrupted, files

EXIT_FAILED, EXIT_INPUT, EXIT_RESUMABLE = 1, 2, 75  # 75 is EX_TEMPFAIL of sysexits.h

# A stage imports this module first.
STARTED = time.monotonic()
ENVIRONMENT = dict(os.environ)  # as it was given, for programs that a stage starts

REMEDIES = {  # of an error of the system with a file
    errno.ENOENT: "check the name",
    errno.ENOTDIR: "check the path",
    errno.EISDIR: "give a file",
    errno.EACCES: "permit it, or give another place",
    errno.EPERM: "permit it, or give another place",
    errno.EROFS: "give a place that can be written to",
    errno.ENAMETOOLONG: "give a shorter name",
    errno.ELOOP: "check where the links lead",
}
MOST_THREADS = 1024

# True of an interrupted stage's outputs, because `files.atomic` writes each one whole.
KEPT = "every output is whole, as it was before or new; run again"


class Parser(argparse.ArgumentParser):
    """An `ArgumentParser` that says what is wrong in one line, without a page of usage before it."""

    def error(self, message):
        remedy = "" if ";" in message else "; --help lists the options"  # argparse's own messages have none
        fail(self, "error", message + remedy, EXIT_INPUT)


class Distinct(argparse.Action):
    """argparse action: a list of distinct values."""

    def __call__(self, parser, namespace, values, option_string=None):
        if len(set(values)) < len(values):
            raise argparse.ArgumentError(self, f"{' '.join(map(str, values))}; give each once")
        setattr(namespace, self.dest, values)


def parser(doc, *, seed=False, seeds=False, split=False, device=False, threads=False):
    """A `Parser` with the common options, described by a stage's docstring.

    `seed` adds --seed; `seeds` adds --seeds, for a stage that computes several seeds at once.
    `split` adds --valid-fraction, for a stage that sets validation images aside.
    `device` adds --device and --threads; `threads` adds --threads alone, for a stage that uses only the CPU.
    """
    result = Parser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False)
    if seed:
        result.add_argument("--seed", type=seed_number, default=1, help="seed of all random numbers (default: 1)")
    if seeds:
        result.add_argument(
            "--seeds",
            type=seed_number,
            nargs="+",
            action=Distinct,
            default=[1],
            help="seeds, a result for each (default: 1)",
        )
    if split:
        result.add_argument(
            "--valid-fraction", type=float, default=0.1, metavar="F",
            help="fraction of each class's training images to set aside for validation (default: 0.1)",
        )  # fmt: skip
    if device:
        result.add_argument(
            "--device",
            choices=("auto", "cpu", "cuda"),
            default="auto",
            help="where to compute; auto uses a GPU if there is one (default: auto)",
        )
    if device or threads:
        result.add_argument(
            "--threads", type=threads_number, default=cores(), help="CPU threads to use (default: all cores)"
        )
    return result


def seconds_since_start():
    """How long this process has run."""
    return time.monotonic() - STARTED


def cores():
    """The CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def whole(text):
    """The whole number that a text says."""
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text[:40]!r} is no whole number") from None


def seed_number(text):
    """argparse type: an integer from 0 to 2^31 - 1, which every random generator accepts."""
    value = natural(text)
    if value >= 2**31:
        raise argparse.ArgumentTypeError(f"{value} is too large; give less than {2**31}")
    return value


def natural(text):
    """argparse type: an integer >= 0."""
    value = whole(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"{value} is negative; give 0 or more")
    return value


def positive(text):
    """argparse type: an integer >= 1."""
    value = whole(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{value} is too small; give 1 or more")
    return value


def threads_number(text):
    """argparse type: a number of threads that a system can start."""
    value = positive(text)
    if value > MOST_THREADS:
        raise argparse.ArgumentTypeError(
            f"{value} is too large; give {MOST_THREADS} or less, at best one for each core"
        )
    return value


def path_ending(suffix):
    """An argparse type: a path whose name ends in `suffix`, beside which a stage writes files of other endings."""

    def path(text):
        if Path(text).suffix != suffix:
            raise argparse.ArgumentTypeError(f"{text}: give a name that ends in {suffix}")
        return Path(text)

    return path


def run(main, parser, argv=None):
    """Parse the command line, call `main(options)`, and exit with the code above."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError):  # a test's stream in place of the real one has no such method
            stream.reconfigure(errors="backslashreplace")  # a terminal may be unable to show a name
    options = parser.parse_args(argv)
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", datefmt="%H:%M:%S", stream=sys.stderr
    )
    # Set before torch or numpy start their pools: too many threads would be very slow.
    for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[variable] = str(getattr(options, "threads", 1))
    # A terminal may inherit a notebook's backend. If that is not installed here, importing matplotlib would fail.
    os.environ["MPLBACKEND"] = "agg"

    def stop(number, _):
        raise Interrupted(f"by {signal.Signals(number).name}; {KEPT}")

    handlers = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGUSR1)}
    try:
        main(options)
        sys.stdout.flush()
    except InputError as error:
        fail(parser, "error", error, EXIT_INPUT)
    except ComputationError as error:
        fail(parser, "failed", error, EXIT_FAILED)
    except Interrupted as error:
        fail(parser, "interrupted", error, EXIT_RESUMABLE)
    except KeyboardInterrupt:
        fail(parser, "interrupted", KEPT, 130)
    except MemoryError as error:
        fail(parser, "failed", f"not enough memory ({error}); ask for less at a time", EXIT_FAILED)
    except RuntimeError as error:
        if "can't allocate memory" in (reason := str(error).rpartition("Allocator: ")[2]):  # torch's, on the CPU
            fail(parser, "failed", f"not enough memory ({reason}); ask for less at a time", EXIT_FAILED)
        if type(error).__name__ != "OutOfMemoryError":  # torch's, which is not imported here
            raise
        reason = str(error).split(". ")[0]
        fail(parser, "failed", f"the GPU's memory is full ({reason}); free it, or give --device cpu", EXIT_FAILED)
    except BrokenPipeError:
        _printed()
        sys.exit(EXIT_FAILED)
    except OSError as error:
        if error.filename is None and not _printed():
            fail(parser, "failed", f"standard output: {error.strerror}; make room, or print elsewhere", EXIT_FAILED)
        if error.filename is None or error.errno in files.FULL:
            fail(parser, "failed", error, EXIT_FAILED)
        remedy = REMEDIES.get(error.errno, "check it")
        fail(parser, "error", f"{error.filename}: {error.strerror}; {remedy}", EXIT_INPUT)
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


def _printed():
    """Whether one line more can be printed. If not, the rest is dropped: the interpreter would complain of it."""
    try:
        print(flush=True)
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return False
    return True


def fail(parser, kind, message, code):
    """Print one line on stderr and exit."""
    # A file's name may hold codes that would steer the terminal.
    shown = re.sub(r"[^\n -~\xa0-\U0010ffff]", lambda code: ascii(code[0])[1:-1], str(message))
    print(f"{parser.prog}: {kind}: {shown}", file=sys.stderr)
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
