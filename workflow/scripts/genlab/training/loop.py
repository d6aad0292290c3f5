"""The one training loop: epochs, checkpoints, resume, best-on-validation, history, events.

`train` runs any task: an object with

    modules     dict of torch modules whose parameters and buffers are the state to keep
    optimizers  dict of torch optimizers
    select      name of the validation column to maximise, or None to keep the last epoch
    schedule(progress)  {name: float} of what changes from step to step, called once before each
    step(batch, numbers)  one update with these numbers, as floats or as tensors (); returns sums over the batch by
                column name. Which names there are decides what it does. It asks the device for no value.
    evaluate(progress)  validation numbers by column name, after every epoch

A killed run goes on from its last checkpoint and ends with the same bytes on the CPU as an
undisturbed one: modules, optimizers, random generators, position in the data and running
sums are all in the checkpoint, and the order of the data follows from (seed, epoch) alone.
"""

import contextlib
import copy
import math
import os
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from .. import InputError, cli
from . import gpu
from .graphs import Steps


def set_up(device, threads, seed):
    """Seed every generator, set the thread count, return the `torch.device` for "auto", "cpu" or "cuda"."""
    if device == "cuda" and not torch.cuda.is_available():
        raise InputError("--device cuda: no GPU that this torch can use was found; give --device auto or cpu")
    torch.set_num_threads(threads)
    torch.manual_seed(seed)
    # A freed block just below glibc's limit of 32 MiB: from then on it keeps what is freed, up to 64 MB, in place of
    # asking the system for the same pages again in every step. To other allocators it means nothing.
    torch.empty(8_000_000)
    if device == "cpu" or not torch.cuda.is_available():
        return torch.device("cpu")
    torch.backends.cudnn.allow_tf32 = False  # float32 means float32; `autocast` allows it where it is asked for
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # a kernel more for every tensor
    index, _ = gpu.choose()
    torch.cuda.set_device(index)
    torch.cuda.set_stream(torch.cuda.Stream())  # graphs are not recorded on the default stream
    return torch.device("cuda", index)


@dataclass(frozen=True)
class Progress:
    """Where training stands before a step: `step` of `total` updates, `epochs` done so far (a fraction)."""

    step: int
    total: int
    epochs: float


def optimizer(parameters, settings):
    """The optimizer that `settings` names: adam, adamw or sgd. `set_rate` sets its rate before every step."""
    parameters, decay = list(parameters), settings["weight_decay"]
    on_gpu = parameters[0].is_cuda
    if settings["optimizer"] == "sgd":
        return torch.optim.SGD(parameters, settings["learning_rate"], weight_decay=decay, fused=on_gpu)
    kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[settings["optimizer"]]
    betas = (settings.get("beta1", 0.9), settings.get("beta2", 0.999))
    return kind(parameters, settings["learning_rate"], betas, weight_decay=decay, fused=True, capturable=on_gpu)


def set_rate(optimizer, rate):
    """Set the learning rate of all parameters: a float, or a tensor () on their device."""
    for group in optimizer.param_groups:
        group["lr"] = rate


def precision(name, device):
    """The dtype that the setting `precision` names; auto is bfloat16 where the processor computes with it."""
    if name == "auto":
        native = ("avx512_bf16", "amx_bf16", "sve_bf16")
        fast = (
            torch.cuda.is_bf16_supported(including_emulation=False)
            if device.type == "cuda"
            else any(torch.cpu.get_capabilities().get(feature) for feature in native)
        )
        return torch.bfloat16 if fast else torch.float32
    return {"float32": torch.float32, "tf32": torch.float32, "bfloat16": torch.bfloat16}[name]


def autocast(settings, device):
    """A context in which convolutions and matrix products run in the dtype that `settings["precision"]` names.

    tf32 is no dtype but a way to multiply float32 numbers: GPUs take it from here on, in the backward pass too.
    """
    dtype = precision(settings["precision"], device)
    if device.type == "cuda":
        allowed = settings["precision"] == "tf32"
        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = allowed
    return torch.autocast(device.type, dtype, enabled=dtype != torch.float32)


def learning_rate(progress, settings):
    """The rate at a step: linear warm-up, then constant, or half a cosine down to zero at the end."""
    rate = settings["learning_rate"] * min(1.0, (progress.step + 1) / max(1, settings["warmup_steps"]))
    if settings["schedule"] == "cosine":
        rate *= 0.5 * (1 + math.cos(math.pi * progress.step / progress.total))
    return rate


class WeightAverage(torch.nn.Module):
    """Exponential moving average of a module's parameters; `.module` is the averaged copy.

    The decay grows as (1 + n) / (10 + n) up to `decay`, so that early, poor weights are
    forgotten. With decay 0 the copy simply follows the module.
    """

    def __init__(self, module, decay):
        super().__init__()
        self.module, self.decay = copy.deepcopy(module).requires_grad_(False), decay
        self.register_buffer("updates", torch.zeros((), dtype=torch.int64, device="cpu"))

    def next_rate(self):
        """How far the next `update` goes towards the module: 1 - decay. To be called once for each."""
        self.updates += 1
        n = int(self.updates)
        return 1 - min(self.decay, (1 + n) / (10 + n))

    @torch.no_grad()
    def update(self, module, rate):
        """Take in the module's weights; rate: of `next_rate`, as a float or as a tensor ()."""
        averages, current = list(self.module.parameters()), list(module.parameters())
        torch._foreach_lerp_(averages, current, [rate] * len(current) if isinstance(rate, torch.Tensor) else rate)
        for average, current in zip(self.module.buffers(), module.buffers(), strict=True):
            average.copy_(current)


