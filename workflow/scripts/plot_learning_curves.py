"""Draw ELBO, reconstruction and KL during the training of a VAE.

Reads the CSV and the JSON that train_binary_vae.py or train_vae.py writes, one of each for every seed, in the
same order. A star marks each seed's best epoch, whose weights are kept. The first sixth of the epochs
lies far below the rest and may leave the vertical range.

example:
  python workflow/scripts/plot_learning_curves.py --history vae/history.csv --training vae/training.json \\
      --output learning_curves.png
"""

import contextlib
from pathlib import Path

from genlab import InputError, cli, files

BITS = "valid_bits_per_dimension"

TERMS = {
    "elbo": "ELBO",
    "reconstruction": r"reconstruction, $\mathrm{E}_{q(z|x)}\,\log\,p(x|z)$",
    "kl": r"KL divergence, $\mathrm{KL}(q(z|x)\,\Vert\,p(z))$",
}


def parser():
    result = cli.parser(__doc__)
    result.add_argument("--history", type=Path, nargs="+", required=True, metavar="CSV", help="numbers of every epoch")
    result.add_argument("--training", type=Path, nargs="+", required=True, metavar="JSON", help="training summaries")
    result.add_argument("--output", type=Path, required=True, metavar="PNG", help="figure to write, with a PDF beside")
    return result


def main(options):
    if len(options.history) != len(options.training):
        raise InputError(
            f"{len(options.history)} files for --history but {len(options.training)} for --training; "
            "give one of each for every seed, in the same order"
        )
    from genlab.report import plotting

    runs = [read_run(*paths) for paths in zip(options.history, options.training, strict=True)]
    _, _, model, data = runs[0]
    for (*_, other_model, other_data), path in zip(runs, options.training, strict=True):
        if (other_model, other_data) != (model, data):
            raise InputError(
                f"{path}: {other_model} on {other_data}, but {options.training[0]} is {model} on {data}; "
                "give the seeds of one model on one data set"
            )
    figure = draw([(history, best) for history, best, _, _ in runs], model, data)
    plotting.save_figure(figure, options.output)


def read_run(history_path, training_path):
    """(history, best epoch, model's name, data set's title) of one seed, checked."""
    from genlab.report import plotting

    columns = [f"{split}_{term}" for split in ("train", "valid") for term in TERMS]
    history = plotting.read_table(history_path, ["epoch", *columns])
    with contextlib.suppress(InputError):  # only a VAE of 8-bit pixels has it
        history[BITS] = plotting.read_table(history_path, [BITS])[BITS]
    if not history["epoch"].is_monotonic_increasing or history["epoch"].duplicated().any():
        raise InputError(f"{history_path}: column 'epoch' does not rise from row to row; {files.REMAKE}")
    training = files.read_json(training_path)
    best, model, data = (
        files.read_field(training, field, kind, training_path)
        for field, kind in (("best_epoch", int), ("model", str), ("data.title", str))
    )
    if best not in history["epoch"].values:
        raise InputError(
            f"{training_path}: 'best_epoch' is {best}, but {history_path} has no such epoch; "
            "give --history and --training in the same order of seeds"
        )
    return history, best, model, data


def draw(runs, model, data):
    """The figure of `runs`, a list of (history, best epoch)."""
    from genlab.report import plotting

    figure = plotting.new_figure(9.5, 4.8)
    panels = figure.subplot_mosaic([["elbo", "reconstruction"], ["elbo", "kl"]], width_ratios=[1.25, 1])
    for term, axes in panels.items():
        for number, (history, best) in enumerate(runs):
            epochs = history["epoch"]
            for split in ("train", "valid"):
                look = plotting.SPLITS[split]
                axes.plot(
                    epochs,
                    history[f"{split}_{term}"],
                    color=look["color"],
                    linestyle=look["linestyle"],
                    marker=look["marker"] if len(epochs) == 1 else "",
                    label=None if number else look["label"],
                    linewidth=1.8 if len(runs) == 1 else 1.0,
                )
            if term == "elbo":
                axes.plot(
                    best,
                    history.loc[epochs == best, "valid_elbo"],
                    **plotting.BEST,
                    label=best_elbo(history.loc[epochs == best].iloc[0]),
                )
        axes.set_title(TERMS[term], loc="left")
        axes.set_ylabel("nats per image")
        axes.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
        limit(axes, term, runs)
    panels["reconstruction"].tick_params(labelbottom=False)
    for term in ("elbo", "kl"):
        panels[term].set_xlabel("epoch")
    panels["elbo"].legend()
    plotting.describe(figure, f"{model}: learning curves", data)
    return figure


def best_elbo(row):
    """The legend's words for the best epoch, from its row of the history."""
    from genlab.report import plotting

    bits = f",\n{row[BITS]:.3f} bits per dimension" if BITS in row else ""
    return f"best: {plotting.signed(row['valid_elbo'])} nats, epoch {row['epoch']:.0f}{bits}"


def limit(axes, term, runs):
    """Fit the vertical range to the best epoch and all but the first sixth of the epochs."""
    import numpy as np

    columns = [f"train_{term}", f"valid_{term}"]
    shown = np.concatenate(
        [
            history.loc[(history.index >= len(history) // 6) | (history["epoch"] == best), columns]
            for history, best in runs
        ]
    )
    margin = 0.06 * np.ptp(shown) or 1.0
    axes.set_ylim(shown.min() - margin, shown.max() + margin)


if __name__ == "__main__":
    cli.run(main, parser())
