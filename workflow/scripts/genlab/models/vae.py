"""The variational autoencoder: ELBO and importance-sampled log-likelihood.

Images are rows x (M, D); latents z have L dimensions; the prior is p(z) = N(0, I), or learned, and the
approximate posterior q(z|x) = N(mean, diag exp(log_variance)). All log-densities are in
nats and summed over dimensions, never averaged. Kingma & Welling (2014); importance
sampling as in Burda, Grosse & Salakhutdinov (2016), eq. 8.

With a flow as the posterior (Rezende & Mohamed 2015), that Gaussian is the distribution of y, and z = T(y; x) with an
invertible T. For one image the two are different coordinates of the same integral, so every estimator works in y,
where q is Gaussian: log q(z|x) = log N(y; mean, diag exp(log_variance)) - log |det dz/dy|. Otherwise z = y.
"""

import math

import torch
from torch import nn

from .. import InputError
from ..data import images
from ..training.checkpoint import check_model, check_shapes, load_tensors, save_tensors
from . import binary_networks, gaussian, layers, likelihoods, own_networks, priors
from .importance import estimates, log_mean_exp

# Latents decoded and drawn at a time. On a CPU the maps of a chunk stay in its caches; a GPU needs many.
CHUNK = {"cpu": 100, "cuda": 20_000}
DRAWN = {"cpu": 5_000, "cuda": 200_000}
ACTIVE = 0.01  # least variance of the posterior mean of a latent that is in use


class VAE(nn.Module):
    """An encoder and a decoder with a likelihood.

    encoder   (M, *shape) -> (M, 2 L): posterior mean, then log-variance
    decoder   (M, L) -> the likelihood's parameters, such as logits or the mean, (M, outputs, height, width)
    latents   L
    likelihood  one of `likelihoods`
    shape     shape of one image for the encoder; D is its number of elements
    prior     name of one of `priors`
    posterior  gaussian, or flow
    """

    def __init__(self, encoder, decoder, latents, likelihood, shape, prior="standard_normal", posterior="gaussian"):
        super().__init__()
        self.encoder, self.decoder, self.latents = encoder, decoder, latents
        self.log_prob, self.shape = likelihood, tuple(shape)
        self.dimensions = math.prod(shape)
        self.prior = priors.prior(prior, latents, self.dimensions)
        self.posterior_flow = priors.posterior_flow(posterior, latents)

    def posterior(self, x):
        """q(z|x) for x (M, D): mean and log-variance, (M, L) each; with a flow, those of y."""
        return self.encoder(x.view(-1, *self.shape)).chunk(2, dim=1)

    def warp(self, y, posterior):
        """z (..., L) of y (..., L), and log |det dz/dy| (...).

        posterior: what `posterior` returned, with leading dimensions that broadcast against those of y.
        """
        return self.posterior_flow(y, torch.cat(posterior, -1)) if self.posterior_flow else (y, 0.0)

    def unwarp(self, z, posterior):
        """The y (..., L) that `warp` turns into z, and log |det dz/dy| there (...)."""
        if not self.posterior_flow:
            return z, 0.0
        y = self.posterior_flow.inverse(z, context=torch.cat(posterior, -1))
        return y, self.warp(y, posterior)[1]

    def log_prior(self, z):
        """log p(z) + L/2 log 2 pi of z (..., L), in nats (...)."""
        return self.prior.log_density(z, self.posterior)

    def decode(self, z):
        """The likelihood's parameters for z (..., L): (..., D), or a multiple of D."""
        return self.decoder(z.reshape(-1, z.shape[-1])).flatten(1).view(*z.shape[:-1], -1)


def save_vae(path, model, about):
    """Write a VAE's weights with `about` (architecture, latents, data, ...) to safetensors."""
    save_tensors(path, model.state_dict(), about)


def load_binary_vae(path, device="cpu", architecture=""):
    """(model in eval mode, about) from a file of `save_vae`. Raises `InputError` unless it is a binary VAE.

    architecture: the "FILE.py:FUNCTION" that it was trained with, if that is one's own (`own_networks`).
    """
    tensors, about = load_tensors(path)
    own_networks.check_same(architecture, about, path, "architecture")
    try:
        for key in ("latents", "width"):
            if type(about.get(key, 1)) is not int or about.get(key, 1) < 1:
                raise TypeError(f"{key!r} is {about[key]!r}")
        more = {key: about[key] for key in ("prior", "posterior", "width") if key in about}  # older weights lack some
        if not architecture:
            if about["architecture"] not in binary_networks.BINARY_VAES:  # a file of weights runs no code
                raise TypeError(f"'architecture' is {about['architecture']!r}")
            with torch.device("meta"):
                check_shapes(tensors, binary_vae(about["architecture"], about["latents"], **more))
        model = binary_vae(architecture or about["architecture"], about["latents"], **more)
        model.load_state_dict(tensors)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        reason = str(error).splitlines()[-1].strip()[:200]  # torch names the differences below its first line
        raise InputError(
            f"{path}: not the weights of a binary VAE ({reason}); train one with train_binary_vae.py"
        ) from None
    check_model(path, tensors, about)
    model.to(device).eval()
    if isinstance(model.prior, priors.Vamp):
        model.prior = model.prior.settled(model.posterior)
    return model, about


