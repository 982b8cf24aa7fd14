"""Reliability of scores, and the best score to cut at."""

from __future__ import annotations

import numpy as np
import pytest

from posebench.bench.analysis.calibration import BINS, bins_of, calibration
from posebench.bench.analysis.scene import Outcome, Scene
from posebench.metrics.matching import Floats
from posebench.structures import Protocol
from tests.bench.analysis.scenes import (
    SKELETON,
    at,
    detections_of,
    offset,
    random_scene,
    truth_of_people,
)


def outcome_of(oks: Floats, scores: Floats) -> tuple[Outcome, Floats]:
    """Return an image for each detection, with a person whom it has an OKS with."""
    people, found = [], []
    for index, (value, score) in enumerate(zip(oks, scores, strict=True)):
        pose = at(200, 200)
        people.append((index, pose))
        shift = [[offset(value, keypoint), 0] for keypoint in range(5)]
        found.append((index, float(score), pose + shift))
    truth = truth_of_people(people, ids=range(1, len(oks) + 1))
    scene = Scene(truth, detections_of(found), Protocol(SKELETON))
    outcome = scene.outcome(scene.original, scene.everybody)
    return outcome, scene.best_oks(scene.original, scene.everybody)


def test_scores_that_are_the_oks_have_no_error() -> None:
    oks = np.linspace(0.05, 0.99, 200)
    found = calibration(*outcome_of(oks, oks))
    assert found.expected_error == pytest.approx(0, abs=1e-9)
    assert len(found.count) == BINS
    assert found.count.sum() == 200
    assert found.score == pytest.approx(found.oks, abs=1e-9)
    assert (np.diff(found.low) > 0).all()
    assert (found.low <= found.high).all()
    # Of the bins that lie on one side of the threshold, all or none are true.
    assert found.true_50[found.low > 0.51].tolist() == [1.0] * (found.low > 0.51).sum()
    assert found.true_75[found.high < 0.74].tolist() == [0.0] * (found.high < 0.74).sum()


def test_overconfident_scores_are_off_by_as_much_and_can_be_mapped() -> None:
    oks = np.linspace(0.05, 0.8, 200)
    found = calibration(*outcome_of(oks, oks + 0.15))
    assert found.expected_error == pytest.approx(0.15)
    assert found.expected_error_fitted < 0.01


def test_scores_beyond_one_have_no_error_of_their_own() -> None:
    oks = np.linspace(0.05, 0.9, 50)
    found = calibration(*outcome_of(oks, 10 * oks))
    assert np.isnan(found.expected_error)
    assert found.expected_error_fitted < 0.02


def test_equal_scores_are_in_one_bin() -> None:
    scores = np.repeat([0.1, 0.5, 0.9], [50, 3, 20])
    number = bins_of(scores)
    assert len(np.unique(number)) <= 3
    for value in (0.1, 0.5, 0.9):
        assert len(np.unique(number[scores == value])) == 1
    assert len(bins_of(np.empty(0))) == 0


@pytest.mark.parametrize("seed", range(4))
def test_the_best_threshold_is_that_of_a_search(seed: int) -> None:
    scene = Scene(*random_scene(seed))
    outcome = scene.outcome(scene.original, scene.everybody)
    found = calibration(outcome, scene.best_oks(scene.original, scene.everybody))
    people = outcome.counted.sum()
    for row, best in zip((0, 5), found.best, strict=True):
        values = {}
        for score in np.unique(outcome.scores):
            kept = outcome.scores >= score
            true = (outcome.correct[row] & kept).sum()
            shown = true + (outcome.wrong[row] & kept).sum()
            values[score] = 2 * true / (shown + people)
        assert best.f1 == pytest.approx(max(values.values()))
        assert values[best.score] == pytest.approx(best.f1)
        precision, recall = best.precision, best.recall
        assert 2 * precision * recall / (precision + recall) == pytest.approx(best.f1)
