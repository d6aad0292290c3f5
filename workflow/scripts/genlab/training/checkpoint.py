"""The state on disk from which a killed training resumes: tensors in safetensors, the state folder, when to save."""

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

FORMAT = 2  # of the saved state; raise it when a new version could misread an old state
METADATA = "genlab"  # a single key, because safetensors writes several in arbitrary order


def save_tensors(path, tensors, about):
    """Write tensors and a JSON-able `about` to a safetensors file, atomically and with reproducible bytes."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in sorted(tensors.items())}
    with files.atomic(path) as temporary:
        try:
            save_file(tensors, temporary, metadata={METADATA: json.dumps(about, sort_keys=True)})
        except SafetensorError as error:
            raise files.cannot_write(path, error) from None


def load_tensors(path, about=None):
    """(tensors, about) from a file of `save_tensors`. Raises `InputError` for any other file.

    With a default `about`, other safetensors files, which have none, are read too.
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
    except KeyError:
        reason = "it does not say what it is"
    except (SafetensorError, TypeError, ValueError, RecursionError) as error:  # the last two of JSON that never ends
        reason = str(error)[:200]
    raise InputError(f"{path}: not a sound safetensors file of this project ({reason}); make it anew")


def check_model(path, tensors, about):
    """Raise `InputError` unless a model's numbers are finite, and its file says which model it is, and of what data."""
    files.check_fields(path, about, {"model": str, "seed": int, "data/title": str})
    if wrong := next((name for name, tensor in tensors.items() if not tensor.isfinite().all()), None):
        raise InputError(f"{path}: {wrong} holds numbers that are not finite; train the model anew")


def check_shapes(tensors, network, prefix=""):
    """Raise `RuntimeError` if tensors {name: tensor} differ in shape from those of `network`, named after `prefix`.

    A network on the meta device takes no memory, so what a file claims is checked before any is taken.
    """
    for name, wanted in network.state_dict(prefix=prefix).items():
        if name in tensors and tensors[name].shape != wanted.shape:
            raise RuntimeError(f"{name} is {tuple(tensors[name].shape)}, by its description {tuple(wanted.shape)}")


def _sum(tensors, about):
    """CRC-32 of the whole content of a checkpoint, to detect damage."""
    import torch

    result = zlib.crc32(json.dumps(about, sort_keys=True).encode())
    for name, tensor in sorted(tensors.items()):
        data = tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy()
        result = zlib.crc32(data, zlib.crc32(name.encode(), result))
    return result


class StateFolder:
    """The folder of a training's checkpoint, outside the declared outputs, for one process at a time."""

    def __init__(self, folder, name="checkpoint"):
        self.folder = Path(folder)
        self.path = self.folder / f"{name}.safetensors"
        self.waited = False  # whether `lock` waited for another training

    @contextlib.contextmanager
    def lock(self, limit=0):
        """Lock the folder, waiting while another process holds it. A killed process frees the lock.

        limit: raise `Interrupted` this many seconds after the process started; 0 for never. Afterwards the
        folder is deleted if it is empty.
        """
        with self._acquire(limit) as file:
            for left in self.folder.glob(".*.safetensors.*.part*"):  # left by a killed process, on any machine
                left.unlink(missing_ok=True)
            try:
                yield
            finally:
                if not any(self.folder.glob("*.safetensors")):
                    Path(file.name).unlink()
                    with contextlib.suppress(OSError):  # it may hold other files
                        self.folder.rmdir()

    def _acquire(self, limit):
        """The locked file."""
        while True:
            self.folder.mkdir(parents=True, exist_ok=True)
            with contextlib.suppress(FileNotFoundError):  # its holder may delete it and the folder
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
        """Whether the checkpoint is newer than the start of the workflow run that this process belongs to."""
        return self.path.stat().st_mtime > float(os.environ.get("GENLAB_RUN_STARTED", "inf"))

    def load(self, fingerprint):
        """The last checkpoint (tensors, about) with this fingerprint, or None."""
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
        """Replace the last checkpoint; `about` holds the `fingerprint`."""
        save_tensors(self.path, tensors, about | {"sum": _sum(tensors, about)})

    def finish(self):
        """Note that the outputs are published: more epochs resume from here, the same number trains anew."""
        tensors, about = load_tensors(self.path)
        about.pop("sum")
        self.save(tensors, about | {"finished": True})

    def clear(self):
        """Delete the checkpoint, and nothing else in the folder."""
        self.path.unlink(missing_ok=True)


@contextlib.contextmanager
def stop_signals():
    """Yield a list that receives the name of each signal that asks to stop; inside, the signal does nothing else."""
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
    fingerprint  JSON-able: everything that the state depends on except the number of epochs
    seconds      time between two checkpoints
    limit        stop this many seconds after the process started; 0 for never
    stop         the list of `stop_signals`
    """

    def __init__(self, state, fingerprint, seconds=60.0, limit=0, stop=()):
        self.state, self.fingerprint = state, fingerprint
        self.seconds, self.limit, self.stop = seconds, limit, stop
        self.last = time.perf_counter()

    def load(self):
        """(tensors, about) of the last checkpoint of this experiment, or None."""
        return self.state.load(self.fingerprint)

    def why_stop(self):
        """The reason to stop, in words; empty if there is none."""
        if self.stop:
            return f"by {self.stop[0]}"
        return f"by the limit of {self.limit} s" if self.limit and cli.seconds_since_start() > self.limit else ""

    def due(self):
        """Whether to save now."""
        return time.perf_counter() - self.last > self.seconds or bool(self.why_stop())

    def save(self, tensors, about):
        """Save tensors and their description `about`."""
        self.state.save(tensors, about | {"fingerprint": self.fingerprint})
        self.last = time.perf_counter()

    def heed(self):
        """Raise `Interrupted` if there is a reason to stop. Call it after saving."""
        if why := self.why_stop():
            raise Interrupted(f"{why}; the state is saved in {self.state.folder}; run again to resume")
