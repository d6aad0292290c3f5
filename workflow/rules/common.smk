# Configuration and the helpers that the rules share. Rules themselves hold no logic.
import ast
import os
import shlex
import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError

SCRIPTS = Path(str(workflow.current_basedir)).parent / "scripts"
sys.path.insert(0, str(SCRIPTS))

from genlab import InputError, configuration

try:
    config.update(configuration.complete(config))
except InputError as error:
    raise WorkflowError(str(error)) from None


pathvars:
    results=config["results"],
    resources=config["resources"],


wildcard_constraints:
    model="[A-Za-z0-9-]+",
    seed="[0-9]+",


def stage(name):
    """Inputs of a stage's rule: its `script`, and as `code` the genlab modules that it imports.

    A result depends on their contents: a change reruns, a mere touch does not. Left out are
    modules that hold habits and no mathematics, so that a reworded message retrains nothing.
    """
    files, queue = [], [SCRIPTS / f"{name}.py"]
    while queue:
        file = queue.pop()
        if file in files or not file.exists() or file.stem in ("cli", "configuration"):
            continue
        files.append(file)
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.level == 1 or node.module.split(".")[0] == "genlab"):
                parent = (node.module or "").removeprefix("genlab").strip(".")
                names = [parent] if parent else [alias.name for alias in node.names]
                queue += [SCRIPTS / "genlab" / f"{name}.py" for name in names]
    here = Path.cwd()
    files = [str(file.relative_to(here) if file.is_relative_to(here) else file) for file in files]
    return {"script": files[0], "code": files[1:]}


def options(settings):
    """A dict of settings as command-line options: {"batch_size": 32} gives --batch-size 32."""
    return " ".join(f"--{key.replace('_', '-')} {shlex.quote(str(value))}" for key, value in settings.items())


# The files of both data sets by their official names: (data set, split).
DATA_FILES = {
    url.rsplit("/", 1)[-1]: (name, split)
    for name in ("binarized_mnist", "svhn")
    for split, file in config["data"][name]["files"].items()
    for url in file["urls"][:1]
}


def data_file(name, split):
    """Where the file of a split of a data set lies: rendered or downloaded, as the configuration says."""
    file = next(file for file, owner in DATA_FILES.items() if owner == (name, split))
    return f"<resources>/{config['data'][name]['source']}/{file}"


def prepared(name):
    """Where the prepared data set lies."""
    return f"<resources>/prepared/{config['data'][name]['source']}/{name}.npz"


def runs(pattern, models):
    """`pattern` for every seed of every model of a table."""
    return expand(pattern, model=models, seed=config["seeds"])


def fetch_options(file):
    """Addresses, checksums and mirrors of an official file."""
    name, split = DATA_FILES[file]
    known = config["data"][name]["files"][split]
    lists = {"--url": known["urls"], "--mirror": config["data"]["mirrors"]}
    words = [word for option, values in lists.items() if values for word in (option, *values)]
    checks = options({key: known[key] for key in ("sha256", "md5", "bytes") if known[key]})
    return f"{shlex.join(words)} {checks}"


def render_options(file):
    """Number and seed of the digits in an embedded file."""
    name, split = DATA_FILES[file]
    embedded = config["data"][name]["embedded"]
    return options({"count": embedded[split], "seed": embedded["seed"]})
