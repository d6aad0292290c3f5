"""Run a stage the way a user does: through its command line."""

import os
import subprocess
import sys
from pathlib import Path

SCRIPTS = Path(__file__).parents[1] / "workflow" / "scripts"


def run_stage(name, *args, **keywords):
    """Run workflow/scripts/NAME.py with `args`; returns the CompletedProcess, its output as text."""
    return subprocess.run(
        [sys.executable, SCRIPTS / f"{name}.py", *map(str, args)],
        env=os.environ | {"CUDA_VISIBLE_DEVICES": ""},  # the same numbers on every machine
        text=True,
        capture_output=True,
        **keywords,
    )
