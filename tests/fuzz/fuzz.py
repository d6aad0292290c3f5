"""Fuzz every reader of files for some seconds, guided by the lines of the code that a file reaches; for `make fuzz`.

usage: fuzz.py SECONDS [TARGET ...]

A file that a reader does not read or refuse as targets.py says is left in fuzz/, and the exit code is 1.
"""

import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

try:
    import atheris
except ImportError:
    sys.exit("fuzz.py: atheris is not installed here, so nothing guides the fuzzing; what came before is all")

ROOT = Path(__file__).parents[2]
CODE = ["genlab", "PIL", "zipfile", "pickletools", "json", "yaml", "numpy.lib"]  # whose lines guide


def one(name, folder, seconds):
    """Fuzz one reader in this process; never returns."""
    sys.path[:0] = [str(ROOT / "workflow" / "scripts")]
    with atheris.instrument_imports(include=CODE):
        import targets
    warnings.simplefilter("ignore")  # to show one, Python reads the line that it is about
    corpus = Path(folder, "corpus")
    corpus.mkdir()
    for number, content in enumerate(targets.TARGETS[name][0]()):
        (corpus / str(number)).write_bytes(content)
    place = Path(folder, "files")
    words = [sys.argv[0], f"-max_total_time={seconds}", "-timeout=10", "-max_len=30000", "-rss_limit_mb=3000"]
    words += ["-malloc_limit_mb=1000", f"-artifact_prefix={ROOT / 'fuzz' / name.replace(' ', '_')}-", "-verbosity=0"]
    atheris.Setup([*words, "-print_final_stats=1", str(corpus)], lambda content: targets.read(name, content, place))
    atheris.Fuzz()


def main():
    seconds, *names = sys.argv[1:]
    if names[:1] == ["--one"]:
        return one(names[1], names[2], int(seconds))
    import targets  # only for the names

    (ROOT / "fuzz").mkdir(exist_ok=True)
    failed = []
    for name in names or targets.TARGETS:
        with tempfile.TemporaryDirectory() as folder:
            words = [sys.executable, __file__, seconds, "--one", name, folder]
            done = subprocess.run(words, capture_output=True, text=True, errors="replace")
        runs = [line.split()[-1] for line in done.stderr.splitlines() if "number_of_executed_units" in line]
        print(f"{name}: {runs[0] if runs else 'no'} files, {'a FAULT' if done.returncode else 'no fault'}", flush=True)
        if done.returncode:
            print(done.stdout[-3000:], done.stderr[-3000:], sep="\n", flush=True)
            failed.append(name)
    sys.exit(f"fuzz.py: faults of {', '.join(failed)}; the files are in fuzz/" if failed else 0)


if __name__ == "__main__":
    main()
