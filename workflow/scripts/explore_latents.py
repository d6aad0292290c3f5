"""Explore the latents of a trained image model: latent traversal and interpolation.

Traversal: the images of z + epsilon e_i and z - epsilon e_i for one latent z, drawn from N(0, I), and
every dimension i. The effect of a dimension is the root mean square change of the pixels in 8-bit grey
levels. One z proves little, so the effect is also averaged over 64. What a dimension changes is told by its
correlation with attributes of the images of many z: brightness, contrast, redness, greenness, polarity
(bright digit on dark ground, or dark on bright), slant, and the classifier's probability of each class.

Interpolation: for random pairs of latents, the latent path g(alpha z0 + (1 - alpha) z1), the sphere path
along the arc between z1 and z0, whose z have the usual length everywhere, and the image path
alpha g(z0) + (1 - alpha) g(z1), a double exposure, at alpha = 0, 0.1, ..., 1. For each alpha and
path, the table gives the mean and the standard error over the pairs of
  sharpness        luminance difference of neighbouring pixels, in grey levels
  distance         to the nearest real validation image, Euclidean in the classifier's 512 features
  top_probability  of the classifier's first choice
and path_distance, the feature distance between latent and image path. The JSON compares the middle of each path
with its ends, and has the same numbers for as many real test images.

The NPZ holds the images of the first z (base, plus, minus) and of the first pair (latent_path, sphere_path,
image_path), uint8 of 3 x 32 x 32, with effect, mean_effect, order (dimensions by decreasing effect),
correlation (dimensions x attributes), epsilon, alphas, and about, JSON text on their origin. Nothing is
selected by hand.

example:
  python workflow/scripts/explore_latents.py --weights gan.safetensors --classifier classifier.safetensors \\
      --data resources/prepared/embedded/svhn.npz --output gan
"""

import math
from pathlib import Path

from genlab import cli, configuration, files, provenance
from genlab.models import own_networks

STARTS = 64  # latents that the mean effect averages over
DRAWS = 2000  # latents whose images' attributes are correlated with them
STEPS = 10  # of alpha, from 0 to 1
VISIBLE = 1.0  # grey levels of mean effect above which a dimension counts as visible


def parser():
    result = cli.parser(__doc__, seed=True, device=True)
    result.add_argument(
        "--weights", type=Path, required=True, metavar="SAFETENSORS", help="weights of train_vae.py or train_gan.py"
    )
    result.add_argument(
        "--classifier", type=Path, required=True, metavar="WEIGHTS", help="classifier whose features measure distance"
    )
    result.add_argument("--data", type=Path, required=True, metavar="NPZ", help="prepared data of the model")
    result.add_argument(
        "--output", type=Path, required=True, metavar="DIR",
        help="folder to write: latents.npz (images, effects), interpolation.csv (numbers at each alpha), latents.json",
    )  # fmt: skip
    configuration.add_options(result, "exploration")
    own_networks.add_options(result, "generator", "encoder")
    return result


