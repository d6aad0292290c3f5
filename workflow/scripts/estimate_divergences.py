"""Estimate the Jensen-Shannon divergence and the Wasserstein distance of two segments from samples.

p is (0, U) and q is (theta, U), where U is uniform on [0, 1] and theta is evenly spaced from -1 to 1. A
discriminator estimates the divergence (nats), a critic with gradient penalty the distance, each evaluated
on fresh points. All thetas and seeds are trained together as one batched model, on the CPU. If killed or
interrupted, the same command resumes. The table has a row for each theta and seed:

  jsd            estimate; jsd_exact is 0 at theta = 0 and log 2 elsewhere
  w1             difference of the critic's means; w1_exact is |theta|
  w1_corrected   w1 divided by lipschitz, the critic's steepest measured slope
  *_error        estimate minus exact value
  *_standard_error   of the mean over the fresh points

example:
  python workflow/scripts/estimate_divergences.py --output divergences.csv --seeds 1 2 3
"""

from genlab import ComputationError, InputError, cli, configuration, files, log, provenance
from genlab.training import experiment


def parser():
    result = cli.parser(__doc__, seeds=True, threads=True)
    result.add_argument(
        "--output", type=cli.path_ending(".csv"), required=True, metavar="CSV",
        help="table to write; with the same name and .json, largest errors and provenance",
    )  # fmt: skip
    experiment.add_state_options(result, "OUTPUT")
    configuration.add_options(result, "divergence_estimation")
    return result


def main(options):
    settings = configuration.settings(options, "divergence_estimation")
    if settings["thetas"] % 2 == 0:
        raise InputError(f"--thetas: {settings['thetas']} is even; give an odd number, so that 0 is one of them")

    identity = experiment.fingerprint(settings, seeds=options.seeds)
    with experiment.checkpoints(options, options.output, identity, "discriminators", "critics") as saved:
        estimate(options, settings, saved)
        for checkpoints in saved:
            checkpoints.state.clear()


def estimate(options, settings, saved):
    """Train both networks, evaluate them, and write the results. saved: a `CheckpointPolicy` for each."""
    import numpy
    import pandas
    import torch
    from genlab.models import divergences

    torch.set_num_threads(options.threads)
    half = settings["thetas"] // 2
    thetas = torch.arange(-half, half + 1, dtype=torch.float64) / half
    pair = divergences.segments(torch.zeros(len(thetas))), divergences.segments(thetas.float())
    generators = [torch.Generator().manual_seed(seed) for seed in options.seeds]
    with cli.progress(total=2 * settings["steps"], label="training", unit="step") as bar:
        discriminators = divergences.train_discriminators(*pair, generators, settings, bar.update, saved[0])
        critics = divergences.train_critics(*pair, generators, settings, bar.update, saved[1])
    jsd, jsd_error = divergences.read_jensen_shannon(discriminators, *pair, settings["points"], generators)
    w1, w1_error, lipschitz = divergences.read_wasserstein(critics, *pair, settings["points"], generators)

    table = pandas.DataFrame(
        {
            "theta": thetas.repeat(len(generators)),
            "seed": [seed for seed in options.seeds for _ in thetas],
            "jsd": jsd,
            "jsd_exact": divergences.segments_jensen_shannon(thetas).repeat(len(generators)),
            "w1": w1,
            "w1_corrected": w1 / lipschitz,
            "w1_exact": divergences.segments_wasserstein(thetas).repeat(len(generators)),
            "lipschitz": lipschitz,
            "jsd_standard_error": jsd_error,
            "w1_standard_error": w1_error,
        }
    )
    for estimate, exact in (("jsd", "jsd_exact"), ("w1", "w1_exact"), ("w1_corrected", "w1_exact")):
        table[f"{estimate}_error"] = table[estimate] - table[exact]
    if not numpy.isfinite(table).all(axis=None):
        raise ComputationError("an estimate is not a number; lower --learning-rate, or give --warmup-steps")
    wrong = table[table["w1"] < -3 * table["w1_standard_error"]]
    for row in wrong.itertuples():
        log.warning(
            "theta %g, seed %d: the critic has the wrong sign, W1 = %.3f; a longer --penalty-warmup may help",
            row.theta, row.seed, row.w1,
        )  # fmt: skip

    def largest(column, rows):
        return float(table.loc[rows, column].abs().max())

    def span(column, rows):
        return dict(zip(("lowest", "highest"), table.loc[rows, column].agg(["min", "max"]), strict=True))

    slope = float((table["w1_corrected"] * table["w1_exact"]).sum() / (table["w1_exact"] ** 2).sum())
    at_zero, everywhere = table["theta"] == 0, table["theta"].notna()
    summary = {
        "data": {"title": "p = (0, U), q = (\N{GREEK SMALL LETTER THETA}, U), U uniform on [0, 1]"},
        "seeds": options.seeds,
        "largest_error": {
            "jsd_at_zero": largest("jsd_error", at_zero),
            "jsd_elsewhere": largest("jsd_error", ~at_zero),
            "w1": largest("w1_error", everywhere),
            "w1_corrected": largest("w1_corrected_error", everywhere),
        },
        "range_of_jsd": {"at_zero": span("jsd", at_zero), "elsewhere": span("jsd", ~at_zero)},
        "slope": slope,  # of the corrected distance against |theta|, by least squares through 0
        "wrong_signs": len(wrong),
        "settings": settings,
        "provenance": provenance.record(options, machine=provenance.machine()),
    }
    for name, error in summary["largest_error"].items():
        log.info("largest error of %s: %.5f", name, error)
    with files.atomic(options.output) as temporary:
        table.to_csv(temporary, index=False, float_format="%.9g")
    files.write_json(options.output.with_suffix(".json"), summary)


if __name__ == "__main__":
    cli.run(main, parser())
