"""Synthetic crowds written in the official layouts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from posebench.data import open_dataset
from posebench.data.synthetic_crowds import SyntheticCrowds
from posebench.data.synthetic_files import write_synthetic
from posebench.errors import PosebenchError, UsageError


@pytest.mark.parametrize(
    ("layout", "splits"),
    [
        ("coco", {"train": 8, "val": 2}),
        ("crowdpose", {"train": 5, "val": 1, "test": 4}),
        ("mpii", {"train": 8, "val": 2}),
        ("ochuman", {"val": 5, "test": 5}),
    ],
)
def test_written_files_read_back_as_the_dataset(
    tmp_path: Path, layout: str, splits: dict[str, int]
) -> None:
    written = write_synthetic(tmp_path, 10, layout, crowd=0.4)
    assert written.images == splits
    ids = []
    for split, count in splits.items():
        dataset = open_dataset(layout, split, root=tmp_path)
        assert len(dataset) == count
        assert len(dataset.ground_truth().to_coco()["annotations"]) == written.people[split]
        ids += [dataset.load(index).image_id for index in range(count)]
    assert len(set(ids)) == 10
    first = SyntheticCrowds(dataset.skeleton, "train", crowd=0.4).load(0)
    sample = open_dataset(layout, next(iter(splits)), root=tmp_path).load(0)
    assert torch.equal(sample.poses.keypoints, first.poses.keypoints)
    torch.testing.assert_close(sample.poses.area, first.poses.area)
    difference = np.abs(sample.image.astype(int) - first.image.astype(int))
    assert difference.mean() < 4  # JPEG


def test_written_head_boxes_are_as_large_as_heads(tmp_path: Path) -> None:
    write_synthetic(tmp_path, 4, "mpii", crowd=0.6)
    people = open_dataset("mpii", "train", root=tmp_path).ground_truth().to_coco()["annotations"]
    assert people
    for person in people:
        x1, y1, x2, y2 = person["headbox_xyxy"]
        height = max(person["bbox"][2:])
        assert 0.02 * height < x2 - x1 < 0.5 * height
        assert x2 - x1 == pytest.approx(y2 - y1)
        assert person["bbox"][0] - height < x1 < person["bbox"][0] + person["bbox"][2]


def test_every_split_gets_an_image(tmp_path: Path) -> None:
    assert write_synthetic(tmp_path, 3, "crowdpose").images == {"train": 1, "val": 1, "test": 1}


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "coco").write_text("a file in the way")
    with pytest.raises(PosebenchError, match="cannot be written"):
        write_synthetic(tmp_path, 3, "coco")


def test_an_unknown_layout_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="crowdpose"):
        write_synthetic(tmp_path, 3, "crowdpos")
