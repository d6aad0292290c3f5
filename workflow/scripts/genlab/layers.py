"""Convolutions of special shapes, each computed in fewer or faster steps than `torch.nn.Conv2d` would take.

Every layer is a plain one's equal: parameters of the same names and shapes, values and gradients equal but
for rounding. Inputs and outputs are (M, channels, height, width), channels last in memory.
"""

import torch
import torch.nn.functional as F
from torch import nn


class CollapsingConv2d(nn.Conv2d):
    """`Conv2d` whose kernel covers its whole input: (M, C, k, k) -> (M, O, 1, 1)."""

    def forward(self, x):
        # Channels last on both sides, as both lie in memory: nothing is copied.
        x, weight = (tensor.permute(0, 2, 3, 1).flatten(1) for tensor in (x, self.weight))
        return F.linear(x, weight, self.bias)[:, :, None, None]


class ExpandingConv2d(nn.Conv2d):
    """`Conv2d` of kernel k and padding k-1 on a 1x1 input: (M, C, 1, 1) -> (M, O, k, k).

    Each output pixel sees the one input pixel through one tap of the flipped kernel.
    """

    def forward(self, x):
        k = self.kernel_size[0]
        taps = self.weight.permute(0, 2, 3, 1).reshape(-1, self.in_channels)  # rows: (o, i, j)
        y = F.linear(x.flatten(1), taps).view(-1, self.out_channels, k * k).flip(2).mT
        return (y + self.bias.to(y.dtype)).view(-1, k, k, self.out_channels).permute(0, 3, 1, 2)


class BinaryStem(nn.Conv2d):
    """A 3x3 `Conv2d` of one channel, ELU, and average pooling by 2: (M, 1, n, n) -> (M, O, n/2 - 1, n/2 - 1), n even.

    A 3x3 patch of a black and white image is one of 512. On the CPU what each gives is therefore computed
    once and looked up; images with other values, or that want a gradient, take the plain way.
    """

    def __init__(self, out_channels):
        super().__init__(1, out_channels, 3)
        patches = torch.arange(512)[:, None] >> torch.arange(9) & 1
        self.register_buffer("patches", patches.float(), persistent=False)

    def forward(self, x):
        if x.is_cuda or x.requires_grad or not ((x == 0) | (x == 1)).all():
            return F.avg_pool2d(F.elu(super().forward(x)), 2)
        x = x[:, 0].int()
        across = x[:, :, :-2] + 2 * x[:, :, 1:-1] + 4 * x[:, :, 2:]
        number = across[:, :-2] + 8 * across[:, 1:-1] + 64 * across[:, 2:]  # of each patch
        height, width = (size // 2 for size in number.shape[1:])
        number = number.view(-1, height, 2, width, 2).transpose(2, 3).reshape(-1, 4)
        table = F.elu(F.linear(self.patches, self.weight.flatten(1), self.bias)).float()
        y = F.embedding_bag(number, table, mode="mean")
        return y.view(-1, height, width, self.out_channels).permute(0, 3, 1, 2)


class UpsampledConv2d(nn.Conv2d):
    """Bilinear upsampling to twice the size, then a 3x3 `Conv2d` with padding 2: (M, C, n, n) -> (M, O, 2n+2, 2n+2).

    Both are linear and the upsampling is the same matrix for rows and for columns, so channels are mixed where
    there are half as many columns: rows are upsampled and convolved, and one matrix of the upsampling and
    the kernel's shifts then makes the columns.
    """

    def __init__(self, in_channels, out_channels, size):
        super().__init__(in_channels, out_channels, 3, padding=2)
        up = F.interpolate(torch.eye(size)[None], scale_factor=2, mode="linear", align_corners=True)[0].T
        rows = F.pad(up, (0, 0, 2, 2))  # (2 n + 4, n)
        columns = torch.stack([rows[shift : shift + 2 * size + 2] for shift in range(3)], 2)  # (2 n + 2, n, 3)
        self.register_buffer("rows", rows.contiguous(), persistent=False)
        self.register_buffer("columns", columns.flatten(1).contiguous(), persistent=False)

    def forward(self, x):
        (count, channels, size, _), wide = x.shape, len(self.columns)
        x = torch.bmm(self.rows.to(x.dtype).expand(count, -1, -1), x.permute(0, 2, 3, 1).reshape(count, size, -1))
        x = x.view(count, -1, size, channels).permute(0, 3, 1, 2)
        # One output channel for each of the kernel's columns: (3 O, C, 3, 1).
        weight = self.weight.permute(3, 0, 1, 2).reshape(-1, channels, 3, 1)
        y = F.conv2d(x, weight.contiguous(memory_format=torch.channels_last))
        y = y.permute(0, 2, 3, 1).reshape(count * wide, -1, self.out_channels)
        y = torch.baddbmm(self.bias.to(y.dtype), self.columns.to(y.dtype).expand(len(y), -1, -1), y)
        return y.view(count, wide, wide, -1).permute(0, 3, 1, 2)


class ScatteredConv2d(nn.Conv2d):
    """`Conv2d` of kernel k, padding k-1 and one output channel: (M, C, n, n) -> (M, 1, n+k-1, n+k-1).

    Each pixel is multiplied with all taps at once, as if they were k^2 channels, and the products are added where they
    belong: a convolution pads its one channel to as many as the processor's registers hold.
    """

    def forward(self, x):
        k, wide = self.kernel_size[0], x.shape[-1] + self.kernel_size[0] - 1
        taps = self.weight[0].flip(1, 2).flatten(1).T
        return F.fold(F.conv2d(x, taps[:, :, None, None]).flatten(2), wide, k) + self.bias[:, None, None]
