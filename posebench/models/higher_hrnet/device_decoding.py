"""HigherHRNet's decoding where the maps are on a GPU: they stay there, and few numbers come back.

Peaks are found by max pooling. They come to the CPU, which groups them into people; the GPU then
searches the people's missing keypoints among all pixels, as the published code does. The people are
those of `decode_image`.

Shapes: B images, K keypoints, H x W pixels of the maps, T tags of a pixel, N candidates of a
keypoint, P people of one image, Q missing keypoints of one image.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from posebench.models.higher_hrnet.decoding import grouping_order, nobody, ranked
from posebench.models.higher_hrnet.grouping import (
    MAX_PEOPLE,
    MIN_SCORE,
    SUPPRESSION,
    Candidates,
    Floats32,
    group,
)
from posebench.structures import Geometry, PosePredictions
from posebench.transfer import to_device, to_host

SEARCHED_PIXELS = 2**26  # whose values are kept at once, a quarter of a gigabyte


@dataclass(frozen=True)
class _People:
    """One image's people before their missing keypoints are known."""

    found: Floats32  # (P, K, 3 + T), as `group` returns them
    adjusted: Floats32  # (P, K, 3 + T), moved by quarter pixels
    means: Tensor  # (P, T) of their tags
    missing: Tensor  # (Q, 2) keypoint and person


def decode_on_device(heatmaps: Tensor, tags: Tensor, geometry: Geometry) -> list[PosePredictions]:
    """Return each image's people, best first; it takes two copies to the CPU for all images.

    Args:
        heatmaps: (B, K, H, W) at the network input's size.
        tags: (B, K, T, H, W).
        geometry: of the images.
    """
    heatmaps, tags = heatmaps.float(), tags.float()
    scores, cells = _peaks(heatmaps)
    peak_tags = tags.flatten(3).gather(3, cells[:, :, None].expand(-1, -1, tags.shape[2], -1))
    maps = torch.arange(cells.shape[0] * cells.shape[1], device=cells.device)
    steps = _quarter_steps(
        heatmaps.flatten(0, 1), maps.repeat_interleave(cells.shape[2]), cells.flatten()
    ).view(*cells.shape, 2)
    on_cpu = to_host([scores, cells, peak_tags.mT, steps])
    images = [
        _grouped(heatmaps.shape[-1], *(values.numpy() for values in own))
        for own in zip(*on_cpu, strict=True)
    ]
    searched = to_device([v for own in images for v in (own.means, own.missing)], heatmaps.device)
    values = [
        value
        for image, (means, missing) in enumerate(zip(searched[::2], searched[1::2], strict=True))
        for value in _search(heatmaps[image], tags[image], means, missing)
    ]
    values = to_host(values)
    decoded = []
    for image, own in enumerate(images):
        if not len(own.found):
            decoded.append(nobody(heatmaps.shape[1]))
            continue
        pixels, heights, moves = (value.numpy() for value in values[3 * image :][:3])
        keypoint, person = own.missing.numpy().T
        positions = np.stack([pixels % heatmaps.shape[-1], pixels // heatmaps.shape[-1]], 1)
        kept = heights > 0
        own.adjusted[person[kept], keypoint[kept], :2] = (positions + 0.5 + moves)[kept]
        own.adjusted[person[kept], keypoint[kept], 2] = heights[kept]
        scores_of_people = own.found[..., 2].mean(1)
        decoded.append(ranked(own.adjusted, scores_of_people, geometry.to_image[image]))
    return decoded


def _peaks(heatmaps: Tensor) -> tuple[Tensor, Tensor]:
    """Return the scores and pixels (B, K, N) of the best local maxima; 0 where there are fewer."""
    highest = F.max_pool2d(heatmaps, SUPPRESSION, 1, SUPPRESSION // 2)
    is_peak = (heatmaps == highest) & (heatmaps > MIN_SCORE)
    flat = heatmaps.where(is_peak, 0).flatten(2)
    scores, cells = flat.topk(min(MAX_PEOPLE, flat.shape[2]))
    # Among equals the first pixel comes first.
    cells, order = cells.sort(-1)
    scores, order = scores.gather(-1, order).sort(dim=-1, descending=True, stable=True)
    return scores, cells.gather(-1, order)


def _grouped(
    width: int, scores: Floats32, pixels: NDArray[np.int64], tags: Floats32, steps: Floats32
) -> _People:
    """Group one image's candidates.

    Args:
        width: W.
        scores: (K, N), 0: there is no candidate.
        pixels: (K, N).
        tags: (K, N, T).
        steps: (K, N, 2), quarter pixels.
    """
    cells = np.stack([pixels % width, pixels // width], -1)
    people, people_tags = group(Candidates(scores, cells, tags), grouping_order(len(scores)))
    # Which candidate (P, K) each found keypoint is.
    same = (people[:, :, None, :2] == cells).all(-1) & (scores > 0)
    own_steps = steps[np.arange(len(steps)), same.argmax(2)]
    adjusted, is_found = people.copy(), people[..., 2] > 0
    adjusted[is_found, :2] += (own_steps + 0.5)[is_found]
    keypoint, person = np.nonzero(people[..., 2].T == 0)
    means = np.zeros((len(people), tags.shape[-1]), np.float32)
    for row, own in enumerate(people_tags):
        means[row] = own.mean(0)
    missing = torch.from_numpy(np.stack([keypoint, person], 1))
    return _People(people, adjusted, torch.from_numpy(means), missing)


def _search(
    heatmaps: Tensor, tags: Tensor, means: Tensor, missing: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Return each missing keypoint's best pixel (Q,), its height (Q,) and quarter steps (Q, 2).

    Args:
        heatmaps: (K, H, W).
        tags: (K, T, H, W).
        means: (P, T) of the people's tags.
        missing: (Q, 2) keypoint and person.
    """
    flat, flat_tags = heatmaps.flatten(1), tags.flatten(2)
    chunk = max(SEARCHED_PIXELS // flat.shape[1], 1)
    pixels = [_best_pixels(flat, flat_tags, means, part) for part in torch.split(missing, chunk)]
    best, own = torch.cat(pixels), missing[:, 0]
    return best, flat[own, best], _quarter_steps(heatmaps, own, best)


def _best_pixels(flat: Tensor, tags: Tensor, means: Tensor, missing: Tensor) -> Tensor:
    """Return the pixel (Q,) with the highest value less the rounded distance of tags."""
    keypoint, person = missing.unbind(1)
    wanted = means[person]  # (Q, T)
    squares = (tags[keypoint, 0] - wanted[:, :1]).square()
    for t in range(1, means.shape[1]):
        squares = squares + (tags[keypoint, t] - wanted[:, t, None]).square()
    return (flat[keypoint] - squares.sqrt().round()).argmax(1)


def _quarter_steps(heatmaps: Tensor, maps: Tensor, pixels: Tensor) -> Tensor:
    """Return the steps (Q, 2), x and y, from pixels (Q,) of maps (Q,) to their higher neighbours.

    Left and up on ties, as published.
    """
    height, width = heatmaps.shape[-2:]
    x, y = pixels % width, torch.div(pixels, width, rounding_mode="floor")
    right, left = ((x + 1).clamp(max=width - 1), (x - 1).clamp(min=0))
    below, above = ((y + 1).clamp(max=height - 1), (y - 1).clamp(min=0))
    higher = [
        heatmaps[maps, y, right] > heatmaps[maps, y, left],
        heatmaps[maps, below, x] > heatmaps[maps, above, x],
    ]
    return torch.where(torch.stack(higher, -1), 0.25, -0.25)
