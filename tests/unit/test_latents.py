import numpy as np
import pytest
import torch
from genlab.data import arrays, images
from genlab.measures import image_statistics
from genlab.models import latents, networks
from genlab.models.classifier import classify, feature_batches
from scipy.spatial.distance import cdist
from scipy.stats import norm

L = 7


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(1)


@pytest.fixture
def weights():
    """A linear generator's matrix (L, 3, 32, 32); dimension i is twice as strong as dimension i + 1."""
    return torch.randn(L, 3, 32, 32, dtype=torch.float64) * 0.5 ** torch.arange(L)[:, None, None, None]


def linear(weights):
    return lambda z: torch.einsum("ml,lchw->mchw", z, weights)


def curved(z):
    """Every pixel is the sum of squares of the latents."""
    return z.square().sum(1)[:, None, None, None].expand(-1, 3, 32, 32)


def test_perturb_steps_from_z_itself_along_one_dimension(weights):
    z = torch.randn(L, dtype=torch.float64)
    before = z.clone()
    base, plus, minus = latents.perturb(linear(weights), z, 3.0)
    assert torch.equal(z, before)
    assert base.shape == (3, 32, 32) and plus.shape == minus.shape == (L, 3, 32, 32)
    torch.testing.assert_close(base, linear(weights)(z[None])[0])
    torch.testing.assert_close(plus - base, 3.0 * weights)
    torch.testing.assert_close(minus - base, -3.0 * weights)


def test_effect_of_a_linear_generator_is_the_size_of_its_weights(weights):
    effect = latents.effect(*latents.perturb(linear(weights), torch.randn(L, dtype=torch.float64), 2.0))
    expected = 2.0 * 127.5 * np.sqrt(np.mean(weights.numpy() ** 2, axis=(1, 2, 3)))
    np.testing.assert_allclose(effect, expected, rtol=1e-12)
    assert latents.rank(effect).tolist() == list(range(L))


def test_effect_is_the_root_mean_square_averaged_over_both_sides():
    base = torch.zeros(3, 32, 32)
    plus, minus = torch.zeros(2, 1, 3, 32, 32)
    plus[0, :, :16] = 1.0  # half of the pixels by one: sqrt(1/2)
    minus[0] = -0.2
    np.testing.assert_allclose(latents.effect(base, plus, minus), [127.5 * (0.5**0.5 + 0.2) / 2], rtol=1e-7)


def test_mean_effect_averages_over_starting_points():
    # |(z + e)^2 - z^2| and |(z - e)^2 - z^2| have the mean e^2 for |z| <= e / 2, and 2 |z| e beyond.
    starts = torch.tensor([[0.0, 1.0], [0.25, -3.0]], dtype=torch.float64)
    expected = 127.5 * np.array([(1 + 1) / 2, (2 + 6) / 2])
    np.testing.assert_allclose(latents.mean_effect(curved, starts, 1.0), expected, rtol=1e-12)


def test_rank_orders_by_falling_effect_and_ties_by_index():
    assert latents.rank(torch.tensor([1.0, 3.0, 0.0, 3.0, 1.0])).tolist() == [1, 3, 0, 4, 2]


def test_paths_of_a_pair():
    z0, z1 = torch.randn(2, L, dtype=torch.float64)
    alphas = torch.arange(11) / 10
    latent_path, sphere_path, image_path = latents.interpolate(curved, z0, z1, alphas)
    assert latent_path.shape == sphere_path.shape == image_path.shape == (11, 3, 32, 32)
    for path in (latent_path, sphere_path, image_path):  # both run from g(z1) to g(z0)
        torch.testing.assert_close(path[[0, -1]], curved(torch.stack([z1, z0])), rtol=1e-14, atol=0)
    for alpha, latent, image in zip(alphas.double(), latent_path, image_path, strict=True):
        torch.testing.assert_close(latent, curved((alpha * z0 + (1 - alpha) * z1)[None])[0])
        torch.testing.assert_close(image, (alpha * curved(z0[None]) + (1 - alpha) * curved(z1[None]))[0])
    assert (latent_path[1:-1] < image_path[1:-1]).all()  # strictly convex


def test_the_arc_between_two_of_equal_length_keeps_the_length_and_the_plane():
    z0, z1 = torch.nn.functional.normalize(torch.randn(2, 50, L, dtype=torch.float64), dim=-1)
    angle = torch.arccos((z0 * z1).sum(1))
    for alpha in (0.0, 0.3, 0.5, 1.0):
        middle = latents.spherical(z0, z1, torch.tensor(alpha, dtype=torch.float64))
        torch.testing.assert_close(middle.norm(dim=1), torch.ones(50, dtype=torch.float64))
        torch.testing.assert_close(torch.arccos((middle * z1).sum(1).clamp(-1, 1)), alpha * angle, rtol=0, atol=1e-6)


