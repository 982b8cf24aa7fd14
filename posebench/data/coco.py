"""COCO keypoints (Lin et al., ECCV 2014), in the layout of the official download."""

from __future__ import annotations

from posebench.data.layout import Layout
from posebench.skeleton import COCO
from posebench.structures import Protocol

LAYOUT = Layout(
    name="coco",
    title="COCO",
    protocols=(Protocol(COCO),),
    splits=("train", "val"),
    train_split="train",
    eval_split="val",
    tree="coco/{train2017,val2017}/*.jpg  coco/annotations/person_keypoints_{train,val}2017.json",
    source="https://cocodataset.org/#download",
    annotations="annotations/person_keypoints_{split}2017.json",
    images="{split}2017",
)
