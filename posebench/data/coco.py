"""COCO keypoints (2017), in the layout of the official download."""

from __future__ import annotations

from pathlib import Path

from posebench.data.base import FileDataset, open_files
from posebench.data.layout import Layout
from posebench.structures import COCO

LAYOUT = Layout(
    name="coco",
    skeletons=(COCO,),
    splits=("train", "val"),
    train_split="train",
    eval_split="val",
    tree="coco/{train2017,val2017}/*.jpg  coco/annotations/person_keypoints_{train,val}2017.json",
    source="https://cocodataset.org/#download",
    annotations="annotations/person_keypoints_{split}2017.json",
    images="{split}2017",
)


def open_coco(root: Path, split: str, annotations: Path | None) -> FileDataset:
    """Open `coco/` below the data root; `annotations` replaces the split's own file."""
    return open_files(LAYOUT, root, split, annotations)
