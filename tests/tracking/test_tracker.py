"""People keep their numbers: by hand, and in moving crowds against greedy matching."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from posebench.skeleton import COCO
from posebench.tracking import Tracker, TrackerSettings

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "tracking.py"
SHAPE = np.random.default_rng(0).uniform(0, 40, (17, 2)) * (1, 2.5)
SCORES = np.ones(17)


@pytest.fixture(scope="module")
def benchmark() -> Any:
    """Return benchmarks/tracking.py as a module."""
    spec = importlib.util.spec_from_file_location("tracking_benchmark", SCRIPT)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where its dataclasses look
    spec.loader.exec_module(module)
    return module


def people(*places: tuple[float, float]) -> NDArray[np.float64]:
    return np.array([SHAPE + np.array(place) for place in places]).reshape(-1, 17, 2)


def numbers(tracker: Tracker, time_s: float, *places: tuple[float, float]) -> list[int]:
    return tracker.update(people(*places), np.ones((len(places), 17)), time_s)


def test_two_people_cross() -> None:
    tracker = Tracker(COCO)
    for frame in range(21):  # they pass one another at frame 10, nearer than they move
        left, right = (10.0 * frame, 0.0), (200 - 10.0 * frame, 6.0)
        order = (left, right) if frame % 2 else (right, left)
        found = numbers(tracker, frame / 10, *order)
        assert found == ([2, 1] if frame % 2 else [1, 2]), frame


def test_a_person_who_was_hidden_comes_back_where_it_should_be() -> None:
    tracker = Tracker(COCO)
    for frame in range(10):
        assert numbers(tracker, frame / 10, (10.0 * frame, 0), (200, 300)) == [1, 2]
    for frame in range(10, 20):
        assert numbers(tracker, frame / 10, (200, 300)) == [2]
    assert numbers(tracker, 2.0, (200.0, 0), (200, 300)) == [1, 2]


def test_a_person_is_forgotten_after_a_while() -> None:
    tracker = Tracker(COCO, TrackerSettings(memory_s=1.0))
    assert numbers(tracker, 0.0, (0, 0)) == [1]
    assert numbers(tracker, 0.9) == []
    assert numbers(tracker, 1.0, (0, 0)) == [1]
    assert numbers(tracker, 2.1, (0, 0)) == [2]


def test_memory_is_bounded() -> None:
    tracker = Tracker(COCO, TrackerSettings(most_lost=5, memory_s=1e9, once_s=1e9))
    for frame in range(50):
        numbers(tracker, float(frame), (1e4 * frame, 0))
    assert len(tracker.state()["tracks"]) == 7  # the last two frames', and five who are lost


def test_the_sum_counts_and_not_the_nearest_pair() -> None:
    # The first is now nearest to where the second was: greedy matching would exchange them.
    tracker = Tracker(COCO)
    assert numbers(tracker, 0.0, (0, 0), (20, 0)) == [1, 2]
    assert numbers(tracker, 0.1, (12, 0), (32, 0)) == [1, 2]


def test_a_state_goes_on_as_if_nothing_had_been() -> None:
    rng = np.random.default_rng(3)
    frames = [
        (people(*rng.uniform(0, 200, (4, 2))), rng.random((4, 17)), number / 10)
        for number in range(20)
    ]
    whole, first, second = Tracker(COCO), Tracker(COCO), Tracker(COCO)
    expected = [whole.update(*frame) for frame in frames]
    found = [first.update(*frame) for frame in frames[:9]]
    second.restore(json.loads(json.dumps(first.state())))
    assert found + [second.update(*frame) for frame in frames[9:]] == expected
    assert second.state() == whole.state()


@pytest.mark.parametrize("back", [0.0, 3600.0])
def test_a_clock_that_stands_or_is_set_back_loses_nobody(back: float) -> None:
    tracker = Tracker(COCO)
    for frame in range(5):
        assert numbers(tracker, 7200 + frame / 10, (5.0 * frame, 0), (200, 300)) == [1, 2]
    for frame in range(5, 10):
        later = 7200.4 - back + (frame - 5) / 10
        assert numbers(tracker, later, (5.0 * frame, 0), (200, 300)) == [1, 2]


def test_nobody_is_there() -> None:
    tracker = Tracker(COCO)
    assert numbers(tracker, 0.0) == []
    assert numbers(tracker, 0.1, (0, 0)) == [1]


def test_moving_crowds_are_tracked_better_than_by_distance(benchmark: Any) -> None:
    pytest.importorskip(
        "trackeval", reason="pip install --no-deps trackeval tabulate: benchmarks/tracking.py"
    )
    for fps, idf1, switches in ((25, 0.72, 20), (8, 0.65, 40)):
        films = [list(benchmark.simulated(seed, frames=5 * fps, fps=fps)) for seed in (50, 51)]
        ours = benchmark.score(films, lambda: Tracker(COCO))
        greedy = [
            benchmark.score(films, tracker)
            for name, tracker in benchmark.TRACKERS.items()
            if "greedy" in name
        ]
        assert ours["IDF1"] > idf1 and ours["IDSW"] < switches
        for other in greedy:
            assert ours["IDF1"] > other["IDF1"] + 0.15
            assert ours["MOTA"] > other["MOTA"]
            assert 2 * ours["IDSW"] < other["IDSW"]


def test_moving_crowds_have_few_numbers_for_each_person(benchmark: Any) -> None:
    """What the test above says, without its library: numbers given for each person there is."""
    film = list(benchmark.simulated(50, frames=150, fps=25))

    def given(tracker: Any) -> int:
        used: set[int] = set()
        for one in film:
            used |= set(tracker.update(one.keypoints, one.keypoint_scores, one.time_s))
        return len(used)

    there = len({int(person) for one in film for person in one.people})
    # Ghosts, one in ten frames, have numbers too.
    assert there <= given(Tracker(COCO)) <= there + 0.1 * len(film) + 10


def test_who_was_seen_once_is_forgotten_sooner() -> None:
    tracker = Tracker(COCO, TrackerSettings(once_s=0.3))
    assert numbers(tracker, 0.0, (0, 0), (500, 0)) == [1, 2]
    assert numbers(tracker, 0.1, (0, 0)) == [1]
    assert numbers(tracker, 0.5, (0, 0), (500, 0)) == [1, 3]
    # In a film of few frames everybody has been seen once.
    slow = Tracker(COCO)
    assert [numbers(slow, number * 0.5, (0, 0)) for number in range(3)] == [[1], [1], [1]]
