"""Why a result file loses AP: kinds of errors, what each costs, and where they occur.

`analyze` classifies every predicted keypoint and detection, and mends one kind of error after the
other to see what AP would be without it. Neither torch nor any image is needed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from posebench._lazy import lazy_names

if TYPE_CHECKING:
    from posebench.bench.analysis.diagnosis import analyze
    from posebench.bench.analysis.values import (
        ALONE_KINDS,
        CLASSES,
        DETECTION_KINDS,
        KINDS,
        Analysis,
        BackgroundCounts,
        BestThreshold,
        Calibration,
        DetectionRecords,
        ErrorCost,
        GroupAP,
        JointRecords,
        KeypointErrors,
        PersonRecords,
        PrecisionRecall,
        Suppression,
        TideErrors,
    )

__all__ = [
    "ALONE_KINDS",
    "CLASSES",
    "DETECTION_KINDS",
    "KINDS",
    "Analysis",
    "BackgroundCounts",
    "BestThreshold",
    "Calibration",
    "DetectionRecords",
    "ErrorCost",
    "GroupAP",
    "JointRecords",
    "KeypointErrors",
    "PersonRecords",
    "PrecisionRecall",
    "Suppression",
    "TideErrors",
    "analyze",
]

__getattr__ = lazy_names(
    __name__,
    diagnosis=("analyze",),
    values=tuple(name for name in __all__ if name != "analyze"),
)
