"""Does a paper's ordering of a study's variants hold here?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from posebench.bench.statistics import CONFIDENCE, RESAMPLES, Difference, difference, holm
from posebench.metrics.matching import Matches

Verdict = Literal["holds", "reversed", "open"]


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
