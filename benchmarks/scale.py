"""What many models, samples and images cost: time, processor time and peak memory, each in its own process.

dag         `snakemake --dry-run` of a whole experiment with N trainings (models x seeds; the models are binary
            VAEs, image VAEs and image GANs in turn, with at most ten seeds each)
fid         the Frechet distance between two streams of N feature vectors (512 numbers, float32)
likelihood  the likelihood stage's estimate for N binary images, by a small linear VAE with K = 5

Each is repeated; the shortest times and the largest memory are printed. Each result must equal its known value.
On a shared machine, trust the processor time.

    python benchmarks/scale.py dag --sizes 10 100 1000
    python benchmarks/scale.py fid likelihood --sizes 10000 100000 1000000
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "workflow" / "scripts"))

from genlab import cli  # noqa: E402

SIZES = {"dag": [10, 100, 1000], "fid": [10**4, 10**5, 10**6], "likelihood": [10**4, 10**5, 10**6]}


def experiment(trainings):
    """A configuration with `trainings` trainings (models x seeds)."""
    seeds = min(10, trainings // 3)
    if trainings % seeds:
        seeds = next(number for number in range(seeds, 0, -1) if trainings % number == 0)
    names = [f"m{number}" for number in range(trainings // seeds)]
    images = {name: {"kind": ("vae", "gan")[number % 2]} for number, name in enumerate(names[: len(names) * 2 // 3])}
    binary = {name: {} for name in names[len(images) :]}
    removed = {"vae": None, "gan": None}  # the default models
    return {
        "seeds": list(range(1, seeds + 1)),
        "likelihood": {"models": {"vae": None} | binary},
        "images": {"models": removed | images},
    }


def dag(trainings):
    """Plan that experiment; returns the result in words."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "config.json").write_text(json.dumps(experiment(trainings)))
        words = ["--snakefile", ROOT / "Snakefile", "--directory", folder, "--configfile", Path(folder) / "config.json"]
        line = [sys.executable, "-m", "snakemake", "all", "--dry-run", "--quiet", "rules", "--cores", "1", *words]
        output = subprocess.run([*map(str, line)], text=True, capture_output=True, check=True).stdout
    jobs = {name: int(count) for name, count in re.findall(r"^(\w+) +(\d+)$", output, re.MULTILINE)}
    found = sum(count for name, count in jobs.items() if re.fullmatch("train_(binary_vae|vae|gan)", name))
    assert found == trainings, jobs
    return f"{jobs['total']} jobs"


def fid(number):
    """The distance of N(0, I) to N(m, 4 I), |m| = 1, which is 1 + D; both in batches of 1000."""
    import numpy as np
    from genlab.measures.frechet import calculate_fid_score

    def stream(seed, mean, deviation):
        rng = np.random.default_rng(seed)
        for start in range(0, number, 1000):
            batch = rng.standard_normal((min(1000, number - start), 512), np.float32)
            yield mean + deviation * batch

    distance = calculate_fid_score(stream(1, 0, 1), stream(2, np.float32(512**-0.5), np.float32(2)))
    # The bias: a covariance of D numbers from N vectors has eigenvalues spread by about (D / N)^1/2.
    assert abs(distance - 513) < 2 * 512 * 512 / number + 1, distance
    return f"distance {distance:.2f}, exactly 513"


def likelihood(number):
    """The stage's numbers of random images under a decoder that ignores its latent: exactly -784 log 2 at any K."""
    import estimate_likelihood
    import numpy as np
    import torch
    from genlab.models import likelihoods, vae

    encoder, decoder = torch.nn.Linear(784, 20), torch.nn.Linear(10, 784)
    torch.nn.init.zeros_(decoder.weight), torch.nn.init.zeros_(decoder.bias)
    torch.nn.init.zeros_(encoder.weight), torch.nn.init.zeros_(encoder.bias)
    model = vae.VAE(encoder, decoder, 10, likelihoods.Bernoulli(), (784,))
    packed = np.random.default_rng(1).integers(0, 256, (number, 98), np.uint8)
    settings = {"evaluation_seed": 1, "chunk": 400}
    numbers = estimate_likelihood.evaluate(model, packed, "test", 0, 5, [1, 5], settings, torch.device("cpu"))
    summary = estimate_likelihood.summarise(numbers)
    assert summary["images"] == number
    mean, exact = summary["log_likelihood"]["mean"], -784 * np.log(2)
    assert abs(mean - exact) < 1e-3, (mean, exact)
    return f"log-likelihood {mean:.3f}, exactly {exact:.3f}"


def measure(subject, size, threads):
    """Run one case in its own process; returns what it printed, seconds, processor seconds, peak memory in MB."""
    environment = os.environ | dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(threads))
    line = [sys.executable, __file__, subject, "--sizes", str(size), "--here"]
    start = time.perf_counter()
    process = subprocess.Popen(line, env=environment, stdout=subprocess.PIPE, text=True)
    output = process.stdout.read().strip()
    _, status, usage = os.wait4(process.pid, 0)  # of the process and, for the DAG, of Snakemake, its child
    if status:
        sys.exit(1)
    memory = usage.ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3)  # bytes there, kilobytes on Linux
    return output, time.perf_counter() - start, usage.ru_utime + usage.ru_stime, memory


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("subjects", nargs="+", choices=SIZES, help="what to measure")
    parser.add_argument("--sizes", type=cli.positive, nargs="+", help="values of N (default: several)")
    parser.add_argument("--repeats", type=cli.positive, default=3, help="turns of each (default: 3)")
    parser.add_argument("--threads", type=cli.positive, default=cli.cores(), help="CPU threads (default: all cores)")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    for subject in options.subjects:
        for size in options.sizes or SIZES[subject]:
            if options.here:
                print(globals()[subject](size))
                continue
            turns = [measure(subject, size, options.threads) for _ in range(options.repeats)]
            results, seconds, processor, memory = zip(*turns, strict=True)
            times = f"{min(seconds):.1f} s, {min(processor):.1f} s of processors, {max(memory):.0f} MB"
            print(f"{subject} {size}: {times}; {results[0]}", flush=True)


if __name__ == "__main__":
    main()
