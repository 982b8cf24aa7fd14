"""Colours of error classes and models can be told from the ground."""

from __future__ import annotations

import re

import pytest

from posebench.bench.analysis import ALONE_KINDS, CLASSES, KINDS
from posebench.viz.pages import COLOURS
from posebench.viz.result_report.style import KINDS as COLOURED
from posebench.viz.result_report.style import SERIES, STYLE, series
from tests.viz.contrast import contrast


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_charts_can_be_seen_on_either_ground(scheme: int) -> None:
    for name, pair in (*COLOURED.items(), *((f"series {i}", p) for i, p in enumerate(SERIES))):
        for ground in ("ground", "raised"):
            assert contrast(pair[scheme], COLOURS[ground][scheme]) >= 3, (name, ground)


def test_signs_on_pictures_stand_out_from_their_dark_line() -> None:
    assert all(contrast(pair[1], "#101214") >= 4.5 for pair in COLOURED.values())


def test_every_class_and_kind_has_a_colour() -> None:
    assert set(COLOURED) == {*CLASSES, *KINDS, *ALONE_KINDS}
    assert all(f".k-{kind}{{" in STYLE for kind in COLOURED)


def test_colours_of_models_repeat() -> None:
    assert [series(i) for i in (0, 1, 6)] == ["s0", "s1", "s0"]


def test_every_variable_is_declared() -> None:
    declared = set(re.findall(r"--([\w-]+):", STYLE)) | set(COLOURS)
    assert set(re.findall(r"var\(--([\w-]+)\)", STYLE)) <= declared
