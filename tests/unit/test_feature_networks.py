"""Feature networks: the published ones against torchvision's and Pillow's, and those of one's own."""

import numpy as np
import pytest
import torch
from genlab import InputError, files
from genlab.models import classifier, dinov2, feature_networks, networks
from PIL import Image
from safetensors.torch import save_file
from torch import nn
from torchvision.models import VisionTransformer, inception_v3


def pictures(count=2, seed=1):
    return np.random.default_rng(seed).integers(0, 256, (count, 3, 32, 32), dtype=np.uint8)


def resized(images, size):
    """Images as clean-fid resizes them: each channel by Pillow, as floats: (M, 3, size, size), 0..255."""
    planes = [
        [np.asarray(Image.fromarray(plane.astype(np.float32)).resize((size, size), Image.Resampling.BICUBIC))
         for plane in image]
        for image in images
    ]  # fmt: skip
    return torch.tensor(np.array(planes))


def randomised(network, seed=1):
    """A network whose parameters and statistics are all drawn at random, in eval mode."""
    torch.manual_seed(seed)
    for value in network.parameters():
        nn.init.normal_(value, std=0.1)
    for name, value in network.named_buffers():
        if name.endswith(("running_mean", "running_var")):
            nn.init.uniform_(value, 0.5, 1.5)
    return network.eval()


def test_the_classifier_is_the_default(tmp_path):
    network = randomised(networks.FeatureClassifier())
    save_file({key: value.contiguous() for key, value in network.state_dict().items()}, tmp_path / "w.safetensors")
    found, about = feature_networks.load(tmp_path / "w.safetensors")
    expected, _ = classifier.classify(found, pictures(5))
    np.testing.assert_array_equal(feature_networks.features(found, pictures(5)), expected)
    assert (
        about["network"] == "classifier" and about["words"] == "the 512 features of a classifier (not an Inception FID)"
    )


def test_inception_is_torchvision_s_on_images_resized_in_the_manner_of_clean_fid(tmp_path):
    theirs = randomised(inception_v3(weights=None, init_weights=False))
    state = {key: value for key, value in theirs.state_dict().items() if not key.endswith("num_batches_tracked")}
    torch.save(state, tmp_path / "inception.pth")  # as the published file: with the parts after the features
    network, about = feature_networks.load(tmp_path / "inception.pth", "inception")
    theirs.fc = nn.Identity()
    with torch.no_grad():
        expected = theirs(resized(pictures(), 299) / 127.5 - 1)
    found = feature_networks.features(network, pictures())
    assert found.shape == (2, 2048) and expected.std() > 0.01
    np.testing.assert_allclose(found, expected, rtol=2e-3, atol=2e-3 * float(expected.std()))
    words = "the 2,048 features of torchvision's Inception v3, images resized to 299 x 299, bicubic and antialiased"
    assert about["words"] == words


def test_dinov2_is_a_vision_transformer_whose_layers_are_scaled(tmp_path):
    """Against torchvision's transformer, whose layers have no scale: it goes into the layer's last product."""
    width, depth, side = 64, 2, 16
    theirs = VisionTransformer(224, 14, depth, 1, width, 4 * width, num_classes=3)
    randomised(theirs).heads = nn.Identity()
    ours = randomised(dinov2.DinoV2(width, depth, side), 2)
    state, published = theirs.state_dict(), ours.state_dict()
    published |= {"cls_token": state["class_token"], "pos_embed": state["encoder.pos_embedding"]}
    for part in ("weight", "bias"):
        published[f"patch_embed.proj.{part}"] = state[f"conv_proj.{part}"]
        published[f"norm.{part}"] = state[f"encoder.ln.{part}"]
    for layer in range(depth):
        mine, his = f"blocks.{layer}.", f"encoder.layers.encoder_layer_{layer}."
        for part in ("weight", "bias"):
            published[f"{mine}norm1.{part}"] = state[f"{his}ln_1.{part}"]
            published[f"{mine}norm2.{part}"] = state[f"{his}ln_2.{part}"]
            published[f"{mine}attn.qkv.{part}"] = state[f"{his}self_attention.in_proj_{part}"]
            published[f"{mine}mlp.fc1.{part}"] = state[f"{his}mlp.0.{part}"]
            for key, last in (("attn.proj", "self_attention.out_proj"), ("mlp.fc2", "mlp.3")):
                scale = published[f"{mine}{'ls1' if key == 'attn.proj' else 'ls2'}.gamma"]
                published[f"{mine}{key}.{part}"] = state[f"{his}{last}.{part}"].clone()
                state[f"{his}{last}.{part}"] = state[f"{his}{last}.{part}"] * scale.view(-1, *[1] * (part == "weight"))
    theirs.load_state_dict(state)
    torch.save(published, tmp_path / "dinov2.pth")
    network, about = feature_networks.load(tmp_path / "dinov2.pth", "dinov2")
    mean, deviation = (torch.tensor(values)[:, None, None] for values in feature_networks.IMAGENET)
    with torch.no_grad():
        expected = theirs((resized(pictures(), 224) / 255 - mean) / deviation)
    np.testing.assert_allclose(feature_networks.features(network, pictures()), expected, rtol=1e-3, atol=1e-3)
    assert about["words"].startswith("the 64 features of DINOv2, its class token, images resized to 224 x 224")


