"""What is kept on disk so that a killed training goes on: tensors in safetensors, a folder of state, when to save."""

import contextlib
import json
import os
import signal
import time
import zlib
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from .. import InputError, Interrupted, cli, files, log

FORMAT = 1  # of what a training keeps; to be raised when a newer version could misread an older state
METADATA = "genlab"  # one key only: safetensors writes several in an arbitrary order


def save_tensors(path, tensors, about):
    """Write tensors and a JSON-able `about` to a safetensors file, atomically and with reproducible bytes."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in sorted(tensors.items())}
    with files.atomic(path) as temporary:
        try:
            save_file(tensors, temporary, metadata={METADATA: json.dumps(about, sort_keys=True)})
        except SafetensorError as error:
            raise files.cannot_write(path, error) from None


def load_tensors(path, about=None):
    """Read (tensors, about) that `save_tensors` wrote; anything else is an `InputError`.

    With a default `about`, safetensors files of others are read too, which say nothing about themselves.
    """
    try:
        with safe_open(path, framework="pt") as file:
            metadata, names = file.metadata() or {}, file.keys()
            if about is None or METADATA in metadata:
                about = json.loads(metadata[METADATA])
            if not isinstance(about, dict):
                raise TypeError(f"what it says of itself is {type(about).__name__}, no object")
            return {name: file.get_tensor(name) for name in names}, about
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except (SafetensorError, KeyError, TypeError, json.JSONDecodeError) as error:
        raise InputError(f"{path}: not a sound safetensors file of this project ({error!r}); make it anew") from None


def _sum(tensors, about):
    """CRC-32 of all that a checkpoint says, so that a damaged one is not trusted."""
    import torch

    result = zlib.crc32(json.dumps(about, sort_keys=True).encode())
    for name, tensor in sorted(tensors.items()):
        data = tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy()
        result = zlib.crc32(data, zlib.crc32(name.encode(), result))
    return result


class StateFolder:
    """The folder where a training keeps its checkpoint: outside the declared outputs, one trainer at a time."""

    def __init__(self, folder, name="checkpoint"):
        self.folder = Path(folder)
        self.path = self.folder / f"{name}.safetensors"
        self.waited = False  # for another training to end

    @contextlib.contextmanager
    def lock(self, limit=0):
        """Hold the folder; wait while another process does. The lock dies with its process.

        limit: raise `Interrupted` so many seconds after the process has started; 0 for never. At the end no
        folder is left that holds no checkpoint.
        """
        with self._acquire(limit) as file:
            for left in self.folder.glob(".*.safetensors.*.part*"):  # by a killed process, on whatever machine
                left.unlink(missing_ok=True)
            try:
                yield
            finally:
                if not any(self.folder.glob("*.safetensors")):
                    Path(file.name).unlink()
                    with contextlib.suppress(OSError):  # other files may lie there
                        self.folder.rmdir()

    def _acquire(self, limit):
        """The locked file."""
        while True:
            self.folder.mkdir(parents=True, exist_ok=True)
            with contextlib.suppress(FileNotFoundError):  # who holds it may delete it, and the folder
                file = files.locked(path := self.folder / "lock")
                if file and os.path.samestat(os.fstat(file.fileno()), path.stat()):
                    return file
            if not self.waited:
                log.warning("%s: another training uses this state; waiting for it to end", self.folder)
            self.waited = True
            if limit and cli.seconds_since_start() > limit:
                raise Interrupted(f"by the limit of {limit} s, while another training uses {self.folder}")
            time.sleep(0.5)

    def is_of_this_run(self):
        """Whether the checkpoint was written since the run of the workflow began that this process belongs to."""
        return self.path.stat().st_mtime > float(os.environ.get("GENLAB_RUN_STARTED", "inf"))

    def load(self, fingerprint):
        """The last checkpoint (tensors, about) of exactly this experiment, or None."""
        if not self.path.exists():
            return None
        try:
            tensors, about = load_tensors(self.path)
            if about.pop("sum", None) != _sum(tensors, about):
                raise InputError(f"{self.path}: the file is damaged")
        except InputError as error:
            log.warning("%s; starting afresh", error)
            return None
        if about["fingerprint"] != fingerprint:
            old = about["fingerprint"]
            changed = sorted(key for key in {*old, *fingerprint} if old.get(key) != fingerprint.get(key))
            log.warning("the saved state is of another experiment (changed: %s); starting afresh", ", ".join(changed))
            return None
        return tensors, about

    def save(self, tensors, about):
        """Put a checkpoint in the place of the last one; `about` holds its `fingerprint`."""
        save_tensors(self.path, tensors, about | {"sum": _sum(tensors, about)})

    def finish(self):
        """Note that the outputs are published: only more epochs go on from here, the same number trains anew."""
        tensors, about = load_tensors(self.path)
        about.pop("sum")
        self.save(tensors, about | {"finished": True})

    def clear(self):
        """Forget the checkpoint; nothing else that may lie in the folder is deleted."""
        self.path.unlink(missing_ok=True)


@contextlib.contextmanager
def stop_signals():
    """Yield a list that receives the name of a signal that asks to stop, instead of dying of it."""
    received, names = [], ("SIGTERM", "SIGINT", "SIGUSR1")
    handlers = {
        name: signal.signal(getattr(signal, name), lambda number, _: received.append(signal.Signals(number).name))
        for name in names
    }
    try:
        yield received
    finally:
        for name, handler in handlers.items():
            signal.signal(getattr(signal, name), handler)


class CheckpointPolicy:
    """Loads and saves a training's state, and says when to save and when to stop.

    state        a `StateFolder`, locked by the caller
    fingerprint  JSON-able: all that the state depends on, but for the number of epochs
    seconds      the time between two savings
    limit        stop so many seconds after the process has started; 0 for never
    stop         the list of `stop_signals`
    """

    def __init__(self, state, fingerprint, seconds=60.0, limit=0, stop=()):
        self.state, self.fingerprint = state, fingerprint
        self.seconds, self.limit, self.stop = seconds, limit, stop
        self.last = time.perf_counter()

    def load(self):
        """(tensors, about) of the last saving of this experiment, or None."""
        return self.state.load(self.fingerprint)

    def why_stop(self):
        """What asks to stop, in words; empty if nothing does."""
        if self.stop:
            return f"by {self.stop[0]}"
        return f"by the limit of {self.limit} s" if self.limit and cli.seconds_since_start() > self.limit else ""

    def due(self):
        """Whether to save now."""
        return time.perf_counter() - self.last > self.seconds or bool(self.why_stop())

    def save(self, tensors, about):
        """Save tensors and what there is to say about them."""
        self.state.save(tensors, about | {"fingerprint": self.fingerprint})
        self.last = time.perf_counter()

    def heed(self):
        """Raise `Interrupted` if something asks to stop; to be called after saving."""
        if why := self.why_stop():
            raise Interrupted(f"{why}; the state is saved in {self.state.folder}; run again to go on")
