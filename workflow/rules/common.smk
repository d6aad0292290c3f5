# Configuration and the helpers that the rules share. Rules themselves hold no logic.
import os
import re
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
    """The script of a stage and the genlab modules that it imports: contents that a result depends on.

    Left out are modules that hold habits and no mathematics, so that a reworded message
    retrains nothing.
    """
    files, queue = [], [SCRIPTS / f"{name}.py"]
    while queue:
        file = queue.pop()
        if file not in files:
            files.append(file)
            for names in re.findall(r"^ *from (?:genlab|\.) import (.+)$", file.read_text(), re.MULTILINE):
                queue += [SCRIPTS / f"genlab/{module}.py" for module in re.findall(r"[a-z_]+", names)]
            for module in re.findall(r"^ *from (?:genlab)?\.([a-z_]+) import", file.read_text(), re.MULTILINE):
                queue.append(SCRIPTS / f"genlab/{module}.py")
        queue = [file for file in queue if file.exists() and file.stem not in ("cli", "configuration")]
    here = Path.cwd()
    return [str(file.relative_to(here) if file.is_relative_to(here) else file) for file in files]


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
    return shlex.join(words) + " " + options({key: known[key] for key in ("sha256", "md5", "bytes") if known[key]})


def render_options(file):
    """Number and seed of the digits in an embedded file."""
    name, split = DATA_FILES[file]
    embedded = config["data"][name]["embedded"]
    return options({"count": embedded[split], "seed": embedded["seed"]})
