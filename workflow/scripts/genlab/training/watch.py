"""What people see of a training: progress, log lines, TensorBoard events, why it stopped. It changes no number."""

import contextlib
import os
import threading
from pathlib import Path

from .. import ComputationError, cli, log


def resuming(epoch, step, steps):
    """Log where a training resumes: epochs done, and steps done of the next one."""
    log.info("resuming at epoch %d, step %d of %d", epoch + 1, step, steps)


def trains_anew(finished, reached, epochs):
    """Warn that a training starts anew because it asks for no more epochs than the saved one."""
    what = "finished training" if finished else "saved state"
    log.warning("a %s of %d epochs is there, and %d are asked for; training anew", what, reached, epochs)


def goes_further(planned, epochs, schedule):
    """Log that the number of epochs has changed, and warn if the learning rate was scheduled for the old number."""
    log.info("the training was planned for %d epochs and is now for %d", planned, epochs)
    if schedule != "constant":
        log.warning(
            "its learning rate has followed a schedule of %d epochs: the result differs from %d undisturbed epochs",
            planned, epochs,
        )  # fmt: skip


def not_finite(epoch, step, state):
    """The error for weights or sums that are no longer finite."""
    return ComputationError(
        f"numbers stopped being finite by epoch {epoch + 1}, step {step}; {_kept(state)}"
        "lower learning_rate or lengthen warmup_steps and run again"
    )


def not_finite_on_validation(row):
    """The error for a validation number that is not finite. row: that of the history."""
    return ComputationError(f"a validation number is not finite after epoch {row['epoch']}: {row}")


def out_of_memory(error, state):
    """The error for a GPU whose memory is full."""
    reason = str(error).split(". ")[0]
    return ComputationError(
        f"the GPU's memory is full ({reason}); {_kept(state)}free the GPU, lower batch_size, or give --device cpu, "
        "and run again"
    )


def _kept(state):
    return f"the last good state is kept in {state.folder}; " if state.path.exists() else ""


@contextlib.contextmanager
def watched(steps, done, epochs, events, afresh):
    """Yield two functions: step, to call after each step, and epoch, to call with the history's row after each epoch.

    steps: of an epoch; done: steps made before; events: folder for TensorBoard events, or None. Its earlier events are
    deleted if the training begins `afresh`.
    """
    if events and afresh:
        for file in Path(events).glob("events.out.tfevents.*"):
            file.unlink()
    progress = {"total": epochs * steps, "initial": done, "label": "training", "unit": "step"}
    with EventWriter(events, purge=done // steps + 1) as writer, cli.progress(**progress) as bar:

        def epoch(row):
            writer.add(row)
            log.info(", ".join(f"{name} {value:.6g}" for name, value in row.items()))

        yield bar.update, epoch


class EventWriter(contextlib.AbstractContextManager):
    """TensorBoard events, one scalar per column. Without a folder it writes none; after a disk error, no more."""

    def __init__(self, folder, purge):
        self.folder, self.purge, self.writer = folder, purge, None

    def __enter__(self):
        self.hook = threading.excepthook
        if self.folder:
            from torch.utils.tensorboard import SummaryWriter

            threading.excepthook = lambda error: None  # for the thread that writes; `add` gets its error, too
            with self.tolerant():
                self.writer = SummaryWriter(os.fspath(self.folder), purge_step=self.purge)
        return self

    @contextlib.contextmanager
    def tolerant(self):
        """An error ends the events, not the training."""
        try:
            yield
        except OSError as error:
            log.warning("%s: no more TensorBoard events (%s)", self.folder, error.strerror)
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
