"""WGAN-GP: penalty against closed forms, what a step does, and what the state holds."""

import pytest
import torch
from genlab.data import images
from genlab.models import networks, wgan
from genlab.training import optimization
from torch import nn

SETTINGS = {
    "epochs": 5, "batch_size": 8, "critic_steps": 2, "penalty_weight": 10.0, "learning_rate": 1e-3, "beta1": 0.0,
    "beta2": 0.9, "schedule": "constant", "warmup_steps": 0, "average_decay": 0.5, "precision": "float32",
    "monitor_epochs": 2, "monitor_samples": 20, "frames": 3, "augment": "none",
    "critic_rate": 1.0, "critic_group": 0,
}  # fmt: skip


@pytest.fixture
def task():
    torch.manual_seed(0)
    valid = torch.randint(0, 256, (24, 3, 32, 32), dtype=torch.uint8)
    features = networks.FeatureClassifier().eval()
    return wgan.WGANTraining(networks.Generator(6, 4), networks.Critic(4), valid, features, SETTINGS)


def test_the_gradient_norm_of_a_linear_critic_is_the_norm_of_its_weights():
    weights = torch.randn(3, 4, 5, dtype=torch.float64)
    norms = wgan.gradient_norms(lambda x: (x * weights).sum((1, 2, 3)), torch.randn(7, 3, 4, 5, dtype=torch.float64))
    torch.testing.assert_close(norms, weights.norm().expand(7))  # over all dimensions of an example


def test_the_gradient_norm_is_each_example_s_own():
    x = torch.randn(6, 3, 2, 2, dtype=torch.float64)
    norms = wgan.gradient_norms(lambda x: 0.5 * (x**2).sum((1, 2, 3)), x)  # the gradient is x itself
    torch.testing.assert_close(norms, x.flatten(1).norm(dim=1))


def test_the_penalty_s_gradient_in_the_weights_is_the_closed_form():
    weights = torch.randn(12, dtype=torch.float64, requires_grad=True)
    norms = wgan.gradient_norms(lambda x: x.flatten(1) @ weights, torch.randn(5, 3, 2, 2, dtype=torch.float64))
    ((norms - 1) ** 2).mean().backward()
    norm = weights.detach().norm()
    torch.testing.assert_close(weights.grad, 2 * (norm - 1) * weights.detach() / norm)


def test_the_real_critic_s_gradients_and_their_penalty_are_those_of_double_backward():
    torch.manual_seed(0)
    critic, x = networks.Critic(4).double(), torch.randn(3, 3, 32, 32, dtype=torch.float64)
    torch.testing.assert_close(critic.input_gradients(x), wgan.input_gradients(critic, x))
    as_function = critic.forward  # has no gradients of its own
    penalties = [((wgan.gradient_norms(each, x) - 1) ** 2).mean() for each in (critic, as_function)]
    weights = [critic[index].weight for index in (0, 2, 4, 6, 8)]
    for found, wanted in zip(*(torch.autograd.grad(penalty, weights) for penalty in penalties), strict=True):
        assert wanted.abs().sum() > 0
        torch.testing.assert_close(found, wanted)


def test_the_penalty_s_gradient_of_the_real_critic_agrees_with_finite_differences():
    torch.manual_seed(0)
    critic, x = networks.Critic(4).double(), torch.randn(3, 3, 32, 32, dtype=torch.float64)
    ((wgan.gradient_norms(critic, x) - 1) ** 2).mean().backward()
    weight, step = critic[2].weight, 1e-6
    for index in [(0, 0, 0, 0), (3, 2, 1, 1)]:
        sides = []
        for sign in (1, -1):
            with torch.no_grad():
                weight[index] += sign * step
            sides.append(((wgan.gradient_norms(critic, x) - 1) ** 2).mean().item())
            with torch.no_grad():
                weight[index] -= sign * step
        assert weight.grad[index].item() == pytest.approx((sides[0] - sides[1]) / (2 * step), rel=1e-4)


@pytest.fixture
def alphas():
    """The places of mixtures of ones and zeros, (5000, 12)."""
    torch.manual_seed(0)
    return wgan.mixtures(torch.ones(5000, 3, 2, 2), torch.zeros(5000, 3, 2, 2)).flatten(1)


def test_each_example_has_one_alpha_of_its_own(alphas):
    assert (alphas == alphas[:, :1]).all() and len(alphas[:, 0].unique()) > 4900


def test_mixtures_lie_evenly_between(alphas):
    assert alphas.min() >= 0 and alphas.max() <= 1
    assert alphas.mean() == pytest.approx(0.5, abs=0.02) and alphas[:, 0].var() == pytest.approx(1 / 12, abs=0.005)


def test_the_critic_knows_no_batch_normalisation():
    critic = networks.Critic(4)
    assert not any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in critic.modules())


