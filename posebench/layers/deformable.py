"""Multi-scale deformable attention, and the encoder made of it.

A query looks at a few points of every level of a pyramid, which lie near its own reference point.
The levels' maps are one sequence of tokens, level after level, row by row.

Shapes: B images, Q queries, S tokens, C channels, L levels, P points of a level.

Source: Deformable DETR (arXiv:2010.04159), Sec. 4.1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from posebench.layers.precision import to_float32
from posebench.layers.sampling import Sizes, weighted_samples

# Tokens whose 2048 wide values take two megabytes.
FEED_AT_ONCE = 256


@dataclass(frozen=True)
class Tokens:
    """A pyramid of maps as one sequence of tokens."""

    values: Tensor  # (B, S, C)
    positions: Tensor  # (1 or B, S, C), what tells tokens of different places and levels apart
    padding: Tensor | None  # (B, S) bool, True on padding
    extents: Tensor  # (B, L, 2) float32, width and height in cells of each map without padding
    sizes: tuple[tuple[int, int], ...]  # L: height and width, with padding

    @property
    def centres(self) -> Tensor:
        """(B, S, 2) float32 x, y of each token's centre, as a share of the image without padding.

        On padding they are above 1.
        """
        found = []
        for level, (height, width) in enumerate(self.sizes):
            y, x = (torch.arange(n, device=self.extents.device) + 0.5 for n in (height, width))
            grid = torch.stack([x.expand(height, -1), y[:, None].expand(-1, width)], -1)
            found.append(grid.view(1, -1, 2) / self.extents[:, level, None])
        return torch.cat(found, 1)

    @property
    def valid(self) -> Tensor:
        """(B, L, 2) float32, the share of each map's width and height without padding."""
        sizes = [(width, height) for height, width in self.sizes]
        return self.extents / torch.tensor(sizes, device=self.extents.device)

    def on_every_level(self, points: Tensor) -> Tensor:
        """Return points (B, ..., 2) of the image as shares of each level's map, (B, ..., L, 2)."""
        valid = self.valid
        return points[..., None, :] * valid.view(len(valid), *(1,) * (points.dim() - 2), -1, 2)


class DeformableAttention(nn.Module):
    """Each of `heads` heads reads `points` points of each of `levels` levels."""

    def __init__(self, channels: int, levels: int = 4, heads: int = 8, points: int = 4) -> None:
        super().__init__()
        self.heads, self.levels, self.points = heads, levels, points
        self.sampling_offsets = nn.Linear(channels, heads * levels * points * 2)
        self.attention_weights = nn.Linear(channels, heads * levels * points)
        self.value_proj = nn.Linear(channels, channels)
        self.output_proj = nn.Linear(channels, channels)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Let every head look its own way, its points ever farther, all with the same weight."""
        angle = torch.arange(self.heads) * (2 * math.pi / self.heads)
        way = torch.stack([angle.cos(), angle.sin()], -1)
        way = way / way.abs().amax(-1, keepdim=True)
        steps = torch.arange(1, self.points + 1)[:, None]
        bias = (way[:, None, None] * steps).expand(-1, self.levels, -1, -1)
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
        """Return (B, Q, C).

        Args:
            query: (B, Q, C).
            references: (B, Q, L, 2) float32 x, y as a share of each level's map, padding included.
            values: (B, S, C).
            sizes: of the levels.
            padding: (B, S) bool, True where values count as zero.
        """
        offsets, weights = self.sampling(query)
        projected = self.projected(values, padding)
        read = weighted_samples(to_float32(projected), sizes, references, offsets, weights)
        output: Tensor = self.output_proj(read.to(query.dtype))
        return output

    def sampling(self, query: Tensor) -> tuple[Tensor, Tensor]:
        """Return where queries look, in cells (B, Q, heads, L, P, 2), and how much there."""
        shape = (*query.shape[:2], self.heads, self.levels, self.points)
        offsets = to_float32(self.sampling_offsets(query)).view(*shape, 2)
        weights = to_float32(self.attention_weights(query)).view(*shape[:3], -1)
        return offsets, weights.softmax(-1).view(shape)

    def projected(self, values: Tensor, padding: Tensor | None) -> Tensor:
        """Return (B, S, heads, C / heads)."""
        found = self.value_proj(values)
        if padding is not None:
            found = found.masked_fill(padding[..., None], 0)
        projected: Tensor = found.view(*found.shape[:2], self.heads, -1)
        return projected


class EncoderLayer(nn.Module):
    """Deformable self-attention among a pyramid's tokens, and a feed-forward network."""

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
        """Return the refined values (B, S, C); `references` (B, S, L, 2) are the tokens' places."""
        query = values + tokens.positions
        read = self.self_attn(query, references, values, tokens.sizes, tokens.padding)
        values = self.norm1(values + read)
        fed: Tensor = self.norm2(values + feed_forward(values, self.linear1, self.linear2))
        return fed


def feed_forward(x: Tensor, inner: nn.Linear, outer: nn.Linear) -> Tensor:
    """Return what two linear layers with ReLU between them make of (..., C)."""
    if x.device.type != "cpu" or torch.is_grad_enabled() or torch.compiler.is_compiling():
        output: Tensor = outer(F.relu(inner(x)))
        return output
    # On a CPU the wide values between are larger than its caches, unless they are few at a time.
    parts = [outer(inner(part).relu_()) for part in torch.split(x.flatten(0, -2), FEED_AT_ONCE)]
    return torch.cat(parts).view_as(x)


class DeformableEncoder(nn.Module):
    """Layers that refine a pyramid's tokens."""

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


def level_maps(values: Tensor, sizes: Sizes) -> Tensor:
    """Return what tokens (S,) hold as maps (L, H, W), each level enlarged to the finest."""
    areas = [height * width for height, width in sizes]
    parts = torch.split(values, areas)
    grid = list(sizes[0])
    return torch.cat(
        [
            F.interpolate(own.view(1, 1, *size), grid, mode="nearest")[0]
            for own, size in zip(parts, sizes, strict=True)
        ]
    )


def attention_maps(
    attention: DeformableAttention,
    queries: Tensor,
    centres: Tensor,
    sizes: Sizes,
    grid: tuple[int, int],
) -> Tensor:
    """Return (M, T, *grid), the highest 1: where M people's T queries look.

    Args:
        queries: (M, T, C).
        centres: (L, M, T, 2) x, y around which they look, in cells of each level.
        sizes: of the levels.
        grid: H, W of the maps, to which coarser levels are enlarged.
    """
    offsets, weights = attention.sampling(queries)  # (M, T, heads, L, P, 2), (M, T, heads, L, P)
    heat = torch.zeros(*queries.shape[:2], *grid, device=queries.device)
    for level, (height, width) in enumerate(sizes):
        places = centres[level][:, :, None, None] + offsets[:, :, :, level]
        x, y = places.floor().long().unbind(-1)
        inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
        cells = torch.where(inside, y * width + x, 0).flatten(2)
        amounts = (weights[:, :, :, level] * inside).flatten(2).to(heat)
        own = heat.new_zeros(*queries.shape[:2], height * width).scatter_add(2, cells, amounts)
        enlarged = own.view(*queries.shape[:2], height, width)
        heat += F.interpolate(enlarged, grid, mode="bilinear", align_corners=False)
    return heat / heat.amax((2, 3), keepdim=True).clamp(min=1e-6)
