"""Networks of one's own for images: a small generator, critic and encoder. The contract is in docs/own_models.md."""

from torch import nn


class Generator(nn.Module):
    """Latents (M, latents) -> images (M, 3, 32, 32) in [-1, 1]."""

    def __init__(self, latents):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(latents, 64 * 8 * 8),
            nn.ReLU(),
            nn.Unflatten(1, (64, 8, 8)),
            nn.Conv2d(64, 4 * 32, 3, padding=1),
            nn.PixelShuffle(2),
            nn.ReLU(),
            nn.Conv2d(32, 4 * 3, 3, padding=1),
            nn.PixelShuffle(2),
            nn.Tanh(),
        )

    def forward(self, z):
        return self.layers(z)


class Critic(nn.Module):
    """Images (M, 3, 32, 32) -> scores (M,). No batch normalisation: each image is scored alone."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(
            nn.PixelUnshuffle(2),
            nn.Conv2d(12, 32, 3, padding=1),
            nn.LeakyReLU(0.2),
            nn.PixelUnshuffle(2),
            nn.Conv2d(128, 64, 3, padding=1),
            nn.LeakyReLU(0.2),
            nn.Flatten(),
            nn.Linear(64 * 8 * 8, 1),
        )

    def forward(self, x):
        return self.layers(x)[:, 0]


class Encoder(nn.Module):
    """Images (M, 3, 32, 32) -> (M, 2 latents): means, then log-variances of q(z|x)."""

    def __init__(self, latents):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(3, 32, 4, stride=2, padding=1),
            nn.LeakyReLU(0.2),
            nn.Conv2d(32, 64, 4, stride=2, padding=1),
            nn.LeakyReLU(0.2),
            nn.Flatten(),
            nn.Linear(64 * 8 * 8, 2 * latents),
        )

    def forward(self, x):
        return self.layers(x)


def dense(latents):
    """Encoder and decoder of binary digits, without a convolution."""
    encoder = nn.Sequential(nn.Flatten(), nn.Linear(784, 200), nn.Tanh(), nn.Linear(200, 2 * latents))
    decoder = nn.Sequential(nn.Linear(latents, 200), nn.Tanh(), nn.Linear(200, 784), nn.Unflatten(1, (1, 28, 28)))
    return encoder, decoder
