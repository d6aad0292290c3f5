"""The training loop on a small regression: resume, selection, averages, and what stops it."""

import os
import signal

import pytest
import torch
from genlab import ComputationError, InputError, Interrupted, cli
from genlab.training import checkpoint, loop, optimization
from torch import nn

SETTINGS = {"learning_rate": 0.01, "optimizer": "adam", "weight_decay": 0.0, "schedule": "cosine", "warmup_steps": 3}


class Regression:
    """Fit a noisy convolution: channels-last weights, Adam moments, and random numbers in every step."""

    select = "valid_score"

    def __init__(self, at_step=None, action=None, scores=None):
        torch.manual_seed(5)
        self.model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(4 * 9, 1))
        self.model.to(memory_format=torch.channels_last)
        self.average = optimization.WeightAverage(self.model, 0.9)
        self.modules = {"model": self.model, "average": self.average}
        self.optimizers = {"optimizer": optimization.optimizer(self.model.parameters(), SETTINGS)}
        self.at_step, self.action, self.scores = at_step, action, scores

    def schedule(self, progress):
        if progress.step == self.at_step:
            self.action(self)
        return {
            "learning_rate": optimization.learning_rate(progress, SETTINGS),
            "average_rate": self.average.next_rate(),
        }

    def step(self, x, numbers):
        noise = 0.1 * torch.randn(len(x), 1)
        loss = ((self.model(x) - x.flatten(1).sum(1, keepdim=True) + noise) ** 2).sum()
        self.optimizers["optimizer"].zero_grad()
        loss.backward()
        optimization.set_rate(self.optimizers["optimizer"], numbers["learning_rate"])
        self.optimizers["optimizer"].step()
        self.average.update(self.model, numbers["average_rate"])
        return {"train_loss": loss.detach(), "train_first": x[:, 0, 0, 0].sum()}

    def evaluate(self, progress):
        if self.scores:
            return {"valid_score": self.scores[round(progress.epochs) - 1]}
        return {"valid_score": float(self.model[0].bias.detach().sum())}


DATA = torch.randn(23, 3, 5, 5, generator=torch.Generator().manual_seed(9)).to(memory_format=torch.channels_last)


def run(task, folder, epochs=4, fingerprint=None, seconds=60.0, limit=0, seed=3, finish=False, **keywords):
    """Train the task; returns its history, its best epoch, and its stretches."""
    torch.manual_seed(6)
    state = checkpoint.StateFolder(folder)
    with state.lock(), checkpoint.stop_signals() as stop:
        checkpoints = checkpoint.CheckpointPolicy(state, fingerprint or {"lr": 1}, seconds, limit, stop)
        result = loop.train(
            task, DATA, epochs=epochs, batch_size=5, seed=seed, checkpoints=checkpoints, **keywords
        )  # fmt: skip
        if finish:
            state.finish()
        return result


def weights(task):
    return {f"{name}.{key}": value for name, m in task.modules.items() for key, value in m.state_dict().items()}


def raise_signal(_):
    os.kill(os.getpid(), signal.SIGTERM)


@pytest.mark.parametrize("at_step", [0, 4, 7, 14, 19])  # within an epoch, and at the last step of one
def test_an_interrupted_run_ends_with_the_same_weights_and_numbers(tmp_path, at_step):
    undisturbed = Regression()
    history, best, stretches = run(undisturbed, tmp_path / "a")
    with pytest.raises(Interrupted, match="SIGTERM"):
        run(Regression(at_step, raise_signal), tmp_path / "b")
    resumed = Regression()
    history_resumed, best_resumed, stretches_resumed = run(resumed, tmp_path / "b")
    assert best == best_resumed and [*map(str, stretches_resumed)] == [*map(str, stretches)]  # keys in one order
    assert [*map(list, history_resumed)] == [*map(list, history)]  # columns in one order
    timing = ("images_per_second", "seconds")
    assert [{k: v for k, v in row.items() if k not in timing} for row in history] == [
        {k: v for k, v in row.items() if k not in timing} for row in history_resumed
    ]
    for (name, value), other in zip(weights(undisturbed).items(), weights(resumed).values(), strict=True):
        assert torch.equal(value, other), name


