"""Run a reference and this project's way in turn, compare their results, and print the ratio with its spread."""

import argparse
import contextlib
import json
import multiprocessing
import os
import re
import resource
import statistics
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "workflow" / "scripts"))

from genlab import cli, files, provenance  # noqa: E402


class Failed(Exception):
    """A call in a process of its own failed. `function` is what was called; the text says why."""

    def __init__(self, function, reason):
        super().__init__(reason)
        self.function = function


def parser(doc, turns=5):
    """An `ArgumentParser` with the options that all benchmarks share, described by a program's docstring."""
    result = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    result.add_argument("--threads", type=cli.positive, default=cli.cores(), help="CPU threads (default: all cores)")
    result.add_argument("--turns", type=cli.positive, default=turns, help=f"turns of each (default: {turns})")
    result.add_argument("--json", type=Path, metavar="FILE", help="write the numbers here")
    return result


def limit_threads(count):
    """Set the size of every thread pool. Call it before numpy and torch are imported."""
    for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[variable] = str(count)


def compare(subject, reference, ours, check, turns, wanted=None, amount=None):
    """Call `reference()` and `ours()` in turn, `turns` times each, compare their results, print the ratio.

    check(reference's result, our result) raises AssertionError if they disagree. They run in turn, so that a
    machine that slows down slows both. Each turn has a ratio, whose spread shows what noise is left.
    wanted: the ratio to reach; amount: (number, unit) of what a call processes, for a rate.
    Returns the dict that `write` takes: times of every turn, and the smallest, median and largest ratio.
    """
    times = {"reference": [], "ours": []}
    for turn in range(1, turns + 1):
        (first, expected), (second, found) = timed(reference), timed(ours)
        check(expected, found)
        times["reference"].append(first)
        times["ours"].append(second)
        show(subject, turn, times)
    return record(subject, times, wanted, amount)


def compare_apart(subject, reference, ours, arguments, check, turns, wanted=None, amount=None):
    """`compare` with every call in its own process, which shows how much memory each takes.

    reference and ours are module-level functions, called with `arguments`, that return the result of `timed`. The
    dict also has the peak memory of each process in MiB.
    """
    times, peaks = {"reference": [], "ours": []}, {"reference": [], "ours": []}
    for turn in range(1, turns + 1):
        results = []
        for way, function in (("reference", reference), ("ours", ours)):
            (took, result), peak = apart(function, arguments)
            results.append(result)
            times[way].append(took)
            peaks[way].append(peak)
        check(*results)
        show(subject, turn, times)
    return record(subject, times, wanted, amount) | {"peak_mib": {way: max(peaks[way]) for way in peaks}}


def apart(function, arguments):
    """(result, peak memory in MiB) of calling a module-level function in a new process; `Failed` if it fails."""
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_report, args=(sender, function, arguments))
    process.start()
    sender.close()
    try:
        found = receiver.recv()
    except EOFError:
        found = "the process ended early"
    finally:
        process.join()
    if isinstance(found, str):
        raise Failed(function, found)
    return found


def timed(function):
    """((seconds, processor seconds), result) of a call. Processor seconds include threads and finished subprocesses.

    On Linux this resets the process's peak memory, so that making the data is not counted.
    """
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
    before, start = sum(os.times()[:4]), time.perf_counter()
    result = function()
    return (time.perf_counter() - start, sum(os.times()[:4]) - before), result


def _report(sender, function, arguments):
    try:
        result = function(*arguments)
    except Exception as error:
        sender.send(f"{type(error).__name__}: {error}")
        raise
    sender.send((result, peak_memory()))


def peak_memory():
    """Peak of this process's resident memory in MiB."""
    with contextlib.suppress(OSError):
        # On Linux, getrusage's peak includes that of the parent process.
        return int(re.search(r"VmHWM:\s*(\d+) kB", Path("/proc/self/status").read_text())[1]) / 1024
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20


def show(subject, turn, times):
    """Print the times of a turn."""
    ways = (f"{way} {pairs[-1][0]:.3g} s ({pairs[-1][1]:.3g} s of processors)" for way, pairs in times.items())
    print(f"{subject}, turn {turn}: {', '.join(ways)}", flush=True)


def record(subject, times, wanted, amount):
    """The record of a comparison, as a dict; prints its line. times: {way: [(seconds, processor seconds)]}."""
    seconds, processor = ({way: [pair[kind] for pair in pairs] for way, pairs in times.items()} for kind in (0, 1))
    spread = spread_of_ratios(seconds)
    result = {"subject": subject, "wanted": wanted, "ratio": spread, "seconds": seconds, "processor_seconds": processor}
    if min(processor["ours"]) > 0.1:  # it is measured in hundredths
        result["processor_ratio"] = spread_of_ratios(processor)
    line = f"{subject}: ratio {spread['median']:.3g} ({spread['min']:.3g} to {spread['max']:.3g})"
    if amount:
        number, unit = amount
        result["rate"] = {way: number / statistics.median(values) for way, values in seconds.items()} | {"unit": unit}
        line += ", " + ", ".join(f"{way} {result['rate'][way]:.4g} {unit}/s" for way in seconds)
    print(line + (f", wanted {wanted:.3g}" if wanted else "") + "; results agree", flush=True)
    return result


def spread_of_ratios(values):
    """Smallest, median and largest ratio over the turns, reference to ours."""
    ratios = sorted(a / b for a, b in zip(values["reference"], values["ours"], strict=True))
    return {"min": ratios[0], "median": statistics.median(ratios), "max": ratios[-1]}


def write(options, records):
    """Write the records of a program as JSON, if --json was given."""
    if options.json:
        about = {"machine": provenance.machine(), "versions": provenance.versions(), "threads": options.threads}
        files.write_json(options.json, about | {"records": records})


def load_average():
    """How many processes wanted a core in the last minute. Others should want less than one during a measurement."""
    return os.getloadavg()[0]


def read(path):
    """The content of a file from `write`."""
    return json.loads(Path(path).read_text(encoding="utf-8"))
