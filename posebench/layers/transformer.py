"""Parts of transformers that predict sets: heads, position encodings, attention within groups.

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

from posebench.layers.precision import to_float32

INVERSE_SIGMOID_EPS = 1e-3
SMALL_GROUP = 128  # tokens; the attention weights of such a group take little memory


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
    """Return the layer that scores a query; column 1 is a person, column 0 is never a target."""
    head = nn.Linear(width, 2)
    # A score of 0.01 everywhere at the start, as in the focal loss's paper.
    nn.init.constant_(head.bias, -math.log(99))
    return head


def zero_init_head(widths: Sequence[int]) -> MLP:
    """Return a regression head whose output is 0 at the start of training."""
    head = MLP(widths)
    last = head.layers[-1]
    assert isinstance(last, nn.Linear)
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
    return head


def inverse_sigmoid(x: Tensor) -> Tensor:
    """Return the logit of probabilities, bounded at both ends as in DETR's descendants."""
    x = x.clamp(0, 1)
    return torch.log(x.clamp(min=INVERSE_SIGMOID_EPS) / (1 - x).clamp(min=INVERSE_SIGMOID_EPS))


def refine_references(references: Tensor, deltas: Tensor) -> Tensor:
    """Return references in [0, 1] moved by a head's deltas, in float32 at least.

    Args:
        references: (...), coordinates as shares of the image.
        deltas: as many values in any shape, added to the references' logits.

    Source: Deformable DETR (arXiv:2010.04159), iterative bounding box refinement.
    """
    return (inverse_sigmoid(references) + to_float32(deltas).view_as(references)).sigmoid()


def map_angles(padding: Tensor) -> Tensor:
    """Return how far each cell of a map is along y, then x (B, H, W, 2), from 0 to 2 pi.

    Args:
        padding: (B, H, W) bool, True on padding; the rest counts as the whole.

    Source: DETR (arXiv:2005.12872), the sine encoding of a map's cells.
    """
    inside = (~padding).float()
    angles = []
    for axis in (1, 2):
        count = inside.cumsum(axis)
        total = count.select(axis, -1).unsqueeze(axis)
        angles.append(2 * math.pi * count / (total + 1e-6))
    return torch.stack(angles, -1)


def point_encoding(points: Tensor, channels: int, temperature: float = 10000.0) -> Tensor:
    """Return the sine encoding (..., C) of points (..., 2) x, y in [0, 1]: y first, then x."""
    return waves(2 * math.pi * points.flip(-1), channels, temperature)


def box_encoding(boxes: Tensor, channels: int, temperature: float = 10000.0) -> Tensor:
    """Return the sine encoding (..., 2 C) of boxes (..., 4): centre y and x, then width and height.

    Args:
        boxes: centre x, y, width, height in [0, 1].
        channels: C, half of them for each number.
        temperature: of the frequencies.

    Source: DAB-DETR (arXiv:2201.12329), Sec. 3.3.
    """
    centres, sides = boxes.chunk(2, -1)
    numbers = torch.cat([centres.flip(-1), sides], -1)
    return waves(2 * math.pi * numbers, 2 * channels, temperature)


def waves(angles: Tensor, channels: int, temperature: float) -> Tensor:
    """Return (..., C): sine and cosine of each of the angles (..., A) at falling frequencies.

    Args:
        angles: one after the other.
        channels: C, equally many for each angle.
        temperature: of the frequencies.
    """
    own = channels // angles.shape[-1]
    exponents = torch.arange(0, own, 2, device=angles.device) / own
    scaled = angles[..., None] / temperature**exponents
    return torch.stack([scaled.sin(), scaled.cos()], -1).flatten(-3)


class SelfAttention(nn.Module):
    """Multi-head attention among the tokens of each group, with `nn.MultiheadAttention`'s names."""

    def __init__(self, channels: int, heads: int = 8) -> None:
        super().__init__()
        self.heads = heads
        self.in_proj_weight = nn.Parameter(torch.empty(3 * channels, channels))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * channels))
        self.out_proj = nn.Linear(channels, channels)
        nn.init.xavier_uniform_(self.in_proj_weight)
        nn.init.xavier_uniform_(self.out_proj.weight)
        nn.init.zeros_(self.out_proj.bias)

    def forward(
        self,
        x: Tensor,
        axis: int = -2,
        mask: Tensor | None = None,
        positions: Tensor | None = None,
    ) -> Tensor:
        """Return (..., C).

        Args:
            x: (..., C).
            axis: along which tokens attend to one another; the other axes number the groups.
            mask: (tokens, tokens) or (groups, tokens, tokens) bool, True where a token (row)
                attends to another (column).
            positions: (..., C), added to the queries and keys, not to the values.
        """
        projected = self._project(x, positions).movedim(axis, -2)
        # One axis of groups: PyTorch's fast attention takes no more of them.
        query, key, value = (
            part.view(*part.shape[:2], self.heads, -1).transpose(1, 2)
            for part in projected.reshape(-1, *projected.shape[-2:]).chunk(3, -1)
        )
        attended = _attention(query, key, value, mask)
        merged = attended.transpose(1, 2).reshape(*projected.shape[:-1], -1)
        output: Tensor = self.out_proj(merged.movedim(-2, axis))
        return output

    def _project(self, x: Tensor, positions: Tensor | None) -> Tensor:
        """Return the queries, keys and values (..., 3 C)."""
        if positions is None:
            return F.linear(x, self.in_proj_weight, self.in_proj_bias)
        inner = 2 * x.shape[-1]
        weight, bias = self.in_proj_weight, self.in_proj_bias
        matched = F.linear(x + positions, weight[:inner], bias[:inner])
        values = F.linear(x, weight[inner:], bias[inner:])
        return torch.cat([matched, values], -1)


def _attention(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
    """Return the attention (G, heads, tokens, D) of queries to the keys of their group."""
    if mask is not None and mask.dim() == 3:  # a mask of each group, for all heads
        mask = mask[:, None]
    if query.device.type == "cpu" and query.requires_grad and query.shape[-2] <= SMALL_GROUP:
        # On a CPU the backward pass of the fast attention takes 25 times as long as the plain one's
        # for groups of twenty tokens in bfloat16, and no less in float32.
        with sdpa_kernel(SDPBackend.MATH):
            return F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
    return F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
