"""How detections of one model are ranked and what their scores say: charts and tables."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from posebench.bench.analysis import Analysis
from posebench.bench.verdict.words import points
from posebench.metrics.matching import THRESHOLDS, Floats
from posebench.viz.pages import Column, sortable_table
from posebench.viz.result_report.curves import Bin, Line, Points, curves, reliability
from posebench.viz.result_report.sections import (
    figure,
    interval_cell,
    key,
    note,
    paragraph,
    side_by_side,
)

# ------------------------------------------------------------------------------------- detections


def detections_part(analysis: Analysis) -> str:
    """Return precision against recall, false positives, missed people and suppression."""
    chosen = {0: "s2", 5: "s1", 9: "s3"}  # thresholds, with their colours
    lines = [curve(analysis, "s0"), *_at_thresholds(analysis, chosen)]
    names = [("s0", "mean"), *((kind, f"OKS {THRESHOLDS[t]:.2f}") for t, kind in chosen.items())]
    ends = ", ".join(
        f"{points(_area(analysis.curves.precision[t]))} at {THRESHOLDS[t]:g}" for t in (0, 5)
    )
    drawn = curves(
        lines, ("recall", "precision"),
        f"Precision against recall: AP is {points(analysis.ap.value)} over the ten OKS thresholds, "
        f"{ends}",
    )  # fmt: skip
    return side_by_side(
        [
            figure(
                "Precision against recall",
                key(names) + drawn,
                "Bold: mean over the ten OKS thresholds, with its 95 % band."
                if np.isfinite(analysis.curves.low).any()
                else "Bold: mean over the ten OKS thresholds.",
            ),
            f"<div>{_background_table(analysis)}{_suppression_table(analysis)}</div>",
        ]
    )  # fmt: skip


def curve(analysis: Analysis, kind: str) -> Line:
    """Return the mean precision of the thresholds with its band."""
    one = analysis.curves
    known = bool(np.isfinite(one.low).any())
    return Line(
        _points(one.recall, one.mean), kind,
        _points(one.recall, one.low) if known else (),
        _points(one.recall, one.high) if known else (),
    )  # fmt: skip


def _at_thresholds(analysis: Analysis, chosen: Mapping[int, str]) -> list[Line]:
    one = analysis.curves
    return [
        Line(_points(one.recall, one.precision[t]), kind, thin=True) for t, kind in chosen.items()
    ]


def _points(recall: Floats, precision: Floats) -> Points:
    pairs = zip(recall.tolist(), precision.tolist(), strict=True)
    return [pair for pair in pairs if math.isfinite(pair[1])]


def _area(precision: Floats) -> float:
    return float(precision.mean())


def _background_table(analysis: Analysis) -> str:
    columns = [
        Column("OKS", numeric=True),
        Column("match nobody", numeric=True, best_first="high"),
        Column("people missed", numeric=True, best_first="high"),
    ]
    rows = [
        [f"{one.oks:.2f}", str(one.false_positives), str(one.false_negatives)]
        for one in analysis.background
    ]
    return sortable_table(columns, rows, "Without a match, by OKS threshold")


def _suppression_table(analysis: Analysis) -> str:
    columns = [
        Column("OKS above", numeric=True),
        Column("AP", numeric=True, best_first="high"),
        Column("gain", numeric=True, best_first="high"),
        Column("removed", numeric=True, best_first="high"),
        Column("of these true", numeric=True),
    ]
    rows = [
        [
            f"{one.limit:g}", points(one.ap), interval_cell(one.gain, signed=True),
            str(one.removed), str(one.removed_true),
        ]
        for one in analysis.suppression
    ]  # fmt: skip
    return sortable_table(columns, rows, "If the worse of two poses alike were removed")


# ----------------------------------------------------------------------------------------- scores


def scores_part(analysis: Analysis) -> str:
    """Return what the scores say about quality."""
    own = analysis.calibration
    if not len(own.count):
        return ""
    text = "On the dashed line a score is the OKS that its pose will have."
    if math.isfinite(own.expected_error):
        text = (
            f"Scores differ from the OKS of their poses by {own.expected_error:.3f} on average, "
            f"and by {own.expected_error_fitted:.3f} after a monotonic fit on other images. {text}"
        )
    else:
        text = (
            "These scores are no probabilities: they leave the range from 0 to 1, and only their "
            "order counts. They are drawn by rank, from the lowest to the highest."
        )
    x = _places(own.score, math.isfinite(own.expected_error))
    figures = []
    for name, values in (("mean OKS", own.oks), ("share true at OKS 0.5", own.true_50)):
        bins = [
            Bin(at, value, count)
            for at, value, count in zip(x, values.tolist(), own.count.tolist(), strict=True)
        ]
        about = f"{name} by score: " + ", ".join(f"{b.score:.2f}: {b.value:.2f}" for b in bins)
        figures.append(figure(f"Score against {name}", reliability(bins, ("score", name), about)))
    columns = [
        Column("OKS", numeric=True),
        Column("keep from score", numeric=True),
        Column("F1", numeric=True, best_first="high"),
        Column("precision", numeric=True, best_first="high"),
        Column("recall", numeric=True, best_first="high"),
    ]
    rows = [
        [f"{b.oks:g}", f"{b.score:.3g}", f"{b.f1:.3f}", f"{b.precision:.3f}", f"{b.recall:.3f}"]
        for b in own.best
        if b.f1 > 0
    ]
    best = sortable_table(columns, rows, "Scores from which on F1 is highest") if rows else ""
    wrong = f"The best pose of {analysis.scoring_errors:,} people has not the highest score."
    return paragraph(text) + side_by_side(figures) + best + note(wrong)


def _places(scores: Floats, probabilities: bool) -> list[float]:
    if probabilities:
        return [float(score) for score in scores]
    return [(index + 0.5) / len(scores) for index in range(len(scores))]
