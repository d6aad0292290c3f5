"""Estimate ELBO and log-likelihood of a trained binary VAE on training, validation and test images.

For every image, K latents are drawn from q(z|x). They give the log-likelihood estimate
log 1/K sum_k p(x, z_k) / q(z_k|x), its value at smaller K, the effective sample size and Pareto
k-hat of the importance weights, and the ELBO (reconstruction averaged over the K samples, KL in
closed form, or averaged too with a learned prior or a flow as the posterior). All values are in nats
per image; standard errors are over images. In expectation the estimate is a lower bound that rises
with K. A few validation and test images get more samples, to show how far it rises beyond K.

With --sampled-images n, only n random images of a split get K samples, the others an ELBO from one draw. The
log-likelihood of all is then the mean ELBO plus the mean gap of those n, which varies little from image to image.

Killed or interrupted, the same command resumes at the images where it stopped.

example:
  python workflow/scripts/estimate_likelihood.py --weights vae.safetensors \\
      --data resources/prepared/embedded/binarized_mnist.npz --output log_likelihood.json \\
      --images 500
"""

import math
from pathlib import Path

from genlab import ComputationError, cli, configuration, files, log, provenance
from genlab.models import own_networks
from genlab.training import experiment

SPLITS = ("train", "valid", "test")
BLOCK = 10000  # images unpacked at a time; packed, a million images take 98 MB


def parser():
    result = cli.parser(__doc__, device=True)
    result.add_argument(
        "--weights", type=Path, required=True, metavar="SAFETENSORS", help="weights of train_binary_vae.py"
    )
    result.add_argument("--data", type=Path, required=True, metavar="NPZ", help="prepared data")
    result.add_argument(
        "--output", type=cli.path_ending(".json"), required=True, metavar="JSON",
        help="estimates to write; with the same name and .csv, the estimate at each K",
    )  # fmt: skip
    experiment.add_state_options(result, "OUTPUT")
    configuration.add_options(result, "likelihood_evaluation")
    own_networks.add_options(result, "architecture")
    return result


def main(options):
    settings = configuration.settings(options, "likelihood_evaluation")

    import numpy as np
    import pandas
    from genlab.data import arrays
    from genlab.models import vae
    from genlab.training import loop

    device = loop.set_up(options.device, options.threads, settings["evaluation_seed"])
    model, about = vae.load_binary_vae(options.weights, device, options.architecture)
    prepared = arrays.load_binarized_mnist(options.data)
    arrays.check_trained_on(prepared, about, options.weights, options.data)
    K = settings["samples"]
    evaluations = [("train", settings["train_images"], K)] if settings["train_images"] else []
    evaluations += [(split, settings["images"], K) for split in ("valid", "test")]
    if settings["curve_images"] and settings["curve_samples"] > K:
        evaluations += [(split, settings["curve_images"], settings["curve_samples"]) for split in ("valid", "test")]
    identity = experiment.fingerprint(
        settings, model=files.checksum(options.weights), data=files.checksum(options.data), device=device.type
    )
    splits, gains, curve = {}, {}, []
    names = [f"{split}-{samples}" for split, _, samples in evaluations]
    with experiment.checkpoints(options, options.output, identity, *names) as saved:
        for (split, count, samples), checkpoints in zip(evaluations, saved, strict=True):
            ks = [k for k in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000) if k < samples]
            ks = sorted({*ks, K, samples})
            packed = getattr(prepared, split)
            # Not the first images: the official test file is sorted by digit. A smaller subset is part of a larger one.
            rows = np.random.default_rng(seed_of(split, settings)).permutation(len(packed))[: count or None]
            sampled = rows[: (samples == K and settings["sampled_images"]) or None]
            numbers = evaluate(
                model, packed[np.sort(sampled)], split, samples, ks, settings, checkpoints, options.weights
            )
            bounds = None
            if len(sampled) < len(rows):
                bounds = single_draws(model, packed[np.sort(rows)], split, settings, device)
            lines = curve_rows(numbers, bounds, ks, K)
            evaluated = {"split": split, "images": len(rows), "samples": samples}
            curve += [evaluated | line for line in lines]
            if samples == K:
                splits[split] = summarise(numbers, bounds)
            else:
                gain = {"mean": lines[-1]["gain"], "standard_error": lines[-1]["gain_standard_error"]}
                gains[split] = {"k": samples, "images": evaluated["images"], **gain}
        with files.atomic(options.output.with_suffix(".csv")) as temporary:
            pandas.DataFrame(curve).to_csv(temporary, index=False)
        files.write_json(
            options.output,
            {
                "data": about["data"],
                "model": about["model"],
                "seed": about["seed"],
                "k": K,
                "splits": splits,
                "overfitting": overfitting(splits),
                "gain_beyond_k": gains,
                "latents": model.latents,
                "active_latents": vae.active_latents(
                    model, (x.to(device).float() for x in blocks(prepared.valid, vae.images_at_once(device.type, 1)))
                ),
                "provenance": provenance.record(
                    options, trained_with=about, model_checksum=files.checksum(options.weights), device=device.type
                ),
            },
        )
        for checkpoints in saved:
            checkpoints.state.clear()
    for split, numbers in splits.items():
        elbo, estimate = numbers["elbo"], numbers["log_likelihood"]
        print(
            f"{split}: ELBO {elbo['mean']:.3f}, log-likelihood (K = {K}) {estimate['mean']:.3f} "
            f"+- {estimate['standard_error']:.3f} nats, {numbers['images']} images"
        )


