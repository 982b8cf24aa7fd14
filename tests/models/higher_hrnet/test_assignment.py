"""The assignment against SciPy's; its choice among equal costs is in tests/parity."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment

from posebench.models.higher_hrnet.assignment import assign


@pytest.mark.parametrize("shape", [(1, 1), (4, 4), (3, 7), (7, 3), (30, 30)])
def test_an_assignment_costs_least(shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        cost = rng.integers(0, 5, shape).astype(float) * 100 - rng.uniform(0, 1, shape)
        pairs = assign(cost.copy())
        assert len({column for _, column in pairs}) == len(pairs) == min(shape)
        rows, columns = linear_sum_assignment(cost)
        assert sum(cost[pair] for pair in pairs) == pytest.approx(cost[rows, columns].sum())
