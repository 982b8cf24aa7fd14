"""Charts place their values where they belong, and say them in words."""

from __future__ import annotations

import math
import re
from xml.etree import ElementTree

import pytest

from posebench.viz.result_report.charts import (
    Measure,
    Row,
    Step,
    bars,
    intervals,
    shares,
    waterfall,
)
from posebench.viz.result_report.curves import Bin, Line, curves, reliability

STEPS = [Step("miss", "misses", 0.5, 0.6), Step("missed", "missed people", 0.6, 1.0)]


def _elements(made: str, tag: str) -> list[dict[str, str]]:
    return [dict(one.attrib) for one in ElementTree.fromstring(made).iter(tag)]


def _words(made: str) -> list[str]:
    return [one.text or "" for one in ElementTree.fromstring(made).iter("text")]


def test_the_steps_of_a_waterfall_join() -> None:
    made = waterfall("AP now", STEPS, "about")
    base, first, second = _elements(made, "rect")
    assert float(first["x"]) == pytest.approx(float(base["x"]) + float(base["width"]), abs=0.11)
    assert float(second["x"]) == pytest.approx(float(first["x"]) + float(first["width"]), abs=0.11)
    # 50, 10 and 40 points.
    assert float(base["width"]) == pytest.approx(5 * float(first["width"]), abs=0.3)
    assert float(second["width"]) == pytest.approx(4 * float(first["width"]), abs=0.3)
    assert {"50.0", "+10.0", "+40.0", "misses"} <= set(_words(made))


def test_a_step_downwards_is_drawn_too() -> None:
    made = waterfall("AP now", [Step("score", "scores", 0.5, 0.45)], "about")
    base, step = _elements(made, "rect")
    assert float(step["x"]) + float(step["width"]) == pytest.approx(
        float(base["x"]) + float(base["width"]), abs=0.11
    )
    assert "−5.0" in _words(made)


def test_bars_have_whiskers_where_intervals_are_known() -> None:
    known = bars([Measure("swaps", 0.031, 0.02, 0.04, "k-swap")], "points", "about")
    unknown = bars([Measure("swaps", 0.031, kind="k-swap")], "points", "about")
    assert 'class="whisker"' in known and 'class="whisker"' not in unknown
    assert "swaps: 3.1 (95 %: 2.0 to 4.0)" in known and "95 %" not in unknown
    assert "nan" not in unknown


def test_negative_costs_reach_left_of_zero() -> None:
    made = bars([Measure("a", -0.02), Measure("b", 0.02)], "points", "about")
    left, right = _elements(made, "rect")
    assert float(left["x"]) + float(left["width"]) == pytest.approx(float(right["x"]), abs=0.11)


def test_intervals_place_models_below_each_other() -> None:
    values = (Measure("A", 0.2, 0.1, 0.3, "s0"), Measure("B", 0.4, 0.35, 0.5, "s1"))
    made = intervals([Row("small", values, "40 people")], "AP, %", "about")
    one, other = _elements(made, "circle")
    assert float(one["cx"]) < float(other["cx"]) and float(one["cy"]) < float(other["cy"])
    assert "small, B: 40.0 (95 %: 35.0 to 50.0)" in made
    assert "40 people" in _words(made)
    missing = intervals([Row("small", (Measure("A", math.nan), values[1]))], "AP, %", "about")
    assert len(_elements(missing, "circle")) == 1 and "nan" not in missing


def test_few_people_are_faint_and_differences_have_a_zero() -> None:
    row = Row("small", (Measure("A", -0.1, -0.2, 0.1),), faint=True)
    made = intervals([row], "AP", "about", difference=True)
    assert 'class="faint"' in made and 'class="zero"' in made
    assert 'class="zero"' not in intervals([row], "AP", "about")


def test_charts_of_one_axis_share_its_places() -> None:
    def place(value: float) -> float:
        rows = [Row("g", (Measure("A", value, value - 0.05, value + 0.05),))]
        return float(_elements(intervals(rows, "AP", "", limits=(0.0, 1.0)), "circle")[0]["cx"])

    assert place(0.5) - place(0.3) == pytest.approx(place(0.9) - place(0.7), abs=0.2)


def test_shares_add_up_to_the_whole_width() -> None:
    made = shares([("nose", {"good": 0.75, "swap": 0.25})], "%", "about")
    good, swap = _elements(made, "rect")
    assert float(good["width"]) + 1 == pytest.approx(3 * (float(swap["width"]) + 1), abs=0.3)
    assert re.findall(r'class="k-(\w+)"', made) == ["good", "swap"]
    assert "nose: swap 25.0 %" in made


def test_curves_have_bands_and_their_axes_names() -> None:
    points = [(0.0, 1.0), (0.5, 0.8), (1.0, 0.0)]
    band = Line(points, "s0", [(x, y / 2) for x, y in points], points)
    made = curves([band, Line(points, "s1", thin=True)], ("recall", "precision"), "about")
    kinds = [one["class"] for one in _elements(made, "path")]
    assert kinds == ["band", "curve", "curve thin"]
    assert {"recall", "precision"} <= set(_words(made))


def test_a_score_that_is_right_lies_on_the_diagonal() -> None:
    made = reliability(
        [Bin(0.5, 0.5, 10), Bin(0.9, 0.4, 20), Bin(0.1, 0.1, 0)], ("s", "o"), "about"
    )
    [diagonal] = [one for one in _elements(made, "line") if one["class"] == "diagonal"]
    dots = _elements(made, "circle")
    assert len(dots) == 2  # an empty bin is left out
    middle = (float(diagonal["y1"]) + float(diagonal["y2"])) / 2
    assert float(dots[0]["cy"]) == pytest.approx(middle, abs=0.11)
    assert float(dots[1]["cy"]) > float(dots[0]["cy"])  # below: the score is too high


def test_long_names_are_shortened_and_whole_under_the_mouse() -> None:
    name = "runs/eval/a_model_of_a_very_long_name_indeed"
    made = intervals([Row(name, (Measure("AP", 0.5, 0.4, 0.6),))], "AP, %", "about")
    [label] = [one for one in ElementTree.fromstring(made).iter("text") if "…" in (one.text or "")]
    assert name.startswith((label.text or "").removesuffix("…"))
    assert [one.text for one in label] == [name]
    short = intervals([Row("short", (Measure("AP", 0.5, 0.4, 0.6),))], "AP, %", "about")
    assert "…" not in short and "short" in _words(short)
