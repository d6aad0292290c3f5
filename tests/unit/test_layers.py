"""Every shortcut checked against the plain layers that it stands for."""

import copy

import pytest
import torch
import torch.nn.functional as F
from genlab.models import layers, networks
from genlab.models.binary_networks import residual_binary_vae, suggested_binary_vae
from torch import nn


def test_collapsing_convolution_is_the_plain_one():
    layer, x = layers.CollapsingConv2d(nn.Conv2d(3, 7, 5)), torch.randn(4, 3, 5, 5)
    torch.testing.assert_close(layer(x), F.conv2d(x, layer.weight, layer.bias), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kernel", [3, 5])
def test_expanding_convolution_is_the_plain_one(kernel):
    layer, x = layers.ExpandingConv2d(nn.Conv2d(6, 4, kernel, padding=kernel - 1)), torch.randn(2, 6, 1, 1)
    plain = F.conv2d(x, layer.weight, layer.bias, padding=kernel - 1)
    assert plain.shape == (2, 4, kernel, kernel)
    torch.testing.assert_close(layer(x), plain, rtol=1e-5, atol=1e-5)


def plain_stem(layer, x):
    return F.avg_pool2d(F.elu(F.conv2d(x, layer.weight, layer.bias)), 2)


def plain_upsampled(layer, x):
    return F.conv2d(nn.UpsamplingBilinear2d(scale_factor=2)(x), layer.weight, layer.bias, padding=2)


def plain_single(layer, x):
    return F.conv2d(x, layer.weight, layer.bias, padding=2)


def plain_elu(layer, x):
    return F.elu(x)


@pytest.mark.parametrize(
    ("layer", "plain", "shape"),
    [
        (layers.BinaryStem(nn.Conv2d(1, 5, 3)), plain_stem, (3, 1, 12, 12)),
        (layers.UpsampledConv2d(nn.Conv2d(6, 4, 3, padding=2), 5), plain_upsampled, (3, 6, 5, 5)),
        (layers.UpsampledConv2d(nn.Conv2d(5, 3, 3, padding=2), 4), plain_upsampled, (2, 5, 4, 4)),
        (layers.SingleConv2d(nn.Conv2d(5, 1, 3, padding=2), 6), plain_single, (3, 5, 6, 6)),
        (layers.ELU(), plain_elu, (3, 5, 6, 6)),
    ],
)
def test_shortcuts_and_their_gradients_are_those_of_the_plain_layers(layer, plain, shape):
    layer = layer.to(memory_format=torch.channels_last)
    x = torch.randint(0, 2, shape).float() if isinstance(layer, layers.BinaryStem) else torch.randn(shape)
    leaves = list(layer.parameters())
    if not isinstance(layer, layers.BinaryStem):
        leaves.append(x.requires_grad_())
    expected = plain(layer, x)
    towards = torch.randn_like(expected)
    torch.testing.assert_close(layer(x), expected, rtol=1e-5, atol=1e-5)
    for found, wanted in zip(
        torch.autograd.grad(layer(x), leaves, towards), torch.autograd.grad(expected, leaves, towards), strict=True
    ):
        torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4)


def test_the_binary_vae_s_layers_take_float64():
    torch.manual_seed(0)
    stem, x = layers.BinaryStem(nn.Conv2d(1, 2, 3)).double(), torch.randint(0, 2, (2, 1, 6, 6)).double()
    torch.testing.assert_close(stem(x), plain_stem(stem, x))
    weight = stem.weight
    found, wanted = (torch.autograd.grad(each.square().sum(), weight)[0] for each in (stem(x), plain_stem(stem, x)))
    torch.testing.assert_close(found, wanted)
    single, y = (
        layers.SingleConv2d(nn.Conv2d(2, 1, 3, padding=2), 4).double(),
        torch.randn(2, 2, 4, 4, dtype=torch.float64),
    )
    torch.testing.assert_close(single(y), plain_single(single, y))
    z = torch.randn(50, dtype=torch.float64)
    torch.testing.assert_close(layers.ELU()(z), F.elu(z), rtol=1e-14, atol=1e-14)


