"""CrowdPose (Li et al., CVPR 2019), in the layout of the official download."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from posebench.data.layout import Layout, open_files
from posebench.skeleton import CROWDPOSE, Skeleton
from posebench.structures import Protocol

if TYPE_CHECKING:
    from posebench.data.base import PoseDataset

# The official evaluation ignores `area` and takes this share of the box's area.
AREA_OF_BOX = 0.53


def open_crowdpose(
    layout: Layout, root: Path, split: str, annotations: Path | None, skeleton: Skeleton | None
) -> PoseDataset:
    """Open a split; without a file of its own, trainval is joined from train and val."""
    folder = root / layout.name
    joint = folder / layout.annotations.format(split="trainval")
    if split != "trainval" or annotations is not None or joint.exists():
        return open_files(layout, root, split, annotations)
    from posebench.data.base import FileDataset
    from posebench.ground_truth import join

    parts = [open_files(layout, root, part, None).ground_truth() for part in ("train", "val")]
    return FileDataset(layout.name, split, layout.protocol, folder / layout.images, join(parts))


LAYOUT = Layout(
    name="crowdpose",
    title="CrowdPose",
    # The limits of crowdIndex are the official tool's; the paper's first one is usually quoted as
    # 0.1.
    protocols=(Protocol(CROWDPOSE, area_of_box=AREA_OF_BOX, crowd_index=(0.2, 0.8)),),
    splits=("train", "val", "trainval", "test"),
    train_split="trainval",
    eval_split="test",
    tree="crowdpose/images/*.jpg  crowdpose/annotations/crowdpose_{train,val,test}.json",
    images_in={"train": 10_000, "val": 2_000, "trainval": 12_000, "test": 8_000},
    source="https://github.com/jeffffffli/CrowdPose",
    annotations="annotations/crowdpose_{split}.json",
    images="images",
    opener=open_crowdpose,
    crowd=0.4,
)
