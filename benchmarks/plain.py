"""What the references share: the networks with plain layers in the default layout, and the plain training loop."""

import torch
import torch.nn.functional as F
from genlab.models import binary_networks, networks


def set_up(threads):
    """Set the number of threads and a seed."""
    torch.set_num_threads(threads)
    torch.manual_seed(1)


def binary_vae(model):
    """Encoder and decoder of the suggested architecture in plain layers, with the weights of a `vae.VAE`."""
    encoder, decoder = binary_networks.suggested_binary_vae(model.latents)
    encoder.load_state_dict(model.encoder.state_dict())
    decoder.load_state_dict(model.decoder.state_dict())
    return tuple(part.to(memory_format=torch.contiguous_format) for part in (encoder, decoder))


def feature_classifier(model):
    """The plain layers of a `networks.FeatureClassifier` up to its features, with its weights, in eval mode."""
    printed = networks.FeatureClassifier()
    printed.load_state_dict(model.state_dict())
    return printed.conv_stack.to(memory_format=torch.contiguous_format).eval()


def bernoulli(logits, x):
    """log p(x) of each image (M,)."""
    return -F.binary_cross_entropy_with_logits(logits, x, reduction="none").flatten(1).sum(1)


def gaussian(mean, x):
    """log N(x; mean, I) up to its constant, of each image (M,)."""
    return -0.5 * ((x - mean) ** 2).flatten(1).sum(1)


def elbo(encoder, decoder, log_prob, x):
    """Each image's ELBO (M,) with one sample of z."""
    mean, log_variance = encoder(x).chunk(2, dim=1)
    z = mean + torch.exp(0.5 * log_variance) * torch.randn_like(mean)
    kl = 0.5 * (mean**2 + log_variance.exp() - 1 - log_variance).sum(1)
    return log_prob(decoder(z), x) - kl


class VAETraining:
    """The plain training of a VAE: `epoch(images)` is one pass over floats (N, ...) and returns their mean ELBO."""

    def __init__(self, encoder, decoder, log_prob, settings):
        self.parts, self.log_prob, self.batch_size = (encoder, decoder), log_prob, settings["batch_size"]
        parameters = [*encoder.parameters(), *decoder.parameters()]
        self.optimizer = torch.optim.Adam(parameters, settings["learning_rate"])

    def epoch(self, images):
        data, device = torch.utils.data.TensorDataset(images), next(self.parts[0].parameters()).device
        total = 0.0
        for (x,) in torch.utils.data.DataLoader(data, self.batch_size, shuffle=True):
            x = x.to(device)
            bound = elbo(*self.parts, self.log_prob, x)
            self.optimizer.zero_grad()
            (-bound.mean()).backward()
            self.optimizer.step()
            total += bound.sum().item()
        return total / len(images)


def agree_on_a_batch(model, encoder, decoder, log_prob, x, plain_x, precision):
    """Raise AssertionError unless both give the same ELBO for the same images and noise."""
    from genlab.models import likelihoods, vae
    from genlab.training import optimization

    with torch.no_grad():
        torch.manual_seed(2)
        expected = elbo(encoder, decoder, log_prob, plain_x)
        torch.manual_seed(2)
        noise = torch.randn(1, len(x), model.latents)
        with optimization.autocast({"precision": precision}, x.device):
            reconstruction, kl = vae.elbo_terms(model, x, noise)
        constant = 0.5 * x.shape[1] * likelihoods.LOG_2PI if log_prob is gaussian else 0
        tolerance = 1e-5 if precision == "float32" else 3e-3
        torch.testing.assert_close(reconstruction.float() - kl + constant, expected, rtol=tolerance, atol=1e-3)


def epoch(task, data, batch_size, seed):
    """One pass of a task over `data`, as in `loop.train`; returns the task's columns as means per example."""
    import numpy as np
    from genlab.training.optimization import Progress

    steps = -(-len(data) // batch_size)
    order = torch.from_numpy(np.random.default_rng(seed).permutation(len(data)))
    sums = {}
    for step in range(steps):
        batch = data[order[step * batch_size : (step + 1) * batch_size]]
        numbers = task.schedule(Progress(step, steps, step / steps))
        for name, value in task.step(batch, numbers).items():
            sums[name] = sums.get(name, 0) + value.double()
    return {name: float(value) / len(data) for name, value in sums.items()}


def coloured_blobs(count):
    """Images uint8 (count, 3, 32, 32) that a network can learn, from the process's random generator."""
    return torch.cat([(255 * part).round().to(torch.uint8) for part in blobs(count, 3, 32).split(64)])


def binary_blobs(count):
    """Images uint8 (count, 784) of 0 and 1 that a network can learn."""
    return torch.cat([part.gt(0.5).byte() for part in blobs(count, 1, 28).flatten(1).split(64)])


def blobs(count, channels, size):
    """Smooth random images in [0, 1], float32 (count, channels, size, size).

    They are made a few at a time: glibc's later behaviour depends on the largest block below 32 MiB that was ever
    freed, and the data of a real training are larger. Make the float images of a benchmark larger, too.
    """
    counts = [min(64, count - start) for start in range(0, count, 64)]
    return torch.cat([F.interpolate(torch.rand(each, channels, 4, 4), size=size, mode="bilinear") for each in counts])
