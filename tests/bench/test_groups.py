"""Groups of people and images, on annotations made for them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from posebench.bench.groups import GROUPINGS, Group, groups_of, overlaps
from posebench.ground_truth import GroundTruth
from posebench.metrics import evaluate_keypoints
from posebench.metrics.keypoints import match
from posebench.metrics.matching import MEDIUM, Criterion
from posebench.metrics.results import parse_results
from posebench.skeleton import COCO
from tests.builders import PROTOCOLS, truth_of
from tests.metrics.cases import random_case

PROTOCOL = PROTOCOLS["ochuman"]


def person(image: int, box: tuple[float, ...], labelled: int = 17, **more: Any) -> dict[str, Any]:
    keypoints = [[box[0] + k, box[1] + k, 2.0 if k < labelled else 0.0] for k in range(17)]
    return {
        "image_id": image, "category_id": 1, "bbox": list(box), "num_keypoints": labelled,
        "keypoints": np.ravel(keypoints).tolist(), "area": box[2] * box[3], "iscrowd": 0, **more,
    }  # fmt: skip


def truth_with(people: list[dict[str, Any]], crowd_index: list[float] | None = None) -> GroundTruth:
    """Return annotations whose images are listed last first."""
    ids = sorted({one["image_id"] for one in people}, reverse=True)
    images = [{"id": i, "file_name": f"{i}.jpg", "width": 900, "height": 900} for i in ids]
    for image, value in zip(images, crowd_index or [], strict=False):
        image["crowdIndex"] = value
    return truth_of(
        {
            "images": images,
            "annotations": [{**one, "id": n} for n, one in enumerate(people, start=1)],
            "categories": [{"id": 1, "name": "person", "keypoints": list(COCO.keypoints)}],
        },
        PROTOCOL,
    )


def members(groups: list[Group], by: str) -> dict[str, list[int]]:
    """Return the people of each group by their place in the file."""
    return {
        g.label: np.flatnonzero(g.people).tolist()
        for g in groups
        if g.by == by and g.people is not None
    }


PEOPLE = [
    person(1, (0, 0, 30, 30), 3),
    person(1, (10, 10, 30, 30), 8),  # overlaps with the first: 400 of 1,400 square pixels
    person(2, (0, 0, 100, 100), 17),
    person(2, (5, 0, 100, 100), 16),
    person(2, (0, 5, 100, 100), 12),
    person(2, (5, 5, 100, 100), 0, iscrowd=1),  # overlaps, but is in no group
    person(2, (300, 300, 200, 200), 5),
]


def test_people_are_grouped_by_what_they_are() -> None:
    groups = groups_of(truth_with(PEOPLE), PROTOCOL)
    assert members(groups, "overlap") == {"0": [6], "1–2": [0, 1], "3 and more": [2, 3, 4]}
    assert members(groups, "labelled") == {
        "1–5": [0, 6], "6–10": [1], "11–15": [4], "16–17": [2, 3],
    }  # fmt: skip
    sizes = members(groups, "size")
    assert sizes["0–32 px"] == [0, 1]
    assert sizes["96–128 px"] == [2, 3, 4]
    assert sizes["above 128 px"] == [6]
    assert members(groups, "keypoint")["right_ankle"] == [2]
    assert {group.by for group in groups} == set(GROUPINGS)
    assert [group.by for group in groups] == sorted(
        (group.by for group in groups), key=GROUPINGS.index
    )


def test_boxes_that_only_touch_or_just_overlap_do_not_count() -> None:
    # A tenth of the union is not more than a tenth: 2 of 20 columns.
    people = [person(1, (0, 0, 11, 10)), person(1, (9, 0, 11, 10)), person(1, (20, 0, 5, 10))]
    assert overlaps(truth_with(people)).tolist() == [0, 0, 0]
    people[1] = person(1, (8.9, 0, 11, 10))
    assert overlaps(truth_with(people)).tolist() == [1, 1, 0]


def test_images_are_grouped_by_crowd_index_or_else_by_people() -> None:
    def images(truth: GroundTruth) -> dict[str, list[int]]:
        return {
            group.label: np.flatnonzero(group.images).tolist()
            for group in groups_of(truth, PROTOCOL)
            if group.images is not None
        }

    assert images(truth_with(PEOPLE)) == {"2 people": [1], "3–4 people": [0]}
    # 0.3 and 0.7 are no floating-point numbers, and belong to the upper tenth all the same.
    assert images(truth_with(PEOPLE, [0.3, 0.7])) == {"0.3–0.4": [0], "0.7–0.8": [1]}
    assert images(truth_with(PEOPLE, [0.0, 1.0])) == {"0.0–0.1": [0], "0.9 and above": [1]}


def test_ranges_of_labelled_keypoints_follow_the_skeleton() -> None:
    protocol = PROTOCOLS["crowdpose"]
    truth, _ = random_case(protocol.skeleton, 1, images=40)
    complete = truth["annotations"][0] | {"iscrowd": 0, "num_keypoints": 12}
    complete["keypoints"][2::3] = [2.0] * len(protocol.skeleton)
    truth["annotations"][0] = complete
    groups = [g for g in groups_of(truth_of(truth, protocol), protocol) if g.by == "labelled"]
    assert [group.label for group in groups] == ["1–4", "5–7", "8–11", "12"]  # of 12 that count


@pytest.mark.parametrize("seed", range(3))
def test_ignored_people_are_as_those_outside_a_range_of_areas(seed: int) -> None:
    content, results = random_case(COCO, seed)
    truth = truth_of(content, PROTOCOL)
    matcher = match(truth, parse_results(results, truth), PROTOCOL)
    medium = (truth.area >= MEDIUM[0]) & (truth.area <= MEDIUM[1])
    group = Group("size", "medium", people=medium, area=MEDIUM)
    official, found = matcher.matches([Criterion(MEDIUM), group.criterion()])
    assert found.curves().ap() == official.curves().ap()
    assert found.curves().ap() == evaluate_keypoints(truth, results, PROTOCOL)["APM"]
    left = Group("size", "none", people=np.zeros(len(truth), bool)).criterion()
    assert matcher.matches([left])[0].people.sum() == 0
