"""The classifier's stages through their command lines: train and resume, import, evaluate, draw."""

import csv
import json

import numpy as np
import plot_confusion
import pytest
import torch
from conftest import succeed
from genlab import InputError, files
from genlab.data import arrays
from genlab.models import classifier, networks
from genlab.training import checkpoint
from safetensors.torch import save_file
from stage import run_stage, run_without_torch


def options(data, folder, epochs=2):
    return [
        "--data", data, "--output", folder, "--epochs", epochs, "--warmup-steps", 5, "--threads", 1, "--device", "cpu",
    ]  # fmt: skip


@pytest.fixture(scope="module")
def trained(prepared_numbers, tmp_path_factory):
    """A folder with trained.safetensors, history.csv and training.json of an undisturbed training of three epochs."""
    folder = tmp_path_factory.mktemp("classifier")
    succeed("train_classifier", *options(prepared_numbers, folder, 3))
    return folder


@pytest.fixture(scope="module")
def evaluated(trained, prepared_numbers):
    """The JSON of evaluate_classifier.py."""
    succeed(
        "evaluate_classifier", "--data", prepared_numbers, "--classifier", trained / "trained.safetensors",
        "--output", trained / "accuracy.json", "--threads", 1,
    )  # fmt: skip
    return trained / "accuracy.json"


@pytest.fixture(scope="module")
def rows(trained):
    return list(csv.DictReader((trained / "history.csv").open()))


@pytest.fixture(scope="module")
def summary(trained):
    return json.loads((trained / "training.json").read_text())


def test_the_history_has_a_row_for_each_epoch(rows):
    assert [row["epoch"] for row in rows] == ["1", "2", "3"]


def test_the_accuracy_is_a_share_of_the_images(rows):
    for row in rows:
        for split, count in (("train", 270), ("valid", 30)):
            correct = float(row[f"{split}_accuracy"]) * count
            assert correct == pytest.approx(round(correct)) and 0 <= correct <= count


def test_losses_are_above_0(rows):
    for row in rows:
        for split in ("train", "valid"):
            assert float(row[f"{split}_loss"]) > 0


def test_the_speed_is_measured(rows):
    for row in rows:
        assert float(row["images_per_second"]) > 0


def test_the_summary_says_what_was_trained_on_what(summary):
    assert summary["parameters"] == sum(p.numel() for p in networks.FeatureClassifier().parameters())
    assert "stand-in" in summary["data"]["title"] and "torch" in summary["provenance"]["versions"]


def test_the_weights_say_what_they_are_of(trained, summary):
    _, about = classifier.load_classifier(trained / "trained.safetensors")
    assert about["source"] == "trained" and about["seed"] == 1 and about["data"] == summary["data"]


def test_the_weights_are_those_of_the_best_validation_accuracy(trained, prepared_numbers, rows, summary):
    network, _ = classifier.load_classifier(trained / "trained.safetensors")
    prepared = arrays.load_images(prepared_numbers)
    ((_, logits),) = classifier.feature_batches(network, [prepared.valid_images])
    assert summary["best"]["valid_accuracy"] == max(float(row["valid_accuracy"]) for row in rows)
    assert (logits.argmax(1) == prepared.valid_labels).mean() == summary["best"]["valid_accuracy"]


def test_import_converts_the_weights_once_and_says_where_they_are_from(tmp_path):
    torch.manual_seed(0)
    weights = {name: tensor.contiguous() for name, tensor in networks.FeatureClassifier().state_dict().items()}
    torch.save(weights, tmp_path / "given.pt", _use_new_zipfile_serialization=False)
    succeed("import_classifier", "--weights", tmp_path / "given.pt", "--output", tmp_path / "out" / "c.safetensors")
    tensors, about = checkpoint.load_tensors(tmp_path / "out" / "c.safetensors")
    original = {"file": "given.pt", "sha256": files.checksum(tmp_path / "given.pt")}
    assert about == {"source": "given", "original": original}
    assert all(torch.equal(tensor, weights[name]) for name, tensor in tensors.items()) and len(tensors) == len(weights)


@pytest.fixture(scope="module", params=["valid", "test"])
def judged(request, evaluated, trained, prepared_numbers):
    """Of one split: the evaluation's numbers, the classes that the classifier gives, and the labels."""
    network, _ = classifier.load_classifier(trained / "trained.safetensors")
    images, labels = (
        getattr(arrays.load_images(prepared_numbers), f"{request.param}_{part}") for part in ("images", "labels")
    )
    ((_, logits),) = classifier.feature_batches(network, [images])
    return json.loads(evaluated.read_text())["splits"][request.param], logits.argmax(1), labels


