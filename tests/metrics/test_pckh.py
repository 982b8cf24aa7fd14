from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from posebench.errors import DataError
from posebench.ground_truth import GroundTruth
from posebench.metrics import evaluate_pckh, evaluate_poses
from posebench.metrics.pckh import mpii_people, pckh
from posebench.skeleton import MPII
from tests.builders import PROTOCOLS, truth_of


def person(image_id: int, **fields: Any) -> dict[str, Any]:
    """Return a person whose head box has a diagonal of 50 px: the head size is 30 px."""
    keypoints = [number for index in range(16) for number in (100.0 + 10 * index, 200.0, 2)]
    return {
        "id": image_id, "image_id": image_id, "category_id": 1, "keypoints": keypoints,
        "headbox_xyxy": [180, 100, 210, 140], "bbox": [90, 90, 190, 130], "area": 9000, **fields,
    }  # fmt: skip


def found(image_id: int, shift: float, score: float = 0.5) -> dict[str, Any]:
    keypoints = list(person(image_id)["keypoints"])
    keypoints[0::3] = [x + shift for x in keypoints[0::3]]
    return {"image_id": image_id, "category_id": 1, "keypoints": keypoints, "score": score}


def truth(*people: dict[str, Any]) -> GroundTruth:
    images = [{"id": p["image_id"]} for p in people]
    return truth_of({"images": images, "annotations": list(people)}, PROTOCOLS["mpii"])


def test_the_limit_is_correct() -> None:
    assert evaluate_pckh(truth(person(1)), [found(1, 15.0)])["PCKh@0.5"] == 100.0
    assert evaluate_pckh(truth(person(1)), [found(1, 15.001)])["PCKh@0.5"] == 0.0
    assert evaluate_pckh(truth(person(1)), [found(1, 15.0)], threshold=0.1)["PCKh@0.1"] == 0.0


def test_the_best_pose_counts_and_the_first_among_equals() -> None:
    ground_truth = truth(person(1), person(2))
    results = [found(1, 99.0), found(1, 0.0, score=0.7), found(2, 99.0), found(2, 0.0)]
    assert evaluate_pckh(ground_truth, results)["PCKh@0.5"] == 50.0


def test_a_person_without_a_pose_has_all_keypoints_wrong() -> None:
    metrics = evaluate_pckh(truth(person(4), person(2)), [found(2, 0.0)])
    assert metrics["PCKh@0.5"] == metrics["PCKh@0.5/head"] == metrics["PCKh@0.5/pelvis"] == 50.0


def test_the_mean_leaves_the_trunk_out_and_weighs_keypoints() -> None:
    keypoints = np.zeros((1, 16, 2))
    predicted = keypoints.copy()
    visibility = np.ones((1, 16))
    names = MPII.keypoints
    predicted[0, [names.index("pelvis"), names.index("thorax"), names.index("left_knee")]] = 99
    visibility[0, names.index("right_ankle")] = 0
    metrics = pckh(predicted, keypoints, visibility, np.array([30.0])).metrics()
    assert metrics["mean"] == pytest.approx(100 * 12 / 13)
    assert metrics["knee"] == 50.0
    assert metrics["right_ankle"] == -1.0
    assert metrics["ankle"] == 100.0


def test_wrong_ground_truth_is_refused_by_name() -> None:
    with pytest.raises(DataError, match="image 3 has several"):
        evaluate_pckh(truth(person(3), person(3)), [])
    without = person(6)
    del without["headbox_xyxy"]
    with pytest.raises(DataError, match=r"headbox_xyxy in annotation 6 \(image 6\)"):
        mpii_people(truth(without))
    with pytest.raises(DataError, match=r"MPII's 16 keypoints .* have 17 \(coco\)"):
        mpii_people(truth_of({"images": [{"id": 6}], "annotations": []}))


def test_poses_are_not_broadcast() -> None:
    with pytest.raises(ValueError, match=r"\(1, 16, 2\)"):
        pckh(np.zeros((1, 16, 2)), np.zeros((3, 16, 2)), np.ones((3, 16)), np.ones(3))


# --------------------------------------------------------------------------------- several people


def moved(one: dict[str, Any], shift: float, **fields: Any) -> dict[str, Any]:
    keypoints = list(one["keypoints"])
    keypoints[1::3] = [y + shift for y in keypoints[1::3]]
    return {**one, "keypoints": keypoints, **fields}


def test_people_and_poses_find_each_other_by_pckh() -> None:
    people = [person(1), moved(person(1), 100.0, id=2)]
    # The better pose fits the second; both lie nearer to it than to the first, who gets the rest.
    poses = [moved(found(1, 0.0, score=0.9), 98.0), moved(found(1, 0.0, score=0.3), 12.0)]
    metrics = evaluate_pckh(truth(*people), poses, matching="pckh")
    assert metrics["PCKh@0.5 (matched)"] == 100.0
    assert metrics["PCKh@0.5 (matched)/ankle"] == 100.0
    # A pose serves one person, and one that fits nobody does not count.
    alone = evaluate_pckh(truth(*people), [*poses[:1], found(1, 500.0)], matching="pckh")
    assert alone["PCKh@0.5 (matched)"] == 50.0
    assert evaluate_pckh(truth(*people), [], matching="pckh")["PCKh@0.5 (matched)"] == 0.0


def test_the_better_fit_is_served_first() -> None:
    people = [person(1), moved(person(1), 10.0, id=2)]
    # Within 15 px of both; half of its keypoints are off the second person.
    near = moved(found(1, 0.0), 4.0)
    near["keypoints"][1:24:3] = [y - 12.0 for y in near["keypoints"][1:24:3]]
    metrics = evaluate_pckh(truth(*people), [near], matching="pckh")
    assert metrics["PCKh@0.5 (matched)"] == 50.0  # all of the first, in place of half


def test_people_without_labelled_keypoints_are_left_out() -> None:
    hidden = person(1, id=2, keypoints=[0.0] * 48)
    assert evaluate_pckh(truth(person(1), hidden), [found(1, 0.0)])["PCKh@0.5"] == 100.0


def test_the_protocol_follows_the_annotations() -> None:
    one, other = person(1), moved(person(1), 100.0, id=2)
    results = [found(1, 0.0), moved(found(1, 0.0, score=0.1), 100.0)]
    alone = evaluate_poses(truth(one), results, PROTOCOLS["mpii"])
    assert next(iter(alone)) == "PCKh@0.5"
    assert alone["PCKh@0.5"] == 1.0  # a fraction, as AP is
    several = evaluate_poses(truth(one, other), results, PROTOCOLS["mpii"])
    assert next(iter(several)) == "PCKh@0.5 (matched)"
    unlabelled = evaluate_poses(truth(person(1, keypoints=[0.0] * 48)), results, PROTOCOLS["mpii"])
    assert unlabelled["PCKh@0.5"] == -1.0
    without = {**one, "bbox": [90.0, 190.0, 170.0, 20.0], "area": 3400.0}
    del without["headbox_xyxy"]
    by_oks = evaluate_poses(truth(without), results, PROTOCOLS["mpii"])
    assert next(iter(by_oks)) == "AP"
    assert by_oks["AP/left_knee"] == 1.0