def main(options):
    import numpy as np
    import pandas
    import torch
    from genlab.data import arrays, images
    from genlab.measures import intervals
    from genlab.models import classifier, image_model, latents
    from genlab.training import loop

    device = loop.set_up(options.device, options.threads, options.seed)
    parts, trained = image_model.load_model(options.weights, device, own_networks.given(options))
    network, network_about = classifier.load_classifier(options.classifier, device)
    prepared = arrays.load_images(options.data)
    arrays.check_trained_on(prepared, trained, options.weights, options.data)
    classifier.check_classes(network, prepared.classes, options.classifier, options.data)
    decoder = parts["generator"]
    normal = torch.Generator().manual_seed(options.seed)  # on the CPU, so that every device explores the same latents
    starts, z0, z1, draws = (
        torch.randn(count, decoder.latents, generator=normal).to(device)
        for count in (STARTS, options.pairs, options.pairs, DRAWS)
    )
    alphas = torch.arange(STEPS + 1, dtype=torch.float64) / STEPS

    pictures = dict(zip(("base", "plus", "minus"), latents.perturb(decoder, starts[0], options.epsilon), strict=True))
    effect = latents.effect(**pictures)
    mean_effect = latents.mean_effect(decoder, starts, options.epsilon)
    paths = latents.interpolate(decoder, z0[0], z1[0], alphas)
    pictures |= {f"{name}_path": path for name, path in zip(arrays.PATHS, paths, strict=True)}
    attributes = latents.attributes(decoder, network, draws, arrays.class_titles(prepared.about))
    correlation, chance = latents.correlations(draws.cpu(), attributes)

    reference, _ = classifier.classify(network, prepared.valid_images)
    chosen = np.random.default_rng(options.seed).permutation(len(prepared.test_images))[: options.pairs]
    real, _ = latents.measure(network, reference, prepared.test_images[chosen])
    paths = latents.measure_paths(decoder, network, reference, z0, z1, alphas)

    about = {name: trained[name] for name in ("data", "model", "kind", "seed")}
    about |= {"epsilon": options.epsilon, "pairs": options.pairs, "starts": STARTS}
    about |= {"attributes": list(attributes), "draws": DRAWS, "chance": chance}
    about["real"] = {name: estimate(*intervals.mean_and_error(values)) for name, values in real.items()} | {
        "images": len(chosen)
    }
    about["provenance"] = provenance.record(
        options,
        trained_with=trained,
        model_checksum=files.checksum(options.weights),
        classifier=network_about,
        device=device.type,
    )
    fields = {name: images.to_uint8(picture).cpu().numpy() for name, picture in pictures.items()} | {
        "effect": effect.cpu().numpy(),
        "mean_effect": mean_effect.cpu().numpy(),
        "order": latents.rank(effect).cpu().numpy(),
        "correlation": correlation,
        "epsilon": np.float64(options.epsilon),
        "alphas": alphas.numpy(),
    }
    with files.atomic(options.output / "latents.npz") as temporary:
        arrays.write(temporary, about, **fields)

    table = {"alpha": alphas.numpy()}
    for name, values in paths.items():
        table[name], table[f"{name}_error"] = intervals.mean_and_error(values)
    with files.atomic(options.output / "interpolation.csv") as temporary:
        pandas.DataFrame(table).to_csv(temporary, index=False)

    middle = {"path_distance": estimate(*intervals.mean_and_error(paths.pop("path_distance")[STEPS // 2]))}
    for name, values in paths.items():
        middle[f"{name}_ratio"] = estimate(*intervals.ratio_and_error(values[STEPS // 2], values[[0, -1]].mean(0)))
    effects = np.sort(fields["mean_effect"])
    visible = {"latents": len(effects), "visible": int((effects > VISIBLE).sum()), "threshold": VISIBLE}
    spread = {"largest": effects[-1], "median": float(np.median(effects)), "smallest": effects[0]}
    strongest = {
        name: {"latent": int(np.abs(column).argmax()), "correlation": float(column[np.abs(column).argmax()])}
        for name, column in zip(attributes, correlation.T, strict=True)
    }
    summary = {"middle": middle, "effects": visible | spread, "strongest": strongest}
    summary["correlated"] = int((np.abs(correlation).max(1) > chance).sum())
    files.write_json(options.output / "latents.json", about | summary)
    print(
        f"{visible['visible']} of {len(effects)} latents move the picture by more than {VISIBLE:g} grey level "
        f"at a step of {options.epsilon:g}"
    )
    print("in the middle of the paths, relative to the ends:")
    for name, value in middle.items():
        if value["mean"] is not None and name.endswith("_ratio"):
            print(f"  {name.removesuffix('_ratio'):24} {value['mean']:.3f} +- {value['standard_error']:.3f}")


def estimate(mean, error):
    """A mean and its standard error for JSON; null where undefined."""
    return {name: float(v) if math.isfinite(v) else None for name, v in (("mean", mean), ("standard_error", error))}


if __name__ == "__main__":
    cli.run(main, parser())
