"""Run all benchmarks, one after another, and write a table of the ratios and one of the machine.

Each program runs in its own process with its defaults. The tables go to standard output and, with --output, into a
Markdown file between the lines <!-- measured --> and <!-- end of measured -->; the rest of the file is kept. The
machine's load is noted before each program: if it exceeds the number of cores, something else was running.

    python benchmarks/run_all.py --output docs/performance.md
"""

import argparse
import collections
import datetime
import subprocess
import sys
import tempfile
from pathlib import Path

import side_by_side
from genlab import cli, files

FOLDER = Path(__file__).parent
PROGRAMS = (
    "amat_parsing", "binary_vae_training", "likelihood", "gan_training", "image_vae_training", "frechet_distance",
    "feature_extraction", "divergences", "whole_run", "machine", "breakdown", "scaling",
)  # fmt: skip
BEGIN, END = "<!-- measured -->", "<!-- end of measured -->"


def parser():
    result = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    result.add_argument("programs", nargs="*", metavar="PROGRAM", help=f"some of {', '.join(PROGRAMS)} (default: all)")
    result.add_argument("--output", type=Path, metavar="FILE", help="Markdown file to write the tables into")
    result.add_argument("--threads", type=cli.positive, default=cli.cores(), help="CPU threads (default: all cores)")
    result.add_argument(
        "--with", dest="more", nargs=argparse.REMAINDER, default=[], help="further options for the programs"
    )
    return result


def main(options):
    if unknown := set(options.programs) - set(PROGRAMS):
        raise SystemExit(f"no benchmark {min(unknown)}; there are {', '.join(PROGRAMS)}")
    found, busiest = {}, 0.0
    with tempfile.TemporaryDirectory() as folder:
        for program in options.programs or PROGRAMS:
            busiest = max(busiest, side_by_side.load_average())
            print(f"--- {program}", flush=True)
            file = Path(folder, f"{program}.json")
            words = [FOLDER / f"{program}.py", "--json", file, "--threads", options.threads, *options.more]
            subprocess.run([sys.executable, *map(str, words)], check=True)
            found[program] = side_by_side.read(file)
    text = tables(found, busiest)
    print(f"\n{text}")
    if options.output:
        write(options.output, text)


def tables(found, load):
    """Markdown of `found`, {program: content of its JSON file}."""
    about = next(iter(found.values()))
    versions = ", ".join(f"{name} {version}" for name, version in about["versions"].items())
    lines = [
        f"Measured {datetime.date.today()} at commit {commit()}, {about['threads']} threads. Machine: "
        f"{about['machine']}. {versions}. Load average before each program: {load:.1f} at most.",
        "",
    ]
    tables_of_their_own = ("machine", "breakdown", "scaling")
    ratios = [record for name in found if name not in tables_of_their_own for record in found[name]["records"]]
    if ratios:
        lines += [
            "| subject | wanted | ratio | spread | of processor time | reference | ours |",
            "| --- | --- | --- | --- | --- | --- | --- |",
        ]
        lines += [row(record) for record in ratios]
    if "machine" in found:
        limits, *computations = found["machine"]["records"]
        units = {name: "GB/s" if "bytes" in name else "GFLOP/s" for name in limits["limits"]}
        lines += ["", "| the machine's limit | |", "| --- | --- |"]
        lines += [f"| {name} | {value / 1e9:.0f} {units[name]} |" for name, value in limits["limits"].items()]
        lines += [
            "",
            "| computation | numbers | GFLOP | MB | ms | of the matrix product | of the convolution | of the copy |",
            "| --- | --- | --- | --- | --- | --- | --- | --- |",
        ]  # fmt: skip
        lines += [
            f"| {each['computation']} | {each['dtype']} | {each['flops'] / 1e9:.3g} | {each['bytes'] / 1e6:.0f} | "
            f"{each['seconds'] * 1e3:.3g} | {each['of_matrix_product']:.0%} | {each['of_convolution']:.0%} | "
            f"{each['of_copy']:.0%} |"
            for each in computations
        ]
    if "breakdown" in found:
        lines += ["", "| computation | part | ms | of it |", "| --- | --- | --- | --- |"]
        parts, totals = found["breakdown"]["records"], collections.Counter()
        for each in parts:
            totals[each["computation"]] += each["seconds"]
        for each in parts:
            share = each["seconds"] / totals[each["computation"]]
            if share > 0.02:
                lines.append(f"| {each['computation']} | {each['part']} | {each['seconds'] * 1e3:.3g} | {share:.0%} |")
    if "scaling" in found:
        lines += ["", "| how many | of what | s | of processors | peak MiB |", "| --- | --- | --- | --- | --- |"]
        lines += [
            f"| {each['count']:,} | {each['what']} | {each['seconds']:.3g} | {each['processor_seconds']:.3g} | "
            f"{each['peak_mib']:.0f} |"
            for each in sorted(found["scaling"]["records"], key=lambda each: each["what"])
        ]
    return "\n".join(lines)


def row(record):
    """The table row for a record of `side_by_side.record`."""
    ratio, cells = record["ratio"], {}
    for way, values in record["seconds"].items():
        if "rate" in record:
            cells[way] = f"{record['rate'][way]:.4g} {record['rate']['unit']}/s"
        else:
            cells[way] = f"{sorted(values)[len(values) // 2]:.3g} s"
        if "peak_mib" in record:
            cells[way] += f", {record['peak_mib'][way]:.0f} MiB"
    wanted = f"{record['wanted']:.3g}" if record["wanted"] else ""
    processor = f"{record['processor_ratio']['median']:.3g}" if "processor_ratio" in record else ""
    spread = f"{ratio['median']:.3g} | {ratio['min']:.3g} to {ratio['max']:.3g} | {processor}"
    return f"| {record['subject']} | {wanted} | {spread} | {cells['reference']} | {cells['ours']} |"


def commit():
    """The commit that is checked out, with a plus if files differ from it; "unknown" outside a repository."""
    command = ["git", "-C", FOLDER, "describe", "--always", "--dirty=+", "--exclude=*"]
    process = subprocess.run([*map(str, command)], text=True, capture_output=True)
    return process.stdout.strip() or "unknown"


def write(path, text, marks=(BEGIN, END)):
    """Put the tables between the two marks of a file; SystemExit if it has none."""
    before, begin, rest = path.read_text(encoding="utf-8").partition(marks[0])
    _, end, after = rest.partition(marks[1])
    if not (begin and end):
        raise SystemExit(f"{path}: no lines {marks[0]} and {marks[1]} to write between")
    files.write_text(path, f"{before}{begin}\n{text}\n{end}{after}")


if __name__ == "__main__":
    main(parser().parse_args())
