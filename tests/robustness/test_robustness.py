"""Every input of docs/robustness.md, tried again: the promise is kept, and the page says what happens."""

import pytest
from robustness import page, runner
from robustness.doors import DOORS

CASES = [(door, case) for door in DOORS for case in door.cases]


@pytest.fixture(scope="module")
def lines():
    return page.PAGE.read_text(encoding="utf-8").splitlines()


@pytest.mark.parametrize("door, case", CASES, ids=[f"{door.title}: {case.what}" for door, case in CASES])
def test_the_promise_is_kept_and_the_page_says_what_happens(door, case, lines):
    found = runner.run(case)
    assert found.broken == ()
    assert page.row(door, case, found) in lines, f"not in the page; write it anew: .venv/bin/python {page.__file__}"


def test_the_page_has_these_cases_and_no_others(lines):
    nothing = runner.Outcome(0, (), (), False, ())
    expected = page.text([[nothing] * len(door.cases) for door in DOORS]).splitlines()
    assert list(map(begin, lines)) == list(map(begin, expected))


def begin(line):
    """A line, or of a case's row its first two cells."""
    return line.rsplit(" | ", 3)[0].split(" | `")[0] if line.startswith("| ") else line


GOOD = ["12:00:00 INFO reading", "stage.py: error: x.npz: wrong; give another"]


def promises(code=2, log=GOOD, left=(), expected=2):
    """The promises that a run of a stage called "stage" with the file x.npz has not kept."""
    case = runner.Case("an input", "stage --data x.npz", says="wrong", code=expected)
    said = runner.complaint(log, "stage") if expected else runner.conversation(log)
    found = runner.Outcome(code, said, tuple(left), True, ())
    return list(runner.broken(case, found, log, runner.names_in({}, ["--data", "x.npz"])))


def test_a_promise_that_is_kept_is_not_called_broken():
    assert promises() == []
    assert promises(0, ["12:00:00 WARNING x.npz: something is wrong"], ["out.npz"], 0) == []


@pytest.mark.parametrize(
    "changes, broken",
    [
        ({"code": 1}, "ends with 1, not 2"),
        ({"code": 0}, "ends with 0, not 2"),
        ({"log": ["Traceback (most recent call last):", *GOOD]}, "shows a traceback"),
        ({"log": ["stage.py: error: x.npz: odd; give another"]}, "does not say 'wrong'"),
        ({"left": ["out.npz"]}, "changes out.npz"),
        ({"left": ["folder/.out.npz.vm-1.part.npz"]}, "leaves folder/.out.npz.vm-1.part.npz"),
        ({"log": [*GOOD, "more", "and", "more"]}, "says 4 lines"),
        ({"log": []}, "says 0 lines"),
        ({"log": ["stage.py: failed: x.npz: wrong; give another"]}, "does not call it an error, or failed"),
        ({"log": ["stage.py: error: wrong; give another"]}, "names neither a file nor an option"),
        ({"log": ["stage.py: error: x.npz: wrong"]}, "names no remedy"),
        ({"log": [f"stage.py: error: x.npz: wrong; give {'another' * 100}"]}, "says 726 letters"),
        ({"log": ["a library: UserWarning", *GOOD]}, "says before: 'a library: UserWarning'"),
        ({"expected": 0, "code": 0, "log": ["a library: UserWarning, wrong"]}, "says what is no message of its own"),
    ],
)
def test_a_broken_promise_is_noticed(changes, broken):
    assert any(fault.startswith(broken) for fault in promises(**changes))
