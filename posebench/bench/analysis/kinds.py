"""Kinds of detections, and what mending one kind alone would gain.

A detection that found nobody is a duplicate, badly localised or background, in the order of TIDE
with OKS in the place of box overlap.

Source: Bolya et al., "TIDE: A General Toolbox for Identifying Object Detection Errors", ECCV 2020.
It lets an ignored person take any number of detections; `kinds` follow COCO's matching, by which
only a crowd region does, and `tide_errors` repeats TIDE's own numbers.

Shapes: D detections, N annotations, M pairs of both in one image, T OKS thresholds.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from posebench.bench.analysis.scene import Outcome, Scene
from posebench.bench.analysis.values import (
    BACKGROUND,
    DUPLICATE,
    IGNORED,
    LOCALISATION,
    TRUE,
    Codes,
    TideErrors,
)
from posebench.metrics.matching import THRESHOLDS, Flags, Floats, Indices

# Not quite COCO's: linspace(0, 1, 101) differs from these in the last bit, which matters where a
# recall is a whole per cent.
_TIDE_RECALLS = np.arange(101) / 100
_BACKGROUND = 0.1  # OKS up to which a detection is of nobody


@dataclass(frozen=True)
class Nearest:
    """The person of the highest OKS of each detection, among those who count."""

    oks: Floats  # (D,) 0 if there is none
    person: Indices  # (D,) -1 if there is none; of equal ones the first

    @classmethod
    def of(cls, scene: Scene, counted: Flags) -> Nearest:
        """Return the nearest person of each detection in the file."""
        oks = np.where(counted[scene.person], scene.original.oks, -1.0)
        best = scene.highest(oks)
        first = np.full(len(best), len(counted))
        at = np.flatnonzero((oks == best[scene.detection]) & (oks >= 0))
        np.minimum.at(first, scene.detection[at], scene.person[at])
        return cls(np.maximum(best, 0.0), np.where(first < len(counted), first, -1))


def kinds(
    scene: Scene, nearest: Nearest, counted: Flags, found: Flags, unmatched: Flags, oks: float
) -> Codes:
    """Return the (D,) kind of each detection that found nobody; 0 for all others.

    Args:
        scene: people and detections.
        nearest: the nearest person of each detection.
        counted: (N,) people to find.
        found: (N,) people who were found.
        unmatched: (D,) the detections to be named.
        oks: the threshold.
    """
    people = np.bincount(scene.people.image[counted], minlength=scene.num_images)
    taken = scene.highest(np.where((counted & found)[scene.person], scene.original.oks, 0.0))
    kind = np.select(
        [
            people[scene.detections.image] == 0,
            (nearest.oks >= _BACKGROUND) & (nearest.oks <= oks),
            taken >= oks,
        ],
        [BACKGROUND, LOCALISATION, DUPLICATE],
        BACKGROUND,
    )
    return np.where(unmatched, kind, TRUE).astype(np.int8)


def outcome_kinds(outcome: Outcome, nearest: Nearest) -> Codes:
    """Return the (T, D) kind of each detection by COCO's matching."""
    rows = []
    for row, oks in enumerate(THRESHOLDS.tolist()):
        found = outcome.found[row]
        wrong = outcome.wrong[row]
        kind = kinds(outcome.scene, nearest, outcome.counted, found, wrong, oks)
        kind[~wrong & ~outcome.correct[row]] = IGNORED
        rows.append(kind)
    return np.stack(rows)


def without(outcome: Outcome, kind: Codes, code: int) -> Outcome:
    """Return the outcome without the detections of a kind.

    Of the badly localised ones the best-scored that is nearest to a person whom nobody found counts
    as true instead, as if it had been in the right place.

    Args:
        outcome: the original file's.
        kind: (T, D) what `outcome_kinds` returned.
        code: DUPLICATE, BACKGROUND or LOCALISATION.
    """
    chosen = kind == code
    correct = outcome.correct
    if code == LOCALISATION:
        nearest = Nearest.of(outcome.scene, outcome.counted)
        correct = correct.copy()
        for row in range(len(chosen)):
            best = best_scored(chosen[row], nearest.person, outcome.found[row], outcome.order)
            correct[row, best] = True
    return replace(outcome, correct=correct, wrong=outcome.wrong & ~chosen)


def best_scored(chosen: Flags, person: Indices, found: Flags, order: Indices) -> Indices:
    """Return, of the chosen detections, the best-scored of each person whom nobody found.

    Args:
        chosen: (D,)
        person: (D,) the nearest person of each.
        found: (N,) people who were found.
        order: (D,) detections from the highest score.
    """
    ranked = order[chosen[order]]
    ranked = ranked[~found[person[ranked]]]
    _, first = np.unique(person[ranked], return_index=True)
    return ranked[first]


def tide_errors(scene: Scene, oks: float) -> TideErrors:
    """Return what TIDE says about a file, with OKS in the place of box overlap.

    Args:
        scene: people and detections.
        oks: the threshold of a true detection.
    """
    counted = scene.everybody
    nearest = Nearest.of(scene, counted.people)
    poses = scene.original
    own = np.where(counted.people[scene.person], poses.oks, -1.0)
    [[partner]] = scene.partners(replace(poses, oks=own), [counted], np.array([oks]))
    true = partner >= 0
    found = np.zeros(len(counted.people), np.bool_)
    found[partner[true]] = True
    others = scene.highest(np.where(counted.people[scene.person], 0.0, poses.oks))
    ignored = ~true & (others > oks)
    kind = kinds(scene, nearest, counted.people, found, ~true, oks)
    located = kind == LOCALISATION
    free = counted.people & ~found
    reachable = np.zeros(len(found), np.bool_)
    reachable[nearest.person[located]] = True
    missed = free & ~reachable
    total = int(counted.people.sum())

    order = np.lexsort((scene.detections.image, -poses.scores))
    best = best_scored(located, nearest.person, found, order)
    repaired = np.zeros(len(true), np.bool_)
    repaired[best] = True

    def ap(kept: Flags, right: Flags, people: int, mended: bool = True) -> float:
        return _tide_ap(scene, kept, right, true, people, mended)

    shown = ~ignored
    base = ap(shown, true, total, mended=False)
    after = {
        "localisation": ap((shown & ~located) | repaired, true | repaired, total),
        "duplicate": ap(shown & (kind != DUPLICATE), true, total),
        "background": ap(shown & (kind != BACKGROUND), true, total),
        "missed": ap(shown, true, total - int(missed.sum())),
        "false_positives": ap(true, true, total),
        "false_negatives": ap(shown, true, total - int(free.sum())),
    }
    return TideErrors(
        oks=oks,
        ap=base,
        gains={name: value - base for name, value in after.items()},
        kind=kind,
        ignored=ignored,
        missed=scene.in_truth(missed),
        false_negatives=scene.in_truth(free),
    )


def _tide_ap(
    scene: Scene, kept: Flags, right: Flags, true: Flags, people: int, mended: bool
) -> float:
    """Return AP at one threshold with TIDE's order of equal scores.

    In a mended file the detections that had found nobody precede the others of their score.
    """
    image, scores = scene.detections.image, scene.detections.scores
    keys = (image, true, -scores) if mended else (image, -scores)
    order = np.lexsort(keys)
    order = order[kept[order]]
    if not people:
        return 0.0
    hits = np.cumsum(right[order])
    precision = hits / np.arange(1, len(order) + 1)
    highest = np.append(np.maximum.accumulate(precision[::-1])[::-1], 0.0)
    return float(highest[np.searchsorted(hits / people, _TIDE_RECALLS)].mean())
