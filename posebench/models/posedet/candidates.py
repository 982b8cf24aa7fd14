"""Which candidates of a pyramid learn whose pose, as PoseDet assigns them.

Shapes: B images, M people of all images, N of one, K keypoints, P candidates of all levels (level
by level, row by row). The candidate (y, x) of a level lies at (x, y) times its stride.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import torch
from torch import Tensor

from posebench.layers.heatmaps import gaussian_heatmaps
from posebench.layers.oks import oks
from posebench.models.posedet.recipes import PERSON_CELLS, PUBLISHED, Similarity
from posebench.structures import Poses, Skeleton

MIN_LABELLED = 3  # keypoints of a person who is trained on
NOBODY, IGNORED = -1, -2  # in place of a person's number
TORSO = ("left_shoulder", "right_shoulder", "left_hip", "right_hip")


@dataclass(frozen=True)
class PoseDetTargets:
    keypoints: Tensor  # (M, K, 2) float32, network-input pixels
    labelled: Tensor  # (M, K) bool
    area: Tensor  # (M,) of the boxes
    people: list[Tensor]  # per image the numbers, among M, of those with enough keypoints
    anybody: list[bool]  # per image: somebody is annotated, labelled or not
    coarse: Tensor  # (B, P) int64: the person whose coarse pose is learned there, or NOBODY
    heatmaps: tuple[Tensor, ...]  # per level (B, K, h, w)
    masks: tuple[Tensor, ...]  # per level (B, 1, h, w) bool, True where the loss counts


def poses_of(offsets: Sequence[Tensor], strides: Sequence[int]) -> Tensor:
    """Return the poses (B, P, K, 2) x, y in network-input pixels of each level's (B, 2K, h, w)."""
    poses = []
    for level, stride in zip(offsets, strides, strict=True):
        height, width = level.shape[-2:]
        yx = level.reshape(len(level), -1, 2, height, width)
        rows = torch.arange(height, device=level.device)[:, None]
        columns = torch.arange(width, device=level.device)
        xy = torch.stack([yx[:, :, 1] + columns, yx[:, :, 0] + rows], -1)  # (B, K, h, w, 2)
        poses.append(stride * xy.flatten(2, 3).transpose(1, 2))
    return torch.cat(poses, 1)


def candidate_grid(
    sizes: Sequence[Sequence[int]], strides: Sequence[int], like: Tensor
) -> tuple[Tensor, Tensor]:
    """Return every candidate's stride (P,) and its place (P, 2) x, y in network-input pixels.

    Args:
        sizes: h, w of the levels.
        strides: of the levels.
        like: a tensor of the places' type, on the device.
    """
    levels = tuple((height, width) for height, width in sizes)
    return _grid(levels, tuple(strides), like.dtype, like.device)


@lru_cache(maxsize=16)  # training has few sizes; every image asks
def _grid(
    sizes: tuple[tuple[int, int], ...],
    strides: tuple[int, ...],
    dtype: torch.dtype,
    device: torch.device,
) -> tuple[Tensor, Tensor]:
    with torch.inference_mode(False):  # whoever asks first, training may ask next
        counts = torch.tensor([height * width for height, width in sizes], device=device)
        stride = torch.tensor(strides, device=device).repeat_interleave(counts)
        still = [torch.zeros(1, 2, *size, dtype=dtype, device=device) for size in sizes]
        return stride, poses_of(still, strides)[0, :, 0]


def add_torso(poses: Poses, skeleton: Skeleton) -> Poses:
    """Return poses with one keypoint more: the mean of shoulders and hips.

    It is labelled where three of the four are; its visibility is their number, as published.
    """
    corners = [skeleton.keypoints.index(name) for name in TORSO]
    labelled = (poses.visibility[:, corners] > 0)[..., None]
    count = labelled.sum(1)  # (N, 1)
    torso = (poses.keypoints[:, corners] * labelled).sum(1) / count.clamp(min=1)
    return replace(
        poses,
        keypoints=torch.cat([poses.keypoints, torso[:, None]], 1),
        visibility=torch.cat([poses.visibility, count.where(count >= 3, 0)], 1),
    )


