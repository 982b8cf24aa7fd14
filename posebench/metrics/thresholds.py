"""The score from which on a model's people are kept, by the trade of misses for false positives."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from posebench.metrics.matching import THRESHOLDS, Floats, Matches


@dataclass(frozen=True)
class F1Curve:
    """Precision, recall and F1 of a model by the least score of its detections.

    Shapes: S thresholds, descending; the first keeps the best detection alone, the last keeps all.
    """

    scores: Floats  # (S,) halfway between the scores of the last kept and the first dropped
    precision: Floats  # (S,)
    recall: Floats  # (S,)

    @property
    def f1(self) -> Floats:
        """The harmonic mean of precision and recall, (S,)."""
        return 2 * self.precision * self.recall / np.maximum(self.precision + self.recall, 1e-12)

    @property
    def best(self) -> int:
        """The index of the best F1, of several the highest threshold."""
        return int(self.f1.argmax())

    def within(self, loss: float) -> tuple[float, float]:
        """Return the lowest and the highest threshold whose F1 is at most `loss` below the best."""
        near = self.scores[self.f1 >= self.f1[self.best] - loss]
        return float(near.min()), float(near.max())


def f1_curve(matches: Matches, oks: float = 0.5) -> F1Curve:
    """Return precision, recall and F1 at every threshold that separates two scores.

    Args:
        matches: of a model's detections and the annotated people; detections that matched an
            ignored person count neither way.
        oks: from which on a detection is correct, one of 0.5, 0.55 ... 0.95.

    Raises:
        ValueError: there are no people or no detections, or matches were not made at that OKS.
    """
    people = int(matches.people.sum())
    chosen = np.isclose(THRESHOLDS, oks)
    if not chosen.any() or not people or not len(matches.scores):
        raise ValueError(
            f"Expected people and detections, matched at an OKS of 0.5, 0.55 ... 0.95, but found "
            f"{people} people and {len(matches.scores)} detections, and an OKS of {oks:g}."
        )
    row = int(chosen.argmax())
    order = np.argsort(-matches.scores, kind="stable")
    scores = matches.scores[order]
    correct = matches.correct[row, order].cumsum()
    wrong = matches.wrong[row, order].cumsum()
    # Equal scores are kept or dropped together.
    last = np.flatnonzero(np.append(scores[1:] < scores[:-1], True))
    following = np.append(scores[last[:-1] + 1], 0.0)
    return F1Curve(
        scores=(scores[last] + following) / 2,
        precision=correct[last] / np.maximum(correct[last] + wrong[last], 1),
        recall=correct[last] / people,
    )
