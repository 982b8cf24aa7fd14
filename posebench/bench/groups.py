"""Groups of people or images, in each of which models are compared.

People outside a group are ignored, as COCO ignores people outside a range of areas: detections that
match them count neither way, and all others are still false positives. A group of few people
therefore has a low AP, which is to be compared with that of other models and not of other groups.
A group of images is as a dataset of these images alone.

Shapes: N annotations and I images of a `GroundTruth`, in its order.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from posebench.ground_truth import GroundTruth
from posebench.metrics.matching import ALL_AREAS, Criterion
from posebench.structures import Protocol

Flags = NDArray[np.bool_]

GROUPINGS = ("keypoint", "size", "crowding", "overlap", "labelled")

# Sides in pixels of squares of a person's area. COCO's medium people have 32 to 96.
_SIDES = (0, 32, 64, 96, 128, math.inf)
# Upper ends of ranges: of labelled keypoints, for the 17 of COCO; and of people in an image.
_LABELLED = (5, 10, 15, 17)
_PEOPLE = (1, 2, 4, 8)
_OVERLAPS = (0, 2)


@dataclass(frozen=True, eq=False)
class Group:
    """Some of the people, or of the images; or all people, of whom one keypoint is compared."""

    by: str  # one of `GROUPINGS`
    label: str
    people: Flags | None = None  # (N,) True for the people of the group; None: all
    images: Flags | None = None  # (I,) True for its images; None: all
    keypoint: int | None = None  # the only one to compare; None: all
    area: tuple[float, float] = ALL_AREAS  # unmatched detections of another area are ignored

    def criterion(self) -> Criterion:
        """Return what the matching of the group compares; images are chosen after it."""
        return Criterion(area=self.area, keypoint=self.keypoint, people=self.people)


def groups_of(truth: GroundTruth, protocol: Protocol, *, overlap_iou: float = 0.1) -> list[Group]:
    """Return the groups in which somebody is to be found, those of one grouping together.

    Args:
        truth: the annotations.
        protocol: of whose keypoints the groups by keypoint are.
        overlap_iou: from which intersection over union on, exclusive, two boxes overlap.

    Returns:
        By keypoint; by size, which is the square root of the area in pixels; by crowding, which is
        crowdIndex where all images have one, else the number of people in the image; by the number
        of boxes that overlap with the person's, those of crowd regions and of people without
        labelled keypoints included; and by the number of labelled keypoints.
    """
    found = [
        *_by_keypoint(truth, protocol),
        *_by_size(truth),
        *_by_crowding(truth),
        *_of_ranges("overlap", overlaps(truth, overlap_iou), (*_OVERLAPS, math.inf), 0, truth),
        *_of_ranges("labelled", truth.counts, _labelled_limits(truth), 1, truth),
    ]
    return [group for group in found if _anybody(group, truth)]


def overlaps(truth: GroundTruth, iou: float = 0.1) -> NDArray[np.int64]:
    """Return (N,) with how many other boxes of the image each box overlaps by more than an IoU."""
    count = np.zeros(len(truth), np.int64)
    low, size = truth.boxes[:, :2], truth.boxes[:, 2:]
    for index in range(truth.num_images):
        own = truth.of_image(index)
        if len(own) < 2:
            continue
        start, end = low[own], low[own] + size[own]
        shared = np.minimum(end[:, None], end) - np.maximum(start[:, None], start)
        common = np.maximum(shared, 0).prod(-1)
        area = size[own].prod(-1)
        union = area[:, None] + area - common
        above = common > iou * union
        np.fill_diagonal(above, False)
        count[own] = above.sum(1)
    return count


def _by_keypoint(truth: GroundTruth, protocol: Protocol) -> Iterator[Group]:
    for index, name in enumerate(protocol.skeleton.keypoints):
        labelled = truth.people & (truth.keypoints[:, index, 2] > 0)
        yield Group("keypoint", name, people=labelled, keypoint=index)


def _by_size(truth: GroundTruth) -> Iterator[Group]:
    for low, high in pairwise(_SIDES):
        limits = (float(low**2), min(float(high**2), ALL_AREAS[1]))
        # Both ends are included, as in COCO's ranges.
        within = truth.people & (truth.area >= limits[0]) & (truth.area <= limits[1])
        label = f"{low}–{high} px" if high < math.inf else f"above {low} px"
        yield Group("size", label, people=within, area=limits)


def _by_crowding(truth: GroundTruth) -> Iterator[Group]:
    crowding = truth.crowd_index
    if len(crowding) and not np.isnan(crowding).any():
        tenth = np.minimum((crowding * 10 + 1e-9).astype(np.int64), 9)
        for index in range(10):
            label = f"{index / 10:.1f}–{(index + 1) / 10:.1f}" if index < 9 else "0.9 and above"
            yield Group("crowding", label, images=tenth == index)
        return
    people = np.bincount(truth.image[truth.people], minlength=truth.num_images)
    for low, high in _ranges((*_PEOPLE, math.inf), 1):
        people_in = (people >= low) & (people <= high)
        word = "person" if high == 1 else "people"
        yield Group("crowding", f"{_label(low, high)} {word}", images=people_in)


def _of_ranges(
    by: str, values: NDArray[np.int64], ends: tuple[float, ...], first: int, truth: GroundTruth
) -> Iterator[Group]:
    """Yield groups of people by a count; `ends` are the highest of each range."""
    for low, high in _ranges(ends, first):
        chosen = truth.people & (values >= low) & (values <= high)
        yield Group(by, _label(low, high), people=chosen)


def _ranges(ends: tuple[float, ...], first: int) -> Iterator[tuple[int, float]]:
    low = first
    for high in ends:
        if high >= low:
            yield low, high
            low = int(high) + 1 if high < math.inf else low


def _label(low: int, high: float) -> str:
    if high == math.inf:
        return f"{low} and more"
    return f"{low}" if low == high else f"{low}–{high:g}"


def _labelled_limits(truth: GroundTruth) -> tuple[float, ...]:
    """Return the ends of the ranges of labelled keypoints, in proportion to those of COCO."""
    skeleton = truth.skeleton
    counted = len(skeleton) - len(skeleton.not_counted)
    return tuple(round(counted * end / _LABELLED[-1]) for end in _LABELLED)


def _anybody(group: Group, truth: GroundTruth) -> bool:
    people = truth.people
    if group.people is not None:
        people = people & group.people
    if group.images is not None:
        people = people & group.images[truth.image]
    return bool(people.any())