def collect(task, device):
    """All tensors of a task and of the random generators that a step on `device` uses, by unique names."""
    tensors = {
        f"module.{name}.{key}": value for name, m in task.modules.items() for key, value in m.state_dict().items()
    }
    for name, opt in task.optimizers.items():
        for index, state in opt.state_dict()["state"].items():
            tensors |= {f"optimizer.{name}.{index}.{key}": torch.as_tensor(value) for key, value in state.items()}
    tensors["random.cpu"] = torch.get_rng_state()
    if device.type == "cuda":
        tensors["random.cuda"] = torch.cuda.get_rng_state(device)
    return tensors


def restore(task, tensors, device):
    """Undo `collect`."""
    for name, module in task.modules.items():
        prefix = f"module.{name}."
        module.load_state_dict({k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)})
    for name, opt in task.optimizers.items():
        parameters = [parameter for group in opt.param_groups for parameter in group["params"]]
        state = {}
        for key, value in tensors.items():
            if key.startswith(f"optimizer.{name}."):
                index, entry = key.removeprefix(f"optimizer.{name}.").split(".")
                parameter = parameters[int(index)]
                if value.shape == parameter.shape:
                    # Fused kernels walk parameter and moments side by side in memory: same strides, or nonsense.
                    value = torch.empty_like(parameter, requires_grad=False).copy_(value)
                state.setdefault(int(index), {})[entry] = value
        opt.load_state_dict({"state": state, "param_groups": opt.state_dict()["param_groups"]})
    torch.set_rng_state(tensors["random.cpu"])
    if device.type == "cuda":
        torch.cuda.set_rng_state(tensors["random.cuda"], device)


def train(task, data, *, epochs, batch_size, seed, checkpoints, events=None):
    """Train `task` on `data` (N, ...), a tensor on the task's device; return (history, best epoch, stretches).

    checkpoints  a `checkpoint.Checkpoints`
    events       folder for TensorBoard events, or None
    history      a list with one dict an epoch: epoch, step, the task's columns as means per
                 example, images_per_second and the cumulative training seconds
    stretches    what the training was made of: from which step on it was to have how many epochs, on how many threads

    A finished state goes on if it is to have more epochs, else it is trained anew. On return
    `task.modules` hold the best epoch's weights by `task.select`. Raises `cli.Interrupted` after saving
    when asked to stop, and `cli.ComputationError` when a number stops being finite, leaving the last
    good checkpoint in place.
    """
    steps = math.ceil(len(data) / batch_size)
    history, best_epoch, best, stretches, start, first = [], 0, {}, [], 0, 0
    sums, seconds = {}, 0.0
    run = Steps(task, data, sums, graphs=data.is_cuda)
    if saved := _standing(checkpoints, epochs):
        tensors, about = saved
        restore(task, tensors, data.device)
        best = {key.removeprefix("best."): value for key, value in tensors.items() if key.startswith("best.")}
        sums |= {
            key.removeprefix("sum."): value.to(data.device) for key, value in tensors.items() if key.startswith("sum.")
        }
        history, best_epoch, stretches, start, first, seconds = (
            about[key] for key in ("history", "best_epoch", "stretches", "epoch", "step", "seconds")
        )
        cli.log.info("going on at epoch %d, step %d of %d", start + 1, first, steps)
    elif events:
        for file in Path(events).glob("events.out.tfevents.*"):
            file.unlink()
    stretch = {"epochs": epochs, "threads": torch.get_num_threads()}
    if not stretches or stretches[-1] != stretch | {"from_step": stretches[-1]["from_step"]}:
        stretches = [*stretches, stretch | {"from_step": start * steps + first}]

    def modules():
        return {f"{name}.{key}": value for name, m in task.modules.items() for key, value in m.state_dict().items()}

    def kept():
        state = checkpoints.state
        return f"the last good state is kept in {state.folder}; " if state.path.exists() else ""

    def out_of_memory(error):
        reason = str(error).split(". ")[0]
        return cli.ComputationError(
            f"the GPU's memory is full ({reason}); {kept()}free the GPU, lower batch_size, or give --device cpu, "
            "and run again"
        )

    def check(at_epoch, at_step):
        values = [*sums.values(), *(p for m in task.modules.values() for p in m.parameters())]
        if torch.stack([torch.isfinite(value).all() for value in values]).all():
            return
        raise cli.ComputationError(
            f"numbers stopped being finite by epoch {at_epoch + 1}, step {at_step}; {kept()}"
            "lower learning_rate or lengthen warmup_steps and run again"
        )

    def save(next_epoch, next_step):
        check(next_epoch, next_step)
        about = {"history": history, "best_epoch": best_epoch, "stretches": stretches, "seconds": seconds}
        tensors = (
            collect(task, data.device)
            | {f"best.{k}": v for k, v in best.items()}
            | {f"sum.{k}": v for k, v in sums.items()}
        )
        checkpoints.save(tensors, about | {"epoch": next_epoch, "step": next_step})

    bar = {"total": epochs * steps, "initial": start * steps + first, "label": "training", "unit": "step"}
    started = time.perf_counter()
    with event_writer(events, purge=start + 1) as writer, cli.progress(**bar) as bar:
        for epoch in range(start, epochs):
            order = np.random.default_rng([seed, epoch]).permutation(len(data))
            order = torch.from_numpy(order).to(data.device)
            for step in range(first, steps):
                done = epoch * steps + step
                numbers = task.schedule(Progress(done, epochs * steps, done / steps))
                try:
                    run(order[step * batch_size : (step + 1) * batch_size], numbers)
                except torch.OutOfMemoryError as error:
                    raise out_of_memory(error) from None
                bar.update()
                if checkpoints.due():
                    now = time.perf_counter()
                    seconds, started = seconds + now - started, now
                    save(epoch, step + 1)
                    checkpoints.heed()
            check(epoch, steps)
            now = time.perf_counter()
            seconds, started = seconds + now - started, now
            row = {"epoch": epoch + 1, "step": (epoch + 1) * steps}
            row |= {name: float(value) / len(data) for name, value in sums.items()}
            row |= task.evaluate(Progress((epoch + 1) * steps, epochs * steps, epoch + 1))
            previous = history[-1]["seconds"] if history else 0.0
            row |= {"images_per_second": len(data) / (seconds - previous), "seconds": seconds}
            if not all(math.isfinite(value) for value in row.values()):
                raise cli.ComputationError(f"a validation number is not finite after epoch {epoch + 1}: {row}")
            if not history or task.select is None or row[task.select] > history[best_epoch - 1][task.select]:
                best_epoch, best = epoch + 1, {key: value.clone() for key, value in modules().items()}
            history.append(row)
            run.reset()
            first = 0
            writer.add(row)
            cli.log.info(describe(row))
            save(epoch + 1, 0)
            started = time.perf_counter()  # neither validation nor saving counts as training
            if epoch + 1 < epochs:
                checkpoints.heed()
    for name, module in task.modules.items():
        prefix = f"{name}."
        module.load_state_dict({k.removeprefix(prefix): v for k, v in best.items() if k.startswith(prefix)})
    return history, best_epoch, stretches


