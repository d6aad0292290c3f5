"""The training of a variational autoencoder: its objectives, and the task that `loop.train` runs."""

import torch

from ..training.optimization import WeightAverage, autocast, learning_rate, optimizers, set_rate
from . import gaussian, importance, priors, vae


class VAETraining:
    """The task that `loop.train` runs: maximise the ELBO (or the IWAE bound) of a `VAE`.

    valid     validation images (V, D), of the same type as the training images
    settings  learning_rate, optimizer, weight_decay, schedule, warmup_steps, kl_weight, kl_warmup_epochs,
              average_decay, objective, samples_per_image, encoder_steps, clip_norm, input_noise, precision: keys of
              the configuration schema
    convert   turns a batch of stored images into the floats that the likelihood expects
    """

    select = "valid_elbo"  # the epoch with the largest value is kept

    def __init__(self, model, valid, settings, convert=torch.Tensor.float):
        self.model, self.valid, self.settings, self.convert = model, valid, settings, convert
        self.average = WeightAverage(model, settings["average_decay"])
        self.modules = {"model": model, "average": self.average}
        self.optimizers = optimizers(model, settings)

    def schedule(self, progress):
        """The numbers of the next step that change with every step."""
        return {
            "learning_rate": learning_rate(progress, self.settings),
            "kl_weight": self.kl_weight(progress),
            "average_rate": self.average.next_rate(),
        }

    def step(self, x, numbers):
        """One update on a batch x (B, D), after `encoder_steps` of the encoder alone (He et al. 2019).

        Returns sums over the batch by column.
        """
        x = self.convert(x)
        for optimizer in self.optimizers.values():
            set_rate(optimizer, numbers["learning_rate"])
        for _ in range(self.settings["encoder_steps"]):
            self.ascend(x, numbers["kl_weight"], encoder_alone=True)
        sums = self.ascend(x, numbers["kl_weight"])
        self.average.update(self.model, numbers["average_rate"])
        return sums

    def ascend(self, x, kl_weight, encoder_alone=False):
        """One step of the optimizer up the objective, on converted images; returns sums over the batch by column."""
        settings = self.settings
        samples, dreg = settings["samples_per_image"], settings["objective"] == "dreg"
        with autocast(settings, x.device):
            posterior = mean, log_variance = tuple(part.float() for part in self.model.posterior(self.seen(x)))
        noise = torch.randn(samples, *mean.shape, device=x.device)
        z, log_det = self.model.warp(gaussian.reparameterise(mean, log_variance, noise), posterior)
        if dreg:
            z.register_hook(lambda gradient: (1 - kl_weight + kl_weight * shares)[..., None] * gradient)
        with autocast(settings, x.device):
            decoded = self.model.decode(z).float()
        if not encoder_alone:
            self.model.log_prob.fit(x, decoded)
        log_p_x = self.model.log_prob(x, decoded)
        log_prior = self.model.log_prior(z)
        log_ratio = gaussian.minus_log_density(log_variance, noise) + log_det + log_prior
        reconstruction, kl = log_p_x.mean(0), vae.kl_terms(self.model, posterior, log_ratio)
        if settings["objective"] == "iwae":
            bound = importance.log_mean_exp((log_p_x + kl_weight * log_ratio).T)
        elif dreg:
            # Tucker et al. (2019): log q(z|x) moves only through z, and there the hook gives the normalised weight w
            # the factor 1 - b + b w, with b the KL weight: w^2 in all for b = 1. Its expectation is the gradient of
            # the bound above.
            mean, log_variance = mean.detach(), log_variance.detach()
            noise = gaussian.standardise(mean, log_variance, z)
            log_ratio = gaussian.minus_log_density(log_variance, noise) + log_prior
            log_weights = log_p_x + kl_weight * log_ratio
            shares = torch.softmax(log_weights.detach(), 0)
            bound = (shares * log_weights).sum(0)
        else:
            bound = reconstruction - kl_weight * kl
        self.model.zero_grad(set_to_none=True)
        (-bound.mean()).backward()
        if encoder_alone:
            for parameter in (*self.model.decoder.parameters(), *self.model.prior.parameters()):
                parameter.grad = None
        if settings.get("clip_norm"):
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), settings["clip_norm"])
        for optimizer in self.optimizers.values():
            optimizer.step()
        reconstruction, kl = reconstruction.detach().sum(), kl.detach().sum()
        return {"train_elbo": reconstruction - kl, "train_reconstruction": reconstruction, "train_kl": kl}

    def seen(self, x):
        """What the encoder sees of binary images x (B, D): x with a share `input_noise` of its pixels flipped.

        The ELBO is a lower bound for any q(z|x), so noise in the encoder does not invalidate it.
        """
        noise = self.settings.get("input_noise", 0.0)
        return (x - (torch.rand_like(x) < noise).to(x.dtype)).abs() if noise else x

    def kl_weight(self, progress):
        """The weight of the KL term in the objective: linear from 0 to kl_weight over kl_warmup_epochs."""
        warmup = self.settings["kl_warmup_epochs"]
        return self.settings["kl_weight"] * (min(1.0, progress.epochs / warmup) if warmup else 1.0)

    @torch.no_grad()
    def finish(self, train, seed):
        """After the last epoch: fit the prior of the averaged weights to latents of the training images x (N, D).

        Returns what `measure` does then, or {} if the prior is none that is fitted.
        """
        if self.settings["prior"] not in priors.FITTED:
            return {}
        model, rng = self.average.module.eval(), torch.Generator().manual_seed(seed)
        latents = [vae.posterior_draws(model, x, rng, self.convert) for x in (train, self.valid)]
        model.prior = priors.prior(self.settings["prior"], model.latents).to(train.device)
        model.prior.fit(*latents, rng)
        return self.measure()

    def evaluate(self, progress):
        """What `measure` returns, and the numbers of the schedule."""
        return self.measure() | {
            "learning_rate": learning_rate(progress, self.settings),
            "kl_weight": self.kl_weight(progress),
        }

    @torch.no_grad()
    def measure(self):
        """Validation ELBO, reconstruction and KL of the averaged weights, in nats per image.

        The noise is the same in every epoch, so epochs differ only in their weights.
        """
        model, rng = self.average.module.eval(), torch.Generator(self.valid.device).manual_seed(0)
        reconstruction, kl = vae.evaluate_elbo(model, self.valid, rng, self.convert).mean(1).tolist()
        row = {"valid_elbo": reconstruction - kl, "valid_reconstruction": reconstruction, "valid_kl": kl}
        if model.log_prob.bits:
            row["valid_bits_per_dimension"] = model.log_prob.bits(row["valid_elbo"], self.valid.shape[1])
        return row
