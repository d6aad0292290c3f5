"""The training loop: epochs, checkpoints, resuming, best epoch on validation, history.

`train` runs any task: an object with

    modules     dict of torch modules whose parameters and buffers are saved
    optimizers  dict of torch optimizers
    select      name of the validation column to maximise, with "-" before it to minimise, or None to keep the last
                epoch. An epoch without the column is not kept, unless it is the first.
    schedule(progress)  {name: float} of the numbers that change with every step; called once before each step
    step(batch, numbers)  one update with these numbers, floats or tensors (); returns sums over the batch by column.
                The names in `numbers` decide what it does. It must not ask the device for a value.
    evaluate(progress)  validation numbers by column, after every epoch

A killed run resumes from its last checkpoint, and on the CPU it ends with the same bytes as an
undisturbed one. Modules, optimizers, random generators, position in the data and running sums are
all in the checkpoint, and the order of the data depends on (seed, epoch) alone.
"""

import math
import os
import time

import numpy as np
import torch

from .. import InputError
from . import gpu, watch
from .graphs import Steps
from .optimization import Progress


def set_up(device, threads, seed):
    """Seed every random generator, set the number of threads, return the `torch.device` for "auto", "cpu" or "cuda"."""
    if device == "cuda" and not torch.cuda.is_available():
        raise InputError("--device cuda: no GPU that this torch can use was found; give --device auto or cpu")
    torch.set_num_threads(threads)
    torch.manual_seed(seed)
    # Free a block just below glibc's limit of 32 MiB. From then on glibc keeps freed memory, up to 64 MB, and does not
    # request the same pages from the system in every step. Other allocators are not affected.
    torch.empty(8_000_000)
    if device == "cpu" or not torch.cuda.is_available():
        return torch.device("cpu")
    torch.backends.cudnn.allow_tf32 = False  # float32 means float32; `autocast` allows TF32 if asked to
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # makes matrix products repeat bit for bit
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # it would launch a kernel for every tensor
    index, _ = gpu.choose()
    torch.cuda.set_device(index)
    torch.cuda.set_stream(torch.cuda.Stream())  # graphs are not recorded on the default stream
    return torch.device("cuda", index)


def collect(task, device):
    """All tensors of a task and of the random generators that it uses on `device`, by unique names."""
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
    """Load into a task and the random generators what `collect` returned."""
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
                    # Fused kernels go through parameter and moments side by side in memory, so strides must match.
                    value = torch.empty_like(parameter, requires_grad=False).copy_(value)
                state.setdefault(int(index), {})[entry] = value
        opt.load_state_dict({"state": state, "param_groups": opt.state_dict()["param_groups"]})
    torch.set_rng_state(tensors["random.cpu"])
    if device.type == "cuda":
        torch.cuda.set_rng_state(tensors["random.cuda"], device)


