"""Datasets by name, and the batches that training and testing draw from them."""

from __future__ import annotations

import os
from pathlib import Path

from posebench.data import coco, crowdpose, mpii, ochuman, synthetic
from posebench.data.base import GroundTruth, PoseDataset
from posebench.data.layout import Layout
from posebench.errors import UsageError, unknown_name
from posebench.structures import Skeleton

LAYOUTS: dict[str, Layout] = {
    dataset.LAYOUT.name: dataset.LAYOUT for dataset in (coco, crowdpose, mpii, ochuman, synthetic)
}

__all__ = ["LAYOUTS", "GroundTruth", "PoseDataset", "data_root", "find_layout", "open_dataset"]


def find_layout(name: str) -> Layout:
    """Return the dataset's layout.

    Raises:
        UsageError: no such dataset.
    """
    if name not in LAYOUTS:
        raise unknown_name("dataset", name, LAYOUTS)
    return LAYOUTS[name]


def data_root(named: Path | None) -> Path:
    """Return where datasets lie: as named, else `POSEBENCH_DATA`, else `./data`."""
    return named or Path(os.environ.get("POSEBENCH_DATA", "data"))


def open_dataset(
    name: str,
    split: str,
    *,
    root: Path | None = None,
    annotations: Path | None = None,
    skeleton: Skeleton | None = None,
) -> PoseDataset:
    """Open one split of a dataset.

    Args:
        name: one of `LAYOUTS`.
        split: one of the layout's splits.
        root: the folder that holds the dataset's; see `data_root`.
        annotations: a file to read instead of the split's own.
        skeleton: the keypoint set wanted from a dataset that has several.

    Raises:
        UsageError: the dataset or the split does not exist, or the options do not fit it.
        DataError: its files are not there or wrong.
    """
    layout = find_layout(name)
    if layout is synthetic.LAYOUT:
        if annotations is not None:
            raise UsageError(f"{name} makes its own annotations: leave out --annotations.")
        return synthetic.open_synthetic(split, skeleton or layout.skeletons[0])
    openers = {
        "coco": coco.open_coco,
        "crowdpose": crowdpose.open_crowdpose,
        "mpii": mpii.open_mpii,
        "ochuman": ochuman.open_ochuman,
    }
    return openers[name](data_root(root), split, annotations)