def _standing(checkpoints, epochs):
    """The saved state that a training of so many epochs goes on from, or None; what is odd about it is logged."""
    if not (saved := checkpoints.load()):
        return None
    about = saved[1]
    planned, reached = about["stretches"][-1]["epochs"], about["epoch"]
    published = about.get("finished")
    if published and (checkpoints.state.waited or checkpoints.state.is_of_this_run()):
        published = False  # by this one, but by a copy of it that was waited for, or that a lost run had left behind
    if epochs < reached or (epochs == reached and (published or about["step"])):
        what = "finished training" if about.get("finished") else "saved state"
        cli.log.warning("a %s of %d epochs is there, and %d are asked for; training anew", what, reached, epochs)
        return None
    if epochs != planned:
        cli.log.info("the training of %d epochs goes on to %d", planned, epochs)
        if checkpoints.fingerprint.get("schedule", "constant") != "constant":
            cli.log.warning(
                "its learning rate has followed a schedule of %d epochs: the result is not that of %d undisturbed ones",
                planned, epochs,
            )  # fmt: skip
    return saved


def describe(row):
    """One log line of a history row."""
    return ", ".join(f"{name} {value:.6g}" for name, value in row.items())


class event_writer(contextlib.AbstractContextManager):
    """TensorBoard events, one scalar a column: none without a folder, and no more once the disk takes no more."""

    def __init__(self, folder, purge):
        self.folder, self.purge, self.writer = folder, purge, None

    def __enter__(self):
        self.hook = threading.excepthook
        if self.folder:
            from torch.utils.tensorboard import SummaryWriter

            threading.excepthook = lambda error: None  # of the thread that writes: `add` gets its error, too
            with self.tolerant():
                self.writer = SummaryWriter(os.fspath(self.folder), purge_step=self.purge)
        return self

    @contextlib.contextmanager
    def tolerant(self):
        """Events are worth no training: an error ends them alone."""
        try:
            yield
        except OSError as error:
            cli.log.warning("%s: no more TensorBoard events (%s)", self.folder, error.strerror)
            self.writer = None

    def add(self, row):
        with self.tolerant():
            for name, value in row.items() if self.writer else ():
                if name not in ("epoch", "step"):
                    self.writer.add_scalar(
                        name.replace("train_", "train/").replace("valid_", "valid/"), value, row["epoch"]
                    )
            if self.writer:
                self.writer.flush()

    def __exit__(self, *exception):
        with self.tolerant():
            if self.writer:
                self.writer.close()
        threading.excepthook = self.hook
