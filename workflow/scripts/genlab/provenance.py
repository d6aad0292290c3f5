"""What a result carries so that it can be traced: settings, versions, the machine."""

import contextlib
import os
import platform
import re
from importlib import metadata
from pathlib import Path


def record(options, **more):
    """What a result must carry to be traced: options as given, versions, and what `more` says."""
    settings = {key: str(value) if isinstance(value, Path) else value for key, value in vars(options).items()}
    return {"settings": settings, "versions": versions(), **more}


def versions():
    """Versions of Python and of the packages of requirements that compute numbers."""
    names = ("torch", "torchvision", "numpy", "scipy", "safetensors")
    return {"python": platform.python_version()} | {name: metadata.version(name) for name in names}


def machine():
    """One line that names the class of this machine: system, processor, cores."""
    model = platform.processor() or platform.machine()
    with contextlib.suppress(OSError):
        if match := re.search(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text()):
            model = match[1]
    return f"{platform.system()} {platform.machine()}, {model}, {os.cpu_count()} cores"
