"""Run a stage the way a user does, through its command line; or in other ways that tests need."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import forks

SCRIPTS = Path(__file__).parents[1] / "workflow" / "scripts"


def command(name, *args):
    """The command line that runs workflow/scripts/NAME.py with `args`."""
    return [sys.executable, SCRIPTS / f"{name}.py", *map(str, args)]


def run_stage(name, *args, fresh=False, cwd=None, input=""):
    """Run workflow/scripts/NAME.py with `args`; returns the CompletedProcess, its output as text.

    With `fresh` in a new interpreter, which imports everything anew and hashes in another order.
    """
    words, env = command(name, *args), os.environ | {"CUDA_VISIBLE_DEVICES": ""}  # the same numbers on every machine
    if fresh:
        return subprocess.run(words, env=env, cwd=cwd, input=input, text=True, capture_output=True)
    return forks.run(words[1:], forks.STAGES, env=env, cwd=cwd, input=input)


def run_here(module, *args):
    """Run a stage's main in this process: many runs in little time, and errors as exceptions."""
    module.main(module.parser().parse_args([*map(str, args)]))


def run_without_torch(stages):
    """Run stages, {name: arguments}, in one process; they must succeed, draw, and never import torch."""
    code = (
        "import json, runpy, sys\n"
        "for script, *arguments in json.loads(sys.argv[1]):\n"
        "    sys.argv, sys.path[0] = [script, *arguments], script.rpartition('/')[0]\n"
        "    runpy.run_path(script, run_name='__main__')\n"
        "    assert 'genlab.report.plotting' in sys.modules and 'torch' not in sys.modules, script\n"
    )
    calls = [[str(word) for word in (SCRIPTS / f"{name}.py", *args)] for name, args in stages.items()]
    process = subprocess.run([sys.executable, "-c", code, json.dumps(calls)], capture_output=True, text=True)
    assert (process.returncode, process.stderr) == (0, ""), process.stderr


def kill_and_resume(name, *args):
    """Run a training, kill it outright at its first checkpoint, and run it again: it must go on from there."""
    model = Path(args[args.index("--output") + 1]) / "model.safetensors"
    checkpoint = Path(f"{model}.state") / "checkpoint.safetensors"
    process = subprocess.Popen(command(name, *args), stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while not checkpoint.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    _, error = process.communicate()
    assert process.returncode == -signal.SIGKILL and checkpoint.exists() and not model.exists(), error
    again = run_stage(name, *args)
    assert again.returncode == 0 and "resuming at epoch" in again.stderr, again.stderr
    epoch = int(re.search(r"resuming at epoch (\d+)", again.stderr)[1])
    assert epoch <= args[args.index("--epochs") + 1], "killed after its last epoch"
