"""Networks from a file of one's own: the examples are taken, every breach of the contract is named."""

from pathlib import Path

import pytest
import torch
from genlab import InputError
from genlab.models import own_networks

EXAMPLE = Path(__file__).parents[2] / "examples" / "networks.py"
HEAD = "import torch\nfrom torch import nn\n"


@pytest.fixture
def place(tmp_path):
    """A function: a place of a file with a class Net made of the text of its methods."""

    def write(body, name="Net"):
        file = tmp_path / "mine.py"
        file.write_text(HEAD + body)
        return f"{file}:{name}"

    return write


def test_the_example_generator_is_taken_with_its_latents():
    network = own_networks.generator(f"{EXAMPLE}:Generator", 7)
    assert network.latents == 7 and network(torch.zeros(2, 7)).shape == (2, 3, 32, 32)


def test_the_example_critic_encoder_and_architecture_are_taken():
    assert own_networks.critic(f"{EXAMPLE}:Critic")(torch.zeros(2, 3, 32, 32)).shape == (2,)
    assert own_networks.encoder(f"{EXAMPLE}:Encoder", 7)(torch.zeros(2, 3, 32, 32)).shape == (2, 14)
    encoder, decoder = own_networks.architecture(f"{EXAMPLE}:dense", 7)
    assert encoder(torch.zeros(2, 1, 28, 28)).shape == (2, 14) and decoder(torch.zeros(2, 7)).shape == (2, 1, 28, 28)


def test_the_check_leaves_no_trace_in_weights_gradients_and_random_numbers():
    torch.manual_seed(3)
    network = own_networks.generator(f"{EXAMPLE}:Generator", 7)
    after = torch.rand(1)
    torch.manual_seed(3)
    plain = own_networks.load(f"{EXAMPLE}:Generator")(latents=7)
    assert torch.equal(after, torch.rand(1)) and network.training
    for one, other in zip(network.parameters(), plain.parameters(), strict=True):
        assert torch.equal(one, other) and one.grad is None


def module(layers, init="self, latents"):
    return (
        f"class Net(nn.Module):\n    def __init__({init}):\n        super().__init__()\n"
        f"        self.layers = nn.Sequential({layers})\n    def forward(self, x):\n        return self.layers(x)\n"
    )


IMAGES = "nn.Linear(latents, 3072), nn.Unflatten(1, (3, 32, 32))"
GENERATORS = {
    "shape": (module("nn.Linear(latents, 3072), nn.Tanh()"), "gives .4, 3072. for an input .4, 5., not .4, 3, 32, 32."),
    "range": (module(f"{IMAGES}, nn.Softplus(beta=0.01)"), "gives pixels up to"),
    "input": (module("nn.Linear(9, 3072)"), "fails with an input .4, 5., forward and backward .RuntimeError: mat1"),
    "arguments": (module("nn.Identity()", init="self"), "fails with latents=5 .TypeError"),
    "no module": ("class Net:\n    def __init__(self, latents): pass\n", "makes a Net, no torch module"),
    "no weights": (module("nn.Unflatten(1, (1, 1, 5))"), "has no parameters to train"),
    "not finite": (module(f"{IMAGES}, nn.Threshold(9e9, float('nan'))"), "gives numbers that are not finite"),
    "not a tensor": (
        module(IMAGES).replace("return self.layers(x)", "return Pair(self.layers(x))")
        + "class Pair(tuple):\n    def sum(self): return self[0]\n"
        "    def __new__(cls, x): return super().__new__(cls, (x.sum(), 1))\n",
        "gives Pair for an input",
    ),
    "not alone": (
        module(f"{IMAGES}, nn.Tanh()").replace("self.layers(x)", "self.layers(x - x.mean(0))"),
        "gives another output for an example alone than among others in eval mode",
    ),
}


@pytest.mark.parametrize("body, message", GENERATORS.values(), ids=GENERATORS)
def test_a_generator_that_breaks_the_contract_is_refused_with_it(place, body, message):
    with pytest.raises(InputError, match=rf"mine.py:Net: {message}.*; the contract of --generator: a class made with"):
        own_networks.generator(place(body), 5)


def test_a_critic_with_batch_normalisation_is_refused(place):
    layers = "nn.Conv2d(3, 4, 8), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4 * 25 * 25, 1), nn.Flatten(0)"
    body = module(layers, init="self")
    with pytest.raises(InputError, match=r"gives another output for an example alone than among others; the contract"):
        own_networks.critic(place(body))


