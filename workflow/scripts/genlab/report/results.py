"""What a finished run holds: the files of its results folder by their names, read once. Nothing here imports torch."""

from dataclasses import dataclass, field
from pathlib import Path

from .. import InputError, files
from ..data.arrays import PATHS
from ..kinds import KINDS, models_with, seeds_of
from . import brackets
from .tables import MEASURES

# What the report reads of each file: the place of a value in a JSON file and its type, the columns of a table.
NUMBER, OPTIONAL = files.NUMBER, files.NUMBER | None
DATA = {"data/title": str, "data/source": str, "data/files": dict}
MACHINE = {"provenance/versions": dict, "provenance/machine": str}
DIVERGENCES = {
    **{"data/title": str, "seeds": list, "slope": NUMBER, "wrong_signs": int},
    **{f"largest_error/{name}": NUMBER for name in ("jsd_at_zero", "jsd_elsewhere", "w1_corrected")},
    **{f"range_of_jsd/elsewhere/{end}": NUMBER for end in ("lowest", "highest")},
    **MACHINE,
}
DENSITY = {
    **{"data/title": str, "seeds": list, "l1_error/highest": NUMBER},
    **{f"integral/{end}": NUMBER for end in ("lowest", "highest")},
    **{f"{name}/by_seed": list for name in ("integral", "l1_error", "kl")},
}
SPREAD = {"mean": NUMBER, "sd": OPTIONAL}  # over seeds
LIKELIHOOD = {
    **{"k": int, "seeds": list, "overfitting": dict, "gain_beyond_k": dict, "latents": int, "active_latents": list},
    **{
        f"splits/{split}/{name}/{key}": kind
        for split in ("valid", "test")
        for name in ("elbo", "log_likelihood", "elbo_gap")
        for key, kind in (SPREAD | {"standard_error": NUMBER}).items()
    },
    **{f"splits/{split}/images": int for split in ("valid", "test")},
    **{f"splits/{split}/effective_sample_size/median": NUMBER for split in ("valid", "test")},
    **{f"splits/{split}/pareto_k/share_above_0.7": OPTIONAL for split in ("valid", "test")},
    **DATA,
}
FID = {
    **{"samples": int, "seeds": list, "reference/images": int},
    **dict.fromkeys(("features/sha256", "features/words", "features/network"), str),
    **{"fid/values": list, "floor": dict | None, "ratio": OPTIONAL},
    **{f"fid/{key}": kind for key, kind in SPREAD.items()},
    **DATA,
}
STATISTICS = {
    **{"images": int, "draws": int},
    **{f"{part}/{name}/value": NUMBER for part in ("samples", "test", "train") for name in MEASURES},
    **{f"train/{name}/sd": NUMBER for name in MEASURES},
}
LATENTS = {
    **{"pairs": int, "epsilon": NUMBER},
    **{f"middle/{path}_sharpness_ratio/{key}": OPTIONAL for path in PATHS for key in ("mean", "standard_error")},
    **{f"effects/{name}": NUMBER for name in ("latents", "visible", "threshold")},
    "correlated": int,
}
ELBO = {
    **{"likelihood": str, "standard_deviation": OPTIONAL, "rmse": NUMBER},
    **{f"splits/{s}/{key}": NUMBER for s in ("valid", "test") for key in ("elbo", "standard_error", "kl", "bits")},
}
IMPORTED = {"source": str, "seed": int, "available": int, "images": int, "converted": dict, "sha256": str}
ACCURACY = {"splits/test/accuracy": NUMBER}
TRAINING = {
    **{"seed": int, "parameters": int, "settings/epochs": int, "stretches": list},
    **{"best_epoch": int, "seconds": NUMBER},
    **MACHINE,
}
TABLES = {  # columns of numbers, which may be empty cells, and of text
    "divergences.csv": (("theta", "jsd", "jsd_exact", "w1", "w1_exact", "w1_corrected"), ()),
    "summary.csv": (
        ("value", "low", "high"),
        ("problem", "data", "protocol", "key", "subject", "kind", "metric", "better", "over"),
    ),
    "comparison.csv": (("difference", "low", "high"), ("problem", "metric", "first", "second", "winner", "verdict")),
}


