"""Statistics of repeated measurements: latency ratios over rounds, AP differences over images.

Two models are compared over images by a permutation test: if their outputs on an image had the same
distribution, exchanging them on any of the images would change only the sign of the difference. The
observed difference is therefore compared with those after random exchanges. After an exchange
detections of both models are sorted together, so each model's scores are replaced by their ranks
among its own, counted from the best: scores of two models need not be on one scale, and low-scored
detections that only one of them makes do not push its others ahead. The difference's interval is
that of a bootstrap that samples images with replacement. Both are statements about these two
models, not about models of other seeds. Student's paired t-test over seeds is, but it needs more
seeds than are usually trained.

Shapes: S seeds, N images, R resamples.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from posebench.bench.draws import RESAMPLES, SEED
from posebench.metrics.matching import Floats, Matches
from posebench.metrics.resampling import Ranking, resampled_ap

Whole = NDArray[np.int16]

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Interval:
    """An estimate with its 95 % confidence interval."""

    value: float
    low: float
    high: float

    def excludes(self, value: float) -> bool:
        """Return whether a value lies outside the interval."""
        return self.low > value or self.high < value


@dataclass(frozen=True)
class Difference(Interval):
    """The AP of one variant minus another's, as fractions: means over seeds, interval over images.

    `p_seeds` is nan where there is only one seed.
    """

    p_images: float
    p_seeds: float
    seeds_above: int  # number of seeds in which the difference is positive
    seeds: int


# ------------------------------------------------------------------------------------- latencies


def quantile(values: Sequence[float], level: float) -> float:
    """Return a quantile, interpolated linearly between the two nearest values."""
    return float(np.quantile(values, level))


def ratio(ours: Mapping[int, float], reference: Mapping[int, float]) -> Interval | None:
    """Return how many times as long one model takes as another, from the rounds both ran in.

    Args:
        ours: round -> seconds of a pass.
        reference: likewise.

    Returns:
        The geometric mean of the rounds' ratios with the interval of Student's t on their
        logarithms, which is infinitely wide for a single round; None if no round is shared. A
        slow spell of the machine slows both models of a round and cancels in their ratio.
    """
    logs = [math.log(ours[key] / reference[key]) for key in ours.keys() & reference.keys()]
    if not logs:
        return None
    mean, reach = float(np.mean(logs)), math.inf
    if len(logs) > 1:
        quantile_of_t = float(stats.t.ppf((1 + CONFIDENCE) / 2, len(logs) - 1))
        reach = quantile_of_t * float(np.std(logs, ddof=1)) / math.sqrt(len(logs))
    return Interval(math.exp(mean), math.exp(mean - reach), math.exp(min(mean + reach, 700.0)))


def ranking(rounds: Mapping[str, Mapping[int, float]]) -> dict[str, int]:
    """Return each model's rank by its median round; models that cannot be told apart share a rank.

    A model gets a new rank if the interval of its ratio to the best model of the previous
    rank excludes 1. Two models that share no round are told apart by their medians.

    Args:
        rounds: model -> round -> seconds of a pass.
    """
    order = sorted(rounds, key=lambda name: median(rounds[name].values()))
    ranks: dict[str, int] = {}
    best = ""
    for position, name in enumerate(order, start=1):
        to_best = ratio(rounds[name], rounds[best]) if best else None
        if to_best is not None and not to_best.excludes(1):
            ranks[name] = ranks[best]
        else:
            ranks[name], best = position, name
    return ranks


# ----------------------------------------------------------------------------------- differences


def ap_interval(model: Matches, resamples: int = RESAMPLES) -> Interval:
    """Return a model's AP as a fraction, with the interval of a bootstrap over the images."""
    _, samples = image_resamples(len(model.people), resamples)
    return interval_of(ap_of(model), resampled_ap([model], [samples]))


def interval_of(value: float, bootstrap: Floats) -> Interval:
    """Return an estimate with the limits of its (R,) bootstrap; nan where all of that is nan."""
    if np.isnan(bootstrap).all():
        return Interval(value, math.nan, math.nan)
    return Interval(value, *limits(bootstrap))


