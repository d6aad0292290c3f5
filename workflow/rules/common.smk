# Configuration and the helpers that the rules share. Rules themselves hold no logic.
import json
import os
import re
import shlex
import sys
import time
from pathlib import Path

from snakemake.exceptions import WorkflowError

SCRIPTS = Path(str(workflow.current_basedir)).parent / "scripts"
if not SCRIPTS.is_dir():
    raise WorkflowError(f"{SCRIPTS}: the stages import each other's modules; use the workflow from a local clone")
sys.path.insert(0, str(SCRIPTS))
# Jobs call `python`: the one that runs Snakemake, unless conda puts its own before it.
os.environ.update(PATH=os.pathsep.join([os.path.dirname(sys.executable), os.environ.get("PATH", "")]))

from genlab import InputError, configuration, consistency, files, provenance
from genlab.data import counts
from genlab.kinds import KINDS, models_with, seeds_of
from genlab.report.figures import figures_of

# When this run began, for its jobs too, on whatever machine: a training that a job of an earlier, lost run has
# finished since then is not repeated.
if workflow.is_main_process:
    os.environ["GENLAB_RUN_STARTED"] = str(time.time())


envvars:
    "GENLAB_RUN_STARTED",


try:
    consistency.check_keys(workflow.configfiles)
    config.update(configuration.complete(config))
    consistency.check_files(config)
    consistency.check_sizes(config, counts.of_images(config))
except InputError as error:
    raise WorkflowError(str(error)) from None


pathvars:
    results=config["results"],
    resources=config["resources"],


def stage(name):
    """Inputs of a stage's rule: its `script`, and as `code` the genlab modules that its numbers depend on.

    A result depends on their contents: a change reruns, a mere touch does not.
    """
    here = Path.cwd()
    files = provenance.source_files(SCRIPTS / f"{name}.py")
    files = [str(file.relative_to(here) if file.is_relative_to(here) else file) for file in files]
    # local: neither a module's prefix nor a remote storage applies to them.
    return {"script": local(files[0]), "code": [local(file) for file in files[1:]]}


def code(*names):
    """The scripts of stages and the genlab modules they import, in one list."""
    return list(dict.fromkeys(file for name in names for file in (stage(name)["script"], *stage(name)["code"])))


def options(settings):
    """A dict of settings as command-line options: {"batch_size": 32} gives --batch-size 32."""
    return " ".join(f"--{key.replace('_', '-')} {shlex.quote(str(value))}" for key, value in settings.items())


# The device of jobs that compute with torch, and what they ask for: with `auto` nothing, a job takes what it finds.
DEVICE = {"device": config["device"]}
GPUS = {"gpu": 1} if config["device"] == "cuda" else {}


def growing(fixed=None, **amounts):
    """Resources of a job: those that stay as they are, and amounts that are multiplied by the number of the attempt."""

    def growth(amount):
        return lambda wildcards, attempt: amount * attempt

    return (fixed or {}) | {name: growth(amount) for name, amount in amounts.items()}


def figure(name, category, caption=None, key=""):
    """What a plot makes: `png`, shown in Snakemake's report, and `pdf`; their names begin with `key`.

    The caption is the one in workflow/report that has the name of the figure, less what follows "_{", or another.
    """
    caption = f"../report/{caption or name.partition('_{')[0]}.rst"
    png, pdf = (f"<results>/figures/{name}.{suffix}" for suffix in ("png", "pdf"))
    return {f"{key}png": report(png, caption=caption, category=category), f"{key}pdf": pdf}


