"""Code style, the linter's verdict on the workflow, and files that must agree with each other."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent


@pytest.mark.parametrize(
    "command",
    [
        ["ruff", "check", "."],
        ["ruff", "format", "--check", "."],
        ["snakefmt", "--check", "Snakefile", "workflow"],
        ["snakemake", "--lint"],
    ],
    ids=" ".join,
)
def test_style(command):
    process = subprocess.run([BIN / command[0], *command[1:]], cwd=ROOT, capture_output=True, text=True)
    assert process.returncode == 0, process.stdout + process.stderr


def test_every_rule_that_runs_something_has_its_parts():
    for file in (ROOT / "workflow" / "rules").glob("*.smk"):
        for rule in re.split(r"^rule ", file.read_text(), flags=re.MULTILINE)[1:]:
            name = rule.split(":", 1)[0]
            if "shell:" not in rule:
                continue
            parts = ["log:", "conda:", "resources:", *(["benchmark:"] if "output:" in rule else [])]
            if "python " in rule:
                parts.append(f'**stage("{name}")')
                assert (ROOT / "workflow" / "scripts" / f"{name}.py").exists()
            for part in parts:
                assert part in rule, f"{file.name}: rule {name} lacks {part}"


def test_every_stage_has_its_rule():
    rules = "".join(file.read_text() for file in (ROOT / "workflow" / "rules").glob("*.smk"))
    for script in (ROOT / "workflow" / "scripts").glob("*.py"):
        assert f"rule {script.stem}:" in rules


def test_conda_environments_have_the_versions_of_the_lock():
    locked = dict(re.findall(r"^([a-z0-9-]+)==([^ ;\\]+)", (ROOT / "requirements.txt").read_text(), re.MULTILINE)[::-1])
    for file in (ROOT / "workflow" / "envs").glob("*.yaml"):
        for requirement in yaml.safe_load(file.read_text())["dependencies"][-1]["pip"]:
            name, version = requirement.split("==")
            assert locked[name] == version, f"{file.name}: {requirement}, but the lock has {locked[name]}"


def test_the_lock_has_hashes_and_names_no_index():
    text = (ROOT / "requirements.txt").read_text()
    assert not re.search(r"index-url|find-links|https?://", text)
    for block in re.split(r"\n(?=[a-z])", text.strip()):
        if not block.startswith("#"):
            assert "--hash=sha256:" in block, block.splitlines()[0]


def test_profiles_name_options_that_exist_and_explain_each():
    words = subprocess.run([BIN / "snakemake", "--help"], capture_output=True, text=True, check=True).stdout
    options = set(re.findall(r"^  --([a-z-]+)", words, re.MULTILINE))
    for file in (ROOT / "profiles").glob("*/config.yaml"):
        lines = file.read_text().splitlines()
        for key, value in yaml.safe_load("\n".join(lines)).items():
            foreign = key.startswith(("kubernetes", "googlebatch", "storage")) or value in ("kubernetes", "googlebatch")
            assert key in options or (foreign and "UNTESTED" in lines[1]), f"{file}: {key}: no option of Snakemake"
            number = next(number for number, line in enumerate(lines) if line.startswith(f"{key}:"))
            explained = "#" in lines[number] or lines[number - 1].startswith("#")
            assert explained, f"{file}: {key}: not explained"


@pytest.mark.skipif(not shutil.which("make"), reason="make is not installed")
def test_make_shows_the_numbers_of_the_results_folder_that_it_is_given():
    words = ["make", "--dry-run", "--assume-old=.venv/.installed", "all", "ARGS=--config results=elsewhere"]
    text = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert re.search(r"snakemake --cores \d+ all numbers --config results=elsewhere$", text, re.MULTILINE)
    assert "results/" not in text  # no folder but that one is looked into


@pytest.mark.skipif(not shutil.which("make"), reason="make is not installed")
def test_make_help_lists_the_commands():
    text = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for command in ("all", "full", "report", "test", "lint", "format", "clean"):
        assert re.search(rf"^make {command} +\w", text, re.MULTILINE)
