"""PoseDet's training targets: the assignment of candidates to people.

Shapes: B images, M people of all images, N people of one image, K keypoints, P candidates of all
levels (level by level, row by row). The candidate in row y and column x of a level lies at the
pixel (x, y) times the level's stride.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from posebench.layers.heatmaps import gaussian_heatmaps
from posebench.layers.kept import kept
from posebench.layers.oks import oks
from posebench.models.posedet.recipes import PERSON_CELLS, PUBLISHED, Similarity
from posebench.skeleton import Skeleton
from posebench.structures import Poses
from posebench.transfer import moved, to_device

MIN_LABELLED = 3  # labelled keypoints of a person in training
BACKGROUND, IGNORED = -1, -2  # in place of a person's index


@dataclass(frozen=True)
class PoseDetTargets:
    """The targets that do not depend on predictions."""

    keypoints: Tensor  # (M, K, 2) float32, network-input pixels
    labelled: Tensor  # (M, K) bool
    area: Tensor  # (M,) of the boxes, square pixels
    people: list[Tensor]  # for each image the indices into M of its people in training
    annotated: list[bool]  # for each image whether it has any person, labelled or not
    coarse: Tensor  # (B, P) int64: the person whose coarse pose a candidate predicts, or BACKGROUND
    coarse_at: Tensor  # (N, 2) image and candidate of those that have a person in `coarse`
    heatmaps: tuple[Tensor, ...]  # (B, K, h, w) of each level
    masks: tuple[Tensor, ...]  # (B, 1, h, w) bool of each level, False where the loss is ignored


# ------------------------------------------------------------------------------------- candidates


@dataclass(frozen=True)
class CandidateGrid:
    """The positions of the candidates of a pyramid."""

    level: Tensor  # (P,) index of the level
    stride: Tensor  # (P,) stride of the level
    cells: Tensor  # (P, 2) column and row in the level

    @property
    def points(self) -> Tensor:
        """The positions (P, 2) x, y in network-input pixels."""
        return self.stride[:, None] * self.cells


def candidate_grid(
    sizes: Sequence[Sequence[int]], strides: Sequence[int], like: Tensor
) -> CandidateGrid:
    """Return the positions of the candidates.

    Args:
        sizes: h, w of the levels.
        strides: strides of the levels.
        like: a tensor with the dtype and device of the result.
    """
    levels = tuple((height, width) for height, width in sizes)
    return _grid(levels, tuple(strides), like.dtype, like.device)


@kept(16)  # training has few sizes, but needs the grid for every image
def _grid(
    sizes: tuple[tuple[int, int], ...],
    strides: tuple[int, ...],
    dtype: torch.dtype,
    device: torch.device,
) -> CandidateGrid:
    level, stride, cells = [], [], []
    for number, ((height, width), step) in enumerate(zip(sizes, strides, strict=True)):
        rows, columns = (torch.arange(side, dtype=dtype, device=device) for side in (height, width))
        cells.append(torch.cartesian_prod(rows, columns).flip(1))
        level.append(torch.full((height * width,), number, device=device))
        stride.append(torch.full((height * width,), step, device=device))
    return CandidateGrid(torch.cat(level), torch.cat(stride), torch.cat(cells))


def poses_from_offsets(offsets: Sequence[Tensor], strides: Sequence[int]) -> Tensor:
    """Return the poses of all candidates.

    Args:
        offsets: (B, 2K, h, w) of each level, y1, x1, y2, x2, ... in cells.
        strides: strides of the levels.

    Returns:
        (B, P, K, 2) x, y in network-input pixels.
    """
    grid = candidate_grid([level.shape[-2:] for level in offsets], strides, offsets[0])
    cells = offsets_to_xy(maps_to_rows(offsets)) + grid.cells[:, None]
    return grid.stride[:, None, None] * cells


def offsets_to_xy(offsets: Tensor) -> Tensor:
    """Return offsets y1, x1, y2, x2, ... (..., 2K) as (..., K, 2) x, y."""
    points = offsets.shape[-1] // 2
    return offsets.reshape(*offsets.shape[:-1], points, 2).flip(-1)


def maps_to_rows(maps: Sequence[Tensor]) -> Tensor:
    """Return the values (B, P, C) of all candidates from each level's map (B, C, h, w)."""
    return torch.cat([level.flatten(2).mT for level in maps], 1)


