"""Models compared on the same images: intervals, tests, groups, and the images that decide.

Shapes: R draws of the images, N images, T OKS thresholds.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

import numpy as np

from posebench.bench.comparison.letters import letter_groups
from posebench.bench.comparison.values import (
    Comparison,
    ErrorDifference,
    GroupDifference,
    GroupScore,
    ImageEffect,
    ModelScores,
    PairDifference,
)
from posebench.bench.draws import DRAWS, RESAMPLES, SEED
from posebench.bench.groups import Group, groups_of
from posebench.bench.statistics import (
    CONFIDENCE,
    Interval,
    Whole,
    benjamini_hochberg,
    exchanged_differences,
    holm,
    image_resamples,
    interval_of,
    p_of_exchanges,
)
from posebench.errors import UsageError
from posebench.ground_truth import GroundTruth
from posebench.metrics.keypoints import crowding, match
from posebench.metrics.matching import LARGE, MEDIUM, Criterion, Detections, Flags, Floats, Matches
from posebench.metrics.names import merged_name
from posebench.metrics.resampling import (
    Ranking,
    ap_at_thresholds,
    ap_without_each_image,
    check_ap,
    threshold_index,
)
from posebench.structures import Protocol

# Quantiles of the normal distribution: 97.5 % for a test at 5 %, 80 % for the power.
_DETECTABLE = 1.959964 + 0.841621
_TOGETHER = 8  # groups that are matched together


@dataclass(frozen=True)
class _Resampled:
    """A metric of one model, and its values in the draws."""

    value: float
    draws: Floats  # (R,)

    @property
    def interval(self) -> Interval:
        return interval_of(self.value, self.draws)

    def minus(self, other: _Resampled) -> Interval:
        return interval_of(self.value - other.value, self.draws - other.draws)


def compare(
    models: Mapping[str, Detections],
    truth: GroundTruth,
    protocol: Protocol,
    *,
    reference: str | None = None,
    draws: int = DRAWS,
    seed: int = SEED,
    groups: bool = True,
    group_p: bool = False,
    errors: Mapping[str, Any] | None = None,
) -> Comparison:
    """Compare models on the same images.

    Args:
        models: the detections of each model by its name.
        truth: the annotations.
        protocol: whose AP is compared. Of several categories it is that of all as one.
        reference: the one that others are compared with in groups and errors; None: the best.
        draws: number of resamples of the images, and of exchanges in each test.
        seed: of the draws, which are the same for all models.
        groups: also compute the AP of each group of people, and what each image costs.
        group_p: also test the differences in the groups, which takes as long for each of them as
            the test of a pair.
        errors: the error analysis of each model by its name.

    Raises:
        UsageError: there are no models, the reference is none of them, or the protocol has a metric
            of its own.
    """
    check_ap(protocol)
    if not models:
        raise UsageError("Expected at least one model to compare, but found none.")
    if reference is not None and reference not in models:
        raise UsageError(f"Expected one of {', '.join(models)} as reference, not {reference}.")
    exchanged, samples = image_resamples(truth.num_images, draws, seed)
    chosen = groups_of(truth, protocol) if groups else []
    base: dict[str, Matches] = {}
    parts: dict[str, dict[str, _Resampled]] = {}
    of_group: dict[str, list[_Resampled]] = {}
    kept: dict[str, list[Matches]] = {name: [] for name in models}  # of groups to be tested
    for name, detections in models.items():
        matcher = match(truth, detections, protocol)
        base[name], parts[name] = _main(matcher, truth, protocol, samples)
        of_group[name] = []
        for start in range(0, len(chosen), _TOGETHER):
            some = chosen[start : start + _TOGETHER]
            found = matcher.matches([group.criterion() for group in some])
            if group_p:
                kept[name] += found
            of_group[name] += [
                _resampled(own, samples, _by_id(truth, group.images))[0]
                for own, group in zip(found, some, strict=True)
            ]
    several = protocol.separate and truth.category is not None
    scores, pairs = _compared(base, parts, exchanged, merged=several)
    best = reference or scores[0].name
    order = [one.name for one in scores]
    compared_with = [_ordered(order, best, name) for name in order if name != best]
    differences = [
        GroupDifference(
            better, worse, group.by, group.label,
            of_group[better][index].minus(of_group[worse][index]),
        )
        for better, worse in compared_with
        for index, group in enumerate(chosen)
    ]  # fmt: skip
    if group_p:
        images = [_by_id(truth, group.images) for group in chosen]
        differences = _tested(differences, compared_with, kept, images, exchanged)
    return Comparison(
        models=scores,
        pairs=pairs,
        reference=best,
        draws=draws,
        seed=seed,
        num_images=truth.num_images,
        num_people=int(truth.people.sum()),
        groups=tuple(_group_scores(order, chosen, of_group, truth)),
        group_differences=tuple(differences),
        images=tuple(_images(base, order, truth)) if groups else (),
        errors=tuple(_error_differences(compared_with, errors or {})),
        analyses=dict(errors or {}),
    )  # fmt: skip


def compare_matches(
    models: Mapping[str, Matches], draws: int = RESAMPLES, seed: int = SEED
) -> tuple[tuple[ModelScores, ...], tuple[PairDifference, ...]]:
    """Compare models of which only the matches are known: AP, AP50 and AP75, best first."""
    images = len(next(iter(models.values())).people)
    exchanged, samples = image_resamples(images, draws, seed)
    parts = {name: _at_thresholds(model, samples) for name, model in models.items()}
    return _compared(models, parts, exchanged)


def _compared(
    base: Mapping[str, Matches],
    parts: Mapping[str, Mapping[str, _Resampled]],
    exchanged: Whole,
    *,
    merged: bool = False,
) -> tuple[tuple[ModelScores, ...], tuple[PairDifference, ...]]:
    """Return the models, best first, and the differences of all pairs."""
    ap = {name: own["AP"] for name, own in parts.items()}
    order = sorted(ap, key=lambda name: -np.nan_to_num(ap[name].value, nan=-1.0))
    names = list(combinations(order, 2))
    p_values = [
        p_of_exchanges(
            ap[better].value - ap[worse].value,
            exchanged_differences(base[better], base[worse], exchanged),
        )
        for better, worse in names
    ]
    pairs = tuple(
        PairDifference(
            better, worse, ap[better].minus(ap[worse]), p, adjusted,
            _DETECTABLE * _deviation(ap[better].draws - ap[worse].draws),
        )
        for (better, worse), p, adjusted in zip(names, p_values, holm(p_values), strict=True)
    )  # fmt: skip
    different = {(one.better, one.worse) for one in pairs if one.p_adjusted < 1 - CONFIDENCE}
    letters = letter_groups(order, different)
    scores = tuple(
        ModelScores(
            name,
            {
                merged_name(metric) if merged else metric: one.interval
                for metric, one in parts[name].items()
            },
            letters[name],
        )
        for name in order
    )
    return scores, pairs


def _main(
    matcher: Any, truth: GroundTruth, protocol: Protocol, samples: Whole
) -> tuple[Matches, dict[str, _Resampled]]:
    """Return a model's matches of all people, and the metrics that tables show."""
    if protocol.crowd_index is None:
        base, medium, large = matcher.matches([Criterion(), Criterion(MEDIUM), Criterion(LARGE)])
        found = _at_thresholds(base, samples)
        for name, part in (("APM", medium), ("APL", large)):
            found[name], _ = _resampled(part, samples)
        return base, found
    [base] = matcher.matches()
    found = _at_thresholds(base, samples)
    degrees = crowding(truth, protocol.crowd_index)
    for degree, name in enumerate(("APE", "APM", "APH")):
        found[name], _ = _resampled(base, samples, degrees == degree)
    return base, found