def build_targets(
    everybody: Sequence[Poses],
    sizes: Sequence[Sequence[int]],
    strides: Sequence[int],
    *,
    centroid: str,
    candidates: int = 1,
    person_cells: int = PERSON_CELLS,
    sigma: float = 2.0,
) -> PoseDetTargets:
    """Return what does not depend on predictions.

    Args:
        everybody: each image's people, with torsos, in network-input pixels.
        sizes: h, w of the levels.
        strides: of the levels.
        centroid: of which candidates lie nearest to, "keypoints" or "box".
        candidates: that learn the coarse pose of one person.
        person_cells: across the smallest people of a level, half of the largest.
        sigma: of the heatmaps, cells.
    """
    first = 0
    people, coarse = [], []
    for poses in everybody:
        labelled = poses.visibility > 0
        people.append(first + (labelled.sum(1) >= MIN_LABELLED).nonzero()[:, 0])
        assigned = assign_nearest(
            poses, sizes, strides, centroid, candidates=candidates, person_cells=person_cells
        )
        coarse.append(torch.where(assigned >= 0, assigned + first, NOBODY))
        first += len(poses)
    drawn = [
        _heatmap_targets(everybody, size, stride, sigma)
        for size, stride in zip(sizes, strides, strict=True)
    ]
    return PoseDetTargets(
        keypoints=torch.cat([poses.keypoints for poses in everybody]).float(),
        labelled=torch.cat([poses.visibility for poses in everybody]) > 0,
        area=torch.cat([_box_sides(poses).prod(1) for poses in everybody]).float(),
        people=people,
        anybody=[len(poses) + len(poses.unlabelled) > 0 for poses in everybody],
        coarse=torch.stack(coarse),
        heatmaps=tuple(maps for maps, _ in drawn),
        masks=tuple(mask for _, mask in drawn),
    )


def _box_sides(poses: Poses) -> Tensor:
    return poses.boxes[:, 3] - poses.boxes[:, 0]


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
    """Return for every candidate (P,) the person who is nearest of those it is nearest to.

    A person belongs to the level whose stride fits the size of its keypoints, and to the candidate
    there that lies nearest to their mean, or to the box's centre; or to so many candidates.

    Source: Sec. 3.2; the rule for levels from the published code, RepPoints' (arXiv:1904.11490).
    """
    device = poses.keypoints.device
    stride, points = candidate_grid(sizes, strides, poses.keypoints)
    assigned = torch.full((len(stride),), NOBODY, device=device)
    labelled = poses.visibility > 0
    counted = (labelled.sum(1) >= min_labelled).nonzero()[:, 0]
    if not len(counted):
        return assigned
    keypoints, labelled = poses.keypoints[counted], labelled[counted][..., None]
    low = keypoints.where(labelled, torch.inf).amin(1)
    high = keypoints.where(labelled, -torch.inf).amax(1)
    fitting = ((high - low).clamp(min=1e-6) / person_cells).log2().mean(1).trunc()
    fitting = fitting.clamp(math.log2(strides[0]), math.log2(strides[-1]))
    if centroid == "box":
        centre = poses.boxes[counted].mean(1)
    else:
        centre = (keypoints * labelled).sum(1) / labelled.sum(1)
    sides = _box_sides(poses)[counted].clamp(min=1e-6)
    distance = ((points[:, None] - centre) / sides).norm(dim=2)  # (P, N)
    distance = distance.where(stride[:, None] == 2**fitting, torch.inf)
    wishes = []
    for _ in range(candidates):
        wishes.append(distance.min(0))
        distance = distance.scatter(0, wishes[-1].indices[None], torch.inf)
    nearest = torch.stack([wish.values for wish in wishes], 1).flatten()
    candidate = torch.stack([wish.indices for wish in wishes], 1).flatten()
    person = counted.repeat_interleave(candidates)
    # A candidate that two want is given to the nearer one, the earlier of equals.
    order = torch.arange(len(person), device=device)
    nearer = (nearest < nearest[:, None]) | (
        (nearest == nearest[:, None]) & (order < order[:, None])
    )
    lost = (nearer & (candidate == candidate[:, None])).any(1)
    lost |= nearest.isinf()  # the level has not so many
    assigned[candidate[~lost]] = person[~lost]
    return assigned


