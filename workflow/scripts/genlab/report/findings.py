"""What the numbers of a run mean, in sentences that are chosen by the numbers and quote them.

Each function takes `results.Results` and returns a list of sentences of plain text, or an empty one where there is
nothing to say. A sentence that judges, judges by the comparison it states: a limit of the configuration, or twice the
error. Numbers are written as in the tables. Nothing here imports torch.
"""

import itertools
import math

from ..measures.metric_table import BY_KEY
from .acceptance import acceptance
from .tables import SPLITS
from .typeset import limit, number, plus_minus, share

FLAT = 0.05  # of log 2: an estimate that varies by less between values of theta cannot tell them apart


def against(row):
    """The judgement of an acceptance row that has a limit, in words."""
    side = {">=": ("below", "at or above"), "<=": ("beyond", "within")}[row["sense"]][row["passed"]]
    of_stand_ins = " for this configuration on stand-in data" if row["expected"] else ""
    return f"{side} the limit of {limit(row['limit'])}{of_stand_ins}"


def judged(results, key, model=None):
    """The acceptance row of a criterion, and of a model where each has one."""
    return next(row for row in acceptance(results) if (row["key"], row["model"]) == (key, model))


def data(results):
    """On colour images of a person's own: how many, what was converted, and whether test images were trained on."""
    found = next((content["data"] for content in results.fid.values() if content["data"]["source"] == "own"), None)
    if found is None:
        return []
    numbers = ", ".join(f"{found['counts'][split]:,} {name}" for split, name in SPLITS.items())
    said = [f"{found['title']}: images of {len(found['classes'])} classes, {numbers}."]
    for split, done in found["converted"].items():
        if done:
            words = ", ".join(f"{number:,} {what}" for what, number in done.items())
            said.append(f"Converted {SPLITS[split]} images: {words}.")
    if equal := found["test_images_in_training"]:
        said.append(f"{equal:,} test images equal a training image: metrics favour models that remember.")
    return said


def divergences(results):
    """On the Jensen-Shannon and the Wasserstein distance of two segments."""
    found = results.divergences
    errors, ranges = found["largest_error"], found["range_of_jsd"]["elsewhere"]
    jsd, w1 = judged(results, "jsd_error"), judged(results, "w1_error")
    spread = ranges["highest"] - ranges["lowest"]
    said = [
        f"The estimated Jensen-Shannon divergence is within {number(errors['jsd_at_zero'], 2)} nats of 0 at "
        f"\u03b8 = 0, and within {number(errors['jsd_elsewhere'], 2)} nats of log 2 = 0.6931 at every other \u03b8. "
        f"The largest error is {against(jsd)}."
    ]
    if spread <= FLAT * 0.6931:
        said.append(
            "It jumps and then stays flat: it says whether two segments differ and not by how much, and its slope in "
            "\u03b8, which a generator would have to follow, is zero."
        )
    else:
        said.append(
            f"It varies by {number(spread, 2)} nats between values of \u03b8 other than 0, where the exact one is "
            "flat: the discriminators have not converged."
        )
    said.append(
        f"The Wasserstein distance, corrected, grows with |\u03b8| at a slope of {number(found['slope'], 3)} (exact: "
        f"1); its largest error, {number(w1['value'], 2)}, is {against(w1)}."
    )
    if w1["passed"]:
        said.append("It tells near from far at every \u03b8, so a generator that follows it is drawn to the data.")
    if wrong := found["wrong_signs"]:
        total = len(results.thetas)
        said.append(f"{wrong} of {total} critics kept the wrong sign: their estimates are negative and not to be used.")
    return said


def density(results):
    """On the density from a discriminator."""
    found = results.density
    l1, off = judged(results, "density_l1_error"), judged(results, "density_integral_error")
    low, high = found["integral"]["lowest"], found["integral"]["highest"]
    return [
        f"The density that the discriminator gives differs from the exact one by an L1 error of at most "
        f"{number(l1['value'], 2)} over {len(found['seeds'])} seeds, {against(l1)}.",
        f"Its integral, which nothing in the training forces to 1, lies between {number(low)} and {number(high)}: off "
        f"1 by {number(off['value'], 2)}, {against(off)}.",
    ]


