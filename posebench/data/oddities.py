"""What looks wrong with annotated people though a reader can take it: for the doctor's notes.

Shapes: N people with labelled keypoints, K keypoints.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from posebench.ground_truth import GroundTruth
from posebench.skeleton import Skeleton, canonical_name

# A keypoint may lie outside its box by this share of the box's longer side.
_BESIDE_BOX = 0.1
# Left and right are compared on so many people at least, and look exchanged if at most this share
# of them has the two in the expected order: crossed arms and legs are rarer.
_LEAST_PEOPLE, _EXCHANGED = 10, 1 / 3
_FACE = ("nose", "lefteye", "righteye")


def visibility_shares(truth: GroundTruth) -> list[str]:
    """Return for each keypoint how many percent are not labelled, hidden and visible."""
    flags = truth.keypoints[truth.people][..., 2]
    if not len(flags):
        return []
    percent = [100 * (flags == flag).mean(0) for flag in (0, 1, 2)]
    return [
        f"{name} {absent:.0f}/{hidden:.0f}/{visible:.0f}"
        for name, absent, hidden, visible in zip(truth.skeleton.keypoints, *percent, strict=True)
    ]


def outside_box(truth: GroundTruth) -> Iterator[str]:
    """Yield the people of whom a labelled keypoint lies clearly outside their box."""
    people = np.flatnonzero(truth.people)
    keypoints, boxes = truth.keypoints[people], truth.boxes[people]
    margin = _BESIDE_BOX * boxes[:, 2:].max(1, initial=0.0)[:, None, None]
    low, high = boxes[:, None, :2] - margin, boxes[:, None, :2] + boxes[:, None, 2:] + margin
    places = keypoints[..., :2]
    outside = ((places < low) | (places > high)).any(-1) & (keypoints[..., 2] > 0)
    for index in people[outside.any(1)].tolist():
        yield f"annotation {truth.ids[index]}"


def exchanged_pairs(truth: GroundTruth) -> Iterator[str]:
    """Yield the pairs of keypoints whose left and right look exchanged.

    Of people who face the camera, with nose and both eyes labelled, the left is on the right of the
    image. Where a keypoint set has no face or nobody shows theirs, each pair is compared with the
    majority of the person's other pairs.
    """
    pairs = truth.skeleton.pairs
    if not pairs:
        return
    keypoints = truth.keypoints[truth.people]
    left, right = (keypoints[:, [pair[side] for pair in pairs]] for side in (0, 1))
    labelled = (left[..., 2] > 0) & (right[..., 2] > 0)
    side = np.where(labelled, np.sign(left[..., 0] - right[..., 0]), 0)  # (N, pairs)
    frontal = _frontal(keypoints, truth.skeleton)
    known = int(frontal.sum()) >= _LEAST_PEOPLE
    for index, (first, second) in enumerate(pairs):
        if known:
            own, expected = side[frontal, index], 1.0
        else:
            own, expected = side[:, index], np.sign(side.sum(1) - side[:, index])
        agreement = own * expected
        count, right_way = int((agreement != 0).sum()), int((agreement > 0).sum())
        if count >= _LEAST_PEOPLE and right_way <= _EXCHANGED * count:
            names = truth.skeleton.keypoints
            yield f"{names[first]} and {names[second]} of {count - right_way} of {count} people"


def _frontal(keypoints: NDArray[np.float64], skeleton: Skeleton) -> NDArray[np.bool_]:
    """Return (N,) whose face is seen."""
    place = {canonical_name(name): k for k, name in enumerate(skeleton.keypoints)}
    face = [place[name] for name in _FACE if name in place]
    if len(face) < len(_FACE):
        return np.zeros(len(keypoints), np.bool_)
    return np.asarray((keypoints[:, face, 2] > 0).all(1), np.bool_)
