"""Estimate ELBO and log-likelihood of a trained binary VAE on validation and test images.

For every image, K latents are drawn from q(z|x). Their importance weights give the
log-likelihood estimate log 1/K sum_k p(x, z_k) / q(z_k|x), its value at smaller K, the
effective sample size, and the ELBO (reconstruction averaged over the K samples, KL in closed
form). All numbers are nats per image; standard errors are over images. In expectation the
estimate is a lower bound that rises with K.

example:
  python workflow/scripts/estimate_likelihood.py --model vae.safetensors \\
      --data resources/prepared/embedded/binarized_mnist.npz --output log_likelihood.json \\
      --curve log_likelihood.csv --images 500
"""

from pathlib import Path

from genlab import InputError, cli, configuration

SPLITS = ("valid", "test")


def parser():
    result = cli.parser(__doc__, device=True)
    result.add_argument(
        "--model", type=Path, required=True, metavar="SAFETENSORS", help="weights of train_binary_vae.py"
    )
    result.add_argument("--data", type=Path, required=True, metavar="NPZ", help="prepared data")
    result.add_argument("--output", type=Path, required=True, metavar="JSON", help="estimates to write")
    result.add_argument("--curve", type=Path, required=True, metavar="CSV", help="estimate at each K to write")
    configuration.add_options(result, "likelihood_evaluation")
    return result


def main(options):
    settings = configuration.settings(options, "likelihood_evaluation")

    import numpy as np
    import pandas
    import torch
    from genlab import data, training, vae

    device = training.set_up(options.device, options.threads, settings["evaluation_seed"])
    model, about = vae.load_binary_vae(options.model, device)
    prepared = data.load_binarized_mnist(options.data)
    if about["data"] != prepared.about:
        raise InputError(
            f"{options.model}: trained on {about['data']['title']} with other files than those in {options.data}; "
            "give the data that it was trained on"
        )
    K = settings["samples"]
    ks = sorted({k for k in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000) if k < K} | {K})
    splits, curve = {}, []
    for number, split in enumerate(SPLITS):
        packed = getattr(prepared, split)
        if 0 < settings["images"] < len(packed):
            # A prefix would be no sample: the official test file is sorted by digit.
            chooser = np.random.default_rng([settings["evaluation_seed"], number])
            packed = packed[np.sort(chooser.choice(len(packed), settings["images"], replace=False))]
        images = torch.from_numpy(data.unpack_bits(packed))
        generator = torch.Generator(device).manual_seed(2 * settings["evaluation_seed"] + number)
        with cli.progress(total=len(images), label=split, unit="image") as bar:
            numbers = vae.evaluate_likelihood(model, images, K, ks, generator, settings["chunk"], progress=bar.update)
        numbers = {name: values.numpy() for name, values in numbers.items()}
        splits[split] = summarise(numbers)
        for k, column in zip(ks, numbers["curve"].T, strict=True):
            estimate = mean_and_error(column)
            curve.append({"split": split, "k": k, "log_likelihood": estimate[0], "standard_error": estimate[1]})
    with cli.atomic(options.curve) as temporary:
        pandas.DataFrame(curve).to_csv(temporary, index=False)
    cli.write_json(
        options.output,
        {
            "data": about["data"],
            "model": about["model"],
            "seed": about["seed"],
            "k": K,
            "splits": splits,
            "provenance": cli.provenance(
                options, trained_with=about, model_checksum=cli.checksum(options.model), device=device.type
            ),
        },
    )
    for split, numbers in splits.items():
        elbo, estimate = numbers["elbo"], numbers["log_likelihood"]
        print(
            f"{split}: ELBO {elbo['mean']:.3f}, log-likelihood (K = {K}) {estimate['mean']:.3f} "
            f"+- {estimate['standard_error']:.3f} nats, {numbers['images']} images"
        )


def mean_and_error(values):
    """Mean and its standard error over images (0 for a single image)."""
    return float(values.mean()), float(values.std(ddof=1) / len(values) ** 0.5) if len(values) > 1 else 0.0


def summarise(numbers):
    """Means, standard errors and quantiles over images of the per-image numbers of `vae.evaluate_likelihood`."""
    import numpy as np

    summary = {"images": len(numbers["elbo"])}
    for name in ("elbo", "log_likelihood", "kl"):
        summary[name] = dict(zip(("mean", "standard_error"), mean_and_error(numbers[name]), strict=True))
    sizes = numbers["effective_sample_size"]
    summary["effective_sample_size"] = {
        "mean": float(sizes.mean()),
        "median": float(np.median(sizes)),
        "min": float(sizes.min()),
    }
    return summary


if __name__ == "__main__":
    cli.run(main, parser())
