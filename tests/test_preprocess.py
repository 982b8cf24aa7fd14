"""Samples warped, normalised and stacked: pixels, people and masks move together."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from posebench.errors import UsageError
from posebench.layers.affine import Affine, apply, square_affine
from posebench.preprocess import (
    NetworkInput,
    blank_batch,
    collate,
    normalise,
    resize_sample,
    scaled_batches,
    warp_sample,
)
from posebench.skeleton import COCO, CROWDPOSE, Skeleton
from posebench.structures import DetrResize, FitResize, Inference, Resize, Resizing, Sample
from tests.builders import make_poses, make_sample

SIZE = 96


def dotted(x: int, y: int, skeleton: Skeleton = COCO) -> Sample:
    """Return a black picture with a soft dot at (x, y), where one person has its left shoulder."""
    sample = make_sample(1, skeleton)
    columns, rows = np.meshgrid(np.arange(128), np.arange(100))
    brightness = 255 * np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * 3.0**2))
    image = np.repeat(brightness[..., None], 3, axis=2).astype(np.uint8)
    keypoints = sample.poses.keypoints.clone()
    keypoints[0, skeleton.keypoints.index("left_shoulder")] = torch.tensor([x, y]).double()
    return replace(sample, image=image, poses=replace(sample.poses, keypoints=keypoints))


def centre_of_brightness(image: np.ndarray) -> np.ndarray:
    weights = image[..., 0].astype(float)
    rows, columns = np.indices(weights.shape)
    return np.array([(columns * weights).sum(), (rows * weights).sum()]) / weights.sum()


MAPS = [
    np.eye(2, 3),
    square_affine((64, 50), 100, 0, SIZE),
    square_affine((60, 55), 90, 25, SIZE),
    square_affine((66, 45), 120, -30, SIZE),
    square_affine((60, 50), 60, 10, SIZE),
]


@pytest.mark.parametrize("mirror", [False, True])
@pytest.mark.parametrize("matrix", MAPS)
@pytest.mark.parametrize("skeleton", [COCO, CROWDPOSE], ids=["coco", "crowdpose"])
def test_a_keypoint_goes_where_its_pixels_go(
    matrix: Affine, mirror: bool, skeleton: Skeleton
) -> None:
    sample = dotted(58, 47, skeleton)
    warped = warp_sample(sample, matrix, (SIZE, SIZE), mirror_with=skeleton if mirror else None)
    side = "right" if mirror else "left"
    keypoint = warped.poses.keypoints[0, skeleton.keypoints.index(f"{side}_shoulder")].numpy()
    assert np.abs(centre_of_brightness(warped.image) - keypoint).max() < 0.1
    assert warped.flipped is mirror


@pytest.mark.parametrize("mirror", [False, True])
@pytest.mark.parametrize("matrix", MAPS)
def test_to_image_takes_people_back(matrix: Affine, mirror: bool) -> None:
    sample = make_sample(3)
    warped = warp_sample(sample, matrix, (SIZE, SIZE), mirror_with=COCO if mirror else None)
    back = apply(warped.poses.keypoints, torch.from_numpy(warped.to_image))
    if mirror:
        back = back[:, list(COCO.flip_index)]
    torch.testing.assert_close(back, sample.poses.keypoints, rtol=0, atol=1e-9)


def test_the_mirror_exchanges_sides_with_their_visibility() -> None:
    sample = make_sample(1)
    visibility = sample.poses.visibility.clone()
    visibility[0, COCO.keypoints.index("left_wrist")] = 0
    visibility[0, COCO.keypoints.index("nose")] = 1
    sample = replace(sample, poses=replace(sample.poses, visibility=visibility))
    flipped = warp_sample(sample, np.eye(2, 3), (128, 128), mirror_with=COCO).poses
    assert flipped.visibility[0, COCO.keypoints.index("right_wrist")] == 0
    assert flipped.visibility[0, COCO.keypoints.index("left_wrist")] == 2
    assert flipped.visibility[0, COCO.keypoints.index("nose")] == 1
    expected = 127 - sample.poses.keypoints[0, COCO.keypoints.index("left_wrist"), 0]
    assert flipped.keypoints[0, COCO.keypoints.index("right_wrist"), 0] == expected


def test_mirrored_twice_is_as_before() -> None:
    sample = make_sample(2)
    once = warp_sample(sample, np.eye(2, 3), (128, 128), mirror_with=COCO)
    again = replace(sample, image=once.image, poses=once.poses)
    twice = warp_sample(again, np.eye(2, 3), (128, 128), mirror_with=COCO)
    np.testing.assert_array_equal(twice.image, sample.image)
    torch.testing.assert_close(twice.poses.keypoints, sample.poses.keypoints, rtol=0, atol=1e-9)
    torch.testing.assert_close(twice.poses.boxes, sample.poses.boxes, rtol=0, atol=1e-9)


def test_mirrored_corners_keep_their_order() -> None:
    boxes = warp_sample(make_sample(2), np.eye(2, 3), (128, 128), mirror_with=COCO).poses.boxes
    top_left, top_right, bottom_left, bottom_right = boxes.unbind(1)
    assert (top_left[:, 0] < top_right[:, 0]).all()
    assert (bottom_left[:, 0] < bottom_right[:, 0]).all()
    assert (top_left[:, 1] < bottom_left[:, 1]).all()


def test_area_grows_with_the_square_of_the_scale() -> None:
    sample = make_sample(2)
    matrix = square_affine((64, 64), 64, 20, 128)
    torch.testing.assert_close(
        warp_sample(sample, matrix, (128, 128)).poses.area, 4 * sample.poses.area
    )


def test_the_sample_itself_is_left_alone() -> None:
    sample = make_sample(2)
    image, keypoints = sample.image.copy(), sample.poses.keypoints.clone()
    warp_sample(sample, MAPS[2], (SIZE, SIZE), mirror_with=COCO, mask_strides=(4,))
    np.testing.assert_array_equal(sample.image, image)
    assert sample.poses.keypoints.equal(keypoints)


# ------------------------------------------------------------------------------------------ masks


def test_the_mask_leaves_out_ignored_regions_and_what_is_outside() -> None:
    ignore = np.zeros((128, 128), bool)
    ignore[32:64, 64:96] = True
    sample = replace(make_sample(0), ignore=ignore)
    shift = np.array([[1.0, 0.0, 16.0], [0.0, 1.0, 0.0]])  # 16 columns of border on the left
    mask = warp_sample(sample, shift, (128, 128), mask_strides=(4,)).masks[4]
    expected = np.ones((32, 32), bool)
    expected[8:16, 20:28] = False
    expected[:, :4] = False
    np.testing.assert_array_equal(mask, expected)


def test_the_mask_is_mirrored_with_the_image() -> None:
    ignore = np.zeros((128, 128), bool)
    ignore[:, :32] = True
    sample = replace(make_sample(0), ignore=ignore)
    strides = (2, 4)
    plain = warp_sample(sample, np.eye(2, 3), (128, 128), mask_strides=strides)
    mirrored = warp_sample(sample, np.eye(2, 3), (128, 128), mirror_with=COCO, mask_strides=strides)
    for stride in strides:
        assert plain.masks[stride].shape == (128 // stride,) * 2
        np.testing.assert_array_equal(mirrored.masks[stride], plain.masks[stride][:, ::-1])
        assert not plain.masks[stride][:, 0].any()


def test_an_image_without_ignored_regions_counts_whole() -> None:
    masks = warp_sample(make_sample(1), np.eye(2, 3), (128, 128), mask_strides=(4,)).masks
    assert masks[4].all()


# ---------------------------------------------------------------------------------------- batches


def test_pixels_are_normalised_per_channel() -> None:
    image = torch.tensor([0, 128, 255], dtype=torch.uint8).expand(1, 2, 2, 3)
    found = normalise(image)
    assert found.shape == (1, 3, 2, 2)
    expected = [(0 - 0.485) / 0.229, (128 / 255 - 0.456) / 0.224, (1 - 0.406) / 0.225]
    assert found[0, :, 0, 0].tolist() == pytest.approx(expected, rel=1e-6)


def test_a_batch_holds_its_inputs_in_order() -> None:
    inputs = [
        warp_sample(
            make_sample(people, seed=people), np.eye(2, 3), (128, 128), mask_strides=(4,),
            mirror_with=COCO if people else None, seed=10 + people,
        )
        for people in (0, 2)
    ]  # fmt: skip
    batch = collate(inputs)
    assert len(batch) == 2
    assert batch.images.shape == (2, 3, 128, 128)
    assert batch.images.dtype == torch.float32
    assert batch.masks[4].shape == (2, 32, 32)
    assert [len(poses) for poses in batch.poses] == [0, 2]
    assert batch.geometry.flipped.tolist() == [False, True]
    assert batch.geometry.to_image[1].tolist() == inputs[1].to_image.tolist()
    assert batch.image_ids == [1, 3]
    assert batch.names == ["0.png", "2.png"]
    assert batch.seeds == [10, 12]


def cropped(sample: Sample, width: int, height: int) -> Sample:
    return replace(sample, image=sample.image[:height, :width])


def test_samples_of_one_network_size_come_in_one_batch() -> None:
    shapes = [(128, 96), (96, 128), (128, 100), (128, 96)]
    samples = [cropped(make_sample(1, seed=seed), *shape) for seed, shape in enumerate(shapes)]
    batches = list(scaled_batches(samples, Inference(Resize(64))))
    assert [positions for positions, _ in batches] == [[0, 2, 3], [1]]
    assert [tuple(batch.images.shape[2:]) for _, [batch] in batches] == [(64, 128), (128, 64)]
    for positions, [batch] in batches:
        assert batch.image_ids == [samples[i].image_id for i in positions]
        for position, poses, to_image in zip(
            positions, batch.poses, batch.geometry.to_image, strict=True
        ):
            back = apply(poses.keypoints, to_image)
            expected = samples[position].poses.keypoints
            torch.testing.assert_close(back, expected, rtol=0, atol=1e-9)


def test_with_several_scales_each_sample_comes_alone_and_the_scale_nearest_to_one_first() -> None:
    samples = [cropped(make_sample(1, seed=seed), 128, 96) for seed in range(2)]
    found = list(scaled_batches(samples, Inference(Resize(64), scales=(0.5, 2.0, 1.0))))
    assert [positions for positions, _ in found] == [[0], [1]]
    for _, batches in found:
        assert [batch.images.shape[2] for batch in batches] == [128, 64, 256]
        assert [len(batch) for batch in batches] == [1, 1, 1]


def test_scales_that_networks_cannot_take_are_told() -> None:
    sample = cropped(make_sample(1), 128, 96)
    with pytest.raises(UsageError, match="multiples of 32"):
        list(scaled_batches([sample], Inference(Resize(64), scales=(1.0, 0.7))))


@pytest.mark.parametrize("scales", [(), (1.0, 0.0), (-1.0,)])
def test_a_scale_is_above_zero(scales: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="above 0"):
        Inference(Resize(64), scales=scales)


@pytest.mark.parametrize("resize", [Resize(64), DetrResize(64, 99), FitResize(64, 99)])
@pytest.mark.parametrize("shape", [(128, 96), (97, 128), (128, 128)])
@pytest.mark.parametrize("people", [0, 2])
def test_a_blank_batch_is_a_resized_one_but_for_its_pixels(
    shape: tuple[int, int], people: int, resize: Resizing
) -> None:
    sample = cropped(make_sample(people), *shape)
    [(_, [batch])] = scaled_batches([sample], Inference(resize))
    blank = blank_batch(sample, resize)
    assert blank.images.shape == batch.images.shape
    assert blank.images.dtype == batch.images.dtype
    assert blank.masks == batch.masks == {}
    assert blank.geometry.to_image.equal(batch.geometry.to_image)
    assert blank.geometry.flipped.equal(batch.geometry.flipped)
    assert blank.geometry.sizes.equal(batch.geometry.sizes)
    for field in ("keypoints", "visibility", "area", "boxes"):
        assert getattr(blank.poses[0], field).equal(getattr(batch.poses[0], field))
    for field in ("image_ids", "names", "seeds"):
        assert getattr(blank, field) == getattr(batch, field)


def test_an_input_says_what_it_was_made_of() -> None:
    found = warp_sample(make_sample(1, seed=4), np.eye(2, 3), (128, 128), seed=9)
    assert isinstance(found, NetworkInput)
    assert (found.image_id, found.name, found.seed) == (5, "4.png", 9)
    assert found.image.dtype == np.uint8
    assert len(found.poses) == len(make_poses(1))


def test_images_of_several_sizes_are_padded_at_the_bottom_right() -> None:
    sizes = [(40, 64), (50, 30), (50, 64)]
    samples = [cropped(make_sample(1, seed=seed), *size) for seed, size in enumerate(sizes)]
    resizes = [DetrResize(min(size), max(size)) for size in sizes]
    alone = [resize_sample(s, r) for s, r in zip(samples, resizes, strict=True)]
    batch = collate(alone)
    assert batch.images.shape == (3, 3, 64, 50)
    assert batch.geometry.sizes.tolist() == [list(size) for size in sizes]
    assert batch.padding is not None
    for image, padding, item, (width, height) in zip(
        batch.images, batch.padding, alone, sizes, strict=True
    ):
        assert image[:, :height, :width].equal(collate([item]).images[0])
        assert image[:, padding].eq(0).all()
        assert padding[:height, :width].eq(False).all()
        assert int(padding.sum()) == 64 * 50 - width * height


def test_a_batch_without_padding_has_no_mask() -> None:
    inputs = [resize_sample(make_sample(1), DetrResize(64, 64)) for _ in range(2)]
    assert collate(inputs).padding is None
    assert collate(inputs, multiple=48).images.shape == (2, 3, 96, 96)


def test_only_images_of_one_padded_size_come_together() -> None:
    shapes = [(128, 100), (128, 99), (128, 64)]
    samples = [cropped(make_sample(1, seed=seed), *shape) for seed, shape in enumerate(shapes)]

    def groups(resize: Resizing) -> list[list[int]]:
        return [positions for positions, _ in scaled_batches(samples, Inference(resize))]

    assert groups(DetrResize(128, 128)) == [[0], [1], [2]]
    [(_, [batch]), _] = list(scaled_batches(samples, Inference(FitResize(128, 128))))
    assert batch.images.shape == (2, 3, 128, 128)
    assert batch.geometry.sizes.tolist() == [[128, 100], [128, 99]]


def test_padded_images_may_be_shown_at_any_scale() -> None:
    sample = cropped(make_sample(1), 128, 96)
    inference = Inference(DetrResize(64, 100), scales=(0.7, 1.0))
    [(_, batches)] = scaled_batches([sample], inference)
    assert [tuple(batch.images.shape[2:]) for batch in batches] == [(64, 85), (45, 60)]
