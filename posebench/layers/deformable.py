"""Multi-scale deformable attention, and the encoder made of it.

A query attends to a few points around its reference point on every level of a feature pyramid.
The pyramid is one sequence of tokens, level after level, row by row.

Shapes: B images, Q queries, S tokens, C channels, L levels, P points of a level.

Source: Deformable DETR (arXiv:2010.04159), Sec. 4.1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from posebench.layers.portable import portable, sizes_tensor
from posebench.layers.precision import to_float32
from posebench.layers.sampling import Sizes, weighted_samples

# Tokens of which a feed-forward network's 2048 hidden values take two megabytes in float32.
FFN_CHUNK = 256


@dataclass(frozen=True)
class Tokens:
    """A feature pyramid as one sequence of tokens."""

    values: Tensor  # (B, S, C)
    positions: Tensor  # (1 or B, S, C), encodings of each token's position and level
    padding: Tensor | None  # (B, S) bool, True on padding; None: there is none
    extents: Tensor  # (1 or B, L, 2) float32, width and height in cells of each map without padding
    sizes: tuple[tuple[int, int], ...]  # L: height and width, with padding

    @property
    def centres(self) -> Tensor:
        """(B, S, 2) float32 x, y of each token's centre, as a share of the image without padding.

        Those on padding are above 1.
        """
        centres = []
        for level, (height, width) in enumerate(self.sizes):
            y, x = (torch.arange(n, device=self.extents.device) + 0.5 for n in (height, width))
            grid = torch.stack([x.expand(height, -1), y[:, None].expand(-1, width)], -1)
            centres.append(grid.view(1, -1, 2) / self.extents[:, level, None])
        return torch.cat(centres, 1)

    @property
    def valid(self) -> Tensor:
        """(B, L, 2) float32, the share of each map's width and height without padding."""
        return self.extents / sizes_tensor(self.sizes, self.extents.device)

    def on_every_level(self, points: Tensor) -> Tensor:
        """Return points (B, ..., 2) of the image in shares of each padded map, (B, ..., L, 2).

        Or boxes (B, ..., 4), centre x, y, width, height: (B, ..., L, 4).
        """
        valid = self.valid
        if points.shape[-1] == 4:
            valid = torch.cat([valid, valid], -1)
        shape = (valid.shape[0], *(1,) * (points.dim() - 2), -1, points.shape[-1])
        return points[..., None, :] * valid.view(shape)


class DeformableAttention(nn.Module):
    """Attention of several heads to a few points on each level, at offsets the query predicts."""

    def __init__(self, channels: int, levels: int = 4, heads: int = 8, points: int = 4) -> None:
        super().__init__()
        self.heads, self.levels, self.points = heads, levels, points
        self.sampling_offsets = nn.Linear(channels, heads * levels * points * 2)
        self.attention_weights = nn.Linear(channels, heads * levels * points)
        self.value_proj = nn.Linear(channels, channels)
        self.output_proj = nn.Linear(channels, channels)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Put point p of each head p cells away in the head's own direction, all weighted alike."""
        angle = torch.arange(self.heads) * (2 * math.pi / self.heads)
        direction = torch.stack([angle.cos(), angle.sin()], -1)
        direction = direction / direction.abs().amax(-1, keepdim=True)
        steps = torch.arange(1, self.points + 1)[:, None]
        bias = (direction[:, None, None] * steps).expand(-1, self.levels, -1, -1)
        nn.init.zeros_(self.sampling_offsets.weight)
        nn.init.zeros_(self.attention_weights.weight)
        nn.init.zeros_(self.attention_weights.bias)
        for layer in (self.value_proj, self.output_proj):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)
        with torch.no_grad():
            self.sampling_offsets.bias.copy_(bias.flatten())

    def forward(
        self,
        query: Tensor,
        references: Tensor,
        values: Tensor,
        sizes: Sizes,
        padding: Tensor | None,
    ) -> Tensor:
        """Return the attended values (B, Q, C).

        Args:
            query: (B, Q, C).
            references: (B, Q, L, 2) float32 x, y as a share of each level's map, padding included,
                or boxes (B, Q, L, 4): centre x, y, width, height, in whose sides offsets count.
            values: (B, S, C).
            sizes: of the levels.
            padding: (B, S) bool, True where values count as zero.
        """
        offsets, weights = self.offsets_and_weights(query)
        if references.shape[-1] == 4:
            references, offsets = around_boxes(references, offsets, sizes)
        projected = self.project_values(values, padding)
        samples = weighted_samples(to_float32(projected), sizes, references, offsets, weights)
        output: Tensor = self.output_proj(samples.to(query.dtype))
        return output

    def offsets_and_weights(self, query: Tensor) -> tuple[Tensor, Tensor]:
        """Return the offsets of each query's points from its reference, and attention weights.

        Returns:
            Offsets (B, Q, heads, L, P, 2) in cells, or as `around_boxes` takes them; weights
            (B, Q, heads, L, P), which sum to 1 over a head's levels and points.
        """
        shape = (*query.shape[:2], self.heads, self.levels, self.points)
        offsets = to_float32(self.sampling_offsets(query)).view(*shape, 2)
        weights = to_float32(self.attention_weights(query)).view(*shape[:3], -1)
        return offsets, weights.softmax(-1).view(shape)

    def project_values(self, values: Tensor, padding: Tensor | None) -> Tensor:
        """Return the projected values (B, S, heads, C / heads), 0 on padding."""
        values = self.value_proj(values)
        if padding is not None:
            values = values.masked_fill(padding[..., None], 0)
        return values.view(*values.shape[:2], self.heads, -1)


