"""CrowdPose (Li et al., CVPR 2019), in the layout of the official download."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from posebench.data.annotations import read_annotations
from posebench.data.base import FileDataset, GroundTruth
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
)

# The official evaluation reads no `area`: a person's is this share of its box.
AREA_OF_BOX = 0.53


class CrowdPose(FileDataset):
    def area(self, annotation: dict[str, Any]) -> float:
        _, _, width, height = annotation["bbox"]
        return AREA_OF_BOX * float(width) * float(height)


def open_crowdpose(root: Path, split: str, annotations: Path | None) -> FileDataset:
    """Open `crowdpose/` below the data root; `annotations` replaces the split's own file."""
    # With annotations from elsewhere, result files and ideal outputs are scored without images.
    folder = LAYOUT.folder(root, split, needed=annotations is None)
    if annotations is not None:
        parsed = read_annotations(annotations, CROWDPOSE)
    else:
        parsed = _read_split(folder / "annotations", split)
    return CrowdPose("crowdpose", split, CROWDPOSE, folder / "images", parsed)


def _read_split(folder: Path, split: str) -> GroundTruth:
    path = folder / f"crowdpose_{split}.json"
    if split != "trainval" or path.exists():
        return read_annotations(LAYOUT.file(path), CROWDPOSE)
    # Not every mirror has the joint file, but it is no more than its two parts.
    parts = [
        read_annotations(LAYOUT.file(folder / f"crowdpose_{part}.json"), CROWDPOSE)
        for part in ("train", "val")
    ]
    annotations = [a for part in parts for a in part["annotations"]]
    return {
        **parts[0],
        "images": [image for part in parts for image in part["images"]],
        # The two files may number their annotations alike.
        "annotations": [{**a, "id": number} for number, a in enumerate(annotations, start=1)],
    }
