"""Damaged files for every reader: each is read, or refused with an `InputError`; see targets.py.

Few, and the same in every run, for a bounded time; `make fuzz` tries others for as long as it is told.
"""

import functools
import os
import pickle
import socket
import subprocess
from pathlib import Path

import confined
import hypothesis
import pytest
import targets
from genlab import InputError
from hypothesis import strategies as some

# Numbers at the edges of what four and eight bytes hold.
EDGES = [0, 1, 2, 127, 128, 255, 256, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**63, 2**64 - 1]


@pytest.fixture(autouse=True)
def little_memory():
    with confined.little_memory():
        yield


def examples(count):
    """Settings of a test of so many examples, the same ones in every run; with GENLAB_FUZZ, of so many times more."""
    more = int(os.environ.get("GENLAB_FUZZ", 0))
    return hypothesis.settings(
        max_examples=count * (more or 1), derandomize=not more, deadline=None, database=None, print_blob=True,
        suppress_health_check=list(hypothesis.HealthCheck), phases=[hypothesis.Phase.generate, hypothesis.Phase.shrink],
    )  # fmt: skip


@functools.cache
def seeds(name):
    """The sound files of a reader."""
    return list(targets.TARGETS[name][0]())


def integers(width):
    """A number of so many bytes."""
    edge = some.sampled_from([number for number in EDGES if number < 256**width])
    return (edge | some.integers(0, 256**width - 1)).flatmap(
        lambda number: some.sampled_from(["little", "big"]).map(lambda order: number.to_bytes(width, order))
    )


@some.composite
def damaged(draw, name):
    """One of a reader's sound files after some damage."""
    files = seeds(name)
    content = bytearray(draw(some.sampled_from(files)))
    for _ in range(draw(some.sampled_from([1, 1, 1, 2, 3, 8]))):
        near = draw(some.booleans())  # most formats say at the beginning what follows
        place = draw(some.integers(0, min(len(content), 300) if near else len(content)))
        kind = draw(some.sampled_from(["byte", "number", "insert", "delete", "cut", "splice", "repeat"]))
        if kind == "byte":
            content[place : place + 1] = bytes([draw(some.integers(0, 255))])
        elif kind == "number":
            number = draw(some.sampled_from([1, 2, 4, 8]).flatmap(integers))
            content[place : place + len(number)] = number
        elif kind == "insert":
            content[place:place] = draw(some.binary(min_size=1, max_size=16))
        elif kind == "delete":
            del content[place : place + draw(some.sampled_from([1, 2, 4, 8, 100]))]
        elif kind == "cut":
            del content[place:]
        elif kind == "splice":
            other = draw(some.sampled_from(files))
            start = draw(some.integers(0, len(other)))
            content[place:] = other[start:]
        else:
            part = content[place : place + draw(some.integers(1, 64))]
            content[place:place] = part * draw(some.sampled_from([1, 2, 50]))
    return bytes(content)


@pytest.mark.parametrize("name", targets.TARGETS)
def test_sound_files_are_read(name, tmp_path):
    refused = [reason for content in seeds(name) if (reason := targets.read(name, content, tmp_path))]
    known = {"images": 7, "samples": 4}  # of other formats, grey, transparent, or moving: refused by rule
    assert len(refused) == known.get(name, 0), refused


@pytest.mark.parametrize("name", targets.TARGETS)
def test_damaged_files_are_read_or_refused(name, tmp_path):
    @examples(40 if name == "configuration" else 150)
    @hypothesis.given(damaged(name))
    def check(content):
        targets.read(name, content, tmp_path)

    check()


@pytest.mark.parametrize("name", targets.TARGETS)
def test_files_of_anything_are_read_or_refused(name, tmp_path):
    @examples(40)
    @hypothesis.given(some.binary(max_size=200))
    def check(content):
        targets.read(name, content, tmp_path)

    check()


@pytest.mark.parametrize(
    "deed",
    [
        lambda path: os.system("true"),
        lambda path: subprocess.run(["true"]),
        lambda path: path.parent.with_name("x").write_text(""),
        lambda path: path.write_text(""),
        lambda path: Path("/etc/passwd").read_text(),
        lambda path: os.remove(path),
        lambda path: os.mkdir(path.with_name("y")),
        lambda path: pickle.loads(pickle.dumps(os.getcwd)),
        lambda path: exec("1"),
        lambda path: socket.create_connection(("127.0.0.1", 1)),
    ],
)
def test_the_deeds_that_no_reader_does_are_noticed(tmp_path, deed):
    (tmp_path / "x").touch()
    with pytest.raises(AssertionError, match="a reader did"):
        targets.read_by(deed, tmp_path / "x")


def test_what_no_reader_raises_is_noticed(tmp_path):
    def fails(path):
        raise KeyError("x")

    def takes_much(path):
        raise InputError("damaged (MemoryError)")

    for function, error in (fails, KeyError), (takes_much, AssertionError):
        with pytest.raises(error):
            targets.read_by(function, tmp_path / "x")
