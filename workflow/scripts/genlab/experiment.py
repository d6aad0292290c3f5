"""What every training stage shares: its options, the fingerprint of the experiment, its files."""

import sys
from pathlib import Path

from . import cli, configuration


def parser(doc, name, *definitions):
    """The parser of a training stage: data, files to write, state, and the settings of schema definitions.

    name: the model's default name in tables and figures.
    """
    result = cli.parser(doc, seed=True, device=True)
    result.add_argument("--data", type=Path, required=True, metavar="NPZ", help="prepared data")
    result.add_argument("--model", type=Path, required=True, metavar="SAFETENSORS", help="weights to write")
    result.add_argument("--history", type=Path, required=True, metavar="CSV", help="numbers of every epoch to write")
    result.add_argument("--training", type=Path, required=True, metavar="JSON", help="summary and provenance to write")
    result.add_argument("--name", default=name, help=f"the model's name in tables and figures (default: {name})")
    result.add_argument("--state", type=Path, metavar="DIR", help="where to keep the checkpoint (default: MODEL.state)")
    result.add_argument("--events", type=Path, metavar="DIR", help="write TensorBoard events to this folder")
    result.add_argument(
        "--checkpoint-seconds", type=cli.positive, default=60, help="save the state this often (default: 60)"
    )
    for definition in definitions:
        configuration.add_options(result, definition)
    return result


def run(options, settings, task, data, about, publish, more=()):
    """Train `task` on the tensor `data` as the options of `parser` say, and write its files.

    settings     all settings of the experiment, as one dict
    about        what the prepared data say about themselves
    publish      called as publish(facts) to write the weights, after training and before the summary; `facts` is
                 JSON-able: model, seed, settings, data, versions
    more         {name: file} of other inputs that belong to the experiment

    Interrupted, the same call goes on where it stopped. Returns the summary that is written as JSON.
    """
    import pandas

    from . import networks, training

    fingerprint = {
        **settings,
        "seed": options.seed,
        "data": cli.checksum(options.data),
        **{name: cli.checksum(path) for name, path in dict(more).items()},
        "code": training.code_checksum(*mathematics()),
        "versions": cli.versions(),
        "device": data.device.type,
    }
    facts = {"model": options.name, "seed": options.seed, "settings": settings, "data": about}
    parameters = networks.count_parameters(*task.modules.values())
    cli.log.info(
        "%s: %d parameters, on %d images of %s, device %s, %d threads",
        options.name, parameters, len(data), about["title"], data.device, options.threads,
    )  # fmt: skip
    state = training.State(options.state or options.model.with_name(options.model.name + ".state"))
    with state.lock():
        history, best_epoch = training.train(
            task,
            data,
            epochs=settings["epochs"],
            batch_size=settings["batch_size"],
            seed=options.seed,
            state=state,
            fingerprint=fingerprint,
            events=options.events,
            checkpoint_seconds=options.checkpoint_seconds,
        )
        publish(facts | {"versions": cli.versions()})
        with cli.atomic(options.history) as temporary:
            pandas.DataFrame(history).to_csv(temporary, index=False)
        summary = facts | {
            "best_epoch": best_epoch,
            "parameters": parameters,
            "best": history[best_epoch - 1],
            "seconds": history[-1]["seconds"],
            "provenance": cli.provenance(options, machine=cli.machine(), device=data.device.type),
        }
        cli.write_json(options.training, summary)
        state.clear()
    return summary


def mathematics():
    """The source files that the running stage's numbers depend on: itself and the modules of genlab that it uses.

    Left out are those that hold habits and no mathematics, as in the workflow's rules.
    """
    habits = {"cli", "configuration", "experiment"}
    modules = {name: module for name, module in sys.modules.items() if name.startswith("genlab.")}
    files = [module.__file__ for name, module in sorted(modules.items()) if name.split(".")[1] not in habits]
    return [sys.modules["__main__"].__file__, *files]
