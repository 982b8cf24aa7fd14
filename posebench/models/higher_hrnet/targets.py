"""HigherHRNet's training targets: heatmaps at every resolution, and the cells of trained tags.

Shapes: B images, P people of all images, K keypoints, h x w cells of a resolution.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from posebench.layers.heatmaps import cell_poses, gaussian_heatmaps, inside
from posebench.models.higher_hrnet.grouping import MAX_PEOPLE
from posebench.models.higher_hrnet.recipes import STRIDE
from posebench.structures import Batch
from posebench.transfer import moved

SIGMA = 2.0  # cells, at every resolution
RADIUS = 7  # cells, half of the window that holds a Gaussian


@dataclass(frozen=True)
class HigherHRNetTargets:
    heatmaps: tuple[Tensor, ...]  # (B, K, h, w) at strides 4, 2, ...
    masks: tuple[Tensor, ...]  # (B, 1, h, w) bool, False where the loss is ignored
    # On the CPU: (P,) int64, the image of each person, and (P, K) int64, y w + x of the keypoints
    # at stride 4; -1: unlabelled or outside.
    people: Tensor
    cells: Tensor


def build_targets(batch: Batch, strides: Sequence[int]) -> HigherHRNetTargets:
    """Return every resolution's heatmaps, and the cells whose tags are trained.

    Source: Sec. 3.4, and the published loader: coordinates truncate to cells, a Gaussian has the
    same width in cells at every resolution, and the first 30 people of an image have tags.
    """
    height, width = batch.images.shape[-2:]
    heatmaps = []
    points = [
        [(poses.keypoints, poses.visibility > 0) for poses in cell_poses(batch, stride)]
        for stride in strides
    ]
    for stride, images in zip(strides, moved(points, batch.device), strict=True):
        size = (height // stride, width // stride)
        per_image = []
        for keypoints, labelled in images:
            ones = keypoints.new_ones(len(keypoints))
            maps = gaussian_heatmaps(
                keypoints, labelled, size, radius=RADIUS * ones, sigma=SIGMA * ones
            )
            per_image.append(maps.amax(0) if len(maps) else maps.new_zeros(maps.shape[1:]))
        heatmaps.append(torch.stack(per_image))
    people, cells = [], []
    size = (height // STRIDE, width // STRIDE)
    for image, poses in enumerate(cell_poses(batch, STRIDE)):
        xy = poses.keypoints[:MAX_PEOPLE].trunc().long()
        trained = (poses.visibility[:MAX_PEOPLE] > 0) & inside(xy, size)
        cells.append(torch.where(trained, xy[..., 1] * size[1] + xy[..., 0], -1))
        people.append(torch.full((len(xy),), image))
    return HigherHRNetTargets(
        heatmaps=tuple(heatmaps),
        masks=tuple(batch.masks[stride][:, None] for stride in strides),
        people=torch.cat(people),
        cells=torch.cat(cells),
    )
