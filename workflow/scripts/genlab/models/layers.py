"""Faster versions of layers with special shapes, and `accelerate`, which swaps them into a network.

Each fast layer equals a plain one: it has the same parameters under the same names, and its values and gradients are
equal up to rounding. `fast_on` names the types of device where it is faster (measured: docs/performance.md and
docs/gpu.md); elsewhere it computes like the plain one. Inputs and outputs are (M, channels, height, width), channels
last in memory.
"""

import copy

import torch
import torch.nn.functional as F
from torch import nn
from torch.autograd.function import once_differentiable


def accelerate(network, *shape):
    """Replace a network's layers by their fast versions, and return the network.

    Parameters stay the same objects under the same names, and no random numbers are drawn. Only layers inside an
    `nn.Sequential` are replaced.

    shape: of one input, as in `accelerate(encoder, 1, 28, 28)`. Without it only activations are replaced. A network on
    the meta device, of which only names and shapes are wanted, stays as it is.
    """
    if next(network.parameters()).is_meta:
        return network
    sizes = _input_sizes(network, shape) if shape else {}
    for path, part in list(network.named_modules()):
        if isinstance(part, nn.Sequential):
            prefix = f"{path}." if path else ""
            here = {name: sizes.get(prefix + name) for name in part._modules}
            fast = list(_fast_layers(list(part._modules.items()), here))
            part._modules.clear()
            part._modules.update(fast)
    return network.to(next(network.parameters()).device)  # moves the buffers of the new layers


def _input_sizes(network, shape):
    """{path of each convolution or upsampling: rows of its input} for an input (1, *shape)."""
    sizes, network = {}, copy.deepcopy(network).eval()
    for path, layer in network.named_modules():
        if isinstance(layer, nn.Conv2d | nn.Upsample):
            layer.register_forward_pre_hook(lambda _, args, path=path: sizes.update({path: args[0].shape[-1]}))
    with torch.no_grad():
        network(torch.zeros(1, *shape, device=next(network.parameters()).device))
    return sizes


