"""What all training stages share: options, the fingerprint of the experiment, state, files."""

import contextlib
import sys
from pathlib import Path

from .. import cli, configuration, files, log, provenance

WEIGHTS = "model.safetensors"  # their name in the folder that a training writes, unless its stage says another


def parser(doc, name, *definitions, weights=WEIGHTS):
    """The parser of a training stage: data, folder to write, state, and the settings in schema definitions.

    name: the default of the model's name in tables and figures.
    """
    result = cli.parser(doc, seed=True, device=True)
    result.add_argument("--data", type=Path, required=True, metavar="NPZ", help="prepared data")
    result.add_argument(
        "--output", type=Path, required=True, metavar="DIR",
        help=f"folder to write: {weights}, history.csv, training.json, TensorBoard events in tensorboard",
    )  # fmt: skip
    result.add_argument("--name", default=name, help=f"the model's name in tables and figures (default: {name})")
    add_state_options(result, f"DIR/{weights}")
    for definition in definitions:
        configuration.add_options(result, definition)
    return result


def add_state_options(parser, output):
    """Add the options of a stage that can be interrupted. output: in words, the file that names its state."""
    parser.add_argument(
        "--state", type=Path, metavar="DIR", help=f"where to keep the checkpoint (default: {output}.state)"
    )
    parser.add_argument(
        "--checkpoint-seconds", type=cli.positive, default=60, help="save the state this often (default: 60)"
    )
    parser.add_argument(
        "--max-seconds",
        type=cli.natural,
        default=0,
        metavar="N",
        help=f"save and exit with code {cli.EXIT_RESUMABLE} after this many seconds; 0 for no limit (default: 0)",
    )


def fingerprint(settings, **more):
    """Everything that a saved state depends on: settings, `more`, code, versions, and the format of the state.

    A training resumes only from a state with the same fingerprint.
    """
    from . import checkpoint

    code = provenance.code_checksum(Path(sys.modules["__main__"].__file__).resolve())
    return {**settings, **more, "code": code, "versions": provenance.versions(), "format": checkpoint.FORMAT}


@contextlib.contextmanager
def checkpoints(options, output, identity, *names):
    """Yield a list with a `CheckpointPolicy` for each name, in the locked state folder (--state, else OUTPUT.state).

    Inside, a signal that asks to stop is only noted for the policies. identity: the `fingerprint`.
    """
    from . import checkpoint

    folder = options.state or output.with_name(output.name + ".state")
    states = [checkpoint.StateFolder(folder, name) for name in names]
    with states[0].lock(options.max_seconds), checkpoint.stop_signals() as stop:
        yield [
            checkpoint.CheckpointPolicy(state, identity, options.checkpoint_seconds, options.max_seconds, stop)
            for state in states
        ]


def run(options, settings, task, data, about, publish, more=(), weights=WEIGHTS):
    """Train `task` on the tensor `data` as the options of `parser` say, and write its files.

    settings     all settings of the experiment, as one dict
    about        the `about` of the prepared data
    publish      called as publish(path, facts) to write the weights, after training and before the summary; `facts`
                 is JSON-able: model, seed, settings, data, versions
    more         {name: file} of other inputs of the experiment
    weights      the name of the weights in the folder that is written

    If interrupted, the same call resumes, and later a call with more epochs. Returns the summary that is written
    as JSON.
    """
    import pandas

    from . import loop, optimization

    precision = optimization.precision_name(settings, data.device)
    identity = fingerprint(
        {key: value for key, value in settings.items() if key != "epochs"},  # may be raised later
        seed=options.seed,
        data=files.checksum(options.data),
        device=data.device.type,
        **{name: files.checksum(path) for name, path in dict(more).items()},
    )
    facts = {"model": options.name, "seed": options.seed, "settings": settings, "data": about}
    tensors = (each for module in task.modules.values() for each in module.parameters() if each.requires_grad)
    parameters = sum(each.numel() for each in tensors)
    log.info(
        "%s: %d parameters, on %d images of %s, device %s, %d threads, %s",
        options.name, parameters, len(data), about["title"], data.device, options.threads, precision,
    )  # fmt: skip
    path = options.output / weights
    with checkpoints(options, path, identity, "checkpoint") as (saved,):
        history, best_epoch, stretches = loop.train(
            task,
            data,
            epochs=settings["epochs"],
            batch_size=settings["batch_size"],
            seed=options.seed,
            checkpoints=saved,
            precision=precision,
            events=options.output / "tensorboard",
        )
        publish(path, facts | {"versions": provenance.versions()})
        with files.atomic(options.output / "history.csv") as temporary:
            pandas.DataFrame(history).to_csv(temporary, index=False)
        summary = facts | {
            "best_epoch": best_epoch,
            "parameters": parameters,
            "best": history[best_epoch - 1],
            "seconds": history[-1]["seconds"],
            "stretches": stretches,
            "provenance": provenance.record(options, machine=provenance.machine(), device=data.device.type),
        }
        files.write_json(options.output / "training.json", summary)
        saved.state.finish()
    return summary
