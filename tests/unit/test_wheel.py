"""`pip install .`: the wheel holds the package genlab alone, and it can be used without a clone of the project."""

import importlib.util
import os
import shutil
import subprocess
import sys
import zipfile

import pytest
from genlab import __version__
from stage import SCRIPTS

ROOT = SCRIPTS.parents[1]

pytestmark = pytest.mark.slow

USE = """
import sys
import numpy as np
import genlab
from genlab.measures import calculate_fid_score

assert genlab.__file__.startswith(sys.argv[1]), genlab.__file__
features = np.random.default_rng(0).standard_normal((50, 3))
print(round(calculate_fid_score(iter(features), iter(features + 2)), 6), "torch" in sys.modules)

from genlab import InputError, configuration
try:
    configuration.load_schema()
except InputError as error:
    print(error)
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel, built without network from a copy of the files that it is made of."""
    for name in ("pip", "setuptools"):
        if importlib.util.find_spec(name) is None:
            pytest.skip(f"{name} is not installed")
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    shutil.copytree(SCRIPTS, source / "workflow" / "scripts", ignore=shutil.ignore_patterns("__pycache__"))
    command = [sys.executable, "-m", "pip", "wheel", source, "--wheel-dir", out, "--no-deps", "--no-build-isolation"]
    process = subprocess.run([*command, "--no-index", "--no-cache-dir"], capture_output=True, text=True)
    assert process.returncode == 0, process.stdout + process.stderr
    (file,) = out.iterdir()
    return file


def test_the_wheel_holds_genlab_alone_and_whole(wheel):
    assert wheel.name == f"genlab-{__version__}-py3-none-any.whl"
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert names == {str(file.relative_to(SCRIPTS)) for file in (SCRIPTS / "genlab").rglob("*.py")}


def test_it_is_imported_far_from_the_project(wheel, tmp_path):
    zipfile.ZipFile(wheel).extractall(tmp_path / "site")
    process = subprocess.run(
        [sys.executable, "-P", "-c", USE, tmp_path / "site"], cwd=tmp_path, capture_output=True, text=True,
        env=os.environ | {"PYTHONPATH": str(tmp_path / "site")},
    )  # fmt: skip
    assert process.returncode == 0, process.stderr
    distance, missing = process.stdout.splitlines()
    assert distance == "12.0 False"  # means 2 apart in each of 3 dimensions, and equal covariances
    assert missing.endswith("config.schema.yaml: no such file; the configuration is read from a clone of the project")