def _fast_layers(layers, sizes):
    """Yield the (name, layer) that replace a sequence of (name, layer). sizes: {name: rows of its input}."""
    while layers:
        (name, _), size = layers[0], sizes[layers[0][0]]
        match [layer for _, layer in layers]:
            case [nn.ELU(), *_]:
                used, fast = 1, ELU()
            case [nn.UpsamplingBilinear2d(), nn.Conv2d(kernel_size=(3, 3), padding=(2, 2)) as layer, *_]:
                used, name = 2, layers[1][0]
                fast = UpsampledConv2d(layer, sizes[name] // 2)
            case [first, *_] if not size:  # another layer, or size unknown
                used, fast = 1, first
            case [nn.Upsample(mode="bilinear") as layer, *_]:
                used, fast = 1, BilinearUpsample(layer, size)
            case [nn.Conv2d(in_channels=1, kernel_size=(3, 3), padding=(0, 0)) as layer, nn.ELU(), nn.AvgPool2d(), *_]:
                used, fast = 3, BinaryStem(layer)
            case [nn.Conv2d(out_channels=1, kernel_size=(3, 3), padding=(2, 2)) as layer, *_]:
                used, fast = 1, SingleConv2d(layer, size)
            case [nn.Conv2d(kernel_size=(k, _), padding=(0, 0)) as layer, *_] if size == k:
                used, fast = 1, CollapsingConv2d(layer)
            case [nn.Conv2d(kernel_size=(k, _), padding=(p, _)) as layer, *_] if size == 1 and p == k - 1:
                used, fast = 1, ExpandingConv2d(layer)
            case [first, *_]:
                used, fast = 1, first
        yield name, fast
        layers = layers[used:]


class FastConv2d(nn.Conv2d):
    """Replaces the convolution `plain` and takes over its parameters.

    `fast(x)` is the subclass's own computation; `plain(x)` is torch's, used on devices that are not in `fast_on`.
    """

    fast_on = ("cpu",)

    def __init__(self, plain):
        nn.Module.__init__(self)
        vars(self).update(vars(plain))

    def forward(self, x):
        return self.fast(x) if x.device.type in self.fast_on else self.plain(x)

    def plain(self, x):
        return super().forward(x)


class CollapsingConv2d(FastConv2d):
    """`Conv2d` whose kernel covers its whole input: (M, C, k, k) -> (M, O, 1, 1)."""

    fast_on = ("cpu", "cuda")

    def fast(self, x):
        # Channels last on both sides, as in memory: nothing is copied.
        x, weight = (tensor.permute(0, 2, 3, 1).flatten(1) for tensor in (x, self.weight))
        return F.linear(x, weight, self.bias)[:, :, None, None]


class ExpandingConv2d(FastConv2d):
    """`Conv2d` of kernel k and padding k-1 on a 1x1 input: (M, C, 1, 1) -> (M, O, k, k).

    Each output pixel sees the one input pixel through one tap of the flipped kernel.
    """

    fast_on = ("cpu", "cuda")

    def fast(self, x):
        k = self.kernel_size[0]
        taps = self.weight.flip(2, 3).permute(2, 3, 0, 1).reshape(-1, self.in_channels)  # rows: (i, j, o)
        y = F.linear(x.flatten(1), taps, self.bias.repeat(k * k))
        return y.view(-1, k, k, self.out_channels).permute(0, 3, 1, 2)


class ELU(nn.Module):
    """`nn.ELU` by exp, which is faster than expm1 and good enough here. The gradient is computed from the result."""

    fast_on = ("cpu",)

    def forward(self, x):
        return _ELU.apply(x) if x.device.type in self.fast_on else F.elu(x)


class BilinearUpsample(nn.Module):
    """The bilinear `nn.Upsample` `plain` of n x n maps, as products with one matrix for rows and columns.

    Torch's own on a GPU adds up gradients in no fixed order, so runs do not repeat bit for bit. Its deterministic
    mode is slow.
    """

    fast_on = ("cuda",)

    def __init__(self, plain, size):
        super().__init__()
        self.plain = plain
        rows = torch.eye(size)[None]
        up = F.interpolate(rows, scale_factor=plain.scale_factor, mode="linear", align_corners=plain.align_corners)
        self.register_buffer("matrix", up[0].T.contiguous(), persistent=False)

    def forward(self, x):
        if x.device.type not in self.fast_on:
            return self.plain(x)
        matrix = self.matrix.to(x.dtype)
        return matrix @ x @ matrix.T


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


class BinaryStem(FastConv2d):
    """A 3x3 `Conv2d` of one channel, ELU, and average pooling by 2: (M, 1, n, n) -> (M, O, n/2 - 1, n/2 - 1), n even.

    A 3x3 patch of a black and white image is one of 512, so the result for each is computed once and looked up.
    Images with other values, or that need a gradient, use the plain layers.
    """

    def __init__(self, plain):
        super().__init__(plain)
        patches = torch.arange(512)[:, None] >> torch.arange(9) & 1
        patches = F.pad(patches, (0, 1), value=1)  # and a 1 for the bias: (512, 10)
        self.register_buffer("patches", patches.float(), persistent=False)

    def plain(self, x):
        return F.avg_pool2d(F.elu(super().plain(x)), 2)

    def fast(self, x):
        if x.requires_grad or not (x * x == x).all():
            return self.plain(x)
        weight = torch.cat([self.weight.flatten(1), self.bias[:, None]], 1)
        return _BinaryStem.apply(x, self.patches, weight)


class _BinaryStem(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, patches, weight):
        x = x[:, 0].int()
        across = x[:, :, :-2] + 2 * x[:, :, 1:-1] + 4 * x[:, :, 2:]
        number = across[:, :-2] + 8 * across[:, 1:-1] + 64 * across[:, 2:]  # of the patch around each pixel
        corners = [number[:, i::2, j::2].flatten() for i in (0, 1) for j in (0, 1)]  # the four that are pooled together
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
        slopes = torch.where(table > 0, 0.25, 0.25 * (table + 1))  # derivative of ELU and pooling
        grad, ones = grad.permute(0, 2, 3, 1).flatten(0, 2), patches.to(grad.dtype)
        # A product with ten rows, transposed: a product with ten columns takes several times as long.
        products = (ones.index_select(0, corner).T @ (slopes.index_select(0, corner) * grad) for corner in corners)
        return None, None, sum(product.to(patches.dtype) for product in products).T


class UpsampledConv2d(FastConv2d):
    """Bilinear upsampling to twice the size, then a 3x3 `Conv2d` with padding 2: (M, C, n, n) -> (M, O, 2n+2, 2n+2).

    Both are linear, and the upsampling is the same matrix for rows and columns. So channels can be mixed while there
    are half as many columns: rows are upsampled and convolved, then one matrix does the columns' upsampling and the
    kernel's shifts. On a GPU it is used for the reason given in `BilinearUpsample`.
    """

    fast_on = ("cpu", "cuda")

    def __init__(self, plain, size):
        super().__init__(plain)
        up = F.interpolate(torch.eye(size)[None], scale_factor=2, mode="linear", align_corners=True)[0].T
        rows = F.pad(up, (0, 0, 2, 2))  # (2 n + 4, n)
        columns = torch.stack([rows[shift : shift + 2 * size + 2] for shift in range(3)], 2)  # (2 n + 2, n, 3)
        self.register_buffer("rows", rows.contiguous(), persistent=False)
        self.register_buffer("columns", columns.flatten(1).contiguous(), persistent=False)

    def plain(self, x):
        return super().plain(F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=True))

    def fast(self, x):
        (count, channels, size, _), wide = x.shape, len(self.columns)
        x = torch.bmm(self.rows.to(x.dtype).expand(count, -1, -1), x.permute(0, 2, 3, 1).reshape(count, size, -1))
        x = x.view(count, -1, size, channels).permute(0, 3, 1, 2)
        # One output channel per column of the kernel: (3 O, C, 3, 1).
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


class SingleConv2d(FastConv2d):
    """`Conv2d` of kernel 3, padding 2 and one output channel: (M, C, n, n) -> (M, 1, n+2, n+2).

    A convolution pads its channels to the width of the processor's registers. Here the kernel's three columns are
    three output channels, convolved along the rows; one matrix then shifts and adds them. It computes in the type of
    the weights, because convolutions with few channels have slow gradients in bfloat16.
    """

    def __init__(self, plain, size):
        super().__init__(plain)
        shifts = F.pad(torch.eye(size), (2, 2))  # (n, n + 4)
        shifts = torch.stack([shifts[:, shift : shift + size + 2] for shift in range(3)], 1)  # (n, 3, n + 2)
        self.register_buffer("shifts", shifts.flatten(0, 1).T.contiguous(), persistent=False)

    def fast(self, x):
        with torch.autocast(x.device.type, enabled=False):
            y = F.conv2d(x.to(self.weight.dtype), self.weight.permute(3, 1, 2, 0), padding=(2, 0))  # (M, 3, n + 2, n)
            return (F.linear(y.permute(0, 2, 3, 1).flatten(2), self.shifts) + self.bias)[:, None]
