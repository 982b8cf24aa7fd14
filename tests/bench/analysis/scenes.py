"""People and detections with five keypoints, a few at a time, in places made for a test."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from posebench.bench.analysis.scene import Scene
from posebench.ground_truth import GroundTruth, Texts
from posebench.metrics.matching import Detections, Floats
from posebench.skeleton import Skeleton
from posebench.structures import Protocol

SKELETON = Skeleton(
    "kite",
    ("top", "left_eye", "right_eye", "left_hand", "right_hand"),
    (),
    (0.05, 0.04, 0.04, 0.08, 0.06),
    pairs=((1, 2), (3, 4)),
)
AREA = 10_000.0  # of each person, square pixels
KITE = np.array([[50.0, 0.0], [30.0, 30.0], [70.0, 30.0], [0.0, 100.0], [100.0, 100.0]])


def at(x: float, y: float) -> Floats:
    """Return the keypoints of a person whose box begins there."""
    return KITE + np.array([x, y])


def offset(similarity: float, keypoint: int, skeleton: Skeleton = SKELETON) -> float:
    """Return the distance in pixels at which a keypoint has a similarity."""
    return float(np.sqrt(-2 * AREA * np.log(similarity)) * 2 * skeleton.sigmas[keypoint])


def truth_of_people(
    people: Sequence[tuple[int, Floats]],
    *,
    ids: Sequence[int] = (1, 2, 3),
    skeleton: Skeleton = SKELETON,
    labelled: Floats | None = None,
    crowd: Sequence[bool] | None = None,
    sizes: tuple[int, int] = (1000, 1000),
) -> GroundTruth:
    """Return annotations.

    Args:
        people: the index of the image, and (K, 2) keypoints.
        ids: of the images.
        skeleton: the keypoints.
        labelled: (N, K) 0 for keypoints without a label; None: all have one.
        crowd: True for crowd regions.
        sizes: of all images.
    """
    count, size = len(people), len(skeleton)
    keypoints = np.array([pose for _, pose in people]).reshape(count, size, 2)
    seen = np.full((count, size), 2.0) if labelled is None else np.asarray(labelled, np.float64)
    low = keypoints.min(1) if count else np.empty((0, 2))
    return GroundTruth(
        skeleton,
        np.array(ids),
        Texts.of([""] * len(ids)),
        np.tile(sizes, (len(ids), 1)),
        np.full(len(ids), np.nan),
        np.array([image for image, _ in people], np.int64),
        np.concatenate([keypoints, seen[..., None]], -1),
        np.concatenate([low, np.full((count, 2), 100.0)], 1),
        np.full(count, AREA),
        np.zeros(count, np.bool_) if crowd is None else np.array(crowd),
        Texts.of(str(10 + index) for index in range(count)),
        Texts.of([""] * count),
    )


def detections_of(found: Sequence[tuple[int, float, Floats]], size: int = 5) -> Detections:
    """Return detections from the rank of the image's id, the score and (K, 2) keypoints."""
    keypoints = np.array([pose for *_, pose in found], np.float64).reshape(len(found), size, 2)
    area = np.ptp(keypoints, axis=1).prod(-1) if len(found) else np.empty(0)
    return Detections(
        np.array([image for image, *_ in found], np.int64),
        keypoints,
        np.array([score for _, score, _ in found], np.float64),
        area,
    )


def scene_of(
    people: Sequence[tuple[int, Floats]],
    found: Sequence[tuple[int, float, Floats]],
    skeleton: Skeleton = SKELETON,
) -> Scene:
    """Return a scene of people and detections in images that are sorted by id."""
    truth = truth_of_people(people, skeleton=skeleton)
    return Scene(truth, detections_of(found, len(skeleton)), Protocol(skeleton))


def random_scene(seed: int, images: int = 12) -> tuple[GroundTruth, Detections, Protocol]:
    """Return crowds with all kinds of errors, duplicates, crowd regions and unlabelled people."""
    rng = np.random.default_rng(seed)
    people = [
        (image, at(*rng.uniform(0, 600, 2)))
        for image in range(images)
        for _ in range(rng.integers(0, 4))
    ]
    labelled = np.where(rng.random((len(people), 5)) < 0.8, 2.0, 0.0)
    labelled[rng.random(len(people)) < 0.1] = 0
    crowd = rng.random(len(people)) < 0.1
    ids = rng.permutation(np.arange(1, images + 1) * 7).tolist()
    truth = truth_of_people(people, ids=ids, labelled=labelled, crowd=crowd.tolist())
    found = []
    for image, pose in people:
        for _ in range(rng.integers(0, 4)):
            moved = pose + rng.normal(0, rng.choice([1, 6, 30]), (5, 2))
            if rng.random() < 0.3:
                moved[[1, 2]] = moved[[2, 1]]
            if rng.random() < 0.2:
                moved[rng.integers(5)] = 0
            found.append((int(truth.rank[image]), round(float(rng.random()), 2), moved))
    found += [
        (int(rng.integers(images)), float(rng.random()), at(*rng.uniform(0, 900, 2)))
        for _ in range(6)
    ]
    return truth, detections_of(found), Protocol(SKELETON)