def likelihood(results):
    """On ELBO and log-likelihood of each binary model, and on which is better."""
    said = []
    for model, summary in results.likelihood.items():
        seeds, k = len(summary["seeds"]), summary["k"]
        valid, test = summary["splits"]["valid"], summary["splits"]["test"]
        row = judged(results, "elbo_valid", model)

        def text(numbers, seeds=seeds):
            return plus_minus(numbers["mean"], numbers["sd"] if seeds > 1 else numbers["standard_error"])

        said.append(
            f"{model}: the ELBO of validation images is {text(valid['elbo'])} nats"
            f"{'' if row['limit'] is None else ', ' + against(row)}; of test images {text(test['elbo'])}."
        )
        said.append(
            f"Importance sampling with K = {k} gains {text(test['elbo_gap'])} nats over the ELBO: the log-likelihood "
            f"of test images is at least {text(test['log_likelihood'])}, in expectation."
        )
        size, heavy = test["effective_sample_size"]["median"], test["pareto_k"]["share_above_0.7"]
        loose = f"The median effective sample size is {number(size, 3)} of {k}"
        if heavy is not None:
            which = "the sampled test images" if "sampled_images" in test else "the test images"
            loose += f", and on {share(heavy)} of {which} k\u0302 is above 0.7: their error is unknown"
        gain = summary["gain_beyond_k"].get("test")
        if gain:
            loose += f"; K = {gain['k']} gives {text(gain)} nats more on {gain['images']} of them"
        said.append(loose + (": the bound is loose." if size < 0.1 * k else "."))
        if bracket := results.brackets.get(model):
            true, gain = number(bracket["log_likelihood"], 4), plus_minus(bracket["gain"], bracket["gain_error"])
            said.append(
                f"Annealed importance sampling gains {gain} nats over K = {k} on {bracket['images']} test images "
                f"(first seed), so the log-likelihood of test images is about {true}."
            )
            if "gap" in bracket:
                said.append(
                    f"On {bracket['simulated']} images of the model itself, where the truth lies between two bounds, "
                    f"these are {plus_minus(bracket['gap'], bracket['gap_error'])} nats apart."
                )
        if over := summary["overfitting"].get("log_likelihood"):
            size, error = over["mean"], over["standard_error"]
            if size > 2 * error:
                judgement = "beyond twice the error: the model knows its training images better than new ones"
            elif size < -2 * error:
                judgement = "the sample of training images is the harder one"
            else:
                judgement = "within twice the error: no overfitting is seen"
            said.append(
                f"Training minus test log-likelihood is {number(size, 3)} nats, standard error {number(error, 2)}, "
                f"{judgement}."
            )
    return said + order(results) + verdicts(results, "likelihood", ["log_likelihood_test"])


def order(results):
    """Whether importance sampling puts the binary models into the order that annealing puts them in, as sentences."""
    models = sorted(results.brackets, key=lambda model: results.brackets[model]["log_likelihood"])
    if len(models) < 2:
        return []
    k, pairs, known, wrong = results.likelihood[models[0]]["k"], list(itertools.combinations(models, 2)), 0, []
    for low, high in pairs:
        worse, better = results.brackets[low], results.brackets[high]
        difference = better["log_likelihood"] - worse["log_likelihood"]
        error = math.hypot(worse["gain_error"], better["gain_error"])
        if difference <= 2 * error:
            continue
        known += 1
        if worse["log_likelihood"] - worse["gain"] > better["log_likelihood"] - better["gain"]:
            wrong.append(
                f"K = {k} puts {low} above {high}; annealed importance sampling puts it below, by "
                f"{plus_minus(difference, error)} nats."
            )
    said = [f"Annealed importance sampling tells {known} of {len(pairs)} pairs of models apart, by twice its error."]
    return said + (wrong or [f"K = {k} gives the same order."] if known else [])


def verdicts(results, problem, metrics):
    """The verdicts of the comparison on some metrics, as sentences."""
    table = results.comparison
    rows = table[(table["problem"] == problem) & table["metric"].isin(metrics)]
    return [f"{BY_KEY[row['metric']].title}: {row['verdict']}." for _, row in rows.iterrows()]


def quality(results):
    """On the FID of each image model, the lowest first."""
    said = []
    for model, summary in sorted(results.fid.items(), key=lambda item: item[1]["fid"]["mean"]):
        fid, floor, ratio = summary["fid"], summary["floor"], summary["ratio"]
        text = f"{model}: FID {plus_minus(fid['mean'], fid['sd'])} on {summary['samples']:,} samples"
        if ratio is not None:
            text += f", {number(ratio, 3)} times the {number(floor['mean'])} that real training images score"
            row = judged(results, "fid_ratio", model)
            if row["limit"] is not None:
                text += f" ({against(row)})"
        said.append(text + ".")
    return said + verdicts(results, "images", ["fid"])


