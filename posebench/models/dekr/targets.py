"""DEKR's training targets: heatmaps with weights, and offsets around the centres of people.

Shapes: B images, N people of an image, P points of a person, K keypoints, H x W cells.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from posebench.layers.affine import apply
from posebench.layers.heatmaps import cell_poses, inside
from posebench.models.dekr.recipes import STRIDE, DEKRConfig
from posebench.structures import Batch
from posebench.transfer import moved, to_device

SIGMA = 2.0  # cells, of the Gaussian around a keypoint
BACKGROUND_WEIGHT = 0.1  # of the cells outside all Gaussians of a channel
# Square pixels. Ours: a person with all keypoints on the image's first pixel has the size 0, which
# makes the published loss infinite.
MIN_SIZE = 1.0
REACH = 4  # offsets are trained from REACH cells before a centre's cell to REACH - 1 after it


@dataclass(frozen=True)
class DEKRTargets:
    heatmaps: Tensor  # (B, K + 1, H, W), the last channel is the person centre
    heatmap_weights: Tensor  # (B, K + 1, H, W), 0 where the loss is ignored
    offsets: Tensor  # (B, 2 K, H, W) x, y of each keypoint: the cell minus the keypoint, in cells
    offset_weights: Tensor  # (B, 2 K, H, W), 0 where nothing is regressed


@dataclass(frozen=True)
class People:
    """The people of the images of a batch, in cells; rows beyond an image's own are nobody."""

    keypoints: Tensor  # (B, N, K, 2) float64
    labelled: Tensor  # (B, N, K) bool
    centres: Tensor  # (B, N, 2) float64
    has_centre: Tensor  # (B, N) bool
    size: Tensor  # (B, N) float64 square pixels, by which the loss of offsets is divided
    # (B, 2) where the published loader puts the centre of everybody without labelled keypoints
    corner: Tensor
    has_corner: Tensor  # (B,) bool, whether there is anybody like that


