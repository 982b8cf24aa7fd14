"""COCO keypoints (Lin et al., ECCV 2014), in the layout of the official download."""

from __future__ import annotations

from pathlib import Path

from posebench.data.layout import Layout, SplitFiles
from posebench.skeleton import COCO
from posebench.structures import Protocol

LAYOUT = Layout(
    name="coco",
    title="COCO",
    protocols=(Protocol(COCO),),
    splits=("train", "val", "test-dev"),
    train_split="train",
    eval_split="val",
    tree="coco/{train2017,val2017}/*.jpg  coco/annotations/person_keypoints_{train,val}2017.json",
    images_in={"train": 118_287, "val": 5_000, "test-dev": 20_288},
    source="https://cocodataset.org/#download",
    annotations="annotations/person_keypoints_{split}2017.json",
    images="{split}2017",
    unlabelled={
        "test-dev": SplitFiles(
            Path("test2017"), (Path("annotations/image_info_test-dev2017.json"),)
        )
    },
    submission=(
        "COCO's server scores it: zip it as person_keypoints_test-dev2017_NAME_results.json and "
        "upload it as https://cocodataset.org/#upload says."
    ),
)
