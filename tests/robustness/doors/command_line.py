"""The command line: options that are missing, unknown or out of range, and names of outputs."""

from robustness.runner import Case, Door
from robustness.spoil import writes
from stage import SCRIPTS

STAGES = sorted(path.stem for path in SCRIPTS.glob("*.py"))


def stages():
    return Door(
        "The command line of every stage",
        "Called without anything, each stage names what it wants.",
        [Case("no options", name, says="the following arguments are required") for name in STAGES],
    )


def values():
    render = "render_digits --output digits.amat --count 3"
    prepare = "prepare_binarized_mnist --train train.amat --valid valid.amat --test test.amat"
    split = "prepare_svhn --train train.mat --test test.mat --output numbers.npz"
    extract = "extract_features --data svhn.npz --classifier classifier.safetensors --output features.npz"
    train = "train_gan --data svhn.npz --classifier classifier.safetensors --output trained --epochs 1"

    def word(words, says, command=render, **others):
        """The words themselves are the input."""
        return Case(f"`{words or chr(32)}`", f"{command} {words}", says=says, **others)

    return Door(
        "Values of options",
        "Options cannot be abbreviated, so a new one never changes what an old command means.",
        [
            word("--no-such-option", "unrecognized arguments"),
            word("--coun 3", "unrecognized arguments"),
            word("more words", "unrecognized arguments: more words"),
            word("--count", "expected one argument"),
            word("--count 0", "give 1 or more"),
            word("--count -3", "give 1 or more"),
            word("--count 1.5", "'1.5' is no whole number"),
            word("--count 1e3", "'1e3' is no whole number"),
            word("--count ten", "'ten' is no whole number"),
            word("--count ''", "'' is no whole number"),
            word("--count 0x10", "'0x10' is no whole number"),
            Case("`--count` and a number of 5,000 digits", f"{render} --count {'9' * 5000}", says="is no whole number"),
            word("--count 1000000000000", "do not fit in this machine's memory"),
            word("--seed -1", "give 0 or more"),
            word("--seed 2147483648", "give less than 2147483648"),
            word("--seed None", "'None' is no whole number"),
            word("--threads 0", "give 1 or more", command=train),
            word("--threads 1000000000", "give 1024 or less", command=train),
            word("--device gpu", "invalid choice: 'gpu'", command=train),
            word("--device cuda", "no GPU that this torch can use", command=train),
            word("--epochs 0", "give 1 or more", command=train),
            word("--learning-rate 0", "give more than 0", command=train),
            word("--learning-rate nan", "not a finite number", command=train),
            word("--learning-rate inf", "not a finite number", command=train),
            word("--learning-rate fast", "invalid float value: 'fast'", command=train),
            word("--average-decay 1", "give less than 1", command=train),
            word("--schedule linear", "invalid choice: 'linear'", command=train),
            word("--max-seconds -1", "give 0 or more", command=train),
            word("--checkpoint-seconds 0", "give 1 or more", command=train),
            word("--valid-fraction 0", "takes 0 of", command=split),
            word("--valid-fraction 1", "takes 0 of", command=split),
            word("--valid-fraction nan", "takes 0 of", command=split),
            word("--seeds 1 1", "give each once", command="estimate_density --output density.csv"),
            word("--thetas 4", "give an odd number", command="estimate_divergences --output divergences.csv"),
            word("--floor-draws 1", "two sets of training images or more",
                 command="evaluate_samples --samples samples --data svhn.npz --classifier classifier.safetensors "
                 "--name a --output statistics"),
            word("--source samples", "needs the weights of a model",
                 command=extract),
            word("--source train --weights gan.safetensors", "leave out --weights",
                 command=extract),
            word("--images 0 --simulated-images 0", "give a number of images",
                 command="bracket_likelihood --weights binary_vae.safetensors --data binarized_mnist.npz "
                 "--output bracket.json"),
            word("--omit a", "leaves no rule", prepare=writes("graph.dot", 'digraph {\n 0[label = "a"];\n}\n'),
                 command="plot_workflow --graph graph.dot --output figure.png"),
            word("--graph text.dot", "no graph of rules", prepare=writes("text.dot", "no graph"),
                 command="plot_workflow --output figure.png"),
            word("--graph binary.dot", "binary.dot", prepare=writes("binary.dot", b"\xff\xfe\x00"),
                 command="plot_workflow --output figure.png"),
            word("--names a", "name",
                 command="plot_samples --samples samples samples --data svhn.npz --output figure.png"),
            word("given given", "given twice",
                 command="score_samples --model classifier.safetensors --reference svhn.npz --output board"),
            word("--output ''", "--output", command="render_digits --count 3"),
            word("--output .", "--output", command="render_digits --count 3"),
            word("--output digits.txt", "expected a name that ends in .amat", command="render_digits --count 3"),
            word("--output .amat", "expected a name", command="render_digits --count 3"),
            word("--output file/digits.npz", "file", command=prepare, prepare=writes("file", b"x")),
            word("--output folder.npz", "folder.npz", command=prepare, prepare=writes("folder.npz/x", b"x")),
            Case("`--output` and a name of 300 letters", f"plot_fid --scores fid.json --output {'f' * 300}.png",
                 says="File name too long"),
            word("--output figure", "give a name that ends in .png", command="plot_fid --scores fid.json"),
            word("--output ''", "ends in .png", command="plot_fid --scores fid.json"),
            word("--output .", "exists and is no sample directory",
                 command="sample --weights gan.safetensors --count 3"),
            word("--output new/deep/digits.npz", "", command=prepare, code=0),
            word("--output=-dash.npz", "", command=prepare, code=0),
        ],
    )  # fmt: skip


DOORS = [stages(), values()]