def test_the_binary_stem_takes_every_patch_and_other_images_the_plain_way():
    layer = layers.BinaryStem(nn.Conv2d(1, 4, 3))
    every = torch.cat([layer.patches[:, :9].reshape(-1, 1, 3, 3), torch.zeros(512, 1, 3, 1)], 3)
    every = torch.cat([every, torch.zeros(512, 1, 1, 4)], 2)  # a patch in the corner of 4 x 4 pixels
    torch.testing.assert_close(layer(every), plain_stem(layer, every), rtol=1e-5, atol=1e-5)
    grey = torch.rand(2, 1, 8, 8)
    assert torch.equal(layer(grey), plain_stem(layer, grey))
    wanted = torch.autograd.grad(layer(x := every.requires_grad_()).sum(), x)[0]
    assert wanted.abs().sum() > 0


def test_an_upsampling_by_matrices_and_its_gradient_are_the_plain_one_s(monkeypatch):
    monkeypatch.setattr(layers.BilinearUpsample, "fast_on", ("cpu",))
    for plain, size in (
        (nn.Upsample(scale_factor=8, mode="bilinear"), 4),
        (nn.UpsamplingBilinear2d(scale_factor=2), 5),
    ):
        layer, x = layers.BilinearUpsample(plain, size), torch.randn(2, 3, size, size, requires_grad=True)
        towards = torch.randn_like(plain(x))
        torch.testing.assert_close(layer(x), plain(x), rtol=1e-5, atol=1e-6)
        found, wanted = (torch.autograd.grad(way(x), x, towards)[0] for way in (layer, plain))
        torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)


NETWORKS = {
    "suggested encoder": (lambda: suggested_binary_vae(7)[0], (1, 28, 28), {"BinaryStem", "CollapsingConv2d"}),
    "suggested decoder": (
        lambda: suggested_binary_vae(7)[1], (7,), {"ExpandingConv2d", "UpsampledConv2d", "SingleConv2d"},
    ),
    "residual encoder": (lambda: residual_binary_vae(7)[0], (1, 28, 28), {"CollapsingConv2d"}),
    "residual decoder": (lambda: residual_binary_vae(7)[1], (7,), {"ExpandingConv2d"}),
    "generator": (lambda: networks.Generator(7, 4), (7,), {"BilinearUpsample"}),
    "modulated generator": (lambda: networks.ModulatedGenerator(7, 4), (7,), {"BilinearUpsample"}),
    "critic": (lambda: networks.Critic(4), (3, 32, 32), {"CollapsingConv2d"}),
    "encoder": (lambda: networks.Encoder(7, 4), (3, 32, 32), {"CollapsingConv2d"}),
}  # fmt: skip


@pytest.mark.parametrize("everywhere", [False, True])
@pytest.mark.parametrize("name", NETWORKS)
def test_an_accelerated_network_is_the_printed_one(name, everywhere, monkeypatch):
    build, shape, expected = NETWORKS[name]
    torch.manual_seed(0)
    printed = build().eval()
    state = torch.get_rng_state()
    fast = layers.accelerate(copy.deepcopy(printed), *shape)
    assert torch.equal(torch.get_rng_state(), state)  # no random number was drawn
    assert {key: value.shape for key, value in fast.state_dict().items()} == {
        key: value.shape for key, value in printed.state_dict().items()
    }
    kinds = {type(layer) for layer in fast.modules() if hasattr(layer, "fast_on")}
    assert {kind.__name__ for kind in kinds} - {"ELU"} == expected
    if everywhere:
        for kind in kinds:
            monkeypatch.setattr(kind, "fast_on", ("cpu",))
    x = torch.randint(0, 2, (3, *shape)).float() if shape[0] == 1 else torch.randn(3, *shape)
    torch.testing.assert_close(fast(x), printed(x), rtol=1e-4, atol=1e-4)


def test_without_a_shape_only_activations_are_replaced():
    network = layers.accelerate(networks.FeatureClassifier())
    assert {type(layer) for layer in network.modules() if hasattr(layer, "fast_on")} == {layers.ELU}


def test_what_a_new_layer_needs_lies_where_the_network_lies():
    for build, shape, _ in NETWORKS.values():
        network = layers.accelerate(build().to("meta"), *shape)
        assert {tensor.device.type for tensor in (*network.parameters(), *network.buffers())} == {"meta"}
