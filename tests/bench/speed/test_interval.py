"""The interval of a median pass."""

from __future__ import annotations

import numpy as np

from posebench.bench.speed.interval import median_interval


def test_it_lies_around_the_median_and_narrows_with_rounds() -> None:
    rng = np.random.default_rng(1)

    def width(count: int) -> float:
        rounds = [(10 + rng.normal() + rng.normal(0, 0.1, 20)).tolist() for _ in range(count)]
        found = median_interval(rounds)
        assert found is not None
        assert found[0] <= np.median(np.concatenate(rounds)) <= found[1]
        assert found == median_interval(rounds)  # drawn alike each time
        return found[1] - found[0]

    assert width(400) < 0.5 * width(10)


def test_equal_rounds_have_no_width_and_two_no_interval() -> None:
    assert median_interval([[2.0, 3.0, 4.0]] * 3) == (3.0, 3.0)
    assert median_interval([[2.0], [3.0]]) is None
