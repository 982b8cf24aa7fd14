"""Scales and elements of inline SVG."""

from __future__ import annotations

import math
from xml.etree import ElementTree

import pytest

from posebench.viz.result_report.svg import (
    Scale,
    around,
    chart,
    element,
    level_axis,
    path,
    text,
    whisker,
)


def test_a_scale_places_values_and_stops_at_its_ends() -> None:
    scale = Scale(0, 50, 100, 200)
    assert [scale(value) for value in (0, 25, 50, 80, -1)] == [100, 150, 200, 200, 100]
    upright = Scale(0, 1, 300, 0)
    assert upright(0.25) == 225


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (0, 100, [0, 20, 40, 60, 80, 100]),
        (-0.4, 1.3, [0, 0.5, 1]),
        (0.2, 0.9, [0.2, 0.4, 0.6, 0.8]),
        (37, 39, [37, 37.5, 38, 38.5, 39]),
    ],
)
def test_ticks_are_round_and_within(low: float, high: float, ticks: list[float]) -> None:
    assert Scale(low, high, 0, 1).ticks() == pytest.approx(ticks)


def test_an_axis_shows_all_values_that_are_numbers() -> None:
    low, high = around([2.0, math.nan, 4.0, math.inf])
    assert low < 2 < 4 < high
    assert around([1.0, 2.0], zero=True)[0] == 0
    low, high = around([-2.0, 2.0], zero=True)
    assert low < -2 < 2 < high
    low, high = around([])
    assert low < high
    for value in (3.0, 0.0):
        low, high = around([value], zero=value == 0)
        assert low < value < high


def test_attributes_and_words_are_escaped() -> None:
    assert element("g", class_="a", stroke_width=1.25, x=2.0) == (
        '<g class="a" stroke-width="1.2" x="2"/>'
    )
    assert element("a", title='"<&') == '<a title="&quot;&lt;&amp;"/>'
    assert "&lt;b&gt;" in text(0, 0, "<b>")


def test_a_chart_says_what_it_shows() -> None:
    scale = Scale(0, 1, 0, 100)
    made = chart(
        120, 80, "AP & more", [level_axis(scale, 0, 50, "AP"), path([(0, 0), (1, 2)], "k")]
    )
    tree = ElementTree.fromstring(made)
    assert tree.attrib["role"] == "img" and tree.attrib["aria-label"] == "AP & more"
    assert tree.attrib["viewBox"] == "0 0 120 80"


def test_an_unknown_interval_is_not_drawn() -> None:
    scale = Scale(0, 1, 0, 100)
    assert whisker(scale, 5, math.nan, math.nan) == ""
    assert whisker(scale, 5, 0.2, 0.4).count("<line") == 3
