"""Figures and groups in words."""

from __future__ import annotations

import math

import pytest

from posebench.bench.analysis import ALONE_KINDS, KINDS
from posebench.bench.statistics import Interval
from posebench.bench.verdict.words import (
    ERRORS,
    ap_text,
    counted,
    group_text,
    listed,
    p_text,
    points,
)


def test_every_kind_of_error_has_words() -> None:
    assert set(ERRORS) == {*KINDS, *ALONE_KINDS}


def test_points() -> None:
    assert [points(v) for v in (0.542, -0.012, -0.0001, 1.0)] == ["54.2", "−1.2", "0.0", "100.0"]
    assert ap_text(Interval(0.5, 0.4, 0.6)) == "50.0 AP (95 %: 40.0 to 60.0)"
    assert ap_text(Interval(0.5, math.nan, math.nan)) == "50.0 AP"


@pytest.mark.parametrize(
    ("p", "text"), [(0.0005, "p < .001"), (0.001, "p .001"), (0.0134, "p .013"), (1.0, "p 1.000")]
)
def test_p_values(p: float, text: str) -> None:
    assert p_text(p) == text


@pytest.mark.parametrize(
    ("by", "group", "text"),
    [
        ("keypoint", "left_wrist", "at the left wrist"),
        ("size", "0–32 px", "for people of 0–32 px"),
        ("crowding", "5–8 people", "in images with 5–8 people"),
        ("crowding", "0.8–0.9", "in images of crowdIndex 0.8–0.9"),
        ("overlap", "0", "for people whom nobody overlaps"),
        ("overlap", "3 and more", "for people whom 3 and more others overlap"),
        ("truncation", "inside", "for people inside the image"),
        ("truncation", "at the border", "for people at the border"),
        ("labelled", "6–10", "for people with 6–10 labelled keypoints"),
    ],
)
def test_groups(by: str, group: str, text: str) -> None:
    assert group_text(by, group) == text


def test_lists_and_numbers() -> None:
    assert listed(["a"]) == "a" and listed(["a", "b", "c"]) == "a, b and c"
    assert counted(1, "image") == "1 image" and counted(5000, "image") == "5,000 images"
