"""Optimal scores, suppression and scoring errors on a few detections."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from posebench.bench.analysis.scene import Scene
from posebench.bench.analysis.scores import (
    optimal_scores,
    resemblances,
    scoring_errors,
    suppressed,
)
from posebench.metrics.matching import Floats
from tests.bench.analysis.scenes import SKELETON, at, offset, random_scene, scene_of


def shifted(similarity: float) -> Floats:
    """Return a pose of which each keypoint has a similarity with the person's."""
    pose = at(200, 200)
    pose[:, 0] += [offset(similarity, keypoint) for keypoint in range(5)]
    return pose


def resemblance(first: Floats, second: Floats) -> float:
    """Return the OKS of two poses over all keypoints, from its definition."""
    area = (np.ptp(first, axis=0).prod() + np.ptp(second, axis=0).prod()) / 2
    squared = ((first - second) ** 2).sum(-1)
    return float(np.exp(-squared / (2 * area * (2 * np.array(SKELETON.sigmas)) ** 2)).mean())


def test_the_best_score_is_the_oks_and_lowers_those_that_resemble_it() -> None:
    poses = [shifted(0.9), at(200, 200), shifted(0.6), at(700, 700)]
    scene = scene_of([(0, at(200, 200))], [(0, 0.5, pose) for pose in poses])
    blocks = resemblances(scene, scene.original)
    best, optimal = optimal_scores(scene, scene.original, scene.everybody, blocks)
    assert best == pytest.approx([0.9, 1.0, 0.6, 0.0], abs=1e-9)
    by_first = [np.exp(-(resemblance(poses[1], pose) ** 2) / 0.5) for pose in poses]
    second = best[0] * by_first[0]
    third = best[2] * by_first[2]
    factor = np.exp(-(resemblance(poses[0], poses[2]) ** 2) / 0.5)
    first_of_both = second >= third
    expected = [second, 1.0, third * factor, 0.0]
    if not first_of_both:
        expected[0], expected[2] = second * factor, third
    assert optimal == pytest.approx(expected, abs=1e-9)


def test_suppression_removes_all_but_the_best_of_alike_detections() -> None:
    poses = [at(200, 200), at(200, 200), at(700, 700), at(200, 201)]
    scores = [0.5, 0.9, 0.8, 0.7]
    scene = scene_of([(0, at(200, 200))], [(0, s, p) for s, p in zip(scores, poses, strict=True)])
    blocks = resemblances(scene, scene.original)
    removed = suppressed(blocks, scene.original.scores, 0.5)
    assert removed.tolist() == [True, False, False, True]
    assert not suppressed(blocks, scene.original.scores, 1.0).any()


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("limit", [0.3, 0.7])
def test_suppression_equals_a_loop_over_detections(seed: int, limit: float) -> None:
    scene = Scene(*random_scene(seed))
    blocks = resemblances(scene, scene.original)
    removed = suppressed(blocks, scene.original.scores, limit)
    detections = scene.detections
    for image in np.unique(detections.image):
        own = np.flatnonzero(detections.image == image)
        kept: list[int] = []
        for index in own[np.argsort(-detections.scores[own], kind="stable")].tolist():
            alike = [
                resemblance(detections.keypoints[index], detections.keypoints[other]) > limit
                for other in kept
            ]
            if not any(alike):
                kept.append(index)
        assert sorted(kept) == own[~removed[own]].tolist()


def test_a_person_whose_best_pose_is_outranked_is_a_scoring_error() -> None:
    found = [(0, 0.9, shifted(0.7)), (0, 0.4, shifted(0.95)), (0, 0.8, at(700, 700))]
    scene = scene_of([(0, at(200, 200)), (0, at(700, 700))], found)
    outcome = scene.outcome(scene.original, scene.everybody)
    [error] = scoring_errors(scene, outcome)
    assert (error.best_scored, error.best_pose) == (0, 1)
    assert (error.oks_scored, error.oks_pose) == pytest.approx((0.7, 0.95))
    assert not scoring_errors(scene, replace(outcome, scores=np.array([0.4, 0.9, 0.8])))
