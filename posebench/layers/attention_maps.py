"""Maps of where deformable attention looks, and of what its tokens say.

Shapes: M people, T queries of a person, C channels, H heads, L levels, P points of a level.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from posebench.layers.sampling import Sizes


def attention_maps(
    offsets: Tensor, weights: Tensor, centres: Tensor, sizes: Sizes, grid: tuple[int, int]
) -> Tensor:
    """Return the sum of attention weights by cell of M people's T queries.

    Args:
        offsets: (M, T, H, L, P, 2) of each query's points from its reference, in cells.
        weights: (M, T, H, L, P).
        centres: (L, M, T, 2) x, y of the references, in cells of each level.
        sizes: of the levels.
        grid: height and width of the maps, to which coarser levels are enlarged.

    Returns:
        (M, T, *grid), summed over heads and levels, each map's highest value 1.
    """
    shape = offsets.shape[:2]
    heat = torch.zeros(*shape, *grid, device=offsets.device)
    for level, (height, width) in enumerate(sizes):
        points = centres[level][:, :, None, None] + offsets[:, :, :, level]
        x, y = points.floor().long().unbind(-1)
        inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
        cells = torch.where(inside, y * width + x, 0).flatten(2)
        amounts = (weights[:, :, :, level] * inside).flatten(2).to(heat)
        sums = heat.new_zeros(*shape, height * width).scatter_add(2, cells, amounts)
        level_map = sums.view(*shape, height, width)
        heat += F.interpolate(level_map, grid, mode="bilinear", align_corners=False)
    return heat / heat.amax((2, 3), keepdim=True).clamp(min=1e-6)


def level_maps(values: Tensor, sizes: Sizes) -> Tensor:
    """Return tokens' values (S,) as maps (L, height, width), each level enlarged to the finest."""
    areas = [height * width for height, width in sizes]
    grid = list(sizes[0])
    return torch.cat(
        [
            F.interpolate(part.view(1, 1, *size), grid, mode="nearest")[0]
            for part, size in zip(torch.split(values, areas), sizes, strict=True)
        ]
    )
