"""Draw the training of a WGAN-GP, and samples of fixed latents at several epochs.

Reads what train_gan.py writes: the CSV of the epochs and the JSON summary of every seed, in the same
order, and the frames of one seed (NPZ). The critic's estimate is the mean score of real images minus
that of generated ones. On images it is not a Wasserstein distance.

example:
  python workflow/scripts/plot_gan_training.py --history gan/history.csv --training gan/training.json \\
      --frames gan/frames.npz --output gan_training.png gan_frames.png
"""

from pathlib import Path

from genlab import InputError, cli, files

# {panel: {column of the CSV: split that sets its look}}.
PANELS = {
    "critic's estimate": {"train_critic_estimate": "train", "valid_critic_estimate": "valid"},
    "Fréchet distance": {"valid_fid": "valid"},
    "gradient norm of the critic": {"train_gradient_norm": "train"},
    "critic's loss": {"train_critic_loss": "train"},
}
COLUMNS = [column for columns in PANELS.values() for column in columns]


def parser():
    result = cli.parser(__doc__)
    result.add_argument("--history", type=Path, nargs="+", required=True, metavar="CSV", help="numbers of every epoch")
    result.add_argument("--training", type=Path, nargs="+", required=True, metavar="JSON", help="training summaries")
    result.add_argument("--frames", type=Path, required=True, metavar="NPZ", help="samples at several epochs")
    result.add_argument(
        "--output", type=Path, nargs=2, action=cli.Distinct, required=True, metavar=("TRAINING.png", "FRAMES.png"),
        help="figures to write, with a PDF beside each",
    )  # fmt: skip
    result.add_argument("--columns", type=cli.positive, default=12, help="samples in a frame's row (default: 12)")
    return result


def main(options):
    if len(options.history) != len(options.training):
        raise InputError(
            f"{len(options.history)} files for --history but {len(options.training)} for --training; "
            "give one of each for every seed, in the same order"
        )
    from genlab.data import arrays
    from genlab.report import plotting

    for path in options.output:
        plotting.check_output(path)
    histories = [read_history(path) for path in options.history]
    first, *others = [read_training(path) for path in options.training]
    for training, path in zip(others, options.training[1:], strict=True):
        if training != first:
            raise InputError(
                f"{path}: {training}, but {first} in {options.training[0]}; "
                "give the seeds of one model on one data set, with one way of monitoring"
            )
    fields, about = arrays.read_pictures(options.frames, {"frames": ("F", "S", 3, 32, 32), "epochs": ("F",)})
    if (about["model"], about["data"]["title"]) != (first["model"], first["data"]):
        raise InputError(
            f"{options.frames}: {about['model']} on {about['data']['title']}, but {options.training[0]} is "
            f"{first['model']} on {first['data']}; give the frames of the same training"
        )
    plotting.save_figure(draw(histories, **first), options.output[0])
    frames = [frame[: options.columns].transpose(0, 2, 3, 1) for frame in fields["frames"]]
    labels = [f"epoch {epoch:g}" for epoch in fields["epochs"]]
    figure = plotting.image_grid(frames, len(frames[0]), labels, width=9.0)
    plotting.describe(
        figure,
        f"{first['model']}: samples during training",
        first["data"],
    )
    plotting.save_figure(figure, options.output[1])


def read_training(path):
    """The model's name, the data set's title and the number of samples of the validation FID, from a JSON summary."""

    content = files.read_json(path)
    fields = {"model": ("model", str), "data": ("data.title", str), "samples": ("settings.monitor_samples", int)}
    return {name: files.read_field(content, field, kind, path) for name, (field, kind) in fields.items()}


def read_history(path):
    """The epochs of a CSV file. `valid_fid` is NaN in epochs that did not measure it (empty cells)."""
    import pandas
    from genlab.report import plotting

    every = [column for column in COLUMNS if column != "valid_fid"]
    history = plotting.read_table(path, ["epoch", *every], ["valid_fid"])
    if not history["epoch"].is_monotonic_increasing or history["epoch"].duplicated().any():
        raise InputError(f"{path}: column 'epoch' does not rise from row to row; {files.REMAKE}")
    fid = pandas.to_numeric(history["valid_fid"], errors="coerce")
    wrong = history["valid_fid"][(fid.isna() | (fid.abs() == float("inf"))) & (history["valid_fid"] != "")]
    if len(wrong):
        raise InputError(
            f"{path}: column 'valid_fid' holds {wrong.iloc[0]!r} in data row {wrong.index[0] + 1}; "
            f"expected a finite number or nothing; {files.REMAKE}"
        )
    return history.assign(valid_fid=fid)


def draw(histories, model, data, samples):
    """The figure of the histories of all seeds."""
    from genlab.report import plotting

    figure = plotting.new_figure(9.5, 6.2)
    for axes, (title, columns) in zip(figure.subplots(2, 2, sharex=True).flat, PANELS.items(), strict=True):
        for number, history in enumerate(histories):
            for column, split in columns.items():
                look = plotting.SPLITS[split]
                measured = history[column].notna()
                few = column == "valid_fid" or len(history) == 1
                axes.plot(
                    history["epoch"][measured],
                    history[column][measured],
                    color=look["color"],
                    linestyle=look["linestyle"],
                    marker=look["marker"] if few else "",
                    label=None if number else look["label"],
                    linewidth=1.8 if len(histories) == 1 else 1.0,
                )
        axes.set_title(title, loc="left")
        axes.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
    estimate, distance, norm, loss = figure.axes
    norm.axhline(1, color="0.3", linestyle=":", linewidth=1.3, label="aim of the penalty: 1")
    for axes in figure.axes:
        axes.legend()
    estimate.set_ylabel("mean score, real minus generated")
    distance.set_ylabel(f"FID of {samples:,} samples\nto validation images")
    norm.set_ylabel("norm, mean over interpolates")
    loss.set_ylabel("loss")
    for axes in (norm, loss):
        axes.set_xlabel("epoch")
    plotting.describe(figure, f"{model}: training", data)
    return figure


if __name__ == "__main__":
    cli.run(main, parser())
