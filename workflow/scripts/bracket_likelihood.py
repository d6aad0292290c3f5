"""Measure how far a binary VAE's importance-sampled log-likelihood lies below the truth.

Two sets of images are estimated. For random test images, annealed importance sampling gives log p(x) with its
standard error. For images simulated from the model, whose exact posterior samples are known, it bounds log p(x)
from below and, run backwards, from above; the gap tells how far it is off. Beside it stands importance sampling from
q(z|x), and from q(z|x) refined for each image by gradient steps, with effective sample size and Pareto k-hat. All
numbers are nats per image. Killed or interrupted, the same command resumes at the images where it stopped. The
table beside the summary has a row for each image:

  set, image         "test" and the row in the test file, or "simulated" and a number
  annealed           estimate by annealing, annealed_error its standard error over the chains; acceptance
  upper, gap         simulated images only: the bound from above, and by how much it exceeds the one from below
  posterior_K        importance sampling with K samples from q(z|x); refined_K from the refined proposal
  *_effective_sample_size, *_pareto_k   of all the samples

example:
  python workflow/scripts/bracket_likelihood.py --weights vae.safetensors \\
      --data resources/prepared/embedded/binarized_mnist.npz --output bracket.json --images 40
"""

from pathlib import Path

from genlab import ComputationError, InputError, cli, configuration, files, kinds, log, provenance
from genlab.models import own_networks
from genlab.training import experiment

SETS = ("test", "simulated")
BLOCK = 250  # images at once at most: their gradients take memory, and a run that stops loses one block
TEST_SPLIT = 2  # seeds the subset, as in estimate_likelihood.py: fewer images are some of the more, here as there


def parser():
    result = cli.parser(__doc__, device=True)
    result.add_argument(
        "--weights", type=Path, required=True, metavar="SAFETENSORS", help="weights of train_binary_vae.py"
    )
    result.add_argument("--data", type=Path, required=True, metavar="NPZ", help="prepared data")
    result.add_argument(
        "--output", type=cli.path_ending(".json"), required=True, metavar="JSON",
        help="summary to write; with the same name and .csv, the numbers of every image",
    )  # fmt: skip
    experiment.add_state_options(result, "OUTPUT")
    configuration.add_options(result, "likelihood_annealing")
    own_networks.add_options(result, "architecture")
    return result


def main(options):
    settings = configuration.settings(options, "likelihood_annealing")
    counts = {"test": settings["images"], "simulated": settings["simulated_images"]}
    if not any(counts.values()):
        raise InputError("--images and --simulated-images are 0; give a number of images for one of them or both")

    import pandas
    from genlab.data import arrays
    from genlab.models import vae
    from genlab.training import loop

    device = loop.set_up(options.device, options.threads, settings["evaluation_seed"])
    model, about = vae.load_binary_vae(options.weights, device, options.architecture)
    prepared = arrays.load_binarized_mnist(options.data)
    arrays.check_trained_on(prepared, about, options.weights, options.data)
    identity = experiment.fingerprint(
        settings, model=files.checksum(options.weights), data=files.checksum(options.data), device=device.type
    )
    with experiment.checkpoints(options, options.output, identity, *SETS) as saved:
        numbers = {
            name: estimate(model, prepared.test, name, counts[name], settings, device, checkpoints)
            for name, checkpoints in zip(SETS, saved, strict=True)
            if counts[name]
        }
        ks = kinds.sample_counts(settings["samples"])
        sets = {name: summarise(columns, ks) for name, columns in numbers.items()}
        with files.atomic(options.output.with_suffix(".csv")) as temporary:
            tables = [pandas.DataFrame({"set": name, **columns}) for name, columns in numbers.items()]
            pandas.concat(tables).to_csv(temporary, index=False, float_format="%.9g")
        files.write_json(
            options.output,
            {
                "data": about["data"],
                "model": about["model"],
                "seed": about["seed"],
                "settings": settings,
                "sets": sets,
                "provenance": provenance.record(
                    options, trained_with=about, model_checksum=files.checksum(options.weights), device=device.type
                ),
            },
        )
        for checkpoints in saved:
            checkpoints.state.clear()
    for name, summary in sets.items():
        K, annealed = ks[-1], summary["annealed"]
        gap = f", bounds {summary['gap']['mean']:.3f} apart" if "gap" in summary else ""
        print(
            f"{name}: log-likelihood {annealed['mean']:.3f} nats, error of the chains alone "
            f"{annealed['chain_error']:.3f}{gap}; importance sampling (K = {K}) "
            f"{summary['posterior']['curve'][-1]['shortfall']['mean']:.3f} below, refined "
            f"{summary['refined']['curve'][-1]['shortfall']['mean']:.3f} below, {summary['images']} images"
        )


