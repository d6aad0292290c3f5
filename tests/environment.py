"""Run stages one after another in this process, with some packages hidden; a program for test_environments.py.

Reads JSON from standard input: `modules` and `distributions`, the names of what is hidden, and `calls`, a list of
[command line, standard input]. Prints what fails; exit code 1 if anything did.
"""

import importlib.machinery
import importlib.metadata
import io
import json
import os
import re
import runpy
import sys
import traceback


def hide(modules, distributions):
    """Let nothing find these top-level modules and these distributions any more."""
    finder, from_name = importlib.machinery.PathFinder, importlib.metadata.Distribution.from_name

    class Rest(finder):
        @classmethod
        def find_spec(cls, name, path=None, target=None):
            return None if name.partition(".")[0] in modules else finder.find_spec(name, path, target)

    def of_rest(name):
        if re.sub(r"[-_.]+", "-", name).lower() in distributions:
            raise importlib.metadata.PackageNotFoundError(name)
        return from_name(name)

    sys.meta_path[:] = [Rest if each is finder else each for each in sys.meta_path]
    importlib.metadata.Distribution.from_name = of_rest


def main():
    job, failures = json.load(sys.stdin), 0
    hide(set(job["modules"]), set(job["distributions"]))
    for words, text in job["calls"]:
        sys.argv, sys.path[0], sys.stdin = words, os.path.dirname(words[0]), io.StringIO(text)
        try:
            runpy.run_path(words[0], run_name="__main__")
        except (Exception, SystemExit) as error:
            failures += 1
            print(f"FAILED {words[0]}: {error!r}", file=sys.stderr)
            if not isinstance(error, SystemExit):  # which has said why
                traceback.print_exc()
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
