"""What a result carries so that it can be traced."""

import argparse
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from genlab import cli, provenance
from stage import SCRIPTS


def test_provenance_is_json_and_names_versions(tmp_path):
    options = cli.parser("A stage.", seed=True).parse_args(["--seed", "4"])
    content = json.loads(json.dumps(provenance.record(options, data="abc")))
    assert content["settings"] == {"seed": 4} and content["data"] == "abc"
    assert content["versions"]["numpy"].startswith("2.")


def test_provenance_writes_paths_as_text_alone_and_in_lists():
    options = argparse.Namespace(one=Path("a"), many=[Path("b"), Path("c")], count=3)
    settings = provenance.record(options)["settings"]
    assert settings == {"one": "a", "many": ["b", "c"], "count": 3}


def names(script):
    return {str(file.relative_to(SCRIPTS)) for file in provenance.source_files(SCRIPTS / script)}


def test_numbers_depend_on_the_script_and_on_what_it_imports_at_any_depth():
    found = names("train_gan.py")
    training = {f"genlab/training/{name}.py" for name in ("loop", "graphs", "optimization")}
    assert {"train_gan.py", "genlab/models/wgan.py", "genlab/models/networks.py", "genlab/data/images.py"} <= found
    assert training <= found and "genlab/models/vae.py" not in found and "genlab/report/plotting.py" not in found


def test_what_people_see_is_no_part_of_it():
    for script in SCRIPTS.glob("*.py"):
        assert not set(provenance.source_files(script)) & provenance.NO_NUMBERS
    assert all(file.exists() for file in provenance.NO_NUMBERS)
    seen = {"cli.py", "files.py", "training/watch.py", "training/checkpoint.py", "training/experiment.py"}
    assert seen <= {str(file.relative_to(provenance.PACKAGE)) for file in provenance.NO_NUMBERS}


@pytest.mark.parametrize(
    ("file", "changes"), [("training/watch.py", False), ("cli.py", False), ("consistency.py", False),
                          ("training/loop.py", True), ("measures/frechet.py", True), ("models/vae.py", False)],
)  # fmt: skip
def test_only_a_change_of_what_numbers_depend_on_changes_the_checksum_of_a_training(tmp_path, file, changes):
    shutil.copytree(SCRIPTS, tmp_path / "scripts")
    ask = "import genlab.provenance as p, pathlib; print(p.code_checksum(pathlib.Path('train_gan.py').resolve()))"

    def checksum():
        command = [sys.executable, "-c", ask]
        return subprocess.run(command, cwd=tmp_path / "scripts", capture_output=True, text=True, check=True).stdout

    before = checksum()
    with (tmp_path / "scripts" / "genlab" / file).open("a") as source:
        source.write("\n# Reworded.\n")
    assert (checksum() != before) == changes