def binary_vae(architecture, latents, prior="standard_normal", posterior="gaussian", width=32, dropout=0.0):
    """A `VAE` of binary 28x28 images (D = 784) with the named architecture, or one's own of "FILE.py:FUNCTION".

    width: of the architectures `residual` and `bottleneck`; dropout: of `residual`.
    """
    if ":" in architecture:
        encoder, decoder = own_networks.architecture(architecture, latents)
    else:
        more = {"residual": {"width": width, "dropout": dropout}, "bottleneck": {"width": width}}.get(architecture, {})
        encoder, decoder = binary_networks.BINARY_VAES[architecture](latents, **more)
        layers.accelerate(encoder, 1, 28, 28)
        layers.accelerate(decoder, latents)
    model = VAE(encoder, decoder, latents, likelihoods.Bernoulli(), (1, 28, 28), prior, posterior)
    return model.to(memory_format=torch.channels_last)


def image_vae(generator, encoder, likelihood="unit_normal", prior="standard_normal"):
    """A `VAE` of colour images (D = 3072), x in [-1, 1], to be trained: two networks, a named likelihood and prior.

    A prior that is fitted after training is N(0, I) until then.
    """
    prior = "standard_normal" if prior in priors.FITTED else prior
    return VAE(encoder, generator, generator.latents, likelihoods.OF_IMAGES[likelihood](), (3, 32, 32), prior)


def of_parts(parts):
    """The `VAE` of a VAE's parts from `image_model.load_model`."""
    generator = parts["generator"]
    model = VAE(parts["encoder"], generator.decoder, generator.latents, generator.likelihood, (3, *images.SIZE))
    model.prior = generator.prior
    return model


def elbo_terms(model, x, noise):
    """Reconstruction E_q log p(x|z) and KL(q || p) per image. The ELBO is reconstruction minus KL.

    x (M, D); noise (S, M, L), standard normal: an average over S samples of z per image.
    Returns two tensors (M,), in nats.
    """
    posterior = model.posterior(x)
    z, log_det = model.warp(gaussian.reparameterise(*posterior, noise), posterior)
    log_ratio = gaussian.minus_log_density(posterior[1], noise) + log_det + model.log_prior(z)
    return model.log_prob(x, model.decode(z)).mean(0), kl_terms(model, posterior, log_ratio)


def kl_terms(model, posterior, log_ratio):
    """KL(q(z|x) || p(z)) per image, (M,): in closed form, or averaged over draws of z if it has none.

    log_ratio (S, M): log p(z) - log q(z|x) of the draws. There is a closed form without a learned prior or flow.
    """
    return -log_ratio.mean(0) if model.prior.learned or model.posterior_flow else gaussian.kl(*posterior)


@torch.no_grad()
def evaluate_elbo(model, pictures, rng, convert=torch.Tensor.float, batch=250):
    """Reconstruction and KL of images (N, D), as in `elbo_terms`, with one draw of z for each: float64 (N,) each.

    rng: a torch generator; on the CPU it gives the same draws on every device. convert: as in `vae_training`.
    """
    found = []
    for x in pictures.split(batch):
        noise = torch.randn(1, len(x), model.latents, generator=rng, device=rng.device).to(x.device)
        found.append(torch.stack(elbo_terms(model, convert(x), noise)).double())
    return torch.cat(found, 1)


@torch.no_grad()
def active_latents(model, parts):
    """How many latents depend on the image: their posterior mean has a variance above 0.01 (Burda et al. 2016).

    With a flow as the posterior, z at the mean of y stands for that mean. parts: images x, (n, D) each.
    """
    count, total, squares = 0, 0.0, 0.0
    for x in parts:
        posterior = model.posterior(x)
        mean = model.warp(posterior[0], posterior)[0].double()
        count, total, squares = count + len(x), total + mean.sum(0), squares + mean.square().sum(0)
    return int((squares / count - (total / count).square() > ACTIVE).sum())


@torch.no_grad()
def posterior_draws(model, pictures, rng, convert=torch.Tensor.float, batch=250):
    """One draw of z from q(z|x) for each image x of (N, D): (N, L). rng and convert as in `evaluate_elbo`."""
    draws = []
    for x in pictures.split(batch):
        posterior = model.posterior(convert(x))
        noise = torch.randn(posterior[0].shape, generator=rng, device=rng.device).to(x.device)
        draws.append(model.warp(gaussian.reparameterise(*posterior, noise), posterior)[0])
    return torch.cat(draws)