def time_limit(wildcards, resources):
    """Seconds after which a job saves and stops, before its `runtime` ends it; 0 for never.

    A profile whose executor ends jobs sets `spare_seconds`: how long before the end. Without it a run has no limit.
    A function of the resources, and thus no reason to rerun.
    """
    if "spare_seconds" not in resources.keys():
        return 0
    seconds = 60 * resources.runtime
    return max(seconds - resources.spare_seconds, seconds // 2)


# The files of both data sets by their official names: (data set, split).
DATA_FILES = {name: owner for *owner, name in consistency.data_files(config)}


BINARY_MODELS = config["likelihood"]["models"]
IMAGE_MODELS = config["images"]["models"]
OF_CLASSIFIER = config["images"]["feature_network"] == "classifier"  # whether features are the classifier's


def one_of(names):
    """A pattern of some names; of none at all if there are none."""
    return "|".join(map(re.escape, names)) or "(?!)"


wildcard_constraints:
    model=one_of([*BINARY_MODELS, *IMAGE_MODELS]),
    run="[A-Za-z0-9_-]+",
    seed="[0-9]+",
    file=one_of(DATA_FILES),


def raw_files(name):
    """Where the files of a data set lie, rendered or downloaded, as the configuration says."""
    source = config["data"][name]["source"]
    return [f"<resources>/{source}/{file}" for file, owner in DATA_FILES.items() if owner[0] == name]


def data_file(name, split):
    """Where the file of one split lies; none of images of one's own."""
    return next((path for path in raw_files(name) if DATA_FILES[path.rsplit("/", 1)[-1]] == [name, split]), [])


IMAGES = config["data"]["images"]
OWN_IMAGES = IMAGES["source"] in consistency.OWN_SOURCES


def prepared_svhn():
    """Where prepared SVHN or its stand-in lies."""
    return f"<resources>/prepared/{'embedded' if OWN_IMAGES else IMAGES['source']}/svhn.npz"


def prepared_own_images():
    """Where prepared images of one's own lie: a file for each pair of paths."""
    digest = files.text_checksum(f"{IMAGES['train']} {IMAGES['test']}")
    return f"<resources>/prepared/own/{digest[:12]}.npz"


def prepared(name):
    """Where the prepared data set lies, "binarized_mnist" or "images"."""
    if name == "images":
        return prepared_own_images() if OWN_IMAGES else prepared_svhn()
    return f"<resources>/prepared/{config['data'][name]['source']}/{name}.npz"


def own_image_options():
    """Images of one's own as command-line options, and a digest of what they hold, as in `origin`."""
    paths = {split: IMAGES[split] for split in ("train", "test")} if OWN_IMAGES else {}
    content = [files.content_checksum(path) for path in paths.values()]
    return {"options": options(paths | {"title": IMAGES["title"]}), "content": content}


def split_options():
    """How validation images are set aside, as command-line options."""
    return options({"valid_fraction": IMAGES["valid_fraction"], "seed": IMAGES["split_seed"]})


def image_preparation():
    """The stages that prepare the colour images."""
    return ["prepare_images"] if OWN_IMAGES else ["render_digits", "prepare_svhn"]


def binary_runs(pattern):
    """`pattern` for every seed of every binary VAE."""
    return expand(pattern, model=BINARY_MODELS, seed=config["seeds"])


def of_kind(*kinds):
    """The names of the image models of some kinds."""
    return [name for name, model in IMAGE_MODELS.items() if model["kind"] in kinds]


def with_network(network):
    """The names of the image models that have a network, "generator", "encoder" or "critic"."""
    return models_with(network, IMAGE_MODELS)


def image_options(model):
    """Settings of an image model, of the generator that all share and the device, as command-line options."""
    settings = {key: value for key, value in IMAGE_MODELS[model].items() if key not in configuration.NOT_OF_TRAINING}
    return options(config["images"]["generator"] | settings | DEVICE)


def own_files(settings):
    """The files of one's own that a model's networks are from: a change in one trains anew."""
    return [local(path) for path in consistency.own_files(settings).values()]


def own_networks(settings, *parts):
    """Options that name a model's networks from files of one's own, for a stage that loads its weights."""
    return options({part: settings[part] for part in consistency.own_files(settings) if part in parts})


def noise(model):
    """--noise for a VAE whose samples are drawn from p(x|z)."""
    return "--noise" if IMAGE_MODELS[model].get("noise") else ""


def image_settings(model):
    """All settings that the score of an image model rests on."""
    general = ("feature_weights", "feature_network", "classifier", "classifier_seed", "generator", "evaluation")
    return {key: config["images"][key] for key in general} | IMAGE_MODELS[model]


def trainers(model):
    """The stages that make an image model and its samples, and the feature classifier."""
    imported = config["images"]["feature_weights"] and OF_CLASSIFIER
    classifier = "import_classifier" if imported else "train_classifier"
    kind = IMAGE_MODELS[model]["kind"]
    return classifier, *((f"train_{kind}", "sample") if KINDS[kind] else ("import_samples",))


def seeds(model):
    """The seeds of an image model, or the numbers of its folders if its samples are from elsewhere."""
    if model not in IMAGE_MODELS:
        raise WorkflowError(f"images.models has no {model}")
    return seeds_of(IMAGE_MODELS[model], config["seeds"])


def of_seeds(file):
    """A function of a rule's wildcards: a file of every seed of an image model."""
    return lambda wildcards: runs(f"<results>/runs/{{model}}/seed{{seed}}/{file}", [wildcards.model])


def of_first_seed(file):
    """A function of a rule's wildcards: a file of the first seed of an image model, which figures show."""
    return lambda wildcards: f"<results>/runs/{wildcards.model}/seed{seeds(wildcards.model)[0]}/{file}"


def made_by(model):
    """The name of the file that a model's samples come from: its weights, or the images from elsewhere."""
    return "model.safetensors" if KINDS[IMAGE_MODELS[model]["kind"]] else "images.npz"


def origins(models):
    """The files that the samples of some image models come from, of every seed."""
    return [
        path for model in models for path in runs(f"<results>/runs/{{model}}/seed{{seed}}/{made_by(model)}", [model])
    ]


def origin(wildcards):
    """Where the samples of a model come from that are made elsewhere, as command-line options, and a digest of it.

    The digest is a reason to rerun: what a folder holds can change without a new date of the folder.
    """
    settings = IMAGE_MODELS[wildcards.model]
    if settings["kind"] == "samples":
        if int(wildcards.seed) not in seeds(wildcards.model):
            raise WorkflowError(f"images.models.{wildcards.model}.samples: no folder {wildcards.seed}")
        path = settings["samples"][int(wildcards.seed) - 1]
        return {"options": f"--samples {shlex.quote(path)}", "content": files.content_checksum(path)}
    words = f"--command {shlex.quote(settings['command'])} --draw {settings['draw']}"
    return {"options": words, "content": [files.content_checksum(path) for path in settings["files"]]}


def classifier_weights():
    """Where the weights of the classifier lie, trained or imported, as the configuration says."""
    kind = "imported" if config["images"]["feature_weights"] and OF_CLASSIFIER else "trained"
    return f"<results>/classifier/{kind}.safetensors"


def feature_weights():
    """Where the weights of the feature network lie: those of the classifier, or a file of one's own."""
    return classifier_weights() if OF_CLASSIFIER else local(config["images"]["feature_weights"])


def feature_code():
    """The file of a feature network of one's own: a change in it takes features anew."""
    return own_files(config["images"])


def feature_options():
    """The feature network as command-line options of a stage that needs the classifier too; none if it is that."""
    chosen = {key: config["images"][key] for key in ("feature_network", "feature_weights")}
    return "" if OF_CLASSIFIER else options(chosen)


def runs(pattern, models):
    """`pattern` for every seed of some image models."""
    return [path for model in models for path in expand(pattern, model=model, seed=seeds(model))]


def firsts(pattern, models):
    """`pattern` for the first seed of every model of a table, which figures show."""
    return [path for model in models for path in expand(pattern, model=model, seed=seeds(model)[0])]


def comparisons(*plots):
    """Outputs of rules that draw all image models side by side; none without a model."""
    return [plot.output for plot in plots] if IMAGE_MODELS else []


def image_sets(curves=False):
    """The folders of all sets of images that are measured; with `curves` those whose FID is drawn against N."""
    samples = runs("runs/{model}/seed{seed}", IMAGE_MODELS)
    if curves:
        return [*samples, "references/train"]
    references = [f"references/{name}" for name in ("train", "test", "noise", "mean")]
    return [*samples, *runs("runs/{model}/seed{seed}/reconstructions", with_network("encoder")), *references]


def set_model(wildcards):
    """What a set of images is drawn from or read from; none for a reference."""
    kind, model, *more = wildcards.set.split("/")
    return f"<results>/runs/{model}/{more[0]}/{made_by(model)}" if kind == "runs" else []


def set_options(wildcards, input):
    """Which images a set has, as command-line options."""
    kind, name, *more = wildcards.set.split("/")
    evaluation = config["images"]["evaluation"]
    if kind == "references":
        return f"--source {name} --seed {evaluation['sample_seed']}"
    source, seed = ("reconstructions", "sample_seed") if more[1:] else ("samples", "pool_seed")
    drawn = "" if source == "reconstructions" else noise(name)
    option = "--weights" if made_by(name) == "model.safetensors" else "--images"
    own = own_networks(IMAGE_MODELS[name], "generator", "encoder")
    return f"--source {source} --seed {evaluation[seed]} {option} {shlex.quote(str(input.model))} {drawn} {own}"


def compared_stages():
    """The stages that the comparison of all models rests on."""
    of_images = {stage: None for model in IMAGE_MODELS for stage in trainers(model)}
    measured = ("extract_features", "evaluate_features", "train_binary_vae", "estimate_likelihood")
    return "render_digits", *image_preparation(), "prepare_binarized_mnist", *of_images, *measured


def figure_files():
    """The figures that the report of a run with this configuration shows."""
    return [f"<results>/figures/{name}.png" for _, _, name in figures_of(config)]


# Tables of the report that a run with this configuration has.
TABLES = ["acceptance", "divergences", "density", "training", "comparison"]
TABLES += ["likelihood"] if BINARY_MODELS else []
TABLES += ["ladder"] if len(BINARY_MODELS) > 1 else []
TABLES += ["fid", "statistics", "metrics"] if IMAGE_MODELS else []
TABLES += ["elbo"] if with_network("encoder") else []
TABLES += ["imported"] if of_kind("samples", "external") else []


def computing_stages():
    """All stages that make numbers: what a report rests on."""
    stages = sorted(script.stem for script in SCRIPTS.glob("*.py"))
    return [name for name in stages if name.split("_")[0] not in ("plot", "export", "write")]


def source_files(folder, *patterns):
    """Files of the workflow itself that are inputs of a rule, from a folder beside the scripts."""
    found = sorted(file for pattern in patterns for file in (SCRIPTS.parent / folder).glob(pattern))
    return [local(os.path.relpath(file)) for file in found]


def fetch_options(file):
    """Addresses and checksums of an official file."""
    name, split = DATA_FILES[file]
    known = config["data"][name]["files"][split]
    checks = options({key: known[key] for key in ("sha256", "md5", "bytes") if known[key]})
    return f"--url {shlex.join(known['urls'])} {checks}"


def render_options(file):
    """Number and seed of the digits in an embedded file."""
    name, split = DATA_FILES[file]
    embedded = config["data"][name]["embedded"]
    return options({"count": embedded[split], "seed": embedded["seed"]})
