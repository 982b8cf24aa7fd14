"""Average precision of poses by the rules of COCO and CrowdPose."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from posebench.errors import DataError
from posebench.layers.oks import count_keypoints
from posebench.metrics.matching import ALL_AREAS, LARGE, MEDIUM, Detections, Floats, Matcher, People
from posebench.metrics.results import image_index, parse_results
from posebench.structures import Protocol


def evaluate_keypoints(
    ground_truth: dict[str, Any], results: list[dict[str, Any]], protocol: Protocol
) -> dict[str, float]:
    """Return the metrics of a protocol, unrounded.

    Args:
        ground_truth: as `read_annotations` returns it; it is not modified.
        results: as `PosePredictions.to_coco` or `read_results` return them.
        protocol: the rules of the evaluation.

    Returns:
        AP, AP50, AP75, AR, AR50, AR75; with COCO's rules also APM, APL, ARM, ARL (people of medium
        and large size), with CrowdPose's APE, APM, APH (easy, medium and hard by crowdIndex); and
        `AP/<keypoint>`, whose OKS is that of a single keypoint, ignoring people without it. All are
        in [0, 1], or -1 where there was no ground truth to detect.

    Raises:
        DataError: results are wrong (see `parse_results`), or the ground truth lacks what the
            protocol needs: area, or crowdIndex.

    Source: pycocotools 2.0.11 and crowdposetools; docs/evaluation.md lists the differences.
    """
    detections = parse_results(results, ground_truth, protocol.skeleton)
    matcher = match(ground_truth, detections, protocol)
    if protocol.crowd_index is None:
        everyone, medium, large = matcher.curves((ALL_AREAS, MEDIUM, LARGE))
        parts = {"APM": medium.ap(), "APL": large.ap(), "ARM": medium.ar(), "ARL": large.ar()}
    else:
        [everyone] = matcher.curves()
        crowding = _crowding(ground_truth, protocol.crowd_index)
        parts = {
            name: matcher.curves(images=crowding == degree)[0].ap()
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
    for index, name in enumerate(protocol.skeleton.keypoints):
        metrics[f"AP/{name}"] = matcher.curves(keypoint=index)[0].ap()
    return metrics


def match(ground_truth: dict[str, Any], detections: Detections, protocol: Protocol) -> Matcher:
    """Return a matcher of the detections and the annotated people."""
    people = _people(ground_truth, protocol)
    num_images = len(image_index(ground_truth))
    return Matcher(people, detections, num_images, protocol.skeleton.sigmas)


def _people(ground_truth: dict[str, Any], protocol: Protocol) -> People:
    annotations = ground_truth["annotations"]
    index_of = image_index(ground_truth)
    keypoints = _column(annotations, "keypoints").reshape(-1, len(protocol.skeleton), 3)
    boxes = _column(annotations, "bbox").reshape(-1, 4)
    if protocol.area_of_box is None:
        for annotation in annotations:
            if "area" not in annotation:
                raise DataError(
                    f"Expected an area in every annotation, but annotation {annotation['id']} "
                    f"(image {annotation['image_id']}) has none. "
                    "If the file is CrowdPose's, evaluate it by its own protocol: crowdpose."
                )
        area = _column(annotations, "area")
    else:
        area = boxes[:, 2] * boxes[:, 3] * protocol.area_of_box
    counted = count_keypoints(keypoints[..., 2], protocol.skeleton).tolist()
    counts = [a.get("num_keypoints", c) for a, c in zip(annotations, counted, strict=True)]
    return People(
        image=np.array([index_of[a["image_id"]] for a in annotations], dtype=np.int64),
        keypoints=keypoints[..., :2],
        labelled=keypoints[..., 2] > 0,
        area=area,
        boxes=boxes,
        crowd=np.array([bool(a.get("iscrowd", 0)) for a in annotations], dtype=np.bool_),
        required=np.array(counts, dtype=np.int64) > 0,
    )


def _column(annotations: list[dict[str, Any]], key: str) -> Floats:
    return np.array([annotation[key] for annotation in annotations], dtype=np.float64)


def _crowding(ground_truth: dict[str, Any], limits: tuple[float, float]) -> NDArray[np.int64]:
    """Return 0 (easy), 1 (medium) or 2 (hard) for each image, sorted by image id."""
    crowd_index = {}
    for image in ground_truth["images"]:
        if not np.isfinite(image.get("crowdIndex", np.nan)):
            raise DataError(
                f"Expected a crowdIndex for every image, but image {image['id']} has "
                f"{image.get('crowdIndex', 'none')}. If the file is not CrowdPose's, evaluate it "
                "by COCO's protocol: coco."
            )
        crowd_index[image["id"]] = image["crowdIndex"]
    ordered = np.array([crowd_index[image_id] for image_id in sorted(crowd_index)])
    return np.asarray(np.searchsorted(limits, ordered, side="right"), dtype=np.int64)