def test_a_run_checkpointed_at_every_step_is_no_different(tmp_path):
    plain, saved = Regression(), Regression()
    run(plain, tmp_path / "a")
    run(saved, tmp_path / "b", seconds=0)
    assert all(torch.equal(a, b) for a, b in zip(weights(plain).values(), weights(saved).values(), strict=True))


@pytest.mark.parametrize(("seconds", "saved"), [(60, 1), (0, 24)])  # 4 epochs of 5 steps
def test_epochs_shorter_than_the_time_between_savings_are_not_saved_each(tmp_path, monkeypatch, seconds, saved):
    written, save = [], checkpoint.StateFolder.save
    monkeypatch.setattr(
        checkpoint.StateFolder, "save", lambda self, *words: (written.append(words), save(self, *words))
    )
    run(Regression(), tmp_path, seconds=seconds)
    assert len(written) == saved and (written[-1][1]["epoch"], written[-1][1]["step"]) == (4, 0)


def test_epoch_means_weigh_every_example_the_same(tmp_path):
    history, *_ = run(Regression(), tmp_path)
    assert [row["epoch"] for row in history] == [1, 2, 3, 4] and [row["step"] for row in history] == [5, 10, 15, 20]
    for row in history:  # the last batch has 3 of 23 examples
        assert row["train_first"] == pytest.approx(DATA[:, 0, 0, 0].double().mean().item(), rel=1e-6)


def test_the_best_epoch_s_weights_are_kept(tmp_path):
    early, late = Regression(scores=[1.0, 5.0]), Regression(scores=[1.0, 5.0, 2.0, 5.0])
    # The schedule depends on the number of epochs, so take the weights as they are after two epochs of four.
    stopped = Regression(
        at_step=10, action=lambda task: setattr(early, "kept", {k: v.clone() for k, v in weights(task).items()})
    )
    run(stopped, tmp_path / "a")
    _, best, _ = run(late, tmp_path / "b")
    assert best == 2
    assert all(torch.equal(a, b) for a, b in zip(early.kept.values(), weights(late).values(), strict=True))


def test_another_experiment_starts_afresh_and_says_so(tmp_path, caplog):
    with pytest.raises(Interrupted):
        run(Regression(7, raise_signal), tmp_path / "a", fingerprint={"lr": 1, "data": "x"})
    fresh, other = Regression(), Regression()
    run(fresh, tmp_path / "b")
    run(other, tmp_path / "a", fingerprint={"lr": 2, "data": "x"})
    assert "changed: lr" in caplog.text
    assert all(torch.equal(a, b) for a, b in zip(weights(fresh).values(), weights(other).values(), strict=True))


def test_nan_stops_with_a_clear_error_and_keeps_the_last_good_state(tmp_path):
    def poison(task):
        with torch.no_grad():
            task.model[0].weight.fill_(float("nan"))

    with pytest.raises(ComputationError, match=r"stopped being finite by epoch 2.*last good state is kept"):
        run(Regression(7, poison), tmp_path, seconds=0)
    tensors, about = checkpoint.load_tensors(tmp_path / "checkpoint.safetensors")
    assert (about["epoch"], about["step"]) == (1, 2)
    assert all(torch.isfinite(value).all() for key, value in tensors.items() if key.startswith("module."))


def test_a_full_gpu_memory_is_one_line_with_the_remedy_and_the_state_is_kept(tmp_path):
    class Large(Regression):
        def step(self, x, numbers):
            if self.average.updates == 8:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has ...")
            return super().step(x, numbers)

    with pytest.raises(
        ComputationError, match=r"memory is full \(CUDA out of memory\); the last good state is kept in"
    ):
        run(Large(), tmp_path, seconds=0)
    assert checkpoint.load_tensors(tmp_path / "checkpoint.safetensors")[1]["step"] == 2
    undisturbed, resumed = Regression(), Regression()
    run(undisturbed, tmp_path / "other")
    run(resumed, tmp_path)
    assert all(map(torch.equal, weights(undisturbed).values(), weights(resumed).values()))