def rows_to_maps(values: Tensor, sizes: Sequence[Sequence[int]]) -> tuple[Tensor, ...]:
    """Return each level's map (B, C, h, w) from the values (B, P, C) of all candidates."""
    levels = torch.split(values, [height * width for height, width in sizes], 1)
    return tuple(
        level.mT.reshape(len(level), -1, *size) for level, size in zip(levels, sizes, strict=True)
    )


# ----------------------------------------------------------------------- independent of predictions


def build_targets(
    images: Sequence[Poses],
    sizes: Sequence[Sequence[int]],
    strides: Sequence[int],
    *,
    centroid: str,
    candidates: int = 1,
    person_cells: int = PERSON_CELLS,
    sigma: float = 2.0,
    device: torch.device | None = None,
) -> PoseDetTargets:
    """Return the targets that do not depend on predictions.

    Args:
        images: the people of each image, with torso points, in network-input pixels; on the CPU.
        sizes: h, w of the levels.
        strides: strides of the levels.
        centroid: the person's centre, to which its candidates are nearest: "keypoints" for the mean
            of the labelled ones, "box" for the centre of the box.
        candidates: number of candidates trained on one person's coarse pose.
        person_cells: as `assign_nearest`.
        sigma: standard deviation of the heatmaps' Gaussians, cells.
        device: where heatmaps are drawn, and the targets are returned; None: on the CPU.
    """
    device = device or torch.device("cpu")
    first = 0
    people, coarse = [], []
    for poses in images:
        labelled = poses.visibility > 0
        people.append(first + (labelled.sum(1) >= MIN_LABELLED).nonzero()[:, 0])
        assigned = assign_nearest(
            poses, sizes, strides, centroid, candidates=candidates, person_cells=person_cells
        )
        coarse.append(torch.where(assigned >= 0, assigned + first, BACKGROUND))
        first += len(poses)
    assigned = torch.stack(coarse)
    keypoints = torch.cat([poses.keypoints for poses in images])
    labelled = torch.cat([poses.visibility for poses in images]) > 0
    area = torch.cat([_box_sides(poses).prod(1) for poses in images]).float()
    masks = [_heatmap_mask(images, *level) for level in zip(sizes, strides, strict=True)]
    # What decides on shapes has been computed on the CPU; the maps are drawn on the device.
    few = (keypoints, labelled, area, people, assigned, (assigned >= 0).nonzero(), masks)
    keypoints, labelled, area, people, assigned, at, masks = moved(few, device)
    counts = [len(poses) for poses in images]
    heatmaps = [
        _heatmap_targets(keypoints, labelled, counts, *level, sigma)
        for level in zip(sizes, strides, strict=True)
    ]
    return PoseDetTargets(
        keypoints=keypoints.float(),
        labelled=labelled,
        area=area,
        people=people,
        annotated=[len(poses) + len(poses.unlabelled) > 0 for poses in images],
        coarse=assigned,
        coarse_at=at,
        heatmaps=tuple(heatmaps),
        masks=tuple(masks),
    )


def _box_sides(poses: Poses) -> Tensor:
    return poses.boxes[:, 3] - poses.boxes[:, 0]


def shift_right(poses: Poses, pixels: float) -> Poses:
    """Return poses and boxes moved to the right by a number of pixels."""
    shift = torch.tensor([pixels, 0.0], dtype=poses.keypoints.dtype, device=poses.keypoints.device)
    return replace(
        poses,
        keypoints=poses.keypoints + shift,
        boxes=poses.boxes + shift,
        unlabelled=poses.unlabelled + shift,
    )


