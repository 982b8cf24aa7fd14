"""Which metrics a keypoint set is evaluated by."""

from __future__ import annotations

from typing import Any

from posebench.metrics.keypoints import PROTOCOLS, evaluate_keypoints
from posebench.metrics.pckh import Matching, evaluate_pckh, has_head_boxes, one_person_each
from posebench.structures import MPII, Skeleton


def evaluate_poses(
    ground_truth: dict[str, Any], results: list[dict[str, Any]], skeleton: Skeleton
) -> dict[str, float]:
    """Return the metrics of a dataset's own protocol, the one that models are compared by first.

    MPII's is PCKh, where the annotations have head boxes. On images that show several annotated
    people each pose goes to the person whom it fits best; the metrics' names say so.

    Args:
        ground_truth: annotations in COCO's format.
        results: COCO-format results.
        skeleton: of both.

    Returns:
        Fractions; -1 where there was nothing to find.

    Raises:
        DataError: as `evaluate_keypoints` and `evaluate_pckh`.
    """
    if skeleton.name == MPII.name and has_head_boxes(ground_truth):
        matching: Matching = "score" if one_person_each(ground_truth) else "pckh"
        percent = evaluate_pckh(ground_truth, results, matching=matching)
        return {name: value / 100 if value >= 0 else -1.0 for name, value in percent.items()}
    return evaluate_keypoints(ground_truth, results, PROTOCOLS[skeleton.name])
