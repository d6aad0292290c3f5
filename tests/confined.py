"""Call a function in a forked child that may take only so much more memory and time: what it cannot do, it must not."""

import contextlib
import os
import pickle
import resource
import signal
import traceback
from pathlib import Path

import pytest


def call(function, *arguments, megabytes=300, seconds=10):
    """What function(*arguments) returns, or the exception that it raises, from a child that may take so much more.

    A child that takes more memory raises a MemoryError; one that takes more time, or dies, is an AssertionError here.
    """
    status = Path("/proc/self/statm")
    if not status.exists():
        pytest.skip("this system does not say how much memory a process takes")
    size = int(status.read_text().split()[0]) * resource.getpagesize()
    reading, writing = os.pipe()
    if not (number := os.fork()):
        resource.setrlimit(resource.RLIMIT_AS, (size + megabytes * 2**20,) * 2)
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(5 * seconds)  # if it waits
        try:
            answer = function(*arguments)
        except BaseException as error:
            answer = error
        try:
            data = pickle.dumps(answer)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        with os.fdopen(writing, "wb") as pipe:
            pipe.write(data)
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        data = pipe.read()
    code = os.waitstatus_to_exitcode(os.waitpid(number, 0)[1])
    assert code == 0, f"the child ended with {code} of {function}; {seconds} s and {megabytes} MB were allowed"
    return pickle.loads(data)


@contextlib.contextmanager
def little_memory(megabytes=800):
    """Limit this process, on Linux, to so much memory besides what it has: a reader that takes more is at fault."""
    status, limits = Path("/proc/self/statm"), resource.getrlimit(resource.RLIMIT_AS)
    if status.exists():
        size = int(status.read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (size + megabytes * 2**20, limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, limits)