@torch.no_grad()
def reconstruct(parts, originals, normal, batch=250):
    """Images uint8 (M, 3, 32, 32) on the CPU: g(z) for one draw of z from q(z|x) for each original x, also uint8.

    parts: generator and encoder of `image_model.load_model`; normal: a CPU torch generator, so that the draws
    are the same on every device.
    """
    device = next(parts["encoder"].parameters()).device
    z = posterior_draws(of_parts(parts), originals.to(device), normal, images.to_model, batch)
    return torch.cat([images.to_uint8(parts["generator"].of_latents(part)).cpu() for part in z.split(batch)])


@torch.no_grad()
def importance_terms(model, x, z, chunk=100):
    """log p(x_i | z_ik) and log p(z_ik) - log q(z_ik | x_i) for x (M, D) and z (M, K, L): (M, K) each, in nats.

    Latents are decoded `chunk` at a time, so only z itself grows with M K.
    """
    if x.ndim != 2 or z.ndim != 3 or len(x) != len(z):
        raise ValueError(
            f"x is {tuple(x.shape)} and z is {tuple(z.shape)}; expected (M, D) and (M, K, L) with the same M"
        )
    posterior = tuple(parameter[:, None] for parameter in model.posterior(x))
    # A model of one's own has no flow, so it needs no `unwarp`.
    y, log_det = model.unwarp(z, posterior) if getattr(model, "posterior_flow", None) else (z, 0.0)
    noise = gaussian.standardise(*posterior, y)
    log_ratio = gaussian.minus_log_density(posterior[1], noise) + log_det + model.log_prior(z)
    image = torch.arange(len(z), device=z.device).repeat_interleave(z.shape[1])  # the row of x of each latent
    log_p_x = [
        model.log_prob(x[rows], model.decode(latents))
        for rows, latents in zip(image.split(chunk), z.flatten(0, 1).split(chunk), strict=True)
    ]
    return torch.cat(log_p_x).view(z.shape[:2]), log_ratio


def importance_log_likelihood(model, x, z, chunk=100):
    """log p(x) of each image by importance sampling: (model, x (M, D), z (M, K, L)) -> (M,), in nats.

    log 1/K sum_k p(x, z_k) / q(z_k | x) with z_k drawn from q(z|x), by log-sum-exp. In expectation
    it is a lower bound on log p(x) that rises with K; for K = 1 its expectation is the ELBO.
    """
    return log_mean_exp(sum(importance_terms(model, x, z, chunk)))


def images_at_once(kind, samples):
    """How many images `evaluate_likelihood` computes at a time on a type of device."""
    return max(1, min(DRAWN[kind] // 20, DRAWN[kind] // samples))


@torch.no_grad()
def evaluate_likelihood(model, pictures, samples, ks, generator, chunk=0):
    """ELBO, log-likelihood and diagnostics of each of `pictures` (N, D), with `samples` draws from q(z|x) for each.

    Returns float64 CPU tensors. In nats: `elbo` (N,) with the KL in closed form where there is one, `kl` (N,),
    `log_likelihood` (N,), `elbo_gap` (N,), log-likelihood minus ELBO, and `curve` (N, len(ks)), the
    log-likelihood estimate at each K' in `ks`. Of the importance weights: `effective_sample_size` (N,) and
    `pareto_k` (N,). A few images are computed at a time, at least one. So memory grows with N only by these
    results, and with K only from K = 5000 on (200,000 on a GPU). The generator must be on the model's device.
    """
    columns, kind = {}, generator.device.type
    chunk = chunk or CHUNK[kind]
    for batch in pictures.split(images_at_once(kind, samples)):
        x = batch.to(generator.device).float()
        posterior = model.posterior(x)
        noise = torch.randn(len(x), samples, model.latents, generator=generator, device=x.device)
        wide = [parameter[:, None] for parameter in posterior]
        z, _ = model.warp(gaussian.reparameterise(*wide, noise), wide)
        log_p_x, log_ratio = (term.double() for term in importance_terms(model, x, z, chunk))
        log_weights = log_p_x + log_ratio
        kl = kl_terms(model, posterior, log_ratio.T)
        elbo, log_likelihood = log_p_x.mean(1) - kl, log_mean_exp(log_weights)
        numbers = {
            "elbo": elbo,
            "kl": kl,
            "log_likelihood": log_likelihood,
            "elbo_gap": log_likelihood - elbo,
            **estimates(log_weights, ks),
        }
        for name, value in numbers.items():
            columns.setdefault(name, []).append(value.double().cpu())
    return {name: torch.cat(values) for name, values in columns.items()}
