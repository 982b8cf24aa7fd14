"""Whether a paper's ordering of a study's variants holds here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from posebench.bench.draws import RESAMPLES
from posebench.bench.statistics import CONFIDENCE, Difference, difference, holm
from posebench.metrics.matching import Matches

Verdict = Literal["holds", "reversed", "open"]


@dataclass(frozen=True)
class Pair:
    """Two variants that the paper orders, compared with the results here."""

    worse: str  # in the paper
    better: str
    printed: float | None  # the paper's difference; None: it prints no values
    difference: Difference  # AP of `better` minus AP of `worse`
    p_adjusted: float  # p_images, adjusted by Holm for all pairs of the study

    @property
    def verdict(self) -> Verdict:
        """The order here, if the test over images and every seed agree; "open" otherwise."""
        significant = self.p_adjusted < 1 - CONFIDENCE
        value, seeds_above = self.difference.value, self.difference.seeds_above
        if significant and value > 0 and seeds_above == self.difference.seeds:
            return "holds"
        if significant and value < 0 and seeds_above == 0:
            return "reversed"
        return "open"


def ordered_pairs(
    expected: Sequence[tuple[str, str, float | None]],
    matches: Mapping[str, Mapping[int, Matches]],
    resamples: int = RESAMPLES,
) -> list[Pair]:
    """Compare all variants that the paper orders, over the seeds that both have.

    Args:
        expected: worse variant, better variant, printed difference.
        matches: variant -> seed -> matches of its model.
        resamples: number of resamples of the images.
    """
    compared = []
    for worse, better, printed in expected:
        seeds = sorted(matches[worse].keys() & matches[better].keys())
        if seeds:
            ours, reference = ([matches[name][seed] for seed in seeds] for name in (better, worse))
            compared.append((worse, better, printed, difference(ours, reference, resamples)))
    adjusted = holm([one.p_images for *_, one in compared])
    return [Pair(*own, p) for own, p in zip(compared, adjusted, strict=True)]


def overall_verdict(pairs: Sequence[Pair]) -> Verdict:
    """Return whether the whole ordering of a paper holds; a single reversed pair reverses it."""
    verdicts = {pair.verdict for pair in pairs}
    if "reversed" in verdicts:
        return "reversed"
    return "holds" if verdicts == {"holds"} else "open"


_CONCLUSIONS: dict[Verdict, str] = {
    "holds": "The paper's ordering holds",
    "reversed": "The paper's ordering does not hold",
    "open": "Whether the paper's ordering holds is open",
}


def conclusion(pairs: Sequence[Pair]) -> str:
    """Return the verdict on a paper's ordering as a sentence."""
    if not pairs:
        return "The paper does not order these variants."
    same_sign = sum(pair.difference.value > 0 for pair in pairs)
    holding = sum(pair.verdict == "holds" for pair in pairs)
    reversed_ = [pair for pair in pairs if pair.verdict == "reversed"]
    text = (
        f"{_CONCLUSIONS[overall_verdict(pairs)]}: of {len(pairs)} pairs {same_sign} are in its "
        f"order, {holding} of them significantly; {len(reversed_)} are significantly reversed"
    )
    if reversed_:
        text += " (" + "; ".join(f"{pair.worse} above {pair.better}" for pair in reversed_) + ")"
    return text + "."
