"""The metrics of a protocol."""

from __future__ import annotations

from posebench.ground_truth import GroundTruth
from posebench.metrics.keypoints import evaluate_keypoints
from posebench.metrics.pckh import Matching, evaluate_pckh, has_head_boxes, one_person_each
from posebench.metrics.results import Results
from posebench.structures import Protocol


def evaluate_poses(truth: GroundTruth, results: Results, protocol: Protocol) -> dict[str, float]:
    """Return the metrics of a protocol, with the main metric first.

    The main metric is PCKh if protocol and annotations have head boxes, else AP. If an image has
    several annotated people, PCKh matches people and poses, and its names say `(matched)`.

    Args:
        truth: the annotations.
        results: COCO-format results.
        protocol: the rules, with the keypoint set of both.

    Returns:
        Fractions in [0, 1]; -1 where there was no ground truth to detect.

    Raises:
        DataError: as `evaluate_keypoints` and `evaluate_pckh`.
    """
    if protocol.head_boxes and has_head_boxes(truth):
        matching: Matching = "score" if one_person_each(truth) else "pckh"
        percent = evaluate_pckh(truth, results, matching=matching)
        return {name: value / 100 if value >= 0 else -1.0 for name, value in percent.items()}
    return evaluate_keypoints(truth, results, protocol)