def _heatmap_targets(
    everybody: Sequence[Poses], size: Sequence[int], stride: int, sigma: float
) -> tuple[Tensor, Tensor]:
    """Return Gaussians (B, K, h, w) at the keypoints, and where their loss counts (B, 1, h, w).

    It does not count in the boxes of people whose keypoints nobody labelled.
    """
    height, width = size
    keypoints = torch.cat([poses.keypoints for poses in everybody])
    constant = keypoints.new_ones(len(keypoints))
    drawn = gaussian_heatmaps(
        keypoints / stride,
        torch.cat([poses.visibility for poses in everybody]) > 0,
        (height, width),
        radius=round(3.5 * sigma) * constant,  # published: 7 cells where sigma is 2
        sigma=sigma * constant,
    )
    heatmaps, masks = [], []
    for poses, maps in zip(
        everybody, torch.split(drawn, [len(poses) for poses in everybody]), strict=True
    ):
        heatmaps.append(maps.amax(0) if len(maps) else maps.new_zeros(maps.shape[1:]))
        mask = torch.ones(1, height, width, dtype=torch.bool, device=maps.device)
        for (left, top), _, _, (right, bottom) in poses.unlabelled.tolist():
            rows = slice(max(int(top / stride), 0), max(int(bottom / stride), 0))
            columns = slice(max(int(left / stride), 0), max(int(right / stride), 0))
            mask[:, rows, columns] = False
        masks.append(mask)
    return torch.stack(heatmaps), torch.stack(masks)


@dataclass(frozen=True)
class TargetsByOks:
    """Which person (B, P) a candidate is for, or NOBODY, or IGNORED."""

    refined: Tensor
    scored: Tensor


def targets_by_oks(
    coarse: Tensor,
    targets: PoseDetTargets,
    skeleton: Skeleton,
    similarity: Similarity = PUBLISHED,
) -> TargetsByOks:
    """Compare coarse poses (B, P, K, 2) with people.

    Source: Sec. 3.2; the second threshold of refinement from the published code.
    """
    refined, scored = [], []
    for poses, people, anybody in zip(coarse, targets.people, targets.anybody, strict=True):
        if not len(people):
            # Where everybody lacks keypoints nothing is known of any candidate.
            nothing = torch.full((len(poses),), IGNORED if anybody else NOBODY, device=poses.device)
            refined.append(nothing)
            scored.append(nothing)
            continue
        found = similarity_to_people(poses, targets, people, skeleton)
        least = similarity.refined
        refined.append(people_of(found, people, least, least, similarity.refined_at_best))
        scored.append(people_of(found, people, similarity.positive, similarity.negative))
    return TargetsByOks(torch.stack(refined), torch.stack(scored))


def similarity_to_people(
    poses: Tensor, targets: PoseDetTargets, people: Tensor, skeleton: Skeleton
) -> Tensor:
    """Return the OKS (P, N) of poses (P, K, 2) with these people (N,); torsos do not count."""
    count = len(skeleton)
    return oks(
        poses[:, :count],
        targets.keypoints[people, :count],
        targets.labelled[people, :count],
        published_area(targets.area[people]),
        poses.new_tensor(skeleton.sigmas),
    )


def published_area(area: Tensor) -> Tensor:
    """Return the area by which COCO's OKS is the published one, which has no factor 2 with it."""
    return area / 2


def people_of(
    similarity: Tensor,
    people: Tensor,
    positive: float,
    negative: float,
    positive_at_best: float = math.inf,
) -> Tensor:
    """Return the person (P,) that a candidate is for, or NOBODY, or IGNORED in between.

    Args:
        similarity: (P, N).
        people: (N,) numbers, at least one.
        positive: similarity from which a candidate is for its most similar person.
        negative: similarity below which it is for nobody.
        positive_at_best: similarity from which it is for a person to whom none is more similar,
            the last of several.
    """
    highest, index = similarity.max(1)
    person = torch.where(highest < negative, NOBODY, IGNORED)
    person = torch.where(highest >= positive, people[index], person)
    best = similarity.amax(0)
    chosen = (similarity == best) & (best >= positive_at_best)
    last = (chosen * torch.arange(1, len(people) + 1, device=people.device)).amax(1)
    return torch.where(last > 0, people[last - 1], person)
