"""What a configuration says that its schema cannot judge: contradictions, files that are not there, what it names."""

import collections
import os
from pathlib import Path

from . import InputError, files, kinds

OWN_PARTS = ("generator", "encoder", "critic", "architecture", "feature_network")  # networks that a person may bring
FEWEST = 20  # images that metrics can be taken on: two in each of ten blocks
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
    for folder in ("results", "resources"):
        path = os.path.normpath(config[folder])
        if path.startswith("-"):
            faults.append(
                f"{folder}: {config[folder]!r} begins with a dash, which commands take for an option; rename it"
            )
        if path == "." or path.endswith(".."):
            faults.append(f"{folder}: {config[folder]!r} is this folder or one above; name a folder for it alone")
    for problem in ("likelihood", "images"):
        lower = [name.lower() for name in config[problem]["models"]]
        for name in config[problem]["models"]:
            if lower.count(name.lower()) > 1:
                faults.append(f"{problem}.models.{name}: another name differs only in case, and some disks tell none")
    for name, model in config["likelihood"]["models"].items():
        if fault := binary_vae_fault(model):
            faults.append(f"likelihood.models.{name}.{fault}")
    for problem in ("likelihood", "images"):
        for name, model in config[problem]["models"].items():
            if fault := objective_fault(model):
                faults.append(f"{problem}.models.{name}.{fault}")
    if config["likelihood"]["bracket"]:
        faults += _bracket_faults(config["likelihood"])
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


def check_sizes(config, counts):
    """Raise an `InputError` that lists the numbers of images that do not fit each other.

    counts: {"train", "valid", "test": number of colour images}, or None where they are not known.
    """
    evaluation, models, faults = config["images"]["evaluation"], config["images"]["models"], []
    if not models:
        return
    size = min(evaluation["samples"], counts["test"]) if counts else evaluation["samples"]
    if size < FEWEST:
        which = "images.evaluation.samples" if evaluation["samples"] < FEWEST else "data.images: the test images"
        faults.append(f"{which}: {size}; metrics need {FEWEST} or more")
    if evaluation["pool"] < size:
        faults.append(
            f"images.evaluation.pool: {evaluation['pool']}; metrics are taken on sets of {size}; give as many"
        )
    if counts and counts["train"] < size:
        faults.append(
            f"data.images: {counts['train']} training images; metrics are taken on sets of {size}; give as many, or "
            "lower images.evaluation.samples"
        )
    if counts and counts["valid"] < 2:
        faults.append(f"data.images.valid_fraction: leaves {counts['valid']} validation images; two or more are needed")
    for name, model in models.items():
        if 0 < model.get("draw", 0) < evaluation["samples"]:
            faults.append(
                f"images.models.{name}.draw: {model['draw']}, fewer than images.evaluation.samples, "
                f"{evaluation['samples']}; give as many, or 0"
            )
        if counts and "critic_steps" in model and (fault := critic_fault(model, counts["train"])):
            faults.append(f"images.models.{name}.critic_steps: {fault}")
        if "critic_group" in model and (fault := group_fault(model)):
            faults.append(f"images.models.{name}.critic_group: {fault}")
    if faults:
        raise InputError("configuration: " + "\n  ".join(faults))


def critic_fault(settings, images):
    """What is wrong with the `critic_steps` of a GAN on so many training images, in words; None if nothing is."""
    updates = settings["epochs"] * -(-images // settings["batch_size"])
    if settings["critic_steps"] <= updates:
        return None
    return (
        f"{settings['critic_steps']}, and the critic has {updates} updates in all, so the generator would have none; "
        "give more epochs or smaller batches"
    )


def group_fault(settings):
    """What is wrong with the `critic_group` of a GAN, in words; None if nothing is."""
    if settings["critic"] and settings["critic_group"]:
        return f"{settings['critic_group']}, which only the project's critic has; leave it at 0 with one of your own"
    if settings["critic_group"] == 1:
        return "1, and a single image has no spread; give 2 or more, or 0 for none"
    return None


def _bracket_faults(likelihood):
    """A line for each fault of `likelihood` that only matters where brackets are shown."""
    annealing, k = likelihood["annealing"], likelihood["evaluation"]["samples"]
    for key in ("images", "simulated_images"):
        if annealing[key] < 2:
            yield f"likelihood.annealing.{key}: {annealing[key]}; likelihood.bracket: true needs 2 or more"
    if k not in (counts := kinds.sample_counts(annealing["samples"])):
        yield (
            f"likelihood.evaluation.samples: {k}, and brackets compare with {', '.join(map(str, counts))}; give one of "
            "these, or likelihood.bracket: false"
        )


def binary_vae_fault(settings):
    """Which of a binary VAE's settings do not go together, in words; None if all do."""
    made = settings["architecture"]
    if settings["dropout"] and made != "residual":
        return f"dropout: {settings['dropout']}, which only the architecture residual has; leave it at 0"
    if settings["width"] != 32 and made not in ("residual", "bottleneck"):
        return f"width: {settings['width']}, which only the architectures residual and bottleneck have; leave it at 32"
    if settings["posterior"] == "gaussian":
        return None
    if settings["objective"] == "dreg":
        return "posterior: flow, and the gradient of objective: dreg is that of a Gaussian; give elbo or iwae"
    if settings["prior"] == "vamp":
        return "posterior: flow, and prior: vamp is made of Gaussian posteriors; give another prior"
    return None


def objective_fault(settings):
    """What is wrong with the `objective` of a VAE, in words; None if nothing is, or if it has none."""
    if settings.get("objective", "elbo") == "elbo" or settings["samples_per_image"] > 1:
        return None
    return f"objective: {settings['objective']} of one sample is the ELBO; give samples_per_image: 2 or more"


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
    named |= {f"images.{part}": [path] for part, path in own_files(images).items()}
    for name, model in images["models"].items():
        for key in ("samples", "files"):
            named[f"images.models.{name}.{key}"] = model.get(key, [])
    for problem in ("images", "likelihood"):
        for name, model in config[problem]["models"].items():
            named |= {f"{problem}.models.{name}.{part}": [path] for part, path in own_files(model).items()}
    for place in config["data"]["mirrors"]:
        if "://" not in place:
            named.setdefault("data.mirrors", []).append(os.path.expanduser(place))
    missing = [(key, path) for key, paths in named.items() for path in paths if not Path(path).exists()]
    faults = [f"{key}: {path}: no such file or folder" for key, path in missing]
    weights = images["feature_weights"]
    if weights and Path(weights).is_file() and not files.kind_of_weights(weights):
        faults.append(f"images.feature_weights: {weights}: neither safetensors nor a PyTorch file")
    if faults:
        raise InputError("configuration: " + "\n  ".join(faults))


def check_keys(paths):
    """Raise an `InputError` if one of some YAML files gives a key twice: YAML would quietly take the last one."""
    import yaml

    class Loader(yaml.SafeLoader):
        def construct_mapping(self, node, deep=False):
            keys = [key.value for key, _ in node.value if key.tag != "tag:yaml.org,2002:merge"]
            if twice := [key for key, count in collections.Counter(map(str, keys)).items() if count > 1]:
                raise InputError(
                    f"configuration: {self.name}, line {node.start_mark.line + 1}: the key {twice[0]} stands twice in "
                    "this section; keep one"
                )
            return super().construct_mapping(node, deep)

    for path in paths:
        try:
            with open(path, encoding="utf-8") as file:
                yaml.load(file, Loader)
        except (OSError, UnicodeDecodeError, yaml.YAMLError):
            continue  # Snakemake, which has read them, says what is wrong
