"""Metrics of predicted poses: COCO's and CrowdPose's AP, MPII's PCKh; reading of result files."""

from typing import TYPE_CHECKING

from posebench._lazy import lazy_names

if TYPE_CHECKING:
    from posebench.metrics.keypoints import evaluate_keypoints
    from posebench.metrics.names import main_at_thresholds, main_metric, main_parts
    from posebench.metrics.pckh import evaluate_pckh
    from posebench.metrics.results import ResultFile, read_results
    from posebench.metrics.scoring import evaluate_poses

__all__ = [
    "ResultFile",
    "evaluate_keypoints",
    "evaluate_pckh",
    "evaluate_poses",
    "main_at_thresholds",
    "main_metric",
    "main_parts",
    "read_results",
]

__getattr__ = lazy_names(
    __name__,
    keypoints=("evaluate_keypoints",),
    names=("main_at_thresholds", "main_metric", "main_parts"),
    pckh=("evaluate_pckh",),
    results=("ResultFile", "read_results"),
    scoring=("evaluate_poses",),
)
