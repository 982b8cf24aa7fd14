"""The interval of a median pass, by a bootstrap over rounds."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from posebench.bench.statistics import limits

_DRAWS = 1000
_LEAST_ROUNDS = 3  # of fewer, too many draws are the same


def median_interval(rounds: Sequence[Sequence[float]]) -> tuple[float, float] | None:
    """Return the limits of the 95 % interval of the median of all passes.

    Passes of a round share a spell of the machine, so rounds are drawn, with replacement, and not
    passes. The draws are always the same.

    Args:
        rounds: the times of each round's passes, in any unit.

    Returns:
        None for fewer than three rounds.
    """
    if len(rounds) < _LEAST_ROUNDS:
        return None
    passes = [np.asarray(one, np.float64) for one in rounds]
    drawn = np.random.default_rng(0).integers(0, len(rounds), (_DRAWS, len(rounds)))
    return limits(np.array([np.median(np.concatenate([passes[i] for i in row])) for row in drawn]))
