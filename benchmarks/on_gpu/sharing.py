"""Several trainings of the GAN on one card, each in its own process: side by side, and under NVIDIA's MPS."""

import contextlib
import multiprocessing
import os
import shutil
import subprocess
import tempfile

import torch
from genlab.training import loop
from genlab.training.graphs import Steps
from genlab.training.optimization import Progress

from . import speed, tasks

COUNT = 8  # trainings at once


def run(options, record):
    if options.device == "cpu":
        return
    alone = together(1, options)
    for how in ("side by side", "under MPS"):
        with mps() if how == "under MPS" else contextlib.nullcontext(True) as ready:
            if not ready:
                continue
            found = together(COUNT, options)
        record(
            f"{COUNT} trainings of the WGAN-GP {how}", steps_a_second_alone=alone, steps_a_second_together=found,
            time_of_all_over_time_of_one=COUNT * alone / found,
        )  # fmt: skip


@contextlib.contextmanager
def mps():
    """Inside, NVIDIA's multi-process service runs for new processes. Yields False if it is not available."""
    if not shutil.which("nvidia-cuda-mps-control"):
        yield False
        return
    with tempfile.TemporaryDirectory() as folder:
        os.environ |= {"CUDA_MPS_PIPE_DIRECTORY": folder, "CUDA_MPS_LOG_DIRECTORY": folder}
        started = subprocess.run(["nvidia-cuda-mps-control", "-d"], timeout=20).returncode == 0
        try:
            yield started
        finally:
            subprocess.run(["nvidia-cuda-mps-control"], input=b"quit\n", timeout=20)
            del os.environ["CUDA_MPS_PIPE_DIRECTORY"], os.environ["CUDA_MPS_LOG_DIRECTORY"]


def together(count, options):
    """Steps per second of `count` processes at once, summed."""
    context = multiprocessing.get_context("spawn")
    barrier, results = context.Barrier(count), context.Queue()
    workers = [context.Process(target=_share, args=(options, barrier, results), daemon=True) for _ in range(count)]
    for worker in workers:
        worker.start()
    total = sum(results.get(timeout=30) for _ in workers)
    for worker in workers:
        worker.join(10)
    return total


def _share(options, barrier, results):
    loop.set_up(options.device, 1, 1)
    settings = tasks.settings("WGAN-GP", width=32)
    task, data = tasks.make("WGAN-GP", tasks.data("WGAN-GP", 1024), options.device, settings)
    steps = Steps(task, data, {}, graphs=data.is_cuda)
    order = torch.arange(settings["batch_size"], device=data.device)

    def step():
        steps(order, task.schedule(Progress(0, 10**6, 0.0)))

    for _ in range(8):
        step()
    speed.synchronise()
    barrier.wait(60)
    results.put(speed.rate(step, 3.0))
