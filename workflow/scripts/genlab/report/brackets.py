"""What a bracket of a log-likelihood says, for figures and the report."""

from .. import InputError, files

TEST = {"sets/test/images": int, "sets/test/posterior/curve": list}
SIMULATED = {
    "sets/simulated/images": int,
    **{f"sets/simulated/gap/{key}": files.NUMBER for key in ("mean", "standard_error")},
}


def read_bracket(path, k, at_k):
    """What bracket_likelihood.py found of a training, as a dict of numbers in nats.

    at_k: the log-likelihood of all test images by importance sampling with K = k, the mean over seeds.
    `log_likelihood`: at_k and the gain, so what annealing would read on all test images;
    `gain` and `gain_error`: how much more annealing reads on `images` test images than importance sampling with K = k;
    with simulated images, `gap` and `gap_error`: how far the two bounds are apart on `simulated` images of the model.
    """
    content = files.read_json(path, TEST)
    test = content["sets"]["test"]
    try:
        (shortfall,) = (row["shortfall"] for row in test["posterior"]["curve"] if row["k"] == k)
        gain = {"gain": float(shortfall["mean"]), "gain_error": float(shortfall["standard_error"])}
    except (KeyError, TypeError, ValueError):
        raise InputError(f"{path}: no comparison with K = {k}; {files.REMAKE}") from None
    found = gain | {"log_likelihood": at_k + gain["gain"], "images": test["images"]}
    if simulated := content["sets"].get("simulated"):
        files.check_fields(path, content, SIMULATED)
        gap = simulated["gap"]
        found |= {"gap": gap["mean"], "gap_error": gap["standard_error"], "simulated": simulated["images"]}
    return found
