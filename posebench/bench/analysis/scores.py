"""Optimal scores: how much AP is lost because scores rank poses wrongly.

The best score of a detection is its OKS. Of several poses of one person only the best may stand in
front, so each detection lowers the scores of those that resemble it.

Source: as `taxonomy`.

Shapes: D detections, K keypoints, n images of a block, m detections of an image.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from posebench.bench.analysis.scene import Counted, Outcome, Poses, Scene
from posebench.layers.oks import EPSILON
from posebench.metrics.matching import Flags, Floats, Indices

_SPREAD = 0.5  # of the Gaussian by which resembling poses are lowered
_BLOCK = 4096  # detections that are compared at a time
_SMALLEST = 32.0**2  # people below it have no scoring errors
_SIMILAR = 0.5  # OKS from which on a detection competes for a person


def optimal_scores(
    scene: Scene, poses: Poses, counted: Counted, blocks: Sequence[Resemblance]
) -> tuple[Floats, Floats]:
    """Return the best scores that detections can have.

    Args:
        scene: people and detections.
        poses: the keypoints, with errors mended or not.
        counted: the people to find.
        blocks: what `resemblances` returns for these poses.

    Returns:
        (D,) the highest OKS with somebody who counts; 0 if there is none.
        (D,) the same after soft suppression.
    """
    best = scene.best_oks(poses, counted)
    lowered = best.copy()
    for block in blocks:
        lowered[block.detection[block.real]] = _suppressed(block, best)[block.real]
    return best, lowered


@dataclass(frozen=True)
class Resemblance:
    """The OKS of detections of one image with each other, of several images."""

    detection: Indices  # (n, m) of each image; any where `real` is False
    real: Flags  # (n, m)
    oks: Floats  # (n, m, m)


def resemblances(scene: Scene, poses: Poses) -> list[Resemblance]:
    """Return how much detections of an image resemble each other, over all keypoints.

    The area is the mean of the two poses' extents.
    """
    detections = scene.detections
    order = np.argsort(detections.image, kind="stable")
    count = np.bincount(detections.image, minlength=scene.num_images)
    first = np.cumsum(count) - count
    extent = np.ptp(poses.keypoints, axis=1).prod(-1)
    found = []
    for images in scene.image_blocks(_BLOCK):
        width = int(count[images].max())
        real = np.arange(width) < count[images][:, None]
        place = np.minimum(first[images][:, None] + np.arange(width), len(order) - 1)
        detection = order[place]
        oks = np.zeros((len(images), width, width))
        area = extent[detection]
        shared = (area[:, :, None] + area[:, None]) / 2 + EPSILON
        scale = -1 / (2 * shared)
        for joint, sigma in enumerate(scene.sigmas.tolist()):
            at = poses.keypoints[detection, joint]  # (n, m, 2)
            x, y = at[..., 0], at[..., 1]
            squared = (x[:, :, None] - x[:, None]) ** 2 + (y[:, :, None] - y[:, None]) ** 2
            oks += np.exp(squared * scale / (2 * sigma) ** 2)
        found.append(Resemblance(detection, real, oks / len(scene.sigmas)))
    return found


def _suppressed(block: Resemblance, scores: Floats) -> Floats:
    """Return the (n, m) scores after each detection, the best first, lowered all others."""
    lowered = np.where(block.real, scores[block.detection], -1.0)
    waiting = block.real.copy()
    factor = np.exp(-(block.oks**2) / _SPREAD)
    images = np.arange(len(lowered))
    for _ in range(lowered.shape[1]):
        best = np.where(waiting, lowered, -2.0).argmax(1)
        waiting[images, best] = False
        lowered = np.where(waiting, lowered * factor[images, best], lowered)
    return lowered


def suppressed(blocks: Sequence[Resemblance], scores: Floats, limit: float) -> Flags:
    """Return (D,) which detections OKS suppression removes: those like a better one that is kept.

    Args:
        blocks: what `resemblances` returned.
        scores: (D,)
        limit: the highest OKS that two detections of an image may have.
    """
    removed = np.zeros(len(scores), np.bool_)
    for block in blocks:
        width = block.real.shape[1]
        order = np.argsort(-np.where(block.real, scores[block.detection], -np.inf), 1, "stable")
        gone = ~block.real
        images = np.arange(len(gone))
        for rank in range(width):
            best = order[:, rank]
            keeps = ~gone[images, best]
            later = np.zeros_like(gone)
            np.put_along_axis(later, order[:, rank + 1 :], True, 1)
            gone |= keeps[:, None] & later & (block.oks[images, best] > limit)
        chosen = block.real
        removed[block.detection[chosen]] = gone[chosen]
    return removed


@dataclass(frozen=True)
class ScoringError:
    """A person whose best pose has not the highest score of those near."""

    person: int
    best_scored: int  # detection
    best_pose: int  # detection
    oks_scored: float
    oks_pose: float


def scoring_errors(scene: Scene, outcome: Outcome) -> list[ScoringError]:
    """Return the people whose best pose is outranked by another that is near them too.

    People of an image come in the order of their best OKS, and each uses up a detection. Small
    people are left out.

    Args:
        scene: people and detections.
        outcome: of whose scores and people; the poses are those of the file.
    """
    oks = scene.original.oks
    near = oks >= _SIMILAR
    near &= (outcome.counted & (scene.people.area >= _SMALLEST))[scene.person]
    image = scene.detections.image[scene.detection]
    contested = _contested(scene, near)
    errors = []
    at = np.flatnonzero(near & contested[image])
    order = at[np.argsort(image[at], kind="stable")]
    for block in np.split(order, np.flatnonzero(np.diff(image[order])) + 1):
        errors += _errors_of_image(scene, block, outcome.scores)
    return errors


def _contested(scene: Scene, near: Flags) -> Flags:
    """Return (I,) the images in which several detections are near one person."""
    count = np.bincount(scene.person[near], minlength=len(scene.people.area))
    contested = np.zeros(scene.num_images, np.bool_)
    contested[scene.people.image[count > 1]] = True
    return contested


def _errors_of_image(scene: Scene, pairs: Indices, scores: Floats) -> list[ScoringError]:
    """Return the scoring errors of an image from its pairs with an OKS of at least 0.5."""
    oks = scene.original.oks
    best: dict[int, float] = {}
    near: dict[int, list[int]] = {}
    for pair in pairs.tolist():
        person = int(scene.person[pair])
        best[person] = max(best.get(person, 0.0), float(oks[pair]))
        near.setdefault(person, []).append(pair)
    used: set[int] = set()
    errors = []
    for person in sorted(best, key=lambda one: -best[one]):
        free = [pair for pair in near[person] if int(scene.detection[pair]) not in used]
        if not free:
            break
        pose = max(free, key=lambda pair: oks[pair])
        scored = max(free, key=lambda pair: scores[scene.detection[pair]])
        used.add(int(scene.detection[pose]))
        if scores[scene.detection[scored]] > scores[scene.detection[pose]]:
            errors.append(
                ScoringError(
                    person,
                    int(scene.detection[scored]),
                    int(scene.detection[pose]),
                    float(oks[scored]),
                    float(oks[pose]),
                )
            )
    return errors
