"""The Wasserstein GAN with gradient penalty (Gulrajani et al. 2017): its losses and its training task.

The critic T maximises E T(real) - E T(generated) - penalty_weight E(||grad T||_2 - 1)^2, the last on
random interpolates of a real and a generated image. The generator maximises E T(generated). The
difference of means without the penalty is called the critic's estimate. On images it is not the
Wasserstein distance. With `augment`, all images that the critic sees in training are changed at random first
(`augmentation`), and "real" and "generated" above are changed images.
"""

import functools

import torch
from torch import nn

from ..data import images
from ..training.optimization import WeightAverage, autocast, learning_rate, optimizer, set_rate
from . import gaussian, image_model
from .augmentation import augment
from .monitor import FrechetMonitor

NOISE = 1  # what latents of a seed are for: to watch the training


def mixtures(real, generated):
    """Interpolates alpha real + (1 - alpha) generated, a uniform alpha per example: (M, ...), (M, ...) -> (M, ...)."""
    alpha = torch.rand(len(real), *[1] * (real.ndim - 1), device=real.device)
    return generated + alpha * (real - generated)


def gradient_norms(critic, points):
    """||grad T||_2 at each of the points (M, ...), over all dimensions of an example: (M,), differentiable in T.

    Exact for a critic that scores each example independently (no batch normalisation). If the critic has its own
    `input_gradients`, like `networks.Critic`, these are used; else torch's.
    """
    gradients = getattr(critic, "input_gradients", None) or functools.partial(input_gradients, critic)
    return torch.linalg.vector_norm(gradients(points).flatten(1), dim=1)


def input_gradients(critic, points):
    """grad T at each of the points, (M, ...) both, differentiable in T."""
    points = points.detach().requires_grad_()
    return torch.autograd.grad(critic(points).sum(), points, create_graph=True)[0]


class Frames(nn.Module):
    """Samples of the same latents during training, after epochs 1, 2, 4, 8, ... and the last.

    It is a module, so that it is saved and resumed with the rest: `images` uint8 (F, count, 3, 32, 32)
    and `epochs` (F,).
    """

    def __init__(self, count, epochs):
        super().__init__()
        kept = sorted({epochs, *(2**power for power in range(epochs.bit_length()))})
        self.register_buffer("epochs", torch.tensor(kept))
        self.register_buffer("images", torch.zeros(len(kept), count, 3, 32, 32, dtype=torch.uint8))

    def keep(self, epoch, pictures):
        """Store the images uint8 (count, 3, 32, 32) if `epoch` is to be kept."""
        self.images[self.epochs == epoch] = pictures

    def load_state_dict(self, state):
        """Load kept frames, also those of a training with another number of epochs. Later ones stay."""
        for epoch, pictures in zip(state["epochs"], state["images"], strict=True):
            if pictures.any():
                self.keep(epoch, pictures)


class WGANTraining:
    """The task that `loop.train` runs: one critic update per batch, one generator update every critic_steps batches.

    model       a generator with `latents`, say of `image_model.generator`
    critic      images (M, 3, 32, 32) -> scores (M,)
    valid       validation images uint8 (V, 3, 32, 32), never used in an update
    features    a `networks.FeatureClassifier` in eval mode, for the Frechet distance to `valid`
    settings    keys of the configuration schema's `image_gan`
    """

    def __init__(self, model, critic, valid, features, settings):
        self.generator, self.critic = model, critic
        self.valid, self.settings = valid, settings
        self.select = "-valid_fid" if settings.get("keep") == "best" else None  # None keeps the last epoch
        self.average = WeightAverage(model, settings["average_decay"])
        self.frames = Frames(settings["frames"], settings["epochs"])
        self.modules = {"generator": model, "critic": critic, "average": self.average, "frames": self.frames}
        self.optimizers = {
            name: optimizer(module.parameters(), {"optimizer": "adam", "weight_decay": 0} | settings)
            for name, module in (("generator", model), ("critic", critic))
        }
        self.monitor = FrechetMonitor(features, valid)

    def noise(self, count, seed=None):
        """Latents (count, L) from the process's random generator; with `seed`, the same in every call.

        They are not those that a stage draws with a seed of the same number.
        """
        device = self.valid.device
        source = None if seed is None else gaussian.generator([seed, NOISE], device)
        return torch.randn(count, self.generator.latents, device=device, generator=source)

    def generated(self, count):
        """Generated images as the critic sees them: float32 (count, 3, 32, 32), changed by the policy."""
        return augment(self.generator(self.noise(count)).float(), self.settings["augment"])

    def schedule(self, progress):
        """The numbers of the next step that change with every step; `average_rate` only if it updates the generator."""
        numbers = {"learning_rate": learning_rate(progress, self.settings)}
        if (progress.step + 1) % self.settings["critic_steps"] == 0:
            numbers["average_rate"] = self.average.next_rate()
        return numbers

    def update(self, name, loss, rate):
        """One step of an optimizer down the gradient of `loss`."""
        self.optimizers[name].zero_grad(set_to_none=True)
        loss.backward()
        set_rate(self.optimizers[name], rate)
        self.optimizers[name].step()

    def step(self, batch, numbers):
        """One update on real images uint8 (B, 3, 32, 32); returns sums over the batch by column."""
        count, real = len(batch), augment(images.to_model(batch), self.settings["augment"])
        with torch.no_grad(), autocast(self.settings, batch.device):
            generated = self.generated(count)
        with autocast(self.settings, batch.device):
            if self.settings["critic_group"]:  # a group holds real images or generated ones
                real_scores, scores = self.critic(real).float(), self.critic(generated).float()
            else:
                real_scores, scores = self.critic(torch.cat([real, generated])).float().split(count)
            norms = gradient_norms(self.critic, mixtures(real, generated)).float()
        estimate, penalty = real_scores.sum() - scores.sum(), ((norms - 1) ** 2).sum()
        loss = self.settings["penalty_weight"] * penalty - estimate
        self.update("critic", loss / count, self.settings["critic_rate"] * numbers["learning_rate"])
        if "average_rate" in numbers:
            self.critic.requires_grad_(False)
            with autocast(self.settings, batch.device):
                scores = self.critic(self.generated(count)).float()
            self.update("generator", -scores.mean(), numbers["learning_rate"])
            self.critic.requires_grad_(True)
            self.average.update(self.generator, numbers["average_rate"])
        sums = {"critic_loss": loss, "critic_estimate": estimate, "penalty": penalty, "gradient_norm": norms.sum()}
        return {f"train_{name}": value.detach() for name, value in sums.items()}

    @torch.no_grad()
    def evaluate(self, progress):
        """The critic's estimate on held-out images; every `monitor_epochs`, also the FID to them."""
        count = len(self.valid)
        generated = self.generator.eval()
        scores = [
            (self.critic(images.to_model(real)).sum() - self.critic(generated(z)).sum()).double()
            for real, z in zip(self.valid.split(500), self.noise(count, seed=0).split(500), strict=True)
        ]
        self.generator.train()
        row = {"valid_critic_estimate": float(sum(scores)) / count}
        averaged, epoch = self.average.module.eval(), int(progress.epochs)
        self.frames.keep(epoch, image_model.generate(averaged, self.noise(self.settings["frames"], seed=1)))
        if epoch % self.settings["monitor_epochs"] == 0 or progress.step == progress.total:
            samples = image_model.generate(averaged, self.noise(self.settings["monitor_samples"], seed=2))
            row["valid_fid"] = self.monitor.distance(samples)
        return row | {"learning_rate": learning_rate(progress, self.settings)}
