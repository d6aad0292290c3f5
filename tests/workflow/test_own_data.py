"""A run on labelled images of one's own, scored on features of a network of one's own."""

import json
import shutil

import numpy as np
import pandas
import pytest
import torch
import yaml
from PIL import Image
from safetensors.torch import save_file
from smoke import snakemake

CLASSES = {"iris": (40, 40, 200), "<b>rose": (200, 30, 60), "lily": (230, 230, 230)}
NETWORK = """
import torch
from torch import nn
from torch.nn import functional as F

class Grey(nn.Module):
    size = 48

    def __init__(self):
        super().__init__()
        self.weights = nn.Parameter(torch.ones(3))

    def forward(self, x):
        return F.adaptive_avg_pool2d((self.weights[:, None, None] * x).sum(1, keepdim=True), 4).flatten(1)
"""


def save(folder, count, seed, suffix):
    """Squares of each class's colour, 40 x 40."""
    rng = np.random.default_rng(seed)
    for name, colour in CLASSES.items():
        (folder / name).mkdir(parents=True)
        for number in range(count):
            picture = np.full((40, 40, 3), 90) + rng.integers(-30, 30, (40, 40, 3))
            picture[10:30, 10:30] = np.array(colour) + rng.integers(-25, 25, (20, 20, 3))
            Image.fromarray(picture.astype(np.uint8)).save(folder / name / f"{number}{suffix}")


@pytest.fixture(scope="module")
def finished(run):
    """A copy of the finished run, gone on with these data and features, and what Snakemake printed."""
    folder = run.parent / "own data"  # beside the run: what Snakemake noted names the workflow's files from here
    shutil.copytree(run, folder)
    save(folder / "flowers" / "train", 40, 1, ".jpg")
    save(folder / "flowers" / "test", 25, 2, ".png")
    samples = np.random.default_rng(3).integers(0, 256, (60, 32, 32, 3), dtype=np.uint8)
    np.savez(folder / "noise.npz", images=samples)
    (folder / "network.py").write_text(NETWORK)
    save_file({"weights": torch.tensor([0.3, 0.6, 0.1])}, folder / "network.safetensors")
    config = {
        "data": {"images": {"source": "folder", "train": "flowers/train", "test": "flowers/test", "title": "Flowers"}},
        "likelihood": {"models": {"vae": None}},
        "images": {
            "feature_network": "network.py:Grey",
            "feature_weights": "network.safetensors",
            "models": {"gan": None, "vae": {"epochs": 1}, "others": {"kind": "samples", "samples": ["noise.npz"]}},
        },
    }
    (folder / "own.yaml").write_text(yaml.safe_dump(config))
    process = snakemake("all", directory=folder, more="own.yaml")
    assert process.returncode == 0, process.stdout
    return folder, process.stdout


def read(finished, name):
    return json.loads((finished[0] / "results" / "smoke" / name).read_text())


def test_the_classifier_is_trained_on_one_s_own_classes(finished):
    accuracy = read(finished, "classifier/accuracy.json")
    assert accuracy["data"]["classes"] == ["<b>rose", "iris", "lily"]
    assert np.shape(accuracy["splits"]["test"]["confusion"]) == (3, 3)


def test_fid_is_taken_on_one_s_own_features(finished):
    """Of an independent computation: grey means of 4 x 4 blocks, by Pillow."""
    from genlab.measures import frechet

    def features(pictures):
        grey = pictures / 127.5 - 1
        grey = np.tensordot(grey, [0.3, 0.6, 0.1], 1)
        large = [np.asarray(Image.fromarray(each.astype(np.float32)).resize((48, 48), Image.BICUBIC)) for each in grey]
        return np.stack(large).reshape(-1, 4, 12, 4, 12).mean((2, 4)).reshape(-1, 16)

    files = sorted((finished[0] / "flowers" / "test").rglob("*.png"))
    real = np.stack([np.asarray(Image.open(file).resize((32, 32), Image.BILINEAR)) for file in files])
    samples = np.load(finished[0] / "noise.npz")["images"]
    expected = frechet.moments([features(samples)]).distance(frechet.moments([features(real)]))
    found = read(finished, "fid_others.json")
    assert found["fid"]["mean"] == pytest.approx(expected, rel=1e-4)
    words = "the 16 features of network.py:Grey, images resized to 48 x 48, bicubic and antialiased"
    assert found["features"]["words"] == words
    summary = pandas.read_csv(finished[0] / "results" / "smoke" / "summary.csv")
    row = summary[(summary["subject"] == "others") & (summary["metric"] == "fid")].iloc[0]
    assert row["value"] == pytest.approx(expected, rel=1e-4)


def test_the_report_says_what_data_and_features_these_are(finished):
    page = (finished[0] / "results" / "smoke" / "report.html").read_text()
    assert "Flowers: images of 3 classes, 108 training, 12 validation, 75 test." in page
    assert "Converted training images: 120 of a lossy format, 120 resized to 32 x 32." in page
    assert "and images of Flowers" in page and "house numbers" not in page
    assert "scored by the Fréchet distance on the 16 features of network.py:Grey" in page
    assert "<b>rose" not in page


def test_limits_of_the_task_judge_no_other_data(finished):
    table = (finished[0] / "results" / "smoke" / "tables" / "acceptance.md").read_text()
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines() if "FID" in line]
    assert [row[2:] for row in rows if row[0].startswith("vae")] == [["\N{EN DASH}", "\N{EN DASH}", "Flowers"]]


def test_afterwards_nothing_is_to_be_done(finished):
    assert "Nothing to be done" in snakemake("all", "--dry-run", directory=finished[0], more="own.yaml").stdout


def test_an_image_that_changes_in_place_is_prepared_anew(finished):
    file = finished[0] / "flowers" / "test" / "iris" / "3.png"
    content = file.read_bytes()
    try:
        Image.open(file).rotate(90).save(file)
        plan = snakemake("all", "--dry-run", directory=finished[0], more="own.yaml").stdout
    finally:
        file.write_bytes(content)
    assert "rule prepare_images:" in plan and "rule train_classifier:" in plan


def test_what_is_not_there_is_named_at_once(finished, tmp_path):
    (tmp_path / "own.yaml").write_text((finished[0] / "own.yaml").read_text())
    process = snakemake("all", "--dry-run", directory=tmp_path, more="own.yaml")
    assert process.returncode != 0 and "Traceback" not in process.stdout
    for line in (
        "data.images.train: flowers/train: no such file or folder",
        "images.feature_weights: network.safetensors: no such file or folder",
        "images.feature_network: network.py: no such file or folder",
        "images.models.others.samples: noise.npz: no such file or folder",
    ):
        assert line in process.stdout