def around_boxes(boxes: Tensor, offsets: Tensor, sizes: Sizes) -> tuple[Tensor, Tensor]:
    """Return the centres (B, Q, L, 2) of reference boxes, and offsets in cells.

    Point p of P is p / 2P of a side away from the centre at the start of training.

    Args:
        boxes: (B, Q, L, 4) centre x, y, width, height, as shares of each level's map.
        offsets: (B, Q, heads, L, P, 2), in 2 P-ths of the sides.
        sizes: of the levels.

    Source: Deformable DETR (arXiv:2010.04159), appendix A.4.
    """
    centres, sides = boxes.chunk(2, -1)
    unit = sides * sizes_tensor(sizes, boxes.device) / (2 * offsets.shape[-2])
    return centres, offsets * unit[:, :, None, :, None]


class EncoderLayer(nn.Module):
    """Deformable self-attention among a pyramid's tokens, then a feed-forward network."""

    def __init__(self, channels: int, hidden: int, levels: int) -> None:
        super().__init__()
        self.self_attn = DeformableAttention(channels, levels)
        self.norm1 = nn.LayerNorm(channels)
        self.linear1 = nn.Linear(channels, hidden)
        self.linear2 = nn.Linear(hidden, channels)
        self.norm2 = nn.LayerNorm(channels)
        for layer in (self.linear1, self.linear2):
            nn.init.xavier_uniform_(layer.weight)

    def forward(self, values: Tensor, tokens: Tokens, references: Tensor) -> Tensor:
        """Return the refined values (B, S, C).

        Args:
            values: (B, S, C).
            tokens: the pyramid.
            references: (B, S, L, 2), the tokens' centres as shares of each level's map.
        """
        query = values + tokens.positions
        attended = self.self_attn(query, references, values, tokens.sizes, tokens.padding)
        values = self.norm1(values + attended)
        output: Tensor = self.norm2(values + feed_forward(values, self.linear1, self.linear2))
        return output


def feed_forward(x: Tensor, inner: nn.Linear, outer: nn.Linear) -> Tensor:
    """Return `outer(relu(inner(x)))` of x (..., C), in chunks where that is faster."""
    whole = x.device.type != "cpu" or torch.compiler.is_compiling() or portable()
    if whole or torch.is_grad_enabled():
        output: Tensor = outer(F.relu(inner(x)))
        return output
    # On a CPU the hidden values of all tokens are larger than its caches; those of a chunk fit.
    parts = [outer(inner(part).relu_()) for part in torch.split(x.flatten(0, -2), FFN_CHUNK)]
    return torch.cat(parts).view_as(x)


class DeformableEncoder(nn.Module):
    """A stack of encoder layers that refine a pyramid's tokens."""

    def __init__(self, channels: int, hidden: int, layers: int, levels: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(EncoderLayer(channels, hidden, levels) for _ in range(layers))

    def forward(self, tokens: Tokens) -> Tensor:
        """Return the refined values (B, S, C)."""
        references = tokens.on_every_level(tokens.centres)
        values = tokens.values
        for layer in self.layers:
            values = layer(values, tokens, references)
        return values