def estimate(model, packed, name, count, settings, device, checkpoints):
    """The table's columns {name: float64 array (N,)} of `count` images of a set; finished blocks are kept."""
    import numpy as np
    import torch
    from genlab.data import amat
    from genlab.models import annealing, gaussian, vae

    seed = [settings["evaluation_seed"], TEST_SPLIT]
    rows = np.sort(np.random.default_rng(seed).permutation(len(packed))[:count]) if name == "test" else np.arange(count)
    chunk = settings["chunk"] or vae.CHUNK[device.type]
    at_once = max(1, min(BLOCK, chunk // settings["chains"]))
    columns, about = checkpoints.load() or ({}, {"done": 0, "names": []})
    if about["done"]:
        log.info("%s: resuming after %d of %d images", name, about["done"], len(rows))
    with cli.progress(total=len(rows), initial=about["done"], label=name, unit="image") as bar:
        for start in range(about["done"], len(rows), at_once):
            block = rows[start : start + at_once]
            # A seed for each block: a run that resumes draws what an undisturbed one does.
            generator = gaussian.generator([*seed, SETS.index(name), start, 1], device)
            if name == "test":
                x, z = torch.from_numpy(amat.unpack_bits(packed[block])).to(device).float(), None
            else:
                x, z = annealing.simulate(model, len(block), generator)
            found = {"image": torch.from_numpy(block).double()}
            found |= estimate_block(model, x, z, generator, settings, chunk, checkpoints.heed)
            for key, values in found.items():
                if not key.endswith("pareto_k") and not torch.isfinite(values).all():
                    raise ComputationError(
                        f"{key} of {name} images from {block[0]} on is not finite; train the model anew"
                    )
            columns = {key: torch.cat([*([columns[key]] if columns else []), found[key]]) for key in found}
            about = {"done": start + len(block), "names": list(columns)}
            checkpoints.save(columns, about)  # each: a block takes long, and `heed` may end the next one halfway
            bar.update(len(block))
            checkpoints.heed()
    return {key: columns[key].numpy() for key in about["names"]}


def estimate_block(model, x, z, generator, settings, chunk, heed):
    """The table's columns of images x (M, D), with their exact posterior samples z (M, L) or None; `heed` may stop."""
    import torch
    from genlab.models import annealing, importance, proposals

    with torch.no_grad():
        posterior = model.posterior(x)
    refined = proposals.refine_posterior(
        model, x, generator, settings["refine_steps"], settings["refine_samples"], settings["refine_rate"]
    )
    prior = tuple(torch.zeros_like(parameter) for parameter in posterior)
    start = {"posterior": posterior, "refined": refined, "prior": prior}[settings["start"]]
    numbers = annealing.annealed_log_likelihood(model, x, start, generator, settings, z, heed)
    found = {"annealed": numbers.pop("log_likelihood"), "annealed_error": numbers.pop("standard_error"), **numbers}
    ks = kinds.sample_counts(settings["samples"])
    for name, proposal in (("posterior", posterior), ("refined", refined)):
        heed()
        weights = proposals.importance_weights(model, x, proposal, ks[-1], generator, chunk)
        numbers = importance.estimates(weights, ks)
        curve = numbers.pop("curve").T
        found |= {f"{name}_{k}": estimates for k, estimates in zip(ks, curve, strict=True)}
        found |= {f"{name}_{key}": values for key, values in numbers.items()}
    return {key: values.cpu() for key, values in found.items()}


def summarise(columns, ks):
    """Means over the images of a set, from the table's columns {name: (N,)}.

    `chain_error` is the error that the mean estimate has from the chains alone: the images are no part of it. Nor is
    the bias of chains that fail: the bracket shows that.
    `shortfall` is by how much importance sampling with K samples reads less than annealing, image by image.
    """
    import numpy as np
    from genlab.measures import intervals

    annealed, error = columns["annealed"], columns["annealed_error"]
    summary = {
        "images": len(annealed),
        "annealed": intervals.mean_and_error_of_images(annealed)
        | {"chain_error": float(np.sqrt((error**2).sum()) / len(error))},
        "acceptance": {"mean": float(columns["acceptance"].mean()), "min": float(columns["acceptance"].min())},
    }
    if "upper" in columns:
        summary |= {name: intervals.mean_and_error_of_images(columns[name]) for name in ("upper", "gap")}
    for name in ("posterior", "refined"):
        summary[name] = {
            "curve": [
                {
                    "k": k,
                    "log_likelihood": intervals.mean_and_error_of_images(columns[f"{name}_{k}"]),
                    "shortfall": intervals.mean_and_error_of_images(annealed - columns[f"{name}_{k}"]),
                }
                for k in ks
            ],
        } | intervals.reliability(columns[f"{name}_effective_sample_size"], columns[f"{name}_pareto_k"])
    return summary


if __name__ == "__main__":
    cli.run(main, parser())
