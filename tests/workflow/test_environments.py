"""Every stage runs in the conda environment that its rule names, with nothing but the packages listed there.

Always: in the tests' own environment, with everything hidden that the listed packages do not need. With
GENLAB_TEST_ENVIRONMENTS set: in a new environment made from the list, which takes a package registry and gigabytes.
"""

import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from file_server import serving
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from smoke import ROOT, snakemake
from stage import SCRIPTS

RUNNER = Path(__file__).parents[1] / "environment.py"
GRAPH = 'digraph {\n 0[label = "sample"];\n 1[label = "train_gan"];\n 1 -> 0\n}\n'


def listed(environment):
    """The packages that an environment's file names, as requirements."""
    content = yaml.safe_load((ROOT / "workflow" / "envs" / environment).read_text())
    return next(entry["pip"] for entry in content["dependencies"] if isinstance(entry, dict))


def stages_of(environment):
    """The stages whose rules name an environment's file."""
    rules = "".join(file.read_text() for file in (ROOT / "workflow" / "rules").glob("*.smk"))
    rules = re.split(r"^rule ", rules, flags=re.MULTILINE)[1:]
    return {rule.split(":")[0] for rule in rules if f"envs/{environment}" in rule and "python {input" in rule}


def needed(requirements):
    """The names of the installed distributions that requirements need, themselves and all that they require."""
    found, queue = set(), [Requirement(text) for text in requirements]
    while queue:
        wanted = queue.pop()
        extras = {"", *wanted.extras}
        if (name := canonicalize_name(wanted.name), *sorted(extras)) in found:
            continue
        found.add((name, *sorted(extras)))
        for each in map(Requirement, importlib.metadata.requires(wanted.name) or []):
            if not each.marker or any(each.marker.evaluate({"extra": extra}) for extra in extras):
                queue.append(each)
    return {name for name, *_ in found}


def hidden(requirements):
    """(modules, distributions) that are installed here and that requirements do not need."""
    kept = needed(requirements)
    installed = {canonicalize_name(each.metadata["Name"]) for each in importlib.metadata.distributions()}
    owners = importlib.metadata.packages_distributions().items()
    modules = {module for module, names in owners if not kept & set(map(canonicalize_name, names))}
    return sorted(modules), sorted(installed - kept)


@pytest.fixture(scope="module")
def project(run, tmp_path_factory):
    """A copy of a finished run, to write into."""
    folder = tmp_path_factory.mktemp("environments") / "run"
    return shutil.copytree(run, folder, ignore=shutil.ignore_patterns(".snakemake"))


@pytest.fixture(scope="module")
def calls(project):
    """{stage: [command line, standard input]}: of each rule one job, as Snakemake would run it by bash."""
    on_demand = "results/smoke/runs/binary_vae/seed1/bracket.json", "results/smoke/leaderboard/leaderboard.html"
    plan = snakemake("all", *on_demand, "--forceall", "--dry-run", "--printshellcmds", directory=project).stdout
    found = {}
    for block in re.split(r"^rule ", plan, flags=re.MULTILINE)[1:]:
        command = re.search(r"^Shell command: (?:.* \| )?python (.*?) 2?>>? ", block, re.MULTILINE)
        if command and (name := block.split(":")[0]) not in found:
            words = subprocess.run(["bash", "-c", rf"printf '%s\n' {command[1]}"], capture_output=True, text=True)
            found[name] = [words.stdout.splitlines(), GRAPH]
    weights = project / "results" / "smoke" / "classifier" / "trained.safetensors"
    script, output = str(SCRIPTS / "import_classifier.py"), str(project / "imported.safetensors")
    found["import_classifier"] = [[script, "--weights", str(weights), "--output", output], ""]
    samples = project / "results" / "smoke" / "runs" / "gan" / "seed1" / "samples"
    script, output = str(SCRIPTS / "import_samples.py"), str(project / "imported")
    found["import_samples"] = [[script, "--samples", str(samples), "--count", "60", "--output", output], ""]
    summary = str(project / "results" / "smoke" / "log_likelihood_vae.json")  # one model has no ladder, so it is two
    script, output = str(SCRIPTS / "plot_ladder.py"), str(project / "ladder.png")
    found["plot_ladder"] = [[script, "--summaries", summary, summary, "--output", output], ""]
    own = project / "own.npz"
    pictures = np.random.default_rng(1).integers(0, 256, (40, 32, 32, 3), dtype=np.uint8)
    np.savez(own, images=pictures, labels=np.arange(40) % 2)
    np.savez(project / "other.npz", images=255 - pictures, labels=np.arange(40) % 2)
    words = ["--train", str(own), "--test", str(project / "other.npz"), "--output", str(project / "prepared.npz")]
    found["prepare_images"] = [[str(SCRIPTS / "prepare_images.py"), *words], ""]
    return found


@pytest.fixture
def server(monkeypatch):
    """A server of a file, and the call that fetches it."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with serving() as server:
        server.files["/x.bin"] = b"content"
        yield server


@pytest.fixture(params=["data.yaml", "torch.yaml"])
def environment(request, calls, server, tmp_path):
    """The name of an environment's file, and the calls of its stages."""
    url = f"{server.url}/x.bin"
    fetch = [[str(SCRIPTS / "fetch.py"), "--url", url, "--output", str(tmp_path / "x.bin"), "--bytes", "7"], ""]
    of_all = calls | {"fetch": fetch}
    names = stages_of(request.param)
    assert names and names <= set(of_all), names - set(of_all)
    return request.param, [of_all[name] for name in sorted(names)]


def succeed(python, project, calls, modules=(), distributions=()):
    """Run calls by an interpreter in the folder of a run; all must succeed."""
    job = json.dumps({"calls": calls, "modules": modules, "distributions": distributions})
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    process = subprocess.run([python, RUNNER], input=job, cwd=project, env=environment, text=True, capture_output=True)
    assert process.returncode == 0, process.stderr[process.stderr.find("FAILED") :]


def test_every_stage_has_one_of_the_environments():
    stages = {script.stem for script in SCRIPTS.glob("*.py")}
    assert stages_of("data.yaml") | stages_of("torch.yaml") == stages
    assert not stages_of("data.yaml") & stages_of("torch.yaml")


def test_stages_need_no_more_than_the_packages_listed(environment, project):
    name, calls = environment
    modules, distributions = hidden(listed(name))
    assert "snakemake" in modules and ("torch" in distributions) == (name == "data.yaml")
    succeed(sys.executable, project, calls, modules, distributions)


@pytest.mark.skipif("GENLAB_TEST_ENVIRONMENTS" not in os.environ, reason="set GENLAB_TEST_ENVIRONMENTS to install them")
def test_stages_run_in_an_environment_made_from_the_list(environment, project, tmp_path):
    name, calls = environment
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "environment"], check=True)
    python = tmp_path / "environment" / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "--quiet", *listed(name)], check=True)
    succeed(python, project, calls)
