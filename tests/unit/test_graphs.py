"""Steps as CUDA graphs, without a card: what is recorded, what is filled in before each replay, and what stops it."""

import contextlib

import pytest
import torch
from genlab.data import images
from genlab.models import classifier, image_model, layers, networks, vae, vae_training, wgan
from genlab.training import graphs, optimization
from torch.utils._python_dispatch import TorchDispatchMode

DATA = torch.arange(40.0).view(20, 2)


class Task:
    """Adds the batch's sum, times a rate, to a weight."""

    def __init__(self):
        self.weight, self.calls = torch.zeros(2), 0

    def step(self, batch, numbers):
        self.calls += 1
        self.weight += numbers["rate"] * batch.sum(0)
        return {"sum": batch.sum(), "count": torch.tensor(len(batch))}


class FakeGraph:
    """A graph that, like a real one, computes nothing when it is recorded and repeats the same call when replayed."""

    made = ()

    def __init__(self):
        FakeGraph.made = (*FakeGraph.made, self)
        self.replays = 0

    def pool(self):
        return "pool"

    def replay(self):
        self.replays += 1
        self.function()


@pytest.fixture
def recording(monkeypatch):
    """torch.cuda records `FakeGraph`s of `Steps._step`; `fail` makes it refuse."""
    state = {"fail": None, "pools": []}
    step = graphs.Steps._step

    @contextlib.contextmanager
    def graph(made, pool, stream):
        state["pools"].append(pool)
        if state["fail"]:
            raise state["fail"]
        monkeypatch.setattr(
            graphs.Steps, "_step", lambda self, *words: setattr(made, "function", lambda: step(self, *words))
        )
        yield
        monkeypatch.setattr(graphs.Steps, "_step", step)

    FakeGraph.made = ()
    monkeypatch.setattr(torch.cuda, "CUDAGraph", FakeGraph)
    monkeypatch.setattr(torch.cuda, "graph", graph)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda: "stream")
    return state


def run(recorded, batches):
    task, sums = Task(), {}
    steps = graphs.Steps(task, DATA, sums, recorded)
    for number, (start, size) in enumerate(batches):
        steps(torch.arange(start, start + size), {"rate": 1 / (1 + number)})
    return task, sums, steps


BATCHES = [(0, 4), (4, 4), (8, 4), (12, 4), (16, 4), (2, 3), (3, 4), (7, 3)]


def test_recorded_steps_are_the_same_updates(recording):
    plain, _, _ = run(False, BATCHES)
    task, _, _ = run(True, BATCHES)
    torch.testing.assert_close(task.weight, plain.weight, rtol=1e-6, atol=0)  # rates are float32 on the device


def test_recorded_steps_are_the_same_sums(recording):
    _, expected, _ = run(False, BATCHES)
    _, sums, _ = run(True, BATCHES)
    assert sums == expected and sums["count"] == sum(size for _, size in BATCHES)
    assert sums["sum"].dtype == torch.float64


def test_batches_of_a_size_are_recorded_once_after_three_steps(recording):
    _, _, steps = run(True, BATCHES)  # of 3 there are too few
    assert list(steps.recorded) == [(4, "rate")] and [graph.replays for graph in FakeGraph.made] == [3]


def test_every_batch_size_and_set_of_numbers_has_a_graph_in_one_pool(recording):
    run(True, [(0, 4)] * 5 + [(0, 3)] * 5)
    assert len(FakeGraph.made) == 2 and recording["pools"] == [None, "pool"]


def test_sums_are_reset_in_place(recording):
    _, sums, steps = run(True, BATCHES)
    before = sums["sum"]
    steps.reset()
    assert sums["sum"] is before and before == 0


def test_a_step_that_cannot_be_recorded_runs_kernel_by_kernel_and_says_so(recording, caplog):
    recording["fail"] = RuntimeError("operation not permitted when stream is capturing\nmore")
    plain, expected, _ = run(False, BATCHES)
    task, sums, steps = run(True, BATCHES)
    assert not steps.graphs and sums == expected and len(recording["pools"]) == 1
    torch.testing.assert_close(task.weight, plain.weight, rtol=1e-6, atol=0)
    assert "not permitted when stream is capturing); steps run one kernel at a time" in caplog.text


