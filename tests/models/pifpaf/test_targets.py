"""Composite fields, encoded and decoded, against hand-worked values."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from posebench.errors import ModelError
from posebench.models.pifpaf.decoding import decode_fields
from posebench.models.pifpaf.targets import (
    FieldLayout,
    field_layout,
    field_people,
    field_size,
    keypoint_fields,
    limb_fields,
    person_scales,
)
from posebench.skeleton import COCO, SKELETONS, Skeleton
from posebench.structures import Poses, box_corners

# Two limbs in a row, on a pose of 2 x 4.
LINE = FieldLayout(
    limbs=((0, 1), (1, 2)),
    sigmas=(0.1, 0.1, 0.2),
    upright=((0.0, 4.0), (1.0, 2.0), (2.0, 0.0)),
    score_weights=(2.0, 1.0, 1.0),
)
VALID = (0.0, 0.0, 127.0, 127.0)


def poses_of(keypoints: list[list[list[float]]], visibility: int = 2, /, **fields: Tensor) -> Poses:
    points = torch.tensor(keypoints, dtype=torch.float64).view(len(keypoints), -1, 2)
    return Poses(
        points,
        torch.full(points.shape[:2], visibility),
        torch.ones(len(points), dtype=torch.float64),
        torch.zeros(len(points), 4, 2, dtype=torch.float64),
        **fields,
    )


def fields_of(poses: Poses, layout: FieldLayout = LINE) -> tuple[Tensor, Tensor]:
    people = field_people(poses, layout, 8, VALID)
    size = field_size((128, 128), 8)
    return keypoint_fields(people, size), limb_fields(people, layout, size)


def logits(fields: Tensor) -> Tensor:
    fields = fields.nan_to_num(0.0).clone()
    fields[:, 0] = torch.where(fields[:, 0] > 0, 10.0, -10.0)
    return fields


@pytest.mark.parametrize("skeleton", SKELETONS.values(), ids=lambda s: s.name)
def test_a_layout_follows_the_keypoints_and_not_the_name(skeleton: Skeleton) -> None:
    assert field_layout(replace(skeleton, name="other")) == field_layout(skeleton)


def test_another_keypoint_set_has_the_limbs_of_its_skeleton() -> None:
    legs = Skeleton(
        "legs", ("left_hip", "right_hip", "left_knee", "right_knee"),
        limbs=((0, 2), (1, 3), (0, 1)), sigmas=(0.1, 0.1, 0.08, 0.08),
    )  # fmt: skip
    layout = field_layout(legs)
    assert layout.limbs == legs.limbs
    assert layout.upright == ((-1.26, 4.0), (1.26, 4.0), (-1.4, 2.0), (1.4, 2.1))
    assert layout.score_weights == (1.0,) * 4
    toes = replace(legs, keypoints=("left_hip", "right_hip", "left_toe", "left_knee"))
    assert field_layout(toes).upright == ()
    assert field_layout(toes).limbs == legs.limbs
    with pytest.raises(ModelError, match=r"from left_hip to right_hip, right_knee of legs"):
        field_layout(replace(legs, limbs=((0, 2), (1, 3))))
    with pytest.raises(ModelError, match="legs has one keypoint: take another method"):
        field_layout(Skeleton("legs", ("hip",), (), (0.1,)))
    spelt = replace(legs, keypoints=("L_hip", "R_hip", "knee left", "RKnee"))
    assert field_layout(spelt).upright == layout.upright


@pytest.mark.parametrize("skeleton", SKELETONS.values(), ids=lambda s: s.name)
def test_layouts_are_connected_and_mirror_onto_themselves(skeleton: Skeleton) -> None:
    layout = field_layout(skeleton)
    reached = {0}
    for _ in layout.limbs:
        for first, second in layout.limbs:
            if first in reached or second in reached:
                reached |= {first, second}
    assert reached == set(range(len(skeleton)))
    flip = skeleton.flip_index
    limbs = {frozenset(limb) for limb in layout.limbs}
    assert {frozenset(flip[k] for k in limb) for limb in limbs} == limbs
    assert len(limbs) == len(layout.limbs)
    upright = np.array(layout.upright)
    assert np.abs(upright * [-1, 1] - upright[list(flip)]).max() < 0.21


def test_a_keypoint_is_told_of_by_sixteen_cells() -> None:
    keypoints, _ = fields_of(poses_of([[[44.0, 36.0], [60.0, 60.0], [80.0, 100.0]]]))
    assert (keypoints[:, 0] == 1).sum((1, 2)).tolist() == [16, 16, 16]
    # 44 / 8 = 5.5: its square begins at round(4.0).
    rows, columns = (keypoints[0, 0] == 1).nonzero().unbind(1)
    assert columns.unique().tolist() == [4, 5, 6, 7]
    assert rows.unique().tolist() == [3, 4, 5, 6]
    assert keypoints[0, 1:3, 5, 4].tolist() == [1.5, -0.5]
    # All three are labelled: the root of 4.5 x 8 cells, times 0.1 and 0.2.
    assert keypoints[0, 3, 5, 4].item() == pytest.approx(0.1 * math.sqrt(4.5 * 8))
    assert keypoints[2, 3, 12, 10].item() == pytest.approx(0.2 * math.sqrt(4.5 * 8))


def test_a_limb_is_told_of_beside_its_middle() -> None:
    _, limbs = fields_of(poses_of([[[16.0, 64.0], [112.0, 64.0], [80.0, 100.0]]]))
    there = limbs[0, 0] == 1
    rows, columns = there.nonzero().unbind(1)
    assert rows.unique().tolist() == [7, 8, 9]
    # From a quarter of 12 cells to three quarters, and a cell beside.
    assert columns.unique().tolist() == [4, 5, 6, 7, 8, 9, 10, 11, 12]
    assert limbs[0, 1:5, 9, 8].tolist() == [-6.0, -1.0, 6.0, -1.0]


def test_scales_of_parts_follow_the_upright_pose() -> None:
    points = torch.tensor([[[0.0, 0.0], [1.0, 2.0], [2.0, 4.0]]], dtype=torch.float64)
    everything = torch.ones(1, 3, dtype=torch.bool)
    assert person_scales(points, everything, LINE).item() == pytest.approx(math.sqrt(8))
    part = torch.tensor([[True, True, False]])
    assert person_scales(points, part, LINE).isnan().item()
    layout = FieldLayout(LINE.limbs, (0.1,) * 4, (*LINE.upright, (2.0, 4.0)), (1.0,) * 4)
    four = torch.cat([points, points[:, :1]], 1)
    part = torch.tensor([[True, True, False, True]])
    # Upright, 2 x 4 over 2 x 2 of the three that are labelled; turned, the growth is less.
    scale = person_scales(four, part, layout).item()
    assert math.sqrt(2) < scale <= math.sqrt(2) * math.sqrt(2)


def test_scales_of_parts_stay_where_no_pose_is_known() -> None:
    points = torch.tensor([[[0.0, 0.0], [2.0, 4.0], [1.0, 2.0], [9.0, 9.0]]])
    part = torch.tensor([[True, True, True, False]])
    layout = FieldLayout(((0, 1), (1, 2), (2, 3)), (0.1,) * 4, (), (1.0,) * 4)
    assert person_scales(points, part, layout).item() == pytest.approx(math.sqrt(8))
    # In this pose, all four keypoints cover a box of twice the area of the first three, and of
    # 1.5 times when it is turned by 45 degrees: the smaller ratio counts.
    pose = ((0.0, 0.0), (1.0, 1.0), (0.5, 0.5), (1.0, 2.0))
    known = person_scales(points, part, replace(layout, upright=pose)).item()
    assert known == pytest.approx(math.sqrt(8 * 2))


def test_the_nearer_person_is_told_of_and_the_hidden_is_not() -> None:
    one, other = (
        [[40.0, 40.0], [60.0, 60.0], [80.0, 90.0]],
        [[48.0, 40.0], [90.0, 60.0], [99.0, 9.0]],
    )
    both = poses_of([one, other])
    keypoints, _ = fields_of(both)
    assert (
        keypoints[0, 1, 5, 4].item() == 1.0
    )  # cell 4 is one cell from the first, two from the other
    assert keypoints[0, 1, 5, 7].item() == -1.0
    visibility = both.visibility.clone()
    visibility[0, 0] = 1
    hidden = Poses(both.keypoints, visibility, both.area, both.boxes)
    keypoints, _ = fields_of(hidden)
    assert keypoints[0, 1, 5, 5].item() == 1.0  # of the other
    assert (keypoints[0, 0] == 1).sum() == 16


def test_ignored_boxes_have_no_confidence() -> None:
    box = box_corners(torch.tensor([[64.0, 64.0, 16.0, 16.0]], dtype=torch.float64))
    for name in ("unlabelled", "crowds"):
        keypoints, limbs = fields_of(
            poses_of([[[8.0, 8.0], [16.0, 16.0], [24.0, 8.0]]], **{name: box})
        )
        # From int(8 - 1.5) to before ceil(10 + 1.5) + 1; with limbs the margin is 1.
        assert keypoints[0, 0].isnan().nonzero().amin(0).tolist() == [6, 6]
        assert keypoints[0, 0].isnan().nonzero().amax(0).tolist() == [12, 12]
        assert limbs[0, 0].isnan().nonzero().amin(0).tolist() == [7, 7]


def test_people_without_labels_have_empty_fields() -> None:
    keypoints, limbs = fields_of(poses_of([[[0.0, 0.0]] * 3], 0))
    assert (keypoints[:, 0] == 0).all()
    assert (limbs[:, 0] == 0).all()
    assert len(decode_fields(logits(keypoints), logits(limbs), LINE, 8).keypoints) == 0


def test_two_people_are_found_again_best_first() -> None:
    people = [
        [[20.0, 20.0], [24.0, 50.0], [30.0, 90.0]],
        [[80.0, 24.0], [90.0, 60.0], [84.0, 100.0]],
    ]
    keypoints, limbs = (logits(fields) for fields in fields_of(poses_of(people)))
    columns = torch.arange(keypoints.shape[-1]) < 6
    keypoints[:, 0, :, columns] = keypoints[:, 0, :, columns].clamp(max=1.0)
    found = decode_fields(keypoints, limbs, LINE, 8)
    expected = torch.tensor(people[::-1]).numpy()
    np.testing.assert_allclose(found.keypoints[..., :2], expected, atol=1e-4)
    assert found.means[0] > found.means[1] > 0.5
    descending = np.sort(found.keypoints[1, :, 2])[::-1]
    assert found.scores[1] == pytest.approx(descending @ [0.5, 0.25, 0.25])


def test_a_limb_that_does_not_lead_back_is_not_followed() -> None:
    people = [[[20.0, 20.0], [24.0, 60.0], [60.0, 90.0]]]
    keypoints, limbs = (logits(fields) for fields in fields_of(poses_of(people)))
    limbs[1, 1] += 3.0  # its first end lies elsewhere, seen from the second
    assert len(decode_fields(keypoints, limbs, LINE, 8).keypoints) == 2
    both = decode_fields(keypoints, limbs, LINE, 8, complete=True)
    assert (both.keypoints[..., 2] > 0).all()


def test_completed_poses_take_missing_keypoints_from_neighbours() -> None:
    people = [[[20.0, 20.0], [24.0, 60.0], [60.0, 90.0]]]
    keypoints, limbs = (logits(fields) for fields in fields_of(poses_of(people)))
    limbs[1, 0] = -20.0
    keypoints[2, 0] = -20.0
    [pose] = decode_fields(keypoints, limbs, LINE, 8).keypoints
    assert (pose[:, 2] > 0).tolist() == [True, True, False]
    [pose] = decode_fields(keypoints, limbs, LINE, 8, complete=True).keypoints
    np.testing.assert_allclose(pose[2, :2], pose[1, :2])
    assert 0 < pose[2, 2] < 1e-4


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 1e30, -1e30])
def test_broken_fields_neither_crash_nor_reach_beyond(value: float) -> None:
    layout = field_layout(COCO)
    generator = torch.Generator().manual_seed(0)
    keypoints = 4 * torch.randn(17, 4, 12, 15, generator=generator)
    limbs = 4 * torch.randn(len(layout.limbs), 7, 12, 15, generator=generator)
    for fields in (keypoints, limbs):
        broken = torch.rand(fields.shape, generator=generator) < 0.3
        fields[broken] = value
    for complete in (False, True):
        found = decode_fields(keypoints, limbs, layout, 8, complete=complete)
        assert np.isfinite(found.keypoints).all()
        assert np.isfinite(found.scores).all()