def test_evaluation_counts_what_the_classifier_says(judged):
    numbers, classes, labels = judged
    assert numbers["images"] == len(labels) and numbers["correct"] == (classes == labels).sum()
    assert numbers["accuracy"] == (classes == labels).mean()


def test_the_interval_holds_the_accuracy(judged):
    numbers, *_ = judged
    low, high = numbers["interval"]
    assert low <= numbers["accuracy"] <= high


def test_the_confusion_has_a_row_for_each_label_and_a_column_for_each_class(judged):
    numbers, classes, labels = judged
    confusion = np.array(numbers["confusion"])
    np.testing.assert_array_equal(confusion.sum(1), np.bincount(labels, minlength=10))
    np.testing.assert_array_equal(confusion.sum(0), np.bincount(classes, minlength=10))


def test_a_class_without_images_has_no_accuracy(judged):
    numbers, classes, labels = judged
    for digit, accuracy in enumerate(numbers["class_accuracy"]):
        of_digit = labels == digit
        assert accuracy == ((classes == labels)[of_digit].mean() if of_digit.any() else None)


def test_the_evaluation_says_what_it_rests_on(evaluated, trained):
    content = json.loads(evaluated.read_text())
    assert content["classifier"]["sha256"] == files.checksum(trained / "trained.safetensors")
    assert "stand-in" in content["data"]["title"] and "torch" in content["provenance"]["versions"]


def test_figure_is_drawn_without_torch_and_with_the_same_bytes(evaluated, tmp_path):
    succeed("plot_confusion", "--evaluation", evaluated, "--output", tmp_path / "a.png")
    run_without_torch({"plot_confusion": ["--evaluation", evaluated, "--output", tmp_path / "b.png"]})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.pdf", "a.png", "b.pdf", "b.png"]
    for suffix in ("png", "pdf"):
        assert (tmp_path / f"a.{suffix}").read_bytes() == (tmp_path / f"b.{suffix}").read_bytes()


@pytest.fixture
def figure():
    confusion = np.diag(np.arange(10) * 100)
    confusion[2, 7] = 50
    return plot_confusion.draw(confusion, (0.98, 0.995), "given", {"title": "embedded stand-in for SVHN"})


def test_figure_says_counts_accuracy_interval_and_data(figure):
    words = " ".join(text.get_text() for text in [*figure.texts, *figure.axes[0].texts]).replace(
        "\N{NO-BREAK SPACE}", " "
    )
    for word in ("98.90%", "4,500 of 4,550", "98.00% to 99.50%", "given", "embedded stand-in for SVHN", "900"):
        assert word in words


def test_cells_with_a_count_show_it(figure):
    cells = {
        (int(text.get_position()[1]), int(text.get_position()[0])): text.get_text() for text in figure.axes[0].texts
    }
    assert cells[2, 7] == "50" and (0, 0) not in cells and len(cells) == 10


def test_cells_are_shaded_by_their_share_of_the_row(figure):
    shares = figure.axes[0].images[0].get_array()
    assert shares[2, 7] == 0.2 and shares[2, 2] == 0.8 and shares[0].sum() == 0