def test_a_full_memory_is_no_reason_to_go_on_without_graphs(recording):
    recording["fail"] = torch.OutOfMemoryError("CUDA out of memory")
    with pytest.raises(torch.OutOfMemoryError):
        run(True, BATCHES)


class NoValues(TorchDispatchMode):
    """Refuses what would make a GPU's owner wait: asking for a value, or for a size that depends on values."""

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        if function.overloadpacket in (torch.ops.aten._local_scalar_dense, torch.ops.aten.nonzero):
            raise AssertionError(f"{function} asks for a value")
        return function(*args, **(kwargs or {}))


SIZE = {"latents": 5, "width": 4}


def tasks():
    """(name, task, batch) of every training."""
    settings = {
        "learning_rate": 1e-3, "optimizer": "adam", "weight_decay": 0.0, "schedule": "constant", "warmup_steps": 2,
        "average_decay": 0.9, "precision": "float32", "samples_per_image": 2, "kl_warmup_epochs": 2, "kl_weight": 1.0,
        "encoder_steps": 0, "critic_group": 0,
        "critic_steps": 1, "penalty_weight": 10, "beta1": 0.0, "beta2": 0.9, "frames": 2, "epochs": 2,
        "augment": "colour_translation", "critic_rate": 2.0,
    }  # fmt: skip
    bits = torch.randint(0, 2, (6, 784), dtype=torch.uint8)
    pixels = torch.randint(0, 256, (6, 3, 32, 32), dtype=torch.uint8)
    labels, features = torch.arange(6), networks.FeatureClassifier().eval().requires_grad_(False)
    for objective in ("elbo", "iwae", "dreg"):
        task = vae_training.VAETraining(vae.binary_vae("suggested", 5), bits, settings | {"objective": objective})
        yield f"binary VAE, {objective}", task, bits
    settings["objective"] = "elbo"
    task = vae_training.VAETraining(vae.binary_vae("residual", 5, width=8), bits, settings | {"optimizer": "muon"})
    yield "binary VAE, muon", task, bits
    model = vae.image_vae(image_model.generator(SIZE), image_model.encoder(SIZE))
    yield "image VAE", vae_training.VAETraining(model, pixels.flatten(1), settings, images.to_model), pixels.flatten(1)
    yield (
        "GAN",
        wgan.WGANTraining(image_model.generator(SIZE), image_model.critic(4), pixels, features, settings),
        pixels,
    )
    pair = pixels, labels
    yield "classifier", classifier.ClassifierTraining(networks.FeatureClassifier(), pair, pair, settings), labels


@pytest.mark.parametrize(
    "name", ["binary VAE, elbo", "binary VAE, iwae", "binary VAE, muon", "image VAE", "GAN", "classifier"]
)
def test_a_step_asks_the_device_for_no_value(name, monkeypatch):
    torch.manual_seed(0)
    task, batch = next((task, batch) for found, task, batch in tasks() if found == name)
    for layer in [layer for layer in vars(layers).values() if hasattr(layer, "fast_on")]:  # as on a GPU
        monkeypatch.setattr(layer, "fast_on", ("cpu",) if "cuda" in layer.fast_on else ())
    numbers = task.schedule(optimization.Progress(0, 10, 0.0))
    numbers = {key: torch.tensor(value) for key, value in numbers.items()}
    # The optimizer's rate is a tensor on a GPU, where the fused kernel reads it; the CPU's kernel asks for its value.
    for module in (vae_training, wgan, classifier):
        monkeypatch.setattr(module, "set_rate", lambda optimizer, rate: None)
    with NoValues():
        sums = task.step(batch, numbers)
    assert all(torch.isfinite(value) for value in sums.values())


def test_the_check_finds_a_step_that_asks():
    with pytest.raises(AssertionError, match="asks for a value"), NoValues():
        float(torch.ones(2).sum())


@pytest.mark.parametrize("rate", [0.3, torch.tensor(0.3)])
def test_an_average_takes_its_rate_as_a_number_or_as_a_tensor(rate):
    model = torch.nn.Linear(2, 1)
    average = optimization.WeightAverage(model, 0.9)
    before = average.module.weight.clone()
    with torch.no_grad():
        model.weight += 1
    average.update(model, rate)
    torch.testing.assert_close(average.module.weight, before + 0.3)
