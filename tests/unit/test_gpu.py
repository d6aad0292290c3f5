"""The choice among several GPUs, with real processes and locks and a torch that only says that it has GPUs."""

import os
import subprocess
import sys

from stage import SCRIPTS

CHOOSE = """
import sys, types
visible = sys.argv[1].split(",")
cuda = types.SimpleNamespace(
    device_count=lambda: len(visible), get_device_properties=lambda index: types.SimpleNamespace(uuid=visible[index])
)
sys.modules["torch"] = types.SimpleNamespace(cuda=cuda)
from genlab.training import gpu
print(visible[gpu.choose()[0]], flush=True)
assert gpu.choose()[0] == gpu.choose()[0]
sys.stdin.read()
"""


def test_local_jobs_take_free_gpus_then_the_least_used_ones_and_only_visible_ones(tmp_path):
    processes = []

    def job(visible="A,B,C"):
        """Start a process that chooses and goes on living; returns the GPU it chose."""
        process = subprocess.Popen(
            [sys.executable, "-c", CHOOSE, visible], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env=os.environ | {"PYTHONPATH": str(SCRIPTS), "TMPDIR": str(tmp_path)},
        )  # fmt: skip
        processes.append(process)
        return process.stdout.readline().strip()

    try:
        assert [job(), job(), job()] == ["A", "B", "C"]
        processes[1].kill()
        processes[1].wait()
        assert job() == "B"  # a lock dies with its process
        assert job("C") == "C"  # CUDA_VISIBLE_DEVICES=2: no choice, but noted
        assert job("C,A") == "A"
        assert [job(), job()] == ["B", "A"]  # two each, then the first again
    finally:
        for process in processes:
            process.kill()
            process.wait()
