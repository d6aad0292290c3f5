"""Gather the likelihood estimates of one model over its seeds: a table to read, a JSON and a CSV.

Reads what estimate_likelihood.py wrote for each seed. The table gives, for training, validation
and test, ELBO, log-likelihood and the gap between them in nats per image, how sound the importance
weights are, overfitting, and the gain by more samples: with one seed the value and its standard
error over images; with several the mean, the standard deviation over seeds, and the single values.

example:
  python workflow/scripts/summarise_likelihood.py --estimates seed1.json seed2.json \\
      --curves seed1.csv seed2.csv --output vae.txt
"""

import csv
import statistics
from pathlib import Path

from genlab import InputError, cli, files

NAMES = {"elbo": "ELBO", "log_likelihood": "log-likelihood", "elbo_gap": "ELBO gap"}
PARTS = ("splits", "overfitting", "gain_beyond_k")  # each a dict with an entry for each of some splits or NAMES
MEAN = {"mean": files.NUMBER, "standard_error": files.NUMBER}

# What is read of an estimate: of the whole, of each split, and of the numbers that it may have for some splits.
FIELDS = {
    **{"model": str, "data/title": str, "k": int, "seed": int, "provenance": dict},
    **{"latents": int, "active_latents": int},
    **dict.fromkeys(PARTS, dict),
}
SPLIT = {
    "images": int,
    **{f"{name}/{key}": kind for name in NAMES for key, kind in MEAN.items()},
    **{f"effective_sample_size/{key}": files.NUMBER for key in ("mean", "median", "min")},
    **{f"pareto_k/{key}": files.NUMBER | None for key in ("median", "share_above_0.7")},
}

EXPLANATION = """
The log-likelihood is an importance-sampling estimate: in expectation a lower bound, tighter as K
grows. ELBO gap: log-likelihood less ELBO. Effective samples and Pareto k-hat of an image's weights:
medians over images. Few effective samples mean that the bound is still loose. Where k-hat exceeds
0.7, the variance of the weights may be infinite: a lower bound still, but no K in reach is enough.
Active latents: their posterior mean has a variance above 0.01 over validation images.
"""


def parser():
    result = cli.parser(__doc__)
    result.add_argument("--estimates", type=Path, nargs="+", required=True, metavar="JSON", help="one for each seed")
    result.add_argument("--curves", type=Path, nargs="+", required=True, metavar="CSV", help="in the same order")
    result.add_argument(
        "--output", type=cli.path_ending(".txt"), required=True, metavar="TXT",
        help="table to write; with the same name and .json, the same numbers; and .csv, the estimate at each K",
    )  # fmt: skip
    return result


