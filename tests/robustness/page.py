"""The page docs/robustness.md, made of what happened. As a program: try all cases and write it.

.venv/bin/python tests/robustness/page.py
"""

import collections
import re
import sys
from pathlib import Path

TESTS = Path(__file__).parents[1]
sys.path[:0] = [str(TESTS), str(TESTS.parent / "workflow" / "scripts")]

from robustness import runner  # noqa: E402
from robustness.doors import DOORS  # noqa: E402

PAGE = TESTS.parent / "docs" / "robustness.md"
# What each stage did already at commit ca3625d, where all cases were tried before the stages were mended.
BEFORE = set(Path(__file__).with_name("before.txt").read_text(encoding="utf-8").splitlines())
HEAD = """# Hostile and broken input

What a stage does with input that is wrong, damaged or strange. The promise:

* The exit code is 2 for wrong input, 1 for a computation that fails, and 0 for success, also on odd but valid input.
* One to three lines say what is wrong, where, and what to do. Nobody sees a traceback.
* A stage that fails leaves no results. Those of an earlier run stay as they are, byte for byte.
* Nothing that is read is executed: no pickle, no script, no program but those that a person names.

Below are {count} inputs that were tried. The tests in [`tests/robustness`](../tests/robustness) try each again, check
it against this promise, and compare what happens with its row here: the page cannot be out of date. To add an input,
add a line to a file in `tests/robustness/doors`. Then write the page anew:

```
.venv/bin/python tests/robustness/page.py
```

**What it says** leaves out the stage's name, times and progress; of a stage that succeeds it shows warnings and the
first line of the result, with numbers rounded. **On disk** lists what is new or changed. "As before" means that results
of an earlier run were there and are unchanged. "Nothing" means that there were none, and are none. A degree sign (°)
marks the inputs that were handled so from the start: all were also tried at commit `ca3625d`, before the stages were
mended. There the others failed, or the stage or option did not exist.
"""


def text(outcomes):
    """The page, from the outcomes [[outcome of each case] of each door]."""
    parts = [HEAD.format(count=sum(map(len, outcomes)))]
    for door, found in zip(DOORS, outcomes, strict=True):
        lines = [f"## {door.title}", "", door.about, "", "| input | stage | what it says | code | on disk |"]
        lines += [
            "| --- | --- | --- | --- | --- |",
            *(row(door, *each) for each in zip(door.cases, found, strict=True)),
        ]
        parts.append("\n".join(lines) + "\n")
    return "\n".join(parts)


def row(door, case, outcome):
    """The row of a case."""
    stage = case.command.split()[0]
    mark = "\N{DEGREE SIGN}" if f"{door.title}: {case.what} ({stage})" in BEFORE else ""
    said = "<br>".join(map(code, outcome.said)) or "nothing"
    cells = (escaped(case.what) + mark, f"`{stage}`", said, outcome.code, on_disk(outcome))
    return f"| {' | '.join(map(str, cells))} |"


def on_disk(outcome):
    """What is new or changed, in words: files of one ending in one folder are counted."""
    if not outcome.left:
        return "as before" if outcome.earlier else "nothing"
    groups = collections.Counter(
        re.sub(r"[^/]*[0-9a-f]{32}(\.\w+)$|\d{4}(\.png)$|events\.out.*$", r"…\1\2", path) for path in outcome.left
    )
    return ", ".join(f"{code(path)} ({count})" if count > 1 else code(path) for path, count in groups.items())


def code(words):
    """Text as code in a cell of a table."""
    fence = "``" if "`" in words else "`"
    return f"{fence}{words.replace('|', chr(92) + '|')}{fence}" if words.strip() else "an empty line"


def escaped(words):
    return words.replace("|", "\\|")


def main():
    outcomes = []
    for door in DOORS:
        outcomes.append([])
        for case in door.cases:
            found = runner.run(case)
            outcomes[-1].append(found)
            for fault in found.broken:
                print(f"{door.title}: {case.what}: {fault}", file=sys.stderr)
    if any(found.broken for each in outcomes for found in each):
        sys.exit("the promise is broken; the page is as it was")
    PAGE.write_text(text(outcomes), encoding="utf-8")
    print(f"{PAGE.name}: {sum(map(len, outcomes))} cases")


if __name__ == "__main__":
    main()
