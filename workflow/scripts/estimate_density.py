"""Estimate the density of an unknown distribution from samples, by a discriminator.

A discriminator D learns to tell distribution 4 (f(z) = tanh(2 z + 1) + 0.75 z for z ~ N(0, 1), density f1) from
N(0, 1) itself, whose density f0 is known. The best D is f1 / (f0 + f1). So f0 D / (1 - D) estimates f1. All
seeds are trained together as one batched model, on the CPU. If killed or interrupted, the same command
resumes. The table has a row for each point of a grid and each seed:

  d, d_optimal             the trained discriminator, and the best one possible
  density, density_exact   its estimate of f1, and f1 by change of variables

The summary has the estimate's integral, its L1 error, and the Kullback-Leibler divergence of the exact
density from the normalised estimate (nats), all by the trapezoidal rule. The histogram has the density of
samples in bins of equal width.

example:
  python workflow/scripts/estimate_density.py --output density.csv --seeds 1 2 3
"""

from genlab import ComputationError, cli, configuration, files, log, provenance
from genlab.training import experiment

BINS = 100


def parser():
    result = cli.parser(__doc__, seeds=True, threads=True)
    result.add_argument(
        "--output", type=cli.path_ending(".csv"), required=True, metavar="CSV",
        help="table to write; beside it NAME.json, errors and provenance, and NAME_histogram.csv, of samples",
    )  # fmt: skip
    experiment.add_state_options(result, "OUTPUT")
    configuration.add_options(result, "density_estimation")
    return result


def main(options):
    settings = configuration.settings(options, "density_estimation")

    identity = experiment.fingerprint(settings, seeds=options.seeds)
    with experiment.checkpoints(options, options.output, identity, "discriminators") as (saved,):
        estimate(options, settings, saved)
        saved.state.clear()


def estimate(options, settings, saved):
    """Train a discriminator, evaluate it on the grid, and write the results. saved: its `CheckpointPolicy`."""
    import pandas
    import torch
    from genlab.models import divergences

    torch.set_num_threads(options.threads)
    generators = [torch.Generator().manual_seed(seed) for seed in options.seeds]
    pair = divergences.distribution4, divergences.standard_normal
    with cli.progress(total=settings["steps"], label="training", unit="step") as bar:
        discriminators = divergences.train_discriminators(*pair, generators, settings, bar.update, saved)

    x = torch.linspace(-settings["limit"], settings["limit"], settings["grid_points"], dtype=torch.float64)
    logits = discriminators(x.float().expand(len(generators), -1)[..., None]).double()
    estimates = divergences.density(x, logits)
    exact, base = divergences.distribution4_density(x), divergences.standard_normal_density(x)
    table = pandas.DataFrame(
        {
            "x": x.repeat(len(generators)),
            "seed": [seed for seed in options.seeds for _ in x],
            "d": logits.sigmoid().flatten(),
            "d_optimal": (exact / (base + exact)).repeat(len(generators)),
            "density": estimates.flatten(),
            "density_exact": exact.repeat(len(generators)),
        }
    )
    errors = divergences.density_errors(x, estimates, exact)
    if not all(values.isfinite().all() for values in errors.values()):
        raise ComputationError("the estimate is not a number; lower --learning-rate, or give --warmup-steps")
    summary = {
        "data": {"title": "distribution 4, f(z) = tanh(2z + 1) + 0.75z of z ~ N(0, 1)"},
        "seeds": options.seeds,
        **{
            name: {"lowest": values.min().item(), "highest": values.max().item(), "by_seed": values.tolist()}
            for name, values in errors.items()
        },
        "settings": settings,
        "provenance": provenance.record(options, machine=provenance.machine()),
    }
    for name in errors:
        log.info("%s of %d seeds: %.5f to %.5f", name, len(generators), *list(summary[name].values())[:2])
    counts, edges = torch.histogram(divergences.distribution4(settings["points"], generators[0]), BINS)
    histogram = pandas.DataFrame(
        {"left": edges[:-1], "right": edges[1:], "density": counts / counts.sum() / edges.diff()}
    )
    beside = options.output.with_stem(f"{options.output.stem}_histogram")
    for file, frame in ((options.output, table), (beside, histogram)):
        with files.atomic(file) as temporary:
            frame.to_csv(temporary, index=False, float_format="%.9g")
    files.write_json(options.output.with_suffix(".json"), summary)


if __name__ == "__main__":
    cli.run(main, parser())
