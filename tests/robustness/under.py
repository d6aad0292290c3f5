"""Run a stage in surroundings that fail: under.py FAULT ... -- SCRIPT ARGUMENT ...

umask=077           new files are the owner's alone
file-size=N         no file may grow beyond N bytes: a full disk
memory=N            no more than N bytes besides what the process has
locks=ENOLCK        the file system has no locks, and says so by this error
modes               root, too, is bound by the modes of files and folders
stdout=/dev/full    where standard output goes
"""

import ctypes
import errno
import fcntl
import os
import resource
import runpy
import struct
import sys


def umask(text):
    os.umask(int(text, 8))


def file_size(text):
    sys.dont_write_bytecode = True  # Python would keep the first bytes of a module's
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(text), int(text)))


def memory(text):
    with open("/proc/self/statm") as file:
        limit = int(file.read().split()[0]) * resource.getpagesize() + int(text)
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def locks(name):
    def flock(file, operation):
        number = getattr(errno, name)
        raise OSError(number, os.strerror(number))

    fcntl.flock = flock


def modes(_):
    if os.getuid() == 0 and ctypes.CDLL(None).capset(struct.pack("Ii", 0x20080522, 0), bytes(24)):
        raise OSError("cannot give up root's rights")


def stdout(device):
    os.dup2(os.open(device, os.O_WRONLY), 1)


def main():
    mark = sys.argv.index("--")
    faults, sys.argv = sys.argv[1:mark], sys.argv[mark + 1 :]
    sys.path[0] = os.path.dirname(sys.argv[0])
    for fault in faults:
        name, _, value = fault.partition("=")
        {"umask": umask, "file-size": file_size, "memory": memory, "locks": locks, "modes": modes, "stdout": stdout}[
            name
        ](value)
    runpy.run_path(sys.argv[0], run_name="__main__")


if __name__ == "__main__":
    main()