@dataclass
class Results:
    """The numbers of one run. Tables {model: content} follow the order of the configuration.

    folder, config   the results folder and the completed configuration
    divergences, density  the summaries of Problem 1; `thetas` the table of estimates at each theta
    likelihood       {binary model: summary over seeds}
    brackets         {binary model: what `read_bracket` says of the first seed}, if the configuration asks for them
    fid              {image model: summary over seeds}
    statistics, latents  {image model: what the first seed's samples and latents are like}
    elbo             {image VAE: ELBO of the first seed}
    imported         {image model from elsewhere: what was imported, for each seed}
    accuracy         of the feature classifier, or None without image models
    training         {run: [summary of each seed]}, run as in results/runs
    summary, comparison  tables of all metrics and of the differences between models
    """

    folder: Path
    config: dict
    divergences: dict
    density: dict
    thetas: object
    likelihood: dict = field(default_factory=dict)
    brackets: dict = field(default_factory=dict)
    fid: dict = field(default_factory=dict)
    statistics: dict = field(default_factory=dict)
    latents: dict = field(default_factory=dict)
    elbo: dict = field(default_factory=dict)
    imported: dict = field(default_factory=dict)
    accuracy: dict | None = None
    training: dict = field(default_factory=dict)
    summary: object = None
    comparison: object = None

    @property
    def first(self):
        """The first seed, which figures of single images show; the first folder of samples from elsewhere."""
        return self.config["seeds"][0]

    def kind(self, model):
        """The kind of an image model."""
        return self.config["images"]["models"][model]["kind"]

    def has(self, network, model):
        """Whether an image model has a network, say "critic"."""
        return network in KINDS[self.kind(model)]

    def source(self, problem, model):
        """Where the data of a model of "likelihood" or "images" are from: embedded, official, custom or own."""
        models = self.likelihood if problem == "likelihood" else self.fid
        return models[model]["data"]["source"]

    def title(self, problem):
        """The title of the data of "divergences", "likelihood" or "images"."""
        if problem == "divergences":
            return self.divergences["data"]["title"]
        models = self.likelihood if problem == "likelihood" else self.fid
        return next((content["data"]["title"] for content in models.values()), "no data: no model is configured")

    @property
    def features(self):
        """What the feature network is, with image models."""
        return next(iter(self.fid.values()))["features"]

    @property
    def of_digits(self):
        """Whether the colour images show digits, and are none of a person's own."""
        return all(content["data"]["source"] != "own" for content in self.fid.values())

    def stand_ins(self):
        """The titles of data sets that are embedded stand-ins for real ones."""
        contents = [*self.likelihood.values(), *self.fid.values()]
        titles = [each["data"]["title"] for each in contents if each["data"]["source"] == "embedded"]
        return list(dict.fromkeys(titles))


def read(folder, config):
    """Read the `Results` of a run with the completed configuration `config` from its results folder.

    Raises `InputError`, naming the file, where one is missing or not what its stage writes.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; give the results folder of a finished run")
    binary, images = config["likelihood"]["models"], config["images"]["models"]

    def of_seeds(model, name, fields):
        seeds = seeds_of(images[model], config["seeds"])
        return [files.read_json(folder / "runs" / model / f"seed{seed}" / name, fields) for seed in seeds]

    def of_first(model, name, fields):
        first = seeds_of(images[model], config["seeds"])[0]
        return files.read_json(folder / "runs" / model / f"seed{first}" / name, fields)

    found = Results(
        folder,
        config,
        files.read_json(folder / "divergences.json", DIVERGENCES),
        files.read_json(folder / "density.json", DENSITY),
        read_table(folder / "divergences.csv"),
    )
    found.likelihood = {model: files.read_json(folder / f"log_likelihood_{model}.json", LIKELIHOOD) for model in binary}
    if config["likelihood"]["bracket"]:
        first = f"seed{config['seeds'][0]}"
        for model, summary in found.likelihood.items():
            path = folder / "runs" / f"binary_{model}" / first / "bracket.json"
            found.brackets[model] = brackets.read_bracket(
                path, summary["k"], summary["splits"]["test"]["log_likelihood"]["mean"]
            )
    found.fid = {model: files.read_json(folder / f"fid_{model}.json", FID) for model in images}
    found.statistics = {model: of_first(model, "statistics.json", STATISTICS) for model in images}
    generators = models_with("generator", images)
    found.latents = {model: of_first(model, "latents.json", LATENTS) for model in generators}
    found.imported = {model: of_seeds(model, "import.json", IMPORTED) for model in images if model not in generators}
    found.elbo = {model: of_first(model, "elbo.json", ELBO) for model in models_with("encoder", images)}
    if images:
        found.accuracy = files.read_json(folder / "classifier" / "accuracy.json", ACCURACY)
    for run in (*(f"binary_{model}" for model in binary), *generators):
        seeds = (folder / "runs" / run / f"seed{seed}" / "training.json" for seed in config["seeds"])
        found.training[run] = [files.read_json(path, TRAINING) for path in seeds]
    found.summary, found.comparison = read_table(folder / "summary.csv"), read_table(folder / "comparison.csv")
    return found


def read_table(path):
    """The columns of a CSV file that `TABLES` names, as a DataFrame."""
    import pandas

    numbers, texts = TABLES[path.name]
    try:
        table = pandas.read_csv(path, dtype=str, keep_default_na=False)
        table = table[[*numbers, *texts]].copy()
        table[list(numbers)] = table[list(numbers)].apply(pandas.to_numeric)
    except (KeyError, ValueError) as error:  # pandas' own errors of what is no table are ValueErrors
        raise InputError(f"{path}: {' '.join(str(error).split())}; remake it with the stage that writes it") from None
    return table
