"""CID's training targets: heatmaps of an image, and of every person in it.

Shapes: B images, N people of one image, M people of all images, K keypoints, H x W cells.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from posebench.layers.heatmaps import gaussian_heatmaps, inside
from posebench.structures import Poses
from posebench.transfer import moved, to_device

MIN_OVERLAP = 0.7  # of two boxes, in the size-adaptive radius


@dataclass(frozen=True)
class CIDTargets:
    heatmaps: Tensor  # (B, K + 1, H, W)
    mask: Tensor  # (B, 1, H, W) bool, False where the loss is ignored
    people: Tensor  # (M, 3) int64: image, y, x; sorted by image; on the CPU
    instance_heatmaps: Tensor  # (M, K, H, W)
    instance_mask: Tensor  # (M, K, 1, 1) bool, False for unlabelled keypoints


def build_targets(
    poses: list[Poses],
    size: tuple[int, int],
    centre_jitter: list[Tensor],
    mask: Tensor,
    *,
    min_area: float,
) -> CIDTargets:
    """Return the heatmaps of every image, and the centre and heatmaps of every person.

    Args:
        poses: in output cells.
        size: H, W.
        centre_jitter: per image (N, 2) x, y in {-1, 0, 1}, by which an instance's centre moves.
        mask: (B, 1, H, W), passed on; heatmaps are drawn on its device.
        min_area: square cells below which a person gets no centre and no instance.

    Source: Eqs. 13 to 16, and the published loader: coordinates truncate to cells, instances are
    in order of increasing area, and of several people with one centre cell the first is kept.
    """
    width = size[1]
    drawn, people, labelled = [], [], []
    for image, (image_poses, jitter) in enumerate(zip(poses, centre_jitter, strict=True)):
        visible = image_poses.visibility > 0
        centres, has_centre = _centres(image_poses, min_area)
        points = torch.cat([image_poses.keypoints, centres[:, None]], 1)
        has_peak = torch.cat([visible, has_centre[:, None]], 1)
        radius = gaussian_radius(image_poses.boxes, size)
        # A window of 2 r + 1 cells is six standard deviations wide.
        sigma = (2 * radius + 1) / 6

        cells = centres.trunc().long()
        has_centre = has_centre & inside(cells, size)
        jittered = cells + jitter
        cells = torch.where(inside(jittered, size)[:, None], jittered, cells)
        order = torch.argsort(_box_area(image_poses), stable=True)
        order = order[has_centre[order]]
        ids = cells[order, 1] * width + cells[order, 0]
        taken = (ids[:, None] == ids[None]).tril(-1).any(1)
        order = order[~taken]
        drawn.append((points, has_peak, radius, sigma, order))
        people.append(F.pad(cells[order].flip(1), (1, 0), value=image))
        labelled.append(visible[order])
    # What decides on shapes has been computed on the CPU; the maps are drawn on the device.
    instance_mask = torch.cat(labelled)[:, :, None, None]
    drawn, instance_mask = moved((drawn, instance_mask), mask.device)
    heatmaps, instance_heatmaps = [], []
    for points, has_peak, radius, sigma, order in drawn:
        maps = gaussian_heatmaps(points, has_peak, size, radius=radius, sigma=sigma)
        heatmaps.append(maps.amax(0) if len(maps) else maps.new_zeros(maps.shape[1:]))
        instance_heatmaps.append(maps[order, :-1])
    return CIDTargets(
        heatmaps=torch.stack(heatmaps),
        mask=mask,
        people=torch.cat(people),
        instance_heatmaps=torch.cat(instance_heatmaps),
        instance_mask=instance_mask,
    )


def draw_jitter(poses: Poses, seed: int) -> Tensor:
    """Return random offsets (N, 2) in {-1, 0, 1}, by which the people's centres move."""
    # A random stream separate from the augmentation's, which uses the same seed.
    return torch.from_numpy(np.random.default_rng([seed, 1]).integers(-1, 2, (len(poses), 2)))


def keep_people(targets: CIDTargets, limit: int, seed: int) -> CIDTargets:
    """Return the targets with at most `limit` people, a random subset in the same order."""
    if len(targets.people) <= limit:
        return targets
    chosen = np.random.default_rng([seed, 2]).permutation(len(targets.people))[:limit]
    keep = torch.from_numpy(np.sort(chosen))
    [on_device] = to_device([keep], targets.mask.device)
    return replace(
        targets,
        people=targets.people[keep],
        instance_heatmaps=targets.instance_heatmaps[on_device],
        instance_mask=targets.instance_mask[on_device],
    )


def gaussian_radius(boxes: Tensor, size: tuple[int, int]) -> Tensor:
    """Return the (N,) distances in cells by which a box may shift and still overlap itself enough.

    Args:
        boxes: (N, 4, 2) corners in cells; they are clipped to the map first.
        size: H, W.

    Source: CornerNet (arXiv:1808.01244), with the roots as in its code: (b + root) / 2 for any a.
    The published CID inherits that, and takes the lengths of the top and left edges as the size of
    a box that the warp has rotated.
    """
    limit = boxes.new_tensor([size[1] - 1, size[0] - 1])
    corners = boxes.clamp(min=0).minimum(limit)
    width = (corners[:, 1] - corners[:, 0]).norm(dim=1).ceil()
    height = (corners[:, 2] - corners[:, 0]).norm(dim=1).ceil()
    total, area = height + width, height * width
    both = total + (total**2 - 4 * area * (1 - MIN_OVERLAP) / (1 + MIN_OVERLAP)).sqrt()
    inner = 2 * total + (4 * total**2 - 16 * (1 - MIN_OVERLAP) * area).sqrt()
    b = -2 * MIN_OVERLAP * total
    outer = b + (b**2 - 16 * MIN_OVERLAP * (MIN_OVERLAP - 1) * area).sqrt()
    return (torch.stack([both, inner, outer]).amin(0) / 2).floor().clamp(min=0)


def _centres(poses: Poses, min_area: float) -> tuple[Tensor, Tensor]:
    """Return the mean of each person's labelled keypoints (N, 2), and whether it is a centre (N,).

    The mean includes keypoints outside the map. People without a labelled keypoint and people
    smaller than `min_area` have no centre.
    """
    visible = (poses.visibility > 0).to(poses.keypoints.dtype)[..., None]
    count = visible.sum(1)
    centres = (poses.keypoints * visible).sum(1) / count.clamp(min=1)
    return centres, (count[:, 0] > 0) & (_box_area(poses) >= min_area)


def _box_area(poses: Poses) -> Tensor:
    """Return the (N,) areas of boxes that a warp may have rotated."""
    right = poses.boxes[:, 1] - poses.boxes[:, 0]
    down = poses.boxes[:, 2] - poses.boxes[:, 0]
    return (right[:, 0] * down[:, 1] - right[:, 1] * down[:, 0]).abs()