def main(options):
    if len(options.estimates) != len(options.curves):
        raise InputError(
            f"{len(options.estimates)} files of --estimates but {len(options.curves)} of --curves; "
            "give one pair for each seed"
        )
    files.check_apart(
        [options.output.with_suffix(ending) for ending in (".txt", ".json", ".csv")], options.estimates + options.curves
    )
    estimates = [read_estimate(path) for path in options.estimates]
    curves = [read_curve(path) for path in options.curves]
    first, seeds = estimates[0], [estimate["seed"] for estimate in estimates]
    for path, estimate in zip(options.estimates, estimates, strict=True):
        differing = [key for key in ("model", "k", "data", "latents") if estimate[key] != first[key]]
        differing += [key for key in PARTS if estimate[key].keys() != first[key].keys()]
        if not differing:
            differing = [key for key in PARTS if images_of(estimate[key]) != images_of(first[key])]
        if differing:
            raise InputError(
                f"{path}: its {differing[0]} differs from that of {options.estimates[0]}; "
                "give the seeds of one model, K and data set"
            )
    if len(set(seeds)) < len(seeds):
        raise InputError(f"--estimates: the seeds are {', '.join(map(str, seeds))}; give one estimate for each seed")
    summary = {
        "data": first["data"],
        "model": first["model"],
        "k": first["k"],
        "seeds": seeds,
        "splits": {split: gather([estimate["splits"][split] for estimate in estimates]) for split in first["splits"]},
        "overfitting": {
            name: over_seeds([estimate["overfitting"][name] for estimate in estimates]) for name in first["overfitting"]
        },
        "gain_beyond_k": {
            split: {"k": gain["k"], "images": gain["images"]}
            | over_seeds([estimate["gain_beyond_k"][split] for estimate in estimates])
            for split, gain in first["gain_beyond_k"].items()
        },
        "latents": first["latents"],
        "active_latents": [estimate["active_latents"] for estimate in estimates],
        "provenance": [estimate["provenance"] for estimate in estimates],
    }
    rows = []
    for path, curve, seed in zip(options.curves, curves, seeds, strict=True):
        if curve[0].keys() != curves[0][0].keys():
            raise InputError(f"{path}: its columns differ from those of {options.curves[0]}; remake both")
        rows += [{"seed": seed, **row} for row in curve]
    with (
        files.atomic(options.output.with_suffix(".csv")) as temporary,
        open(temporary, "w", newline="", encoding="utf-8") as file,
    ):
        writer = csv.DictWriter(file, rows[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    files.write_json(options.output.with_suffix(".json"), summary)
    files.write_text(options.output, table(summary))
    print(table(summary), end="")


def images_of(part):
    """How many images, and importance samples, the numbers of each split rest on."""
    return [[of_split.get(key) for key in ("images", "sampled_images", "k")] for of_split in part.values()]


def read_estimate(path):
    """What estimate_likelihood.py has written of one seed."""
    estimate = files.read_json(path, FIELDS)
    of_each = {"splits": SPLIT, "overfitting": MEAN, "gain_beyond_k": MEAN | {"k": int, "images": int}}
    for part, fields in of_each.items():
        for name in estimate[part]:
            wanted = {f"{part}/{name}/{field}": kind for field, kind in fields.items()}
            files.check_fields(path, estimate, wanted)
    return estimate


def read_curve(path):
    """The rows of the table that estimate_likelihood.py has written beside, as dicts."""
    try:
        with open(path, newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file, strict=True))
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: not a CSV table ({error}); remake it with estimate_likelihood.py") from None
    if not rows or any(None in row or None in row.values() for row in rows):
        raise InputError(f"{path}: has no rows or rows of another length than its header; remake it")
    return rows


def over_seeds(estimates):
    """One number over seeds; `sd` is over seeds, `standard_error` over images (its mean)."""
    from genlab.measures import intervals

    error = statistics.fmean(estimate["standard_error"] for estimate in estimates)
    return intervals.spread([estimate["mean"] for estimate in estimates]) | {"standard_error": error}


def gather(splits):
    """The numbers of one split over seeds."""
    result = {key: splits[0][key] for key in ("images", "sampled_images") if key in splits[0]}
    for name in NAMES:
        result[name] = over_seeds([split[name] for split in splits])
    for name in ("effective_sample_size", "pareto_k"):
        result[name] = {key: mean_or_none([split[name][key] for split in splits]) for key in splits[0][name]}
    return result


def mean_or_none(values):
    """The mean; None if any value is, as Pareto k-hat is at a small K."""
    return None if None in values else statistics.fmean(values)


def table(summary):
    """The summary as a table for a person."""
    seeds, k = summary["seeds"], summary["k"]
    spread = "standard error over images" if len(seeds) == 1 else f"standard deviation over {len(seeds)} seeds"

    def plus_minus(numbers):
        return f"{numbers['mean']:.3f} +- {numbers['standard_error'] if len(seeds) == 1 else numbers['sd']:.3f}"

    estimate = f"log-likelihood, K = {k}"
    lines = [
        f"{summary['model']} on {summary['data']['title']}",
        f"nats per image, mean +- {spread}",
        "",
        f"{'split':6} {'images':>7} {'ELBO':>18} {estimate:>24} {'ELBO gap':>16}",
    ]
    for split, numbers in summary["splits"].items():
        elbo, estimate, gap = (plus_minus(numbers[name]) for name in NAMES)
        lines.append(f"{split:6} {numbers['images']:>7} {elbo:>18} {estimate:>24} {gap:>16}")
    lines += ["", f"{'split':6} {'effective samples':>18} {'Pareto k-hat':>14} {'k-hat above 0.7':>17}"]
    for split, numbers in summary["splits"].items():
        size = f"{numbers['effective_sample_size']['median']:.1f} of {k}"
        shape, share = numbers["pareto_k"]["median"], numbers["pareto_k"]["share_above_0.7"]
        shapes = ("K too small", "-") if shape is None else (f"{shape:.2f}", f"{share:.1%}")
        lines.append(f"{split:6} {size:>18} {shapes[0]:>14} {shapes[1]:>17}")
    lines.append("")
    for split, numbers in summary["splits"].items():
        if "sampled_images" in numbers:
            lines.append(
                f"{split}: K samples for {numbers['sampled_images']} images; the log-likelihood is by difference"
            )
    if summary["overfitting"]:
        pairs = (f"{NAMES[name]} {plus_minus(numbers)}" for name, numbers in summary["overfitting"].items())
        lines += [f"Overfitting, training less test: {', '.join(pairs)}"]
    for split, gain in summary["gain_beyond_k"].items():
        lines.append(f"K = {gain['k']} instead of {k} gives {plus_minus(gain)} more on {gain['images']} {split} images")
    active = ", ".join(map(str, summary["active_latents"]))
    lines += [f"Active latents: {active} of {summary['latents']}", ""]
    if len(seeds) > 1:
        for split, numbers in summary["splits"].items():
            for name, title in NAMES.items():
                single = ", ".join(f"{value:.3f}" for value in numbers[name]["values"])
                lines.append(f"{split} {title} of seeds {', '.join(map(str, seeds))}: {single}")
        lines.append("")
    return "\n".join(lines) + EXPLANATION


if __name__ == "__main__":
    cli.run(main, parser())
