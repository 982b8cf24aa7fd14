"""Datasets by name.

A layout is a plain value, so listing datasets is fast; the readers, which need torch, are imported
when a dataset is opened.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from posebench._lazy import lazy_names
from posebench.data import coco, crowdpose, mpii, ochuman, synthetic
from posebench.data.described import DescribedLayout, describe_path, is_path
from posebench.data.layout import Layout, data_root
from posebench.data.public import public_layouts
from posebench.errors import UsageError, unknown_name
from posebench.skeleton import SKELETONS, Skeleton

if TYPE_CHECKING:
    from posebench.data.base import PoseDataset

DATASETS = (coco, crowdpose, mpii, ochuman, synthetic)
# Images as they are stored, as the published loaders read them, or turned as EXIF says.
EXIF = ("stored", "upright")
LAYOUTS: dict[str, Layout] = {
    layout.name: layout for layout in (*(one.LAYOUT for one in DATASETS), *public_layouts())
}

__all__ = [
    "DATASETS",
    "EXIF",
    "LAYOUTS",
    "PoseDataset",
    "check_exif",
    "data_root",
    "find_layout",
    "is_described",
    "like_dataset",
    "open_dataset",
    "read_upright",
]

__getattr__ = lazy_names(__name__, base=("PoseDataset",))


def find_layout(name: str) -> Layout:
    """Return the layout of a dataset.

    Args:
        name: one of `LAYOUTS`, or the path of a dataset.toml, an annotation file or a folder.

    Raises:
        UsageError: there is no dataset of this name.
        DataError: nothing is at this path, or nothing that is recognised.
    """
    if name in LAYOUTS:
        return LAYOUTS[name]
    if is_path(name) or Path(name).is_dir():
        return describe_path(name)
    raise UsageError(
        f"{unknown_name('dataset', name, LAYOUTS)} For a dataset of your own, give the path of its "
        "dataset.toml, annotation file or folder: see docs/datasets.md."
    )


def like_dataset(name: str) -> str:
    """Return the built-in dataset whose default recipes suit a dataset.

    It is the dataset itself, or that of a described dataset's keypoints, or COCO.

    Args:
        name: as for `find_layout`.

    Raises:
        UsageError, DataError: as `find_layout` and `open_dataset`.
    """
    layout = find_layout(name)
    if not isinstance(layout, DescribedLayout):
        return layout.name
    skeleton = layout.skeleton or layout.open(None, layout.train_split).skeleton
    return skeleton.name if SKELETONS.get(skeleton.name) == skeleton else "coco"


def is_described(dataset: PoseDataset) -> bool:
    """Return whether a dataset is read by a description, a user's own or one of the package.

    Recipes are adapted to its keypoints.
    """
    known = LAYOUTS.get(dataset.reference)
    if known is None:
        return dataset.reference != dataset.name
    return isinstance(known, DescribedLayout)


def check_exif(exif: str) -> str:
    """Return how images with an EXIF orientation are read: `stored` or `upright`.

    Raises:
        UsageError: it is neither of them.
    """
    if exif not in EXIF:
        raise unknown_name("reading of the EXIF orientation (--exif)", exif, EXIF)
    return exif


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
        name: as for `find_layout`.
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
    dataset = find_layout(name).open(root, split, annotations, skeleton)
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
