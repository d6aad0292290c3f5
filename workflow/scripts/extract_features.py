"""Extract features of a set of images, on which all metrics of images are computed.

--source says which images:

  samples          --count images drawn from the model in --weights, latents from p(z); those that sample.py draws
                   with the same --seed, so give another for other images. Or the first --count in --images, which
                   import_samples.py wrote
  reconstructions  all test images, through the VAE in --weights: g(z) for one draw of z from q(z|x)
  train, test      all real images of the split, in random order
  noise            --count images of independent uniform pixels, the worst there can be
  mean             the mean training image, --count times: right on average, and no diversity at all

The features are the classifier's, or those of another --feature-network, whose weights are --feature-weights.

Writes an NPZ with `features` float32 (N, D), `classes` (N,), the classifier's first choices,
`rows` int64 (N,), which image of its split each is (of a set that is no split's: 0, 1, ...),
`images` uint8 (16 or fewer, 3, 32, 32), the first of the set, and `about`, JSON text that traces them.

example:
  python workflow/scripts/extract_features.py --source samples --weights gan.safetensors \\
      --data resources/prepared/embedded/svhn.npz --classifier classifier.safetensors --output features.npz
"""

from pathlib import Path

from genlab import InputError, cli, files, provenance
from genlab.models import own_networks

# What tables and figures call the sets that are no model's.
SUBJECTS = {"train": "training images", "test": "test images", "noise": "noise", "mean": "mean training image"}
SOURCES = ("samples", "reconstructions", *SUBJECTS)
BATCH = 500  # images at a time: memory does not grow with their number but for their features
SHOWN = 16


def parser():
    result = cli.parser(__doc__, seed=True, device=True)
    result.add_argument("--source", choices=SOURCES, required=True, help="which images")
    result.add_argument("--data", type=Path, required=True, metavar="NPZ", help="prepared colour images")
    result.add_argument("--classifier", type=Path, required=True, metavar="WEIGHTS", help="classifier")
    own_networks.add_feature_network(result)
    result.add_argument(
        "--feature-weights",
        type=Path,
        metavar="FILE",
        help="weights of the feature network, if that is not the classifier",
    )
    result.add_argument(
        "--weights",
        type=Path,
        metavar="SAFETENSORS",
        help="weights of train_vae.py or train_gan.py, for samples and reconstructions",
    )
    result.add_argument(
        "--images", type=Path, metavar="NPZ", help="images that import_samples.py wrote; then no model draws any"
    )
    result.add_argument("--count", type=cli.positive, default=10000, help="images to draw (default: 10000)")
    result.add_argument(
        "--noise", action="store_true", help="draw samples of a VAE from p(x|z) instead of taking its mean"
    )
    result.add_argument("--output", type=Path, required=True, metavar="NPZ", help="features to write")
    own_networks.add_options(result, "generator", "encoder")
    return result


def main(options):
    imported = options.source == "samples" and options.images is not None
    of_model = options.source in ("samples", "reconstructions") and not imported
    if options.images is not None and not imported:
        raise InputError(f"--source {options.source}: these are no samples; leave out --images")
    if of_model != (options.weights is not None):
        needed = "needs the weights of a model; give" if of_model else "is of no model; leave out"
        raise InputError(f"--source {options.source}: {needed} --weights")
    if options.noise and (options.source != "samples" or imported):
        raise InputError(f"--source {options.source}: is not drawn from p(x|z); leave out --noise")
    if (options.feature_network != "classifier") != (options.feature_weights is not None):
        needed = "leave out" if options.feature_weights else "give"
        raise InputError(f"--feature-network {options.feature_network}: {needed} --feature-weights")
    import numpy as np
    from genlab.data import arrays
    from genlab.models import classifier, feature_networks, image_model
    from genlab.training import loop

    device = loop.set_up(options.device, options.threads, options.seed)
    network, network_about = feature_networks.load(options.classifier, device=device)
    other = None
    if options.feature_weights:
        other, network_about = feature_networks.load(options.feature_weights, options.feature_network, device)
    prepared = arrays.load_images(options.data)
    about = {
        "set": options.source,
        "subject": SUBJECTS.get(options.source),
        "data": prepared.about,
        "features": network_about,
    }
    parts = pictures = None
    if imported:
        pictures, origin = arrays.read_samples(options.images)
        about |= {"subject": origin["model"], "model_seed": origin["seed"], **{k: origin[k] for k in ("model", "kind")}}
    if of_model:
        parts, trained = image_model.load_model(options.weights, device, own_networks.given(options))
        arrays.check_trained_on(prepared, trained, options.weights, options.data)
        if options.source == "reconstructions" and "encoder" not in parts:
            raise InputError(f"{options.weights}: a {trained['kind']} has no encoder to reconstruct with")
        about |= {"model": trained["model"], "kind": trained["kind"], "model_seed": trained["seed"]}
        about["subject"] = trained["model"] + (" reconstructions" if options.source == "reconstructions" else "")

    if imported:
        rows = np.arange(min(options.count, len(pictures)))
        batches = (pictures[rows[start : start + BATCH]] for start in range(0, len(rows), BATCH))
    else:
        rows, batches = batches_of(options, prepared, parts)
    features, classes, shown = [], [], None
    with cli.progress(total=len(rows), label=options.source, unit="image") as bar:
        for batch in batches:
            shown = np.asarray(batch[:SHOWN]) if shown is None else shown
            ((found, logits),) = classifier.feature_batches(network, [batch])
            features.append(feature_networks.features(other, batch) if other else found)
            classes.append(arrays.as_labels(logits.argmax(1), logits.shape[1]))
            bar.update(len(batch))
    about |= {"seed": options.seed, "provenance": provenance.record(options, device=device.type)}
    with files.atomic(options.output) as temporary:
        arrays.write(
            temporary,
            about,
            features=np.concatenate(features),
            classes=np.concatenate(classes),
            rows=rows,
            images=shown,
        )


def batches_of(options, prepared, parts):
    """The rows of the images in their split (N,), and an iterator of batches of them, uint8 (M, 3, 32, 32)."""
    import numpy as np
    import torch
    from genlab.models import image_model, vae

    # On the CPU, so that one seed gives the same images on every device.
    rng, normal = np.random.default_rng(options.seed), torch.Generator().manual_seed(options.seed)
    if options.source in ("train", "test", "reconstructions"):
        real = prepared.train_images if options.source == "train" else prepared.test_images
        rows = rng.permutation(len(real))
        batches = (real[rows[start : start + BATCH]] for start in range(0, len(real), BATCH))
        if options.source == "reconstructions":
            batches = (vae.reconstruct(parts, torch.from_numpy(batch), normal) for batch in batches)
        return rows, batches

    if options.source == "samples":
        batches = image_model.sample(parts["generator"], options.count, options.seed, options.noise, BATCH)
        return np.arange(options.count), batches

    def drawn(count):
        if options.source == "noise":
            return rng.integers(0, 256, (count, 3, 32, 32), dtype=np.uint8)
        return np.tile(mean, (count, 1, 1, 1))

    if options.source == "mean":
        mean = np.rint(prepared.train_images.mean(axis=0, dtype=np.float64)).astype(np.uint8)
    starts = range(0, options.count, BATCH)
    return np.arange(options.count), (drawn(min(BATCH, options.count - start)) for start in starts)


if __name__ == "__main__":
    cli.run(main, parser())