def train(task, data, *, epochs, batch_size, seed, checkpoints, precision="float32", events=None):
    """Train `task` on `data` (N, ...), a tensor on the task's device; return (history, best epoch, stretches).

    checkpoints  a `checkpoint.CheckpointPolicy`
    precision    what the task computes in, for the record
    events       folder for TensorBoard events, or None
    history      a list with one dict per epoch: epoch, step, the task's columns as means per
                 example, images_per_second and the cumulative training seconds
    stretches    the training segments: from which step on the training aimed at how many epochs, on how many threads,
                 in which precision

    A finished training resumes if `epochs` is now larger, else it is trained anew. On return,
    `task.modules` hold the weights of the best epoch by `task.select`. Raises `Interrupted` after saving
    when asked to stop, and `ComputationError` when a number is no longer finite; the last good
    checkpoint stays.
    """
    steps = math.ceil(len(data) / batch_size)
    history, best_epoch, best, stretches, start, first = [], 0, {}, [], 0, 0
    sums, seconds = {}, 0.0
    run = Steps(task, data, sums, graphs=data.is_cuda)
    if saved := _standing(checkpoints, epochs):
        tensors, about = saved
        restore(task, tensors, data.device)
        best = {key.removeprefix("best."): value for key, value in tensors.items() if key.startswith("best.")}
        sums |= {name: tensors[f"sum.{name}"].to(data.device) for name in about["columns"]}
        history, best_epoch, stretches, start, first, seconds = (
            about[key] for key in ("history", "best_epoch", "stretches", "epoch", "step", "seconds")
        )
        history = [dict(row) for row in history]
        stretches = [{key: each[key] for key in ("epochs", "threads", "precision", "from_step")} for each in stretches]
        watch.resuming(start, first, steps)
    stretch = {"epochs": epochs, "threads": torch.get_num_threads(), "precision": precision}
    if not stretches or stretches[-1] != stretch | {"from_step": stretches[-1]["from_step"]}:
        stretches = [*stretches, stretch | {"from_step": start * steps + first}]

    def modules():
        return {f"{name}.{key}": value for name, m in task.modules.items() for key, value in m.state_dict().items()}

    def check(at_epoch, at_step):
        values = [*sums.values(), *(p for m in task.modules.values() for p in m.parameters())]
        if torch.stack([torch.isfinite(value).all() for value in values]).all():
            return
        raise watch.not_finite(at_epoch, at_step, checkpoints.state)

    def save(next_epoch, next_step):
        check(next_epoch, next_step)
        # Lists, because the file sorts keys: the columns of the history keep their order.
        about = {"history": [list(row.items()) for row in history], "columns": list(sums)}
        about |= {"best_epoch": best_epoch, "stretches": stretches, "seconds": seconds}
        tensors = (
            collect(task, data.device)
            | {f"best.{k}": v for k, v in best.items()}
            | {f"sum.{k}": v for k, v in sums.items()}
        )
        checkpoints.save(tensors, about | {"epoch": next_epoch, "step": next_step})

    started = time.perf_counter()
    with watch.watched(steps, start * steps + first, epochs, events, not saved) as (step_is_done, epoch_is_done):
        for epoch in range(start, epochs):
            order = np.random.default_rng([seed, epoch]).permutation(len(data))
            order = torch.from_numpy(order).to(data.device)
            for step in range(first, steps):
                done = epoch * steps + step
                numbers = task.schedule(Progress(done, epochs * steps, done / steps))
                try:
                    run(order[step * batch_size : (step + 1) * batch_size], numbers)
                except torch.OutOfMemoryError as error:
                    raise watch.out_of_memory(error, checkpoints.state) from None
                step_is_done()
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
                raise watch.not_finite_on_validation(row)
            if not history or task.select is None or _better(row, history[best_epoch - 1], task.select):
                best_epoch, best = epoch + 1, {key: value.clone() for key, value in modules().items()}
            history.append(row)
            run.reset()
            first = 0
            epoch_is_done(row)
            last = epoch + 1 == epochs
            if last or checkpoints.due():  # not after every epoch: on a GPU, saving may take longer than an epoch
                save(epoch + 1, 0)
                if not last:
                    checkpoints.heed()
            started = time.perf_counter()  # validation and saving do not count as training time
    for name, module in task.modules.items():
        prefix = f"{name}."
        module.load_state_dict({k.removeprefix(prefix): v for k, v in best.items() if k.startswith(prefix)})
    return history, best_epoch, stretches


def _better(row, best, select):
    """Whether a row of the history is better than the best so far, by a task's `select`."""
    name, sign = select.removeprefix("-"), -1 if select.startswith("-") else 1
    return name in row and (name not in best or sign * row[name] > sign * best[name])


def _standing(checkpoints, epochs):
    """The saved state from which a training of `epochs` epochs resumes, or None. Logs why not."""
    if not (saved := checkpoints.load()):
        return None
    about = saved[1]
    planned, reached = about["stretches"][-1]["epochs"], about["epoch"]
    published = about.get("finished")
    if published and (checkpoints.state.waited or checkpoints.state.is_of_this_run()):
        published = False  # by a copy of this job: one that it waited for, or one left by a lost run
    if epochs < reached or (epochs == reached and (published or about["step"])):
        watch.trains_anew(about.get("finished"), reached, epochs)
        return None
    if epochs != planned:
        watch.goes_further(planned, epochs, checkpoints.fingerprint.get("schedule", "constant"))
    return saved
