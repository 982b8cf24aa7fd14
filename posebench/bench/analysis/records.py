"""The rows of an analysis: keypoints, detections and people, and the errors of each keypoint."""

from __future__ import annotations

import numpy as np

from posebench.bench.analysis.kinds import Nearest
from posebench.bench.analysis.scene import Outcome, Poses, Scene
from posebench.bench.analysis.taxonomy import Taxonomy
from posebench.bench.analysis.values import (
    CLASSES,
    OKS_QUANTILES,
    QUANTILES,
    Codes,
    DetectionRecords,
    JointRecords,
    KeypointErrors,
    PersonRecords,
)
from posebench.bench.groups import overlaps
from posebench.ground_truth import GroundTruth
from posebench.metrics.matching import LARGE, MEDIUM, THRESHOLDS, Flags, Floats, Indices

_MARGIN = 1.0  # pixels from the image border within which a box touches it


def joint_records(scene: Scene, taxonomy: Taxonomy, mended: Poses) -> JointRecords:
    """Return a row for each labelled keypoint of the people who were found.

    Args:
        scene: people and detections.
        taxonomy: classes of the keypoints.
        mended: the poses after all keypoints were mended.
    """
    row, joint = np.nonzero((taxonomy.kind >= 0) & ~taxonomy.ignored[:, None])
    detection, person = taxonomy.detection[row], taxonomy.person[row]
    offset = scene.detections.keypoints[detection, joint] - scene.people.keypoints[person, joint]
    mirror = np.arange(len(scene.skeleton))
    for first, second in scene.skeleton.pairs or ():
        mirror[[first, second]] = second, first
    at = taxonomy.at_person[row, joint]
    at_joint = np.where(taxonomy.at_mirror[row, joint], mirror[joint], joint)
    return JointRecords(
        detection=detection,
        person=scene.person_rows[person],
        keypoint=joint,
        kind=taxonomy.kind[row, joint],
        similarity=taxonomy.similarity[row, joint],
        similarity_after=taxonomy.similarity_of(mended)[row, joint],
        pixels=np.hypot(offset[:, 0], offset[:, 1]),
        at_person=np.where(at >= 0, scene.person_rows[at], -1),
        at_keypoint=np.where(at >= 0, at_joint, -1),
    )


def detection_records(
    scene: Scene, taxonomy: Taxonomy, nearest: Nearest, kinds: Codes, optimal: Floats
) -> DetectionRecords:
    """Return a row for each evaluated detection."""
    size = len(scene.positions)
    person, oks = np.full(size, -1), np.zeros(size)
    person[taxonomy.detection] = scene.person_rows[taxonomy.person]
    oks[taxonomy.detection] = taxonomy.oks
    at_75 = int(np.isclose(THRESHOLDS, 0.75).argmax())
    return DetectionRecords(
        image=np.argsort(scene.truth.rank)[scene.detections.image],
        position=scene.positions,
        score=scene.detections.scores,
        best_oks=nearest.oks,
        person=person,
        oks=oks,
        kind_50=kinds[0],
        kind_75=kinds[at_75],
        optimal_score=optimal,
    )


def person_records(scene: Scene, outcome: Outcome) -> PersonRecords:
    """Return a row for each annotation, in the order of the ground truth."""
    truth = scene.truth
    highest = np.where(outcome.found, THRESHOLDS[:, None], 0.0).max(0)
    found_at = np.empty(len(truth))
    found_at[scene.person_rows] = highest
    ignored = np.empty(len(truth), np.bool_)
    ignored[scene.person_rows] = ~outcome.counted
    return PersonRecords(
        image=np.asarray(truth.image, np.int64),
        area=np.asarray(truth.area, np.float64),
        labelled=truth.counts,
        overlaps=overlaps(truth),
        crowd_index=np.asarray(truth.crowd_index, np.float64)[truth.image],
        found_at=found_at,
        truncated=truncated(truth),
        ignored=ignored,
    )


def truncated(truth: GroundTruth) -> Flags:
    """Return (N,) whose box touches the image border; False where the image's size is not known."""
    sizes = np.asarray(truth.sizes, np.float64)[truth.image]
    low, high = truth.boxes[:, :2], truth.boxes[:, :2] + truth.boxes[:, 2:]
    touches = (low <= _MARGIN).any(1) | (high >= sizes - _MARGIN).any(1)
    return np.asarray(touches & (sizes > 0).all(1), np.bool_)


def keypoint_errors(scene: Scene, joints: JointRecords) -> tuple[KeypointErrors, ...]:
    """Return the classes and distances of each keypoint."""
    area = np.asarray(scene.truth.area, np.float64)[joints.person]
    relative = np.divide(
        joints.pixels, np.sqrt(area), out=np.full(len(area), np.nan), where=area > 0
    )
    sizes = {
        "all": np.ones(len(area), np.bool_),
        "small": area < MEDIUM[0],
        "medium": (area >= MEDIUM[0]) & (area <= MEDIUM[1]),
        "large": area > LARGE[0],
    }
    found = []
    for index, name in enumerate(scene.skeleton.keypoints):
        own = np.flatnonzero(joints.keypoint == index)
        counts = np.bincount(joints.kind[own], minlength=len(CLASSES)).tolist()
        found.append(
            KeypointErrors(
                keypoint=name,
                shares=dict(zip(CLASSES, counts, strict=True)),
                oks=_quantiles(joints.similarity[own], OKS_QUANTILES),
                pixels={
                    size: _quantiles(joints.pixels[own[inside[own]]], QUANTILES)
                    for size, inside in sizes.items()
                },
                relative=_quantiles(relative[own], QUANTILES),
            )
        )
    return tuple(found)


def _quantiles(values: Floats, levels: tuple[float, ...]) -> tuple[float, ...]:
    known = values[~np.isnan(values)]
    if not len(known):
        return (float("nan"),) * len(levels)
    return tuple(np.quantile(known, levels).tolist())


def class_counts(joints: JointRecords, people: Indices) -> dict[str, int]:
    """Return the number of keypoints of each class of some people, by their rows."""
    chosen = np.isin(joints.person, people)
    counts = np.bincount(joints.kind[chosen], minlength=len(CLASSES)).tolist()
    return dict(zip(CLASSES, counts, strict=True))