def test_positions_of_dinov2_are_those_that_were_trained_or_between_them():
    network = dinov2.DinoV2(64, 1, 37)
    with torch.no_grad():
        rows = torch.arange(37.0)[:, None].expand(37, 37).reshape(1, -1, 1)
        network.pos_embed[:, 1:] = rows
        assert network._positions(37) is network.pos_embed
        found = network._positions(16)[0, 1:, 0].view(16, 16)
    places = (torch.arange(16) + 0.5) * 37 / 16.1 - 0.5  # of a ramp, bicubic interpolation gives nearly the place
    torch.testing.assert_close(found[2:-2, 5], places[2:-2], rtol=0, atol=0.05)


OWN = """
import torch
from torch import nn

class Means(nn.Module):
    size = 40

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(3))

    def forward(self, x):
        assert x.shape[-1] == 40
        return self.scale * x.mean((2, 3))

class Flat(Means):
    size = 32

    def forward(self, x):
        return x.mean()

class Small(Means):
    size = 8
"""


@pytest.fixture
def own(tmp_path):
    (tmp_path / "own.py").write_text(OWN)
    save_file({"scale": torch.tensor([1.0, 2.0, 3.0])}, tmp_path / "own.safetensors")
    return tmp_path


def test_a_network_of_one_s_own(own):
    network, about = feature_networks.load(own / "own.safetensors", f"{own}/own.py:Means")
    expected = (resized(pictures(), 40) / 127.5 - 1).mean((2, 3)) * torch.tensor([1.0, 2, 3])
    np.testing.assert_allclose(feature_networks.features(network, pictures()), expected, atol=1e-5)
    assert about["words"] == "the 3 features of own.py:Means, images resized to 40 x 40, bicubic and antialiased"
    assert about["networks"]["feature_network"]["sha256"] == files.checksum(own / "own.py")


def test_a_batch_gives_what_single_images_give(own):
    network, _ = feature_networks.load(own / "own.safetensors", f"{own}/own.py:Means")
    many = pictures(130)
    single = np.concatenate([feature_networks.features(network, image[None]) for image in many])
    np.testing.assert_allclose(feature_networks.features(network, many), single, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "name, message",
    [
        ("Flat", "own.py:Flat: gives () for an input (4, 3, 32, 32), not (4, D); the contract of --feature-network: "),
        ("Small", "own.py:Small: has the size 8, not a whole number from 32 to 1024; the contract"),
        ("None", "own.py: defines no None"),
    ],
)
def test_a_network_that_breaks_the_contract_is_refused(own, name, message):
    with pytest.raises(InputError) as caught:
        feature_networks.load(own / "own.safetensors", f"{own}/own.py:{name}")
    assert message in str(caught.value)


@pytest.mark.parametrize(
    "tensors, network, message",
    [
        ({"scale": torch.ones(4)}, "own.py:Means", "scale is float32 (4,), expected float32 (3,)"),
        ({"other": torch.ones(3)}, "own.py:Means", "not the weights of"),
        ({"scale": torch.full((3,), torch.nan)}, "own.py:Means", "scale holds numbers that are not finite"),
        ({"scale": torch.ones(3)}, "inception", "not the weights of torchvision's Inception v3: no Conv2d_1a_3x3"),
        ({"scale": torch.ones(3)}, "dinov2", "not the weights of a DINOv2 (no cls_token or pos_embed)"),
        ({"cls_token": torch.ones(1, 1, 65), "pos_embed": torch.ones(1, 5, 65)}, "dinov2", "a DINOv2 (width 65, 4"),
    ],
)
def test_weights_of_another_network_are_refused(own, tensors, network, message):
    save_file(tensors, own / "w.safetensors")
    with pytest.raises(InputError) as caught:
        feature_networks.load(own / "w.safetensors", network.replace("own.py", f"{own}/own.py"))
    assert message in str(caught.value)


def test_a_file_that_holds_no_weights_is_refused(own):
    for name, message in (("own.py", "neither safetensors nor a PyTorch file"), ("none", "no such file")):
        with pytest.raises(InputError, match=message):
            feature_networks.load(own / name, "inception")


def test_kept_features_are_read_again_and_damaged_ones_replaced(own, monkeypatch):
    network, about = feature_networks.load(own / "own.safetensors", f"{own}/own.py:Means")
    first, classes = feature_networks.kept(network, about, pictures(), own / "kept")
    assert classes is None
    (file,) = (own / "kept").iterdir()
    with monkeypatch.context() as patch:
        patch.setattr(feature_networks, "features", None)  # which is not called
        again, _ = feature_networks.kept(network, about, pictures(), own / "kept")
    np.testing.assert_array_equal(first, again)
    file.write_bytes(file.read_bytes()[:-100])
    np.testing.assert_array_equal(feature_networks.kept(network, about, pictures(), own / "kept")[0], first)
    feature_networks.kept(network, about | {"sha256": "other"}, pictures(), own / "kept")
    feature_networks.kept(network, about | {"network": "own.py:Others"}, pictures(), own / "kept")
    assert len(list((own / "kept").iterdir())) == 3
    monkeypatch.setattr(feature_networks.provenance, "code_checksum", lambda script: "other code")
    feature_networks.kept(network, about, pictures(), own / "kept")
    assert len(list((own / "kept").iterdir())) == 4
