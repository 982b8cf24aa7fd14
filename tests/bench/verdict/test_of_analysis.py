"""The sentences on an analysis name what was planted, with its figures."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from posebench.bench.analysis import Analysis, analyze
from posebench.bench.statistics import Interval
from posebench.bench.verdict import ERRORS, analysis_sentences
from posebench.data import LAYOUTS
from tests.planted import planted, planted_truth

TRUTH = planted_truth(20)
PROTOCOL = LAYOUTS["coco"].protocol
RATES = {"duplicate": 0.5, "background": 0.5}  # of others 0.3


def analysis_of(kind: str, draws: int = 0) -> Analysis:
    detections = planted(TRUTH, {kind: RATES.get(kind, 0.3)})
    return analyze(detections, TRUTH, PROTOCOL, draws=draws)


@pytest.mark.parametrize(
    "kind", ["jitter", "miss", "inversion", "swap", "duplicate", "background", "missed"]
)
def test_the_first_sentence_names_what_was_planted(kind: str) -> None:
    first = analysis_sentences("ours", analysis_of(kind))[0]
    assert f"it loses most by {ERRORS[kind].loses} (" in first


def test_the_first_sentence_has_the_figures() -> None:
    analysis = analysis_of("swap", draws=100)
    cost = analysis.cost("swap", "progressive").cost
    first = analysis_sentences("ours", analysis)[0]
    ap = 100 * analysis.ap.value
    assert first.startswith(f"ours reaches {ap:.1f} AP (95 %: {100 * analysis.ap.low:.1f} to ")
    assert "20 images, 60 people" in first
    assert (
        f"({100 * cost.value:.1f} AP, 95 %: {100 * cost.low:.1f} to {100 * cost.high:.1f})" in first
    )


def test_without_draws_there_are_no_intervals() -> None:
    first = analysis_sentences("ours", analysis_of("swap"))[0]
    assert "95 %" not in first and "nan" not in first


def test_a_perfect_model_loses_by_nothing() -> None:
    first = analysis_sentences("ours", analyze(planted(TRUTH, {}), TRUTH, PROTOCOL, draws=0))[0]
    assert first == "ours reaches 100.0 AP, 20 images, 60 people."


def test_the_worst_keypoint_is_named_with_its_main_class() -> None:
    analysis = analysis_of("inversion")
    worst = max(analysis.keypoints, key=lambda one: 1 - one.shares["good"] / one.count)
    [sentence] = [s for s in analysis_sentences("ours", analysis) if "wrong most often" in s]
    assert worst.keypoint.replace("_", " ") in sentence and "most of them inversions" in sentence
    share = 100 * worst.shares["inversion"] / worst.count
    assert f"{share:.0f} % of 60" in sentence


def test_suppression_is_worth_a_sentence_where_it_is_sure_to_gain() -> None:
    def said(analysis: Analysis) -> bool:
        return any(s.startswith("Removing the worse") for s in analysis_sentences("ours", analysis))

    duplicates = analysis_of("duplicate", draws=100)
    assert said(duplicates)
    unsure = tuple(
        replace(one, gain=replace(one.gain, low=-0.01)) for one in duplicates.suppression
    )
    assert not said(replace(duplicates, suppression=unsure))


def test_scores_that_are_no_probabilities_are_not_called_off() -> None:
    analysis = analysis_of("jitter")
    said = " ".join(analysis_sentences("ours", analysis))
    assert "Scores differ from the OKS" in said
    calibration = replace(analysis.calibration, expected_error=math.nan)
    plain = " ".join(analysis_sentences("ours", replace(analysis, calibration=calibration)))
    assert "Scores differ" not in plain and "nan" not in plain


def test_images_are_compared_where_their_intervals_are_apart() -> None:
    analysis = analysis_of("jitter")
    groups = [
        replace(
            analysis.groups[0],
            by="crowding",
            group=group,
            people=40,
            ap=Interval(ap, ap - 0.02, ap + 0.02),
        )
        for group, ap in (("1 person", 0.8), ("5–8 people", 0.4), ("2 people", 0.79))
    ]

    def said(count: int) -> list[str]:
        own = replace(analysis, groups=tuple(groups[:count]))
        return [s for s in analysis_sentences("ours", own) if "in images with" in s]

    assert said(2) == ["AP is 80.0 in images with 1 person and 40.0 in images with 5–8 people."]
    groups[1] = replace(groups[1], people=12)  # too few to be spoken of; the others are alike
    assert said(3) == []
