"""Training augmentation: what is drawn, and that it depends on nothing but its seed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from posebench.data.transforms import augment_sample, crop_centres, image_seed
from posebench.layers.affine import apply, invert
from posebench.preprocess import NetworkInput
from posebench.skeleton import COCO, CROWDPOSE, Skeleton
from posebench.structures import Augment, CropAugment, DetrAugment, Poses, Sample
from tests.builders import make_sample

AUGMENT = Augment(size=64)
STILL = Augment(size=64, rotation_deg=0, scale=(1, 1), translation=0, flip=0)


def sample_of(width: int = 120, height: int = 80) -> Sample:
    sample = make_sample(2)
    return replace(sample, image=sample.image[:height, :width])


def draws(augment: Augment, count: int = 60) -> list[NetworkInput]:
    return [augment_sample(sample_of(), augment, COCO, seed) for seed in range(count)]


def linear(item: NetworkInput) -> np.ndarray:
    """Return the linear part of the map from image to network input."""
    return np.asarray(invert(item.to_image)[:, :2])


def test_a_seed_stands_for_seed_epoch_and_image() -> None:
    seeds = {
        image_seed(seed, epoch, image)
        for seed in range(3)
        for epoch in range(12)
        for image in range(1, 30)
    }
    assert len(seeds) == 3 * 12 * 29
    assert image_seed(1, 23, 4) != image_seed(12, 3, 4)


def test_a_seed_is_the_same_in_every_process_and_version() -> None:
    assert image_seed(0, 3, 139) == 4208423149


def test_the_same_seed_draws_the_same_whatever_was_drawn_before() -> None:
    first = augment_sample(sample_of(), AUGMENT, COCO, 7)
    torch.manual_seed(99)
    np.random.seed(99)  # noqa: NPY002
    draws(AUGMENT, 3)
    again = augment_sample(sample_of(), AUGMENT, COCO, 7)
    np.testing.assert_array_equal(first.image, again.image)
    np.testing.assert_array_equal(first.to_image, again.to_image)
    assert first.poses.keypoints.equal(again.poses.keypoints)
    assert first.seed == again.seed == 7
    other = augment_sample(sample_of(), AUGMENT, COCO, 8)
    assert not np.array_equal(first.to_image, other.to_image)


def test_nothing_drawn_fits_the_short_side_around_the_centre() -> None:
    found = augment_sample(sample_of(120, 80), STILL, COCO, 0)
    assert found.image.shape == (64, 64, 3)
    assert not found.flipped
    corners = invert(found.to_image) @ np.array([[20, 0, 1], [100, 80, 1]]).T
    np.testing.assert_allclose(corners.T, [[0, 0], [64, 64]], atol=1e-9)


def test_scales_fill_their_range_and_leave_it_not() -> None:
    augment = replace(STILL, scale=(0.75, 1.5))
    sides = np.array([64 / (linear(item)[0, 0] * 80) for item in draws(augment)])
    assert sides.min() >= 0.75
    assert sides.max() <= 1.5
    assert np.ptp(sides) > 0.5


def test_angles_fill_their_range_and_leave_it_not() -> None:
    items = draws(replace(STILL, rotation_deg=30))
    angles = np.array([np.degrees(np.arctan2(*linear(item)[0, ::-1])) for item in items])
    assert np.abs(angles).max() <= 30
    assert angles.min() < -15
    assert angles.max() > 15


def test_shifts_are_whole_pixels_within_their_reach() -> None:
    centres = np.array(
        [item.to_image @ [32, 32, 1] for item in draws(replace(STILL, translation=40))]
    )
    shifts = centres - [60, 40]
    np.testing.assert_allclose(shifts, shifts.round(), atol=1e-9)
    reach = 40 * 80 // 200
    assert shifts.min() >= -reach
    assert shifts.max() < reach
    assert (np.ptp(shifts, axis=0) > reach).all()


@pytest.mark.parametrize(("flip", "low", "high"), [(0.0, 0, 0), (0.5, 15, 45), (1.0, 60, 60)])
def test_so_many_images_are_mirrored(flip: float, low: int, high: int) -> None:
    assert low <= sum(item.flipped for item in draws(replace(STILL, flip=flip))) <= high


def test_a_mirrored_person_has_its_sides_exchanged() -> None:
    plain = augment_sample(sample_of(), STILL, COCO, 0)
    mirrored = augment_sample(sample_of(), replace(STILL, flip=1), COCO, 0)
    np.testing.assert_array_equal(mirrored.image, plain.image[:, ::-1])
    left, right = (COCO.keypoints.index(f"{side}_ankle") for side in ("left", "right"))
    expected = 63 - plain.poses.keypoints[:, left, 0]
    torch.testing.assert_close(mirrored.poses.keypoints[:, right, 0], expected)


def test_masks_come_at_the_strides_asked_for() -> None:
    masks = augment_sample(sample_of(), replace(STILL, mask_strides=(4, 8)), COCO, 0).masks
    assert {stride: mask.shape for stride, mask in masks.items()} == {4: (16, 16), 8: (8, 8)}


DETR = DetrAugment(
    short_sides=(48, 64), long_side=90, crop=0.5, crop_short_sides=(60, 70), crop_sides=(40, 50)
)


def detr(augment: DetrAugment, count: int = 60) -> list[NetworkInput]:
    return [augment_sample(sample_of(), augment, COCO, seed) for seed in range(count)]


def test_detrs_sizes_keep_their_bounds_and_are_all_drawn() -> None:
    shapes = [item.image.shape for item in detr(DETR)]
    assert {min(shape[:2]) for shape in shapes} >= {48, 64}
    assert max(max(shape[:2]) for shape in shapes) <= 91  # rounding may exceed the bound by one
    whole = {item.image.shape[:2] for item in detr(replace(DETR, crop=0.0))}
    assert whole == {(48, 72), (60, 90)}


def test_detrs_people_lie_where_the_map_puts_them() -> None:
    sample = sample_of()
    for item in detr(replace(DETR, crop=0.0)):
        back = apply(item.poses.keypoints, torch.from_numpy(item.to_image))
        if item.flipped:
            back = back[:, list(COCO.flip_index)]
        torch.testing.assert_close(back, sample.poses.keypoints, rtol=0, atol=1e-9)


def test_a_crop_leaves_out_people_and_moves_keypoints_to_its_border() -> None:
    items = detr(replace(DETR, crop=1.0))
    counts = {len(item.poses) for item in items}
    assert counts == {1, 2}
    for item in items:
        height, width, _ = item.image.shape
        keypoints = item.poses.keypoints
        assert (keypoints >= 0).all()
        assert (keypoints <= torch.tensor([width, height])).all()
        box = item.poses.boxes[:, 3] - item.poses.boxes[:, 0]
        torch.testing.assert_close(item.poses.area, box.prod(1))


def test_a_box_may_stand_for_the_area() -> None:
    still = replace(DETR, crop=0.0, flip=0.0, short_sides=(80,), long_side=999)
    sample = replace(sample_of(), poses=replace(sample_of().poses, area=torch.ones(2).double()))
    areas = [
        augment_sample(sample, replace(still, box_area=box), COCO, 0).poses.area
        for box in (False, True)
    ]
    assert areas[0].tolist() == [1, 1]
    corners = sample.poses.boxes
    torch.testing.assert_close(areas[1], (corners[:, 3] - corners[:, 0]).prod(1))


def test_an_image_smaller_than_a_crop_keeps_its_side() -> None:
    small = replace(DETR, crop=1.0, crop_short_sides=(20,), crop_sides=(40, 50), flip=0.0)
    for item in detr(small, 5):
        assert item.image.shape[0] in (48, 60)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"short_sides": ()}, "at least one"),
        ({"crop_sides": (0, 5)}, "at least 1"),
        ({"crop_sides": (9, 5)}, "largest"),
        ({"long_side": 50}, "long_side"),
    ],
)
def test_sizes_that_cannot_be_drawn_are_refused(changes: dict[str, Any], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        replace(DETR, **changes)


CROP = CropAugment(size=64)


def crops(sample: Sample, count: int = 60) -> list[NetworkInput]:
    return [augment_sample(sample, CROP, COCO, seed) for seed in range(count)]


def with_others(sample: Sample, *centres: tuple[float, float]) -> Sample:
    """Return the sample with further people without labels, in boxes 10 pixels wide."""
    middle = torch.tensor(centres, dtype=torch.float64)[:, None]
    corners = torch.tensor([[-5, -5], [5, -5], [-5, 5], [5, 5]], dtype=torch.float64)
    boxes = middle + corners
    areas = torch.full((len(boxes),), 64.0, dtype=torch.float64)
    poses = replace(sample.poses, unlabelled=boxes, unlabelled_area=areas)
    return replace(sample, poses=poses)


def test_a_crop_is_centred_on_a_person_and_keeps_those_centred_in_it() -> None:
    sample = make_sample(4, size=200)
    counts = set()
    for item in crops(sample):
        middle = item.poses.boxes.mean(1)
        # Mirrored, the middle of an even number of pixels is beside itself.
        aside = torch.tensor([32.0 - item.flipped, 32.0]).double()
        assert ((middle - aside).abs().amax(1) < 1e-6).any()
        assert ((middle >= -1) & (middle <= 63)).all()
        counts.add(len(item.poses))
        scale = np.linalg.det(linear(item)) ** 2
        assert 1.5**-4 - 1e-6 <= scale <= 0.5**-4 + 1e-6
    assert len(counts) > 1


def test_a_crop_keeps_keypoints_outside_of_it() -> None:
    outside = [
        ((item.poses.keypoints < 0) | (item.poses.keypoints > 63)).any()
        for item in crops(make_sample(1))
    ]
    assert any(outside)
    assert all((item.poses.visibility == 2).all() for item in crops(make_sample(1), 5))


def labelled_first(skeleton: Skeleton, *counts: int) -> Poses:
    """Return people of whom the first `count` keypoints are labelled."""
    poses = make_sample(len(counts), skeleton).poses
    number = torch.arange(len(skeleton))
    visibility = torch.where(number < torch.tensor(counts)[:, None], poses.visibility, 0)
    return replace(poses, visibility=visibility)


@pytest.mark.parametrize(
    ("counts", "chosen"),
    [((3,), {0}), ((15, 15), {1}), ((15, 14), {0}), ((5, 5, 5), {1, 2}), ((9, 4, 6, 4), {0, 2})],
)
def test_crops_are_centred_on_the_half_with_more_keypoints(
    counts: tuple[int, ...], chosen: set[int]
) -> None:
    poses = labelled_first(COCO, *counts)
    found = {tuple(centre) for centre in crop_centres(poses, COCO).tolist()}
    centres = poses.boxes.mean(1).tolist()
    assert found == {tuple(centres[person]) for person in chosen}


def test_people_without_labels_may_be_centres() -> None:
    poses = labelled_first(COCO, 17)
    boxes = with_others(make_sample(1), (3, 4), (5, 6), (7, 8), (9, 10)).poses.unlabelled
    centres = crop_centres(replace(poses, unlabelled=boxes), COCO)
    assert centres.equal(torch.cat([boxes[2:], poses.boxes]).mean(1))


def test_the_torso_head_and_neck_count_in_the_choice_of_centres() -> None:
    poses = labelled_first(CROWDPOSE, 9, 9)
    visibility = poses.visibility.clone()
    # Five keypoints each; the first person's shoulders and hips give a torso, the second has none.
    visibility[0] = 0
    visibility[0, [0, 1, 6, 7, 8]] = 2
    visibility[1] = 0
    visibility[1, :5] = 2
    poses = replace(poses, visibility=visibility)
    assert crop_centres(poses, CROWDPOSE).equal(poses.boxes[:1].mean(1))
    visibility = visibility.clone()
    visibility[1, 12:] = 2  # head and neck: seven against six
    poses = replace(poses, visibility=visibility)
    assert crop_centres(poses, CROWDPOSE).equal(poses.boxes[1:].mean(1))


def test_boxes_of_people_without_labels_are_cropped_and_mirrored_too() -> None:
    sample = with_others(make_sample(1), (64, 64))
    for item in crops(sample, 20):
        boxes = item.poses.unlabelled
        assert len(boxes) == 1
        back = apply(boxes, torch.from_numpy(item.to_image))
        if item.flipped:
            back = back[:, [1, 0, 3, 2]]
        torch.testing.assert_close(back, sample.poses.unlabelled, rtol=0, atol=1e-9)
        assert (boxes[:, 3] > boxes[:, 0]).all()
        growth = np.linalg.det(item.to_image[:, :2])
        assert item.poses.unlabelled_area.tolist() == pytest.approx([64 / abs(growth)])
    for item in crops(with_others(make_sample(1), (1000, 64)), 5):
        assert len(item.poses.unlabelled) == len(item.poses.unlabelled_area) == 0


def test_a_crop_of_an_image_without_people_is_its_middle() -> None:
    for item in crops(replace(make_sample(0), poses=Poses.empty(17)), 5):
        middle = apply(torch.tensor([[31.5, 32.0]]).double(), torch.from_numpy(item.to_image))
        assert (middle - 64).abs().max() <= 1


def test_detrs_crops_leave_out_people_without_labels() -> None:
    item = augment_sample(with_others(sample_of(), (30, 30)), DETR, COCO, 0)
    assert len(item.poses.unlabelled) == 0


def test_a_crops_size_is_a_multiple_of_32() -> None:
    with pytest.raises(ValueError, match="32"):
        CropAugment(size=100)
