"""What a decoder's numbers say of an image: the likelihoods p(x|z) of the VAEs.

A likelihood is a module without trained weights. It has

    likelihood(x, parameters)  log p(x|z) in nats, summed over an image: x (..., D) -> (...)
    outputs                    channels of the decoder
    mean(parameters)           the mean image (colour images only), and
    draw(parameters, rng)      an image drawn from p(x|z), both (..., D); rng: a torch generator
    name                       p(x|z) in words (colour images only)
    standard_deviation         of a normal, in [-1, 1]; else None (colour images only)
    bits(log_p, D)             bits per dimension of 8-bit images, one scale for all; 8 is a uniform guess. None if
                               images are binary
    fit(x, parameters)         follow a batch in training; most likelihoods have nothing to fit

Colour images are x in [-1, 1]^D with D = 3 x 32 x 32, flattened with the channels first.
"""

import math

import torch
import torch.nn.functional as F
from torch import nn

from ..data import images

LOG_2PI = math.log(2 * math.pi)


def bernoulli_log_prob(x, logits):
    """log p(x) of independent Bernoulli pixels, summed over the last dimension; x in {0, 1}."""
    return (x * logits - softplus(logits)).sum(-1)


def softplus(x):
    """log(1 + exp x), at any magnitude. Torch's own uses log1p, which is several times slower on some machines."""
    size = x.abs()
    return 0.5 * (x + size) + torch.log(1 + torch.exp(-size))


def gaussian_log_prob(x, mean):
    """log N(x; mean, I), summed over the last dimension: -1/2 |x - mean|^2 - D/2 log 2 pi."""
    return -0.5 * ((x - mean) ** 2).sum(-1) - 0.5 * x.shape[-1] * LOG_2PI


def _normal(like, rng):
    return torch.randn(like.shape, generator=rng, device=rng.device, dtype=like.dtype).to(like)


class Likelihood(nn.Module):
    """What likelihoods have in common."""

    bits = None

    def fit(self, x, parameters):
        """Nothing to fit."""


class Bernoulli(Likelihood):
    """Independent binary pixels; the decoder's numbers are logits."""

    outputs = 1

    def forward(self, x, logits):
        return bernoulli_log_prob(x, logits)

    def draw(self, logits, rng):
        return torch.bernoulli(torch.sigmoid(logits), generator=rng)


class UnitNormal(Likelihood):
    """N(x; g, I): the assignment's likelihood. The decoder's numbers are g."""

    outputs, name, standard_deviation = 3, "N(x; g(z), I)", 1.0

    def forward(self, x, mean):
        return gaussian_log_prob(x, mean)

    def mean(self, mean):
        return mean

    def draw(self, mean, rng):
        return mean + _normal(mean, rng)

    @staticmethod
    def bits(log_p, dimensions):
        """The density in [-1, 1] is 127.5 times that in grey levels, so log2 127.5 bits are added."""
        return -log_p / (dimensions * math.log(2)) + math.log2(images.GREY_LEVELS)


class OptimalNormal(UnitNormal):
    """N(x; g, v I) with one variance v for all pixels, the one that fits best (Rybkin et al. 2021, optimal sigma-VAE).

    Of all variances the mean squared error of the reconstructions has the highest likelihood. `fit` follows it from
    batch to batch.
    """

    RATE = 0.05  # of a batch in the running mean
    name = "N(x; g(z), v I)"

    def __init__(self):
        super().__init__()
        self.register_buffer("variance", torch.ones(()))

    @property
    def standard_deviation(self):
        return float(self.variance.sqrt())

    @torch.no_grad()
    def fit(self, x, mean):
        """Move the variance towards that of a batch: x (B, D), mean (..., B, D)."""
        self.variance.lerp_((x - mean).square().mean(), self.RATE)

    def forward(self, x, mean):
        spread = 0.5 * x.shape[-1] * (LOG_2PI + torch.log(self.variance))
        return -0.5 * ((x - mean) ** 2).sum(-1) / self.variance - spread

    def draw(self, mean, rng):
        return mean + self.variance.sqrt() * _normal(mean, rng)