def difference(
    ours: Sequence[Matches], reference: Sequence[Matches], resamples: int = RESAMPLES
) -> Difference:
    """Compare two variants, of each of which one model per seed was evaluated on the same images.

    Args:
        ours: (S,) matches of one variant.
        reference: (S,) matches of the other, with the same seeds.
        resamples: number of resamples of the images, for each of the two tests.
    """
    pairs = list(zip(ours, reference, strict=True))
    by_seed = np.array([ap_of(a) - ap_of(b) for a, b in pairs])
    value = float(by_seed.mean())
    exchanged, samples = image_resamples(len(ours[0].people), resamples)
    under_null = np.mean([exchanged_differences(a, b, exchanged) for a, b in pairs], axis=0)
    bootstrap = np.mean(
        [resampled_ap([a], [samples]) - resampled_ap([b], [samples]) for a, b in pairs], axis=0
    )
    low, high = limits(bootstrap)
    return Difference(
        value=value,
        low=low,
        high=high,
        p_images=p_of_exchanges(value, under_null),
        p_seeds=_p_over_seeds(by_seed),
        seeds_above=int((by_seed > 0).sum()),
        seeds=len(by_seed),
    )


def exchanged_differences(ours: Matches, reference: Matches, exchanged: Whole) -> Floats:
    """Return the (R,) differences of AP after exchanging two models' outputs on some images.

    Args:
        ours: the matches of one model.
        reference: those of the other, on the same images.
        exchanged: (R, N) 1 where the outputs are exchanged, otherwise 0.
    """
    both = Ranking.of([_ranked(ours), _ranked(reference)])

    def ap(exchange: Whole) -> Floats:
        def weights(part: slice) -> Whole:
            return np.stack([1 - exchange[part], exchange[part]], axis=1)

        return both.resampled(len(exchange), weights)[0]

    return ap(exchanged) - ap(1 - exchanged)


def p_of_exchanges(value: float, under_null: Floats) -> float:
    """Return the p-value of a difference among the (R,) differences after random exchanges."""
    # An exchange that changes nothing must not count as less extreme because of rounding.
    extreme = np.abs(under_null) >= abs(value) - 1e-12
    return float((1 + extreme.sum()) / (1 + len(under_null)))


def ap_of(model: Matches) -> float:
    """Return the AP of a model as a fraction."""
    return float(resampled_ap([model], [np.ones((1, len(model.people)))])[0])


def _ranked(model: Matches) -> Matches:
    """Replace scores by ranks among the model's own, -1 the best; equal scores share the mean."""
    return replace(model, scores=-stats.rankdata(-model.scores))


def image_resamples(images: int, resamples: int, seed: int = SEED) -> tuple[Whole, Whole]:
    """Return the exchanges and bootstrap samples of images, the same for all pairs of models.

    They are drawn a few at a time, which changes none of them: all draws at once take 8 bytes each.

    Returns:
        (R, N) 1 where an image is exchanged, otherwise 0.
        (R, N) how often each image occurs in samples with replacement.
    """
    rng = np.random.default_rng(seed)
    exchanged, samples = (np.empty((resamples, images), np.int16) for _ in range(2))
    for row in exchanged:
        row[:] = rng.integers(0, 2, images)
    share = np.full(images, 1 / images)
    for row in samples:
        row[:] = rng.multinomial(images, share)
    return exchanged, samples


def limits(bootstrap: Floats) -> tuple[float, float]:
    """Return the limits of the percentile interval; samples without people to detect are nan."""
    low, high = np.nanquantile(bootstrap, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return float(low), float(high)


def _p_over_seeds(differences: Floats) -> float:
    """Return the p-value of Student's t-test that the mean (S,) is 0; nan for one seed."""
    if len(differences) < 2:
        return float("nan")
    if np.ptp(differences) == 0:  # there is no deviation to divide by
        return 1.0 if differences[0] == 0 else 0.0
    return float(stats.ttest_1samp(differences, 0.0).pvalue)


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values adjusted for being tested together, which bounds the family-wise error rate.

    Source: Holm (1979): the i-th smallest of n is multiplied by n - i + 1.
    """
    count = len(p_values)
    adjusted = [0.0] * count
    highest = 0.0
    for rank, index in enumerate(np.argsort(p_values, kind="stable").tolist()):
        highest = max(highest, min(1.0, (count - rank) * p_values[index]))
        adjusted[index] = highest
    return adjusted


def benjamini_hochberg(p_values: Sequence[float]) -> list[float]:
    """Return p-values adjusted for being tested together, which bounds the false discovery rate.

    Source: Benjamini and Hochberg (1995): the i-th smallest of n is multiplied by n / i.
    """
    count = len(p_values)
    adjusted = [0.0] * count
    lowest = 1.0
    order = np.argsort(p_values, kind="stable").tolist()
    for rank, index in zip(range(count, 0, -1), reversed(order), strict=True):
        lowest = min(lowest, p_values[index] * count / rank)
        adjusted[index] = lowest
    return adjusted
