"""Run Python programs in forked children of a process that has already imported what takes them long to import.

`run` is what `subprocess.run` is to programs of seconds: each is a process of its own, with its own arguments, folder,
environment, output and exit code. Only its imports cost nothing. A test that is about imports, or about what other
interpreters have in common, must start a new one.

As a program: reads one JSON request a line, answers each with its exit code, or minus the signal that ended it.
"""

import atexit
import functools
import gc
import importlib
import json
import os
import runpy
import subprocess
import sys
import tempfile
import threading
import traceback
import weakref
from pathlib import Path

# torch._dynamo is imported by every optimizer.
STAGES = (
    "jsonschema", "matplotlib.backends.backend_pdf", "matplotlib.figure", "pandas", "safetensors.torch", "scipy.io",
    "scipy.stats", "torch._dynamo", "torch.utils._device", "torch.utils.tensorboard", "yaml",
)  # fmt: skip
SNAKEMAKE = ("snakemake.cli", "snakemake.workflow", "snakemake.report.html_reporter", "jsonschema", "requests", "yaml")


@functools.cache
def server(modules):
    """The process that has imported these modules and forks; it ends with this one."""
    process = subprocess.Popen(
        [sys.executable, __file__, *modules], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    atexit.register(process.communicate)  # ends its input, and waits
    return process


def run(words, modules, cwd=None, env=None, input="", together=False):
    """Run a program: a script, or "-m" and a module, with its arguments.

    Returns the `CompletedProcess`, its output as text; with `together`, what it says on stderr is in stdout.
    """
    words = [os.fspath(word) if isinstance(word, Path) else str(word) for word in words]
    with tempfile.TemporaryDirectory() as folder:
        names = ["stdin", "stdout", "stdout" if together else "stderr"]
        files = [Path(folder, name) for name in names]
        files[0].write_text(input)
        request = {"words": words, "cwd": str(cwd or os.getcwd()), "env": dict(env or os.environ)}
        process = server(modules)
        print(json.dumps(request | {"files": [str(file) for file in files]}), file=process.stdin, flush=True)
        answer = json.loads(process.stdout.readline())
        stdout, stderr = (file.read_text() for file in files[1:])
    return subprocess.CompletedProcess(words, answer["code"], stdout, None if together else stderr)


def become(request):
    """Make this forked process the program of a request, and run it."""
    for number, file in enumerate(request["files"]):
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND if number else os.O_RDONLY
        os.dup2(os.open(file, flags), number)
    sys.stdin = open(0, closefd=False)  # noqa: SIM115
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["env"])
    program, *arguments = request["words"]
    if program == "-m":
        sys.argv, sys.path[0] = arguments, request["cwd"]
        runpy.run_module(arguments[0], run_name="__main__", alter_sys=True)
    else:
        sys.argv, sys.path[0] = request["words"], os.path.dirname(os.path.abspath(program))
        runpy.run_path(program, run_name="__main__")


def child(request):
    """Be the program of a request to its end, but for the slow taking down of all modules; returns its exit code."""
    try:
        become(request)
        code = 0
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
        if code and not isinstance(stop.code, int):
            print(stop.code, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
        code = 1
    threading._shutdown()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    return code


def forget_ends():
    """Drop what torch wants done when a process ends, a tenth of a second and more in each child: it is of no use."""
    for each in list(weakref.finalize._registry):
        each.atexit = False
    if dynamo := sys.modules.get("torch._dynamo.utils"):
        atexit.unregister(dynamo.dump_compile_times)


def main():
    for name in sys.argv[1:]:
        importlib.import_module(name)
    forget_ends()
    gc.freeze()  # what is imported needs no collecting in the children
    for line in sys.stdin:
        request = json.loads(line)
        if not (number := os.fork()):
            os._exit(child(request))
        _, status = os.waitpid(number, 0)
        print(json.dumps({"code": os.waitstatus_to_exitcode(status)}), flush=True)


if __name__ == "__main__":
    main()
