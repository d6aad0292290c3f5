"""Packages that a user could take instead, beside this project, on the same data: time, memory, agreement.

`make peers` builds their environment and runs this. Both run in turn, every turn in a process of its own. Both begin
with the same features, weights or file, and neither's imports are timed. Peak memory includes the libraries, so it
holds torch where a package needs torch. A package that is not installed, or that fails, has a row that says so. If
results disagree by more than the tolerance of the row, the program ends with an error.

The kernel distance has two comparisons. All packages but ours draw 100 pairs of subsets of 1,000 vectors and average;
ours takes all pairs once. The means may differ by chance: five standard errors of such an average, and 1e-4 for
float32, are allowed. With one subset that is the whole set, the definition is the same, unbiased one.

prdc takes eight threads, whatever --threads says. TensorFlow Datasets reads .amat by one statement of numpy, which is
measured without tensorflow. SVHN's labels and layout are made the same after scipy's reader.

    python benchmarks/peers.py --output docs/performance.md
"""

import collections
import datetime
import functools
import importlib.metadata
import statistics
from pathlib import Path
from tempfile import TemporaryDirectory

import likelihood
import peer_calls as calls
import run_all
import side_by_side
from genlab import cli

MARKS = ("<!-- peers -->", "<!-- end of peers -->")
FLOAT32 = 1e-4  # tolerance of a difference of means of float32, as most take them

Row = collections.namedtuple("Row", "subject package theirs ours arguments check lacks")

ONE_NUMBER = "an interval, the distance of real images beside it, N to infinity"
OF_SUBSETS = "an interval (its spread is that of subsets), the distance of real images beside it"


def parser():
    result = side_by_side.parser(__doc__, turns=3)
    options = (
        ("--vectors", [10_000, 1000], "vectors in each set", {"nargs": 2}),
        ("--dimensions", 512, "numbers in a vector", {}),
        ("--equal", 5000, "vectors in each set for precision to coverage", {}),
        ("--images", 50, "images for the log-likelihood", {}),
        ("--samples", 200, f"latents for each, a multiple of {calls.LATENTS}", {}),
        ("--lines", 50_000, "images in the .amat file", {}),
        ("--pictures", 26_032, "images in the .mat file", {}),
    )
    for name, default, text, more in options:
        result.add_argument(name, type=cli.positive, default=default, help=f"{text} (default: %(default)s)", **more)
    result.add_argument("--only", default="", metavar="WORD", help="rows whose subject or package contains it")
    result.add_argument("--output", type=Path, metavar="FILE", help="Markdown file to write the table into")
    return result


class Within:
    """A check that numbers agree to a relative tolerance, with an absolute one besides. Keeps what it has seen."""

    def __init__(self, tolerance, besides=0.0, words=""):
        self.tolerance, self.besides, self.words = tolerance, besides, words
        self.largest = self.allowed = 0.0

    def __call__(self, theirs, ours):
        """Raise AssertionError if a number of theirs is too far from ours. Each a float, or floats by name."""
        if not isinstance(theirs, dict):
            theirs, ours = {"": theirs}, {"": ours}
        for name, value in theirs.items():
            difference, size = abs(value - ours[name]), abs(ours[name])
            assert difference <= self.tolerance * size + self.besides, (name, value, ours[name])
            self.largest = max(self.largest, difference / size if difference else 0.0)
            self.allowed = max(self.allowed, self.tolerance + (self.besides / size if self.besides else 0.0))

    def __str__(self):
        return f"{self.largest:.1e}, allowed {self.allowed:.1e}{self.words}"


class SameBytes:
    """A check that checksums are equal."""

    def __call__(self, theirs, ours):
        assert theirs == ours, "other bytes"

    def __str__(self):
        return "every byte"


class SameLatents:
    """`likelihood.check` of each turn, and once a comparison of estimates from the same latents."""

    def __init__(self, arguments):
        self.arguments, self.within = arguments, None

    def __call__(self, theirs, ours):
        likelihood.check(theirs, ours)
        if self.within is None:
            (expected, found), _ = side_by_side.apart(calls.likelihood_of_the_same_latents, self.arguments)
            self.within = Within(1e-5)
            self.within(*(dict(enumerate(each)) for each in (expected, found)))

    def __str__(self):
        return f"{self.within} (same latents); means of other latents within 4 standard errors"


