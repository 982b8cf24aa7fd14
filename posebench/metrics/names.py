"""Names of metrics: the main metric, by which models are compared, and those shown beside it.

Metrics are a dictionary of fractions with the main metric first; -1 means that there was no ground
truth to detect. Tables and curves show percent.
"""

from __future__ import annotations

from collections.abc import Mapping

AP_AT_THRESHOLDS = ("AP50", "AP75")
# By size of the people (COCO) and by crowdIndex of the images (CrowdPose).
AP_PARTS = ("APM", "APL", "APE", "APH")
PCKH_PARTS = ("head", "shoulder", "elbow", "wrist", "hip", "knee", "ankle")


def pckh_name(threshold: float = 0.5, *, matched: bool = False) -> str:
    """Return the name of PCKh at a threshold; `matched`: people and poses were matched by PCKh."""
    return f"PCKh@{threshold:g}" + (" (matched)" if matched else "")


def merged_name(name: str) -> str:
    """Return the name of a metric of all categories as one, where others are means over them."""
    return f"{name} (merged)"


def category_name(category: str) -> str:
    """Return the name of the AP of one category."""
    return f"AP[{category}]"


def split_name(name: str) -> tuple[str, str]:
    """Return an overall metric's plain name, and "merged" or nothing."""
    plain = name.removesuffix(" (merged)")
    return plain, "merged" if plain != name else ""


def main_metric(metrics: Mapping[str, float]) -> tuple[str, float]:
    """Return the name and value of the metric by which models are compared."""
    return next(iter(metrics.items()))


def main_at_thresholds(metrics: Mapping[str, float]) -> list[str]:
    """Return the name of the main metric; if it is AP, also those of AP at single thresholds."""
    name, _ = main_metric(metrics)
    return [name, *(other for other in AP_AT_THRESHOLDS if other in metrics)]


def main_parts(metrics: Mapping[str, float]) -> list[str]:
    """Return the names of the metrics that tables show beside the main one, in column order."""
    name, _ = main_metric(metrics)
    if name == "AP":
        parts = [*AP_AT_THRESHOLDS, *AP_PARTS]
    else:
        parts = [f"{name}/{part}" for part in PCKH_PARTS]
    return [part for part in parts if part in metrics]
