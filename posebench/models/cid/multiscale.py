"""The cells of maps over the same images at several scales, and how one lies on another.

Shapes: B images, M people of all images.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class Grid:
    """The cells of a batch's maps. Test-time maps neither turn nor shear."""

    to_image: Tensor  # (B, 2, 3) from network-input pixels to image pixels
    size: tuple[int, int]  # H, W
    stride: int  # network-input pixels per cell

    def cells_of(self, people: Tensor, other: Grid) -> Tensor:
        """Return the cells (M, 3) image, y, x of this grid that lie nearest to another's."""
        if self is other:
            return people
        scale, shift = self._from(other)
        image, y, x = people.unbind(1)
        cells = (torch.stack([x, y], 1) * scale[image] + shift[image]).round().long()
        x, y = cells[:, 0].clamp(0, self.size[1] - 1), cells[:, 1].clamp(0, self.size[0] - 1)
        return torch.stack([image, y, x], 1)

    def read(self, maps: Tensor, other: Grid, image: Tensor | None = None) -> Tensor:
        """Return what another grid's maps hold at the cells of this one, bilinearly.

        Args:
            maps: (N, C, H, W) of the other grid; 0 beyond them.
            image: (N,) index of each map's image; None: one each, in order.
        """
        if self is other:
            return maps
        scale, shift = other._from(self)
        if image is not None:
            scale, shift = scale[image], shift[image]
        height, width = self.size

        def positions(axis: int, length: int, source: int) -> Tensor:
            cells = torch.arange(length, device=maps.device)
            at = cells * scale[:, axis, None] + shift[:, axis, None]
            return (2 * at / (source - 1) - 1).to(maps)  # -1 and 1: the outer cells' centres

        x = positions(0, width, maps.shape[-1])[:, None].expand(-1, height, -1)
        y = positions(1, height, maps.shape[-2])[:, :, None].expand(-1, -1, width)
        return F.grid_sample(maps, torch.stack([x, y], -1), align_corners=True)

    def _from(self, other: Grid) -> tuple[Tensor, Tensor]:
        """Return scale and shift (B, 2), x and y, that lead from the other's cells to these."""
        axis = torch.tensor([0, 1], device=self.to_image.device)
        own_scale = self.to_image[:, axis, axis]
        scale = other.to_image[:, axis, axis] / own_scale
        shift = (other.to_image[:, :, 2] - self.to_image[:, :, 2]) / own_scale
        # A cell stands for its centre.
        shift = shift + other.stride / 2 * scale - self.stride / 2
        return scale * (other.stride / self.stride), shift / self.stride
