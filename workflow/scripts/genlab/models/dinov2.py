"""DINOv2's vision transformer, read from its published weights: Oquab et al. (2023), arXiv 2304.07193.

Only what gives features is here: no training, no masks, no register tokens, and no giant (its layers differ).
"""

import torch
import torch.nn.functional as F
from torch import nn

PATCH = 14  # pixels on a side
HEAD = 64  # numbers in an attention head, in every published size


class DinoV2(nn.Module):
    """Images (M, 3, H, H), H a multiple of 14 -> the class token after the last layer, (M, `width`).

    grid   side of the trained grid of positions, in patches
    Module names are those in the published weights.
    """

    def __init__(self, width, depth, grid):
        super().__init__()
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + grid**2, width))
        self.mask_token = nn.Parameter(torch.zeros(1, width))  # in the weights, of training alone
        self.patch_embed = nn.ModuleDict({"proj": nn.Conv2d(3, width, PATCH, stride=PATCH)})
        self.blocks = nn.ModuleList([Block(width) for _ in range(depth)])
        self.norm = nn.LayerNorm(width, eps=1e-6)

    def forward(self, x):
        patches = self.patch_embed["proj"](x)
        positions = self._positions(patches.shape[-1])
        tokens = torch.cat([self.cls_token.expand(len(x), -1, -1), patches.flatten(2).transpose(1, 2)], 1)
        tokens = tokens + positions
        for block in self.blocks:
            tokens = block(tokens)
        return self.norm(tokens)[:, 0]

    def _positions(self, side):
        """The positions (1, 1 + side^2, width) of a grid of another side, interpolated as in the published code.

        Its 0.1 keeps rounding from losing a row; it shifts the positions a little, so it belongs to the features.
        """
        first, others = self.pos_embed[:, :1], self.pos_embed[:, 1:]
        trained = round(others.shape[1] ** 0.5)
        if side == trained:
            return self.pos_embed
        others = others.unflatten(1, (trained, trained)).permute(0, 3, 1, 2)
        others = F.interpolate(others, scale_factor=((side + 0.1) / trained,) * 2, mode="bicubic")
        return torch.cat([first, others.flatten(2).transpose(1, 2)], 1)


class Block(nn.Module):
    """One layer of the transformer: attention and a perceptron, each normalised before, scaled and added after."""

    def __init__(self, width):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width, eps=1e-6), nn.LayerNorm(width, eps=1e-6)
        self.attn = nn.ModuleDict({"qkv": nn.Linear(width, 3 * width), "proj": nn.Linear(width, width)})
        self.mlp = nn.ModuleDict({"fc1": nn.Linear(width, 4 * width), "fc2": nn.Linear(4 * width, width)})
        self.ls1, self.ls2 = (nn.ParameterDict({"gamma": nn.Parameter(torch.ones(width))}) for _ in range(2))

    def forward(self, tokens):
        heads = self.attn["qkv"](self.norm1(tokens)).unflatten(-1, (3, -1, HEAD)).permute(2, 0, 3, 1, 4)
        attended = F.scaled_dot_product_attention(*heads).transpose(1, 2).flatten(2)
        tokens = tokens + self.ls1["gamma"] * self.attn["proj"](attended)
        return tokens + self.ls2["gamma"] * self.mlp["fc2"](F.gelu(self.mlp["fc1"](self.norm2(tokens))))


def shaped_like(tensors):
    """An untrained `DinoV2` of the sizes of weights, {name: tensor}; ValueError if they are of no such network."""
    try:
        width, places = tensors["cls_token"].shape[-1], tensors["pos_embed"].shape[1] - 1
    except (KeyError, IndexError):
        raise ValueError("no cls_token or pos_embed") from None
    depth = len({name.split(".")[1] for name in tensors if name.startswith("blocks.")})
    if width % HEAD or round(places**0.5) ** 2 != places or not depth:
        raise ValueError(f"width {width}, {places} positions and {depth} layers")
    return DinoV2(width, depth, round(places**0.5))
