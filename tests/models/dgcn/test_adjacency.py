"""Graphs of keypoints against hand-worked values; real people's are in tests/parity."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from posebench.data.statistics import measure_keypoints
from posebench.models.dgcn.adjacency import (
    limb_adjacency,
    sampled_adjacency,
    soft_adjacency,
    upright_distances,
)
from posebench.models.pifpaf.targets import field_layout
from posebench.skeleton import COCO, SKELETONS, Skeleton
from posebench.structures import KeypointStatistics, Protocol
from tests.builders import truth_of

THREE = Skeleton("three", ("a", "b", "c"), (), (0.1, 0.1, 0.1))


def measured(people: list[dict[str, Any]]) -> KeypointStatistics:
    listed = [{"id": n, "image_id": 1, "category_id": 1, **p} for n, p in enumerate(people)]
    content = {"images": [{"id": 1}], "annotations": listed}
    return measure_keypoints(truth_of(content, Protocol(THREE)))


def person(keypoints: list[float], size: float = 10.0, **fields: Any) -> dict[str, Any]:
    return {"keypoints": keypoints, "bbox": [0, 0, size, size], **fields}


def test_distances_are_shares_of_the_boxs_root_and_means_of_who_has_both() -> None:
    people = [
        person([0, 0, 2, 3, 4, 1, 0, 0, 0]),
        person([0, 0, 2, 0, 20, 1, 0, 10, 2], size=20.0),
        person([0, 0, 2, 90, 90, 2, 5, 5, 2], iscrowd=1),
        person([7, 7, 2, 9, 9, 0, 5, 5, 0]),  # one keypoint
    ]
    found = measured(people)
    assert found.people == 2
    assert found.pairs.tolist() == [[2, 2, 1], [2, 2, 1], [1, 1, 1]]
    assert found.distances[0].tolist() == [0.0, pytest.approx((0.5 + 1.0) / 2), 0.5]
    assert (found.distances == found.distances.T).all()


def test_the_mean_pose_is_seen_from_the_boxs_centre_by_those_who_have_it() -> None:
    people = [
        person([0, 0, 2, 5, 10, 1, 0, 0, 0]),
        person([10, 0, 2, 20, 20, 1, 0, 0, 0], size=20.0),
        person([0, 0, 2, 90, 90, 2, 5, 5, 2], iscrowd=1),
    ]
    # Of 10 px: (-0.5, 0.5) and (0, -0.5); of 20 px: (0, 0.5) and (0.5, -0.5). The third keypoint
    # is labelled on nobody.
    assert measured(people).pose.tolist() == [[-0.25, 0.5], [0.25, -0.5], [0, 0]]
    assert measured([]).pose.tolist() == [[0, 0]] * 3


def test_a_pair_that_nobody_has_is_far_and_an_empty_set_is_even() -> None:
    found = measured([person([0, 0, 2, 3, 4, 1, 0, 0, 0])])
    assert found.distances[0, 2] == found.distances[1, 2] == 0.5
    nobody = measured([])
    assert nobody.people == 0
    assert soft_adjacency(nobody.distances, 0.5).tolist() == [
        [1, 0.5, 0.5],
        [0.5, 1, 0.5],
        [0.5, 0.5, 1],
    ]


def test_near_keypoints_are_bound_by_a_softmax_without_the_diagonal() -> None:
    mean = np.array([[0, 1.0, 0.5], [1.0, 0, 2.0], [0.5, 2.0, 0]])
    soft = soft_adjacency(mean, 0.5)
    near, far = math.exp(0.5 / 0.5), math.exp(0.5 / 1.0)
    assert soft[0].tolist() == pytest.approx([1.0, far / (near + far), near / (near + far)])
    assert soft.sum(1).tolist() == pytest.approx([2.0] * 3)
    assert soft_adjacency(np.zeros((3, 3)), 100.0).isfinite().all()


@pytest.mark.parametrize("skeleton", SKELETONS.values(), ids=lambda s: s.name)
def test_graphs_of_the_upright_pose_and_of_limbs(skeleton: Skeleton) -> None:
    layout = field_layout(skeleton)
    mean = upright_distances(layout)
    assert (mean == mean.T).all()
    assert (mean.diagonal() == 0).all()
    assert (upright_distances(replace(layout, upright=())) == 1 - np.eye(len(skeleton))).all()
    limbs = limb_adjacency(layout)
    assert limbs.equal(limbs.T)
    assert limbs.sum() == len(skeleton) + 2 * len(layout.limbs)


def test_graphs_are_drawn_by_their_seed_with_the_given_probability() -> None:
    probability = soft_adjacency(upright_distances(field_layout(COCO)), 0.5)
    assert sampled_adjacency(probability, 3).equal(sampled_adjacency(probability, 3))
    assert not sampled_adjacency(probability, 3).equal(sampled_adjacency(probability, 4))
    drawn = torch.stack([sampled_adjacency(probability, seed) for seed in range(4000)])
    assert set(drawn.unique().tolist()) == {0.0, 1.0}
    assert (drawn.diagonal(dim1=1, dim2=2) == 1).all()
    # Six standard deviations of a mean of 4,000.
    spread = 6 * (probability * (1 - probability) / 4000).sqrt()
    assert ((drawn.mean(0) - probability).abs() <= spread).all()
