"""What an analysis says: what a model loses AP by, in sentences made from its numbers."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING

from posebench.bench.statistics import Interval
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
    points,
)

if TYPE_CHECKING:
    from posebench.bench.analysis import Analysis


def analysis_sentences(name: str, analysis: Analysis) -> list[str]:
    """Return what an analysis says, the largest loss first."""
    steps = [one for one in analysis.costs if one.mode == "progressive"]
    lost = [(cause(one.kind, one.cost.value, analysis), one.cost) for one in steps]
    lost = sorted((pair for pair in lost if pair[1].value >= SMALL), key=lambda p: -p[1].value)
    first = (
        f"{name} reaches {ap_text(analysis.ap)}, {counted(analysis.num_images, 'image')}, "
        f"{analysis.num_people:,} people"
    )
    poor = [cost for kind, cost in lost if kind == POOR_POSES]
    lost = _once(pair for pair in lost if pair[0] != POOR_POSES)
    if lost:
        kind, most = lost[0]
        first += f"; it loses most by {ERRORS[kind].loses} ({_cost(most)})"
        then = [f"{ERRORS[kind].loses} ({points(cost.value)})" for kind, cost in lost[1:3]]
        first += f", then by {listed(then)}" if then else ""
    sentences = [f"{first}."]
    for cost in poor:
        sentences.append(
            f"A further {points(cost.value)} AP are lost on poses that stay too inexact for the "
            "strict OKS thresholds after all that is mended."
        )
    sentences += _keypoint_sentence(analysis)
    sentences += _suppression_sentence(analysis)
    sentences += _score_sentence(analysis)
    sentences += _crowding_sentence(analysis)
    return sentences


def _once(costs: Iterable[tuple[str, Interval]]) -> list[tuple[str, Interval]]:
    """Return the largest cost of each kind, as two may have the same cause."""
    found: dict[str, Interval] = {}
    for kind, cost in costs:
        found.setdefault(kind, cost)
    return list(found.items())


def _cost(cost: Interval) -> str:
    return f"{points(cost.value)} AP" + (f", {between(cost)}" if math.isfinite(cost.low) else "")


def _keypoint_sentence(analysis: Analysis) -> Iterable[str]:
    rows = [one for one in analysis.keypoints if one.count >= FEW]
    if not rows:
        return
    worst = max(rows, key=lambda one: 1 - one.shares["good"] / one.count)
    wrong = {kind: n for kind, n in worst.shares.items() if kind != "good" and n}
    if not wrong:
        return
    main = max(wrong, key=lambda kind: wrong[kind])
    share = sum(wrong.values()) / worst.count
    label = "not predicted" if main == "absent" else ERRORS[main].label
    yield (
        f"The keypoint that is wrong most often is the {worst.keypoint.replace('_', ' ')}: "
        f"{100 * share:.0f} % of {worst.count:,}, most of them {label}."
        if wrong[main] > sum(wrong.values()) / 2
        else f"The keypoint that is wrong most often is the {worst.keypoint.replace('_', ' ')}: "
        f"{100 * share:.0f} % of {worst.count:,}."
    )


def _suppression_sentence(analysis: Analysis) -> Iterable[str]:
    gaining = [one for one in analysis.suppression if one.gain.low > 0 and one.gain.value >= SMALL]
    if gaining:
        best = max(gaining, key=lambda one: one.gain.value)
        yield (
            f"Removing the worse of two poses whose OKS is above {best.limit:g} would gain "
            f"{_cost(best.gain)}."
        )


def _score_sentence(analysis: Analysis) -> Iterable[str]:
    scores = analysis.calibration
    if math.isfinite(scores.expected_error):
        yield (
            f"Scores differ from the OKS of their poses by {scores.expected_error:.2f} on average, "
            f"and by {scores.expected_error_fitted:.2f} after a fit."
        )
    for best in scores.best:
        if best.oks == 0.5 and best.f1 > 0:
            yield (
                f"Keeping detections from a score of {best.score:.2f} on gives the highest F1 at "
                f"OKS {best.oks:g}, {best.f1:.2f} (precision {best.precision:.2f}, recall "
                f"{best.recall:.2f})."
            )


def _crowding_sentence(analysis: Analysis) -> Iterable[str]:
    # Images can be compared with other images; in a group of people all false positives count.
    groups = [one for one in analysis.groups if one.by == "crowding" and one.people >= FEW]
    if len(groups) < 2:
        return
    high = max(groups, key=lambda one: one.ap.value)
    low = min(groups, key=lambda one: one.ap.value)
    if high.ap.low > low.ap.high:
        yield (
            f"AP is {points(high.ap.value)} {group_text(high.by, high.group)} and "
            f"{points(low.ap.value)} {group_text(low.by, low.group)}."
        )
