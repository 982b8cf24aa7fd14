"""Pieces of transformers that predict sets: encodings of positions, heads, inverse sigmoid.

Shapes: B images, C channels, H x W maps.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

INVERSE_SIGMOID_EPS = 1e-3
FEW_TOKENS = 128  # in a group, so that what they pay one another takes little memory


class MLP(nn.Module):
    """Linear layers with ReLU between them."""

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(*pair) for pair in pairwise(widths))

    def forward(self, x: Tensor) -> Tensor:
        *hidden, last = self.layers
        for layer in hidden:
            x = F.relu(layer(x))
        output: Tensor = last(x)
        return output


def class_head(width: int) -> nn.Linear:
    """Return what scores a query; column 1 is a person, column 0 is never a target."""
    head = nn.Linear(width, 2)
    # A score of 0.01 everywhere at the start, as in focal loss's own paper.
    nn.init.constant_(head.bias, -math.log(99))
    return head


def zero_init_head(widths: Sequence[int]) -> MLP:
    """Return what moves a query's place, and at the start moves nothing."""
    head = MLP(widths)
    last = head.layers[-1]
    assert isinstance(last, nn.Linear)
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
    return head


def inverse_sigmoid(x: Tensor) -> Tensor:
    """Return the logit of probabilities, bounded at both ends as DETR's descendants do."""
    x = x.clamp(0, 1)
    return torch.log(x.clamp(min=INVERSE_SIGMOID_EPS) / (1 - x).clamp(min=INVERSE_SIGMOID_EPS))


def map_encoding(padding: Tensor, channels: int, temperature: float) -> Tensor:
    """Return the sine encoding (B, H, W, C) of cells: y in the first half of channels, then x.

    Args:
        padding: (B, H, W) bool, True on padding; positions are shares of the rest.
        channels: C.
        temperature: of the frequencies.

    Source: DETR (arXiv:2005.12872), normalised to 2 pi.
    """
    inside = (~padding).float()
    encoded = []
    for axis in (1, 2):
        count = inside.cumsum(axis)
        total = count.select(axis, -1).unsqueeze(axis)
        encoded.append(_waves(2 * math.pi * count / (total + 1e-6), channels // 2, temperature))
    return torch.cat(encoded, -1)


def point_encoding(points: Tensor, channels: int, temperature: float = 10000.0) -> Tensor:
    """Return the sine encoding (..., C) of points (..., 2) x, y in [0, 1]: y first, then x."""
    x, y = (2 * math.pi * points).unbind(-1)
    return torch.cat([_waves(axis, channels // 2, temperature) for axis in (y, x)], -1)


def _waves(angles: Tensor, channels: int, temperature: float) -> Tensor:
    """Return (..., C): sines and cosines of (...) angles, in turn, at falling frequencies."""
    exponents = torch.arange(0, channels, 2, device=angles.device) / channels
    scaled = angles[..., None] / temperature**exponents
    return torch.stack([scaled.sin(), scaled.cos()], -1).flatten(-2)


class SelfAttention(nn.Module):
    """Multi-head attention among the tokens of groups, with the parameters of torch's own."""

    def __init__(self, channels: int, heads: int = 8) -> None:
        super().__init__()
        self.heads = heads
        self.in_proj_weight = nn.Parameter(torch.empty(3 * channels, channels))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * channels))
        self.out_proj = nn.Linear(channels, channels)
        nn.init.xavier_uniform_(self.in_proj_weight)
        nn.init.xavier_uniform_(self.out_proj.weight)
        nn.init.zeros_(self.out_proj.bias)

    def forward(self, x: Tensor, axis: int = -2, mask: Tensor | None = None) -> Tensor:
        """Return (..., C).

        Args:
            x: (..., C).
            axis: along which tokens see one another; the other axes number the groups.
            mask: (tokens, tokens) bool, True where a token (row) sees another.
        """
        parts = F.linear(x, self.in_proj_weight, self.in_proj_bias).movedim(axis, -2)
        # One axis of groups: PyTorch's fast attention takes no more of them.
        query, key, value = (
            part.view(*part.shape[:2], self.heads, -1).transpose(1, 2)
            for part in parts.reshape(-1, *parts.shape[-2:]).chunk(3, -1)
        )
        read = _attended(query, key, value, mask)
        joined = read.transpose(1, 2).reshape(*parts.shape[:-1], -1)
        output: Tensor = self.out_proj(joined.movedim(-2, axis))
        return output


def _attended(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
    """Return what (G, heads, tokens, D) queries read from the values of their group."""
    if query.device.type == "cpu" and query.requires_grad and query.shape[-2] <= FEW_TOKENS:
        # On a CPU the fast attention's way back through groups of twenty tokens takes 25 times as
        # long as the plain one's in bfloat16, and no less in float32.
        with sdpa_kernel(SDPBackend.MATH):
            return F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
    return F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