def test_a_broken_checkpoint_is_not_trusted(tmp_path, caplog):
    (tmp_path / "checkpoint.safetensors").write_bytes(b"\x10\0\0\0\0\0\0\0not a checkpoint")
    history, *_ = run(Regression(), tmp_path)
    assert len(history) == 4 and "starting afresh" in caplog.text


def test_signal_handlers_are_put_back(tmp_path):
    before = signal.getsignal(signal.SIGTERM)
    run(Regression(), tmp_path, epochs=1)
    assert signal.getsignal(signal.SIGTERM) == before


def test_learning_rate():
    settings = SETTINGS | {"learning_rate": 1.0, "warmup_steps": 4}
    constant = settings | {"schedule": "constant"}
    rates = [optimization.learning_rate(optimization.Progress(step, 100, 0), constant) for step in range(6)]
    assert rates == [0.25, 0.5, 0.75, 1.0, 1.0, 1.0]
    assert optimization.learning_rate(optimization.Progress(50, 100, 0), settings) == pytest.approx(0.5)
    assert optimization.learning_rate(optimization.Progress(100, 100, 0), settings) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("step, rate", [(4, 1.0), (70, 1.0), (85, 0.5), (97, 0.1), (100, 0.0)])
def test_a_trapezoid_is_flat_and_then_falls_to_zero(step, rate):
    settings = SETTINGS | {"learning_rate": 1.0, "warmup_steps": 4, "schedule": "trapezoid"}
    assert optimization.learning_rate(optimization.Progress(step, 100, 0), settings) == pytest.approx(rate)


def test_weight_average_is_the_exponential_moving_average():
    model = nn.Linear(1, 1, bias=False)
    model.weight.data.fill_(0.0)
    average, expected = optimization.WeightAverage(model, 0.5), 0.0
    for n in range(1, 30):
        model.weight.data.fill_(float(n))
        average.update(model, average.next_rate())
        decay = min(0.5, (1 + n) / (10 + n))
        expected = decay * expected + (1 - decay) * n
        assert average.module.weight.item() == pytest.approx(expected, rel=1e-6)
    assert average.module.weight.requires_grad is False


def test_tensors_come_back_with_reproducible_bytes(tmp_path):
    tensors = {"b": torch.arange(6.0).view(2, 3).T, "a": torch.tensor(3)}
    for name in ("x", "y"):
        checkpoint.save_tensors(tmp_path / name, tensors, {"z": [1, 2], "k": "v"})
    assert (tmp_path / "x").read_bytes() == (tmp_path / "y").read_bytes()
    loaded, about = checkpoint.load_tensors(tmp_path / "x")
    assert about == {"z": [1, 2], "k": "v"} and all(torch.equal(loaded[key], tensors[key]) for key in tensors)


def test_a_gpu_that_is_not_there_is_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(InputError, match="no GPU"):
        loop.set_up("cuda", 1, 0)


def test_auto_precision_is_bfloat16_only_where_the_processor_has_it(monkeypatch):
    cpu = torch.device("cpu")
    for capabilities, expected in (({"avx512_bf16": True}, torch.bfloat16), ({"avx2": True}, torch.float32)):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda found=capabilities: found)
        assert optimization.precision("auto", cpu) == expected
        layer, x = nn.Linear(4, 4), torch.randn(2, 4)
        with optimization.autocast({"precision": "auto"}, cpu):
            assert layer(x).dtype == expected
        with optimization.autocast({"precision": "float32"}, cpu):
            assert layer(x).dtype == torch.float32


@pytest.fixture
def orders(tmp_path):
    """The examples of both epochs in the order in which they were seen, for the seeds 1, 2 and 1."""

    class Order(Regression):
        def step(self, x, numbers):
            self.seen = [*getattr(self, "seen", []), *x[:, 0, 0, 0].tolist()]
            return super().step(x, numbers)

    orders = []
    for seed in (1, 2, 1):
        task = Order()
        run(task, tmp_path / "state", epochs=2, seed=seed, fingerprint={"run": len(orders)})
        orders.append((task.seen[:23], task.seen[23:]))
    return orders


