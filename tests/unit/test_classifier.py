"""The classifier's files, features, training task and the statistics of its accuracy."""

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from genlab import InputError, files
from genlab.data import images, svhn
from genlab.models import classifier, networks
from genlab.training import checkpoint, optimization
from safetensors.torch import save_file
from scipy.stats import binomtest

SHARED = Path(__file__).parents[2].parent / "shared" / "data"
SETTINGS = {
    "optimizer": "adam", "learning_rate": 1e-3, "weight_decay": 0.0, "schedule": "constant", "warmup_steps": 0,
    "average_decay": 0.0, "precision": "float32",
}  # fmt: skip


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(3)
    return networks.FeatureClassifier().eval().requires_grad_(False)


@pytest.fixture(scope="module")
def weights(network):
    return {name: tensor.contiguous() for name, tensor in network.state_dict().items()}


def pixels(count, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, 3, 32, 32), np.uint8)


def test_our_files_and_plain_ones_give_the_same_classifier(network, weights, tmp_path):
    checkpoint.save_tensors(tmp_path / "ours.safetensors", weights, {"model": "classifier", "seed": 4})
    save_file(weights, tmp_path / "plain.safetensors")
    torch.save(weights, tmp_path / "new.pt")
    torch.save(weights, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    given = {"source": "given"}
    expected = {
        "ours.safetensors": {"model": "classifier", "seed": 4},
        "plain.safetensors": given,
        "new.pt": given,
        "old.pt": given,
    }
    before = torch.get_rng_state()
    for name, says in expected.items():
        found, about = classifier.load_classifier(tmp_path / name)
        assert about == says | {"file": name, "sha256": files.checksum(tmp_path / name)}
        assert not found.training and not any(parameter.requires_grad for parameter in found.parameters())
        for key, tensor in found.state_dict().items():
            assert torch.equal(tensor, weights[key])
    assert torch.equal(torch.get_rng_state(), before)  # loading draws no random number


def changed(name, change):
    return lambda weights: weights | {name: change(weights[name])}


def without(name):
    return lambda weights: {key: value for key, value in weights.items() if key != name}


@pytest.mark.parametrize(
    "change, words",
    [
        (without("mlp.2.bias"), "no mlp.2.bias"),
        (lambda weights: weights | {"mlp.5.bias": torch.zeros(1)}, "'mlp.5.bias' is too many"),
        (changed("mlp.2.weight", torch.t), "mlp.2.weight is float32 (512, 10), expected float32 (10, 512)"),
        (changed("mlp.2.bias", torch.Tensor.half), "mlp.2.bias is float16 (10,), expected float32 (10,)"),
        (changed("mlp.2.bias", lambda bias: bias / 0), "mlp.2.bias holds numbers that are not finite"),
        (lambda weights: {}, "no conv_stack.0.weight"),
    ],
)
def test_other_weights_are_refused_by_what_is_wrong(weights, tmp_path, change, words):
    wrong = {name: tensor.contiguous() for name, tensor in change(weights).items()}
    save_file(wrong, tmp_path / "x.safetensors")
    torch.save(wrong, tmp_path / "x.pt")
    for name in ("x.safetensors", "x.pt"):
        with pytest.raises(InputError) as error:
            classifier.load_classifier(tmp_path / name)
        assert str(error.value).startswith(f"{tmp_path / name}: ") and words in str(error.value)
        assert "\n" not in str(error.value)


def test_other_files_are_refused_by_what_they_are(weights, tmp_path):
    save_file(weights, tmp_path / "whole")
    whole = (tmp_path / "whole").read_bytes()
    torch.save(torch.zeros(3), tmp_path / "tensor.pt")
    save_file(weights, tmp_path / "list", metadata={"genlab": "[]"})
    files = {
        "empty": (b"", "neither safetensors nor a PyTorch file"),
        "text": (b"conv_stack: see the course's page\n", "neither safetensors nor a PyTorch file"),
        "json": (b'{"a": 1}', "neither safetensors nor a PyTorch file"),
        "cut": (whole[:5000], "not a sound safetensors file"),
        "header": (whole[:9], "not a sound safetensors file"),
        "list": ((tmp_path / "list").read_bytes(), "what it says of itself is list, no object"),
        "tensor.pt": ((tmp_path / "tensor.pt").read_bytes(), "neither a module nor a state dict"),
    }
    for name, (content, words) in files.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match=words) as error:
            classifier.load_classifier(tmp_path / name)
        assert "\n" not in str(error.value)
    with pytest.raises(InputError, match="is no file"):
        classifier.load_classifier(tmp_path)
    with pytest.raises(InputError, match="no such file"):
        classifier.load_classifier(tmp_path / "missing")


