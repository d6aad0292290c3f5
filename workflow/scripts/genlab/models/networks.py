"""The architectures for colour images, as plain torch modules.

Nothing here knows about data, losses or training, and nothing is optimised for speed: `layers.accelerate` replaces
layers by their fast versions.
"""

import torch
import torch.nn.functional as F
from torch import nn


class LinearToMaps(nn.Linear):
    """`nn.Linear` without bias to maps of n x n pixels, channels last in memory: (M, in) -> (M, O, n, n)."""

    def __init__(self, in_features, out_channels, size):
        super().__init__(in_features, size**2 * out_channels, bias=False)
        self.size = size

    def forward(self, x):
        return super().forward(x).view(len(x), self.size, self.size, -1).permute(0, 3, 1, 2)


class Generator(nn.Module):
    """Latents (M, latents) -> colour images (M, 3, 32, 32) in [-1, 1]: the one generator of VAE and WGAN-GP.

    The shape of DCGAN (Radford et al. 2016): maps of 4, 8, 16 and 32 pixels, `width` channels at 32 and twice
    as many at each smaller size. A last 3x3 convolution smooths the checkerboard of the transposed convolutions.
    A coarse image straight from the 4x4 map is added: through the deep path alone a VAE learns global, faint
    properties such as colour slowly. It has batch normalisation, so evaluate it in eval mode.

    outputs: channels of the last layer; other than 3 they are the parameters of a likelihood, any real numbers.
    """

    def __init__(self, latents, width, outputs=3):
        def up(channels):
            return [
                nn.ConvTranspose2d(2 * channels, channels, 4, stride=2, padding=1, bias=False),
                nn.BatchNorm2d(channels),
                nn.ReLU(inplace=True),
            ]

        super().__init__()
        self.latents, self.width, self.outputs = latents, width, outputs
        self.project = nn.Sequential(
            LinearToMaps(latents, 8 * width, 4),
            nn.BatchNorm2d(8 * width),
            nn.ReLU(inplace=True),
        )
        self.coarse = nn.Sequential(
            nn.Conv2d(8 * width, outputs, 1, bias=False), nn.Upsample(scale_factor=8, mode="bilinear")
        )
        self.fine = nn.Sequential(*up(4 * width), *up(2 * width), *up(width), nn.Conv2d(width, outputs, 3, padding=1))
        self.to(memory_format=torch.channels_last)

    def forward(self, z):
        maps = self.project(z)
        return self.finish(self.coarse(maps) + self.fine(maps))

    def finish(self, maps):
        """Images of the last layer's maps, or these as they are if they are parameters."""
        return torch.tanh(maps) if self.outputs == 3 else maps


class ModulatedGenerator(Generator):
    """A `Generator` in which the latents enter again at every resolution: they scale the channels after each ReLU.

    The factor of a channel is 1 + a linear function of the latents, close to Chen et al. (2019, self-modulation).
    """

    def __init__(self, latents, width, outputs=3):
        super().__init__(latents, width, outputs)
        self.scales = nn.ModuleList(nn.Linear(latents, channels * width) for channels in (8, 4, 2, 1))
        for layer in self.scales:
            nn.init.normal_(layer.weight, std=0.3 / latents**0.5)  # factors of 1 +- 0.3 before training
            nn.init.zeros_(layer.bias)

    def forward(self, z):
        first, *scales = ((1 + layer(z))[:, :, None, None] for layer in self.scales)
        maps = first * self.project(z)
        coarse = self.coarse(maps)
        for layer in self.fine:
            maps = layer(maps)
            if isinstance(layer, nn.ReLU):
                maps = scales.pop(0) * maps
        return self.finish(coarse + maps)


GENERATORS = {"plain": Generator, "modulated": ModulatedGenerator}


