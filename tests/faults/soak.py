"""Run the workflow again and again while its jobs, and Snakemake itself, are killed at random moments; for `make soak`.

usage: soak.py ROUNDS [SEED]

A round begins in an empty folder. Whatever is killed is run again, as a user would, until the run ends by itself. It
must leave the bytes of a run that nobody disturbed, and no other file, lock or process.
"""

import contextlib
import csv
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path

ROOT = Path(__file__).parents[2]
KILLS = 8  # in a round
PATIENCE = 60  # seconds that what was left running may take to end
MARK = "GENLAB_SOAK"  # in the environment of every process of a run
# What tells of time or of what happened differs from run to run: folders and Snakemake's own files, files that must
# be there with any content, columns of tables, and entries of JSON.
PASSING = ("logs", "benchmarks", "tensorboard", ".snakemake", ".snakemake_timestamp")
PRESENT = ("report.html", "training.md", "training.tex", "checkpoint.safetensors")
TIMES = {"seconds", "images_per_second"}


class Run:
    """The workflow with its smallest configuration, in a folder of its own, on some targets."""

    def __init__(self, folder, targets=("all",)):
        self.folder, self.targets, self.mark = Path(folder), targets, uuid.uuid4().hex
        self.temporary = self.folder.with_name(f"{self.folder.name} temporary")
        self.log = self.folder.with_name(f"{self.folder.name}.log")
        for each in self.folder, self.temporary:
            each.mkdir()

    def start(self, *words):
        """A new Snakemake, as a process whose output goes to a file."""
        command = [sys.executable, "-m", "snakemake", *self.targets, "--snakefile", ROOT / "Snakefile", "--cores", "2"]
        command += ["--configfile", ROOT / "config" / "smoke.yaml", *words]
        places = {name: str(self.temporary) for name in ("TMPDIR", "XDG_RUNTIME_DIR")}
        with open(self.log, "ab") as log:
            return subprocess.Popen(
                command, cwd=self.folder, env=os.environ | places | {MARK: self.mark}, start_new_session=True,
                stdout=log, stderr=log,
            )  # fmt: skip

    def finish(self, *words):
        """Its exit code, when it has ended by itself."""
        return self.start(*words).wait()

    def processes(self, words=""):
        """The numbers of the living processes that belong to this run, and whose command has these words."""
        mark = f"{MARK}={self.mark}".encode()
        found = []
        for place in Path("/proc").iterdir():
            if place.name.isdecimal():
                try:
                    if mark in (place / "environ").read_bytes() and words.encode() in (place / "cmdline").read_bytes():
                        found.append(int(place.name))
                except OSError:
                    pass  # it has just ended
        return found

    def digests(self):
        """{path: SHA-256} of all files that the run left, but for what differs from run to run."""
        paths = (path for path in self.folder.rglob("*") if path.is_file())
        kept = {path.relative_to(self.folder): path for path in paths}
        return {
            str(name): hashlib.sha256(steady(path)).hexdigest()
            for name, path in kept.items()
            if not set(name.parts) & set(PASSING)
        }

    def leavings(self):
        """Locks of Snakemake, and files in the temporary folder."""
        places = (self.folder / ".snakemake" / "locks", self.folder / ".snakemake" / "incomplete", self.temporary)
        return [path for place in places for path in place.rglob("*") if path.is_file()]


def steady(path):
    """The bytes of a file without what tells of time."""
    if path.name in PRESENT:
        return b""
    content = path.read_bytes()
    if path.name == "history.csv":
        rows = list(csv.DictReader(content.decode().splitlines()))
        return json.dumps([{key: value for key, value in row.items() if key not in TIMES} for row in rows]).encode()
    if path.name == "training.json":
        about = json.loads(content, object_hook=lambda each: {key: each[key] for key in each if key not in TIMES})
        return json.dumps(about).encode()
    return content


def disturb(run, draw, kills, seconds):
    """Run to the end while a job, Snakemake, or everything is killed, `kills` times in about so many seconds.

    Returns what was killed, as words. Raises AssertionError if a run fails of which nothing was killed.
    """
    done = []
    while True:
        process = run.start()
        try:
            code = process.wait(draw.uniform(0, 2 * seconds / kills) if len(done) < kills else None)
        except subprocess.TimeoutExpired:
            jobs = run.processes("workflow/scripts/")
            kind = draw.choice((*["a job"] * bool(jobs), "Snakemake", "everything"))
            victims = {"a job": jobs, "Snakemake": [process.pid], "everything": run.processes()}[kind]
            for number in victims if kind == "everything" else [draw.choice(victims)]:
                with contextlib.suppress(ProcessLookupError):  # it has just ended
                    os.kill(number, signal.SIGKILL)
            done.append(kind)
            if process.wait() == -signal.SIGKILL:
                run.finish("--unlock")
        else:
            assert code == 0, f"a run failed by itself after {done}; see {run.log}"
            return done


def faults(run, expected):
    """Yield a line for each thing that a run left otherwise than the undisturbed one, whose `digests` are expected."""
    found = run.digests()
    for path in sorted(found.keys() | expected.keys()):
        if found.get(path) != expected.get(path):
            yield f"{path}: {'missing' if path not in found else 'other bytes' if path in expected else 'stray'}"
    deadline = time.monotonic() + PATIENCE
    while run.processes() and time.monotonic() < deadline:  # jobs of a Snakemake that was killed
        time.sleep(0.1)
    yield from (f"process {number} is alive" for number in run.processes())
    yield from (f"{path}: left" for path in run.leavings())


def main():
    rounds, seed = int(sys.argv[1]), int((sys.argv[2:] or [random.randrange(10**6)])[0])
    print(f"seed {seed}", flush=True)
    wrong = 0
    with tempfile.TemporaryDirectory(prefix="genlab-soak-", ignore_cleanup_errors=True) as place:
        undisturbed, begin = Run(Path(place, "undisturbed")), time.monotonic()
        assert undisturbed.finish() == 0, undisturbed.log.read_text()[-3000:]
        seconds, expected = time.monotonic() - begin, undisturbed.digests()
        print(f"undisturbed: {len(expected)} files in {seconds:.0f} s", flush=True)
        for number in range(1, rounds + 1):
            run = Run(Path(place, f"round {number}"))
            killed = disturb(run, random.Random(f"{seed} {number}"), KILLS, seconds)
            found = list(faults(run, expected))
            counts = ", ".join(f"{kind} {killed.count(kind)}" for kind in sorted(set(killed)))
            print(
                f"round {number}: killed {counts or 'nothing'}; {'; '.join(found[:9]) or 'the same bytes'}", flush=True
            )
            wrong += bool(found)
            shutil.rmtree(run.folder)
    sys.exit(f"soak.py: {wrong} of {rounds} rounds went wrong" if wrong else 0)


if __name__ == "__main__":
    main()
