"""What a comparison says: which model is better, by how much and why, in sentences."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from posebench.bench.analysis import ALONE_KINDS
from posebench.bench.statistics import CONFIDENCE, Interval
from posebench.bench.verdict.causes import POOR_POSES, cause
from posebench.bench.verdict.words import (
    ERRORS,
    FEW,
    SMALL,
    ap_text,
    between,
    counted,
    group_text,
    listed,
    p_text,
    points,
)

if TYPE_CHECKING:
    from posebench.bench.comparison import (
        Comparison,
        ErrorDifference,
        GroupDifference,
        PairDifference,
    )


_MOST = 0.5  # share of a difference
_SOME = 0.25


def comparison_sentences(comparison: Comparison) -> list[str]:
    """Return what a comparison says, the answer first."""
    models = comparison.models
    if not comparison.num_people:
        return ["Nobody is annotated in these images, so there is nothing to compare."]
    if len(models) == 1:
        [only] = models
        return [f"{only.name} reaches {ap_text(only.metrics['AP'])}, {_images(comparison)}."]
    names = [model.name for model in models]
    if len(models) == 2:
        pair = pair_of(comparison, *names)
        return [pair_sentence(comparison, pair), *_besides(comparison, pair), _levels(comparison)]
    alike = [name for name in names[1:] if not decided(pair_of(comparison, names[0], name))]
    highest = ap_text(models[0].metrics["AP"]).replace(" AP", "")
    first = f"Of {len(models)} models {names[0]} has the highest AP, {highest}, "
    if alike:
        first += f"but cannot be told apart from {listed(alike)}"
    else:
        first += "and is better than every other"
    # Errors and groups are of the pairs with the reference, by default the best model.
    others = [name for name in names if name != comparison.reference]
    pairs = [pair_of(comparison, comparison.reference, name) for name in others]
    sentences = [pair_sentence(comparison, pair) for pair in pairs]
    return [f"{first} ({_images(comparison)}).", *sentences]


def pair_of(comparison: Comparison, one: str, other: str) -> PairDifference:
    """Return the difference of two models, in whichever order it is kept.

    Raises:
        KeyError: the comparison has none.
    """
    for pair in comparison.pairs:
        if {pair.better, pair.worse} == {one, other}:
            return pair
    raise KeyError(f"no difference of {one} and {other}")


def decided(pair: PairDifference) -> bool:
    """Return whether two models differ by more than chance, after correction for all pairs."""
    return pair.p_adjusted < 1 - CONFIDENCE


def pair_sentence(comparison: Comparison, pair: PairDifference) -> str:
    """Return which of two models is better, by how much and why, or that nobody can say."""
    better, worse, value = pair.better, pair.worse, pair.difference
    evidence = f"{between(value)}, {p_text(pair.p_adjusted)}, {_images(comparison)}"
    if not decided(pair):
        sentence = f"{better} and {worse} cannot be told apart: the difference is "
        sentence += f"{points(value.value)} AP ({evidence})"
        if pair.smallest < SMALL:  # the same in all draws
            return f"{sentence}."
        shown = points(pair.smallest)
        return f"{sentence}, and these images could have shown one of {shown} AP."
    sentence = f"{better} is better than {worse} by {points(value.value)} AP ({evidence})"
    reason, where = _reason(comparison, pair), _where(comparison, pair)
    parts = [part for part in (reason, where) if part]
    return f"{sentence}{'; ' if parts else ''}{', and '.join(parts)}."


def main_error(comparison: Comparison, pair: PairDifference) -> tuple[str, Interval] | None:
    """Return the kind of error that makes most of a difference; None: no kind is sure to.

    It is the largest whose interval excludes 0, or what is behind it (see `cause`).

    Returns:
        The kind, and what the better model loses less by it, as a fraction of AP.
    """
    found = _sure(comparison, pair, 1)
    # Poor poses are what other errors make: they are named where these explain little.
    others = [one for one in found if one[0] != POOR_POSES]
    if others and others[0][1].value >= _SOME * pair.difference.value:
        return others[0]
    return next(iter(found), None)


def _sure(comparison: Comparison, pair: PairDifference, sign: int) -> list[tuple[str, Interval]]:
    """Return the kinds of errors of which one model is sure to have fewer, the largest first.

    Args:
        comparison: what was compared.
        pair: two of its models.
        sign: 1 for kinds that the better model has less of, -1 for the other.
    """
    models = (pair.worse, pair.better)[::sign]
    found: dict[str, Interval] = {}
    errors = [one for one in _errors_of(comparison, pair) if one.kind not in ALONE_KINDS]
    for error in sorted(errors, key=lambda one: -sign * one.difference.value):
        own = error.difference
        if own.excludes(0) and sign * own.value >= SMALL:
            kind = error.kind
            if all(name in comparison.analyses for name in models):
                worse, better = (comparison.analyses[name] for name in models)
                kind = cause(kind, sign * own.value, worse, better)
            found.setdefault(kind, own)
    return list(found.items())


def _errors_of(comparison: Comparison, pair: PairDifference) -> list[ErrorDifference]:
    return [
        error
        for error in comparison.errors
        if (error.better, error.worse) == (pair.better, pair.worse)
    ]


def _reason(comparison: Comparison, pair: PairDifference) -> str:
    if not _errors_of(comparison, pair):
        return ""
    main = main_error(comparison, pair)
    if main is None:
        return "no single kind of error is sure to make it"
    kind, value = main
    share = value.value / pair.difference.value
    if share >= _MOST:
        return f"most of it is {ERRORS[kind].fewer} ({points(value.value)})"
    return f"its largest part is {ERRORS[kind].fewer} ({points(value.value)})"


def _where(comparison: Comparison, pair: PairDifference) -> str:
    """Return in which group the difference is clearly larger than overall."""
    own = [
        one
        for one in _groups_of(comparison, pair)
        if one.difference.low > 0 and one.difference.value >= 1.25 * pair.difference.value
    ]
    if not own:
        return ""
    top = max(own, key=lambda one: one.difference.value)
    return f"it is largest {group_text(top.by, top.group)} ({points(top.difference.value)})"


def _besides(comparison: Comparison, pair: PairDifference) -> Iterable[str]:
    """Yield where the model of the lower AP is ahead, which one figure hides; of a tie both."""
    if not decided(pair):
        yield from _ahead(comparison, pair, pair.better, 1)
    yield from _ahead(comparison, pair, pair.worse, -1)


def _ahead(comparison: Comparison, pair: PairDifference, name: str, sign: int) -> Iterable[str]:
    """Yield a sentence on what a model is sure to do better, if there is anything.

    Args:
        comparison: what was compared.
        pair: the model with another.
        name: of the model.
        sign: 1 if differences are positive where it is better, else -1.
    """
    fewer = [
        f"{ERRORS[kind].fewer} ({points(sign * value.value)})"
        for kind, value in _sure(comparison, pair, sign)[:3]
    ]
    parts = [f"has {listed(fewer)}"] if fewer else []
    groups = [
        one
        for one in _groups_of(comparison, pair)
        if one.difference.excludes(0) and sign * one.difference.value > 0
    ]
    if groups:
        top = max(groups, key=lambda one: sign * one.difference.value)
        by = points(sign * top.difference.value)
        parts.append(f"is better {group_text(top.by, top.group)} (by {by} AP)")
    if parts:
        yield f"{name} {' and '.join(parts)}."


def _groups_of(comparison: Comparison, pair: PairDifference) -> list[GroupDifference]:
    people = {(one.by, one.group): one.people for one in comparison.groups}
    return [
        one
        for one in comparison.group_differences
        if (one.better, one.worse) == (pair.better, pair.worse)
        and one.by != "keypoint"
        and people.get((one.by, one.group), 0) >= FEW
    ]


def _levels(comparison: Comparison) -> str:
    levels = [f"{model.name} reaches {ap_text(model.metrics['AP'])}" for model in comparison.models]
    return f"{', '.join(levels)}."


def _images(comparison: Comparison) -> str:
    return counted(comparison.num_images, "image")