class Critic(nn.Sequential):
    """Images (M, 3, 32, 32) in [-1, 1] -> scores (M,), any real number; the mirror of `Generator`.

    No batch normalisation: the gradient penalty is defined for each image alone, and batch normalisation
    would make it depend on the others (Gulrajani et al. 2017, section 4).
    """

    def __init__(self, width):
        def down(channels):
            return [nn.Conv2d(channels // 2, channels, 4, stride=2, padding=1), nn.LeakyReLU(0.2, inplace=True)]

        super().__init__(
            nn.Conv2d(3, width, 3, padding=1),
            nn.LeakyReLU(0.2, inplace=True),
            *down(2 * width),
            *down(4 * width),
            *down(8 * width),
            nn.Conv2d(8 * width, 1, 4),
            nn.Flatten(0),
        )
        self.to(memory_format=torch.channels_last)

    def input_gradients(self, x):
        """Gradient of each image's score with respect to the image, differentiable in the weights: (M, 3, 32, 32).

        The critic is linear between the kinks of its LeakyReLU. So its gradient is a pass through the same layers,
        transposed, with slopes that do not depend on the weights. This is cheaper than double backward.
        """
        *body, last, _ = self
        numbers, outputs, convolutions = x.dtype, [], body[::2]
        with torch.no_grad():
            for convolution, kink in zip(convolutions, body[1::2], strict=True):
                x = kink(convolution(x))
                outputs.append(x)
        gradient = last.weight.to(x.dtype).expand_as(x)
        for convolution, kink, x in zip(convolutions[::-1], body[::-2], outputs[::-1], strict=True):
            gradient = gradient.contiguous(memory_format=torch.channels_last)
            gradient = torch.ops.aten.leaky_relu_backward(gradient, x, kink.negative_slope, True)
            gradient = F.conv_transpose2d(
                gradient, convolution.weight, stride=convolution.stride, padding=convolution.padding
            )
        return gradient.to(numbers)


class GroupCritic(nn.Module):
    """A `Critic` that also sees how much images differ, against generators of little variety (Karras et al. 2018).

    Images are taken in groups of `group`, in their order; the last one may be smaller. The standard deviation over a
    group, averaged over channels and pixels, is one more map at 4 pixels for the last layer. So an image's score
    depends on the others of its group: give real and generated images apart.
    """

    def __init__(self, width, group):
        super().__init__()
        *body, _, flatten = Critic(width)
        self.group, self.body = group, nn.Sequential(*body)
        self.last = nn.Sequential(nn.Conv2d(8 * width + 1, 1, 4), flatten)
        self.to(memory_format=torch.channels_last)

    def forward(self, x):
        maps = self.body(x)
        whole = len(maps) // self.group * self.group
        groups = maps[:whole].unflatten(0, (-1, self.group)), maps[whole:][None]
        spread = torch.cat([self.spread(each) for each in groups if each.numel()])
        return self.last(torch.cat([maps, spread.to(maps.dtype)[:, None, None, None].expand(-1, 1, 4, 4)], 1))

    @staticmethod
    def spread(groups):
        """The mean standard deviation of each group of maps (G, N, C, 4, 4), for each of its images: (G N,)."""
        deviation = (groups.float().var(1, correction=0) + 1e-8).sqrt()  # a root of 0 has no gradient
        return deviation.mean((1, 2, 3)).repeat_interleave(groups.shape[1])


class Encoder(nn.Sequential):
    """Images (M, 3, 32, 32) in [-1, 1] -> (M, 2 latents), posterior means, then log-variances."""

    def __init__(self, latents, width):
        def down(channels):
            return [
                nn.Conv2d(channels // 2, channels, 4, stride=2, padding=1, bias=False),
                nn.BatchNorm2d(channels),
                nn.LeakyReLU(0.2, inplace=True),
            ]

        super().__init__(
            nn.Conv2d(3, width, 3, padding=1),
            nn.LeakyReLU(0.2, inplace=True),
            *down(2 * width),
            *down(4 * width),
            *down(8 * width),
            nn.Conv2d(8 * width, 2 * latents, 4),
            nn.Flatten(),
        )
        self.to(memory_format=torch.channels_last)


class FeatureClassifier(nn.Module):
    """The course's classifier of colour digits: images (M, 3, 32, 32) in [-1, 1] -> logits (M, classes).

    Of ten classes, class i is digit i.

    `features` gives the 512 numbers after the last convolution. The Frechet distance is taken on them.
    Module names are those in the course's weights.
    """

    def __init__(self, classes=10):
        super().__init__()

        def pair(a, b, c):
            return [
                nn.Conv2d(a, b, 3, padding=1),
                nn.ELU(),
                nn.Dropout2d(0.1),
                nn.Conv2d(b, c, 3, padding=1),
                nn.ELU(),
                nn.Dropout2d(0.1),
                nn.MaxPool2d(2),
            ]

        self.conv_stack = nn.Sequential(*pair(3, 8, 16), *pair(16, 16, 32), *pair(32, 64, 128), nn.Conv2d(128, 512, 2))
        self.mlp = nn.Sequential(nn.ELU(), nn.Dropout(0.5), nn.Linear(512, classes))
        self.to(memory_format=torch.channels_last)

    def features(self, x):
        """(M, 3, 32, 32) -> (M, 512), the last convolution at its first position, as the course reads it.

        The other eight of its 3 x 3 positions were never trained, so they are not computed, nor is anything that
        only they need.
        """
        # The rows and columns of its input that each convolution needs for the first position of the last one, and one
        # more: where the image is cut off, padding replaces that one.
        needed = {0: 30, 3: 29, 7: 14, 10: 13, 14: 6, 17: 5, 21: 2}
        layers = list(self.conv_stack)
        if not self.training:
            # Pooling takes the maximum and ELU is monotonic: pool first, and three quarters need no ELU.
            for index in range(6, len(layers), 7):
                layers[index - 2], layers[index] = layers[index], layers[index - 2]
        for index, layer in enumerate(layers):
            if size := needed.get(index):
                x = x[:, :, :size, :size]
            x = layer(x)
        return x[:, :, 0, 0]

    def forward(self, x):
        return self.mlp(self.features(x))