def test_a_critic_that_sees_a_little_of_the_other_images_is_refused(place):
    body = module("nn.Flatten(), nn.Linear(3072, 1), nn.Flatten(0)", init="self").replace(
        "self.layers(x)", "0.001 * (self.layers(x) + 0.1 * x.var(0, correction=0).mean())"
    )  # small scores, and a small part of them a statistic of the batch
    with pytest.raises(InputError, match=r"gives another output for an example alone than among others; the contract"):
        own_networks.critic(place(body))


def test_a_critic_whose_gradient_has_no_gradient_is_refused(place):
    body = module("nn.Flatten(), nn.Linear(3072, 1), nn.Flatten(0)", init="self").replace(
        "self.layers(x)", "self.layers(x.detach())"
    )
    with pytest.raises(InputError, match=r"fails with its gradient penalty .RuntimeError"):
        own_networks.critic(place(body))


def test_an_encoder_gives_two_numbers_a_latent(place):
    with pytest.raises(InputError, match=r"gives .4, 5. for an input .4, 3, 32, 32., not .4, 10."):
        own_networks.encoder(place(module("nn.Flatten(), nn.Linear(3072, latents)")), 5)


@pytest.mark.parametrize(
    "returned, message",
    [
        ("nn.Linear(latents, 784)", "returns Linear"),
        (
            "(nn.Sequential(nn.Flatten(), nn.Linear(784, latents)), nn.Identity())",
            "gives .4, 5. for an input .4, 1, 28",
        ),
    ],
)
def test_an_architecture_is_an_encoder_and_a_decoder(place, returned, message):
    with pytest.raises(InputError, match=rf"mine.py:net: {message}.*; the contract of --architecture: a function"):
        own_networks.architecture(place(f"def net(latents):\n    return {returned}\n", "net"), 5)


@pytest.mark.parametrize(
    "body, name, message",
    [
        ("class Nett: pass\n", "Net", "defines no Net"),
        ("class Net:\n  x = \n", "Net", "cannot be run .SyntaxError: invalid syntax"),
        ("raise OSError('no disk')\n", "Net", "cannot be run .OSError: no disk"),
        ("class Net: pass\n1 / 0\n", "Net", "cannot be run .ZeroDivisionError: division by zero"),
        ("class Net: pass\nimport sys\nsys.exit()\n", "Net", "cannot be run .SystemExit: "),
    ],
)
def test_a_file_that_does_not_define_the_network_is_named(place, body, name, message):
    with pytest.raises(InputError, match=f"mine.py: {message}"):
        own_networks.load(place(body, name))


@pytest.mark.parametrize("text", ["mine.py", "mine.txt:Net", "mine.py:", "mine.py:a b"])
def test_a_place_has_a_file_and_a_name(text):
    with pytest.raises(InputError, match=r"expected FILE.py:NAME"):
        own_networks.split(text)


def test_a_file_that_is_not_there_is_named():
    with pytest.raises(InputError, match=r"gone.py:Net: no file gone.py; give FILE.py:NAME"):
        own_networks.split("gone.py:Net")


def test_weights_run_no_file_that_nobody_named(place):
    trained = {"networks": {"generator": {"place": place("raise SystemExit\n"), "sha256": "0"}}}
    with pytest.raises(InputError, match=r"its generator is from .*mine.py:Net; give --generator .*mine.py:Net"):
        own_networks.check_same("", trained, "gan.safetensors", "generator")


@pytest.mark.parametrize("networks", [[], {"generator": {}}, {"generator": {"place": "a.py:B", "sha256": 1}}])
def test_weights_that_note_their_networks_in_another_way_are_refused(networks):
    with pytest.raises(InputError, match=r"gan.safetensors: 'networks(/generator/(place|sha256))?' is"):
        own_networks.check_same("", {"networks": networks}, "gan.safetensors", "generator")


def test_a_changed_file_is_refused(place):
    there = place("class Net: pass\n")
    trained = {"networks": own_networks.noted({"generator": there})}
    own_networks.check_same(there, trained, "gan.safetensors", "generator")
    place("class Net: pass  # changed\n")
    with pytest.raises(InputError, match=r"the file has changed since gan.safetensors was trained"):
        own_networks.check_same(there, trained, "gan.safetensors", "generator")


def test_one_s_own_file_for_the_project_s_network_is_refused(place):
    with pytest.raises(InputError, match=r"is of the project's own generator; leave the option out"):
        own_networks.check_same(place(""), {}, "gan.safetensors", "generator")
