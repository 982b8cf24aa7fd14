"""Work ahead in a thread."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from posebench.data.frames.background import Background


def until(condition: object) -> None:
    deadline = time.monotonic() + 10
    while not condition() and time.monotonic() < deadline:  # type: ignore[operator]
        time.sleep(0.005)


def test_it_works_ahead_so_far_and_no_farther() -> None:
    begun: list[int] = []

    def items() -> Iterator[int]:
        for number in range(100):
            begun.append(number)
            yield number

    background = Background(items(), 4)
    time.sleep(0.05)
    assert not begun  # nobody has asked
    background.start()
    until(lambda: len(begun) == 5)
    time.sleep(0.05)
    assert len(begun) == 5  # four wait, and one has no room yet
    assert background.take(3) == [0, 1, 2]
    background.close()
    assert not background._thread.is_alive()


def test_an_error_comes_after_the_items_before_it() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise ValueError("broken")

    background = Background(items(), 4)
    assert background.take(3) == [1]
    with pytest.raises(ValueError, match="broken"):
        background.take(3)
    assert background.take(3) == []


def test_what_is_not_perishable_is_never_dropped() -> None:
    """The last frames of a film still wait when a camera begins."""
    background = Background(iter(range(50)), 4, perishable=lambda item: item >= 3)
    background.start()
    until(lambda: background.dropped == 46)
    assert background.take(8) == [0, 1, 2, 49]
    background.close()

    begun: list[int] = []

    def items() -> Iterator[int]:
        for number in range(5):
            begun.append(number)
            yield number

    background = Background(items(), 2, perishable=lambda item: item >= 2)
    background.start()
    until(lambda: len(begun) == 3)  # the queue is full of the film
    assert background.take(2) == [0, 1]
    until(lambda: len(begun) == 5)
    assert background.take(2)[-1] == 4
    background.close()


def test_of_a_camera_the_newest_items_count() -> None:
    background = Background(iter(range(50)), 2, perishable=lambda item: True)
    background.start()
    until(lambda: background.dropped == 48)
    assert background.take(8) == [48, 49]
    background.close()
