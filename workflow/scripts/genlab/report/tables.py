"""Tables of a run's results, made once for the report, for Markdown and for LaTeX.

Each function `*_table(results)` takes `results.Results` and returns a `typeset.Table`. Nothing here imports torch.
"""

import math

from ..data.images import GREY_LEVELS
from ..data.samples import said
from ..measures.metric_table import BY_KEY, OF_IMAGES
from .acceptance import acceptance_table
from .ladder import ladder_table
from .typeset import MINUS, PLUS_MINUS, UNKNOWN, Table, cell, number, over, plus_minus, share, spread_cell

SPLITS = {"train": "training", "valid": "validation", "test": "test"}
MEASURES = {
    "sharpness": "sharpness, grey levels",
    "high_frequency_power": "power above 0.25 cycles/pixel, squared grey levels",
    "pixel_distance": "pixel distance of all pairs, grey levels",
    "feature_distance": "feature distance of all pairs",
    "feature_nearest": "feature distance to the nearest other",
    "class_entropy": "class entropy, nats",
    "class_divergence": "class divergence from test images, nats",
    "top_probability": "probability of the first choice",
}


def divergence_table(results):
    """Estimates and exact values at each theta, over seeds."""
    rows = []
    for theta, group in results.thetas.groupby("theta"):
        row = [cell(theta, 2)]
        for name in ("jsd", "w1", "w1_corrected"):
            if name != "w1_corrected":
                row.append(cell(group[f"{name}_exact"].iloc[0]))
            mean, sd = group[name].mean(), group[name].std()
            text = f"{mean:.4f}".replace("-", MINUS)
            row.append((text + (f" {PLUS_MINUS} {sd:.4f}" if len(group) > 1 else ""), mean))
        rows.append(row)
    header = ["\N{GREEK SMALL LETTER THETA}", "JSD exact", "JSD", "W\N{SUBSCRIPT ONE} exact", "W\N{SUBSCRIPT ONE}",
              "W\N{SUBSCRIPT ONE} corrected"]  # fmt: skip
    points = results.config["divergences"]["estimation"]["points"]
    caption = (
        f"Divergences of {results.title('divergences')}; JSD in nats. Read on {points:,} fresh points, without the "
        f"penalty; {over(results.divergences['seeds'], images=False)}. Corrected: divided by the critic's steepest "
        "slope, a lower bound."
    )
    return Table("divergences", caption, header, rows)


def density_table(results):
    """Integral and errors of the estimated density, a row each seed."""
    found = results.density
    names = {"integral": "integral, exact 1", "l1_error": "L1 error", "kl": "Kullback-Leibler divergence, nats"}
    rows = [
        [cell(seed), *(cell(found[name]["by_seed"][row]) for name in names)] for row, seed in enumerate(found["seeds"])
    ]
    caption = f"Density of {found['data']['title']}, from a discriminator, against the exact one."
    return Table("density", caption, ["seed", *names.values()], rows)


def likelihood_table(results):
    """ELBO and log-likelihood of every binary model on every split."""
    rows, k, seeds = [], None, []
    for model, summary in results.likelihood.items():
        k, seeds = summary["k"], summary["seeds"]
        for split, numbers in summary["splits"].items():
            rows.append(
                [
                    model,
                    SPLITS[split],
                    (f"{numbers['images']:,}" + sampled_of(numbers), numbers["images"]),
                    *(spread_cell(numbers[name], len(seeds)) for name in ("elbo", "log_likelihood", "elbo_gap")),
                    cell(numbers["effective_sample_size"]["median"], 3),
                    (share(numbers["pareto_k"]["share_above_0.7"]), numbers["pareto_k"]["share_above_0.7"]),
                ]
            )
    header = ["model", "images of", "number", "ELBO", "log-likelihood", "gap", "effective samples", "k\u0302 above 0.7"]
    caption = (
        f"ELBO and importance-sampled log-likelihood, K = {k}, in nats per image; {over(seeds)}. "
        "Effective samples: median over images, of K. Where k\u0302 exceeds 0.7 the weights' variance may be infinite. "
        f"Data: {results.title('likelihood')}."
    )
    return Table("likelihood", caption, header, rows)


