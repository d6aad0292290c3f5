"""The configuration, and networks from files of one's own."""

from robustness.runner import Case, Door
from robustness.spoil import writes


def configuration():
    command = "export_tables --results results --configuration mine.yaml --output tables"

    def case(what, says, text, **others):
        return Case(what, command, says=says, prepare=writes("mine.yaml", text), **others)

    def key(text, says):
        """A line of the configuration is the input."""
        return case(f"`{text}`", says, text)

    return Door(
        "The configuration (YAML)",
        "One schema knows every key. All faults are told at once, before anything runs; Snakemake says the same words.",
        [
            Case("a file that is not there", command, says="No such file"),
            case("text", "expected the keys of a configuration", "just text"),
            case("a list", "expected the keys of a configuration", "[1, 2]"),
            case("an empty file", "expected the keys of a configuration", ""),
            case("tabs for indentation", "not YAML", "likelihood:\n\tmodels: {}\n"),
            case("brackets that are not closed", "not YAML", "seeds: [1, 2\n"),
            case("bytes that are no text", "not YAML", b"seeds: \xff\xfe\n"),
            case("a tag that runs code", "not YAML", "seeds: !!python/object/apply:os.system ['touch here']\n"),
            case("an anchor that nobody has set", "not YAML", "seeds: *nothing\n"),
            key("sede: [2]", "did you mean seeds?"),
            key("likelihood: {models: {vae: {epocs: 3}}}", "did you mean epochs?"),
            key("seeds: []", "seeds"),
            key("seeds: [1, 1]", "seeds"),
            key("seeds: [-1]", "seeds"),
            key("seeds: [1.5]", "seeds"),
            key("threads: 0", "threads"),
            key("threads: many", "threads"),
            key("device: gpu", "device"),
            key("results: ''", "results"),
            key("likelihood: {models: {vae: {epochs: 0}}}", "epochs"),
            key("likelihood: {models: {vae: {learning_rate: .nan}}}", "learning_rate"),
            key("likelihood: {models: {vae: {learning_rate: -1}}}", "learning_rate"),
            key("images: {models: {gan: {kind: diffusion}}}", "kind"),
            key("images: {models: {../gan: {kind: gan}}}", "../gan"),
            key("images: {models: {'<img src=x>': {kind: gan}}}", "<img src=x>"),
            key("images: {models: {noise: {kind: gan}}}", "images.models.noise"),
            key("images: {models: {a: {kind: external, command: draw}}}", "{output}"),
            key("images: {evaluation: {pool_seed: 1, sample_seed: 1}}", "pool_seed"),
            key("data: {svhn: {source: internet}}", "data.images.source"),
            key("data: {svhn: {files: {test: {urls: []}}}}", "urls"),
            key("data: {images: {source: folder, train: photos}}", "test"),
            key("data: {images: {source: npz, train: [a.npz], test: b.npz}}", "train"),
            key("images: {feature_network: resnet}", "resnet"),
            key("images: {feature_network: inception}", "feature_weights"),
            key("images: {models: {gan: {kind: gan, critic_steps: 0}}}", "critic_steps"),
            key("images: {models: {mine: {kind: samples, samples: []}}}", "samples"),
        ],
    )  # fmt: skip


TORCH = "import torch\nfrom torch import nn\n"


def own_networks():
    command = (
        "train_gan --data svhn.npz --classifier classifier.safetensors --generator mine.py:Net --output trained "
        "--epochs 1 --device cpu --threads 1"
    )

    def case(what, says, text, **others):
        prepare = writes("mine.py", text) if text is not None else (lambda folder: None)
        return Case(what, **{"command": command, "says": says, "prepare": prepare} | others)

    fixed = (
        f"{TORCH}class Net(nn.Module):\n    def __init__(self, latents):\n        super().__init__()\n"
        "        self.layer = nn.Linear(latents, 3072)\n    def forward(self, z):\n        return {}\n"
    )
    return Door(
        "Networks of one's own (`FILE.py:NAME`)",
        "A file runs only because a person names it. Its network is checked against the contract before training.",
        [
            case("a file that is not there", "no file mine.py", None),
            case("a place without a name", "'mine.py' is unknown", "",
                 command=command.replace("mine.py:Net", "mine.py")),
            case("a file that is no Python", "Net", "", command=command.replace("mine.py:Net", "mine.txt:Net")),
            case("a file with a mistake of syntax", "cannot be run (SyntaxError", "class Net(:\n"),
            case("a file that imports what is not installed", "cannot be run (ModuleNotFoundError",
                 "import nothing_of_this_name\n"),
            case("a file that raises an error", "cannot be run (ZeroDivisionError", "1 / 0\n"),
            case("a file of bytes that are no text", "cannot be run", b"x = '\xff'\n"),
            case("a number instead of a class", "fails with latents=", "Net = 3\n"),
            case("a class that is no torch module", "no torch module",
                 "class Net:\n    def __init__(self, latents):\n        pass\n"),
            case("a class that takes no latents", "fails with latents=", f"{TORCH}class Net(nn.Module):\n    pass\n"),
            case("a generator without parameters", "has no parameters to train",
                 f"{TORCH}class Net(nn.Module):\n    def __init__(self, latents):\n        super().__init__()\n"),
            case("images of 28 x 28", "not (4, 3, 32, 32)",
                 fixed.format("self.layer(z)[:, :2352].view(-1, 3, 28, 28).tanh()")),
            case("pixels of 0 to 255", "gives pixels up to",
                 fixed.format("self.layer(z).sigmoid().view(-1, 3, 32, 32) * 255")),
            case("NaN for pixels", "not finite", fixed.format("self.layer(z).view(-1, 3, 32, 32) / 0 * 0")),
            case("a list instead of a tensor", "mine.py:Net", fixed.format("[self.layer(z)]")),
            case("images that depend on each other", "another output for an example alone",
                 fixed.format("(self.layer(z) - self.layer(z).mean(0)).view(-1, 3, 32, 32).tanh()")),
            case("a network that fails after one line", "fails with", fixed.format("self.nothing(z)")),
            case("a critic with batch normalisation", "contract of --critic",
                 f"{TORCH}class Net(nn.Sequential):\n    def __init__(self):\n        super().__init__(nn.Flatten(), "
                 "nn.BatchNorm1d(3072), nn.Linear(3072, 1), nn.Flatten(0))\n",
                 command=command.replace("--generator", "--critic")),
            case("an option for weights of the project's own network", "leave the option out", fixed.format("z"),
                 command="sample --weights gan.safetensors --generator mine.py:Net --count 3 --output drawn"),
        ],
    )  # fmt: skip


DOORS = [configuration(), own_networks()]
