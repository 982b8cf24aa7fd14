"""Is one variant better than another? Tests over the images, and over the seeds.

Over images: had the two models' outputs on an image the same distribution, then exchanging them on
any of the images would change nothing but the sign of the difference. So the difference is compared
with those after random exchanges (a permutation test, paired by image); its interval is that of a
bootstrap that draws images with replacement. Both hold for these very models: they say nothing of
what another seed would have given. That is the question of Student's paired t over seeds, which
needs more of them than are usually trained.

Shapes: S seeds, N images, R resamples.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from scipy import stats

from posebench.metrics.matching import Floats, Matches
from posebench.metrics.resampling import resampled_ap

RESAMPLES = 1000
CONFIDENCE = 0.95

Verdict = Literal["holds", "reversed", "open"]


@dataclass(frozen=True)
class Difference:
    """The AP of one variant over another's, as fractions: means over seeds."""

    value: float
    low: float  # of the 95 % interval over images
    high: float
    p_images: float
    p_seeds: float  # nan: there is one seed
    seeds_above: int  # in so many of them it is above 0
    seeds: int


@dataclass(frozen=True)
class Pair:
    """Two variants that the paper puts into an order, and what was found here."""

    worse: str  # by the paper
    better: str
    printed: float | None  # by how much, in the paper's units; None: it does not say
    difference: Difference  # of the better over the worse
    p_adjusted: float  # of p_images, by Holm over the study's pairs

    @property
    def verdict(self) -> Verdict:
        """The order, where images and every seed agree on it; else it is open."""
        found = self.difference
        clear = self.p_adjusted < 1 - CONFIDENCE
        if clear and found.value > 0 and found.seeds_above == found.seeds:
            return "holds"
        if clear and found.value < 0 and found.seeds_above == 0:
            return "reversed"
        return "open"


def difference(
    ours: Sequence[Matches], reference: Sequence[Matches], resamples: int = RESAMPLES
) -> Difference:
    """Compare two variants whose models, one for each seed, saw the same images.

    Args:
        ours: of each seed.
        reference: of the same seeds.
        resamples: of the images, for each of the two tests.
    """
    images = len(ours[0].people)
    rng = np.random.default_rng(0)  # the same draws for all pairs, so that nothing depends on order
    once = np.ones((1, images))
    by_seed = np.array(
        [
            float((resampled_ap([a], [once]) - resampled_ap([b], [once]))[0])
            for a, b in zip(ours, reference, strict=True)
        ]
    )
    value = float(by_seed.mean())
    exchanged = rng.integers(0, 2, (resamples, images)).astype(np.float64)
    drawn = rng.multinomial(images, np.full(images, 1 / images), resamples).astype(np.float64)
    under_null, redrawn = np.zeros(resamples), np.zeros(resamples)
    for a, b in zip(ours, reference, strict=True):
        both = [a, b]
        under_null += resampled_ap(both, [1 - exchanged, exchanged])
        under_null -= resampled_ap(both, [exchanged, 1 - exchanged])
        redrawn += resampled_ap([a], [drawn]) - resampled_ap([b], [drawn])
    under_null /= len(by_seed)
    low, high = np.nanquantile(redrawn / len(by_seed), [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    # Exchanges that change nothing must not count as smaller for rounding.
    extreme = np.abs(under_null) >= abs(value) - 1e-12
    return Difference(
        value=value,
        low=float(low),
        high=float(high),
        p_images=float((1 + extreme.sum()) / (1 + resamples)),
        p_seeds=_over_seeds(by_seed),
        seeds_above=int((by_seed > 0).sum()),
        seeds=len(by_seed),
    )


def _over_seeds(differences: Floats) -> float:
    if len(differences) < 2:
        return float("nan")
    if np.ptp(differences) == 0:  # no spread to divide by
        return 1.0 if differences[0] == 0 else 0.0
    return float(stats.ttest_1samp(differences, 0.0).pvalue)


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values such that one of all those tests is wrong with the probability it says.

    Source: Holm (1979): the i-th smallest of n is multiplied by n - i + 1.
    """
    count = len(p_values)
    adjusted = [0.0] * count
    highest = 0.0
    for place, index in enumerate(np.argsort(p_values, kind="stable").tolist()):
        highest = max(highest, min(1.0, (count - place) * p_values[index]))
        adjusted[index] = highest
    return adjusted


def ordered_pairs(
    expected: Sequence[tuple[str, str, float | None]],
    found: Mapping[str, Mapping[int, Matches]],
    resamples: int = RESAMPLES,
) -> list[Pair]:
    """Compare all variants that the paper orders, by the seeds that both have.

    Args:
        expected: worse, better, and by how much.
        found: of each variant, the models of its seeds.
        resamples: of the images.
    """
    compared = []
    for worse, better, printed in expected:
        seeds = sorted(found[worse].keys() & found[better].keys())
        if seeds:
            ours, reference = ([found[name][seed] for seed in seeds] for name in (better, worse))
            compared.append((worse, better, printed, difference(ours, reference, resamples)))
    adjusted = holm([one.p_images for *_, one in compared])
    return [Pair(*own, p) for own, p in zip(compared, adjusted, strict=True)]


def verdict(pairs: Sequence[Pair]) -> Verdict:
    """Return whether the whole of a paper's ordering holds; one pair against it reverses it."""
    found = {pair.verdict for pair in pairs}
    if "reversed" in found:
        return "reversed"
    return "holds" if found == {"holds"} else "open"


def sentence(pairs: Sequence[Pair]) -> str:
    """Return what was found in words."""
    if not pairs:
        return "The paper puts no two of these variants into an order."
    count = len(pairs)
    signs = sum(pair.difference.value > 0 for pair in pairs)
    clear = sum(pair.verdict == "holds" for pair in pairs)
    against = [pair for pair in pairs if pair.verdict == "reversed"]
    words: dict[Any, str] = {
        "holds": "The paper's ordering holds",
        "reversed": "The paper's ordering does not hold",
        "open": "Whether the paper's ordering holds is open",
    }
    text = (
        f"{words[verdict(pairs)]}: {signs} of {count} pairs are in its order, {clear} of them "
        f"clearly, and {len(against)} clearly the other way round"
    )
    if against:
        text += " (" + "; ".join(f"{p.worse} above {p.better}" for p in against) + ")"
    return text + "."
