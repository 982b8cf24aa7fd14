"""Several models on the same images: AP with intervals, and which of them differ.

Every pair is tested by exchanging images, and the p-values of all pairs are adjusted together.
Models that share a letter cannot be told apart; as in any such display, sharing is not transitive.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from posebench.bench.statistics import (
    CONFIDENCE,
    RESAMPLES,
    Interval,
    ap_of,
    exchanged_differences,
    holm,
    image_resamples,
    limits,
    p_of_exchanges,
)
from posebench.metrics.matching import Matches
from posebench.metrics.resampling import resampled_ap

_LETTERS = "abcdefghijklmnopqrstuvwxyz"


@dataclass(frozen=True)
class ComparedModel:
    """A model among others on the same images; AP are fractions."""

    name: str
    ap: Interval
    behind: Interval  # the AP of the best model minus this one's; 0 for the best
    p: float  # that the two do not differ, adjusted for all pairs (Holm); 1 for the best
    letters: str  # models that share a letter cannot be told apart


def compare(models: Mapping[str, Matches], resamples: int = RESAMPLES) -> list[ComparedModel]:
    """Return the models from the highest AP to the lowest.

    Args:
        models: the matches of at least one model by name, all on the same images.
        resamples: number of resamples of the images, for intervals and for each test.
    """
    images = len(next(iter(models.values())).people)
    exchanged, samples = image_resamples(images, resamples)
    ap = {name: ap_of(model) for name, model in models.items()}
    bootstrap = {name: resampled_ap([model], [samples]) for name, model in models.items()}
    order = sorted(models, key=lambda name: -ap[name])
    pairs = list(combinations(order, 2))
    p_values = [
        p_of_exchanges(
            ap[better] - ap[worse],
            exchanged_differences(models[better], models[worse], exchanged),
        )
        for better, worse in pairs
    ]
    adjusted = dict(zip(pairs, holm(p_values), strict=True))
    letters = letter_groups(order, {p for p, value in adjusted.items() if value < 1 - CONFIDENCE})
    best = order[0]
    return [
        ComparedModel(
            name=name,
            ap=Interval(ap[name], *limits(bootstrap[name])),
            behind=Interval(ap[best] - ap[name], *limits(bootstrap[best] - bootstrap[name])),
            p=adjusted.get((best, name), 1.0),
            letters=letters[name],
        )
        for name in order
    ]


def letter_groups(order: Sequence[str], different: set[tuple[str, str]]) -> dict[str, str]:
    """Return letters such that two models share one exactly if they do not differ.

    Args:
        order: the models, best first; "a" goes to the best.
        different: pairs of models that differ, in this order.

    Source: Piepho (2004), insert and absorb.
    """
    groups = [set(order)]
    for first, second in sorted(different, key=lambda pair: tuple(map(order.index, pair))):
        split = [group for group in groups if {first, second} <= group]
        groups = [group for group in groups if group not in split]
        for group in split:
            groups += [group - {first}, group - {second}]
        groups = [
            group
            for position, group in enumerate(groups)
            if not any(
                group < other or (group == other and position > earlier)
                for earlier, other in enumerate(groups)
            )
        ]
    groups.sort(key=lambda group: sorted(map(order.index, group)))
    return {
        name: "".join(_LETTERS[i] for i, group in enumerate(groups) if name in group)
        for name in order
    }