def test_the_critic_scores_each_image_on_its_own():
    critic, x = networks.Critic(4).train(), torch.randn(5, 3, 32, 32)
    torch.testing.assert_close(critic(x), torch.cat([critic(one[None]) for one in x]), rtol=1e-4, atol=1e-6)


@pytest.fixture
def real():
    return torch.randint(0, 256, (8, 3, 32, 32), dtype=torch.uint8)


def test_a_step_reports_what_it_optimises(task, real):
    sums = task.step(real, task.schedule(optimization.Progress(0, 10, 0.0)))
    loss = 10.0 * sums["train_penalty"] - sums["train_critic_estimate"]
    torch.testing.assert_close(sums["train_critic_loss"], loss)


def test_the_generator_s_loss_is_minus_the_mean_score_of_its_images(task, real, monkeypatch):
    losses = {}
    monkeypatch.setattr(task, "update", lambda name, loss, rate: losses.update({name: loss.detach()}))  # takes no step
    task.settings = SETTINGS | {"critic_steps": 1}
    latents = task.generator.latents
    torch.manual_seed(3)
    task.step(real, task.schedule(optimization.Progress(0, 10, 0.0)))
    torch.manual_seed(3)
    torch.randn(8, latents), torch.rand(8, 1, 1, 1)  # the critic's latents, and where it takes its penalty
    with torch.no_grad():
        expected = -task.critic(task.generator(torch.randn(8, latents))).mean()
    torch.testing.assert_close(losses["generator"], expected, rtol=1e-4, atol=1e-5)


def test_the_generator_moves_at_the_last_of_its_critic_steps(task, real):
    def weights(module):
        return torch.cat([p.detach().flatten().clone() for p in module.parameters()])

    before = weights(task.critic), weights(task.generator)
    task.step(real, task.schedule(optimization.Progress(0, 10, 0.0)))
    assert not torch.equal(weights(task.critic), before[0]) and torch.equal(weights(task.generator), before[1])
    critic = weights(task.critic)
    task.step(real, task.schedule(optimization.Progress(1, 10, 0.1)))  # the second of two critic steps
    assert not torch.equal(weights(task.generator), before[1]) and not torch.equal(weights(task.critic), critic)
    assert all(p.requires_grad for p in task.critic.parameters())


def test_without_the_penalty_the_critic_s_estimate_is_the_difference_of_means(task):
    torch.manual_seed(3)
    real = torch.randint(0, 256, (8, 3, 32, 32), dtype=torch.uint8)
    state = torch.get_rng_state()
    with torch.no_grad():
        generated = task.generator(torch.randn(8, 6))
        expected = task.critic(images.to_model(real)).sum() - task.critic(generated).sum()
    torch.set_rng_state(state)
    sums = task.step(real, task.schedule(optimization.Progress(0, 10, 0.0)))
    torch.testing.assert_close(sums["train_critic_estimate"], expected, rtol=1e-4, atol=1e-5)


def test_in_training_the_critic_sees_only_augmented_images_and_their_interpolates(task, monkeypatch):
    seen = []
    monkeypatch.setattr(wgan, "augment", lambda images, policy: images * 0 + (5.0 if policy == "colour" else 0.0))
    score, gradients = task.critic.forward, task.critic.input_gradients
    monkeypatch.setattr(task.critic, "forward", lambda x: seen.append(x.detach()) or score(x))
    monkeypatch.setattr(task.critic, "input_gradients", lambda x: seen.append(x.detach()) or gradients(x))
    task.settings = SETTINGS | {"augment": "colour", "critic_steps": 1}
    real = torch.randint(0, 256, (8, 3, 32, 32), dtype=torch.uint8)
    task.step(real, task.schedule(optimization.Progress(0, 10, 0.0)))
    assert [len(x) for x in seen] == [16, 8, 8]  # real and generated, interpolates, and the generator's
    assert all((x == 5).all() for x in seen)


def test_validation_sees_images_as_they_are(task, monkeypatch):
    monkeypatch.setattr(wgan, "augment", None)
    task.settings = SETTINGS | {"augment": "colour"}
    assert task.evaluate(optimization.Progress(30, 50, 3))["valid_critic_estimate"]


def test_the_estimate_on_validation_images_is_the_difference_of_mean_scores(task):
    found = task.evaluate(optimization.Progress(30, 50, 3))["valid_critic_estimate"]
    with torch.no_grad():
        generated = task.generator.eval()(task.noise(len(task.valid), seed=0))
        expected = task.critic(images.to_model(task.valid)).mean() - task.critic(generated).mean()
    assert found == pytest.approx(expected.item(), rel=1e-3, abs=1e-6)


def test_evaluation_is_the_same_twice(task):
    rows = [task.evaluate(optimization.Progress(30, 50, 3)) for _ in range(2)]
    assert rows[0] == rows[1]


