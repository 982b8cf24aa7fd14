"""Reading one scale's maps at the cells of another scale of the same images.

Shapes: B images, M people of all images.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class Grid:
    """The cells of a batch's maps. Views of one image differ in scale and shift, not in angle."""

    to_image: Tensor  # (B, 2, 3) from network-input pixels to image pixels
    size: tuple[int, int]  # H, W
    stride: int  # network-input pixels per cell

    def nearest_cells(self, people: Tensor, source: Grid) -> Tensor:
        """Return the cells (M, 3) image, y, x of this grid nearest to cells of the source grid."""
        if self is source:
            return people
        scale, shift = self._transform_from(source)
        image, y, x = people.unbind(1)
        cells = (torch.stack([x, y], 1) * scale[image] + shift[image]).round().long()
        x, y = cells[:, 0].clamp(0, self.size[1] - 1), cells[:, 1].clamp(0, self.size[0] - 1)
        return torch.stack([image, y, x], 1)

    def resample(self, maps: Tensor, source: Grid, image: Tensor | None = None) -> Tensor:
        """Return maps of the source grid interpolated bilinearly at the cells of this grid.

        Args:
            maps: (N, C, H, W) on the source grid; 0 outside of it.
            image: (N,) index of each map's image; None: one map per image, in order.

        Returns:
            (N, C, H, W) of this grid's size.
        """
        if self is source:
            return maps
        scale, shift = source._transform_from(self)
        if image is not None:
            scale, shift = scale[image], shift[image]
        height, width = self.size

        def positions(axis: int, length: int, source_length: int) -> Tensor:
            cells = torch.arange(length, device=maps.device)
            at = cells * scale[:, axis, None] + shift[:, axis, None]
            # -1 and 1 are the centres of the outermost cells.
            return (2 * at / (source_length - 1) - 1).to(maps)

        x = positions(0, width, maps.shape[-1])[:, None].expand(-1, height, -1)
        y = positions(1, height, maps.shape[-2])[:, :, None].expand(-1, -1, width)
        return F.grid_sample(maps, torch.stack([x, y], -1), align_corners=True)

    def _transform_from(self, source: Grid) -> tuple[Tensor, Tensor]:
        """Return scale and shift (B, 2), x and y, from the source grid's cells to these."""
        own_scale, source_scale = (
            grid.to_image[:, :, :2].diagonal(dim1=1, dim2=2) for grid in (self, source)
        )
        scale = source_scale / own_scale
        shift = (source.to_image[:, :, 2] - self.to_image[:, :, 2]) / own_scale
        # A cell's coordinates are those of its centre.
        shift = shift + source.stride / 2 * scale - self.stride / 2
        return scale * (source.stride / self.stride), shift / self.stride
