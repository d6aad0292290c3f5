"""The main numbers of a run beside their limits: the report's overview. Nothing here imports torch."""

from .typeset import UNKNOWN, Table, cell, limit


def acceptance(results):
    """The main numbers and their limits: a list of dicts key, model, name, problem, value, limit, sense, passed.

    key            what is measured; the name of its limit in the configuration, where it has one
    model          of which model, or None
    value          with several seeds the mean over seeds, for errors of Problem 1 the largest
    limit, passed  None where the number is only told
    expected       whether the limit is what the configuration is known to reach on embedded data, not the task's
    sense          of the limit, "<=" or ">="
    """
    limits, expected = results.config["report"]["thresholds"], results.config["report"]["expected"]
    errors, density = results.divergences["largest_error"], results.density
    off = max(abs(density["integral"][end] - 1) for end in ("lowest", "highest"))
    jsd = max(errors["jsd_at_zero"], errors["jsd_elsewhere"])
    l1, w1 = density["l1_error"]["highest"], errors["w1_corrected"]
    rows = [
        ("jsd_error", None, "Jensen-Shannon divergence, largest error, nats", "divergences", jsd, "<="),
        ("w1_error", None, "Wasserstein distance, corrected, largest error", "divergences", w1, "<="),
        ("density_l1_error", None, "density, largest L1 error", "divergences", l1, "<="),
        ("density_integral_error", None, "density, integral off 1 by at most", "divergences", off, "<="),
    ]
    for model, summary in results.likelihood.items():
        elbo, estimate = summary["splits"]["valid"]["elbo"]["mean"], summary["splits"]["test"]["log_likelihood"]["mean"]
        rows.append(("elbo_valid", model, f"{model}: validation ELBO, nats per image", "likelihood", elbo, ">="))
        name = f"{model}: test log-likelihood, K = {summary['k']}"
        rows.append(("log_likelihood_test", model, name, "likelihood", estimate, ">="))
    for model, summary in results.fid.items():
        if summary["ratio"] is not None:
            rows.append(("fid_ratio", model, f"{model}: FID / real-data FID", "images", summary["ratio"], "<="))
    keys = ("key", "model", "name", "problem", "value", "sense")
    found = [dict(zip(keys, row, strict=True)) for row in rows]
    for row in found:
        key, model, value = row["key"], row["model"], row["value"]
        source = results.source(row["problem"], model) if model else None
        row["expected"] = source == "embedded"
        if row["expected"]:
            bound = expected.get(key, {}).get(model)
        elif key == "fid_ratio" and (source == "own" or not results.has("critic", model)):
            bound = None  # the limit is the task's, of a GAN and SVHN
        else:
            bound = limits.get(key)
        row["limit"] = bound
        row["passed"] = None if bound is None else (value <= bound if row["sense"] == "<=" else value >= bound)
    return found


def acceptance_table(results):
    """The overview: every criterion with its value, its limit and the verdict."""
    found = acceptance(results)
    signs = {"<=": "\N{LESS-THAN OR EQUAL TO}", ">=": "\N{GREATER-THAN OR EQUAL TO}"}
    rows = [
        [
            row["name"],
            cell(row["value"]),
            UNKNOWN
            if row["limit"] is None
            else f"{'expected ' if row['expected'] else ''}{signs[row['sense']]} {limit(row['limit'])}",
            {True: "pass", False: "fail", None: UNKNOWN}[row["passed"]],
            results.title(row["problem"]) if row["problem"] != "divergences" else "exact values",
        ]
        for row in found
    ]
    caption = "The main numbers and their limits: means over seeds, and for Problem 1 the largest error of all seeds."
    if any(row["expected"] for row in found):
        bounds = results.config["report"]["thresholds"]
        caption += (
            " Expected limits are looser, by a margin, than what this configuration is known to reach on its stand-in: "
            "a pass means that the installation works. On the real data the limits are a validation ELBO of "
            f"{limit(bounds['elbo_valid'])} nats and an FID of a GAN of {limit(bounds['fid_ratio'])} times that of "
            "real images."
        )
    return Table("acceptance", caption, ["criterion", "measured", "limit", "verdict", "on"], rows)
