"""Reading and warping real images against the published loader, case by case.

The published loader read and warped with OpenCV 5.0; its annotations and augmentation are stored.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from posebench.data import open_dataset
from posebench.data.base import PoseDataset
from posebench.layers.heatmaps import cell_poses
from posebench.models.cid.recipes import STRIDE
from posebench.preprocess import IMAGENET_STD, NetworkInput, collate, warp_sample
from posebench.structures import Sample
from tests.parity.fixtures import cases

# Where the photographs of the cases may be: dataset, split, annotation file below shared_data.
PLACES = {
    17: (("coco", "train", None), ("coco", "val", None)),
    14: (("crowdpose", "val", "crowdpose/annotations/crowdpose_sample.json"),),
}


def find(case: Any, root: Path) -> tuple[PoseDataset, int]:
    """Return the dataset and index of the case's photograph; skip the test without it."""
    for dataset, split, file in PLACES[case["ann_keypoints"].shape[1]]:
        path = root / file if file else None
        opened = open_dataset(dataset, split, root=root, annotations=path)
        ids = [image["id"] for image in opened.ground_truth().to_coco()["images"]]
        if case["image_id"] in ids:
            return opened, ids.index(case["image_id"])
    pytest.skip("the case's photograph is not among the real images")


@pytest.fixture(params=[pytest.param(p, id=p.stem) for p in cases("cid", "targets_*.npz")])
def case(request: pytest.FixtureRequest) -> Any:
    return np.load(request.param)


@pytest.fixture
def sample(case: Any, shared_data: Path) -> Sample:
    dataset, index = find(case, shared_data)
    return dataset.load(index)


@pytest.fixture
def warped(case: Any, shared_data: Path) -> NetworkInput:
    dataset, index = find(case, shared_data)
    return warp_sample(
        dataset.load(index),
        case["mat_input"],
        (int(case["input_size"]),) * 2,
        mirror_with=dataset.skeleton if case["aug_flip"] else None,
        mask_strides=(STRIDE,),
    )


def test_the_reader_finds_the_published_people(case: Any, sample: Sample) -> None:
    assert sample.size == tuple(case["image_size_wh"])
    poses = sample.poses
    triples = torch.cat([poses.keypoints, poses.visibility[..., None]], -1)
    np.testing.assert_array_equal(triples.numpy(), case["ann_keypoints"])
    corners = torch.from_numpy(case["ann_bbox_xywh"])
    np.testing.assert_array_equal(poses.boxes[:, 0].numpy(), corners[:, :2])
    np.testing.assert_allclose((poses.boxes[:, 3] - poses.boxes[:, 0]).numpy(), corners[:, 2:])


def test_the_warp_moves_people_as_published(case: Any, warped: NetworkInput) -> None:
    (cells,) = cell_poses(collate([warped]), STRIDE)
    expected = case["keypoints"]
    labelled = expected[..., 2] > 0
    np.testing.assert_array_equal(cells.visibility.numpy(), expected[..., 2])
    np.testing.assert_allclose(
        cells.keypoints.numpy()[labelled], expected[labelled][:, :2], rtol=0, atol=1e-4
    )
    np.testing.assert_allclose(cells.boxes.numpy(), case["bboxes"], rtol=0, atol=1e-4)


def test_the_mask_is_the_published_one(case: Any, warped: NetworkInput) -> None:
    np.testing.assert_array_equal(warped.masks[STRIDE], case["multi_mask"][0].astype(bool))


def test_the_image_is_the_published_one(case: Any, warped: NetworkInput) -> None:
    if "image" not in case:
        pytest.skip("the case holds no pixels")
    found = collate([warped]).images[0].numpy()
    std = np.array(IMAGENET_STD)[:, None, None]
    # Equal to the last bit with OpenCV 5; other versions may round the warp's weights otherwise.
    grey_levels = np.abs(found - case["image"]) * std * 255
    assert found.shape == case["image"].shape
    assert np.mean(grey_levels <= 2.001) >= 0.999