def test_the_arc_between_equal_directions_is_the_straight_line():
    z = torch.randn(3, L, dtype=torch.float64)
    torch.testing.assert_close(latents.spherical(2 * z, z, torch.tensor(0.25, dtype=torch.float64)), 1.25 * z)


def test_draws_keep_their_usual_length_on_the_arc_and_lose_it_on_the_line():
    z0, z1 = torch.randn(2, 500, 100)
    assert latents.spherical(z0, z1, torch.tensor(0.5)).norm(dim=1).mean().item() == pytest.approx(10, rel=0.02)
    assert (0.5 * (z0 + z1)).norm(dim=1).mean().item() == pytest.approx(50**0.5, rel=0.02)


def test_paths_of_a_network_have_equal_ends():
    generator = networks.Generator(L, 4).eval()
    z0, z1 = torch.randn(2, 3, L)
    latent_path, _, image_path = latents.interpolate(generator, z0, z1, torch.linspace(0, 1, 11))
    assert latent_path.shape == image_path.shape == (11, 3, 3, 32, 32)
    torch.testing.assert_close(latent_path[[0, -1]], image_path[[0, -1]], rtol=0, atol=1e-6)
    assert not torch.allclose(latent_path[5], image_path[5], rtol=0, atol=1e-6)


def test_decoding_in_parts_keeps_order_and_shape(weights):
    z = torch.randn(5, 3, L, dtype=torch.float64)
    pictures = latents.decode(linear(weights), z, batch=4)
    torch.testing.assert_close(pictures, torch.einsum("abl,lchw->abchw", z, weights))


@pytest.fixture
def network():
    return networks.FeatureClassifier().eval()


def test_paths_are_measured_pair_by_pair(network):
    generator = networks.Generator(L, 4).eval()
    z0, z1 = 5 * torch.randn(2, 3, L)
    alphas = torch.tensor([0.0, 0.4, 1.0])
    reference = np.random.default_rng(1).normal(size=(6, 512)).astype(np.float32)
    found = latents.measure_paths(generator, network, reference, z0, z1, alphas)
    assert all(values.shape == (3, 3) for values in found.values())
    halves = latents.measure_paths(generator, network, reference, z0, z1, alphas, pairs=2)
    for name, values in found.items():
        np.testing.assert_allclose(values, halves[name], rtol=1e-4, atol=1e-4)
    features = {}
    for name, path in zip(arrays.PATHS, latents.interpolate(generator, z0[2], z1[2], alphas), strict=True):
        pictures = images.to_uint8(path).numpy()
        ((features[name], logits),) = feature_batches(network, [pictures])
        top = torch.softmax(torch.from_numpy(logits).double(), 1).amax(1)
        expected = {
            "sharpness": image_statistics.sharpness(pictures),
            "distance": cdist(features[name], reference).min(1),
            "top_probability": top.numpy(),
        }
        for quantity, values in expected.items():
            np.testing.assert_allclose(found[f"{name}_{quantity}"][:, 2], values, rtol=1e-4)
    between = np.linalg.norm(features["latent"] - features["image"], axis=1)
    np.testing.assert_allclose(found["path_distance"][:, 2], between, rtol=1e-3, atol=1e-4)


def test_correlations_are_numpy_s_and_chance_is_bonferroni_s():
    rng = np.random.default_rng(1)
    z = rng.normal(size=(400, 5))
    columns = {"first": z[:, 0] + rng.normal(size=400), "constant": np.ones(400), "none": rng.normal(size=400)}
    found, chance = latents.correlations(z, columns)
    expected = np.corrcoef(z.T, np.stack([columns["first"], columns["none"]]))[:5, 5:]
    np.testing.assert_allclose(found[:, [0, 2]], expected, rtol=1e-10)
    assert (found[:, 1] == 0).all()
    assert chance == pytest.approx(norm.isf(0.025 / 15) / 20)
    assert found[0, 0] > chance > np.abs(found[1:]).max()


def test_attributes_are_those_of_the_images_and_the_classifier(network, weights):
    z = torch.randn(7, L, dtype=torch.float64)
    found = latents.attributes(linear(weights), network, z, [f"digit {digit}" for digit in range(10)], batch=3)
    pictures = images.to_uint8(linear(weights)(z)).numpy()
    for name, values in image_statistics.appearance(pictures).items():
        np.testing.assert_allclose(found[name], values)
    odds = np.stack([found[f"digit {digit}"] for digit in range(10)], 1)
    np.testing.assert_allclose(odds.sum(1), 1)
    assert (odds.argmax(1) == list(classify(network, pictures))[1].argmax(1)).all()
