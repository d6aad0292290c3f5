"""score_samples through its command line: numbers against score_fid and torchmetrics, files, copies, bad input."""

import csv
import json
import shutil

import numpy as np
import pytest
import score_fid
import score_samples
import torch
from conftest import succeed
from genlab import InputError
from genlab.data import arrays, images
from genlab.models import networks
from genlab.training import checkpoint
from PIL import Image
from stage import run_here, run_stage

COUNT = 60


def pictures(count, seed, low=0, high=256):
    return np.random.default_rng(seed).integers(low, high, (count, 3, 32, 32), np.uint8)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A folder with svhn.npz, weights, and samples: a, b (like a), dark (another distribution), thief (copies)."""
    folder = tmp_path_factory.mktemp("world")
    fields = {}
    for seed, (split, count) in enumerate((("train", 90), ("valid", 5), ("test", 80))):
        fields |= {f"{split}_images": pictures(count, seed), f"{split}_labels": np.zeros(count, np.uint8)}
    about = {"dataset": "SVHN", "source": "embedded", "title": "embedded stand-in for SVHN", "files": {}}
    arrays.write(folder / "svhn.npz", about, **fields)
    torch.manual_seed(1)
    checkpoint.save_tensors(folder / "weights.safetensors", networks.FeatureClassifier().state_dict(), {"model": "x"})
    thief = pictures(COUNT, 9)
    thief[:4], thief[4] = fields["train_images"][:4], fields["valid_images"][0]
    thief[5:8] = np.clip(fields["test_images"][:3].astype(int) + 2, 0, 255)
    sets = {"a": pictures(COUNT, 7), "b": pictures(COUNT, 8), "dark": pictures(COUNT, 7, high=128), "thief": thief}
    for name, content in sets.items():
        images.write_directory(folder / name, content)
    return folder


def arguments(world, output, *names, **changes):
    options = {"model": world / "weights.safetensors", "reference": world / "svhn.npz", "output": output}
    words = [word for name, value in (options | {"floor-draws": 3} | changes).items() for word in (f"--{name}", value)]
    return [*(world / name for name in names or ("a", "b", "dark", "thief")), *words, "--threads", 1, "--device", "cpu"]


@pytest.fixture(scope="module")
def scored(world, tmp_path_factory):
    """(folder that was written, what was printed, warnings)."""
    folder = tmp_path_factory.mktemp("board") / "out"
    process = succeed("score_samples", *arguments(world, folder))
    return folder, process.stdout, process.stderr


def rows(path):
    return {row["name"]: row for row in csv.DictReader(path.open())}


def test_the_fids_are_those_of_score_fid_to_all_digits(world, scored, tmp_path):
    for name, row in rows(scored[0] / "leaderboard.csv").items():
        output = tmp_path / f"{name}.json"
        run_here(
            score_fid, world / name, "--model", world / "weights.safetensors", "--reference", world / "svhn.npz",
            "--floor-draws", 3, "--output", output, "--threads", 1, "--device", "cpu",
        )  # fmt: skip
        expected = json.loads(output.read_text())
        assert float(row["fid"]) == pytest.approx(expected["fid"], rel=1e-9)
        assert float(row["ratio"]) == pytest.approx(expected["ratio"], rel=1e-9)


def test_another_distribution_is_told_apart_and_the_same_one_is_not(scored):
    pairs = {(row["first"], row["second"]): row["winner"] for row in csv.DictReader((scored[0] / "pairs.csv").open())}
    assert len(pairs) == 6
    assert {winner for pair, winner in pairs.items() if "dark" in pair} == {"a", "b", "thief"}
    assert {winner for pair, winner in pairs.items() if "dark" not in pair} == {""}


def test_copies_are_counted_and_warned_of(scored):
    folder, _, warnings = scored
    found = {name: (int(row["exact"]), int(row["near"])) for name, row in rows(folder / "leaderboard.csv").items()}
    assert found == {"a": (0, 0), "b": (0, 0), "dark": (0, 0), "thief": (5, 3)}
    assert "thief: 5 of 60 images are copies of real ones, pixel for pixel, and 3 nearly so" in warnings
    assert warnings.count("are copies") == 1


def test_all_files_name_every_entry(scored):
    folder, printed, _ = scored
    for name in ("leaderboard.md", "leaderboard.tex", "leaderboard.csv", "leaderboard.html"):
        text = (folder / name).read_text(encoding="utf-8")
        assert all(entry in text for entry in ("dark", "thief")), name
    assert "thief" in printed and "real training images" in printed


def test_the_json_has_all_numbers_and_their_provenance(scored):
    written = json.loads((scored[0] / "leaderboard.json").read_text())
    assert {entry["name"]: entry["fid"] for entry in written["entries"]} == {
        name: float(row["fid"]) for name, row in rows(scored[0] / "leaderboard.csv").items()
    }
    assert len(written["pairs"]) == 6 and written["real"]["60"]["images"] == 60
    assert written["provenance"]["settings"]["floor_draws"] == 3 and written["data"] == "embedded stand-in for SVHN"


def test_the_reference_is_not_taken_for_training_images(world, tmp_path):
    with pytest.raises(InputError, match="a: the reference cannot be its own floor"):
        run_here(score_samples, *arguments(world, tmp_path / "out", "b", reference=world / "a", floor=world / "a"))
    assert not (tmp_path / "out").exists()


def test_features_are_computed_once_for_each_content(world, scored, tmp_path, monkeypatch):
    shutil.copytree(scored[0] / "features", tmp_path / "out" / "features")
    shutil.copytree(world / "a", tmp_path / "renamed")

    from genlab.models import classifier

    monkeypatch.setattr(classifier, "features", None)  # would fail if called
    run_here(score_samples, tmp_path / "renamed", *arguments(world, tmp_path / "out", "b")[0:])
    assert set(rows(tmp_path / "out" / "leaderboard.csv")) == {"renamed", "b"}


def test_a_damaged_cache_is_computed_anew(world, scored, tmp_path):
    shutil.copytree(scored[0] / "features", tmp_path / "out" / "features")
    for file in (tmp_path / "out" / "features").iterdir():
        file.write_bytes(file.read_bytes()[:100])
    run_here(score_samples, *arguments(world, tmp_path / "out"))
    assert (tmp_path / "out" / "leaderboard.csv").read_bytes() == (scored[0] / "leaderboard.csv").read_bytes()


def test_entries_of_another_size_have_a_table_of_their_own(world, tmp_path):
    images.write_directory(tmp_path / "few", pictures(30, 5))
    run_here(score_samples, tmp_path / "few", *arguments(world, tmp_path / "out", "a"))
    text = (tmp_path / "out" / "leaderboard.md").read_text(encoding="utf-8")
    assert text.index("60 images of each entry") < text.index("30 images of each entry")
    assert text.count("real training images") == 2 and not list(csv.DictReader((tmp_path / "out" / "pairs.csv").open()))


def test_equal_names_are_told_apart_by_their_folders(world, tmp_path):
    shutil.copytree(world / "b", tmp_path / "other" / "a")
    run_here(score_samples, tmp_path / "other" / "a", *arguments(world, tmp_path / "out", "a"))
    assert set(rows(tmp_path / "out" / "leaderboard.csv")) == {"other/a", f"{world.name}/a"}


@pytest.mark.parametrize(
    "names, changes, message",
    [
        (("a", "a"), {}, "a: given twice"),
        (("missing",), {}, "missing: no such file or folder"),
        (("a",), {"model": "missing.pt"}, "missing.pt: no such file"),
        (("a",), {"reference": "a.txt"}, "a.txt"),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(world, tmp_path, names, changes, message):
    process = run_stage("score_samples", *arguments(world, tmp_path / "out", *names, **changes))
    assert process.returncode == 2 and message in process.stderr.splitlines()[-1] and "Traceback" not in process.stderr
    assert not (tmp_path / "out").exists()


HOSTILE = "<img src=x onerror=a()>.npz"


@pytest.fixture(scope="module")
def handed_in(world, tmp_path_factory):
    """The folder and the print of a board of a folder of grey images in folders by class, and an NPZ file."""
    folder = tmp_path_factory.mktemp("handed in")
    for number, image in enumerate(pictures(COUNT, 7)):
        (folder / "grey" / str(number % 3)).mkdir(parents=True, exist_ok=True)
        Image.fromarray(image[0]).save(folder / "grey" / str(number % 3) / f"{number}.png")
    np.savez(folder / "b.npz", images=pictures(COUNT, 8))
    np.savez(folder / HOSTILE, images=pictures(COUNT, 9))
    given = (folder / "grey", folder / "b.npz", folder / HOSTILE)
    process = succeed("score_samples", *given, *arguments(world, folder / "out", "b"))
    return folder / "out", process.stdout


def test_an_npz_file_scores_as_the_folder_of_its_images(handed_in):
    found = rows(handed_in[0] / "leaderboard.csv")
    assert found["b.npz"]["fid"] == found["b"]["fid"]


def test_what_was_converted_is_said_everywhere(handed_in):
    folder, printed = handed_in
    assert "Converted:\ngrey: grey, repeated in three channels: 60" in printed
    assert "* Converted, grey: grey, repeated in three channels: 60\n" in (folder / "leaderboard.md").read_text()
    page = (folder / "leaderboard.html").read_text()
    assert "<li><strong>grey</strong>: grey, repeated in three channels: 60</li>" in page
    entries = json.loads((folder / "leaderboard.json").read_text())["entries"]
    assert {entry["name"]: entry["converted"] for entry in entries} == {
        "grey": {"grey, repeated in three channels": 60}, "b.npz": {}, "b": {}, HOSTILE: {},
    }  # fmt: skip


def test_the_name_of_a_folder_is_text_on_the_page(handed_in):
    page = (handed_in[0] / "leaderboard.html").read_text()
    assert "&lt;img src=x onerror=a()&gt;.npz" in page and "<img src=x" not in page


def test_too_few_images_are_refused(world, tmp_path):
    images.write_directory(tmp_path / "few", pictures(21, 5))
    with pytest.raises(InputError, match="few: 21 images; give 22 or more"):
        run_here(score_samples, tmp_path / "few", *arguments(world, tmp_path / "out", "a"))