def test_evaluation_leaves_no_trace(task):
    def state():
        return {f"{n}.{k}": v.clone() for n, m in task.modules.items() for k, v in m.state_dict().items()}

    before, random = state(), torch.get_rng_state()
    for _ in range(2):
        task.evaluate(optimization.Progress(30, 50, 3))
    assert torch.equal(torch.get_rng_state(), random) and task.generator.training
    for name, value in state().items():
        assert torch.equal(value, before[name]), name


def test_the_distance_is_measured_every_other_epoch_and_at_the_last(task):
    assert "valid_fid" not in task.evaluate(optimization.Progress(30, 50, 3))
    assert task.evaluate(optimization.Progress(20, 50, 2))["valid_fid"] > 0
    assert "valid_fid" in task.evaluate(optimization.Progress(50, 50, 5))


def test_frames_are_of_doubling_epochs_and_the_last():
    assert wgan.Frames(2, 20).epochs.tolist() == [1, 2, 4, 8, 16, 20]


def test_frames_of_other_epochs_are_not_kept():
    frames = wgan.Frames(2, 20)
    frames.keep(3, torch.full((2, 3, 32, 32), 9, dtype=torch.uint8))
    assert not frames.images.any()


def test_a_frame_is_kept_in_the_place_of_its_epoch():
    frames = wgan.Frames(2, 20)
    frames.keep(8, torch.full((2, 3, 32, 32), 9, dtype=torch.uint8))
    assert (frames.images[3] == 9).all() and frames.images.float().mean() == pytest.approx(9 / 6)


@pytest.fixture
def model():
    from genlab.models import vae

    torch.manual_seed(0)
    return vae.image_vae(networks.Generator(5, 4), networks.Encoder(5, 4))


def test_both_kinds_of_model_have_the_same_generator(task, model):
    other = wgan.WGANTraining(
        networks.Generator(5, 4), networks.Critic(4), task.valid, task.monitor.network, task.settings
    )
    assert type(model.decoder) is networks.Generator and str(model.decoder) == str(other.generator)


def test_the_vae_of_a_generator_takes_and_gives_flat_images(model):
    x = torch.randn(2, 3 * 32 * 32)
    assert model.posterior(x)[0].shape == (2, 5) and model.decode(torch.randn(7, 2, 5)).shape == (7, 2, 3072)


def test_the_critic_s_rate_is_a_multiple_of_the_generator_s(task):
    task.settings = SETTINGS | {"critic_rate": 3.0, "critic_steps": 1}
    task.step(torch.randint(0, 256, (8, 3, 32, 32), dtype=torch.uint8), {"learning_rate": 0.01, "average_rate": 0.5})
    rates = {name: group["lr"] for name, each in task.optimizers.items() for group in each.param_groups}
    assert rates == {"generator": 0.01, "critic": pytest.approx(0.03)}


def test_the_best_epoch_s_state_leaves_later_frames():
    frames = wgan.Frames(2, 20)
    picture = torch.full((2, 3, 32, 32), 9, dtype=torch.uint8)
    frames.keep(8, picture)
    best = {name: value.clone() for name, value in frames.state_dict().items()}
    frames.keep(20, picture + 1)
    frames.load_state_dict(best)
    assert (frames.images[3] == 9).all() and (frames.images[-1] == 10).all()


@pytest.mark.parametrize(("keep", "select"), [("last", None), ("best", "-valid_fid")])
def test_the_setting_says_which_epoch_is_kept(task, keep, select):
    made = wgan.WGANTraining(task.generator, task.critic, task.valid, task.monitor.network, SETTINGS | {"keep": keep})
    assert made.select == select


def test_latents_of_the_monitor_are_not_those_that_a_stage_draws_with_a_seed_of_the_same_number(task):
    drawn = torch.randn(4, task.generator.latents, generator=torch.Generator().manual_seed(2))
    found = task.noise(4, seed=2)
    assert torch.equal(found, task.noise(4, seed=2)) and not torch.equal(found, drawn)


def test_groups_of_the_critic_hold_real_images_or_generated_ones(task, real, monkeypatch):
    critic, seen = networks.GroupCritic(4, 4), []
    task.critic, task.settings = critic, SETTINGS | {"critic_group": 4, "critic_steps": 1}
    task.optimizers["critic"] = optimization.optimizer(
        critic.parameters(), SETTINGS | {"optimizer": "adam", "weight_decay": 0}
    )
    score = critic.forward
    monkeypatch.setattr(critic, "forward", lambda x: seen.append(x.detach()) or score(x))
    sums = task.step(real[:6], task.schedule(optimization.Progress(0, 10, 0.0)))
    assert [len(x) for x in seen] == [6, 6, 6, 6]  # real, generated, interpolates, the generator's
    assert torch.equal(seen[0], images.to_model(real[:6]))
    assert all(torch.isfinite(value) for value in sums.values())