def batch_targets(batch: Batch, config: DEKRConfig) -> DEKRTargets:
    """Return the targets of a training batch, on its device."""
    height, width = (side // STRIDE for side in batch.images.shape[-2:])
    return build_targets(
        moved(find_people(batch, config.min_person_area), batch.device),
        (height, width),
        batch.masks[STRIDE][:, None],
        config.centre_sigma,
    )


def build_targets(
    people: People, size: tuple[int, int], mask: Tensor, centre_sigma: float
) -> DEKRTargets:
    """Return the targets of the images of some people.

    Args:
        people: of the images.
        size: H, W.
        mask: (B, 1, H, W) bool, False where the heatmaps' loss is ignored.
        centre_sigma: cells.

    Source: the published loader; offsets are trained where the mask is False too.
    """
    keypoints, near_keypoints = gaussians(people.keypoints, people.labelled, size, SIGMA)
    centres, near_centres = gaussians(
        torch.cat([people.centres, people.corner[:, None]], 1)[:, :, None],
        torch.cat([people.has_centre, people.has_corner[:, None]], 1)[:, :, None],
        size,
        centre_sigma,
    )
    heatmaps = torch.cat([keypoints, centres], 1)
    near = torch.cat([near_keypoints, near_centres], 1)
    offsets, offset_weights = regression(people, size)
    return DEKRTargets(
        heatmaps=heatmaps,
        heatmap_weights=torch.where(near, 1.0, BACKGROUND_WEIGHT) * mask,
        offsets=offsets,
        offset_weights=offset_weights,
    )


def find_people(batch: Batch, min_area: float) -> People:
    """Return the people of a batch.

    A centre is the mean of the labelled keypoints, in view or not. The published loader computes it
    for people without labelled keypoints too, from coordinates that are all zero, so that they have
    a false one at the image's corner.

    Args:
        batch: with poses in network-input pixels.
        min_area: square image pixels; smaller people have no centre.
    """
    cells = cell_poses(batch, STRIDE)
    to_image = batch.geometry.to_image
    growth = torch.linalg.det(to_image[:, :, :2]).abs()  # image pixels of a network-input pixel
    large, sizes, false = [], [], []
    for poses, matrix, own in zip(batch.poses, to_image, growth, strict=True):
        large.append(_at_least(poses.area * own, min_area))
        false.append(_at_least(poses.unlabelled_area * own, min_area).any())
        in_image = apply(poses.keypoints, matrix)
        sizes.append(person_sizes(in_image, poses.visibility > 0) / own)
    keypoints = _padded([poses.keypoints for poses in cells])
    labelled = _padded([poses.visibility > 0 for poses in cells])
    count = labelled.sum(2).clamp(min=1)[..., None]
    return People(
        keypoints=keypoints,
        labelled=labelled,
        centres=keypoints.where(labelled[..., None], 0).sum(2) / count,
        has_centre=_padded(large) & labelled.any(2),
        size=_padded(sizes),
        corner=image_corners(batch),
        has_corner=torch.stack(false),
    )


def image_corners(batch: Batch) -> Tensor:
    """Return the places (B, 2) x, y in cells of the images' first pixels."""
    to_image = batch.geometry.to_image
    corners = -torch.linalg.solve(to_image[:, :, :2], to_image[:, :, 2])
    nobody = batch.poses[0][:0]
    points = [replace(nobody, keypoints=corner[None, None]) for corner in corners]
    cells = cell_poses(replace(batch, poses=points), STRIDE)
    return torch.cat([poses.keypoints[0] for poses in cells])


def _at_least(area: Tensor, least: float) -> Tensor:
    """Return which areas are not smaller, but for the rounding by which they were scaled."""
    return area >= least * (1 - 1e-9)


def _padded(rows: Sequence[Tensor]) -> Tensor:
    """Return rows (n, ...) of each image as (B, N, ...), zero beyond an image's own."""
    return pad_sequence(list(rows), batch_first=True)


def person_sizes(keypoints: Tensor, labelled: Tensor) -> Tensor:
    """Return the squared diagonals (N,) of the boxes around labelled keypoints and the origin.

    Args:
        keypoints: (N, K, 2) image pixels.
        labelled: (N, K) bool.

    Source: the published loader. The paper divides by the diagonal of the person's box; the code
    takes the extent of rows of which the unlabelled ones, and that of the centre, are still zero.
    """
    points = keypoints.where(labelled[..., None], 0)
    extent = points.amax(-2).clamp(min=0) - points.amin(-2).clamp(max=0)
    return extent.square().sum(-1)


def gaussians(
    points: Tensor, valid: Tensor, size: tuple[int, int], sigma: float
) -> tuple[Tensor, Tensor]:
    """Return heatmaps (B, P, H, W) with a Gaussian around each point, and where they are not cut.

    Args:
        points: (B, N, P, 2) x, y in cells, which are not rounded; where Gaussians overlap, the
            highest counts.
        valid: (B, N, P) bool, False where a point has no Gaussian.
        size: H, W; points outside have none.
        sigma: cells.

    Returns:
        The maps in float32, and bool maps of their windows.
    """
    height, width = size
    batch, _, count, _ = points.shape
    valid = valid & inside(points, size)
    # The first and the last cell of the window are those of the published code.
    first = (points - 3 * sigma - 1).floor()
    last = (points + 3 * sigma + 2).ceil() - 1
    side = math.ceil(6 * sigma) + 4
    cells = first[..., None] + torch.arange(side, device=points.device)  # (B, N, P, 2, side)
    [sides] = to_device([torch.tensor([width, height], dtype=points.dtype)], points.device)
    limits = sides[:, None]
    within = (cells <= last[..., None]) & (cells >= 0) & (cells < limits)
    profile = torch.exp(-((cells - points[..., None]) ** 2) / (2 * sigma**2)) * within
    across, down = profile.unbind(3)
    values = down[..., :, None] * across[..., None, :]
    covered = within[..., 1, :, None] & within[..., 0, None, :] & valid[..., None, None]
    x, y = cells.clamp(min=0).minimum(limits - 1).where(valid[..., None, None], 0).long().unbind(3)
    index = y[..., :, None] * width + x[..., None, :]

    def painted(windows: Tensor) -> Tensor:
        """Return the maps (B, P, H W) of the highest values of windows (B, N, P, side, side)."""
        own = windows.permute(0, 2, 1, 3, 4).flatten(2).float()
        at = index.permute(0, 2, 1, 3, 4).flatten(2)
        return own.new_zeros(batch, count, height * width).scatter_reduce_(2, at, own, "amax")

    shape = (batch, count, height, width)
    return painted(values * covered).view(shape), painted(covered).view(shape) > 0


def regression(people: People, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Return the offsets (B, 2 K, H, W) around centres, and their weights, both float32.

    Where regions of people overlap, the smaller person should win. The published code remembers
    one size for a cell, not for each keypoint: a cell whose offset of a keypoint is set is kept
    only if the size remembered there, of whatever keypoint was written last, is smaller than the
    person's. It is kept in float32 and compared with float64, so once a person has written one
    keypoint, the rounding of its own size decides about the others that are set.

    Args:
        people: of the images.
        size: H, W.
    """
    height, width = size
    batch, rows, count, _ = people.keypoints.shape
    device = people.keypoints.device
    centres = people.centres.trunc()
    trained = people.has_centre & inside(centres, size)
    trained_keypoints = people.labelled & inside(people.keypoints, size) & trained[..., None]
    # A margin of cells that are cut off again, so that no region is clipped.
    tall, wide = height + 2 * REACH - 1, width + 2 * REACH - 1
    offsets = torch.zeros(batch, count, 2, tall * wide, device=device)
    weights = torch.zeros(batch, count, tall * wide, device=device)
    remembered = torch.zeros(batch, tall * wide, device=device)
    step = torch.arange(-REACH, REACH, device=device)
    reach = torch.stack(torch.meshgrid(step, step, indexing="xy"), -1).flatten(0, 1)  # (64, 2)
    for person in range(rows):
        labelled = trained_keypoints[:, person, :, None]  # (B, K, 1)
        centre = centres[:, person].where(trained[:, person, None], 0)
        cells = centre[:, None] + reach  # (B, 64, 2) x, y
        index = ((cells[..., 1] + REACH) * wide + cells[..., 0] + REACH).long()
        of_keypoints = index[:, None].expand(-1, count, -1)
        of_axes = of_keypoints[:, :, None].expand(-1, -1, 2, -1)

        own_size = people.size[:, person]
        stored_size = own_size.float()
        old = offsets.gather(3, of_axes)
        held = (old != 0).any(2)  # (B, K, 64)
        yields = (remembered.gather(1, index) >= own_size[:, None])[:, None]
        # The person's first keypoint at a cell overwrites the remembered size by its own.
        first = labelled & (yields | ~held)
        after_first = first.cumsum(1) > first.long()
        yields_to_itself = (stored_size >= own_size)[:, None, None]
        written = labelled & (~held | torch.where(after_first, yields_to_itself, yields))

        new = (cells[:, None] - people.keypoints[:, person, :, None]).mT.float()
        offsets.scatter_(3, of_axes, new.where(written[:, :, None], old))
        weight = own_size.clamp(min=MIN_SIZE).rsqrt().float()[:, None, None]
        weights.scatter_(2, of_keypoints, weight.where(written, weights.gather(2, of_keypoints)))
        at = remembered.gather(1, index)
        remembered.scatter_(1, index, stored_size[:, None].where(written.any(1), at))

    def inner(maps: Tensor) -> Tensor:
        own = maps.view(*maps.shape[:-1], tall, wide)
        return own[..., REACH : REACH + height, REACH : REACH + width]

    return inner(offsets).flatten(1, 2), inner(weights).repeat_interleave(2, 1)
