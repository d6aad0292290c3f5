"""Check and measure the project on a GPU in under 9 minutes, with one command. The results fill docs/gpu.md.

It needs a plain checkout and a Python with torch 2.11 or newer, numpy, scipy, pandas, matplotlib, pillow, pyyaml,
safetensors and tqdm; no Snakemake and no network. The parts, each in its own process:

  parity    losses, gradients, samples, features, FID and likelihoods on CPU and GPU
  resume    each training, killed and resumed
  speed     steps and images per second, against the plain loop and the card's limits
  sharing   eight trainings on one card, against one
  training  a GAN and a VAE on as many images as the official data, a binary VAE and its likelihood

DIR/<part>.json is written after every measurement and DIR/gpu.md after every part, so an interrupted run loses
nothing. Give real data with --svhn, --binarized-mnist and --classifier; else data are rendered.

example:
  python benchmarks/gpu.py --output gpu
  python benchmarks/gpu.py --output gpu --device cpu --quick    # shows that it runs; the numbers mean nothing
"""

import argparse
import importlib
import json
import subprocess
import sys
import threading
import time
import warnings
from pathlib import Path

import side_by_side  # noqa: F401 (it makes genlab importable)
from genlab import cli, provenance

NAMES = ("binary VAE", "image VAE", "WGAN-GP", "classifier")
# And the time limit of each on a GPU, in seconds: 9 minutes in all.
PARTS = {"parity": 40, "resume": 75, "speed": 120, "sharing": 60, "training": 245}


def parser():
    result = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    result.add_argument(
        "--output", type=Path, default=Path("gpu"), metavar="DIR", help="folder to write (default: gpu)"
    )
    result.add_argument("--device", choices=("cuda", "cpu"), default="cuda", help="where to compute (default: cuda)")
    result.add_argument("--quick", action="store_true", help="a few steps of everything; the numbers mean nothing")
    result.add_argument("--only", choices=PARTS, nargs="+", default=list(PARTS), help="parts to run (default: all)")
    result.add_argument(
        "--trainings",
        choices=NAMES,
        nargs="+",
        default=NAMES,
        help="trainings in parity, speed and training (default: all)",
    )
    result.add_argument("--svhn", type=Path, metavar="NPZ", help="data that prepare_svhn.py wrote (default: rendered)")
    result.add_argument(
        "--binarized-mnist",
        type=Path,
        metavar="NPZ",
        help="data that prepare_binarized_mnist.py wrote (default: rendered)",
    )
    result.add_argument(
        "--classifier", type=Path, metavar="WEIGHTS", help="weights of the feature classifier (default: trains one)"
    )
    result.add_argument(
        "--train-seconds", type=cli.positive, default=180, help="time for the GAN's training (default: 180)"
    )
    result.add_argument("--part", choices=PARTS, help=argparse.SUPPRESS)
    return result


def main(options):
    options.output.mkdir(parents=True, exist_ok=True)
    if options.part:
        return run_part(options)
    failed = False
    for part in options.only:
        limit = PARTS[part] * (1 if options.device == "cuda" else 5)  # a CPU takes longer
        start = time.perf_counter()
        with (options.output / f"{part}.log").open("w") as log:
            command = [sys.executable, __file__, *sys.argv[1:], "--part", part]
            try:
                code = subprocess.run(command, stdout=log, stderr=log, timeout=limit).returncode
            except subprocess.TimeoutExpired:
                code = f"ended after {limit} s"
        from on_gpu import page

        page.write(options.output)
        failed |= code != 0
        print(
            f"{part}: {time.perf_counter() - start:.0f} s" + (f", {code}; see {part}.log" if code else ""), flush=True
        )
    return int(failed)


def run_part(options):
    warnings.filterwarnings("ignore", "(?s).*deterministic")  # set_up turns these warnings on
    from genlab.training import loop

    device = loop.set_up(options.device, 1, 1)
    about = {"device": describe(device), "commit": commit(), "quick": options.quick}
    content = about | {"records": []}

    turn = threading.Lock()

    def record(name, **numbers):
        with turn:
            content["records"].append({"name": name} | numbers)
            (options.output / f"{options.part}.json").write_text(json.dumps(content, indent=1) + "\n")
            print(json.dumps({"name": name} | numbers), flush=True)

    importlib.import_module(f"on_gpu.{options.part}").run(options, record)
    return int(any(not each.get("agrees", True) for each in content["records"]))


def describe(device):
    """The card, its driver, and the versions."""
    import torch

    about = {"machine": provenance.machine(), "versions": provenance.versions()}
    if device.type == "cuda":
        query = ["nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"]
        found = subprocess.run(query, capture_output=True, text=True).stdout.strip().splitlines()
        about |= {"card": found[device.index] if found else torch.cuda.get_device_name(device)}
        about |= {"cuda": torch.version.cuda, "cudnn": torch.backends.cudnn.version()}
    return about


def commit():
    found = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, cwd=Path(__file__).parent
    )
    return found.stdout.strip() or None


if __name__ == "__main__":
    sys.exit(main(parser().parse_args()))