def assign_nearest(
    poses: Poses,
    sizes: Sequence[Sequence[int]],
    strides: Sequence[int],
    centroid: str,
    *,
    min_labelled: int = MIN_LABELLED,
    candidates: int = 1,
    person_cells: int = PERSON_CELLS,
) -> Tensor:
    """Assign each person of an image to the nearest candidates of the level that fits its size.

    Args:
        poses: N people, in network-input pixels.
        sizes: h, w of the levels.
        strides: strides of the levels.
        centroid: the person's centre, as `build_targets`.
        min_labelled: minimum labelled keypoints of a person that is assigned.
        candidates: number of candidates assigned to a person.
        person_cells: size in cells of the smallest people of a level; the largest are twice as
            large. The finest level has all smaller people, the coarsest all larger ones.

    Returns:
        (P,) int64: index of each candidate's person, or BACKGROUND. A candidate that several people
        would get is assigned to the nearest, the first among equals; the others lose it.

    Source: Sec. 3.2; the rule for levels from the published code, RepPoints' (arXiv:1904.11490).
    """
    device = poses.keypoints.device
    grid = candidate_grid(sizes, strides, poses.keypoints)
    assigned = torch.full((len(grid.stride),), BACKGROUND, device=device)
    labelled = poses.visibility > 0
    eligible = (labelled.sum(1) >= min_labelled).nonzero()[:, 0]
    if not len(eligible):
        return assigned
    keypoints, labelled = poses.keypoints[eligible], labelled[eligible][..., None]
    low = keypoints.where(labelled, torch.inf).amin(1)
    high = keypoints.where(labelled, -torch.inf).amax(1)
    octave = ((high - low).clamp(min=1e-6) / person_cells).log2().mean(1).trunc()
    octave = octave.clamp(math.log2(strides[0]), math.log2(strides[-1]))
    if centroid == "box":
        centre = poses.boxes[eligible].mean(1)
    else:
        centre = (keypoints * labelled).sum(1) / labelled.sum(1)
    sides = _box_sides(poses)[eligible].clamp(min=1e-6)
    distance = ((grid.points[:, None] - centre) / sides).norm(dim=2)  # (P, N)
    distance = distance.where(grid.stride[:, None] == 2**octave, torch.inf)
    nearest = []
    for _ in range(candidates):
        nearest.append(distance.min(0))
        distance = distance.scatter(0, nearest[-1].indices[None], torch.inf)
    least = torch.stack([one.values for one in nearest], 1).flatten()
    candidate = torch.stack([one.indices for one in nearest], 1).flatten()
    person = eligible.repeat_interleave(candidates)
    order = torch.arange(len(person), device=device)
    nearer = (least < least[:, None]) | ((least == least[:, None]) & (order < order[:, None]))
    lost = (nearer & (candidate == candidate[:, None])).any(1)
    lost |= least.isinf()  # the level has fewer candidates than a person is assigned
    assigned[candidate[~lost]] = person[~lost]
    return assigned


def _heatmap_targets(
    keypoints: Tensor,
    labelled: Tensor,
    counts: Sequence[int],
    size: Sequence[int],
    stride: int,
    sigma: float,
) -> Tensor:
    """Return a level's heatmaps (B, K, h, w).

    Args:
        keypoints: (M, K, 2) in network-input pixels.
        labelled: (M, K).
        counts: the number of people in each image.
        size: h, w.
        stride: of the level.
        sigma: cells.
    """
    height, width = size
    constant = keypoints.new_ones(len(keypoints))
    gaussians = gaussian_heatmaps(
        keypoints / stride,
        labelled,
        (height, width),
        radius=round(3.5 * sigma) * constant,  # published: 7 cells where sigma is 2
        sigma=sigma * constant,
    )
    heatmaps = [
        maps.amax(0) if len(maps) else maps.new_zeros(maps.shape[1:])
        for maps in torch.split(gaussians, list(counts))
    ]
    return torch.stack(heatmaps)


