from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from posebench.layers.oks import count_keypoints, oks
from posebench.skeleton import COCO, CROWDPOSE

SIGMAS = torch.tensor([0.5, 1.0], dtype=torch.float64)
PERSON = torch.tensor([[[10.0, 10.0], [20.0, 10.0]]], dtype=torch.float64)
SEEN = torch.tensor([[2, 1]])
AREA = torch.tensor([8.0], dtype=torch.float64)


def test_oks_is_the_mean_over_labelled_keypoints() -> None:
    predicted = PERSON + torch.tensor([[3.0, 4.0], [0.0, 0.0]])
    # 25 px^2 away with (2 * 0.5)^2 = 1: exp(-25 / 16).
    first = math.exp(-25 / 16)
    assert oks(predicted, PERSON, SEEN, AREA, SIGMAS).item() == pytest.approx((first + 1) / 2)
    only_first = torch.tensor([[1, 0]])
    assert oks(predicted, PERSON, only_first, AREA, SIGMAS).item() == pytest.approx(first)


def test_oks_compares_each_with_each() -> None:
    predicted = torch.cat([PERSON, PERSON + 1, PERSON + 2])
    people = torch.cat([PERSON, PERSON + 2])
    values = oks(predicted, people, SEEN.repeat(2, 1), AREA.repeat(2), SIGMAS)
    assert values.shape == (3, 2)
    assert values[0, 0] == values[2, 1] == 1
    assert values[1, 0] == values[1, 1]


def test_the_area_may_differ_by_pair() -> None:
    predicted = torch.cat([PERSON + 1, PERSON + 1])
    areas = torch.tensor([[8.0], [80.0]], dtype=torch.float64)
    values = oks(predicted, PERSON, SEEN, areas, SIGMAS)
    for index in range(2):
        single = oks(predicted[:1], PERSON, SEEN, areas[index], SIGMAS)
        assert values[index] == single


def test_without_labels_or_people_nothing_is_alike() -> None:
    assert oks(PERSON, PERSON, torch.zeros(1, 2), AREA, SIGMAS).item() == 0
    none = torch.zeros(0, 2, 2, dtype=torch.float64)
    assert oks(PERSON, none, torch.zeros(0, 2), torch.zeros(0), SIGMAS).shape == (1, 0)


def test_an_area_of_zero_gives_no_nan() -> None:
    values = oks(torch.cat([PERSON, PERSON + 1]), PERSON, SEEN, torch.zeros(1), SIGMAS)
    assert values.tolist() == [[1.0], [0.0]]


def test_head_and_neck_of_crowdpose_do_not_count() -> None:
    visibility = np.zeros((2, 14))
    visibility[:, -2:] = 1
    visibility[1, :3] = (1, 2, 2)
    assert count_keypoints(visibility, CROWDPOSE).tolist() == [0, 3]
    assert count_keypoints(np.ones((1, 17)), COCO).tolist() == [17]
