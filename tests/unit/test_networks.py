"""Architectures: shapes, sizes, and the suggested one checked against the plain convolutions."""

import pytest
import torch
import torch.nn.functional as F
from genlab.models import binary_networks, networks
from torch import nn


def test_the_suggested_architecture_is_the_course_s():
    encoder, decoder = binary_networks.suggested_binary_vae(100)
    assert sum(p.numel() for part in (encoder, decoder) for p in part.parameters()) == 938_825
    x, z = torch.randint(0, 2, (2, 1, 28, 28)).float(), torch.randn(2, 100)
    plain_encoder = [nn.Conv2d(1, 32, 3), nn.Conv2d(32, 64, 3), nn.Conv2d(64, 256, 5), nn.Linear(256, 200)]
    for layer, source in zip(plain_encoder, [m for m in encoder if hasattr(m, "weight")], strict=True):
        layer.load_state_dict(source.state_dict())
    a, b, c, d = plain_encoder
    h = F.avg_pool2d(F.elu(a(x)), 2)
    h = F.elu(c(F.avg_pool2d(F.elu(b(h)), 2))).flatten(1)
    torch.testing.assert_close(encoder(x), d(h), rtol=1e-4, atol=1e-5)
    plain_decoder = [
        nn.Linear(100, 256), nn.Conv2d(256, 64, 5, padding=4), nn.Conv2d(64, 32, 3, padding=2),
        nn.Conv2d(32, 16, 3, padding=2), nn.Conv2d(16, 1, 3, padding=2),
    ]  # fmt: skip
    for layer, source in zip(plain_decoder, [m for m in decoder if hasattr(m, "weight")], strict=True):
        layer.load_state_dict(source.state_dict())
    a, b, c, d, e = plain_decoder
    h = F.elu(b(F.elu(a(z))[:, :, None, None]))
    h = F.elu(c(F.interpolate(h, scale_factor=2, mode="bilinear", align_corners=True)))
    h = F.elu(d(F.interpolate(h, scale_factor=2, mode="bilinear", align_corners=True)))
    torch.testing.assert_close(decoder(z), e(h), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", sorted(binary_networks.BINARY_VAES))
def test_shapes(name):
    encoder, decoder = binary_networks.BINARY_VAES[name](7)
    assert encoder(torch.randn(3, 1, 28, 28)).shape == (3, 14)
    assert decoder(torch.randn(3, 7)).shape == (3, 1, 28, 28)


def test_a_residual_block_starts_as_the_identity():
    x = torch.randn(2, 16, 5, 5)
    assert torch.equal(binary_networks.Residual(16)(x), x)


def test_a_generator_draws_colour_images_in_its_range():
    torch.manual_seed(0)
    images = networks.Generator(7, 4)(torch.randn(3, 7))
    assert images.shape == (3, 3, 32, 32) and images.abs().max() <= 1


def test_latents_scale_the_channels_of_a_modulated_generator():
    """Between ReLUs all is linear and without bias, so factors pass through to the last layer."""
    torch.manual_seed(0)
    plain, z = networks.Generator(7, 4).eval(), torch.randn(6, 7)
    modulated = networks.ModulatedGenerator(7, 4).eval()
    modulated.load_state_dict(plain.state_dict(), strict=False)
    for layer, factor in zip(modulated.scales, (2.0, 3.0, 5.0, 7.0), strict=True):
        nn.init.zeros_(layer.weight)
        nn.init.constant_(layer.bias, factor - 1)
    maps, bias = plain.project(z), plain.fine[-1].bias[:, None, None]
    expected = 2 * plain.coarse(maps) + 2 * 3 * 5 * 7 * (plain.fine(maps) - bias) + bias
    torch.testing.assert_close(modulated(z), torch.tanh(expected), rtol=1e-4, atol=1e-5)


def test_the_factors_depend_on_each_image_s_own_latents():
    torch.manual_seed(0)
    generator, z = networks.ModulatedGenerator(7, 4).eval(), torch.randn(6, 7)
    torch.testing.assert_close(generator(z)[2:3], generator(z[2:3]), rtol=1e-4, atol=1e-5)
    before = generator(z)
    nn.init.zeros_(generator.scales[3].weight)
    assert (generator(z) - before).abs().max() > 1e-3


@pytest.mark.parametrize(
    "network, size, shape",
    [
        (networks.Encoder, (7, 4), (3, 14)),
        (networks.Critic, (4,), (3,)),
        (networks.FeatureClassifier, (), (3, 10)),
    ],
)
def test_what_a_network_says_of_three_images_has_its_shape(network, size, shape):
    assert network(*size)(torch.randn(3, 3, 32, 32)).shape == shape


def test_in_eval_mode_an_image_does_not_depend_on_its_batch():
    torch.manual_seed(0)
    generator, z = networks.Generator(7, 4), torch.randn(6, 7)
    generator(z)  # running statistics of its own
    generator.eval()
    with torch.no_grad():
        torch.testing.assert_close(generator(z), torch.cat([generator(one[None]) for one in z]), rtol=1e-4, atol=1e-5)


def test_the_coarse_picture_is_the_4x4_map_s_and_reaches_every_pixel():
    generator = networks.Generator(7, 4).eval()
    with torch.no_grad():
        nn.init.zeros_(generator.fine[-1].weight)
        nn.init.zeros_(generator.fine[-1].bias)
        z = torch.randn(2, 7)
        maps = generator.coarse[0](generator.project(z))
        expected = torch.tanh(F.interpolate(maps, scale_factor=8, mode="bilinear"))
        assert maps.shape == (2, 3, 4, 4) and torch.equal(generator(z), expected)


def test_the_features_are_the_last_convolution_at_its_first_position():
    torch.manual_seed(0)
    classifier, x = networks.FeatureClassifier().eval(), torch.randn(4, 3, 32, 32)
    with torch.no_grad():
        everywhere = classifier.conv_stack(x)
        assert everywhere.shape == (4, 512, 3, 3)
        torch.testing.assert_close(classifier.features(x), everywhere[:, :, 0, 0], rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(classifier(x), classifier.mlp(everywhere[:, :, 0, 0]), rtol=1e-4, atol=1e-5)


def test_a_critic_of_groups_sees_how_much_their_images_differ():
    torch.manual_seed(1)
    critic, x = networks.GroupCritic(2, 4), torch.randn(10, 3, 32, 32)
    maps = critic.body(x)
    spread = torch.cat([
        part.std(0, correction=0).mean().expand(len(part)) for part in (maps[:4], maps[4:8], maps[8:])
    ])  # fmt: skip
    last = critic.last[0]
    expected = (maps * last.weight[:, :-1]).sum((1, 2, 3)) + spread * last.weight[0, -1].sum() + last.bias
    torch.testing.assert_close(critic(x), expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(critic(x[4:8]), critic(x)[4:8], rtol=1e-4, atol=1e-5)  # groups know nothing of others
    same = x[:1].repeat(4, 1, 1, 1).requires_grad_()  # no spread, and still a gradient
    assert torch.autograd.grad(critic(same).sum(), same)[0].isfinite().all()
