"""What repeated times say: quantiles, ratios with their intervals, and who is faster."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np
from scipy import stats

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Ratio:
    """How many times as long one takes as another, with a 95 % interval."""

    value: float
    low: float
    high: float

    @property
    def tells(self) -> bool:
        """Whether one is slower than the other, for all that is known."""
        return self.low > 1 or self.high < 1


def quantile(seconds: Sequence[float], share: float) -> float:
    return float(np.quantile(seconds, share))


def ratio(ours: Mapping[int, float], reference: Mapping[int, float]) -> Ratio | None:
    """Compare two models by the rounds in which both had a turn.

    Args:
        ours: seconds of a pass by round.
        reference: likewise.

    Returns:
        The geometric mean of the rounds' ratios and the interval of Student's t on their
        logarithms, infinitely wide where there is one round; None where there is none. What slows
        the machine for a while slows both turns of a round and leaves their ratio as it is.
    """
    logs = [math.log(ours[key] / reference[key]) for key in ours.keys() & reference.keys()]
    if not logs:
        return None
    mean, reach = float(np.mean(logs)), math.inf
    if len(logs) > 1:
        quantile_of_t = float(stats.t.ppf((1 + CONFIDENCE) / 2, len(logs) - 1))
        reach = quantile_of_t * float(np.std(logs, ddof=1)) / math.sqrt(len(logs))
    return Ratio(math.exp(mean), math.exp(mean - reach), math.exp(min(mean + reach, 700.0)))


def ranking(rounds: Mapping[str, Mapping[int, float]]) -> dict[str, int]:
    """Return each name's rank by the median of its rounds; those who cannot be told apart share it.

    A model is told from the best one of the rank before by rounds that both had a turn in, and by
    medians where there are none.
    """
    order = sorted(rounds, key=lambda name: median(rounds[name].values()))
    ranks: dict[str, int] = {}
    best = ""
    for position, name in enumerate(order, start=1):
        against = ratio(rounds[name], rounds[best]) if best else None
        if best and against is not None and not against.tells:
            ranks[name] = ranks[best]
        else:
            ranks[name], best = position, name
    return ranks
