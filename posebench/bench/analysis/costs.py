"""What each kind of error costs: AP after mending it, alone or on top of those before it.

Shapes: D detections, N annotations, T OKS thresholds, R resamples, I images.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from posebench.bench.analysis.intervals import Resamples, interval
from posebench.bench.analysis.kinds import without
from posebench.bench.analysis.scene import Counted, Outcome, Scene
from posebench.bench.analysis.scores import optimal_scores, resemblances, scoring_errors
from posebench.bench.analysis.taxonomy import Correction, Taxonomy
from posebench.bench.analysis.values import (
    ABSENT,
    CLASSES,
    DETECTION_KINDS,
    MISS,
    Codes,
    ErrorCost,
)
from posebench.metrics.matching import THRESHOLDS, Flags, Floats, Matches

JOINT_KINDS = ("miss", "swap", "inversion", "jitter")


@dataclass(frozen=True)
class Step:
    """A file in which something was mended."""

    kind: str  # "baseline", or what was mended
    outcome: Outcome
    left_out: Flags | None = None  # (T, N) people taken out of the count; None: nobody

    def by_threshold(self) -> tuple[Floats, Floats]:
        """Return the (T,) AP and the highest recall; -1 where nobody is left to find."""
        if self.left_out is None:
            curves = self.outcome.curves()
            return curves.precision.mean(1), curves.recall
        found = [one.curves() for one in self._at_thresholds(self.left_out)]
        return (
            np.array([one.precision.mean() for one in found]),
            np.array([one.recall[0] for one in found]),
        )

    def samples(self, resamples: Resamples) -> Floats | None:
        """Return the (R,) AP of resamples; nan where nobody is left to find."""
        if self.left_out is None:
            return resamples.ap(self.outcome.matches())
        if not resamples.draws:
            return None
        if not self.outcome.wrong.any():  # whoever is left was found, before anything wrong
            return np.ones(resamples.draws)
        rows = [resamples.ap(one) for one in self._at_thresholds(self.left_out)]
        return _mean([row for row in rows if row is not None])

    def _at_thresholds(self, left_out: Flags) -> Iterator[Matches]:
        """Yield the matches at each threshold, without the people who are left out there."""
        matches, scene = self.outcome.matches(), self.outcome.scene
        for row, gone in enumerate(left_out):
            people = self.outcome.counted & ~gone
            yield replace(
                matches,
                correct=matches.correct[row : row + 1],
                wrong=matches.wrong[row : row + 1],
                people=np.bincount(scene.people.image[people], minlength=scene.num_images),
            )


def _mean(rows: list[Floats]) -> Floats:
    """Return the (R,) means over thresholds, without those at which nobody is left."""
    values = np.stack(rows)
    known = ~np.isnan(values)
    count = known.sum(0)
    total = np.where(known, values, 0.0).sum(0)
    mean: Floats = np.divide(total, count, out=np.full(len(total), np.nan), where=count > 0)
    return mean


def progressive_steps(
    scene: Scene,
    taxonomy: Taxonomy,
    counted: Counted,
    correction: Correction,
    thresholds: Floats = THRESHOLDS,
) -> Iterator[Step]:
    """Yield the file as it is, then with one kind of error after the other mended."""
    poses = scene.original
    yield Step("baseline", scene.outcome(poses, counted, thresholds))
    for kind in JOINT_KINDS:
        poses = taxonomy.mended(poses, [kind], correction)
        yield Step(kind, scene.outcome(poses, counted, thresholds))
    _, optimal = optimal_scores(scene, poses, counted, resemblances(scene, poses))
    outcome = scene.outcome(replace(poses, scores=optimal), counted, thresholds)
    yield Step("score", outcome)
    outcome = without_background(outcome)
    yield Step("background", outcome)
    yield Step("missed", outcome, _never_found(outcome))


def alone_steps(
    scene: Scene,
    taxonomy: Taxonomy,
    counted: Counted,
    correction: Correction,
    optimal: Floats,
    thresholds: Floats = THRESHOLDS,
    *,
    published: bool,
) -> Iterator[Step]:
    """Yield the file with each kind of error mended alone.

    As published people are only left out after all false positives were, which makes AP 1; else
    those whom nobody found are left out of the file as it is.

    Args:
        scene: people and detections.
        taxonomy: classes of the keypoints.
        counted: the people to find.
        correction: how near keypoints are put.
        optimal: (D,) the best scores of the detections as they are.
        thresholds: (T,) of OKS.
        published: see above.
    """
    for kind in JOINT_KINDS:
        poses = taxonomy.mended(scene.original, [kind], correction)
        yield Step(kind, scene.outcome(poses, counted, thresholds))
    rescored = replace(scene.original, scores=optimal)
    yield Step("score", scene.outcome(rescored, counted, thresholds))
    baseline = scene.outcome(scene.original, counted, thresholds)
    clean = without_background(baseline)
    yield Step("background", clean)
    if published:
        yield Step("missed", clean, _never_found(clean))
    else:
        yield Step("missed", baseline, ~baseline.found)


def without_background(outcome: Outcome) -> Outcome:
    """Return an outcome without the detections that match nobody."""
    return replace(outcome, wrong=np.zeros_like(outcome.wrong))


def _never_found(outcome: Outcome) -> Flags:
    """Return the (T, N) people whom nobody found at this or at a lower threshold."""
    return np.asarray(np.logical_or.accumulate(~outcome.found, axis=0), np.bool_)


def error_costs(
    scene: Scene,
    taxonomy: Taxonomy,
    kinds: Codes,
    correction: Correction,
    optimal: Floats,
    resamples: Resamples,
    *,
    published: bool,
) -> tuple[ErrorCost, ...]:
    """Return what each kind of error costs, in the published order and each alone.

    Args:
        scene: people and detections.
        taxonomy: classes of the keypoints.
        kinds: (T, D) kinds of the detections.
        correction: how near keypoints are put.
        optimal: (D,) the best scores of the detections as they are.
        resamples: for intervals.
        published: as `alone_steps`.
    """
    counted = scene.everybody
    baseline = Step("baseline", scene.outcome(scene.original, counted))
    counts = error_counts(scene, taxonomy, kinds, baseline.outcome)
    costs = []
    base = _Level.of(baseline, resamples)
    level = first = base
    steps = progressive_steps(scene, taxonomy, counted, correction)
    next(steps)  # the file as it is
    for step in steps:
        after = _Level.of(step, resamples)
        costs.append(after.cost(step.kind, "progressive", counts[step.kind], level))
        first = after if step.kind == JOINT_KINDS[0] else first
        level = after
    alone = list(alone_steps(scene, taxonomy, counted, correction, optimal, published=published))
    for kind in ("duplicate", "localisation"):
        code = DETECTION_KINDS.index(kind)
        alone.append(Step(kind, without(baseline.outcome, kinds, code)))
    for step in alone:
        # What is mended first is mended alone.
        after = first if step.kind == JOINT_KINDS[0] else _Level.of(step, resamples)
        costs.append(after.cost(step.kind, "alone", counts[step.kind], base))
    return tuple(costs)


@dataclass(frozen=True)
class _Level:
    """AP after a step."""

    ap: float
    by_threshold: Floats  # (T,)
    samples: Floats | None  # (R,)

    @classmethod
    def of(cls, step: Step, resamples: Resamples) -> _Level:
        by_threshold, _ = step.by_threshold()
        known = by_threshold[by_threshold >= 0]
        ap = float(known.mean()) if len(known) else 1.0 if step.left_out is not None else -1.0
        return cls(ap, by_threshold, step.samples(resamples))

    def cost(self, kind: str, mode: str, count: int, before: _Level) -> ErrorCost:
        samples = None
        if self.samples is not None and before.samples is not None:
            samples = self.samples - before.samples
        value = self.ap - before.ap
        return ErrorCost(
            kind, mode, count, self.ap, interval(value, samples), self.by_threshold, samples
        )


def error_counts(
    scene: Scene, taxonomy: Taxonomy, kinds: Codes, outcome: Outcome
) -> dict[str, int]:
    """Return how often each error occurs (see `ErrorCost.count`)."""
    per_class = taxonomy.counts().sum(1).tolist()
    counts = {kind: per_class[CLASSES.index(kind)] for kind in JOINT_KINDS}
    counts["miss"] = per_class[MISS] + per_class[ABSENT]
    counts["score"] = len(scoring_errors(scene, outcome))
    counts["background"] = int(outcome.wrong[0].sum())
    counts["missed"] = int((outcome.counted & ~outcome.found[0]).sum())
    for kind in ("duplicate", "localisation"):
        counts[kind] = int((kinds[0] == DETECTION_KINDS.index(kind)).sum())
    return counts
