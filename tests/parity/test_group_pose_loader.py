"""Group Pose's resizing and augmentation against the published loader, case by case."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from posebench.data.transforms import _View
from posebench.layers.affine import detr_size
from posebench.preprocess import collate, resize_sample
from posebench.skeleton import COCO, CROWDPOSE, MPII, Skeleton
from posebench.structures import DetrResize, Poses, Sample, box_corners
from tests.parity.fixtures import cases

CASES = [pytest.param(path, id=path.stem) for path in cases("grouppose", "transforms_*.npz")]


def skeleton_of(case: Any) -> Skeleton:
    skeletons = {len(skeleton): skeleton for skeleton in (COCO, CROWDPOSE, MPII)}
    return skeletons[case["raw_keypoints"].shape[1]]


def poses_of(case: Any, stage: str) -> Poses:
    """Return the people of a stage; CrowdPose's have their boxes' areas from the start."""
    keypoints = torch.from_numpy(case[f"{stage}_keypoints"]).double()
    left, top, right, bottom = torch.from_numpy(case[f"{stage}_boxes"]).double().unbind(1)
    boxes = torch.stack([left, top, right - left, bottom - top], 1)
    name = f"{stage}_area"
    area = torch.from_numpy(case[name]).double() if name in case else boxes[:, 2:].prod(1)
    return Poses(keypoints[..., :2], keypoints[..., 2].long(), area, box_corners(boxes))


def assert_people(view: _View, case: Any, stage: str) -> None:
    expected = poses_of(case, stage)
    assert view.size == tuple(case[f"{stage}_size"][::-1])
    labelled = expected.visibility > 0
    assert view.poses.visibility.equal(expected.visibility)
    for found, wanted in (
        (view.poses.keypoints[labelled], expected.keypoints[labelled]),
        (view.poses.boxes, expected.boxes),
    ):
        torch.testing.assert_close(found, wanted, rtol=0, atol=1e-3)
    torch.testing.assert_close(view.poses.area, expected.area, rtol=1e-5, atol=0)


@pytest.mark.parametrize("path", CASES)
def test_sizes(path: Path) -> None:
    for width, height, short, longest, *size in np.load(path)["resize_table"].tolist():
        assert detr_size((width, height), short, longest or None) == tuple(size)


@pytest.mark.parametrize("path", CASES)
def test_mirror_crop_and_resize(path: Path) -> None:
    case = np.load(path)
    width, height = case["raw_image_wh"].tolist()
    skeleton = skeleton_of(case)
    view = _View(np.zeros((height, width, 3), np.uint8), poses_of(case, "raw"), np.eye(2, 3))
    assert_people(view.mirrored(skeleton), case, "hflip")
    view = view.cropped(*case["crop_top_left_h_w"].tolist())
    assert_people(view, case, "crop")
    view = view.resized(detr_size(view.size, *case["resize_short_max"].tolist()))
    assert_people(view, case, "resized")
    size = torch.tensor(view.size)
    normalised = torch.from_numpy(case["normalized_keypoints"])[:, : 2 * len(skeleton)]
    torch.testing.assert_close(
        (view.poses.keypoints / size).flatten(1).float(), normalised, rtol=0, atol=1e-6
    )
    torch.testing.assert_close(
        (view.poses.area / size.prod()).float(),
        torch.from_numpy(case["normalized_area"]),
        rtol=1e-5,
        atol=0,
    )


@pytest.mark.parametrize("kind", ["down", "up"])
@pytest.mark.parametrize("path", CASES)
def test_pixels(path: Path, kind: str) -> None:
    case = np.load(path)
    if "pixel_input_uint8" not in case:
        pytest.skip("the case holds no pixels")
    skeleton = skeleton_of(case)
    sample = Sample(case["pixel_input_uint8"], Poses.empty(len(skeleton)), 0, "case")
    resized = resize_sample(sample, DetrResize(*case[f"pixel_{kind}_short_max"].tolist()))
    np.testing.assert_array_equal(resized.image, case[f"pixel_{kind}_uint8"])
    np.testing.assert_allclose(
        collate([resized]).images[0], case[f"pixel_{kind}_normalized_chw"], rtol=0, atol=1e-6
    )