def beside_real(found, name):
    """How a measure of samples lies to real images: -1 below, 0 within twice the noise, 1 above; and its ratio."""
    sample, test, train = (found[part][name] for part in ("samples", "test", "train"))
    noise = 2 * (train["sd"] ** 2 + sample.get("standard_error", 0.0) ** 2) ** 0.5
    difference = sample["value"] - test["value"]
    side = 0 if abs(difference) <= noise else (1 if difference > 0 else -1)
    return side, sample["value"] / test["value"] if test["value"] else None


def sharpness(results):
    """On the sharpness of each image model's samples."""
    words = {
        -1: "less than the noise allows: they are blurred",
        0: "within the noise between sets of real images",
        1: "more than the noise allows: neighbouring pixels differ more than they should",
    }
    said = []
    for model, found in results.statistics.items():
        side, ratio = beside_real(found, "sharpness")
        of = "" if ratio is None else f" {number(ratio, 3)} times"
        said.append(f"{model}: samples have{of} the sharpness of test images, {words[side]}.")
    return said


def diversity(results):
    """On how much of the data each image model covers."""
    table = results.summary
    said = []
    coverage = table[table["metric"] == "coverage"].set_index("key")["value"]
    for model, found in results.statistics.items():
        own, real = coverage.get(f"runs/{model}"), coverage.get("references/train")
        side, ratio = beside_real(found, "feature_distance")
        words = {-1: "less varied than", 0: "as varied as", 1: "more varied than"}[side]
        of = "" if ratio is None else f" ({number(ratio, 3)} times their mean distance in features)"
        text = f"{model}: samples are {words} test images{of}"
        if own is not None and real is not None:
            text += f" and cover {share(own)} of them; training images cover {share(real)}"
        said.append(text + ".")
        divergence = {part: found[part]["class_divergence"] for part in ("samples", "train")}
        above = divergence["samples"]["value"] > divergence["train"]["value"] + 2 * divergence["train"]["sd"]
        classes = "digits" if results.of_digits else "classes"
        said.append(
            f"Their {classes} are distributed {'differently from' if above else 'like'} those of real images: "
            f"divergence {number(divergence['samples']['value'], 2)} nats, of training images "
            f"{number(divergence['train']['value'], 2)}."
        )
    return said


def interpolation(results):
    """On the middle of paths between two latents, against the mixture of the two images."""
    said = []
    for model, found in results.latents.items():
        latent, image = (found["middle"][f"{path}_sharpness_ratio"] for path in ("latent", "image"))
        if latent["mean"] is None or image["mean"] is None:
            continue
        errors = [each["standard_error"] or 0.0 for each in (latent, image)]
        difference, noise = latent["mean"] - image["mean"], 2 * (errors[0] ** 2 + errors[1] ** 2) ** 0.5
        if difference > noise:
            words = "the path in the latents passes through images, the mixture is a double exposure"
        elif difference < -noise:
            words = "the path in the latents loses more than the mixture does"
        else:
            words = "no difference beyond twice the error"
        said.append(
            f"{model}: halfway between two latents the image keeps {share(latent['mean'])} of the sharpness of the "
            f"ends, halfway between the two images {share(image['mean'])} (means over {found['pairs']} pairs): {words}."
        )
        effects = found["effects"]
        if (sphere := found["middle"]["sphere_sharpness_ratio"])["mean"] is not None:
            said.append(
                f"On the sphere, where latents keep the length of draws from N(0, I), the middle keeps "
                f"{share(sphere['mean'])} of the sharpness: the middle of the straight line is untypically short."
            )
        said.append(
            f"{effects['visible']} of {effects['latents']} latents move its picture by more than "
            f"{number(effects['threshold'], 2)} grey level at a step of {number(found['epsilon'], 2)}; "
            f"{found['correlated']} correlate with a measured attribute of the images beyond chance."
        )
    return said


def images(results):
    """{subject: sentences} on image models, in the order of the report."""
    parts = {
        "Quality": quality,
        "Sharpness": sharpness,
        "Diversity": diversity,
        "Interpolation and latents": interpolation,
    }
    return {name: said for name, part in parts.items() if (said := part(results))}


def comparison(results):
    """On all metrics at once: how often each verdict occurs."""
    table = results.comparison[results.comparison["problem"] == "images"]
    said = []
    for (first, second), group in table.groupby(["first", "second"], sort=False):
        wins = {name: int((group["winner"] == name).sum()) for name in (first, second)}
        said.append(
            f"Beyond the noise between seeds, {first} is better than {second} on {wins[first]} of {len(group)} "
            f"metrics, and {second} is better on {wins[second]}; {len(group) - sum(wins.values())} allow no verdict."
        )
    return said
