"""The whole run: all stages called one after another by hand, against Snakemake on one core and on two.

The commands are those of Snakemake's dry run for as many cores, called by a shell in the same order; the folders are
made beforehand. Every turn makes everything anew in a temporary folder. Data, weights, tables and texts must be equal
byte for byte, except history.csv and the state of trainings, which hold times.

    python benchmarks/whole_run.py --targets all            # the smoke configuration, 69 jobs
    python benchmarks/whole_run.py --targets all --configfile config.yaml --cores 1  # the default run, half an hour
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import side_by_side
from genlab import cli
from side_by_side import ROOT


def parser():
    result = side_by_side.parser(__doc__, turns=1)
    result.add_argument(
        "--targets", nargs="+", default=["divergences"], help="targets of Snakemake (default: divergences)"
    )
    result.add_argument(
        "--configfile", type=Path, default=ROOT / "config" / "smoke.yaml", help="(default: config/smoke.yaml)"
    )
    result.add_argument(
        "--cores", type=cli.positive, nargs="+", default=[1, 2], help="cores for Snakemake (default: 1 2)"
    )
    return result


def snakemake(options, cores, folder, *more):
    """Run Snakemake in `folder`; returns what it printed."""
    command = [
        sys.executable, "-m", "snakemake", *options.targets, "--snakefile", ROOT / "Snakefile", "--directory", folder,
        "--configfile", options.configfile.resolve(), "--cores", cores, *more,
    ]  # fmt: skip
    process = subprocess.run([*map(str, command)], text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if process.returncode:
        sys.exit(process.stdout)
    return process.stdout


def plan(options, cores, folder):
    """(commands of all jobs in a valid order, folders that Snakemake would make for them)."""
    text = snakemake(options, cores, folder, "--dry-run", "--printshellcmds")
    # Snakemake itself writes the configuration, for which there is no command.
    snakemake(options, cores, folder, "--until", "write_configuration")
    commands = [command for command in re.findall(r"^Shell command: (.*)$", text, re.M) if command != "None"]
    if not commands:
        sys.exit(f"no commands found in the dry run:\n{text}")
    files = re.findall(r"^    (?:output|log|benchmark): (.*)$", text, re.M)
    return commands, {Path(file).parent for line in files for file in line.split(", ")}


def contents(folder):
    """{name: content} of the data, weights, tables and texts of a run, without files that hold times or paths."""
    found, kinds = {}, (".amat", ".mat", ".npz", ".safetensors", ".csv", ".txt")
    for file in sorted(folder.rglob("*")):
        with_times = file.name == "history.csv" or file.parent.suffix == ".state"
        if file.suffix in kinds and not with_times and ".snakemake" not in file.parts:
            found[str(file.relative_to(folder))] = file.read_bytes()
    return found


def main(options):
    side_by_side.limit_threads(options.threads)
    with tempfile.TemporaryDirectory() as temporary:
        environment = os.environ | {"PATH": os.pathsep.join([os.path.dirname(sys.executable), os.environ["PATH"]])}

        def by_hand(commands, folders):
            folder = Path(tempfile.mkdtemp(dir=temporary))
            for each in folders:
                (folder / each).mkdir(parents=True, exist_ok=True)
            for file in planned.rglob("configuration.json"):
                shutil.copy(file, folder / file.relative_to(planned))
            for command in commands:
                subprocess.run(["bash", "-euo", "pipefail", "-c", command], cwd=folder, env=environment, check=True)
            return folder

        def by_snakemake(cores):
            folder = Path(tempfile.mkdtemp(dir=temporary))
            snakemake(options, cores, folder)
            return folder

        def check(expected, found):
            wanted, made = contents(expected), contents(found)
            assert wanted and list(wanted) == list(made), (list(wanted), list(made))
            assert not (differ := [name for name in wanted if wanted[name] != made[name]]), differ

        records = []
        for cores in options.cores:
            planned = Path(temporary, "planned")
            commands, folders = plan(options, cores, planned)
            subject = f"{len(commands)} stages, {' '.join(options.targets)} of {options.configfile.name}"
            start = time.perf_counter()
            result = side_by_side.compare(
                f"{subject}, Snakemake on {cores} core{'s' * (cores > 1)}",
                partial(by_hand, commands, folders), partial(by_snakemake, cores), check, options.turns,
                1 / 1.15 if cores == 1 else 1,
            )  # fmt: skip
            print(f"took {time.perf_counter() - start:.0f} s")
            records.append(result | {"jobs": len(commands)})
        return records


if __name__ == "__main__":
    options = parser().parse_args()
    side_by_side.write(options, main(options))
