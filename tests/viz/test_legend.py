"""The legend at the edge of a picture."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest

from posebench.viz import with_legend
from posebench.viz.colours import shades_of
from posebench.viz.legend import _ENTRIES, LegendPart, legend

PARTS: tuple[LegendPart, ...] = get_args(LegendPart)


def has(page: np.ndarray, colour: tuple[int, int, int]) -> bool:
    return bool((page == np.array(colour)).all(-1).any())


def test_the_picture_is_above_its_legend() -> None:
    picture = np.full((60, 640, 3), 7, np.uint8)
    page = with_legend(picture, ["predicted"])
    assert (page[:60] == picture).all()
    assert page.shape[1] == 640 and page.shape[0] > 60
    assert (picture == 7).all()


def test_a_narrow_picture_stands_on_white() -> None:
    page = with_legend(np.full((60, 80, 3), 7, np.uint8), ["predicted"])
    assert page.shape[1] == 320
    assert (page[:60, 120:200] == 7).all()
    assert (page[:60, :120] == 255).all() and (page[:60, 200:] == 255).all()


def test_the_colours_of_people_and_sides_are_those_of_the_drawings() -> None:
    page = legend(640, ["predicted"])
    shades = [shades_of(0)[side] for side in ("left", "centre", "right")]
    assert all(has(page, colour) for colour in (*shades, *(shades_of(n)["centre"] for n in (1, 2))))
    assert not has(page, shades_of(3)["centre"])


@pytest.mark.parametrize("width", [320, 640, 1328])
@pytest.mark.parametrize("part", PARTS)
def test_every_entry_has_its_sign_and_its_whole_text(
    part: LegendPart, width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[str] = []
    monkeypatch.setattr(
        "posebench.viz.legend.draw_text", lambda image, text, *args: written.append(text)
    )
    page = legend(width, [part])
    texts = [text for text, _ in _ENTRIES[part]]
    assert [text for text in written if text in texts] == texts
    assert page.shape[1] == width
    assert (page != 255).any()
    # Nothing is cut off at the border.
    assert (page[[0, -1]] == 255).all() and (page[:, [0, -1]] == 255).all()


def test_more_parts_need_more_room() -> None:
    few, many = legend(640, ["predicted"]), legend(640, ["predicted", "annotated", "heatmaps"])
    assert many.shape[0] > few.shape[0]
    assert legend(320, ["predicted"]).shape[0] > few.shape[0]
