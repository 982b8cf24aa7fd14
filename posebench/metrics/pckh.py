"""PCKh: the share of MPII's keypoints predicted within a fraction of the head size.

Shapes: N people, K = 16 keypoints.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from posebench.errors import DataError
from posebench.ground_truth import GroundTruth
from posebench.metrics.matching import Detections, Floats
from posebench.metrics.names import PCKH_PARTS, pckh_name
from posebench.metrics.results import Results, parse_results
from posebench.skeleton import MPII

# The official mean excludes these two, which nearly every method predicts correctly.
_NOT_COUNTED = ("pelvis", "thorax")

_GROUPS = {
    part: ("head_top",) if part == "head" else (f"left_{part}", f"right_{part}")
    for part in PCKH_PARTS
}

# Head size relative to the diagonal of the head box, as in the official evaluation.
_HEAD_SHARE = 0.6


@dataclass(frozen=True)
class PCKh:
    """The number of correct and of labelled instances of each MPII keypoint."""

    correct: NDArray[np.int64]  # (K,)
    counted: NDArray[np.int64]  # (K,) labelled

    def metrics(self) -> dict[str, float]:
        """Return percentages by name: `mean`, seven groups, 16 keypoints; -1: none labelled.

        `mean` is all correct over all labelled keypoints without pelvis and thorax, so a keypoint
        that is rarely labelled weighs less; a group's value is the plain mean of left and right.
        """
        percent = {
            name: 100 * correct / counted if counted else -1.0
            for name, correct, counted in zip(
                MPII.keypoints, self.correct.tolist(), self.counted.tolist(), strict=True
            )
        }
        limbs = [name not in _NOT_COUNTED for name in MPII.keypoints]
        counted = int(self.counted[limbs].sum())
        mean = 100 * int(self.correct[limbs].sum()) / counted if counted else -1.0
        groups = {group: _mean_of_labelled(percent, names) for group, names in _GROUPS.items()}
        return {"mean": mean, **groups, **percent}


def _mean_of_labelled(percent: dict[str, float], names: tuple[str, ...]) -> float:
    labelled = [percent[name] for name in names if percent[name] >= 0]
    return sum(labelled) / len(labelled) if labelled else -1.0


def pckh(
    predicted: Floats,
    keypoints: Floats,
    visibility: Floats,
    head_sizes: Floats,
    threshold: float = 0.5,
) -> PCKh:
    """Count the keypoints that are predicted near the annotated ones.

    Args:
        predicted: (N, K, 2) pixels, in the order of the annotations; infinite for a person without
            a predicted pose.
        keypoints: (N, K, 2) pixels.
        visibility: (N, K), above 0 where a keypoint is labelled.
        head_sizes: (N,) pixels.
        threshold: maximum distance in head sizes, itself included.

    Raises:
        ValueError: the shapes differ.
    """
    if predicted.shape != keypoints.shape:
        raise ValueError(
            f"Expected one pose for each of the annotated {keypoints.shape}, "
            f"but found {predicted.shape}."
        )
    distance = np.linalg.norm(predicted - keypoints, axis=-1)
    labelled = visibility > 0
    correct = labelled & (distance <= threshold * head_sizes[:, None])
    return PCKh(correct.sum(0), labelled.sum(0))


Matching = Literal["score", "pckh"]


def evaluate_pckh(
    truth: GroundTruth,
    results: Results,
    threshold: float = 0.5,
    matching: Matching = "score",
) -> dict[str, float]:
    """Return the PCKh of annotated people.

    A person without a pose has all keypoints wrong; unmatched poses do not count. People without
    labelled keypoints are not evaluated.

    Args:
        truth: annotations with MPII's keypoints and head boxes.
        results: COCO-format results.
        threshold: maximum distance in head sizes.
        matching: how poses are assigned to people. "score": every image has one annotated person,
            whose pose is the one with the highest score, the first in the file among equals.
            "pckh": people and poses of an image are matched greedily, the best fit first.

    Returns:
        The values of `PCKh.metrics`, named `PCKh@0.5` for the mean, `PCKh@0.5/ankle` and so on;
        with matching by PCKh the names begin with `PCKh@0.5 (matched)`.

    Raises:
        DataError: a head box is missing; an image has several people but matching is by score; or
            results are wrong (see `parse_results`).

    Source: "score" is MPII's official single-person evaluation. "pckh" is our reading of how the
    multi-person evaluation of DeepCut (Pishchulin et al., CVPR 2016) assigns poses. DGCN's paper
    does not say which protocol its Table 8 uses.
    """
    people, head_sizes = mpii_people(truth)
    labelled = np.asarray((people[..., 2] > 0).any(1))
    people, head_sizes = people[labelled], head_sizes[labelled]
    image_of = truth.image[labelled]
    if matching == "score" and len(np.unique(image_of)) < len(image_of):
        image = truth.image_id(int(np.bincount(image_of).argmax()))
        raise DataError(
            f"Expected one annotated person per image, but image {image} has several. "
            "PCKh takes one pose for each annotated person: crop the images around them first, or "
            'match people and poses by PCKh (matching="pckh").'
        )
    detections = parse_results(results, truth)
    images = truth.rank[image_of]
    predicted = _poses_of_people(people, head_sizes, images, detections, threshold, matching)
    counts = pckh(predicted, people[..., :2], people[..., 2], head_sizes, threshold)
    metrics = counts.metrics()
    name = pckh_name(threshold, matched=matching == "pckh")
    return {name: metrics.pop("mean"), **{f"{name}/{part}": v for part, v in metrics.items()}}


def _poses_of_people(
    people: Floats,
    head_sizes: Floats,
    images: NDArray[np.int64],
    detections: Detections,
    threshold: float,
    matching: Matching,
) -> Floats:
    """Return the (N, K, 2) predicted keypoints of each person, infinite where it has no pose.

    Args:
        people: (N, K, 3) annotated keypoints.
        head_sizes: (N,).
        images: (N,) image index of each person.
        detections: the predicted poses.
        threshold, matching: as in `evaluate_pckh`.
    """
    predicted = np.full(people[..., :2].shape, np.inf)
    order = np.argsort(-detections.scores, kind="stable")
    for image in np.unique(images):
        own = np.flatnonzero(images == image)
        poses = order[detections.image[order] == image]
        if matching == "score":
            pairs = [(own[0], pose) for pose in poses[:1]]
        else:
            pairs = _best_fits(people, head_sizes, detections.keypoints, own, poses, threshold)
        for person, pose in pairs:
            predicted[person] = detections.keypoints[pose]
    return predicted


def _best_fits(
    people: Floats,
    head_sizes: Floats,
    keypoints: Floats,
    own: NDArray[np.int64],
    poses: NDArray[np.int64],
    threshold: float,
) -> list[tuple[int, int]]:
    """Match the people and poses of one image, the highest share of correct keypoints first.

    Args:
        people: (N, K, 3) keypoints of the people of all images.
        head_sizes: (N,).
        keypoints: (D, K, 2) of the poses of all images.
        own: indices of the image's people.
        poses: indices of the image's poses, highest score first, which breaks ties.
        threshold: as in `evaluate_pckh`.

    Returns:
        Pairs of the indices of a person and a pose.
    """
    distance = np.linalg.norm(keypoints[poses][None] - people[own, None, :, :2], axis=-1)
    labelled = people[own, None, :, 2] > 0
    correct = labelled & (distance <= threshold * head_sizes[own, None, None])
    share = correct.sum(-1) / labelled.sum(-1)  # (people, poses)
    pairs = []
    while share.size and share.max() > 0:
        person, pose = np.unravel_index(share.argmax(), share.shape)
        pairs.append((int(own[person]), int(poses[pose])))
        share[person], share[:, pose] = 0, 0
    return pairs


def has_head_boxes(truth: GroundTruth) -> bool:
    """Return whether there are annotated people and all of them have a head box."""
    boxes = truth.head_boxes
    return boxes is not None and len(boxes) > 0 and bool(np.isfinite(boxes).all())


def one_person_each(truth: GroundTruth) -> bool:
    """Return whether every image has at most one person with labelled keypoints."""
    images = truth.image[(truth.keypoints[..., 2] > 0).any(1)]
    return len(np.unique(images)) == len(images)


def mpii_people(truth: GroundTruth) -> tuple[Floats, Floats]:
    """Return the annotated keypoints (N, K, 3) x, y, v and the head sizes (N,) in pixels.

    Raises:
        DataError: the keypoints are others than MPII's, or an annotation has no head box.
    """
    if truth.skeleton.keypoints != MPII.keypoints:
        raise DataError(
            f"Expected MPII's {len(MPII)} keypoints for PCKh, but the annotations have "
            f"{len(truth.skeleton)} ({truth.skeleton.name}). Is the file for another keypoint set?"
        )
    if not len(truth):
        return np.zeros((0, len(MPII), 3)), np.zeros(0)
    boxes = np.full((len(truth), 4), np.nan) if truth.head_boxes is None else truth.head_boxes
    for index in np.flatnonzero(~np.isfinite(boxes).all(1)).tolist():
        image = truth.image_id(int(truth.image[index]))
        raise DataError(
            f"Expected headbox_xyxy in annotation {truth.ids[index]} (image {image}), but it has "
            "none. PCKh needs head boxes; MPII's official .mat file has them, the common JSON "
            "files do not."
        )
    diagonal = np.linalg.norm(boxes[:, 2:] - boxes[:, :2], axis=-1)
    return np.asarray(truth.keypoints, np.float64), _HEAD_SHARE * diagonal
