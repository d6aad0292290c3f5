"""The Frechet distance of a generator's samples to validation images, measured during training on its device."""

import torch

from ..measures import frechet
from . import classifier

BATCH = 500  # images at a time


class FrechetMonitor:
    """Measures Frechet distances to `images` uint8 (N, 3, 32, 32) on features of `network`, which is in eval mode.

    On a GPU everything is computed there, in float64; on the CPU by `frechet.frechet_distance`. The two agree to about
    1e-6 relative. If there are fewer images than features, some eigenvalues should be 0; rounding makes them differ.
    """

    def __init__(self, network, images):
        self.network, self.on_gpu = network, images.is_cuda
        if self.on_gpu:
            self.mean, self.covariance = self._moments(images)
            values, vectors = torch.linalg.eigh(self.covariance)
            self.root = vectors * values.clamp(min=0).sqrt() @ vectors.T
        else:
            self.reference = self._cpu_moments(images)

    def distance(self, images):
        """The distance of images uint8 (M, 3, 32, 32) on any device to the reference images."""
        if not self.on_gpu:
            moments, reference = self._cpu_moments(images), self.reference
            return frechet.frechet_distance(moments.mean, moments.covariance, reference.mean, reference.covariance)
        mean, covariance = self._moments(images)
        # Tr (S_p S_q)^(1/2), whose eigenvalues are those of the symmetric S_q^(1/2) S_p S_q^(1/2).
        values = torch.linalg.eigvalsh(self.root @ covariance @ self.root)
        cross = values.clamp(min=0).sqrt().sum()
        squared = (mean - self.mean).square().sum()
        return float(squared + covariance.trace() + self.covariance.trace() - 2 * cross)

    def _moments(self, images):
        """Mean (D,) and covariance (D, D) of the features, float64 on the network's device."""
        features = torch.cat([classifier.features(self.network, part) for part in images.split(BATCH)]).double()
        mean = features.mean(0)
        features -= mean
        return mean, features.T @ features / (len(features) - 1)

    def _cpu_moments(self, images):
        moments = frechet.Moments()
        for batch, _ in classifier.feature_batches(self.network, images.split(BATCH)):
            moments.update(batch)
        return moments
