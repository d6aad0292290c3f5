"""Time and peak memory of the streaming computations against the number of items: 1, 4 and 16 times as many.

Each runs once, in its own process. Time should grow no faster than the number. Memory, which includes the libraries,
should grow only by the results and the resident data.
"""

import tempfile
from pathlib import Path

import side_by_side
from genlab import cli


def parser():
    result = side_by_side.parser(__doc__, turns=1)
    result.add_argument(
        "--factors",
        type=cli.positive,
        nargs="+",
        default=[1, 4, 16],
        help="multiples of the smallest number (default: 1 4 16)",
    )
    result.add_argument("--smaller", type=cli.positive, default=1, help="divide all numbers by this (default: 1)")
    return result


def parse_amat(threads, path):
    """Times of reading a file."""
    from genlab.data import amat

    return side_by_side.timed(lambda: amat.read(path))[0]


def frechet_distance(threads, count):
    """Times of the distance between two streams of `count` vectors of 512 numbers, including making them."""
    side_by_side.limit_threads(threads)
    import numpy as np
    from genlab.measures import frechet

    def stream(seed):
        rng = np.random.default_rng(seed)
        return (rng.standard_normal((500, 512), np.float32) for _ in range(count // 500))

    return side_by_side.timed(lambda: frechet.calculate_fid_score(stream(1), stream(2)))[0]


def features(threads, directory):
    """Times of the moments of the features of the images in a directory."""
    side_by_side.limit_threads(threads)
    from genlab.data import images
    from genlab.measures import frechet
    from genlab.models import classifier, networks
    from genlab.training import loop

    loop.set_up("cpu", threads, seed=1)
    network = networks.FeatureClassifier().eval().requires_grad_(False)
    _, batches = images.read_directory(directory)
    found = (each for each, _ in classifier.feature_batches(network, batches))
    return side_by_side.timed(lambda: frechet.moments(found))[0]


def log_likelihood(threads, count, samples):
    """Times of the log-likelihood of `count` images with `samples` latents each."""
    import likelihood

    return likelihood.ours(threads, count, samples, 1)[0]


def main(options):
    import numpy as np
    from genlab.data import amat, images

    rng, records = np.random.default_rng(1), []
    with tempfile.TemporaryDirectory() as temporary:
        for factor in options.factors:
            lines, vectors, files, digits, samples = (
                max(1, number * factor // options.smaller) for number in (12_500, 8_000, 4_000, 25, 200)
            )
            path, directory = Path(temporary, f"{factor}.amat"), Path(temporary, str(factor))
            amat.write(path, rng.integers(0, 2, (lines, amat.PIXELS), dtype=np.uint8))
            images.write_directory(directory, rng.integers(0, 256, (files, 3, 32, 32), dtype=np.uint8))
            for name, function, count, arguments in (
                ("lines of .amat parsed", parse_amat, lines, (path,)),
                ("vectors a side, Frechet distance", frechet_distance, vectors, (max(500, vectors),)),
                ("PNG files, moments of their features", features, files, (directory,)),
                ("images, log-likelihood, K = 200", log_likelihood, digits, (digits, 200)),
                ("latents an image, log-likelihood of 5 images", log_likelihood, samples, (5, samples)),
            ):
                (seconds, processor), peak = side_by_side.apart(function, (options.threads, *arguments))
                records.append(
                    {"what": name, "count": count, "seconds": seconds, "processor_seconds": processor, "peak_mib": peak}
                )
                print(f"{count} {name}: {seconds:.3g} s ({processor:.3g} s of processors), {peak:.0f} MiB", flush=True)
    return records


if __name__ == "__main__":
    options = parser().parse_args()
    side_by_side.write(options, main(options))