def test_seeds_and_epochs_see_the_data_in_different_orders(orders):
    assert orders[0] == orders[2] and orders[0] != orders[1] and orders[0][0] != orders[0][1]


def test_every_example_is_seen_once_an_epoch(orders):
    for first, second in orders:
        assert sorted(first) == sorted(second) == sorted(DATA[:, 0, 0, 0].tolist())


@pytest.mark.parametrize("interrupted", [False, True])
def test_more_epochs_go_on_and_with_a_constant_rate_end_with_the_same_bytes(tmp_path, caplog, monkeypatch, interrupted):
    caplog.set_level("INFO")
    monkeypatch.setitem(SETTINGS, "schedule", "constant")
    longer, short, more = Regression(), Regression(), Regression()
    history, best, _ = run(longer, tmp_path / "a", epochs=6)
    run(short, tmp_path / "b", epochs=2, finish=True)  # leaves the best weights in the task, the last ones in the state
    if interrupted:
        with pytest.raises(Interrupted):
            run(Regression(17, raise_signal), tmp_path / "b", epochs=6)
    history_more, best_more, stretches = run(more, tmp_path / "b", epochs=6, finish=True)
    assert (
        "the training was planned for 2 epochs and is now for 6" in caplog.text and "resuming at epoch" in caplog.text
    )
    assert "undisturbed" not in caplog.text
    assert [row["valid_score"] for row in history_more] == [row["valid_score"] for row in history]
    assert best_more == best and all(map(torch.equal, weights(longer).values(), weights(more).values()))
    same = {"threads": torch.get_num_threads(), "precision": "float32"}
    assert stretches == [{"epochs": 2, "from_step": 0} | same, {"epochs": 6, "from_step": 10} | same]


def test_a_training_that_resumes_on_other_threads_says_so(tmp_path):
    before = torch.get_num_threads()
    with pytest.raises(Interrupted):
        run(Regression(7, raise_signal), tmp_path)
    torch.set_num_threads(before + 1)
    try:
        *_, stretches = run(Regression(), tmp_path)
    finally:
        torch.set_num_threads(before)
    assert [(each["threads"], each["from_step"]) for each in stretches] == [(before, 0), (before + 1, 8)]


def test_more_epochs_of_another_schedule_are_not_passed_off_as_undisturbed_ones(tmp_path, caplog):
    experiment = {"schedule": "cosine"}
    run(Regression(), tmp_path, epochs=2, fingerprint=experiment, finish=True)
    run(Regression(), tmp_path, epochs=4, fingerprint=experiment)
    assert "followed a schedule of 2 epochs: the result differs from 4 undisturbed epochs" in caplog.text


def test_the_epoch_with_the_smallest_number_can_be_kept(tmp_path):
    class Measured(Regression):
        select = "-valid_fid"

        def evaluate(self, progress):
            scores = {2: 5.0, 4: 3.0, 6: 4.0}  # not in every epoch
            self.seen = getattr(self, "seen", {}) | {progress.epochs: self.model[0].bias.detach().clone()}
            return {"valid_fid": scores[progress.epochs]} if progress.epochs in scores else {}

    task = Measured()
    history, best_epoch, _ = run(task, tmp_path, epochs=7)
    assert best_epoch == 4 and "valid_fid" not in history[0]
    assert torch.equal(task.model[0].bias, task.seen[4]) and not torch.equal(task.seen[4], task.seen[7])


def test_the_best_epoch_may_be_of_an_earlier_stretch(tmp_path):
    first, more = Regression(scores=[1.0, 5.0]), Regression(scores=[1.0, 5.0, 2.0, 3.0])
    run(first, tmp_path, epochs=2, finish=True)
    _, best, _ = run(more, tmp_path, epochs=4, finish=True)
    assert best == 2 and all(map(torch.equal, weights(first).values(), weights(more).values()))


