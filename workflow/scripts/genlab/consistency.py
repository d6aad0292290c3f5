"""What a configuration says that its schema cannot judge: contradictions, files that are not there, what it names."""

from pathlib import Path

from . import InputError

OWN_PARTS = ("generator", "encoder", "critic", "architecture")  # networks that a person may bring
OWN_SOURCES = ("folder", "npz")  # of images that a person brings


def data_files(config):
    """(data set, split, name) of every official file, or of what a configuration names in its place.

    Images of one's own are no such files.
    """
    for dataset in ("binarized_mnist", "images"):
        if config["data"][dataset]["source"] in OWN_SOURCES:
            continue
        for split, known in config["data"][dataset]["files"].items():
            yield dataset, split, known["urls"][0].rsplit("/", 1)[-1]


def contradictions(config):
    """A line for each fault that the schema cannot express."""
    faults, evaluation = [], config["images"]["evaluation"]
    names = [name for *_, name in data_files(config)]
    for number, (dataset, split, name) in enumerate(data_files(config)):
        if name in names[:number]:
            faults.append(f"data.{dataset}.files.{split}: another file is called {name} too; rename one")
    faults += _own_data_faults(config["data"]["images"])
    if "noise" in config["images"]["models"]:
        faults.append("images.models.noise: the reference of uniform pixels has this name; give the model another one")
    for name, model in config["images"]["models"].items():
        if model.get("generator") and model.get("likelihood") == "logistic_mixture":
            faults.append(
                f"images.models.{name}.likelihood: logistic_mixture needs more outputs than your generator's images"
            )
        if "command" in model and (fault := command_fault(model["command"])):
            faults.append(f"images.models.{name}.command: {fault}")
    network = config["images"]["feature_network"]
    if network != "classifier" and not config["images"]["feature_weights"]:
        faults.append(f"images.feature_weights: {network} has weights in a file; name it")
    if evaluation["pool_seed"] == evaluation["sample_seed"]:
        faults.append(
            f"images.evaluation.pool_seed: {evaluation['pool_seed']} is sample_seed too, so the pool would begin with "
            "the published samples; give another"
        )
    return faults


def _own_data_faults(images):
    """A line for each fault of `data.images`: its source says whether train and test must be named."""
    own, faults = images["source"] in OWN_SOURCES, []
    for split in ("train", "test"):
        path = images[split]
        if own != bool(path):
            remedy = "name your images" if own else "source: folder or npz reads them"
            faults.append(f"data.images.{split}: {path!r} with source: {images['source']}; {remedy}")
        elif own and (images["source"] == "npz") != path.lower().endswith(".npz"):
            faults.append(f"data.images.{split}: {path!r} with source: {images['source']}; the two do not fit")
    if own and images["train"] == images["test"]:
        faults.append(f"data.images.test: {images['test']!r} are the training images too; give others")
    return faults


def own_files(settings):
    """{part: file} of the networks that settings of a model take from files of one's own, FILE.py:NAME."""
    return {part: settings[part].rpartition(":")[0] for part in OWN_PARTS if ":" in settings.get(part, "")}


def command_fault(command):
    """What an external program's command line lacks, in words; None if it has all places to be filled in."""
    missing = [place for place in ("{output}", "{count}", "{seed}") if place not in command]
    return f"{' and '.join(missing)} missing; the program must be handed all three" if missing else None


def check_files(config):
    """Raise an `InputError` that lists the files and folders a completed configuration names that do not exist."""
    images, named = config["images"], {}
    if config["data"]["images"]["source"] in OWN_SOURCES:
        named |= {f"data.images.{split}": [config["data"]["images"][split]] for split in ("train", "test")}
    if images["feature_weights"]:
        named["images.feature_weights"] = [images["feature_weights"]]
    if ":" in images["feature_network"]:
        named["images.feature_network"] = [images["feature_network"].rpartition(":")[0]]
    for name, model in images["models"].items():
        for key in ("samples", "files"):
            named[f"images.models.{name}.{key}"] = model.get(key, [])
    for problem in ("images", "likelihood"):
        for name, model in config[problem]["models"].items():
            named |= {f"{problem}.models.{name}.{part}": [path] for part, path in own_files(model).items()}
    missing = [(key, path) for key, paths in named.items() for path in paths if not Path(path).exists()]
    faults = [f"{key}: {path}: no such file or folder" for key, path in missing]
    if faults:
        raise InputError("configuration: " + "\n  ".join(faults))
