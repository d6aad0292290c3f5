"""Samples from elsewhere become those of a model: from a folder, a file, or a program."""

import json
import os
import shlex
import subprocess
import sys
import time
from pathlib import Path

import import_samples
import numpy as np
import pytest
from genlab import ComputationError, InputError
from genlab.data import arrays, images
from stage import command as stage_command
from stage import run_here, run_stage

DRAW = """
import os, sys
import numpy as np
from PIL import Image
folder, count, seed = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
os.makedirs(folder)
rng = np.random.default_rng(seed)
for number in range(count):
    Image.fromarray(rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(f"{folder}/{number}.png")
"""


@pytest.fixture
def pictures(tmp_path):
    """An NPZ file of 30 images, each of one grey level: its number."""
    grey = np.arange(30, dtype=np.uint8)[:, None, None, None]
    np.savez(tmp_path / "given.npz", images=np.broadcast_to(grey, (30, 32, 32, 3)))
    return tmp_path / "given.npz"


def levels(pixels):
    return [int(image.ravel()[0]) for image in pixels]


def published(folder):
    return np.concatenate(list(images.read_directory(folder / "samples")[1]))


def test_published_samples_are_the_first_of_a_random_order_of_all(pictures, tmp_path):
    process = run_stage(
        "import_samples", "--samples", pictures, "--name", "ann", "--count", 10, "--output", tmp_path / "out"
    )
    assert (process.returncode, process.stdout) == (0, f"30 of 30 images of ann from {pictures}\n"), process.stderr
    everything, about = arrays.read_samples(tmp_path / "out" / "images.npz")
    order = levels(everything)
    assert sorted(order) == list(range(30)) and order != sorted(order)
    assert levels(published(tmp_path / "out")) == order[:10]
    assert json.loads((tmp_path / "out" / "import.json").read_text()) == about
    assert (about["model"], about["kind"], about["available"], about["images"]) == ("ann", "samples", 30, 30)


def test_the_order_has_a_seed_of_its_own(pictures, tmp_path):
    def order(name, *words):
        run_here(import_samples, "--samples", pictures, "--count", 10, "--output", tmp_path / name, *words)
        return levels(published(tmp_path / name))

    first = order("a")
    assert order("b", "--seed", 7) == first != order("c", "--order-seed", 7)


def test_of_too_many_a_pool_is_drawn(pictures, tmp_path):
    run_here(import_samples, "--samples", pictures, "--count", 5, "--pool", 12, "--output", tmp_path / "out")
    everything, about = arrays.read_samples(tmp_path / "out" / "images.npz")
    assert len(set(levels(everything))) == about["images"] == 12 and about["available"] == 30


def test_too_few_are_refused_with_the_remedy_and_nothing_is_written(pictures, tmp_path):
    with pytest.raises(InputError, match=r"30 images, fewer than the 31 .* or set images.evaluation.samples to 30"):
        run_here(import_samples, "--samples", pictures, "--count", 31, "--output", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("place", ["", "samples", "samples/samples", "images.npz"])
def test_samples_are_not_replaced_by_a_choice_of_them(pictures, tmp_path, place):
    run_here(import_samples, "--samples", pictures, "--count", 20, "--output", tmp_path / "out")
    before = {path: path.read_bytes() for path in (tmp_path / "out").rglob("*.*")}
    with pytest.raises(InputError, match="is read, and would be replaced"):
        run_here(import_samples, "--samples", tmp_path / "out" / place, "--count", 5, "--output", tmp_path / "out")
    assert {path: path.read_bytes() for path in (tmp_path / "out").rglob("*.*")} == before


def test_what_was_converted_is_said_in_one_line(tmp_path):
    images.write_directory(tmp_path / "given", np.zeros((4, 3, 32, 32), np.uint8))
    (tmp_path / "given" / "notes.txt").write_text("x")
    process = run_stage("import_samples", "--samples", tmp_path / "given", "--count", 2, "--output", tmp_path / "out")
    assert process.returncode == 0
    said = "samples, 4 images: files left out that are no images: 1; equal to an earlier one: 3\n"
    assert process.stderr.endswith(said) and process.stderr.count("\n") == 1


@pytest.fixture
def command(tmp_path):
    """A program that draws images, in a folder with a space in its name."""
    program = tmp_path / "a b" / "draw.py"
    program.parent.mkdir()
    program.write_text(DRAW)
    return shlex.join([sys.executable, str(program)]) + " {output} {count} {seed}"


def test_a_program_is_handed_a_folder_a_count_and_a_seed(command, tmp_path):
    run_here(import_samples, "--command", command, "--count", 5, "--seed", 3, "--output", tmp_path / "out")
    drawn = np.random.default_rng(3).integers(0, 256, (5, 32, 32, 3), dtype=np.uint8)  # as the program does
    everything, about = arrays.read_samples(tmp_path / "out" / "images.npz")
    assert {image.tobytes() for image in everything} == {image.tobytes() for image in drawn.transpose(0, 3, 1, 2)}
    assert (about["kind"], about["source"], about["seed"]) == ("external", command, 3)


def test_more_images_can_be_asked_of_a_program(command, tmp_path):
    run_here(import_samples, "--command", command, "--count", 5, "--draw", 8, "--output", tmp_path / "out")
    assert len(arrays.read_samples(tmp_path / "out" / "images.npz")[0]) == 8


@pytest.mark.parametrize(
    "words, error, message",
    [
        ("true {output} {count}", InputError, r"--command: \{seed\} missing; the program must be handed"),
        ("exit 3 # {output} {count} {seed}", ComputationError, "--command: ended with exit code 3"),
        ("true {output} {count} {seed}", ComputationError, "--command: has not made the folder"),
        ("mkdir {output} # {count} {seed}", InputError, "holds no image"),
    ],
)
def test_a_program_that_does_not_do_its_part_is_named(tmp_path, words, error, message):
    with pytest.raises(error, match=message):
        run_here(import_samples, "--command", words, "--output", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_program_has_the_environment_of_the_shell(command, tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    words = f"echo $OMP_NUM_THREADS $MPLBACKEND > {tmp_path}/seen; {command}"
    process = run_stage("import_samples", "--command", words, "--count", 5, "--output", tmp_path / "out")
    assert process.returncode == 0, process.stderr
    assert (tmp_path / "seen").read_text().split() == [
        "7",
        *([os.environ["MPLBACKEND"]] if "MPLBACKEND" in os.environ else []),
    ]


def test_a_program_ends_with_its_stage(tmp_path):
    words = f"sleep 61 & echo $! > {tmp_path}/pid; wait # {{output}} {{count}} {{seed}}"
    stage = subprocess.Popen(stage_command("import_samples", "--command", words, "--output", tmp_path / "out"))
    while not ((tmp_path / "pid").exists() and (tmp_path / "pid").read_text().strip()):
        time.sleep(0.05)
    stage.terminate()
    assert stage.wait(60) == 75
    pid = (tmp_path / "pid").read_text().strip()
    deadline = time.monotonic() + 10  # whoever adopts it may take a moment to bury it
    while (
        time.monotonic() < deadline
        and Path(f"/proc/{pid}").exists()
        and " Z " not in Path(f"/proc/{pid}/stat").read_text()
    ):
        time.sleep(0.05)
    assert not Path(f"/proc/{pid}").exists() or " Z " in Path(f"/proc/{pid}/stat").read_text()
