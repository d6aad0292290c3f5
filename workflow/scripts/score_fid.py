"""Score a directory of samples: Frechet distance (FID) to real images, with its floor.

DIRECTORY holds one folder of image files in RGB (PNG, JPEG, BMP or WebP), as sample.py writes it. The features are
the 512 of the SVHN classifier in WEIGHTS, or those of another --feature-network. Real images are given as FILE: an
SVHN .mat file, a prepared .npz, or another directory of images.

The first line printed is "FID <number>". A FID means little by itself, so its floor follows: the same
distance for as many real training images, which a generator that copied reality would score. The
training images are those of a prepared --reference, or --floor.

example:
  python workflow/scripts/score_fid.py results/samples/gan
  python workflow/scripts/score_fid.py my_samples --model svhn_classifier.pt \\
      --reference test_32x32.mat --floor train_32x32.mat --output fid.json
"""

from pathlib import Path

from genlab import InputError, cli, files, provenance
from genlab.models import own_networks

ROOT = Path(__file__).resolve().parents[2]
CLASSIFIER = Path("results/classifier/trained.safetensors")
REFERENCE = Path("resources/prepared/embedded/svhn.npz")

PROTOCOL = (
    "Frechet distance (Heusel et al. 2017, eq. 6) between {words}, in eval mode, of 32 x 32 images scaled to [-1, 1]; "
    "covariances unbiased, in float64. It is in units of these features, and its bias grows as N falls: compare only "
    "with one feature network, one reference and one N."
)


def parser():
    result = cli.parser(__doc__, seed=True, device=True)
    result.add_argument("directory", type=Path, metavar="DIRECTORY", help="samples: one folder of images inside")
    result.add_argument(
        "--model", type=Path, default=ROOT / CLASSIFIER, metavar="WEIGHTS",
        help="weights of the feature network, safetensors or PyTorch's own, like the course's svhn_classifier.pt "
        f"(default: the project's {CLASSIFIER})",
    )  # fmt: skip
    own_networks.add_feature_network(result)
    result.add_argument(
        "--reference", type=Path, default=ROOT / REFERENCE, metavar="FILE",
        help=f"real images to compare with; of an .npz its test images (default: the project's {REFERENCE})",
    )  # fmt: skip
    result.add_argument(
        "--floor", type=Path, metavar="FILE",
        help="real images for the floor; of an .npz its training images (default: the reference, if an .npz)",
    )  # fmt: skip
    result.add_argument(
        "--floor-draws", type=cli.positive, default=10, metavar="N", help="random draws for the floor (default: 10)"
    )
    result.add_argument("--output", type=Path, metavar="OUT", help="write the numbers and their provenance here")
    result.add_argument("--name", help="the model's name in the JSON (default: the directory's)")
    return result


def main(options):
    for path, default in ((options.model, CLASSIFIER), (options.reference, REFERENCE)):
        if path == ROOT / default and not path.exists():
            option = "--model" if default == CLASSIFIER else "--reference"
            raise InputError(f"{path}: not made yet; run `snakemake --cores 1 {default}` in {ROOT}, or give {option}")
    from genlab.data import images, references
    from genlab.measures import frechet, ranking
    from genlab.models import feature_networks
    from genlab.training import loop

    device = loop.set_up(options.device, options.threads, options.seed)
    samples, batches = images.read_directory(options.directory)
    network, network_about = feature_networks.load(options.model, options.feature_network, device)
    real, data, reference = references.read(options.reference, "test")
    pool = references.training_pool(options.floor, options.reference)

    def features(batches):
        return (feature_networks.features(network, batch) for batch in batches)

    def features_of(pictures):
        return feature_networks.features(network, pictures)

    sample_moments = frechet.moments(features(batches), f"features of {options.directory}")
    real_moments = frechet.moments(features(references.batches(real)), f"features of {options.reference}")
    fid = sample_moments.distance(real_moments)
    floor = None
    if pool:
        real, _, source = pool
        chosen = ranking.draws(len(real), samples, options.floor_draws, options.seed)
        floor = ranking.real_data_fid(real, chosen, features_of, real_moments)
        floor |= {"images": chosen.shape[1], "source": source}
    result = {
        "model": options.name or options.directory.resolve().name,
        "data": data,
        "seed": options.seed,
        "fid": fid,
        "samples": samples,
        "reference": reference,
        "floor": floor,
        "ratio": fid / floor["mean"] if floor and floor["mean"] > 0 else None,
        "features": network_about,
        "protocol": PROTOCOL.format(words=network_about["words"]),
        "provenance": provenance.record(options, device=device.type),
    }
    if options.output:
        files.write_json(options.output, result)
    print(report(result, options.directory))


def report(result, directory):
    """The result as text for a person; its first line is "FID <number>"."""

    def named(taken):
        split = {"train": "training ", "test": "test "}.get(taken.get("split"), "")
        return f"{split}images of {taken['title']}" + (f" ({taken['file']})" if split else "")

    floor, reference, weights = result["floor"], result["reference"], result["features"]
    lines = {
        "samples": f"{result['samples']} images of {directory}",
        "reference": f"{reference['images']} {named(reference)}",
        "real data": "unknown: no training images; give them with --floor",
    }
    if floor:
        draws = len(floor["values"])
        spread = f" +- {floor['sd']:.4g}, mean and sd of {draws} draws" if draws > 1 else ", one draw"
        lines["real data"] = f"{floor['mean']:.6g}{spread}: FID of {floor['images']} real {named(floor['source'])}"
        if floor["images"] < result["samples"]:
            lines["note"] = (
                f"only {floor['images']} training images for {result['samples']} samples: the real-data FID reads high"
            )
        lines["ratio"] = (
            f"{result['ratio']:.4g} (FID / real-data FID)" if result["ratio"] else "none: the real-data FID is 0"
        )
    lines["features"] = f"{weights['words']}; {weights['file']}, SHA-256 {weights['sha256']}"
    lines["protocol"] = result["protocol"]
    return "\n".join([f"FID {result['fid']:.8g}", *(f"{name:10} {text}" for name, text in lines.items())])


if __name__ == "__main__":
    cli.run(main, parser())