BAD = {
    "split": lambda content: content["splits"].pop("test"),
    "matrix": lambda content: content["splits"]["test"]["confusion"].pop(),
    "ragged": lambda content: content["splits"]["test"]["confusion"][3].pop(),
    "negative": lambda content: content["splits"]["test"]["confusion"][0].__setitem__(0, -1),
    "fraction": lambda content: content["splits"]["test"]["confusion"][0].__setitem__(0, 1.5),
    "interval": lambda content: content["splits"]["test"].update(interval=[0.0, 0.01]),
    "bound": lambda content: content["splits"]["test"].update(interval=0.5),
    "title": lambda content: content["data"].pop("title"),
    "source": lambda content: content["classifier"].pop("source"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_evaluation_is_refused(tmp_path, name):
    confusion = (10 * np.eye(10, dtype=int)).tolist()
    content = {
        "data": {"title": "embedded stand-in for SVHN"},
        "classifier": {"source": "given"},
        "splits": {"test": {"confusion": confusion, "interval": [0.9, 1.0]}},
    }
    (tmp_path / "good.json").write_text(json.dumps(content))
    plot_confusion.read_evaluation(tmp_path / "good.json")
    BAD[name](content)
    (tmp_path / "bad.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match=r"bad\.json: .*remake"):
        plot_confusion.read_evaluation(tmp_path / "bad.json")


@pytest.fixture
def folder(tmp_path, prepared_numbers, trained, evaluated):
    """A folder with bad inputs, from which the stages of `refusals` are run."""
    (tmp_path / "text.pt").write_text("no weights")
    save_file({"a": torch.zeros(1)}, tmp_path / "other.safetensors")
    (tmp_path / "list.json").write_text("[]")
    return tmp_path


@pytest.mark.parametrize(
    "stage, change, message",
    [
        ("train_classifier", ["--data", "text.pt"], "text.pt: not a prepared file of colour images"),
        ("train_classifier", ["--average-decay", "1"], "give less than 1"),
        ("import_classifier", ["--weights", "text.pt"], "text.pt: neither safetensors nor a PyTorch file"),
        ("evaluate_classifier", ["--classifier", "other.safetensors"], "no conv_stack.0.weight"),
        ("plot_confusion", ["--evaluation", "list.json"], "list.json: 'data.title' is missing"),
        ("plot_confusion", ["--output", "out/figure.jpg"], "give a name that ends in .png"),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(folder, prepared_numbers, trained, evaluated, stage, change, message):
    weights = trained / "trained.safetensors"
    arguments = {
        "train_classifier": options(prepared_numbers, folder / "out"),
        "import_classifier": ["--weights", weights, "--output", "out/c.safetensors"],
        "evaluate_classifier": ["--data", prepared_numbers, "--classifier", weights, "--output", "out/accuracy.json"],
        "plot_confusion": ["--evaluation", evaluated, "--output", "out/figure.png"],
    }[stage]
    process = run_stage(stage, *arguments, *change, cwd=folder)
    assert process.returncode == 2, process.stderr
    assert message in process.stderr.splitlines()[-1] and "Traceback" not in process.stderr
    assert not (folder / "out").exists()


def test_images_of_one_s_own_have_their_classes(tmp_path):
    rng = np.random.default_rng(1)
    about = {"dataset": "own images", "source": "own", "title": "Flowers", "classes": ["iris", "lily", "rose"]}
    fields = {}
    for split, count in (("train", 120), ("valid", 30), ("test", 60)):
        labels = np.arange(count) % 3
        colours = np.array([[40, 40, 200], [230, 230, 230], [200, 30, 60]])[labels, :, None, None]
        fields[f"{split}_images"] = (colours + rng.integers(-20, 20, (count, 3, 32, 32))).astype(np.uint8)
        fields[f"{split}_labels"] = labels.astype(np.uint8)
    arrays.write(tmp_path / "data.npz", about, **fields)
    words = options(tmp_path / "data.npz", tmp_path / "classifier")
    process = run_stage("train_classifier", *words, "--epochs", "4")
    assert process.returncode == 0, process.stderr
    weights, output = tmp_path / "classifier" / "trained.safetensors", tmp_path / "accuracy.json"
    process = run_stage(
        "evaluate_classifier", "--data", tmp_path / "data.npz", "--classifier", weights, "--output", output
    )
    assert process.returncode == 0, process.stderr
    confusion, _, _, data = plot_confusion.read_evaluation(output)
    np.testing.assert_array_equal(confusion, np.diag([20, 20, 20]))
    figure = plot_confusion.draw(confusion, (0.9, 1.0), "trained", data)
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["iris", "lily", "rose"]
    assert figure.axes[0].get_ylabel() == "true class"


def test_a_classifier_of_other_classes_is_refused(prepared_numbers, tmp_path):
    weights = {key: value.contiguous() for key, value in networks.FeatureClassifier(3).state_dict().items()}
    save_file(weights, tmp_path / "three.safetensors")
    words = (
        "--data",
        prepared_numbers,
        "--classifier",
        tmp_path / "three.safetensors",
        "--output",
        tmp_path / "a.json",
    )
    process = run_stage("evaluate_classifier", *words)
    assert process.returncode == 2 and not (tmp_path / "a.json").exists()
    assert (
        "three.safetensors: tells 3 classes apart, and" in process.stderr and "has 10; give weights" in process.stderr
    )


def test_many_classes_have_no_numbers_and_not_every_name():
    data = {"title": "Many", "classes": [f"class of the number {number}" for number in range(100)]}
    axes = plot_confusion.draw(np.diag(np.full(100, 3)), (0.9, 1.0), "trained", data).axes[0]
    assert (
        not axes.texts
        and [text.get_text() for text in axes.get_xticklabels()] == ["class of the nu\N{HORIZONTAL ELLIPSIS}"] * 34
    )