class LogisticMixture(Likelihood):
    """A mixture of discretised logistics for each pixel (Salimans et al. 2017, PixelCNN++, section 2).

    The probability of a grey level is that of its bin, 2/255 wide; the outermost bins have no end. A component's mean
    of green depends linearly on red, that of blue on red and green. The decoder's numbers are, for each of the
    COMPONENTS: 1 logit, 3 means, 3 log-scales, 3 coefficients.
    """

    COMPONENTS = 5
    LOWEST = -7.0  # the logarithm of the smallest scale of a logistic
    OFFSET = -1.5  # added to the decoder's log-scales, so that an untrained decoder gives scales of this size
    outputs, name, standard_deviation = 10 * COMPONENTS, f"{COMPONENTS} discretised logistics", None

    def _split(self, parameters):
        """Logits (..., C, P), means, log-scales and coefficients (..., 3, C, P) of P pixels."""
        pixels = parameters.shape[-1] // self.outputs
        logits, rest = parameters.unflatten(-1, (10, self.COMPONENTS, pixels)).split([1, 9], -3)
        means, log_scales, coefficients = rest.split(3, -3)
        return logits.squeeze(-3), means, (log_scales + self.OFFSET).clamp(min=self.LOWEST), coefficients.tanh()

    @staticmethod
    def _shifted(means, coefficients, red, green):
        """The means (..., 3, C, P), given red and green, which broadcast to (..., C, P)."""
        r, g, b = means.unbind(-3)
        to_green, from_red, from_green = coefficients.unbind(-3)
        return torch.stack([r, g + to_green * red, b + from_red * red + from_green * green], -3)

    def forward(self, x, parameters):
        logits, means, log_scales, coefficients = self._split(parameters)
        x = x.unflatten(-1, (3, 1, -1))  # (..., 3, 1, P)
        means = self._shifted(means, coefficients, x[..., 0, :, :], x[..., 1, :, :])
        centred, inverse = x - means, torch.exp(-log_scales)
        above, below = inverse * (centred + 1 / 255), inverse * (centred - 1 / 255)
        mass = torch.sigmoid(above) - torch.sigmoid(below)
        middle = inverse * centred  # where the mass is lost to rounding, the density at the middle times the width
        narrow = middle - log_scales - 2 * softplus(middle) + math.log(2 / 255)
        log_p = torch.where(mass > 1e-5, torch.log(mass.clamp(min=1e-12)), narrow)
        log_p = torch.where(x < -0.999, -softplus(-above), torch.where(x > 0.999, -softplus(below), log_p))
        return torch.logsumexp(log_p.sum(-3) + logits.log_softmax(-2), -2).sum(-1)

    def mean(self, parameters):
        logits, means, _, coefficients = self._split(parameters)
        red = means[..., 0, :, :]
        green = means[..., 1, :, :] + coefficients[..., 0, :, :] * red
        means = self._shifted(means, coefficients, red, green)
        return (means * logits.softmax(-2).unsqueeze(-3)).sum(-2).flatten(-2).clamp(-1, 1)

    def draw(self, parameters, rng):
        logits, means, log_scales, coefficients = self._split(parameters)
        gumbel = -torch.log(-torch.log(self._uniform(logits, rng)))
        chosen = F.one_hot((logits + gumbel).argmax(-2), self.COMPONENTS).transpose(-1, -2).unsqueeze(-3)
        means, log_scales, coefficients = ((part * chosen).sum(-2) for part in (means, log_scales, coefficients))
        uniform = self._uniform(means, rng)
        noise = log_scales.exp() * (torch.log(uniform) - torch.log1p(-uniform))
        (r, g, b), (to_green, from_red, from_green) = (means + noise).unbind(-2), coefficients.unbind(-2)
        r = r.clamp(-1, 1)
        g = (g + to_green * r).clamp(-1, 1)
        b = (b + from_red * r + from_green * g).clamp(-1, 1)
        return torch.stack([r, g, b], -2).flatten(-2)

    @staticmethod
    def _uniform(like, rng):
        return torch.rand(like.shape, generator=rng, device=rng.device).clamp(1e-5, 1 - 1e-5).to(like)

    @staticmethod
    def bits(log_p, dimensions):
        """These are probabilities of 8-bit images already."""
        return -log_p / (dimensions * math.log(2))


OF_IMAGES = {"unit_normal": UnitNormal, "optimal_normal": OptimalNormal, "logistic_mixture": LogisticMixture}
