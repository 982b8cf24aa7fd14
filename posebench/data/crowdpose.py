"""CrowdPose (Li et al., CVPR 2019), in the layout of the official download."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from posebench.data.base import FileDataset, GroundTruth, open_files
from posebench.data.layout import Layout
from posebench.structures import CROWDPOSE

LAYOUT = Layout(
    name="crowdpose",
    skeletons=(CROWDPOSE,),
    splits=("train", "val", "trainval", "test"),
    train_split="trainval",
    eval_split="test",
    tree="crowdpose/images/*.jpg  crowdpose/annotations/crowdpose_{train,val,test}.json",
    source="https://github.com/jeffffffli/CrowdPose",
    annotations="annotations/crowdpose_{split}.json",
    images="images",
)

# The official evaluation reads no `area`: a person's is this share of its box.
AREA_OF_BOX = 0.53


class CrowdPose(FileDataset):
    def area(self, annotation: dict[str, Any]) -> float:
        _, _, width, height = annotation["bbox"]
        return AREA_OF_BOX * float(width) * float(height)


def open_crowdpose(root: Path, split: str, annotations: Path | None) -> FileDataset:
    """Open `crowdpose/` below the data root; `annotations` replaces the split's own file."""
    folder = root / LAYOUT.name
    joint = folder / LAYOUT.annotations.format(split="trainval")
    if split != "trainval" or annotations is not None or joint.exists():
        return open_files(LAYOUT, root, split, annotations, CrowdPose)
    # Not every mirror has the joint file, but it is no more than its two parts.
    parts = [open_files(LAYOUT, root, part, None).ground_truth() for part in ("train", "val")]
    return CrowdPose(LAYOUT.name, split, CROWDPOSE, folder / LAYOUT.images, _together(parts))


def _together(parts: list[GroundTruth]) -> GroundTruth:
    annotations = [a for part in parts for a in part["annotations"]]
    return {
        **parts[0],
        "images": [image for part in parts for image in part["images"]],
        # The two files may number their annotations alike.
        "annotations": [{**a, "id": number} for number, a in enumerate(annotations, start=1)],
    }
