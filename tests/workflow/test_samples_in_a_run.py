"""Samples from elsewhere and networks of one's own stand in one report beside the models of a finished run."""

import re
import shlex
import shutil
import sys

import numpy as np
import pandas
import pytest
import yaml
from PIL import Image
from smoke import ROOT, snakemake

N = 60  # samples of each model in the smoke configuration


def pictures(seed, count=N):
    return np.random.default_rng(seed).integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)


def save(folder, images, suffix=".png", mode="RGB"):
    folder.mkdir(parents=True)
    for number, image in enumerate(images):
        Image.fromarray(image).convert(mode).save(folder / f"{number}{suffix}")


def hand_in(folder):
    """What five people might hand in."""
    save(folder / "ann" / "out" / "0", pictures(1)[:30], ".PNG")
    save(folder / "ann" / "out" / "1", pictures(1)[30:], ".PNG")
    save(folder / "ann" / ".ipynb_checkpoints", pictures(1)[:1])
    save(folder / "bob", pictures(2, N + 7), mode="RGBA")
    (folder / "bob" / ".DS_Store").write_bytes(b"\0")
    (folder / "bob" / "README.txt").write_text("my best run")
    save(folder / "carl", np.repeat(np.repeat(pictures(3), 2, 1), 2, 2), ".jpg")
    save(folder / "dora", pictures(4), mode="L")
    np.savez(folder / "eve.npz", arr_0=pictures(5), arr_1=np.zeros(N))


DRAW = """
import os, sys
import numpy as np
from PIL import Image
os.makedirs(sys.argv[1])
for number, image in enumerate(np.random.default_rng(int(sys.argv[3])).integers(0, 256, (int(sys.argv[2]), 32, 32, 3))):
    Image.fromarray(image.astype(np.uint8)).save(f"{sys.argv[1]}/{number}.png")
"""


@pytest.fixture(scope="module")
def finished(run):
    """A copy of the finished run, gone on with five people's samples, a program's, and the example networks."""
    folder = run.parent / "with samples"  # beside the run: what Snakemake noted names the workflow's files from here
    shutil.copytree(run, folder)
    hand_in(folder / "students")
    (folder / "draw.py").write_text(DRAW)
    models = {
        "class": {"kind": "samples", "samples": ["students/ann", "students/bob"]},
        "carl": {"kind": "samples", "samples": ["students/carl"]},
        "dora": {"kind": "samples", "samples": ["students/dora"]},
        "eve": {"kind": "samples", "samples": ["students/eve.npz"]},
        "program": {
            "kind": "external",
            "command": f"{shlex.quote(sys.executable)} draw.py {{output}} {{count}} {{seed}}",
            "files": ["draw.py"],
        },
    }
    mine = f"{ROOT / 'examples' / 'networks.py'}:"
    models["own-vae"] = {"kind": "vae", "generator": f"{mine}Generator", "encoder": f"{mine}Encoder", "epochs": 1}
    models["own-gan"] = {"kind": "gan", "generator": f"{mine}Generator", "critic": f"{mine}Critic", "epochs": 1}
    binary = {"dense": {"architecture": f"{mine}dense", "epochs": 1, "warmup_steps": 5}}
    content = {"images": {"models": models}, "likelihood": {"models": binary}}
    (folder / "more.yaml").write_text(yaml.safe_dump(content))
    process = snakemake("all", directory=folder, more="more.yaml")
    assert process.returncode == 0, process.stdout
    return folder, process.stdout


def test_no_model_is_trained_anew(finished):
    trained = re.findall(
        r"^(?:local)?rule train_\w+:\n(?:    .*\n)*?    wildcards: model=([\w-]+)", finished[1], re.MULTILINE
    )
    assert sorted(trained) == ["dense", "own-gan", "own-vae"]


def test_an_architecture_of_one_s_own_has_its_likelihood(finished):
    quoted = (finished[0] / "results" / "smoke" / "log_likelihood_dense.txt").read_text()
    assert quoted.startswith("dense on embedded stand-in for Binarized MNIST\n")


def test_every_entry_has_every_metric(finished):
    summary = pandas.read_csv(finished[0] / "results" / "smoke" / "summary.csv")
    of_models = summary[(summary["problem"] == "images") & (summary["kind"] == "model")].groupby("subject")["metric"]
    metrics = of_models.apply(set).to_dict()
    assert set(metrics) == {"vae", "gan", "class", "carl", "dora", "eve", "program", "own-vae", "own-gan"}
    assert all(found == metrics["gan"] for found in metrics.values())


def test_folders_of_one_entry_count_as_seeds(finished):
    summary = pandas.read_csv(finished[0] / "results" / "smoke" / "summary.csv")
    row = summary[(summary["subject"] == "class") & (summary["metric"] == "fid")].iloc[0]
    assert (row["over"], row["seeds"]) == ("seeds", "1 2")


def test_the_report_says_what_was_converted_and_what_is_left_out(finished):
    table = (finished[0] / "results" / "smoke" / "tables" / "imported.md").read_text()
    rows = dict(re.findall(r"^\| (\S+ +\| \d) .*\| (.+?) +\|$", table, re.MULTILINE))
    assert {" ".join(key.split()): text for key, text in rows.items()} == {
        "class | 1": "nothing",
        "class | 2": "opaque alpha channel dropped: 67; files left out that are no images: 1",
        "carl | 1": "of a lossy format: 60; resized to 32 x 32: 60",
        "dora | 1": "grey, repeated in three channels: 60",
        "eve | 1": "nothing",
        "program | 1": "nothing",
    }
    page = (finished[0] / "results" / "smoke" / "report.html").read_text()
    assert page.count("What needs a generator is left out: latents, interpolation, training.") == 5


def test_afterwards_nothing_is_to_be_done(finished):
    assert "Nothing to be done" in snakemake("all", "--dry-run", directory=finished[0], more="more.yaml").stdout


@pytest.mark.parametrize(
    "name, runs", [("students/dora/0.png", "dora"), ("draw.py", "program")], ids=["an image", "the program"]
)
def test_what_changes_in_place_is_brought_in_anew(finished, name, runs):
    file = finished[0] / name
    content = file.read_bytes()
    try:
        if name.endswith(".png"):
            Image.fromarray(pictures(9)[0]).save(file)
        else:
            file.write_bytes(content + b"# changed\n")
        plan = snakemake("all", "--dry-run", directory=finished[0], more="more.yaml").stdout
    finally:
        file.write_bytes(content)
    jobs = re.findall(r"^rule import_samples:\n(?:    .*\n)*?    wildcards: model=(\w+)", plan, re.MULTILINE)
    assert jobs == [runs]


def test_samples_that_are_not_there_are_named_at_once(tmp_path):
    (tmp_path / "more.yaml").write_text("images: {models: {ann: {kind: samples, samples: [students/ann]}}}")
    process = snakemake("all", "--dry-run", directory=tmp_path, more="more.yaml")
    assert process.returncode != 0 and "Traceback" not in process.stdout
    assert "images.models.ann.samples: students/ann: no such file or folder" in process.stdout