@pytest.mark.parametrize("epochs", [2, 3])
def test_the_same_or_a_smaller_number_of_epochs_trains_anew_and_says_so(tmp_path, caplog, epochs):
    run(Regression(), tmp_path / "a", epochs=3, finish=True)
    fresh, again = Regression(), Regression()
    run(fresh, tmp_path / "b", epochs=epochs)
    *_, stretches = run(again, tmp_path / "a", epochs=epochs)
    assert f"a finished training of 3 epochs is there, and {epochs} are asked for; training anew" in caplog.text
    assert all(map(torch.equal, weights(fresh).values(), weights(again).values()))
    assert [stretch["epochs"] for stretch in stretches] == [epochs]


def test_a_training_that_was_waited_for_is_not_repeated(tmp_path, monkeypatch):
    first, second = Regression(), Regression(at_step=0, action=lambda _: pytest.fail("trained again"))
    result = run(first, tmp_path, finish=True)
    lock = checkpoint.StateFolder.lock

    def waited(state):
        state.waited = True
        return lock(state)

    monkeypatch.setattr(checkpoint.StateFolder, "lock", waited)
    assert run(second, tmp_path) == result
    assert all(map(torch.equal, weights(first).values(), weights(second).values()))


@pytest.mark.parametrize("began, repeated", [(-60, False), (60, True)])
def test_a_training_finished_since_this_run_began_is_not_repeated(tmp_path, monkeypatch, caplog, began, repeated):
    result = run(Regression(), tmp_path, finish=True)
    state = checkpoint.StateFolder(tmp_path)
    monkeypatch.setenv("GENLAB_RUN_STARTED", str(state.path.stat().st_mtime + began))
    action = None if repeated else lambda _: pytest.fail("trained again")
    again = run(Regression(at_step=0, action=action or (lambda _: None)), tmp_path)
    assert ("training anew" in caplog.text) == repeated and (again == result) != repeated


def test_a_time_limit_saves_and_stops(tmp_path, monkeypatch):
    clock = iter(range(100))
    with monkeypatch.context() as patch, pytest.raises(Interrupted, match="limit of 3 s"):
        patch.setattr(cli, "seconds_since_start", lambda: next(clock))
        run(Regression(), tmp_path, limit=3)
    stopped, undisturbed = Regression(), Regression()
    run(stopped, tmp_path)
    run(undisturbed, tmp_path / "b")
    assert all(map(torch.equal, weights(undisturbed).values(), weights(stopped).values()))


def test_a_finished_but_unpublished_training_is_not_run_again(tmp_path):
    first, again = Regression(), Regression(at_step=0, action=lambda _: pytest.fail("trained again"))
    assert run(first, tmp_path) == run(again, tmp_path)
    assert all(torch.equal(a, b) for a, b in zip(weights(first).values(), weights(again).values(), strict=True))


def test_events_of_an_earlier_experiment_are_replaced_and_other_files_are_not(tmp_path):
    events = tmp_path / "events"
    events.mkdir()
    (events / "events.out.tfevents.1.old").write_text("")
    (events / "notes.txt").write_text("precious")
    run(Regression(), tmp_path / "state", events=events)
    names = sorted(path.name for path in events.iterdir())
    assert names[-1] == "notes.txt" and len(names) == 2 and "old" not in names[0]


@pytest.mark.parametrize(
    "settings, kind, words",
    [
        ({"beta1": 0.0, "beta2": 0.5}, torch.optim.Adam, {"betas": (0.0, 0.5)}),
        ({"weight_decay": 0.1}, torch.optim.Adam, {"weight_decay": 0.1}),
        ({"optimizer": "adamw", "weight_decay": 0.1}, torch.optim.AdamW, {"weight_decay": 0.1}),
        ({"optimizer": "sgd", "weight_decay": 0.1}, torch.optim.SGD, {"weight_decay": 0.1}),
    ],
)
def test_an_optimizer_is_torch_s_with_the_settings(settings, kind, words):
    weights = [nn.Parameter(torch.linspace(-1, 1, 5)) for _ in range(2)]
    both = optimization.optimizer(weights[:1], SETTINGS | settings), kind(weights[1:], 0.01, **words)
    for step in range(3):
        for weight, each in zip(weights, both, strict=True):
            each.zero_grad()
            ((step + 1) * weight**3).sum().backward()
            each.step()
    torch.testing.assert_close(*weights)
