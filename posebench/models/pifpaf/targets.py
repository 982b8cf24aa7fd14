"""PifPaf's targets: composite fields, in which each cell encodes the nearest keypoint or limb.

A cell of a keypoint field holds the confidence that the keypoint is near, the offset to it and its
scale; a cell of a limb field holds the same for the two ends of a limb that passes near the cell.

Source: PifPaf (Kreiss et al., CVPR 2019), encoded as its authors' code (version 0.13) does.

Shapes: N people, K keypoints, M limbs, H x W cells. A cell is `stride` pixels wide and high, and
cell (x, y) lies at pixel (stride x, stride y). Distances and scales are in cells.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from posebench.errors import ModelError
from posebench.layers.heatmaps import inside
from posebench.skeleton import COCO, CROWDPOSE, MPII, Pairs, Skeleton, canonical_name
from posebench.structures import Poses

KEYPOINT_VALUES = 4  # per cell: confidence, x, y, scale
LIMB_VALUES = 7  # per cell: confidence, x and y of both ends, scales of both
KEYPOINT_SIDE = 4  # cells, side of the square that encodes a keypoint
LIMB_SIDE = 3  # cells, side of the square around each point of a limb
COLLISION_PX = 32  # an occluded keypoint within it of another person's visible one is skipped
LARGEST_GROWTH = 5.0  # maximum factor on the size of a partly labelled person
LEAST_SCALE = 0.1  # cells; the scale of smaller people is unknown
KEYPOINT_MARGIN = 1.5  # cells by which ignored boxes are enlarged in keypoint fields
LIMB_MARGIN = 1.0  # and in limb fields


@dataclass(frozen=True)
class FieldLayout:
    """The limbs, sizes and weights of a keypoint set."""

    limbs: tuple[tuple[int, int], ...]  # first and second end
    sigmas: tuple[float, ...]  # (K,) size of a keypoint relative to its person
    # (K,) pose of a standing person, or of a mean one, y up, any unit; empty: not known
    upright: tuple[tuple[float, float], ...]
    score_weights: tuple[float, ...]  # (K,) of a person's keypoints, highest score first


def _pairs(text: str) -> tuple[tuple[int, int], ...]:
    """Return pairs of keypoint indices from published ones, which count from 1: "16-14 14-12"."""
    pairs = (pair.split("-") for pair in text.split())
    return tuple((int(first) - 1, int(second) - 1) for first, second in pairs)


# The limbs of a keypoint set, in the order of the fields. Other sets use their skeleton's limbs.
_LIMBS = {
    COCO.keypoints: _pairs(
        "16-14 14-12 17-15 15-13 12-13 6-12 7-13 6-7 6-8 7-9 8-10 9-11 2-3 1-2 1-3 2-4 3-5 4-6 5-7"
    ),
    CROWDPOSE.keypoints: _pairs(
        "13-14 14-1 14-2 1-2 7-8 1-3 3-5 2-4 4-6 1-7 2-8 7-9 9-11 8-10 10-12"
    ),
    # Ours: COCO's limbs, with MPII's torso and head in place of the face.
    MPII.keypoints: _pairs(
        "6-5 5-4 1-2 2-3 4-3 14-4 13-3 14-13 14-15 13-12 15-16 12-11 7-4 7-3 7-8 8-14 8-13 8-9 9-10"
    ),
}

# A standing person's pose. Left is at negative x, as published; MPII's torso and neck are ours.
_UPRIGHT = {
    "nose": (0.0, 9.3), "left_eye": (-0.35, 9.7), "right_eye": (0.35, 9.7),
    "left_ear": (-0.7, 9.5), "right_ear": (0.7, 9.5), "head": (0.0, 10.3), "neck": (0.0, 9.3),
    "head_top": (0.0, 10.3), "upper_neck": (0.0, 8.8), "thorax": (0.0, 8.0), "pelvis": (0.0, 4.0),
    "left_shoulder": (-1.4, 8.0), "right_shoulder": (1.4, 8.0), "left_elbow": (-1.75, 6.0),
    "right_elbow": (1.75, 6.2), "left_wrist": (-1.75, 4.0), "right_wrist": (1.75, 4.2),
    "left_hip": (-1.26, 4.0), "right_hip": (1.26, 4.0), "left_knee": (-1.4, 2.0),
    "right_knee": (1.4, 2.1), "left_ankle": (-1.4, 0.0), "right_ankle": (1.4, 0.1),
}  # fmt: skip

_PLACES = {canonical_name(name): place for name, place in _UPRIGHT.items()}

# Weights of a person's keypoints with the highest scores; the others have weight 1.
_FIRST_WEIGHTS = {COCO.keypoints: (3.0, 3.0, 3.0)}


def field_layout(skeleton: Skeleton) -> FieldLayout:
    """Return the layout with which fields of a keypoint set are encoded and decoded.

    The upright pose is empty if it lacks one of the keypoints.

    Raises:
        ModelError: the limbs do not connect all keypoints, or there is one keypoint only.
    """
    if len(skeleton) < 2:
        raise ModelError(
            f"PifPaf builds people limb by limb, but {skeleton.name} has one keypoint: take "
            "another method (cid, posedet, group_pose, higher_hrnet, mask_rcnn)."
        )
    limbs = _LIMBS.get(skeleton.keypoints, skeleton.limbs)
    apart = _apart(limbs, len(skeleton))
    if apart:
        raise ModelError(
            "PifPaf builds people limb by limb, but no limbs lead from "
            f"{skeleton.keypoints[0]} to {', '.join(skeleton.keypoints[k] for k in apart)} of "
            f"{skeleton.name}: give `limbs` that connect all keypoints in its dataset.toml."
        )
    names = [canonical_name(name) for name in skeleton.keypoints]
    known = all(name in _PLACES for name in names)
    first = _FIRST_WEIGHTS.get(skeleton.keypoints, ())
    return FieldLayout(
        limbs=limbs,
        sigmas=skeleton.sigmas,
        upright=tuple(_PLACES[name] for name in names) if known else (),
        score_weights=first + (1.0,) * (len(skeleton) - len(first)),
    )


def _apart(limbs: Pairs, keypoints: int) -> list[int]:
    """Return the keypoints that no limbs lead to from the first one."""
    reached = {0}
    for _ in limbs:
        for limb in limbs:
            if reached & set(limb):
                reached |= set(limb)
    return [k for k in range(keypoints) if k not in reached]


def field_size(size: tuple[int, int], stride: int) -> tuple[int, int]:
    """Return H, W of the fields of an input of H, W pixels."""
    return (size[0] - 1) // stride + 1, (size[1] - 1) // stride + 1


@dataclass(frozen=True)
class FieldPeople:
    """The people of one image, in cells of the fields; y points down."""

    keypoints: Tensor  # (N, K, 2) float64
    labelled: Tensor  # (N, K) bool, without those hidden by another person's
    scales: Tensor  # (N, K) sizes of keypoints; NaN: unknown
    ignored: Tensor  # (U, 2, 2) top left and bottom right of the ignored boxes
    valid: Tensor  # (2, 2) top left and bottom right of the image without padding


def field_people(
    poses: Poses, layout: FieldLayout, stride: int, valid_px: tuple[float, float, float, float]
) -> FieldPeople:
    """Return the people of one image in cells, with the scales of their keypoints.

    Args:
        poses: poses in network-input pixels.
        layout: layout of their keypoint set.
        stride: pixels per cell.
        valid_px: x, y, width, height of the image within the network's input; the rest is padding.
    """
    labelled = poses.visibility > 0
    labelled = labelled & ~_hidden(poses.keypoints, poses.visibility)
    # As published, in float32 up to here: the last digits of offsets depend on it.
    keypoints = (poses.keypoints.float() / stride).double()
    sigmas = keypoints.new_tensor(layout.sigmas)
    x, y, width, height = valid_px
    valid = keypoints.new_tensor([[x, y], [x + width, y + height]])
    boxes = torch.cat([poses.unlabelled, poses.crowds])
    return FieldPeople(
        keypoints,
        labelled,
        person_scales(keypoints, labelled, layout)[:, None] * sigmas,
        torch.stack([boxes.amin(1), boxes.amax(1)], 1) / stride,
        valid / stride,
    )


def _hidden(keypoints: Tensor, visibility: Tensor) -> Tensor:
    """Return (N, K) bool: occluded keypoints near the same visible keypoint of another person."""
    near = ((keypoints[:, None] - keypoints[None]).abs() < COLLISION_PX).all(-1)  # (N, N, K)
    same = torch.eye(len(keypoints), dtype=torch.bool, device=keypoints.device)
    near = near & (visibility == 2)[None] & ~same[..., None]
    return (visibility == 1) & near.any(1)


def person_scales(keypoints: Tensor, labelled: Tensor, layout: FieldLayout) -> Tensor:
    """Return the sizes (N,) of people: the square root of the area of a box around all keypoints.

    The area around the labelled keypoints is extrapolated: it grows by the ratio of the same two
    areas in the upright pose, or in that pose rotated by 45 degrees, whichever is smaller; where
    that pose is not known, it is not. NaN: fewer than three keypoints are labelled, or the person
    is too small.
    """
    growth = keypoints.new_full((len(keypoints),), LARGEST_GROWTH if layout.upright else 1.0)
    upright = keypoints.new_tensor(layout.upright).reshape(-1, 2)
    turn = math.sqrt(0.5)
    turned = upright @ upright.new_tensor([[turn, turn], [-turn, turn]])
    for pose in (upright, turned) if layout.upright else ():
        everyone = pose.expand(len(keypoints), -1, -1)
        whole = _extent(pose[None], torch.ones_like(labelled[:1]))
        growth = torch.minimum(growth, (whole / _extent(everyone, labelled)).sqrt())
    scales = _extent(keypoints, labelled).sqrt() * growth
    # The comparison is False for NaN, the scale of a person whose keypoints coincide.
    known = (labelled.sum(1) >= 3) & (scales >= LEAST_SCALE)
    return scales.where(known, torch.nan)


def _extent(keypoints: Tensor, labelled: Tensor) -> Tensor:
    """Return the areas (N,) of the boxes of labelled keypoints; 0 where there are none."""
    low = keypoints.where(labelled[..., None], torch.inf).amin(1)
    high = keypoints.where(labelled[..., None], -torch.inf).amax(1)
    return (high - low).clamp(min=0).prod(1)


def keypoint_fields(people: FieldPeople, size: tuple[int, int]) -> Tensor:
    """Return the keypoint fields of one image.

    Args:
        people: the image's N people.
        size: H, W of the fields.

    Returns:
        (K, 4, H, W) float32 confidence, x and y offset from the cell to the keypoint, scale. Cells
        without a keypoint have confidence 0 and NaN otherwise; all values of ignored cells are NaN.

    Source: the authors' encoder: a keypoint is encoded in the 4 x 4 cells around it; a cell that
    several people reach encodes the nearest keypoint, among equals the first person's.
    """
    count, keypoints = people.labelled.shape
    steps = _steps(KEYPOINT_SIDE, people.keypoints)
    corners = (people.keypoints - (KEYPOINT_SIDE - 1) / 2).round()
    cells = corners[:, :, None] + steps  # (N, K, 16, 2)
    offsets = people.keypoints[:, :, None] - cells
    distance = offsets.norm(dim=-1)
    scales = people.scales[..., None].expand_as(distance)
    values = torch.cat([offsets, scales[..., None]], -1)
    kind = torch.arange(keypoints, device=cells.device)[None, :, None].expand_as(distance)
    person = torch.arange(count, device=cells.device)[:, None, None].expand_as(distance)
    valid = people.labelled[..., None].expand_as(distance)
    # Negated, since the highest rank wins among equals.
    return _nearest_fields(
        people, kind, cells, distance, -person, values, valid,
        maps=keypoints, size=size, margin=KEYPOINT_MARGIN,
    )  # fmt: skip


def limb_fields(people: FieldPeople, layout: FieldLayout, size: tuple[int, int]) -> Tensor:
    """Return the limb fields of one image.

    Returns:
        (M, 7, H, W) float32 confidence, x and y offset to the first end, the same to the second,
        scale of the first end, of the second; NaN as in `keypoint_fields`.

    Source: the authors' encoder: a limb is encoded in the 3 x 3 cells around points between its two
    ends; a cell that several limbs reach encodes the nearest, among equals the last person's.
    """
    device = people.keypoints.device
    first, second = torch.tensor(layout.limbs, device=device).unbind(1)
    start, end = people.keypoints[:, first], people.keypoints[:, second]  # (N, M, 2)
    valid = people.labelled[:, first] & people.labelled[:, second]
    valid = valid & (inside(start, size) | inside(end, size))
    person, kind = valid.nonzero().unbind(1)  # (L,)
    start, end = start[person, kind], end[person, kind]
    along = end - start
    length = along.norm(dim=1)
    cells = _beside(start, along, length)  # (L, P, 2)
    to_start, to_end = start[:, None] - cells, end[:, None] - cells
    cross = along[:, None, 0] * to_start[..., 1] - along[:, None, 1] * to_start[..., 0]
    distance = cross.abs() / (length + 0.01)[:, None]
    scales = torch.stack(
        [people.scales[person, first[kind]], people.scales[person, second[kind]]], -1
    )
    scales = scales[:, None].expand(-1, cells.shape[1], -1)
    values = torch.cat([to_start, to_end, scales], -1)
    return _nearest_fields(
        people, kind[:, None].expand_as(distance), cells, distance,
        person[:, None].expand_as(distance), values, torch.ones_like(distance, dtype=torch.bool),
        maps=len(layout.limbs), size=size, margin=LIMB_MARGIN,
    )  # fmt: skip


def _steps(side: int, like: Tensor) -> Tensor:
    """Return the x, y (side^2, 2) of the cells of a square."""
    ends = torch.arange(side, dtype=like.dtype, device=like.device)
    return torch.cartesian_prod(ends, ends)


def _beside(start: Tensor, along: Tensor, length: Tensor) -> Tensor:
    """Return the cells (L, P, 2) along L limbs; shorter limbs repeat their last point."""
    margin = (1.5 / length).clamp(0.25, 0.4)
    points = length.ceil().clamp(min=2)
    most = int(points.max()) if len(points) else 2
    number = torch.arange(most, device=start.device)
    part = torch.minimum(number[None] / (points - 1)[:, None], torch.ones_like(length)[:, None])
    share = margin[:, None] + part * (1 - 2 * margin)[:, None]
    on_line = start[:, None] + share[..., None] * along[:, None]
    corners = (on_line - (LIMB_SIDE - 1) / 2).round()
    return (corners[:, :, None] + _steps(LIMB_SIDE, start)).flatten(1, 2)


def _nearest_fields(
    people: FieldPeople,
    kind: Tensor,
    cells: Tensor,
    distance: Tensor,
    rank: Tensor,
    values: Tensor,
    valid: Tensor,
    *,
    maps: int,
    size: tuple[int, int],
    margin: float,
) -> Tensor:
    """Return the fields in which each cell holds the values of its nearest candidate.

    Args:
        people: the image's people, for their ignored regions and the image's extent.
        kind: (...) index of each candidate's map.
        cells: (..., 2) x, y of each candidate's cell, whole numbers.
        distance: (...) distance of each candidate from its cell; the nearest is chosen.
        rank: (...) rank of each candidate; the highest is chosen among equally near ones.
        values: (..., V) values of each candidate.
        valid: (...) bool, False: the candidate is ignored.
        maps: number of maps.
        size: H, W of the maps.
        margin: cells by which ignored boxes are enlarged.
    """
    height, width = size
    ignored = _ignored(people.ignored, size, margin)
    valid = valid & inside(cells, size)
    x, y = cells.clamp(min=0).long().unbind(-1)
    x, y = x.clamp(max=width - 1), y.clamp(max=height - 1)
    valid = valid & ~(ignored[y, x] & (distance >= 1))
    index = ((kind * height + y) * width + x)[valid]
    distance, rank, values = distance[valid], rank[valid], values[valid]

    least = distance.new_full((maps * height * width,), torch.inf)
    nearest = distance == least.scatter_reduce(0, index, distance, "amin")[index]
    index, rank, values = index[nearest], rank[nearest], values[nearest]
    highest = rank.new_full((maps * height * width,), torch.iinfo(rank.dtype).min)
    wins = rank == highest.scatter_reduce(0, index, rank, "amax")[index]

    fields = values.new_full((maps * height * width, 1 + values.shape[-1]), torch.nan)
    fields[:, 0] = torch.where(ignored.flatten(), torch.nan, 0.0).repeat(maps)
    fields[index[wins], 0] = 1.0
    fields[index[wins], 1:] = values[wins]
    fields = fields.view(maps, height, width, -1)
    beyond = _beyond(people.valid, size)
    fields[:, beyond] = torch.nan
    fields[..., 0].masked_fill_(beyond, 0.0)
    return fields.permute(0, 3, 1, 2).float()


def _ignored(boxes: Tensor, size: tuple[int, int], margin: float) -> Tensor:
    """Return a mask (H, W) of the cells in boxes (U, 2, 2) enlarged by a margin."""
    low = (boxes[:, 0] - margin).trunc()
    high = (boxes[:, 1] + margin).ceil() + 1
    return _within(low, high, size).any(0)


def _beyond(valid: Tensor, size: tuple[int, int]) -> Tensor:
    """Return a mask (H, W) of the cells outside the image."""
    low = valid[0].trunc()
    return ~_within(low[None], (valid[1].ceil() + 1)[None], size)[0]


def _within(low: Tensor, high: Tensor, size: tuple[int, int]) -> Tensor:
    """Return masks (U, H, W) of the cells from low (U, 2) to high (U, 2), exclusive."""
    rows = torch.arange(size[0], device=low.device)
    columns = torch.arange(size[1], device=low.device)
    by_row = (rows >= low[:, 1:]) & (rows < high[:, 1:])
    by_column = (columns >= low[:, :1]) & (columns < high[:, :1])
    return by_row[:, :, None] & by_column[:, None, :]
