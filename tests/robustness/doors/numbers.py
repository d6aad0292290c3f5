"""Numbers at the edge: NaN and infinity, constant images, one image, K = 1, classes and splits that lack."""

import functools

import numpy as np
from robustness.inputs import load
from robustness.runner import Case, Door
from robustness.spoil import both, edits, image, npz, tensors


def folder_of(count, colour=None, name="samples/samples"):
    """Images in a folder; all alike if they have a colour."""
    return both(*(image(f"{name}/{number:04}.png", color=colour) for number in range(count)))


def copied(name, to, *changes):
    """The sound JSON file several times, each time with other values."""

    def change(folder):
        for number, values in enumerate(changes, 2):
            path = folder / f"{to}{number}.json"
            path.write_bytes(load(folder, name).read_bytes())
            edits(path.name, **values)(folder)

    return change


def numbers():
    cpu = "--threads 1 --device cpu"
    score = (
        f"score_fid samples --model classifier.safetensors --reference svhn.npz --floor-draws 2 --output fid.json {cpu}"
    )
    board = f"score_samples given samples --model classifier.safetensors --reference svhn.npz --output board {cpu}"
    evaluate = (
        "evaluate_features --features features.npz --test test_features.npz --train train_features.npz --count 24 "
        "--output metrics --threads 1"
    )
    statistics = (
        f"evaluate_samples --samples samples --data svhn.npz --classifier classifier.safetensors --name gan "
        f"--floor-draws 2 --output statistics {cpu}"
    )
    likelihood = (
        "estimate_likelihood --weights binary_vae.safetensors --data binarized_mnist.npz --curve-images 0 "
        f"--output out.json {cpu}"
    )
    accuracy = f"evaluate_classifier --classifier classifier.safetensors --data svhn.npz --output accuracy.json {cpu}"
    vae = f"train_binary_vae --data binarized_mnist.npz --output trained --epochs 1 --warmup-steps 1 {cpu}"
    gan = (
        "train_gan --data svhn.npz --classifier classifier.safetensors --output trained --epochs 1 --batch-size 16 "
        f"--width 4 --critic-width 4 --monitor-samples 2 {cpu}"
    )
    classifier = f"train_classifier --data svhn.npz --output trained --epochs 1 --warmup-steps 1 {cpu}"
    seeds = f"summarise_fid --scores score.json {' '.join(f'score{n}.json' for n in range(2, 14))} --output fid.txt"
    nan = functools.partial(np.full_like, fill_value=np.nan)

    def answers(what, command, says="", prepare=lambda folder: None, **others):
        """A defined answer."""
        return Case(what, command, says=says, prepare=prepare, code=0, **others)

    def one(key, value):
        """An array of the test images' data with all rows alike."""
        return npz("svhn.npz", **{key: lambda array: np.full_like(array, value)})

    return Door(
        "Numbers at the edge",
        "A defined answer, or a refusal before anything long has run.",
        [
            answers("samples that are all black", score, "FID", folder_of(24, (0, 0, 0))),
            Case("one sample", score, says="moments need 2 or more", prepare=folder_of(1)),
            answers("real images that are all black", score, "FID", one("test_images", 0)),
            answers("samples and real images that are all black", score, "FID",
                    both(folder_of(24, (0, 0, 0)), one("test_images", 0), one("train_images", 0))),
            Case("one real image", score, says="moments need 2 or more",
                 prepare=npz("svhn.npz", test_images=lambda x: x[:1], test_labels=lambda y: y[:1])),
            Case("21 images for a leaderboard", board, says="21 images; give 22 or more", prepare=folder_of(21)),
            Case("NaN in features", evaluate, says="NaN or infinity", prepare=npz("features.npz", features=nan)),
            Case("infinity in features", evaluate, says="NaN or infinity",
                 prepare=npz("features.npz", features=lambda x: x + np.float32(np.inf))),
            answers("features of all sets that are all alike", evaluate, "", both(*(
                npz(f"{name}features.npz", features=np.ones_like) for name in ("", "test_", "train_")))),
            Case("five images to measure", evaluate, says="give 20 or more", prepare=npz("test_features.npz", **{
                key: lambda x: x[:5] for key in ("features", "classes", "rows")})),
            Case("no images to measure", evaluate, says="not a file of features", prepare=npz("features.npz", **{
                key: lambda x: x[:0] for key in ("features", "classes", "rows")})),
            answers("statistics of images that are all alike", statistics, "", folder_of(24, (9, 99, 200))),
            answers("statistics against real images that are all alike", statistics, "", one("test_images", 7)),
            Case("statistics of one image", statistics, says="expected 2, 2 and 4 or more", prepare=folder_of(1)),
            answers("K = 1", f"{likelihood} --samples 1 --train-images 0", "log-likelihood (K = 1)"),
            answers("a likelihood of one image", f"{likelihood} --samples 2 --images 1 --train-images 0", "1 images"),
            answers("a likelihood of more images than there are",
                    f"{likelihood} --samples 2 --images 1000000 --train-images 0", "8 images"),
            answers("a class without test images", accuracy, "",
                    npz("svhn.npz", test_labels=lambda y: np.where(y == 1, 2, y).astype(np.uint8))),
            answers("test images of one class", accuracy, "", one("test_labels", 3)),
            answers("training images of one class", classifier, "", one("train_labels", 3)),
            Case("a learning rate that makes the numbers overflow", f"{vae} --learning-rate 1e30 --batch-size 5",
                 says="numbers stopped being finite", code=1),
            answers("a batch of more images than there are", f"{vae} --batch-size 1000", "epoch 1"),
            answers("training images that are all alike", gan, "", one("train_images", 7)),
            answers("one training image", gan, "",
                    npz("svhn.npz", train_images=lambda x: x[:1], train_labels=lambda y: y[:1])),
            answers("13 seeds", seeds, "13 seeds",
                    copied("score.json", "score", *({"seed": n, "fid": 10.0 + n} for n in range(2, 14)))),
            answers("13 seeds of one value", seeds, "+- 0",
                    copied("score.json", "score", *({"seed": n} for n in range(2, 14)))),
            answers("a real-data FID of 0", "summarise_fid --scores score.json --output fid.txt", "FID",
                    edits("score.json", floor__values=[0.0, 0.0])),
            answers("a figure of an FID of 0", "plot_fid --scores fid.json --output figure.png", "",
                    edits("fid.json", fid__values=[0.0], fid__mean=0.0)),
            Case("weights of a GAN that are all infinite", "sample --weights gan.safetensors --count 3 --output drawn",
                 says="not finite",
                 prepare=tensors("gan.safetensors", generator__project__0__weight=lambda w: w + np.float32(np.inf))),
        ],
    )  # fmt: skip


DOORS = [numbers()]
