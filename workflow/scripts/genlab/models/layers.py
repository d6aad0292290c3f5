"""Convolutions of special shapes, each computed in fewer or faster steps than `torch.nn.Conv2d` would take.

Every layer is a plain one's equal: parameters of the same names and shapes, values and gradients equal but
for rounding. Inputs and outputs are (M, channels, height, width), channels last in memory.
"""

import torch
import torch.nn.functional as F
from torch import nn
from torch.autograd.function import once_differentiable


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
        taps = self.weight.flip(2, 3).permute(2, 3, 0, 1).reshape(-1, self.in_channels)  # rows: (i, j, o)
        y = F.linear(x.flatten(1), taps, self.bias.repeat(k * k))
        return y.view(-1, k, k, self.out_channels).permute(0, 3, 1, 2)


class LinearToMaps(nn.Linear):
    """`nn.Linear` without bias onto maps of n x n pixels: (M, in) -> (M, O, n, n)."""

    def __init__(self, in_features, out_channels, size):
        super().__init__(in_features, size**2 * out_channels, bias=False)
        self.size = size

    def forward(self, x):
        return super().forward(x).view(len(x), self.size, self.size, -1).permute(0, 3, 1, 2)


class ELU(nn.Module):
    """`nn.ELU` from exp, which is faster than expm1 and as good here; the gradient is taken from the result."""

    def forward(self, x):
        return _ELU.apply(x)


def _elu(x):
    # exp(x) - 1 loses the small differences to 1, in bfloat16 all of them.
    below = x.clamp(max=0).to(torch.promote_types(x.dtype, torch.float32)).exp_().sub_(1)
    return torch.maximum(x, below.to(x.dtype))  # exp(x) - 1 >= x


class _ELU(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        y = _elu(x)
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx, grad):
        return torch.ops.aten.elu_backward(grad, 1, 1, 1, True, *ctx.saved_tensors)


class BinaryStem(nn.Conv2d):
    """A 3x3 `Conv2d` of one channel, ELU, and average pooling by 2: (M, 1, n, n) -> (M, O, n/2 - 1, n/2 - 1), n even.

    A 3x3 patch of a black and white image is one of 512. On the CPU what each gives is therefore computed
    once and looked up; images with other values, or that want a gradient, take the plain way.
    """

    def __init__(self, out_channels):
        super().__init__(1, out_channels, 3)
        patches = torch.arange(512)[:, None] >> torch.arange(9) & 1
        patches = F.pad(patches, (0, 1), value=1)  # and the bias's one: (512, 10)
        self.register_buffer("patches", patches.float(), persistent=False)

    def forward(self, x):
        if x.is_cuda or x.requires_grad or not (x * x == x).all():
            return F.avg_pool2d(F.elu(super().forward(x)), 2)
        weight = torch.cat([self.weight.flatten(1), self.bias[:, None]], 1)
        return _BinaryStem.apply(x, self.patches, weight)


class _BinaryStem(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, patches, weight):
        x = x[:, 0].int()
        across = x[:, :, :-2] + 2 * x[:, :, 1:-1] + 4 * x[:, :, 2:]
        number = across[:, :-2] + 8 * across[:, 1:-1] + 64 * across[:, 2:]  # of each pixel's patch
        corners = [number[:, i::2, j::2].flatten() for i in (0, 1) for j in (0, 1)]  # of what is pooled
        table = _elu(F.linear(patches, weight))
        ctx.save_for_backward(patches, table, *corners)
        table = 0.25 * table
        y = table.index_select(0, corners[0])
        for corner in corners[1:]:
            y += table.index_select(0, corner)
        return y.view(len(x), x.shape[1] // 2 - 1, -1, len(weight)).permute(0, 3, 1, 2)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        patches, table, *corners = ctx.saved_tensors
        slopes = torch.where(table > 0, 0.25, 0.25 * (table + 1))  # of ELU and of the pooling
        grad, ones = grad.permute(0, 2, 3, 1).flatten(0, 2), patches.to(grad.dtype)
        # A product with ten rows and its transpose, for one with ten columns takes several times as long.
        products = (ones.index_select(0, corner).T @ (slopes.index_select(0, corner) * grad) for corner in corners)
        return None, None, sum(product.to(patches.dtype) for product in products).T


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
        y = _Product.apply(self.columns.to(y.dtype), y, self.bias.to(y.dtype))
        return y.view(count, wide, wide, -1).permute(0, 3, 1, 2)


class _Product(torch.autograd.Function):
    """A matrix (m, k) times each of x (B, k, n), plus a bias (n,); torch's own gradient copies bfloat16 matrices."""

    @staticmethod
    def forward(ctx, matrix, x, bias):
        ctx.save_for_backward(matrix)
        return torch.baddbmm(bias, matrix.expand(len(x), -1, -1), x)

    @staticmethod
    def backward(ctx, grad):
        (matrix,) = ctx.saved_tensors
        return None, torch.bmm(matrix.T.contiguous().expand(len(grad), -1, -1), grad), grad.sum((0, 1))


class SingleConv2d(nn.Conv2d):
    """`Conv2d` of kernel 3, padding 2 and one output channel: (M, C, n, n) -> (M, 1, n+2, n+2).

    A convolution pads its channels to as many as the processor's registers hold. Here the kernel's columns are three,
    convolved along the rows, and what they give is shifted and added by one matrix. In the weights' own numbers:
    convolutions with few channels have slow gradients in bfloat16.
    """

    def __init__(self, in_channels, size):
        super().__init__(in_channels, 1, 3, padding=2)
        shifts = F.pad(torch.eye(size), (2, 2))  # (n, n + 4)
        shifts = torch.stack([shifts[:, shift : shift + size + 2] for shift in range(3)], 1)  # (n, 3, n + 2)
        self.register_buffer("shifts", shifts.flatten(0, 1).T.contiguous(), persistent=False)

    def forward(self, x):
        with torch.autocast(x.device.type, enabled=False):
            y = F.conv2d(x.to(self.weight.dtype), self.weight.permute(3, 1, 2, 0), padding=(2, 0))  # (M, 3, n + 2, n)
            return (F.linear(y.permute(0, 2, 3, 1).flatten(2), self.shifts) + self.bias)[:, None]
