"""Costs that the order of mending books elsewhere are led back to their cause."""

from __future__ import annotations

from functools import cache

import pytest

from posebench.bench.analysis import Analysis, analyze
from posebench.bench.verdict.causes import cause
from posebench.data import LAYOUTS
from tests.planted import planted, planted_truth

TRUTH = planted_truth(15)
TAIL = {"tail": 0.6}  # detections of nobody, below all others


@cache
def analysis_of(**errors: float) -> Analysis:
    return analyze(planted(TRUTH, TAIL | errors), TRUTH, LAYOUTS["coco"].protocol, draws=0)


def cost(analysis: Analysis, kind: str) -> float:
    return analysis.cost(kind, "progressive").cost.value


@pytest.mark.parametrize("kind", ["duplicate", "background"])
def test_what_spoils_the_ranking_is_named_in_place_of_scores(kind: str) -> None:
    worse, better = analysis_of(**{kind: 0.5}), analysis_of()
    more = cost(worse, "score") - cost(better, "score")
    assert more > 0.1  # mending scores hides them
    assert cause("score", more, worse, better) == kind
    assert cause("score", cost(worse, "score"), worse) == kind


def test_scores_are_to_blame_where_both_have_as_many_wrong_detections() -> None:
    worse, better = analysis_of(score=0.5), analysis_of()
    more = cost(worse, "score") - cost(better, "score")
    assert more > 0.05
    assert cause("score", more, worse, better) == "score"
    assert cause("background", more, worse, better) == "score"


def test_people_whose_poses_are_poor_are_not_missed() -> None:
    poor, missed, good = analysis_of(miss=0.5), analysis_of(missed=0.3), analysis_of()
    assert cost(poor, "missed") > 0.1
    assert cause("missed", cost(poor, "missed"), poor, good) == "localisation"
    assert cause("missed", cost(missed, "missed"), missed, good) == "missed"


def test_errors_of_keypoints_are_what_they_are() -> None:
    assert cause("swap", 0.3, analysis_of(swap=0.3)) == "swap"
