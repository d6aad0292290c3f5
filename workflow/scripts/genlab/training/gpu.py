"""Which GPU a process takes when several local processes share several GPUs."""

import contextlib
import functools
import os
import stat
import tempfile
from pathlib import Path

from .. import InputError, files

PROCESSES = 16  # of one user on one GPU that are counted


@functools.cache  # the process holds the lock until it ends
def choose():
    """(index, lock) of the visible GPU that the fewest other processes of this user have taken; a free one if any.

    On a cluster only the job's own GPUs are visible. Local jobs see each other by locked files in the temporary
    folder, one for each process on a GPU.
    """
    import torch

    folder = own_folder()
    with open(folder / "choosing", "w") as turn:
        files.lock(turn, wait=True)
        places = {}
        for index in range(torch.cuda.device_count()):
            name = torch.cuda.get_device_properties(index).uuid  # the same whichever GPUs are visible
            tried = [files.locked(folder / f"{name}.{place}") for place in range(PROCESSES)]
            places[index] = [file for file in tried if file]
        chosen = max(places, key=lambda index: len(places[index]))
        lock = places[chosen].pop() if places[chosen] else None
        for file in (file for free in places.values() for file in free):
            file.close()
    return chosen, lock


def own_folder():
    """This user's folder inside the temporary folder.

    Raises `InputError` if another user can have put something else there: a link could lead writes anywhere.
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
