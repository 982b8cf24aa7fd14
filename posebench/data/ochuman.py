"""OCHuman (Zhang et al., CVPR 2019), in the layout of the official download.

It has no training split: CID trains on val and evaluates on test, or trains on COCO and evaluates
on both.
"""

from __future__ import annotations

from posebench.data.layout import Layout
from posebench.skeleton import COCO
from posebench.structures import Protocol

LAYOUT = Layout(
    name="ochuman",
    title="OCHuman",
    protocols=(Protocol(COCO),),
    splits=("val", "test"),
    train_split="val",
    eval_split="test",
    tree=(
        "ochuman/images/*.jpg  "
        "ochuman/annotations/ochuman_coco_format_{val,test}_range_0.00_1.00.json"
    ),
    images_in={"val": 2_500, "test": 2_231},
    source="https://github.com/liruilong940607/OCHumanApi",
    annotations="annotations/ochuman_coco_format_{split}_range_0.00_1.00.json",
    images="images",
    crowd=0.8,
)
