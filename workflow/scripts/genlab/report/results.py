"""What a finished run holds: the files of its results folder by their names, read once. Nothing here imports torch."""

from dataclasses import dataclass, field
from pathlib import Path

from .. import InputError, files


@dataclass
class Results:
    """The numbers of one run. Tables {model: content} follow the order of the configuration.

    folder, config   the results folder and the completed configuration
    divergences, density  the summaries of Problem 1; `thetas` the table of estimates at each theta
    likelihood       {binary model: summary over seeds}
    fid              {image model: summary over seeds}
    statistics, latents  {image model: what the first seed's samples and latents are like}
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
    fid: dict = field(default_factory=dict)
    statistics: dict = field(default_factory=dict)
    latents: dict = field(default_factory=dict)
    accuracy: dict | None = None
    training: dict = field(default_factory=dict)
    summary: object = None
    comparison: object = None

    @property
    def first(self):
        """The first seed, which figures of single images show."""
        return self.config["seeds"][0]

    def kind(self, model):
        """Of an image model: vae or gan."""
        return self.config["images"]["models"][model]["kind"]

    def title(self, problem):
        """The title of the data of "divergences", "likelihood" or "images"."""
        if problem == "divergences":
            return self.divergences["data"]["title"]
        models = self.likelihood if problem == "likelihood" else self.fid
        return next((content["data"]["title"] for content in models.values()), "no data: no model is configured")

    def stand_ins(self):
        """The titles of data sets that are embedded stand-ins for real ones."""
        contents = [*self.likelihood.values(), *self.fid.values()]
        titles = [each["data"]["title"] for each in contents if each["data"]["source"] == "embedded"]
        return list(dict.fromkeys(titles))


def read(folder, config):
    """Read the `Results` of a run with the completed configuration `config` from its results folder.

    Raises `InputError`, naming the file, where one is missing or not what its stage writes.
    """
    import pandas

    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; give the results folder of a finished run")
    first = config["seeds"][0]
    binary, images = config["likelihood"]["models"], config["images"]["models"]

    def table(name):
        return pandas.read_csv(folder / name, keep_default_na=True, na_values=[""])

    def of_first(model, name):
        return files.read_json(folder / "runs" / model / f"seed{first}" / name)

    found = Results(
        folder,
        config,
        files.read_json(folder / "divergences.json"),
        files.read_json(folder / "density.json"),
        table("divergences.csv"),
    )
    found.likelihood = {model: files.read_json(folder / f"log_likelihood_{model}.json") for model in binary}
    found.fid = {model: files.read_json(folder / f"fid_{model}.json") for model in images}
    found.statistics = {model: of_first(model, "statistics.json") for model in images}
    found.latents = {model: of_first(model, "latents.json") for model in images}
    if images:
        found.accuracy = files.read_json(folder / "classifier" / "accuracy.json")
    for run in (*(f"binary_{model}" for model in binary), *images):
        seeds = (folder / "runs" / run / f"seed{seed}" / "training.json" for seed in config["seeds"])
        found.training[run] = [files.read_json(path) for path in seeds]
    found.summary, found.comparison = table("summary.csv"), table("comparison.csv")
    return found
