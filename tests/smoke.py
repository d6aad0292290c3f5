"""Run Snakemake with the smoke configuration the way a user does, and share one finished run between tests."""

import contextlib
import fcntl
from pathlib import Path

import forks

ROOT = Path(__file__).parents[1]
SMOKE = ROOT / "config" / "smoke.yaml"


def snakemake(*words, directory, snakefile=ROOT / "Snakefile", configfile=SMOKE, more=None):
    """Run Snakemake on the project's Snakefile in another directory; output as text.

    more: a configuration file to lay over the first.
    """
    command = ["-m", "snakemake", *words, "--snakefile", snakefile, "--cores", "2"]
    command += ["--configfile", *(file for file in (configfile, more) if file)] if configfile else []
    return forks.run(command, forks.SNAKEMAKE, cwd=directory, together=True)


@contextlib.contextmanager
def alone(path):
    """Hold a file's lock: test processes side by side wait for each other."""
    with open(path, "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
