"""Which GPU a process takes, when several local ones share several GPUs."""

import fcntl
import functools
import os
import tempfile
from pathlib import Path

from ..files import locked

PROCESSES = 16  # of one user on one GPU that are told apart


@functools.cache  # the lock is held as long as the process lives
def choose():
    """(index, lock) of the visible GPU that the fewest other processes of this user have chosen, a free one if any.

    What a cluster gives a job is all that is visible to it. Local jobs know of each other by locked files in the
    temporary folder, one for each process on a GPU.
    """
    import torch

    folder = Path(tempfile.gettempdir()) / f"genlab-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
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
