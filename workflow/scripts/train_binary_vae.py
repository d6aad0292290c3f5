"""Train a variational autoencoder on binary 28x28 images and keep its best weights.

Reads the file that prepare_binarized_mnist.py wrote. Trains on its training images, picks the
epoch with the highest ELBO on its validation images (the test images are never looked at), and
writes the weights (safetensors), a CSV with one row an epoch and a JSON with what is needed to
trace them. Killed or interrupted, the same command goes on where it stopped, and ends with the
same weights as if nothing had happened.

example:
  python workflow/scripts/train_binary_vae.py --data resources/prepared/embedded/binarized_mnist.npz \\
      --model vae.safetensors --history vae.csv --training vae.json --epochs 5
"""

from pathlib import Path

from genlab import cli, configuration


def parser():
    result = cli.parser(__doc__, seed=True, device=True)
    result.add_argument("--data", type=Path, required=True, metavar="NPZ", help="prepared data")
    result.add_argument("--model", type=Path, required=True, metavar="SAFETENSORS", help="weights to write")
    result.add_argument("--history", type=Path, required=True, metavar="CSV", help="numbers of every epoch to write")
    result.add_argument("--training", type=Path, required=True, metavar="JSON", help="summary and provenance to write")
    result.add_argument("--name", default="vae", help="the model's name in tables and figures (default: vae)")
    result.add_argument("--state", type=Path, metavar="DIR", help="where to keep the checkpoint (default: MODEL.state)")
    result.add_argument("--events", type=Path, metavar="DIR", help="write TensorBoard events to this folder")
    result.add_argument(
        "--checkpoint-seconds", type=cli.positive, default=60, help="save the state this often (default: 60)"
    )
    configuration.add_options(result, "binary_vae")
    return result


def main(options):
    settings = configuration.settings(options, "binary_vae")

    import pandas
    import torch
    from genlab import data, networks, training, vae

    prepared = data.load_binarized_mnist(options.data)
    device = training.set_up(options.device, options.threads, options.seed)
    train, valid = (torch.from_numpy(data.unpack_bits(split)).to(device) for split in (prepared.train, prepared.valid))
    model = vae.binary_vae(settings["architecture"], settings["latents"]).to(device)
    task = vae.VAETraining(model, valid, settings)
    cli.log.info(
        "%s VAE, %d parameters, on %d images of %s, device %s, %d threads",
        settings["architecture"], networks.count_parameters(model), len(train), prepared.about["title"], device,
        options.threads,
    )  # fmt: skip
    fingerprint = {
        **settings,
        "seed": options.seed,
        "data": cli.checksum(options.data),
        "code": training.code_checksum(__file__, *(module.__file__ for module in (training, vae, networks, data))),
        "versions": cli.versions(),
        "device": device.type,
    }
    state = training.State(options.state or options.model.with_name(options.model.name + ".state"))
    with state.lock():
        history, best_epoch = training.train(
            task,
            train,
            epochs=settings["epochs"],
            batch_size=settings["batch_size"],
            seed=options.seed,
            state=state,
            fingerprint=fingerprint,
            events=options.events,
            checkpoint_seconds=options.checkpoint_seconds,
        )
        about = {"model": options.name, "seed": options.seed, "settings": settings, "data": prepared.about}
        vae.save_vae(
            options.model,
            task.average.module,
            about | {key: settings[key] for key in ("architecture", "latents")} | {"versions": cli.versions()},
        )
        with cli.atomic(options.history) as temporary:
            pandas.DataFrame(history).to_csv(temporary, index=False)
        cli.write_json(
            options.training,
            about
            | {
                "best_epoch": best_epoch,
                "parameters": networks.count_parameters(model),
                "best": history[best_epoch - 1],
                "seconds": history[-1]["seconds"],
                "provenance": cli.provenance(options, machine=cli.machine(), device=device.type),
            },
        )
        state.clear()
    print(
        f"best epoch {best_epoch} of {len(history)}: validation ELBO {history[best_epoch - 1]['valid_elbo']:.3f} nats"
    )


if __name__ == "__main__":
    cli.run(main, parser())
