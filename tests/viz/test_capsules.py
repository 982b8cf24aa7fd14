from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from posebench.viz import capsules
from posebench.viz.capsules import Capsules, paint
from tests.viz.reference import Capsule

_HEIGHT, _WIDTH = 40, 60
_PLACES = st.tuples(st.floats(-50, 110), st.floats(-50, 90))
_LEVEL = st.tuples(st.integers(-20, 80), st.integers(-20, 60))
_SHAPES = st.fixed_dictionaries(
    {
        "start": _PLACES | _LEVEL,
        "end": _PLACES | _LEVEL | st.none(),  # None: a disc
        "radius": st.floats(0.1, 30),
        "opacity": st.floats(0, 1),
        "dash": st.just(0.0) | st.floats(1, 20),
        "hole": st.just(0.0) | st.floats(0.1, 20),
        "grown": st.just(0.0) | st.floats(0, 4),
        "colour": st.tuples(*3 * [st.integers(0, 255)]),
    }
)
WAYS = ("numpy", "compiled")


def use(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capsules, "_LOADING", np.inf if way == "numpy" else -1.0)


@pytest.mark.parametrize("way", WAYS)
def test_any_shapes_are_painted_from_the_exact_distance_of_each_pixel(way: str) -> None:
    @settings(max_examples=150, deadline=None, derandomize=True)
    @given(st.lists(_SHAPES, min_size=1, max_size=4), st.integers(0, 2**32 - 1))
    def check(shapes: list[dict[str, object]], seed: int) -> None:
        ground = np.random.default_rng(seed).integers(0, 256, (_HEIGHT, _WIDTH, 3), np.uint8)
        expected, found = ground.copy(), ground.copy()
        strokes = []
        for shape in shapes:
            values = dict(shape)
            grown, colour = values.pop("grown"), values.pop("colour")
            start = np.array(values.pop("start"), np.float64)
            end = values.pop("end")
            ends = start, start if end is None else np.array(end, np.float64)
            Capsule(*ends, **values).paint(expected, colour, 0.9, grown)  # type: ignore[arg-type]
            own = Capsules(*ends, **values)  # type: ignore[arg-type]
            strokes.append(own.strokes(colour, 0.9, grown))  # type: ignore[arg-type]
        paint(found, np.concatenate(strokes))
        assert np.abs(expected.astype(int) - found).max() <= 1

    with pytest.MonkeyPatch.context() as monkeypatch:
        use(way, monkeypatch)
        check()


@pytest.mark.parametrize("way", WAYS)
def test_a_part_of_a_page_is_painted_and_nothing_around_it(
    way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(way, monkeypatch)
    page = np.full((60, 80, 3), 90, np.uint8)
    part = page[10:50, 20:70]
    strokes = Capsules(np.array([-5.0, 20.0]), np.array([60.0, 22.0]), radius=40.0).strokes(
        (1, 2, 3)
    )
    paint(part, strokes)
    assert (part == (1, 2, 3)).all()
    page[10:50, 20:70] = 90
    assert (page == 90).all()


@pytest.mark.parametrize("way", WAYS)
def test_lines_without_a_length_paint_nothing(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    use(way, monkeypatch)
    image = np.full((20, 20, 3), 90, np.uint8)
    strange = np.array([np.nan, np.inf, -np.inf, 1e308])
    ends = np.stack([strange, strange[::-1]], 1), np.full((4, 2), -1e308)
    with np.errstate(over="ignore"):
        paint(image, Capsules(*ends, radius=3.0).strokes((1, 2, 3)))
    paint(image, np.zeros((0, 12)))
    assert (image == 90).all()


@pytest.mark.parametrize("way", WAYS)
def test_a_line_from_far_outside_crosses_the_image(
    way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(way, monkeypatch)
    image = np.full((9, 20, 3), 90, np.uint8)
    ends = np.array([-1e9, 4.0]), np.array([1e9, 4.0])
    paint(image, Capsules(*ends, radius=1.5).strokes((1, 2, 3)))
    assert (image[3:6] == (1, 2, 3)).all()
    assert (image[:2] == 90).all() and (image[7:] == 90).all()


def test_the_loop_is_loaded_once_much_was_painted(monkeypatch: pytest.MonkeyPatch) -> None:
    ways: list[str] = []
    monkeypatch.setattr(capsules, "_painted", capsules._Painted())
    monkeypatch.setattr(capsules, "_compiled", lambda: lambda *_: ways.append("compiled"))
    monkeypatch.setattr(capsules, "_paint_rows", lambda *_: ways.append("numpy"))
    image = np.zeros((20, 20, 3), np.uint8)
    small = Capsules(np.zeros(2), np.ones(2), radius=1.0).strokes((1, 2, 3))
    for _ in range(3000):
        paint(image, small)
    assert ways[0] == "numpy" and ways[-1] == "compiled"
    assert ways == sorted(ways, reverse=True)
    # One shape that is so large is worth it at once.
    ways.clear()
    monkeypatch.setattr(capsules, "_painted", capsules._Painted())
    large = Capsules(np.zeros(2), np.full(2, 9000.0), radius=500.0).strokes((1, 2, 3))
    paint(image, large)
    assert ways == ["compiled"]