def _at_thresholds(model: Matches, samples: Whole) -> dict[str, _Resampled]:
    ap, by_threshold = _resampled(model, samples)
    at = {"AP50": threshold_index(0.5), "AP75": threshold_index(0.75)}
    return {"AP": ap} | {name: by_threshold[index] for name, index in at.items()}


def _resampled(
    model: Matches, samples: Whole, images: Flags | None = None
) -> tuple[_Resampled, list[_Resampled]]:
    """Return a model's AP, and that at each threshold, of all images or some, in all draws."""
    ranking = Ranking.of([model], images)
    value, values = ap_at_thresholds(ranking)
    ap, by_threshold = ranking.resampled(len(samples), lambda part: samples[part])
    at = [_Resampled(float(one), by_threshold[:, t]) for t, one in enumerate(values)]
    return _Resampled(value, ap), at


def _by_id(truth: GroundTruth, images: Flags | None) -> Flags | None:
    """Return flags of images in the order of their ids, as matches have them."""
    if images is None:
        return None
    sorted_flags = np.empty(len(images), np.bool_)
    sorted_flags[truth.rank] = images
    return sorted_flags


def _deviation(values: Floats) -> float:
    known = values[~np.isnan(values)]
    return float(known.std(ddof=1)) if len(known) > 1 else math.nan