def _heatmap_mask(images: Sequence[Poses], size: Sequence[int], stride: int) -> Tensor:
    """Return a level's mask (B, 1, h, w), False in boxes of people without a labelled keypoint."""
    masks = []
    for poses in images:
        mask = torch.ones(1, *size, dtype=torch.bool)
        for (left, top), _, _, (right, bottom) in poses.unlabelled.tolist():
            rows = slice(max(int(top / stride), 0), max(int(bottom / stride), 0))
            columns = slice(max(int(left / stride), 0), max(int(right / stride), 0))
            mask[:, rows, columns] = False
        masks.append(mask)
    return torch.stack(masks)


# ---------------------------------------------------------------------- dependent on coarse poses


@dataclass(frozen=True)
class OksAssignment:
    """The index (B, P) of the person assigned to each candidate, BACKGROUND or IGNORED."""

    refined: Tensor  # for the refined pose
    scored: Tensor  # for the score


def assign_by_oks(
    coarse: Tensor,
    targets: PoseDetTargets,
    skeleton: Skeleton,
    thresholds: Similarity = PUBLISHED,
) -> OksAssignment:
    """Assign people to candidates by the OKS of the coarse poses (B, P, K, 2).

    Source: Sec. 3.2; the second threshold of refinement from the published code.
    """
    refined, scored = [], []
    for poses, people, annotated in zip(coarse, targets.people, targets.annotated, strict=True):
        if not len(people):
            # If all people have too few keypoints, any candidate may be one of them.
            value = IGNORED if annotated else BACKGROUND
            constant = torch.full((len(poses),), value, device=poses.device)
            refined.append(constant)
            scored.append(constant)
            continue
        similarity = oks_with_people(poses, targets, people, skeleton)
        least = thresholds.refined
        refined.append(by_threshold(similarity, people, least, least, thresholds.refined_at_best))
        scored.append(by_threshold(similarity, people, thresholds.positive, thresholds.negative))
    return OksAssignment(torch.stack(refined), torch.stack(scored))


def oks_with_people(
    poses: Tensor, targets: PoseDetTargets, people: Tensor, skeleton: Skeleton
) -> Tensor:
    """Return the OKS (P, N) of poses (P, K, 2) with people (N,), without torso points."""
    count = len(skeleton)
    [sigmas] = to_device([torch.tensor(skeleton.sigmas, dtype=poses.dtype)], poses.device)
    return oks(
        poses[:, :count],
        targets.keypoints[people, :count],
        targets.labelled[people, :count],
        published_area(targets.area[people]),
        sigmas,
    )


def published_area(area: Tensor) -> Tensor:
    """Return the area for which COCO's OKS equals PoseDet's, which lacks COCO's factor 2."""
    return area / 2


def by_threshold(
    similarity: Tensor,
    people: Tensor,
    positive: float,
    negative: float,
    positive_at_best: float = math.inf,
) -> Tensor:
    """Return the index (P,) of each candidate's assigned person, BACKGROUND or IGNORED.

    Args:
        similarity: (P, N).
        people: (N,) indices of the people, at least one.
        positive: minimum similarity at which a candidate gets its most similar person.
        negative: similarity below which a candidate is background; in between it is ignored.
        positive_at_best: minimum similarity at which a person's best candidate gets that person;
            if it is the best candidate of several people, the last of them.
    """
    highest, index = similarity.max(1)
    person = torch.where(highest < negative, BACKGROUND, IGNORED)
    person = torch.where(highest >= positive, people[index], person)
    best = similarity.amax(0)
    at_best = (similarity == best) & (best >= positive_at_best)
    last = (at_best * torch.arange(1, len(people) + 1, device=people.device)).amax(1)
    return torch.where(last > 0, people[last - 1], person)
