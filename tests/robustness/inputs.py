"""Small sound inputs of every kind, each made when it is first asked for.

A name without a folder that a case's command mentions is looked up here: `give` puts a sound one there unless the case
has put another.
"""

import functools
import json
import os
import shlex
import shutil
import tempfile
from pathlib import Path

import forks
import numpy as np
from stage import SCRIPTS

KEPT = tempfile.TemporaryDirectory(prefix="genlab-inputs-")
SCORED = "--model classifier.safetensors --reference svhn.npz --threads 1 --device cpu"
MEASURED = "--data svhn.npz --classifier classifier.safetensors --threads 1 --device cpu"
# Sound inputs that a stage makes, by the command; all that the command writes is put beside.
COMMANDS = {
    "train.amat": "render_digits --count 20 --output train.amat",
    "valid.amat": "render_digits --count 8 --output valid.amat",
    "test.amat": "render_digits --count 8 --output test.amat",
    "train.mat": "render_digits --count 80 --output train.mat",
    "test.mat": "render_digits --count 40 --output test.mat",
    "binarized_mnist.npz": "prepare_binarized_mnist --train train.amat --valid valid.amat --test test.amat "
    "--source embedded --output binarized_mnist.npz",
    "svhn.npz": "prepare_svhn --train train.mat --test test.mat --source embedded --output svhn.npz",
    "classifier.safetensors": "networks classifier classifier.safetensors",
    "classifier.pt": "networks classifier classifier.pt",
    "gan.safetensors": "networks gan gan.safetensors svhn.npz",
    "vae.safetensors": "networks vae vae.safetensors svhn.npz",
    "binary_vae.safetensors": "networks binary_vae binary_vae.safetensors binarized_mnist.npz",
    "score.json": f"score_fid samples {SCORED} --name gan --output score.json",
    "fid.json": "summarise_fid --scores score.json --output fid.txt",
    "features.npz": f"extract_features --source samples --weights gan.safetensors --count 30 {MEASURED} "
    "--output features.npz",
    "test_features.npz": f"extract_features --source test {MEASURED} --output test_features.npz",
    "train_features.npz": f"extract_features --source train {MEASURED} --output train_features.npz",
    "metrics": "evaluate_features --features features.npz --test test_features.npz --train train_features.npz "
    "--count 24 --output metrics --threads 1",
    "compared": "compare --metrics metrics/metrics.json --output compared",
    "statistics": f"evaluate_samples --samples samples {MEASURED} --name gan --floor-draws 2 --output statistics",
    "accuracy.json": "evaluate_classifier --classifier classifier.safetensors --data svhn.npz --output accuracy.json",
    "likelihood.json": "estimate_likelihood --weights binary_vae.safetensors --data binarized_mnist.npz --samples 10 "
    "--train-images 4 --curve-images 0 --output likelihood.json --threads 1",
    "pairs.npz": "reconstruct_images --weights vae.safetensors --data svhn.npz --count 4 --elbo elbo.json "
    "--output pairs.npz",
    "digits.npz": "sample_binary_vae --weights binary_vae.safetensors --data binarized_mnist.npz "
    "--reconstructions 4 --count 4 --output digits.npz",
}
ABOUT = {"title": "embedded stand-in for SVHN", "source": "embedded"}


def give(folder, word):
    """Put the sound input that a word of a command names into the folder, with all that belongs to it."""
    name = word.split("/")[0]
    if word.startswith("-") or name not in COMMANDS.keys() | MAKERS.keys() or os.path.lexists(folder / name):
        return
    for file in made(name).iterdir():
        if not os.path.lexists(folder / file.name):
            copy(file, folder / file.name)


def copy(source, target):
    (shutil.copytree if source.is_dir() else shutil.copyfile)(source, target)


@functools.cache
def made(name):
    """A folder that holds the sound input `name` and what is made beside it."""
    folder = Path(KEPT.name, f"of {name}")
    folder.mkdir()
    if name in MAKERS:
        MAKERS[name](folder / name)
        return folder
    stage, *words = shlex.split(COMMANDS[name])
    with tempfile.TemporaryDirectory() as place:
        for word in words:
            if word.split("/")[0] != name:
                give(Path(place), word)
        before = set(os.listdir(place))
        program = Path(__file__).with_name("networks.py") if stage == "networks" else SCRIPTS / f"{stage}.py"
        process = forks.run([program, *words], forks.STAGES, cwd=place)
        if process.returncode:
            raise AssertionError(process.stderr)
        for new in set(os.listdir(place)) - before:
            copy(Path(place, new), folder / new)
    return folder


def load(folder, name):
    """Where a sound input lies in the folder, put there first."""
    give(folder, name)
    return folder / name


def make_history(path):
    rows = ["epoch,train_critic_estimate,valid_critic_estimate,train_gradient_norm,train_critic_loss,valid_fid"]
    path.write_text("\n".join([*rows, "1,3,2,0.9,-5,900", "2,4,3,1.0,-6,800"]) + "\n")
    path.with_name("training.json").write_text(
        json.dumps({"model": "gan", "data": ABOUT, "settings": {"monitor_samples": 30}, "best_epoch": 2, "seed": 1})
    )
    frames = pixels(2, 3)
    about = {"model": "gan", "seed": 1, "data": ABOUT}
    np.savez(path.with_name("frames.npz"), frames=frames, epochs=np.array([1, 2]), about=np.array(json.dumps(about)))


def make_samples(path):
    """Images in the project's own layout."""
    from PIL import Image

    (path / "samples").mkdir(parents=True)
    for number, picture in enumerate(pixels(24, seed=5).transpose(0, 2, 3, 1)):
        Image.fromarray(picture).save(path / "samples" / f"{number:04}.png")


def make_given(path):
    """Images as somebody hands them in: of several kinds, in folders."""
    from PIL import Image

    for number, picture in enumerate(pixels(30).transpose(0, 2, 3, 1)):
        place = path / str(number % 2)
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(place / f"{number}.png")


MAKERS = {
    "history.csv": make_history,
    "samples": make_samples,
    "given": make_given,
    "given.npz": lambda path: np.savez(path, images=pixels(30)),
}


def pixels(*shape, seed=1):
    """Random images, uint8 (*shape, 3, 32, 32), in blocks of four pixels."""
    coarse = np.random.default_rng(seed).integers(0, 256, (*shape, 3, 8, 8), dtype=np.uint8)
    return coarse.repeat(4, axis=-1).repeat(4, axis=-2)
