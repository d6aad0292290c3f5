"""Gather the likelihood estimates of one model over its seeds: a table to read, a JSON and a CSV.

Reads what estimate_likelihood.py wrote for each seed. The table gives, for validation and test,
ELBO and log-likelihood in nats per image: with one seed the value and its standard error over
images; with several the mean, the standard deviation over seeds, and the single values.

example:
  python workflow/scripts/summarise_likelihood.py --estimates seed1.json seed2.json \\
      --curves seed1.csv seed2.csv --text vae.txt --json vae.json --csv vae.csv
"""

import csv
import statistics
from pathlib import Path

from genlab import InputError, cli

NAMES = {"elbo": "ELBO", "log_likelihood": "log-likelihood"}


def parser():
    result = cli.parser(__doc__)
    result.add_argument("--estimates", type=Path, nargs="+", required=True, metavar="JSON", help="one for each seed")
    result.add_argument("--curves", type=Path, nargs="+", required=True, metavar="CSV", help="in the same order")
    result.add_argument("--text", type=Path, required=True, metavar="TXT", help="table to write")
    result.add_argument("--json", type=Path, required=True, metavar="JSON", help="the same numbers to write")
    result.add_argument(
        "--csv", type=Path, required=True, metavar="CSV", help="estimate at each K of all seeds to write"
    )
    return result


def main(options):
    if len(options.estimates) != len(options.curves):
        raise InputError(
            f"{len(options.estimates)} files of --estimates but {len(options.curves)} of --curves; "
            "give one pair for each seed"
        )
    estimates = [cli.read_json(path) for path in options.estimates]
    try:
        write(options, estimates)
    except (KeyError, TypeError, IndexError) as error:
        raise InputError(
            f"the files are not those of estimate_likelihood.py ({error!r}); remake them with it"
        ) from None


def write(options, estimates):
    """Check that the estimates belong together, and write the table in its three forms."""
    first = estimates[0]
    for path, estimate in zip(options.estimates, estimates, strict=True):
        for key in ("model", "k", "data"):
            if estimate[key] != first[key]:
                raise InputError(
                    f"{path}: its {key} differs from that of {options.estimates[0]}; "
                    "seeds can be gathered for one model, K and data set"
                )
    summary = {
        "data": first["data"],
        "model": first["model"],
        "k": first["k"],
        "seeds": [estimate["seed"] for estimate in estimates],
        "splits": {split: gather([estimate["splits"][split] for estimate in estimates]) for split in first["splits"]},
        "provenance": [estimate["provenance"] for estimate in estimates],
    }
    rows = []
    for path, estimate in zip(options.curves, estimates, strict=True):
        with open(path, newline="", encoding="utf-8") as file:
            rows += [{"seed": estimate["seed"], **row} for row in csv.DictReader(file)]
    with cli.atomic(options.csv) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    cli.write_json(options.json, summary)
    cli.write_text(options.text, table(summary))
    print(table(summary), end="")


def gather(splits):
    """The numbers of one split over seeds; `sd` is over seeds, `standard_error` over images (its mean)."""
    result = {"images": splits[0]["images"]}
    for name in NAMES:
        values = [split[name]["mean"] for split in splits]
        result[name] = {
            "mean": statistics.fmean(values),
            "sd": statistics.stdev(values) if len(values) > 1 else None,
            "values": values,
            "standard_error": statistics.fmean(split[name]["standard_error"] for split in splits),
        }
    sizes = [split["effective_sample_size"] for split in splits]
    result["effective_sample_size"] = {key: statistics.fmean(size[key] for size in sizes) for key in sizes[0]}
    return result


def table(summary):
    """The summary as a table for a person."""
    seeds, k = summary["seeds"], summary["k"]
    spread = "standard error over images" if len(seeds) == 1 else f"standard deviation over {len(seeds)} seeds"
    estimate = f"log-likelihood, K = {k}"
    lines = [
        f"{summary['model']} on {summary['data']['title']}",
        f"nats per image, mean +- {spread}",
        "",
        f"{'split':6} {'images':>7} {'ELBO':>18} {estimate:>24} {'effective samples':>18}",
    ]
    for split, numbers in summary["splits"].items():
        cells = []
        for name in NAMES:
            error = numbers[name]["standard_error"] if len(seeds) == 1 else numbers[name]["sd"]
            cells.append(f"{numbers[name]['mean']:.3f} +- {error:.3f}")
        size = f"{numbers['effective_sample_size']['median']:.1f} of {k}"
        lines.append(f"{split:6} {numbers['images']:>7} {cells[0]:>18} {cells[1]:>24} {size:>18}")
    lines.append("")
    if len(seeds) > 1:
        for split, numbers in summary["splits"].items():
            for name, title in NAMES.items():
                single = ", ".join(f"{value:.3f}" for value in numbers[name]["values"])
                lines.append(f"{split} {title} of seeds {', '.join(map(str, seeds))}: {single}")
        lines.append("")
    lines.append("The log-likelihood is an importance-sampling estimate: in expectation a lower bound, tighter as K")
    lines.append("grows. Effective samples: median over images; few mean that the bound is still loose.")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    cli.run(main, parser())