def _ordered(order: Sequence[str], first: str, second: str) -> tuple[str, str]:
    """Return two models, the better before the worse."""
    return (first, second) if order.index(first) < order.index(second) else (second, first)


def _group_scores(
    order: Sequence[str],
    groups: Sequence[Group],
    of_group: Mapping[str, Sequence[_Resampled]],
    truth: GroundTruth,
) -> Iterator[GroupScore]:
    for index, group in enumerate(groups):
        people = truth.people if group.people is None else truth.people & group.people
        if group.images is not None:
            people = people & group.images[truth.image]
        images = len(np.unique(truth.image[people]))
        if group.images is not None:
            images = int(group.images.sum())
        for name in order:
            ap = of_group[name][index].interval
            yield GroupScore(name, group.by, group.label, int(people.sum()), images, ap)


def _tested(
    differences: Sequence[GroupDifference],
    pairs: Sequence[tuple[str, str]],
    matches: Mapping[str, Sequence[Matches]],
    images: Sequence[Flags | None],
    exchanged: Whole,
) -> list[GroupDifference]:
    """Return differences, those of the first pair in all groups first, with their p-values."""

    def part(name: str, index: int) -> Matches:
        chosen = images[index]
        return matches[name][index] if chosen is None else matches[name][index].of_images(chosen)

    under_null = (
        exchanged_differences(part(better, index), part(worse, index), exchanged)
        for better, worse in pairs
        for index in range(len(images))
    )
    p_values = [
        p_of_exchanges(one.difference.value, null)
        for one, null in zip(differences, under_null, strict=True)
    ]
    return [
        replace(one, p=p, p_adjusted=adjusted)
        for one, p, adjusted in zip(
            differences, p_values, benjamini_hochberg(p_values), strict=True
        )
    ]


def _images(
    base: Mapping[str, Matches], order: Sequence[str], truth: GroundTruth
) -> Iterator[ImageEffect]:
    """Yield what each image costs, those first whose costs differ most between models."""
    cost = np.stack([_costs(base[name])[truth.rank] for name in order], axis=1)  # (N, models)
    people = np.bincount(truth.image[truth.people], minlength=truth.num_images)
    spread = np.nan_to_num(np.ptp(cost, axis=1) if len(order) > 1 else np.abs(cost[:, 0]))
    for index in np.argsort(-spread, kind="stable").tolist():
        yield ImageEffect(
            index, truth.image_id(index), int(people[index]), float(truth.crowd_index[index]),
            dict(zip(order, cost[index].tolist(), strict=True)),
        )  # fmt: skip


def _costs(model: Matches) -> Floats:
    return ap_without_each_image(model) - ap_at_thresholds(Ranking.of([model]))[0]


def _error_differences(
    pairs: Sequence[tuple[str, str]], analyses: Mapping[str, Any]
) -> Iterator[ErrorDifference]:
    """Yield for each kind what it costs the worse model minus what it costs the better, alone."""
    for better, worse in pairs:
        if better not in analyses or worse not in analyses:
            continue
        own, other = (
            {cost.kind: cost for cost in analyses[name].costs if cost.mode == "alone"}
            for name in (better, worse)
        )
        for kind in (kind for kind in own if kind in other):
            value = other[kind].cost.value - own[kind].cost.value
            draws = (other[kind].samples, own[kind].samples)
            if any(one is None for one in draws):
                found = Interval(value, math.nan, math.nan)
            else:
                found = interval_of(value, draws[0] - draws[1])
            yield ErrorDifference(better, worse, kind, found)
