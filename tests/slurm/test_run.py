"""What run.sh refuses, before it installs or starts anything."""

import os
import subprocess
from pathlib import Path

import pytest

RUN = Path(__file__).with_name("run.sh")


@pytest.mark.parametrize("change", [{"PATH": ""}, {"SLURM_CONF": str(RUN)}], ids=["no Debian", "a Slurm already"])
def test_a_machine_that_is_not_fit_is_refused_in_one_line(change):
    process = subprocess.run(
        ["/bin/bash", RUN, "no-such-python"], env=os.environ | change, text=True, capture_output=True
    )
    assert process.returncode == 2 and process.stdout == ""
    assert process.stderr.startswith("tests/slurm/run.sh: error: ") and process.stderr.count("\n") == 1
