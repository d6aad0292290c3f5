"""The table of several binary VAEs, one below the other. Nothing here imports torch."""

from .typeset import UNKNOWN, Table, cell, over, plus_minus, spread_cell


def ladder_table(results):
    """The binary models beside each other: size, training, how likely test images are and how well that is known."""
    first = next(iter(results.likelihood.values()))
    k, seeds = first["k"], first["seeds"]
    beyond = {gain["k"] for each in results.likelihood.values() for gain in each["gain_beyond_k"].values()}
    header = [
        "model", "parameters", "minutes", "active latents", "validation ELBO", "test ELBO", f"K = {k}",
        f"K = {max(beyond)} adds" if beyond else "more samples add", "annealed", "bounds apart", "train less test",
    ]  # fmt: skip
    rows = []
    for model, summary in results.likelihood.items():
        trainings, count = results.training[f"binary_{model}"], len(summary["seeds"])
        minutes = sum(each["seconds"] for each in trainings) / len(trainings) / 60
        active = sum(summary["active_latents"]) / len(summary["active_latents"])
        valid, test = summary["splits"]["valid"], summary["splits"]["test"]
        gain, over_train = summary["gain_beyond_k"].get("test"), summary["overfitting"].get("log_likelihood")
        bracket = results.brackets.get(model, {})
        rows.append(
            [
                model,
                (f"{trainings[0]['parameters']:,}", trainings[0]["parameters"]),
                cell(minutes, 3),
                (f"{round(active, 1):g} of {summary['latents']}", active),
                *(spread_cell(numbers, count) for numbers in (valid["elbo"], test["elbo"], test["log_likelihood"])),
                spread_cell(gain, count) if gain else UNKNOWN,
                cell(bracket["log_likelihood"]) if bracket else UNKNOWN,
                (plus_minus(bracket["gap"], bracket["gap_error"]), bracket["gap"]) if "gap" in bracket else UNKNOWN,
                spread_cell(over_train, count) if over_train else UNKNOWN,
            ]
        )
    caption = (
        "The models of binary digits. Minutes: of one training, the mean over seeds. Active latents: their posterior "
        f"mean has a variance above 0.01 over validation images. K = {k} and what follows: log-likelihood of test "
        f"images. All in nats per image; {over(seeds)}. Annealed: K = {k} and what annealing gains on the first seed. "
        f"Bounds apart: of images drawn from the first seed's model. Data: {results.title('likelihood')}."
    )
    return Table("ladder", caption, header, rows)
