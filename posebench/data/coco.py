"""COCO keypoints (2017), in the layout of the official download."""

from __future__ import annotations

from pathlib import Path

from posebench.data.annotations import read_annotations
from posebench.data.base import FileDataset
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
)


def open_coco(root: Path, split: str, annotations: Path | None) -> FileDataset:
    """Open `coco/` below the data root; `annotations` replaces the split's own file."""
    # With annotations from elsewhere, result files and ideal outputs are scored without images.
    folder = LAYOUT.folder(root, split, needed=annotations is None)
    if annotations is None:
        annotations = LAYOUT.file(folder / "annotations" / f"person_keypoints_{split}2017.json")
    parsed = read_annotations(annotations, COCO)
    return FileDataset("coco", split, COCO, folder / f"{split}2017", parsed)