def test_features_are_those_of_the_layers_one_by_one(network, weights):
    """In numpy order, from torch's functions alone: the whole stack, its last convolution at position (0, 0)."""
    x = torch.from_numpy(pixels(3)).double() / 255
    x = ((x - 0.5) / 0.5).float()
    for pair in ((0, 3), (7, 10), (14, 17)):
        for layer in pair:
            x = F.elu(
                F.conv2d(x, weights[f"conv_stack.{layer}.weight"], weights[f"conv_stack.{layer}.bias"], padding=1)
            )
        x = F.max_pool2d(x, 2)
    features = F.conv2d(x, weights["conv_stack.21.weight"], weights["conv_stack.21.bias"])[:, :, 0, 0]
    logits = F.elu(features) @ weights["mlp.2.weight"].T + weights["mlp.2.bias"]
    for batch in pixels(3), torch.from_numpy(pixels(3)):
        ((found, scores),) = classifier.feature_batches(network, [batch])
        assert found.dtype == scores.dtype == np.float32 and found.shape == (3, 512)
        np.testing.assert_allclose(found, features, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(scores, logits, rtol=1e-4, atol=1e-5)


def test_features_come_one_pair_for_each_batch_and_only_in_eval_mode(network):
    sizes = [features.shape[0] for features, _ in classifier.feature_batches(network, iter([pixels(2), pixels(1)]))]
    assert sizes == [2, 1]
    with pytest.raises(ValueError, match="training mode"):
        next(classifier.feature_batches(networks.FeatureClassifier(), [pixels(1)]))
    with pytest.raises(TypeError, match="uint8"):
        next(classifier.feature_batches(network, [pixels(1).astype(np.float32)]))


def pair(count, seed=0):
    return torch.from_numpy(pixels(count, seed)), torch.arange(count) % 10


def test_an_update_is_the_gradient_of_the_mean_cross_entropy_of_its_own_images():
    torch.manual_seed(0)
    model = networks.FeatureClassifier().eval()  # eval: no dropout, so that the loss can be computed again
    train = pair(20)
    indices = torch.tensor([17, 2, 9])
    logits = model(images.to_model(train[0][indices]))
    expected = -F.log_softmax(logits, 1)[torch.arange(3), torch.tensor([7, 2, 9])]
    gradient = torch.autograd.grad(expected.mean(), model.mlp[2].weight)[0]
    start = model.mlp[2].weight.detach().clone()
    task = classifier.ClassifierTraining(model, train, pair(5), SETTINGS | {"optimizer": "sgd"})
    sums = task.step(indices, task.schedule(optimization.Progress(0, 10, 0.0)))
    assert sums["train_loss"].item() == pytest.approx(expected.sum().item(), rel=1e-5)
    assert sums["train_accuracy"].item() == (logits.argmax(1) == torch.tensor([7, 2, 9])).sum()
    torch.testing.assert_close(model.mlp[2].weight, start - 1e-3 * gradient, rtol=1e-5, atol=1e-8)
    torch.testing.assert_close(task.average.module.mlp[2].weight, model.mlp[2].weight)


def test_validation_is_of_the_average_and_without_dropout(network):
    valid = pair(30, seed=5)
    task = classifier.ClassifierTraining(networks.FeatureClassifier(), pair(5), valid, SETTINGS)
    task.average.module.load_state_dict(network.state_dict())
    ((_, logits),) = classifier.feature_batches(network, [valid[0]])
    numbers = task.evaluate(optimization.Progress(3, 10, 0.3))
    assert numbers == task.evaluate(optimization.Progress(3, 10, 0.3))
    assert numbers["valid_accuracy"] == (logits.argmax(1) == valid[1].numpy()).mean()
    shifted = logits.astype(np.float64)
    loss = np.log(np.exp(shifted).sum(1)) - shifted[np.arange(30), valid[1]]
    assert numbers["valid_loss"] == pytest.approx(loss.mean(), rel=1e-5)
    assert numbers["learning_rate"] == 1e-3


def test_confusion_matrix_counts_rows_by_the_true_class():
    labels, predictions = np.array([3, 3, 3, 0], np.uint8), np.array([3, 5, 5, 0])
    expected = np.zeros((10, 10), np.int64)
    expected[3, 3], expected[3, 5], expected[0, 0] = 1, 2, 1
    np.testing.assert_array_equal(classifier.confusion_matrix(labels, predictions, 10), expected)
    assert classifier.confusion_matrix(np.array([9], np.uint8), np.array([9]), 10)[9, 9] == 1


@pytest.mark.parametrize("successes, trials", [(918, 1024), (0, 7), (7, 7), (1, 1), (13, 40)])
def test_wilson_interval_is_scipys(successes, trials):
    low, high = classifier.wilson_interval(successes, trials)
    expected = binomtest(successes, trials).proportion_ci(0.95, "wilson")
    assert (low, high) == pytest.approx((expected.low, expected.high), abs=1e-12) and 0 <= low < high <= 1


@pytest.mark.skipif(not (SHARED / "course").exists(), reason="the course's weights and real crops are not here")
def test_the_courses_weights_reach_their_known_accuracy():
    network, about = classifier.load_classifier(SHARED / "course" / "svhn_classifier.safetensors")
    assert about["source"] == "given" and about["file"] == "svhn_classifier.safetensors"
    crops, labels = svhn.read_mat(SHARED / "svhn_small" / "test_32x32.mat")
    logits = np.concatenate([logits for _, logits in classifier.feature_batches(network, np.array_split(crops, 4))])
    assert round(100 * (logits.argmax(1) == labels).mean(), 2) == 89.65
