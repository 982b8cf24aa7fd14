"""People as peaks of a heatmap of their centres, as CID and DEKR detect them.

Shapes: B images, M people of all images, H x W cells.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

MAX_CENTRES = 30  # per image
MIN_CENTRE_SCORE = 0.01
WINDOWS = (3, 5, 7)  # sides in cells, for maps of a mean side up to 200, up to 300 and above


def find_peaks(centre_map: Tensor) -> tuple[Tensor, Tensor]:
    """Return the centres (M, 3) image, y, x and their scores (M,), best first in each image.

    Args:
        centre_map: (B, H, W) scores.

    Source: the published code of CID and DEKR keeps the maxima of a window that grows with the map,
    and takes the 30 best above 0.01.
    """
    width = centre_map.shape[2]
    scores, cells = best_peaks(centre_map)
    image, rank = (scores > MIN_CENTRE_SCORE).nonzero().unbind(1)
    cells = cells[image, rank]
    return torch.stack([image, cells // width, cells % width], 1), scores[image, rank]


def best_peaks(centre_map: Tensor) -> tuple[Tensor, Tensor]:
    """Return the scores (B, 30) and cells (B, 30), y W + x, of the highest peaks, best first.

    Their number does not depend on what is found: those up to MIN_CENTRE_SCORE are nobody. Maps of
    fewer than 30 cells have as many peaks as cells.

    Args:
        centre_map: (B, H, W) scores.
    """
    height, width = centre_map.shape[-2:]
    peaks = _peaks(centre_map, _window((height + width) / 2))
    scores, cells = peaks.topk(min(MAX_CENTRES, peaks.shape[1]))
    return scores, cells


def centre_slots(centre_map: Tensor) -> tuple[Tensor, Tensor]:
    """Return 30 centres of each image (B 30, 3) and their scores (B, 30), best first.

    The form of `find_peaks` whose shapes do not depend on the image, for exported networks. A slot
    is a person if its score is above MIN_CENTRE_SCORE; the others have the score 0 and the cell
    0, 0.

    Args:
        centre_map: (B, H, W) scores.
    """
    batch, height, width = centre_map.shape
    # The map's size is not known yet: the window that suits it is chosen in the graph.
    side = torch.scalar_tensor(height + width, device=centre_map.device) / 2
    small, medium, large = (_peaks(centre_map, window) for window in WINDOWS)
    peaks = torch.where(side <= 200, small, torch.where(side <= 300, medium, large))
    scores, cells = peaks.topk(MAX_CENTRES)
    found = scores > MIN_CENTRE_SCORE
    scores, cells = scores.where(found, 0), cells.where(found, 0)
    image = torch.arange(batch, device=cells.device)[:, None].expand_as(cells)
    rows = torch.div(cells, width, rounding_mode="floor")
    return torch.stack([image, rows, cells - rows * width], -1).flatten(0, 1), scores


def _window(mean_side: float) -> int:
    """Return the window in which a centre is the highest, for a map of this mean side."""
    small, medium, large = WINDOWS
    return small if mean_side <= 200 else medium if mean_side <= 300 else large


def _peaks(centre_map: Tensor, window: int) -> Tensor:
    """Return the maps (B, H W) with 0 where a cell is not the highest of its window."""
    highest = F.max_pool2d(centre_map[:, None], window, 1, window // 2)[:, 0]
    return centre_map.where(centre_map == highest, 0).flatten(1)
