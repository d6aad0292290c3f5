"""Compare all models: one table of every metric with its interval, and which model is better by how much.

Reads what evaluate_features.py wrote of each set of images and what estimate_likelihood.py wrote of each binary
VAE, for every seed. Writes two tables:

  summary.csv     a row for each subject (a model, or a reference) and metric: mean over seeds, with its 95%
                  Student t interval over seeds; for one seed, and for references, over sets of images (or, for
                  likelihoods, images); column `over` says which, and `key` tells subjects apart whatever their names
  comparison.csv  a row for each pair of models and metric that has a better direction: mean of the differences
                  first - second, paired by seed (not paired where one has samples from elsewhere, which no seed
                  belongs to), with its interval, the `winner`, empty if there is none, and the verdict in words

A verdict names the better model only if the interval of the difference excludes 0, that is, if the
difference exceeds the noise between seeds. One seed allows no verdict.

example:
  python workflow/scripts/compare.py --output compared \\
      --metrics gan1/metrics.json gan2/metrics.json vae1/metrics.json vae2/metrics.json
"""

import itertools
from pathlib import Path

from genlab import InputError, cli, files

# What is read of a set of images, of each of its metrics, and of a likelihood.
METRICS = {
    **dict.fromkeys(("subject", "set", "data/title", "features/sha256"), str),
    **{"model": str | None, "kind": str | None, "seed": int | None, "images": int, "metrics": dict},
}
METRIC = {"value": files.NUMBER, **dict.fromkeys(("standard_error", "low", "high"), files.NUMBER | None)}
LIKELIHOOD = {
    **{"model": str, "seed": int, "data/title": str, "k": int, "splits/valid/images": int, "splits/test/images": int},
    **{
        f"splits/{split}/{name}/{key}": files.NUMBER
        for split in ("valid", "test")
        for name in ("elbo", "log_likelihood")
        for key in ("mean", "standard_error")
    },
}


def parser():
    result = cli.parser(__doc__)
    result.add_argument(
        "--metrics",
        type=Path,
        nargs="*",
        default=[],
        metavar="JSON",
        help="metrics of every set of images, for every seed",
    )
    result.add_argument(
        "--likelihoods",
        type=Path,
        nargs="*",
        default=[],
        metavar="JSON",
        help="estimates of every binary VAE, for every seed",
    )
    result.add_argument(
        "--output", type=Path, required=True, metavar="DIR", help="folder to write: summary.csv and comparison.csv"
    )
    return result


def main(options):
    import pandas

    if not options.metrics and not options.likelihoods:
        raise InputError("nothing to compare; give --metrics or --likelihoods")
    runs = []
    for read, paths in ((read_metrics, options.metrics), (read_likelihoods, options.likelihoods)):
        for path in paths:
            runs.append(read(path))
            if (runs[-1]["key"], runs[-1]["seed"]) in {(run["key"], run["seed"]) for run in runs[:-1]}:
                raise InputError(
                    f"{path}: {runs[-1]['subject']}, seed {runs[-1]['seed']}, was given before; give each once"
                )
            of_one = next(run for run in runs if run["problem"] == runs[-1]["problem"])
            for key in ("data", "protocol"):
                if runs[-1][key] != of_one[key]:
                    raise InputError(
                        f"{path}: its {key} is {runs[-1][key]}, not {of_one[key]} as of those before; give runs of one"
                    )
            of_kind = next(run for run in runs if of_one_kind(run, runs[-1]))
            if runs[-1]["metrics"].keys() != of_kind["metrics"].keys():
                raise InputError(f"{path}: its metrics are not those of the files before; remake all with one version")
    subjects = {}
    for run in runs:
        subjects.setdefault(run["key"], []).append(run)
    summary = pandas.DataFrame([row for of_subject in subjects.values() for row in summarise(of_subject)])
    rows = [
        row
        for first, second in itertools.combinations(subjects.values(), 2)
        if first[0]["problem"] == second[0]["problem"] and first[0]["is_model"] and second[0]["is_model"]
        for row in compare(first, second)
    ]
    columns = [
        "problem",
        "metric",
        "first",
        "second",
        "difference",
        "standard_error",
        "low",
        "high",
        "pairs",
        "winner",
        "verdict",
    ]
    comparison = pandas.DataFrame(rows, columns=columns)
    for table, name in ((summary, "summary.csv"), (comparison, "comparison.csv")):
        with files.atomic(options.output / name) as temporary:
            table.to_csv(temporary, index=False, float_format="%.9g")
    for row in rows:
        print(f"{row['metric']}: {row['verdict']}")


def of_one_kind(first, second):
    """Whether two runs have the same metrics: models of one problem, or runs of one reference."""
    models = first["is_model"] and second["is_model"] and first["problem"] == second["problem"]
    return models or first["key"] == second["key"]


