"""Kinds of detections by COCO's matching, and AP without some of them."""

from __future__ import annotations

import numpy as np
import pytest

from posebench.bench.analysis.kinds import Nearest, outcome_kinds, tide_errors, without
from posebench.bench.analysis.scene import Scene
from posebench.bench.analysis.values import (
    BACKGROUND,
    DETECTION_KINDS,
    DUPLICATE,
    IGNORED,
    LOCALISATION,
    TRUE,
)
from posebench.structures import Protocol
from tests.bench.analysis.scenes import (
    SKELETON,
    at,
    detections_of,
    offset,
    random_scene,
    truth_of_people,
)


def small() -> Scene:
    """A person, one who is badly located, and a crowd region; the third image has nobody."""
    worse = at(200, 500)
    worse[:, 0] += [offset(0.3, keypoint) for keypoint in range(5)]
    truth = truth_of_people(
        [(0, at(200, 200)), (0, at(200, 500)), (1, at(500, 500))], crowd=[False, False, True]
    )
    found = [
        (0, 0.9, at(200, 200)),
        (0, 0.8, at(200, 201)),  # the same person again
        (0, 0.7, worse),
        (0, 0.6, at(800, 800)),
        (1, 0.5, at(500, 500)),
        (1, 0.4, at(500, 501)),
        (2, 0.3, at(0, 0)),
    ]
    return Scene(truth, detections_of(found), Protocol(SKELETON))


def test_each_kind() -> None:
    scene = small()
    outcome = scene.outcome(scene.original, scene.everybody)
    kinds = outcome_kinds(outcome, Nearest.of(scene, outcome.counted))
    expected = [TRUE, DUPLICATE, LOCALISATION, BACKGROUND, IGNORED, IGNORED, BACKGROUND]
    assert kinds[0].tolist() == kinds[5].tolist() == expected


def test_ap_without_a_kind() -> None:
    scene = small()
    outcome = scene.outcome(scene.original, scene.everybody)
    kinds = outcome_kinds(outcome, Nearest.of(scene, outcome.counted))
    located = without(outcome, kinds, LOCALISATION)
    assert located.correct[0].tolist() == [True, False, True, *[False] * 4]
    assert located.curves().recall[0] == 1
    alone = without(outcome, kinds, DUPLICATE)
    assert alone.wrong[0].tolist() == [False, False, True, True, False, False, True]


def test_of_two_that_are_badly_located_the_better_scored_counts() -> None:
    worse = at(200, 200)
    worse[:, 0] += [offset(0.3, keypoint) for keypoint in range(5)]
    truth = truth_of_people([(0, at(200, 200))])
    found = detections_of([(0, 0.2, worse), (0, 0.4, worse)])
    scene = Scene(truth, found, Protocol(SKELETON))
    outcome = scene.outcome(scene.original, scene.everybody)
    kinds = outcome_kinds(outcome, Nearest.of(scene, outcome.counted))
    located = without(outcome, kinds, LOCALISATION)
    assert located.correct[0].tolist() == [False, True]
    assert not located.wrong[0].any()


@pytest.mark.parametrize("seed", range(4))
def test_unmatched_detections_have_a_kind_and_others_have_none(seed: int) -> None:
    scene = Scene(*random_scene(seed))
    outcome = scene.outcome(scene.original, scene.everybody)
    kinds = outcome_kinds(outcome, Nearest.of(scene, outcome.counted))
    assert np.array_equal(kinds == TRUE, outcome.correct)
    assert np.array_equal(kinds == IGNORED, ~outcome.correct & ~outcome.wrong)
    found = tide_errors(scene, 0.5)
    assert found.gains["false_positives"] >= -1e-12
    assert set(found.gains) >= set(DETECTION_KINDS[1:4])