def seed_of(split, settings):
    """The seed of what is drawn for a split."""
    return [settings["evaluation_seed"], SPLITS.index(split)]


def single_draws(model, packed, split, settings, device):
    """The ELBO of each of `packed` images from one draw of z, float64 (N,)."""
    import numpy as np
    from genlab.models import gaussian, vae

    rng = gaussian.generator([*seed_of(split, settings), 1], "cpu")
    terms = (vae.evaluate_elbo(model, images.to(device), rng) for images in blocks(packed))
    return np.concatenate([(reconstruction - kl).cpu().numpy() for reconstruction, kl in terms])


def blocks(packed, count=BLOCK):
    """Yield `packed` images as tensors, `count` at a time."""
    import torch
    from genlab.data import amat

    for start in range(0, len(packed), count):
        yield torch.from_numpy(amat.unpack_bits(packed[start : start + count]))


def evaluate(model, packed, split, samples, ks, settings, checkpoints, weights):
    """The results of `vae.evaluate_likelihood`, as arrays, for `packed` images of a split; what is found is kept.

    weights: the path of the model, for messages.
    """
    import torch
    from genlab.models import gaussian, vae

    device = next(model.parameters()).device
    rng = gaussian.generator([*seed_of(split, settings), samples], device)
    columns, about = checkpoints.load() or ({}, {"done": 0})
    if done := about["done"]:
        log.info("%s, K = %d: resuming after %d of %d images", split, samples, done, len(packed))
        rng.set_state(columns.pop("generator"))
    parts = {name: [values] for name, values in columns.items()}

    def keep():
        whole = {name: torch.cat(values) for name, values in parts.items()}
        checkpoints.save(whole | {"generator": rng.get_state()}, {"done": done})
        return whole

    with cli.progress(total=len(packed), initial=done, label=f"{split}, K = {samples}", unit="image") as bar:
        for images in blocks(packed[done:], vae.images_at_once(device.type, samples)):
            found = vae.evaluate_likelihood(model, images, samples, ks, rng, settings["chunk"])
            if wrong := [name for name in ("elbo", "log_likelihood") if not torch.isfinite(found[name]).all()]:
                raise ComputationError(f"{weights}: {wrong[0]} of {split} images is not finite; train it anew")
            for name, values in found.items():
                parts.setdefault(name, []).append(values)
            done += len(images)
            bar.update(len(images))
            if checkpoints.due():
                keep()
                checkpoints.heed()
    return {name: values.numpy() for name, values in keep().items()}


def curve_rows(numbers, bounds, ks, K):
    """A row for each k in `ks` of `numbers["curve"]` (N, len(ks)): the mean, and by how much it exceeds that at K.

    The error of the gain is that of the images' own gains. It is far below that of the mean, because images differ more
    than their gains.
    """
    from genlab.measures import intervals

    rows, at_k = [], numbers["curve"][:, ks.index(K)]
    for k, estimates in zip(ks, numbers["curve"].T, strict=True):
        means = mean(estimates, numbers, bounds), intervals.mean_and_error_of_images(estimates - at_k)
        values = [value for each in means for value in each.values()]
        names = ("log_likelihood", "standard_error", "gain", "gain_standard_error")
        rows.append({"k": k} | dict(zip(names, values, strict=True)))
    return rows


def overfitting(splits):
    """Training minus test, for ELBO and log-likelihood; {} without training images.

    The images differ, so the squares of the two standard errors add up.
    """
    if "train" not in splits:
        return {}
    train, test = splits["train"], splits["test"]
    return {
        name: {
            "mean": train[name]["mean"] - test[name]["mean"],
            "standard_error": math.hypot(train[name]["standard_error"], test[name]["standard_error"]),
        }
        for name in ("elbo", "log_likelihood")
    }


def mean(values, numbers, bounds):
    """Mean and standard error of a log-likelihood over all images; bounds: their ELBOs if not all have one, or None."""
    from genlab.measures import intervals

    if bounds is None:
        return intervals.mean_and_error_of_images(values)
    return intervals.mean_by_difference(values, numbers["elbo"], bounds)


def summarise(numbers, bounds=None):
    """Means, standard errors and quantiles over images of the results of `vae.evaluate_likelihood`.

    bounds: the ELBOs of all images (`single_draws`) if the numbers are of some of them, else None.
    """
    from genlab.measures import intervals

    summary = {"images": len(numbers["elbo"] if bounds is None else bounds)}
    if bounds is not None:
        summary["sampled_images"] = len(numbers["elbo"])
    summary["elbo"] = intervals.mean_and_error_of_images(numbers["elbo"] if bounds is None else bounds)
    summary["log_likelihood"] = mean(numbers["log_likelihood"], numbers, bounds)
    for name in ("elbo_gap", "kl"):
        summary[name] = intervals.mean_and_error_of_images(numbers[name])
    summary |= intervals.reliability(numbers["effective_sample_size"], numbers["pareto_k"])
    return summary


if __name__ == "__main__":
    cli.run(main, parser())
