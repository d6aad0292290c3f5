"""The steps of a training, on a GPU as CUDA graphs.

A step of these networks is hundreds of kernels, most of them shorter than the time Python takes to launch them. A CUDA
graph records the kernels of a step once, then launches them all at once. It repeats the same kernels on the same
memory. So everything that changes with every step (images and numbers) is in tensors that are filled before the graph
is launched, and no step may ask the GPU for a value.
"""

from collections import Counter

import torch

from .. import log

WARM_UP = 3  # steps of each kind before one is recorded; libraries initialise themselves in them


class Steps:
    """Runs the steps of a task on `data` and sums their results by column.

    task      as in `loop.train`
    data      (N, ...) on the task's device
    sums      {column: float64 tensor ()} to start from; changed in place
    graphs    whether to record CUDA graphs, one for each batch size and each set of numbers
    """

    def __init__(self, task, data, sums, graphs):
        self.task, self.data, self.sums, self.graphs = task, data, sums, graphs
        self.seen, self.recorded, self.indices, self.numbers = Counter(), {}, {}, {}
        self.pool = None  # memory pool that all graphs share, because they never run at the same time

    def __call__(self, indices, numbers):
        """One step on `data[indices]`, int64 (B,); numbers: {name: float} of `task.schedule`."""
        if not self.graphs:
            self._step(indices, numbers)
            return
        kind = (len(indices), *numbers)
        indices, numbers = self._fill(indices, numbers)
        if kind not in self.recorded and self.seen[kind] >= WARM_UP:
            self._record(kind, indices, numbers)
        self.seen[kind] += 1
        if kind in self.recorded:
            self.recorded[kind].replay()
        else:
            self._step(indices, numbers)

    def reset(self):
        """Reset the sums."""
        for value in self.sums.values():
            value.zero_()

    def _step(self, indices, numbers):
        for name, value in self.task.step(self.data[indices], numbers).items():
            if name not in self.sums:
                self.sums[name] = torch.zeros((), dtype=torch.float64, device=value.device)
            self.sums[name] += value

    def _fill(self, indices, numbers):
        """The tensors that the graphs read, filled with these values."""
        if len(indices) not in self.indices:
            self.indices[len(indices)] = torch.empty_like(indices)
        for name in numbers.keys() - self.numbers.keys():
            self.numbers[name] = torch.empty((), device=self.data.device)
        for name, value in numbers.items():
            self.numbers[name].fill_(value)
        return self.indices[len(indices)].copy_(indices), {name: self.numbers[name] for name in numbers}

    def _record(self, kind, indices, numbers):
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph, pool=self.pool, stream=torch.cuda.current_stream()):
                self._step(indices, numbers)
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            log.warning("a step cannot be recorded as a CUDA graph (%s); steps run one kernel at a time",
                        str(error).splitlines()[0])  # fmt: skip
            self.graphs, self.recorded = False, {}
            return
        self.recorded[kind], self.pool = graph, graph.pool()
