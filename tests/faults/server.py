"""Runs stages in forked children, for torch is loaded only once, and kills them at the moments that it is told.

Reads one JSON object a line: `words` (script and arguments), `log` (a file), and optionally `moment` and `signal` (kill
at that event), `file_size` (no file may grow larger), `save_every` (a training saves after so many steps). Answers with
one line each: `code` (exit code, or minus the signal) and `events`, how many there were. An event is a step of a
progress bar, or a change to the file system below the current folder, just before it is made.
"""

import gc
import importlib
import json
import os
import resource
import runpy
import signal
import sys

import forks

CHANGES = ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.chmod")


class Fault:
    """Counts events and sends this process a signal at one of them."""

    def __init__(self, moment, name):
        self.events, self.moment, self.signal = 0, moment, name and getattr(signal, name)

    def event(self):
        self.events += 1
        if self.events == self.moment:
            os.kill(os.getpid(), self.signal)

    def audit(self, event, arguments):
        if event == "open":
            path, _, flags = arguments
            changes = isinstance(path, (str, bytes, os.PathLike)) and flags & (os.O_WRONLY | os.O_RDWR)
        else:
            changes, path = event in CHANGES, arguments[0] if arguments else ""
        if changes and os.path.abspath(os.fsdecode(path)).startswith(os.getcwd() + os.sep):
            self.event()


def child(request, answer):
    """Run a stage; never returns."""
    log = os.open(request["log"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(log, 1)
    os.dup2(log, 2)
    fault = Fault(request.get("moment"), request.get("signal"))
    from genlab import cli

    progress = cli.progress

    def counted(*words, **keywords):
        bar = progress(*words, **keywords)
        update = bar.update
        bar.update = lambda *n: (fault.event(), update(*n))
        return bar

    cli.progress = counted
    if every := request.get("save_every"):
        from genlab.training import checkpoint

        due, calls = checkpoint.CheckpointPolicy.due, iter(range(1, 1 << 30))
        checkpoint.CheckpointPolicy.due = lambda self: next(calls) % every == 0 or due(self)
    if size := request.get("file_size"):
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
    sys.addaudithook(fault.audit)
    sys.argv = request["words"]
    code = 0
    try:
        runpy.run_path(sys.argv[0], run_name="__main__")
    except SystemExit as stop:
        code = stop.code or 0
    except BaseException:
        import traceback

        traceback.print_exc()
        code = 99
    sys.stdout.flush()
    sys.stderr.flush()
    os.write(answer, str(fault.events).encode())
    os._exit(code)


def main():
    for name in forks.STAGES:
        importlib.import_module(name)
    gc.freeze()  # what is imported needs no collecting in the children
    for line in sys.stdin:
        request = json.loads(line)
        reading, writing = os.pipe()
        if not (number := os.fork()):
            child(request, writing)
        os.close(writing)
        with os.fdopen(reading) as pipe:
            events = pipe.read()
        _, status = os.waitpid(number, 0)
        print(json.dumps({"code": os.waitstatus_to_exitcode(status), "events": int(events or 0)}), flush=True)


if __name__ == "__main__":
    main()