def read_metrics(path):
    """One run, from the file of evaluate_features.py: its subject and {metric: interval}.

    `key` is the set's folder in the results, less the seed: what tells a model from a reference of the same name.
    """
    from genlab.measures.metric_table import OF_IMAGES

    content = files.read_json(path, METRICS)
    found = [each.key for each in OF_IMAGES if each.key in content["metrics"]]
    files.check_fields(path, content, {f"metrics/{key}/{part}": kind for key in found for part, kind in METRIC.items()})
    place = {"samples": "runs/{}", "reconstructions": "runs/{}/reconstructions"}.get(content["set"])
    return {
        "problem": "images",
        "key": place.format(content["model"]) if place else f"references/{content['set']}",
        "subject": content["subject"],
        "is_model": content["set"] == "samples",
        "numbered": content["kind"] == "samples",  # its seeds are but the numbers of its folders
        "seed": content["seed"],
        "data": content["data"]["title"],
        "protocol": f"N = {content['images']}, features {content['features']['sha256'][:8]}",
        "over": "sets",
        "metrics": {key: content["metrics"][key] for key in found},
    }


def read_likelihoods(path):
    """The same of estimate_likelihood.py; its intervals are over images."""
    from genlab.measures import intervals

    content, metrics = files.read_json(path, LIKELIHOOD), {}
    for split in ("valid", "test"):
        numbers = content["splits"][split]
        for name in ("elbo", "log_likelihood"):
            mean, error = (numbers[name][key] for key in ("mean", "standard_error"))
            images = min(numbers["images"], numbers.get("sampled_images") or numbers["images"])
            found = intervals.student(mean, error, images - 1, 0.95) if images > 1 else intervals.interval([mean])
            metrics[f"{name}_{split}"] = {key: found[key] for key in ("value", "standard_error", "low", "high")}
    return {
        "problem": "likelihood",
        "key": f"runs/binary_{content['model']}",
        "subject": content["model"],
        "is_model": True,
        "numbered": False,
        "seed": content["seed"],
        "data": content["data"]["title"],
        "protocol": f"K = {content['k']}",
        "over": "images",
        "metrics": metrics,
    }


def summarise(runs):
    """The rows of one subject in the table of metrics, from its run of each seed."""
    from genlab.measures import intervals
    from genlab.measures.metric_table import BY_KEY

    first = runs[0]
    for name in first["metrics"]:
        values = [run["metrics"][name]["value"] for run in runs]
        several = len(values) > 1
        found = intervals.interval(values) if several else first["metrics"][name]
        yield {
            "problem": first["problem"],
            "data": first["data"],
            "protocol": first["protocol"],
            "key": first["key"],
            "subject": first["subject"],
            "kind": "model" if first["is_model"] else "reference",
            "metric": name,
            "better": BY_KEY[name].better,
            **{key: found[key] for key in ("value", "standard_error", "low", "high")},
            "over": "seeds" if several else first["over"],
            "seeds": " ".join(str(run["seed"]) for run in runs if run["seed"] is not None),
            "values": " ".join(f"{value:.9g}" for value in values),
        }


def compare(first, second):
    """The rows of two models in the table of differences, from their runs of the seeds that both have, or of all."""
    from genlab.measures import intervals
    from genlab.measures.metric_table import BY_KEY

    names = [runs[0]["subject"] for runs in (first, second)]
    paired = not (first[0]["numbered"] or second[0]["numbered"])
    seeds = [sorted(run["seed"] for run in runs) for runs in (first, second)]
    if paired:
        seeds = [sorted(set(seeds[0]) & set(seeds[1]))] * 2
    if not all(seeds):
        return
    many = " and ".join(map(str, dict.fromkeys(map(len, seeds))))
    for metric in first[0]["metrics"]:
        sign = {"higher": 1, "lower": -1, "neither": 0}[BY_KEY[metric].better]
        if sign == 0:
            continue
        values = [
            [{run["seed"]: run for run in runs}[seed]["metrics"][metric]["value"] for seed in of_model]
            for runs, of_model in zip((first, second), seeds, strict=True)
        ]
        found = (intervals.difference if paired else intervals.difference_of_means)(*values)
        ahead, behind = names if found["value"] * sign > 0 else names[::-1]
        how = f"{'better than' if found['distinguishable'] else 'ahead of'} {behind} by {abs(found['value']):.4g}"
        if found["value"] == 0:
            ahead, how = names[0], f"equal to {names[1]}"
        if found["distinguishable"] is None:
            verdict = f"{ahead} {how}, but one seed allows no verdict"
        else:
            noise = "beyond" if found["distinguishable"] else "within"
            verdict = f"{ahead} {how}, {noise} the noise of {many} seeds"
        yield {
            "problem": first[0]["problem"],
            "metric": metric,
            "first": names[0],
            "second": names[1],
            "difference": found["value"],
            **{key: found[key] for key in ("standard_error", "low", "high", "pairs")},
            "winner": ahead if found["distinguishable"] else "",
            "verdict": verdict,
        }


if __name__ == "__main__":
    cli.run(main, parser())
