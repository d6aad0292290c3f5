"""The memory that the tests of this folder may take."""

import resource
from pathlib import Path

import pytest

MEMORY = 800 * 2**20  # bytes; a reader of small files that takes more is at fault


@pytest.fixture(autouse=True)
def little_memory():
    """The most memory that a test may take besides what the process has; on Linux."""
    status = Path("/proc/self/statm")
    limits = resource.getrlimit(resource.RLIMIT_AS)
    if status.exists():
        size = int(status.read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (size + MEMORY, limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, limits)
