"""Datasets by name.

A layout is a plain value, so listing datasets is fast; the readers, which need torch, are imported
when a dataset is opened.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from posebench._lazy import lazy_names
from posebench.data import coco, crowdpose, mpii, ochuman, synthetic
from posebench.data.layout import Layout
from posebench.errors import UsageError, unknown_name
from posebench.skeleton import Skeleton

if TYPE_CHECKING:
    from posebench.data.base import PoseDataset

DATASETS = (coco, crowdpose, mpii, ochuman, synthetic)
# Images as they are stored, as the published loaders read them, or turned as EXIF says.
EXIF = ("stored", "upright")
LAYOUTS: dict[str, Layout] = {dataset.LAYOUT.name: dataset.LAYOUT for dataset in DATASETS}

__all__ = [
    "DATASETS",
    "EXIF",
    "LAYOUTS",
    "PoseDataset",
    "check_exif",
    "data_root",
    "find_layout",
    "open_dataset",
    "read_upright",
]

__getattr__ = lazy_names(__name__, base=("PoseDataset",))


def find_layout(name: str) -> Layout:
    """Return the layout of a dataset.

    Raises:
        UsageError: there is no dataset of this name.
    """
    if name not in LAYOUTS:
        raise UsageError(
            f"{unknown_name('dataset', name, LAYOUTS)} For images of your own, lay them out like "
            "one of these with the same keypoints, or give a file in its format with "
            "--annotations: see docs/data.md."
        )
    return LAYOUTS[name]


def check_exif(exif: str) -> str:
    """Return how images with an EXIF orientation are read: `stored` or `upright`.

    Raises:
        UsageError: it is neither of them.
    """
    if exif not in EXIF:
        raise unknown_name("reading of the EXIF orientation (--exif)", exif, EXIF)
    return exif


def data_root(named: Path | None) -> Path:
    """Return the folder that contains the datasets: `named`, else `$POSEBENCH_DATA` or `./data`."""
    return named or Path(os.environ.get("POSEBENCH_DATA", "data"))


def open_dataset(
    name: str,
    split: str,
    *,
    root: Path | None = None,
    annotations: Path | None = None,
    skeleton: Skeleton | None = None,
    exif: str = "stored",
) -> PoseDataset:
    """Open one split of a dataset.

    Args:
        name: one of `LAYOUTS`.
        split: one of the layout's splits.
        root: the folder that contains the dataset's folder; None: see `data_root`.
        annotations: an annotation file to read in place of the split's own.
        skeleton: the keypoint set, for a dataset with several; None: its first.
        exif: `upright` turns images as their EXIF orientation says; `stored` ignores it, as the
            published loaders do.

    Raises:
        UsageError: the dataset or the split does not exist, or an option does not apply to it.
        DataError: the dataset's files are missing or wrong.
    """
    check_exif(exif)
    dataset = find_layout(name).open(data_root(root), split, annotations, skeleton)
    return read_upright(dataset) if exif == "upright" else dataset


def read_upright(dataset: PoseDataset) -> PoseDataset:
    """Return a dataset whose images are turned as their EXIF orientation says.

    Raises:
        UsageError: it has no image files.
    """
    from posebench.data.base import FileDataset

    if not isinstance(dataset, FileDataset):
        raise UsageError(f"{dataset.name} makes its own images: leave out --exif.")
    dataset.upright = True
    return dataset
