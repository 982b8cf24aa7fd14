"""What is behind a cost that is booked under another name too.

Kinds of errors are mended one by one, and some costs are of several kinds. Mending scores puts
duplicates and detections of nobody last, and removing what matches nobody also removes poor poses
with high scores; people also count as missed if their poses are too poor. What is gained by mending
duplicates, detections of nobody or people whom nothing is near alone tells which it was.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from posebench.bench.analysis import DETECTION_KINDS

if TYPE_CHECKING:
    from posebench.bench.analysis import Analysis

_MOST = 0.5  # share of a cost that explains it
_MORE = 1.25  # times as many errors in the one model as in the other

POOR_POSES = "localisation"


def cause(kind: str, cost: float, worse: Analysis, better: Analysis | None = None) -> str:
    """Return the kind of error that makes most of a cost.

    Args:
        kind: the kind of error that the cost is booked under.
        cost: in AP, a fraction: of one model, or of one beyond another's.
        worse: the model with the cost.
        better: the other model; None: the cost is of one model.

    Returns:
        For scores and false positives "duplicate" or "background" if these spoil them, else
        "score"; for missed people "localisation" if it is their poses that are poor; else the kind.
    """

    def explains(error: str) -> bool:
        gained = _gain(worse, error) - (0.0 if better is None else _gain(better, error))
        return gained >= _MOST * cost

    def more(error: str) -> bool:
        # As many in either model: then it is where they are ranked.
        return better is None or _count(worse, error) > _MORE * _count(better, error)

    if kind in ("score", "background"):
        spoilt = ("duplicate", "background")
        # Else the ranking: poor poses that match nobody do no harm below the others.
        return next((error for error in spoilt if explains(error) and more(error)), "score")
    # Where nobody at all is found, there is no AP that mending could raise.
    if kind == "missed" and len(worse.joints) and not explains("missed"):
        return POOR_POSES
    return kind


def _count(analysis: Analysis, error: str) -> int:
    return int((analysis.detections.kind_50 == DETECTION_KINDS.index(error)).sum())


def _gain(analysis: Analysis, error: str) -> float:
    """Return what mending one kind of error alone gains.

    Detections of nobody and people whom no detection is near are only told by TIDE, at two OKS
    thresholds, of which it is the mean.
    """
    if error == "duplicate":
        return analysis.cost(error, "alone").cost.value
    return sum(one.gains[error] for one in analysis.tide) / len(analysis.tide)
