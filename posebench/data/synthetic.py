"""The layout of the built-in synthetic crowds, which are generated on the fly without files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from posebench.data import coco, crowdpose, mpii
from posebench.data.layout import Layout, refuse_annotations
from posebench.skeleton import Skeleton

if TYPE_CHECKING:
    from posebench.data.base import PoseDataset


def open_synthetic(
    layout: Layout, root: Path, split: str, annotations: Path | None, skeleton: Skeleton | None
) -> PoseDataset:
    """Open a split with a keypoint set, by default COCO's; `root` is not used.

    Raises:
        UsageError: there is no such split, or an annotation file is given.
    """
    from posebench.data.synthetic_crowds import SyntheticCrowds

    refuse_annotations(layout, annotations)
    several = len(layout.skeletons) > 1
    return SyntheticCrowds((several and skeleton) or layout.skeletons[0], split)


LAYOUT = Layout(
    name="synthetic",
    # Evaluated like the dataset whose keypoints are annotated.
    protocols=(coco.LAYOUT.protocol, crowdpose.LAYOUT.protocol, mpii.LAYOUT.protocol),
    splits=("train", "val"),
    train_split="train",
    eval_split="val",
    tree="",
    source="generated on the fly",
    opener=open_synthetic,
)
