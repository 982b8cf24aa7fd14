"""A dataset's own metric: what it gets, and what it may return."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from posebench.errors import DataError, PosebenchError, UsageError
from posebench.ground_truth import GroundTruth
from posebench.metrics import evaluate_poses
from posebench.metrics.matching import Detections
from posebench.metrics.resampling import matches
from posebench.skeleton import COCO
from posebench.structures import Protocol
from tests.builders import truth_of


def truth() -> GroundTruth:
    """Return two images in another order than that of their ids, with a person each."""
    people = [
        {
            "id": number, "image_id": number, "category_id": 1, "iscrowd": 0, "area": 100,
            "bbox": [0, 0, 10, 10], "num_keypoints": 17,
            "keypoints": [10.0 * number, 5.0, 2] * 17,
        }
        for number in (7, 3)
    ]  # fmt: skip
    images = [{"id": n, "file_name": f"{n}.jpg", "width": 99, "height": 99} for n in (7, 3)]
    return truth_of({"images": images, "annotations": people, "categories": [{"id": 1}]})


def results(*image_ids: int) -> list[dict[str, Any]]:
    return [
        {"image_id": n, "category_id": 1, "keypoints": [10.0 * n, 5.0, 1.0] * 17, "score": 0.5}
        for n in image_ids
    ]


def first_column_found(truth: GroundTruth, detections: Detections) -> Mapping[str, float]:
    """Return the share of images on which the best pose is the annotated one."""
    found = [
        np.allclose(truth.keypoints[person, :, :2], detections.keypoints[pose])
        for person in range(len(truth))
        for pose in np.flatnonzero(detections.image == truth.image[person])
    ]
    return {"found": sum(found) / len(truth), "extra": -1}


def test_a_metric_gets_detections_by_the_image_of_the_annotations() -> None:
    own = Protocol(COCO, metric=first_column_found)
    assert evaluate_poses(truth(), results(3, 7), own) == {"found": 1.0, "extra": -1.0}
    assert evaluate_poses(truth(), results(7), own) == {"found": 0.5, "extra": -1.0}
    wrong = [result | {"image_id": 10 - result["image_id"]} for result in results(3, 7)]
    assert evaluate_poses(truth(), wrong, own)["found"] == 0


@pytest.mark.parametrize(
    ("returned", "said"),
    [
        (0.5, "dictionary of fractions by name"),
        ({}, "dictionary of fractions by name"),
        ({"error_px": 5.3}, "'error_px' of the metric own"),
        ({"a": float("nan")}, "found nan"),
        ({"a": "1"}, "found '1'"),
    ],
)
def test_anything_but_fractions_is_refused(returned: Any, said: str) -> None:
    def own(truth: GroundTruth, detections: Detections) -> Any:
        return returned

    with pytest.raises(DataError, match=said):
        evaluate_poses(truth(), [], Protocol(COCO, metric=own))


def test_a_metric_that_fails_is_named_with_its_line() -> None:
    def own(truth: GroundTruth, detections: Detections) -> Any:
        return {"a": 1 / len(detections.scores)}

    with pytest.raises(PosebenchError, match=r"metric own fails: ZeroDiv.*line \d+ of .*test_own"):
        evaluate_poses(truth(), [], Protocol(COCO, metric=own))


def test_intervals_say_that_they_are_of_ap() -> None:
    own = replace(Protocol(COCO), metric=first_column_found)
    with pytest.raises(UsageError, match="a metric of its own"):
        matches(truth(), results(3), own)
