"""Which GPU a process takes, when several local ones share several GPUs."""

import contextlib
import fcntl
import functools
import os
import stat
import tempfile
from pathlib import Path

from .. import InputError
from ..files import locked

PROCESSES = 16  # of one user on one GPU that are told apart


@functools.cache  # the lock is held as long as the process lives
def choose():
    """(index, lock) of the visible GPU that the fewest other processes of this user have chosen, a free one if any.

    What a cluster gives a job is all that is visible to it. Local jobs know of each other by locked files in the
    temporary folder, one for each process on a GPU.
    """
    import torch

    folder = own_folder()
    with open(folder / "choosing", "w") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)
        places = {}
        for index in range(torch.cuda.device_count()):
            name = torch.cuda.get_device_properties(index).uuid  # the same, whatever else is visible
            files = [locked(folder / f"{name}.{place}") for place in range(PROCESSES)]
            places[index] = [file for file in files if file]
        chosen = max(places, key=lambda index: len(places[index]))
        lock = places[chosen].pop() if places[chosen] else None
        for file in (file for files in places.values() for file in files):
            file.close()
    return chosen, lock


def own_folder():
    """This user's folder in the temporary folder, where any user may have put something else under its name.

    Raises `InputError` if so: what is written there could be led anywhere by a link.
    """
    folder = Path(tempfile.gettempdir()) / f"genlab-{os.getuid()}"
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o022:
        raise InputError(
            f"{folder}: not a folder that you alone can write to; remove it, or set TMPDIR to a folder of your own"
        )
    return folder