def sampled_of(numbers):
    """How many images of a split got importance samples, if not all."""
    return f" ({numbers['sampled_images']:,} sampled)" if "sampled_images" in numbers else ""


def fid_table(results):
    """FID of every image model beside the real-data FID."""
    rows, summary = [], {}
    for model, summary in results.fid.items():
        floor = summary["floor"]
        rows.append(
            [
                model,
                results.kind(model),
                spread_cell(summary["fid"], len(summary["seeds"])),
                ", ".join(number(value) for value in summary["fid"]["values"]),
                (plus_minus(floor["mean"], floor["sd"]), floor["mean"]) if floor else UNKNOWN,
                cell(summary["ratio"], 3),
            ]
        )
    header = ["model", "kind", "FID", "of each seed", "real-data FID", "FID / real-data FID"]
    seeds = [each["seeds"] for each in results.fid.values()]
    alike = len(set(map(len, seeds))) == 1  # samples from elsewhere have as many seeds as folders
    spread = over(seeds[0], images=False) if alike else f"mean {PLUS_MINUS} standard deviation over several seeds"
    caption = (
        f"Fréchet distance of {summary['samples']:,} samples to {summary['reference']['images']:,} test images, on "
        f"{summary['features']['words']}, weights of SHA-256 {summary['features']['sha256'][:8]}; lower "
        f"is better; {spread}. Real-data FID: of as many real training images, "
        f"{PLUS_MINUS} over draws. Data: {results.title('images')}."
    )
    return Table("fid", caption, header, rows)


def elbo_table(results):
    """ELBO of the image VAEs on one scale, first seed."""
    rows, models = [], results.config["images"]["models"]
    for model, found in results.elbo.items():
        spread = found["standard_deviation"]
        valid, test = (found["splits"][split] for split in ("valid", "test"))
        rows.append(
            [
                model,
                found["likelihood"],
                cell(None if spread is None else GREY_LEVELS * spread, 3),
                cell(valid["bits"]),
                cell(test["bits"]),
                (plus_minus(test["elbo"], test["standard_error"]), test["elbo"]),
                cell(test["kl"], 3),
                cell(found["rmse"], 3),
                "drawn from p(x|z)" if models[model]["noise"] else "means of p(x|z)",
            ]
        )
    header = ["model", "p(x|z)", "its sd, grey levels", "bits per dimension, validation", "test", "ELBO, test",
              "KL", "RMSE of reconstructions", "samples are"]  # fmt: skip
    caption = (
        f"ELBO of the image VAEs, seed {results.first}. Bits per dimension of 8-bit pixels compare the likelihoods: a "
        "uniform guess has 8, and less is better. The ELBO in nats is of a density for normals and of a probability "
        f"for logistics, so it does not compare; {PLUS_MINUS} standard error over images. RMSE in grey levels. Data: "
        f"{results.title('images')}."
    )
    return Table("elbo", caption, header, rows)


def imported_table(results):
    """What was made elsewhere, and what was converted."""
    rows = [
        [
            model,
            cell(each["seed"]),
            each["source"],
            (f"{each['available']:,}", each["available"]),
            said(each["converted"]) or "nothing",
        ]
        for model, seeds in results.imported.items()
        for each in seeds
    ]
    caption = (
        "Samples that were made elsewhere, and what was done to how many of the images. They are scored like those of "
        "the models of this run; what needs a generator is left out: latents, interpolation, training."
    )
    return Table("imported", caption, ["model", "seed", "from", "images", "converted"], rows)


def statistics_table(results):
    """What samples are like beside real images, first seed."""
    models = results.statistics
    any_model = next(iter(models.values()))
    rows = []
    for name, title in MEASURES.items():
        row = [title]
        for model in models.values():
            found = model["samples"][name]
            row.append((plus_minus(found["value"], found.get("standard_error")), found["value"]))
        test, train = any_model["test"][name], any_model["train"][name]
        row.append((plus_minus(test["value"], test.get("standard_error")), test["value"]))
        row.append((plus_minus(train["value"], train["sd"]), train["value"]))
        rows.append(row)
    caption = (
        f"What the samples are like, seed {results.first}: {any_model['images']:,} images each; {PLUS_MINUS} standard "
        f"error over images; training images: mean {PLUS_MINUS} standard deviation of {any_model['draws']} sets, what "
        f"a perfect generator would show. Data: {results.title('images')}."
    )
    return Table("statistics", caption, ["measure", *models, "test images", "training images"], rows)