def rows(options, folder):
    """All rows. The files of the last ones are in `folder`."""
    threads, counts, dimensions = options.threads, options.vectors, options.dimensions
    sizes = f"{counts[0]:,} and {counts[1]:,} vectors of {dimensions}"
    for package, way in (
        ("torchmetrics", calls.frechet_torchmetrics),
        ("torch-fidelity", calls.frechet_torch_fidelity),
        ("pytorch-fid", calls.frechet_pytorch_fid),
        ("clean-fid", calls.frechet_clean_fid),
    ):
        lacks = ONE_NUMBER + (", KID" if package == "pytorch-fid" else "")
        yield row(f"Frechet distance, {sizes}", package, calls.on_features, way, calls.frechet_ours,
                  (threads, counts, dimensions), Within(1e-6), lacks)  # fmt: skip

    kernels = (
        ("torchmetrics", calls.kernel_torchmetrics, OF_SUBSETS),
        ("torch-fidelity", calls.kernel_torch_fidelity, OF_SUBSETS),
        ("clean-fid", calls.kernel_clean_fid, "an interval or a spread, the distance of real images beside it"),
    )
    whole = min(counts)
    for subsets, size, sets, subject in (
        (1, whole, (whole, whole), f"KID, {whole:,} and {whole:,} vectors of {dimensions}, all pairs"),
        (100, 1000, counts, f"KID, {sizes}, 100 subsets of {min(1000, whole):,}; ours all pairs"),
    ):
        arguments, besides, words = (threads, sets, dimensions), 0.0, ""
        if subsets > 1:
            besides = 5 * side_by_side.apart(calls.kernel_error, (subsets, size, *arguments))[0]
            words = " (5 standard errors of the subsets)"
        for package, way, lacks in kernels:
            yield row(subject, package, calls.on_features, functools.partial(way, subsets, size), calls.kernel_ours,
                      arguments, Within(FLOAT32, besides, words), lacks)  # fmt: skip

    arguments = (threads, options.equal, dimensions)
    for names, package, way, lacks in (
        ("precision, recall, density, coverage", "prdc", calls.neighbours_prdc,
         "an interval, the values of real images beside it, less memory: it holds whole N x N matrices"),
        ("precision, recall", "torch-fidelity", calls.neighbours_torch_fidelity,
         "density, coverage, an interval, the values of real images beside it"),
    ):  # fmt: skip
        yield row(f"{names}, {options.equal:,} vectors a set of {dimensions}, k = {calls.NEIGHBOURS}", package,
                  calls.on_similar_features, way, calls.neighbours_ours, arguments, Within(1e-3), lacks)  # fmt: skip

    yield Row("Wasserstein distance", "pot", None, None, None, None,
              "left out: ours is learned from samplers by a critic, POT's is exact on given points; "
              "the tests compare the two")  # fmt: skip

    arguments = (threads, options.images, options.samples, calls.LATENTS)
    yield Row(f"log-likelihood of {options.images:,} images, K = {options.samples}", "pythae", calls.likelihood_pythae,
              likelihood.ours, arguments, SameLatents((threads, options.samples, calls.LATENTS)),
              "the estimates of single images (it returns their mean), effective sample size, Pareto k-hat, curve "
              "over K; a K that is no multiple of its batch_size: it draws others, untold")  # fmt: skip

    side_by_side.apart(calls.write_files, (threads, folder, options.lines, options.pictures))
    for subject, package, way, ours, name, lacks in (
        (f".amat of {options.lines:,} images, as TensorFlow Datasets reads it", "numpy",
         calls.amat_tensorflow_datasets, calls.amat_ours, "train.amat",
         "a check that values are 0 or 1"),
        (f".mat of {options.pictures:,} SVHN images", "scipy",
         calls.mat_scipy, calls.mat_ours, "train.mat",
         "a check of shapes and labels (it reads any .mat)"),
    ):  # fmt: skip
        yield row(subject, package, calls.on_file, way, ours, (threads, folder / name), SameBytes(), lacks)


def row(subject, package, call, theirs, ours, arguments, check, lacks):
    """A row whose two ways are called by `call`."""
    return Row(subject, package, *(functools.partial(call, way) for way in (theirs, ours)), arguments, check, lacks)


def main(options):
    found = []
    with TemporaryDirectory() as folder:
        for each in rows(options, Path(folder)):
            if options.only in f"{each.subject} {each.package}":
                found.append(measure(each, options.turns))
    return found


def measure(each, turns):
    """The record of a row: that of `side_by_side.compare_apart`, or a "state" that says why there is none."""
    about = {"subject": each.subject, "package": each.package, "version": "", "lacks": each.lacks}
    try:
        about["version"] = importlib.metadata.version(each.package)
    except importlib.metadata.PackageNotFoundError:
        return about | {"state": "not installed"}
    if each.theirs is None:
        return about | {"state": "not measured"}
    try:
        subject = f"{each.subject}, {each.package}"
        record = side_by_side.compare_apart(subject, each.theirs, each.ours, each.arguments, each.check, turns)
    except side_by_side.Failed as failure:
        if failure.function is not each.theirs:
            raise
        return about | {"state": f"fails: {str(failure).splitlines()[0]}"}
    return record | about | {"agreement": str(each.check)}


def table(records, threads):
    """Markdown of the records."""
    lines = [
        f"Measured {datetime.date.today()} at commit {run_all.commit()}, {threads} threads.",
        "",
        "| subject | package | theirs, s | ours, s | ratio | peak memory, theirs and ours | "
        "largest relative difference | what the package does not offer |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for each in records:
        cells = [each["subject"], f"{each['package']} {each['version']}".strip()]
        if "state" in each:
            cells += ["", "", "", "", each["state"]]
        else:
            ratio, peak = each["ratio"], each["peak_mib"]
            cells += [f"{statistics.median(each['seconds'][way]):.3g}" for way in ("reference", "ours")]
            cells += [f"{ratio['median']:.3g} ({ratio['min']:.3g} to {ratio['max']:.3g})"]
            cells += [f"{peak['reference']:.0f} and {peak['ours']:.0f} MiB", each["agreement"]]
        lines.append(f"| {' | '.join(cell.replace('|', '/') for cell in [*cells, each['lacks']])} |")
    return "\n".join(lines)


if __name__ == "__main__":
    options = parser().parse_args()
    records = main(options)
    side_by_side.write(options, records)
    text = table(records, options.threads)
    print(f"\n{text}")
    if options.output:
        run_all.write(options.output, text, MARKS)
