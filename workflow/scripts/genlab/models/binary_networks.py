"""The architectures for binary images, as plain torch modules: (encoder, decoder) of a VAE.

Nothing here is optimised for speed: `layers.accelerate` replaces layers by their fast versions.
"""

from torch import nn

from .networks import LinearToMaps


class Residual(nn.Module):
    """Pre-activation residual block of two 3x3 convolutions (He et al. 2016), width unchanged.

    dropout  dropout probability between them (Zagoruyko & Komodakis 2016)
    """

    def __init__(self, width, dropout=0.0):
        super().__init__()
        self.body = nn.Sequential(
            nn.GroupNorm(8, width),
            nn.SiLU(),
            nn.Conv2d(width, width, 3, padding=1),
            nn.GroupNorm(8, width),
            nn.SiLU(),
            nn.Conv2d(width, width, 3, padding=1),
        )
        self.dropout = nn.Dropout(dropout)
        nn.init.zeros_(self.body[-1].weight)  # every block starts as the identity
        nn.init.zeros_(self.body[-1].bias)

    def forward(self, x):
        *first, last = self.body  # not within it: the weights have the same names with and without dropout
        inner = x
        for layer in first:
            inner = layer(inner)
        return x + last(self.dropout(inner))


class Bottleneck(nn.Module):
    """Residual block of two 3x3 convolutions between 1x1 ones that halve the channels and double them again.

    The order is that of Child (2021, "Very deep VAEs"). At the same width it takes less than a third of the operations
    of `Residual`.
    """

    def __init__(self, width):
        super().__init__()
        inner = width // 2
        self.body = nn.Sequential(
            nn.GroupNorm(8, width),
            nn.SiLU(),
            nn.Conv2d(width, inner, 1),
            nn.SiLU(),
            nn.Conv2d(inner, inner, 3, padding=1),
            nn.SiLU(),
            nn.Conv2d(inner, inner, 3, padding=1),
            nn.SiLU(),
            nn.Conv2d(inner, width, 1),
        )
        nn.init.zeros_(self.body[-1].weight)  # every block starts as the identity
        nn.init.zeros_(self.body[-1].bias)

    def forward(self, x):
        return x + self.body(x)


def suggested_binary_vae(latents):
    """Encoder (M, 1, 28, 28) -> (M, 2 latents) and decoder (M, latents) -> logits (M, 1, 28, 28).

    The assignment's suggested architecture: convolutions with ELU, average pooling in the
    encoder, bilinear upsampling in the decoder. 938,825 parameters with 100 latents.
    """
    encoder = nn.Sequential(
        nn.Conv2d(1, 32, 3),
        nn.ELU(),
        nn.AvgPool2d(2),
        nn.Conv2d(32, 64, 3),
        nn.ELU(),
        nn.AvgPool2d(2),
        nn.Conv2d(64, 256, 5),
        nn.ELU(),
        nn.Flatten(),
        nn.Linear(256, 2 * latents),
    )
    decoder = nn.Sequential(
        nn.Linear(latents, 256),
        nn.ELU(),
        nn.Unflatten(1, (256, 1, 1)),
        nn.Conv2d(256, 64, 5, padding=4),
        nn.ELU(),
        nn.UpsamplingBilinear2d(scale_factor=2),
        nn.Conv2d(64, 32, 3, padding=2),
        nn.ELU(),
        nn.UpsamplingBilinear2d(scale_factor=2),
        nn.Conv2d(32, 16, 3, padding=2),
        nn.ELU(),
        nn.Conv2d(16, 1, 3, padding=2),
    )
    return encoder, decoder


def residual_binary_vae(latents, width=32, dropout=0.0):
    """Encoder and decoder of the same shapes as `suggested_binary_vae`, from residual blocks at 28, 14 and 7 pixels.

    width: channels at 28 pixels, twice as many at 14 and 7.
    """
    wide, wider = width, 2 * width
    encoder = nn.Sequential(
        nn.Conv2d(1, wide, 3, padding=1),
        Residual(wide, dropout),
        nn.Conv2d(wide, wider, 4, stride=2, padding=1),
        Residual(wider, dropout),
        Residual(wider, dropout),
        nn.Conv2d(wider, wider, 4, stride=2, padding=1),
        Residual(wider, dropout),
        Residual(wider, dropout),
        nn.SiLU(),
        nn.Conv2d(wider, 256, 7),
        nn.SiLU(),
        nn.Flatten(),
        nn.Linear(256, 2 * latents),
    )
    decoder = nn.Sequential(
        nn.Linear(latents, 256),
        nn.SiLU(),
        nn.Unflatten(1, (256, 1, 1)),
        nn.Conv2d(256, wider, 7, padding=6),
        Residual(wider, dropout),
        Residual(wider, dropout),
        nn.ConvTranspose2d(wider, wider, 4, stride=2, padding=1),
        Residual(wider, dropout),
        Residual(wider, dropout),
        nn.ConvTranspose2d(wider, wide, 4, stride=2, padding=1),
        Residual(wide, dropout),
        nn.SiLU(),
        nn.Conv2d(wide, 1, 3, padding=1),
    )
    return encoder, decoder


def bottleneck_binary_vae(latents, width=32):
    """Encoder and decoder of the same shapes, from three bottleneck blocks at 14 and at 7 pixels in each.

    Nearly nothing is computed at 28 pixels, so an update takes little more than half the time of `residual_binary_vae`.
    width: channels where the latents meet the maps of 7 pixels; twice as many at 14 pixels and four times at 7.
    """
    wide, wider = 2 * width, 4 * width
    encoder = nn.Sequential(
        nn.Conv2d(1, wide, 6, stride=2, padding=2),
        *(Bottleneck(wide) for _ in range(3)),
        nn.PixelUnshuffle(2),
        nn.Conv2d(4 * wide, wider, 1),
        *(Bottleneck(wider) for _ in range(3)),
        nn.SiLU(),
        nn.Conv2d(wider, width, 1),
        nn.SiLU(),
        nn.Flatten(),
        nn.Linear(49 * width, 256),
        nn.SiLU(),
        nn.Linear(256, 2 * latents),
    )
    decoder = nn.Sequential(
        nn.Linear(latents, 256),
        nn.SiLU(),
        LinearToMaps(256, width, 7),
        nn.SiLU(),
        nn.Conv2d(width, wider, 1),
        *(Bottleneck(wider) for _ in range(3)),
        nn.Conv2d(wider, 4 * wide, 1),
        nn.PixelShuffle(2),
        *(Bottleneck(wide) for _ in range(3)),
        nn.Conv2d(wide, 2 * width, 1),
        nn.PixelShuffle(2),
        nn.SiLU(),
        nn.Conv2d(width // 2, width // 2, 3, padding=1),
        nn.SiLU(),
        nn.Conv2d(width // 2, 1, 3, padding=1),
    )
    return encoder, decoder


BINARY_VAES = {
    "suggested": suggested_binary_vae,
    "residual": residual_binary_vae,
    "bottleneck": bottleneck_binary_vae,
}