def metrics_table(results):
    """Every metric of every set of images, with its 95% interval."""
    table = results.summary[results.summary["problem"] == "images"]
    metrics = [metric for metric in OF_IMAGES if (table["metric"] == metric.key).any()]
    rows = []
    for _, group in table.groupby("key", sort=False):
        row, of_subject = [group["subject"].iloc[0]], group.set_index("metric")
        for metric in metrics:
            if metric.key not in of_subject.index:
                row.append(UNKNOWN)
                continue
            found = of_subject.loc[metric.key]
            low, high = found["low"], found["high"]
            text = number(found["value"], 3)
            if math.isfinite(low) and math.isfinite(high):
                text += f"\n[{number(low, 3)}, {number(high, 3)}]"
            row.append((text, float(found["value"])))
        rows.append(row)
    arrows = {"lower": " \N{DOWNWARDS ARROW}", "higher": " \N{UPWARDS ARROW}", "neither": ""}
    header = ["images", *(f"{metric.title}{arrows[metric.better]}" for metric in metrics)]
    seeds = "over seeds" if (table["over"] == "seeds").any() else "over disjoint sets of images of one training"
    caption = (
        f"Every metric of models and references, with 95% t intervals {seeds}, of references over sets of images; "
        f"{table['protocol'].iloc[0]}. Arrows: which way is better. Data: {table['data'].iloc[0]}."
    )
    return Table("metrics", caption, header, rows)


def comparison_table(results):
    """The differences between models with their verdicts."""
    rows = [
        [
            BY_KEY[row["metric"]].title,
            f"{row['first']} {MINUS} {row['second']}",
            cell(row["difference"], 3),
            f"[{number(row['low'], 3)}, {number(row['high'], 3)}]" if math.isfinite(row["low"]) else UNKNOWN,
            row["verdict"],
        ]
        for _, row in results.comparison.iterrows()
    ]
    unless = " (samples from elsewhere are not paired)" if results.imported else ""
    caption = (
        f"Differences between models, paired by seed{unless}, with 95% intervals; not corrected for the number of "
        "metrics. "
        "A model is called better only where the interval excludes 0."
    )
    return Table("comparison", caption, ["metric", "models", "difference", "interval", "verdict"], rows)


def epochs_cell(training):
    """The epochs of a training, and those that it was first planned for, if fewer."""
    epochs = training["settings"]["epochs"]
    before = dict.fromkeys(stretch["epochs"] for stretch in training["stretches"] if stretch["epochs"] != epochs)
    return str(epochs) + (f"\nextended from {', '.join(map(str, before))}" if before else ""), epochs


def training_table(results):
    """Size, epochs and time of every training."""
    rows = [
        [
            run,
            cell(each["seed"]),
            (f"{each['parameters']:,}", each["parameters"]),
            epochs_cell(each),
            cell(each["best_epoch"]),
            cell(each["seconds"] / 60, 3),
        ]
        for run, seeds in results.training.items()
        for each in seeds
    ]
    header = ["run", "seed", "parameters", "epochs", "epoch kept", "minutes"]
    return Table("training", "Every training: its size, epochs, and time without validation.", header, rows)


def all_tables(results):
    """Every table that the run has numbers for, by name."""
    tables = [table(results) for table in (acceptance_table, divergence_table, density_table, training_table)]
    tables.append(comparison_table(results))
    if results.likelihood:
        tables.append(likelihood_table(results))
    if len(results.likelihood) > 1:
        tables.append(ladder_table(results))
    if results.fid:
        tables += [fid_table(results), statistics_table(results), metrics_table(results)]
    if results.elbo:
        tables.append(elbo_table(results))
    if results.imported:
        tables.append(imported_table(results))
    return {table.name: table for table in tables}
