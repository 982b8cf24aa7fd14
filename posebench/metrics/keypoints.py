"""Average precision of poses by the rules of COCO and CrowdPose."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from posebench.ground_truth import GroundTruth
from posebench.metrics.matching import (
    ALL_AREAS,
    LARGE,
    MEDIUM,
    Criterion,
    Detections,
    Matcher,
    People,
)
from posebench.metrics.names import category_name, merged_name
from posebench.metrics.results import Results, parse_results
from posebench.structures import Protocol


def evaluate_keypoints(
    truth: GroundTruth, results: Results, protocol: Protocol
) -> dict[str, float]:
    """Return the metrics of a protocol, unrounded.

    Args:
        truth: the annotations.
        results: as `PosePredictions.to_coco` or `read_results` return them.
        protocol: the rules of the evaluation.

    Returns:
        AP, AP50, AP75, AR, AR50, AR75; with COCO's rules also APM, APL, ARM, ARL (people of medium
        and large size), with CrowdPose's APE, APM, APH (easy, medium and hard by crowdIndex); and
        `AP/<keypoint>`, whose OKS is that of a single keypoint, ignoring people without it. All are
        in [0, 1], or -1 where there was no ground truth to detect: in no image if one of them has
        no crowdIndex. Of several categories that are evaluated separately see `by_category`.

    Raises:
        DataError: results are wrong (see `parse_results`).

    Source: pycocotools 2.0.11 and crowdposetools; docs/evaluation.md lists the differences.
    """
    detections = parse_results(results, truth)
    merged = _merged(truth, detections, protocol)
    if protocol.separate and truth.category is not None:
        return by_category(truth, detections, protocol, merged)
    return merged


def by_category(
    truth: GroundTruth, detections: Detections, protocol: Protocol, merged: Mapping[str, float]
) -> dict[str, float]:
    """Return the metrics of annotations of several categories.

    Args:
        truth: the annotations.
        detections: the results. If all are of one category, they tell none: models without classes
            write them so.
        protocol: the rules of the evaluation.
        merged: the metrics of all categories as one.

    Returns:
        The metrics as means over the categories with ground truth, as in the official tools;
        those of all categories as one, `AP (merged)`; `AP[<category>]`; and `AP/<keypoint>` of all
        as one. Of results that tell no category: `AP (merged)` and so on, and `AP/<keypoint>`.
    """
    overall = {merged_name(name): value for name, value in merged.items() if "/" not in name}
    of_keypoints = {name: value for name, value in merged.items() if "/" in name}
    kinds = detections.category
    if kinds is None or len(np.unique(kinds)) < 2:
        return overall | of_keypoints
    found: list[tuple[str, dict[str, float]]] = []
    for index, name in enumerate(truth.categories):
        own = truth.select(np.flatnonzero(truth.category == index))
        if own.people.any():
            chosen = detections[np.flatnonzero(kinds == index)]
            found.append((name, _merged(own, chosen, protocol, of_keypoints=False)))
    means = {}
    for name in (name for name in merged if "/" not in name):
        values = [metrics[name] for _, metrics in found if metrics[name] >= 0]
        means[name] = float(np.mean(values)) if values else -1.0
    each = {category_name(name): metrics["AP"] for name, metrics in found}
    return means | overall | each | of_keypoints


def _merged(
    truth: GroundTruth, detections: Detections, protocol: Protocol, *, of_keypoints: bool = True
) -> dict[str, float]:
    """Return the metrics of all annotations, whatever their categories."""
    keypoints = protocol.skeleton.keypoints if of_keypoints else ()
    sizes = (ALL_AREAS, MEDIUM, LARGE) if protocol.crowd_index is None else (ALL_AREAS,)
    criteria = [Criterion(area) for area in sizes]
    criteria += [Criterion(keypoint=index) for index in range(len(keypoints))]
    matches = match(truth, detections, protocol).matches(criteria)
    everyone = matches[0].curves()
    if protocol.crowd_index is None:
        medium, large = matches[1].curves(), matches[2].curves()
        parts = {"APM": medium.ap(), "APL": large.ap(), "ARM": medium.ar(), "ARL": large.ar()}
    else:
        degrees = crowding(truth, protocol.crowd_index)
        parts = {
            name: matches[0].curves(degrees == degree).ap()
            for degree, name in enumerate(("APE", "APM", "APH"))
        }
    metrics = {
        "AP": everyone.ap(),
        "AP50": everyone.ap(0.5),
        "AP75": everyone.ap(0.75),
        "AR": everyone.ar(),
        "AR50": everyone.ar(0.5),
        "AR75": everyone.ar(0.75),
        **parts,
    }
    for name, of_keypoint in zip(keypoints, matches[len(sizes) :], strict=True):
        metrics[f"AP/{name}"] = of_keypoint.curves().ap()
    return metrics


def match(truth: GroundTruth, detections: Detections, protocol: Protocol) -> Matcher:
    """Return a matcher of the detections and the annotated people."""
    return Matcher(annotated_people(truth), detections, truth.num_images, protocol.skeleton.sigmas)


def annotated_people(truth: GroundTruth) -> People:
    """Return the annotations as a matcher takes them, in their order."""
    return People(
        image=truth.rank[truth.image],
        keypoints=np.asarray(truth.keypoints[..., :2], np.float64),
        labelled=truth.keypoints[..., 2] > 0,
        area=truth.area,
        boxes=truth.boxes,
        crowd=truth.crowd,
        required=truth.counts > 0,
    )


def crowding(truth: GroundTruth, limits: tuple[float, float]) -> NDArray[np.int64]:
    """Return 0 (easy), 1 (medium) or 2 (hard) for each image, sorted by id; 3: not known."""
    crowd_index = np.empty(truth.num_images)
    crowd_index[truth.rank] = truth.crowd_index
    if np.isnan(crowd_index).any():
        return np.full(len(crowd_index), 3)
    return np.asarray(np.searchsorted(limits, crowd_index, side="right"), dtype=np.int64)
