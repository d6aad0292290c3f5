import json
import re
import statistics
from pathlib import Path

import numpy as np
import pytest
import score_fid
import torch
from genlab import InputError, cli, files
from genlab.data import arrays, images, svhn
from genlab.models import networks
from PIL import Image
from safetensors.torch import save_file
from scipy import linalg
from stage import run_stage

TITLE = "embedded stand-in for SVHN"
SHARED = Path(__file__).parents[2].parent / "shared" / "data"


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Samples, a prepared data set, the same as .mat files, and a classifier with random weights."""
    folder = tmp_path_factory.mktemp("fid")
    rng = np.random.default_rng(1)
    splits = {}
    for split, count in (("train", 90), ("valid", 5), ("test", 40), ("samples", 30)):
        coarse = rng.integers(0, 256, (count, 3, 8, 8)).repeat(4, axis=2).repeat(4, axis=3)
        splits[split] = coarse.astype(np.uint8)
    fields = {}
    for split in ("train", "valid", "test"):
        fields[f"{split}_images"] = splits[split]
        fields[f"{split}_labels"] = np.zeros(len(splits[split]), np.uint8)
        svhn.write_mat(folder / f"{split}.mat", splits[split], fields[f"{split}_labels"])
    about = {"dataset": "SVHN", "source": "embedded", "title": TITLE}
    arrays.write(folder / "svhn.npz", about, **fields)
    images.write_directory(folder / "gan", splits["samples"])
    images.write_directory(folder / "real", splits["test"])
    torch.manual_seed(2)
    network = networks.FeatureClassifier().eval()
    save_file({name: tensor.contiguous() for name, tensor in network.state_dict().items()}, folder / "weights")
    return folder, splits, network


def arguments(world, *args, directory="gan", model="weights", reference="svhn.npz"):
    folder = world[0]
    words = (
        folder / directory, "--model", folder / model, "--reference", folder / reference,
        "--threads", 1, "--device", "cpu", *args,
    )  # fmt: skip
    return [str(word) for word in words]


def score(world, capsys, *args, **keywords):
    """What the stage prints, run in this process: many calls in little time."""
    cli.run(score_fid.main, score_fid.parser(), arguments(world, *args, **keywords))
    return capsys.readouterr().out


def exact(world, p, q):
    """The distance of two sets of images from the centred features themselves: another path than moments."""
    with torch.no_grad():
        p, q = (world[2].features(torch.from_numpy(x).float() / 127.5 - 1).double().numpy() for x in (p, q))
    mean = np.sum((p.mean(0) - q.mean(0)) ** 2)
    p, q = ((x - x.mean(0)) / np.sqrt(len(x) - 1) for x in (p, q))
    return mean + np.sum(p**2) + np.sum(q**2) - 2 * linalg.svdvals(p @ q.T).sum()


def lines(text):
    """{name: text} of what was printed after the first line."""
    return {line[:10].strip(): line[11:] for line in text.splitlines()[1:]}


@pytest.fixture(scope="module")
def scored(world, tmp_path_factory):
    """The folder of the output, what was printed, and the parsed JSON, with a real-data FID of 4 draws."""
    output = tmp_path_factory.mktemp("scored") / "fid.json"
    more = ("--output", output, "--name", "tiny", "--seed", 7, "--floor-draws", 4)
    result = run_stage("score_fid", *arguments(world, *more))
    assert result.returncode == 0, result.stderr
    return output.parent, result.stdout, json.loads(output.read_text())


def test_the_score_is_that_of_the_definition(world, scored):
    _, said, written = scored
    fid = exact(world, world[1]["samples"], world[1]["test"])
    assert re.fullmatch(r"FID [0-9.]+", said.splitlines()[0])
    assert float(said.split()[1]) == pytest.approx(fid, rel=1e-5)
    assert written["fid"] == pytest.approx(fid, rel=1e-5)


def test_the_samples_are_named(world, scored):
    _, said, written = scored
    assert lines(said)["samples"] == f"30 images of {world[0] / 'gan'}"
    assert (written["model"], written["samples"], written["seed"]) == ("tiny", 30, 7)


def test_the_reference_is_named(world, scored):
    _, said, written = scored
    assert lines(said)["reference"] == f"40 test images of {TITLE} (svhn.npz)"
    assert written["data"]["title"] == TITLE
    sha256 = files.checksum(world[0] / "svhn.npz")
    assert written["reference"] == {
        "file": "svhn.npz", "sha256": sha256, "split": "test", "images": 40, "title": TITLE
    }  # fmt: skip


def test_the_classifier_is_named(world, scored):
    _, said, written = scored
    sha256 = files.checksum(world[0] / "weights")
    words = "the 512 features of a classifier (not an Inception FID)"
    assert lines(said)["features"] == f"{words}; weights, SHA-256 {sha256}"
    assert (written["features"]["sha256"], written["features"]["words"]) == (sha256, words)


def test_the_real_data_fid_is_the_score_of_training_images(world, scored):
    _, said, written = scored
    splits, floor, rng = world[1], written["floor"], np.random.default_rng(7)
    draws = [splits["train"][rng.choice(90, 30, replace=False)] for _ in range(4)]
    np.testing.assert_allclose(floor["values"], [exact(world, draw, splits["test"]) for draw in draws], rtol=1e-5)
    assert floor["images"] == 30 and floor["source"]["split"] == "train"
    assert f"mean and sd of 4 draws: FID of 30 real training images of {TITLE}" in lines(said)["real data"]


def test_the_real_data_fid_has_the_mean_and_deviation_of_its_draws(scored):
    floor = scored[2]["floor"]
    assert floor["mean"] == pytest.approx(statistics.fmean(floor["values"]))
    assert floor["sd"] == pytest.approx(statistics.stdev(floor["values"]))


def test_the_ratio_is_to_the_mean_of_the_real_data_fid(world, scored):
    fid = exact(world, world[1]["samples"], world[1]["test"])
    assert scored[2]["ratio"] == pytest.approx(fid / scored[2]["floor"]["mean"], rel=1e-5)


def test_the_versions_are_noted(scored):
    assert scored[2]["provenance"]["versions"]["torch"]


def test_one_file_is_written(scored):
    assert [entry.name for entry in scored[0].iterdir()] == ["fid.json"]


def test_mat_files_and_directories_give_the_same_numbers_as_the_prepared_file(world, tmp_path, capsys):
    scores = {}
    for reference, floor in (("svhn.npz", None), ("test.mat", "train.mat"), ("real", "svhn.npz")):
        more = ["--floor", world[0] / floor] if floor else []
        score(world, capsys, "--floor-draws", 2, "--output", tmp_path / "fid.json", *more, reference=reference)
        written = json.loads((tmp_path / "fid.json").read_text())
        scores[reference] = (written["fid"], written["floor"]["values"])
    assert scores["svhn.npz"] == scores["test.mat"] == scores["real"]


@pytest.fixture
def of_real_images(world, tmp_path, capsys):
    """The parsed JSON of a folder of the test images themselves."""
    score(world, capsys, "--output", tmp_path / "fid.json", "--floor-draws", 2, directory="real")
    return json.loads((tmp_path / "fid.json").read_text())


def test_real_test_images_score_nothing_against_themselves(of_real_images):
    assert of_real_images["fid"] < 1e-6 * of_real_images["floor"]["mean"]


def test_a_model_without_a_name_is_called_by_its_directory(of_real_images):
    assert of_real_images["model"] == "real"


def test_without_training_images_it_says_so(world, tmp_path, capsys):
    said = lines(score(world, capsys, "--output", tmp_path / "fid.json", reference="test.mat"))
    assert said["real data"] == "unknown: no training images; give them with --floor"
    assert said["reference"] == "40 images of test.mat" and "ratio" not in said
    written = json.loads((tmp_path / "fid.json").read_text())
    assert written["floor"] is None and written["ratio"] is None


def test_few_training_images_are_all_taken_and_it_says_so(world, tmp_path, capsys):
    said = lines(score(world, capsys, "--floor", world[0] / "valid.mat", "--output", tmp_path / "fid.json"))
    assert said["note"].startswith("only 5 training images for 30 samples")
    assert "one draw: FID of 5 real images of valid.mat" in said["real data"]
    floor = json.loads((tmp_path / "fid.json").read_text())["floor"]
    assert floor["sd"] is None and len(floor["values"]) == 1
    expected = exact(world, world[1]["valid"], world[1]["test"])
    assert floor["mean"] == pytest.approx(expected, rel=1e-5)


def test_the_same_seed_gives_the_same_numbers(world, tmp_path, capsys):
    for name in "ab":
        score(world, capsys, "--output", tmp_path / name, "--floor-draws", 2, "--name", "x")
    first, second = (json.loads((tmp_path / name).read_text()) for name in "ab")
    first["provenance"]["settings"].pop("output"), second["provenance"]["settings"].pop("output")
    assert first == second


def test_without_output_nothing_is_written(world, capsys):
    before = sorted(world[0].rglob("*"))
    assert score(world, capsys, "--floor-draws", 1).startswith("FID ")
    assert sorted(world[0].rglob("*")) == before


@pytest.fixture
def bad(world):
    """The world, with files and folders that are of no use."""
    folder = world[0]
    (folder / "pickle.pt").write_bytes(b"\x80\x04cos\nsystem\n.")
    for name, modes in (("one", ["RGB"]), ("grey", ["RGB", "L"])):
        (folder / name / "x").mkdir(parents=True, exist_ok=True)
        for number, mode in enumerate(modes):
            Image.new(mode, (32, 32)).save(folder / name / "x" / f"{number}.png")
    return world


@pytest.mark.parametrize(
    ("message", "keywords"),
    [
        ("pickle.pt: ", {"model": "pickle.pt"}),
        ("absent: no such folder", {"directory": "absent"}),
        ("samples: holds no folder and 30 files", {"directory": "gan/samples"}),
        ("absent.npz: No such file", {"reference": "absent.npz"}),
        (
            "weights: cannot be read as real images; give a .mat, a prepared .npz, or a directory",
            {"reference": "weights"},
        ),
        ("test.mat: the reference cannot be its own floor", {"floor": "test.mat", "reference": "test.mat"}),
        ("one: 1 in all; moments need 2 or more", {"directory": "one"}),
        ("1.png: a greyscale image", {"directory": "grey"}),
    ],
)
def test_refuses_bad_input_with_one_line(bad, tmp_path, capsys, message, keywords):
    output = tmp_path / "out" / "fid.json"
    floor = ["--floor", bad[0] / keywords["floor"]] if "floor" in keywords else []
    keywords = {name: value for name, value in keywords.items() if name != "floor"}
    with pytest.raises(SystemExit) as left:
        score(bad, capsys, "--output", output, *floor, **keywords)
    said = capsys.readouterr()
    assert left.value.code == 2 and said.out == "" and not output.parent.exists()
    assert said.err.count("\n") == 1 and ": error: " in said.err and message in said.err


@pytest.mark.parametrize(
    ("given", "file", "option"), [((), "CLASSIFIER", "--model"), (("--model", "weights"), "REFERENCE", "--reference")]
)
def test_default_files_that_are_not_made_yet_are_named_with_the_remedy(
    world, tmp_path, monkeypatch, given, file, option
):
    monkeypatch.setattr(score_fid, "ROOT", tmp_path)
    options = score_fid.parser().parse_args(
        [str(world[0] / "gan"), *(str(world[0] / word) if word == "weights" else word for word in given)]
    )
    path = getattr(score_fid, file)
    with pytest.raises(InputError, match=f"not made yet; run `snakemake --cores 1 {path}` in .*{option}"):
        score_fid.main(options)


@pytest.mark.skipif(not (SHARED / "course").is_dir(), reason="the course's classifier and SVHN crops are not here")
def test_real_crops_have_the_known_floor(tmp_path):
    crops = SHARED / "svhn_small"
    images.write_directory(tmp_path / "crops", svhn.read_mat(crops / "train_32x32.mat")[0][:1024])
    result = run_stage(
        "score_fid", tmp_path / "crops", "--model", SHARED / "course" / "svhn_classifier.safetensors",
        "--reference", crops / "test_32x32.mat", "--threads", 1,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert 10_000 < float(result.stdout.split()[1]) < 13_000
