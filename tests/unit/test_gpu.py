"""The choice among several GPUs, with real processes and locks and a torch that only says that it has GPUs."""

import os
import subprocess
import sys
import tempfile

import pytest
from genlab import InputError
from genlab.training import gpu
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


def test_a_job_follows_no_link_in_place_of_its_locks(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / f"genlab-{os.getuid()}").symlink_to(tmp_path / "elsewhere")
    process = subprocess.run(
        [sys.executable, "-c", CHOOSE, "A"], text=True, capture_output=True, stdin=subprocess.DEVNULL,
        env=os.environ | {"PYTHONPATH": str(SCRIPTS), "TMPDIR": str(tmp_path)},
    )  # fmt: skip
    assert process.returncode != 0 and "not a folder that you alone can write to" in process.stderr
    assert list((tmp_path / "elsewhere").iterdir()) == []


def link(place, elsewhere):
    place.symlink_to(elsewhere)


def open_to_all(place, elsewhere):
    place.mkdir()
    place.chmod(0o777)


def of_another(place, elsewhere):
    place.mkdir(mode=0o700)  # by this user, while the test is another


@pytest.mark.parametrize("prepare", [link, open_to_all, of_another, lambda place, elsewhere: place.write_text("")])
def test_what_another_user_has_put_in_place_of_the_locks_is_refused(tmp_path, monkeypatch, prepare):
    user = os.getuid() + (prepare is of_another)
    (tmp_path / "elsewhere").mkdir()
    prepare(tmp_path / f"genlab-{user}", tmp_path / "elsewhere")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(os, "getuid", lambda: user)
    with pytest.raises(InputError, match="not a folder that you alone can write to; remove it, or set TMPDIR"):
        gpu.own_folder()
    assert list((tmp_path / "elsewhere").iterdir()) == []
