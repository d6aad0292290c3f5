"""What is kept of a training: its state, who may use it, and when it is saved."""

import os
import subprocess
import sys
import time

import pytest
import torch
from genlab import Interrupted, cli, files
from genlab.training import checkpoint
from stage import SCRIPTS

TENSORS = {"a": torch.arange(5.0), "b": torch.tensor(3), "c": torch.zeros(0)}
ABOUT = {"fingerprint": {"lr": 1}, "epoch": 2}


@pytest.fixture
def state(tmp_path):
    state = checkpoint.StateFolder(tmp_path / "state")
    state.save(TENSORS, ABOUT)
    return state


def test_what_is_saved_is_loaded(state):
    tensors, about = state.load({"lr": 1})
    assert about == ABOUT and all(torch.equal(tensors[name], value) for name, value in TENSORS.items())


def test_a_finished_state_says_so(state):
    state.finish()
    tensors, about = state.load({"lr": 1})
    assert about == ABOUT | {"finished": True} and torch.equal(tensors["a"], TENSORS["a"])


@pytest.mark.parametrize("where", ["header", "tensors", "end"])
def test_a_damaged_or_truncated_state_is_not_trusted(state, where, caplog):
    content = bytearray(state.path.read_bytes())
    if where == "end":
        del content[-3:]
    else:
        content[content.index(b"epoch") + 10 if where == "header" else -3] ^= 1  # 2 becomes 3; another float
    state.path.write_bytes(content)
    assert state.load({"lr": 1}) is None and "starting afresh" in caplog.text


HOLD = """
import sys, time
from genlab import files
held = files.locked(sys.argv[1])
print("held", flush=True)
time.sleep(float(sys.argv[2]))
"""


def holding(folder, seconds):
    """A process that holds the state's lock for so long."""
    words = [sys.executable, "-c", HOLD, folder / "lock", str(seconds)]
    process = subprocess.Popen(words, env=os.environ | {"PYTHONPATH": str(SCRIPTS)}, stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"held\n"
    return process


def test_a_second_training_waits_until_the_first_ends(state, caplog):
    first = holding(state.folder, 0.7)
    with state.lock():
        assert first.poll() is not None or first.wait(5) == 0
    assert state.waited and "waiting for it to end" in caplog.text


def test_a_second_training_waits_no_longer_than_its_limit(state):
    first = holding(state.folder, 60)
    with pytest.raises(Interrupted, match="limit of 1 s"), checkpoint.StateFolder(state.folder).lock(limit=1):
        pass
    first.kill()
    first.wait()


def test_a_second_training_does_not_wait_for_a_killed_one(state):
    first = holding(state.folder, 60)
    first.kill()
    first.wait()
    with state.lock():
        pass
    assert not state.waited


def test_a_lock_that_its_holder_has_deleted_is_no_lock(tmp_path, monkeypatch):
    state, locked = checkpoint.StateFolder(tmp_path / "state"), files.locked

    def late(path):
        """Lock a file that was deleted between its opening and its locking."""
        monkeypatch.undo()
        file = locked(path)
        path.unlink()
        return file

    monkeypatch.setattr(files, "locked", late)
    with state.lock():
        assert files.locked(state.folder / "lock") is None  # others see that it is held
    assert not state.folder.exists()  # for there is no checkpoint


def test_leftovers_of_killed_savings_are_deleted_and_nothing_else(state):
    for name in (".checkpoint.safetensors.elsewhere-77.part.safetensors", "thesis.tex"):
        (state.folder / name).write_text("precious?")
    with state.lock():
        assert sorted(path.name for path in state.folder.iterdir()) == ["checkpoint.safetensors", "lock", "thesis.tex"]
        state.clear()
    assert [path.name for path in state.folder.iterdir()] == ["thesis.tex"]


def test_saving_is_due_at_intervals(state, monkeypatch):
    policy, now = checkpoint.CheckpointPolicy(state, {}, seconds=10), time.perf_counter()
    assert not policy.due()
    monkeypatch.setattr(time, "perf_counter", lambda: now + 11)
    assert policy.due() and not policy.why_stop()
    policy.save({}, {})
    assert not policy.due()


def test_a_signal_saves_and_stops(state):
    stop = []
    policy = checkpoint.CheckpointPolicy(state, {}, seconds=10, stop=stop)
    policy.heed()
    stop.append("SIGUSR1")
    assert policy.due()
    with pytest.raises(Interrupted, match=r"by SIGUSR1; the state is saved in .*state; run again to resume"):
        policy.heed()


def test_the_time_limit_saves_and_stops(state, monkeypatch):
    policy = checkpoint.CheckpointPolicy(state, {}, seconds=10, limit=100)
    monkeypatch.setattr(cli, "seconds_since_start", lambda: 99)
    assert not policy.due()
    monkeypatch.setattr(cli, "seconds_since_start", lambda: 101)
    assert policy.due()
    with pytest.raises(Interrupted, match="by the limit of 100 s"):
        policy.heed()
