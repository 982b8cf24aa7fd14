"""Datasets by name.

A layout is a plain value, so listing datasets is fast; the readers, which need torch, are imported
when a dataset is opened.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from posebench._lazy import lazy_names
from posebench.data import coco, crowdpose, mpii, ochuman, synthetic
from posebench.data.described import (
    DescribedLayout,
    describe_path,
    find_skeleton,
    is_path,
)
from posebench.data.layout import FileChoice, Layout, data_root
from posebench.data.public import public_layouts
from posebench.errors import DataError, UsageError, unknown_name
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
    "FileChoice",
    "PoseDataset",
    "check_exif",
    "choose_files",
    "data_root",
    "find_layout",
    "is_described",
    "like_dataset",
    "open_dataset",
    "read_upright",
]

__getattr__ = lazy_names(__name__, base=("PoseDataset",))


def find_layout(name: str, choice: FileChoice | None = None) -> Layout:
    """Return the layout of a dataset.

    Args:
        name: one of `LAYOUTS`, or the path of a dataset.toml, an annotation file or a folder.
        choice: what is said beside its name about its files; None: nothing.

    Raises:
        UsageError: there is no dataset of this name, or the choice does not fit it.
        DataError: nothing is at this path, or nothing that is recognised.
    """
    if choice is not None:
        return find_layout(name).choosing(choice)
    if name in LAYOUTS:
        return LAYOUTS[name]
    if is_path(name) or Path(name).is_dir():
        return describe_path(name)
    raise UsageError(
        f"{unknown_name('dataset', name, LAYOUTS)} For a dataset of your own, give the path of its "
        "dataset.toml, annotation file or folder: see docs/datasets.md."
    )


def choose_files(
    images: str | Path | None,
    category: Sequence[str | int] | str,
    skeleton: str | Skeleton | None,
) -> FileChoice | None:
    """Return what is said about a dataset's files; None: nothing.

    Args:
        images: the folder of the images.
        category: names or ids of the categories that have the keypoints.
        skeleton: the keypoints, the name of a built-in set, or the path of a TOML file.

    Raises:
        UsageError: there is no such keypoint set.
        DataError: its file is missing or wrong, or the folder is missing.
    """
    named = (category,) if isinstance(category, str) else tuple(category)
    if images is None and not named and skeleton is None:
        return None
    folder = None if images is None else Path(images).expanduser()
    if folder is not None and not folder.is_dir():
        raise DataError(f"Expected the folder of the images at {folder}, but none is there.")
    keypoints = find_skeleton(skeleton) if isinstance(skeleton, str) else skeleton
    return FileChoice(folder, named, keypoints)


def like_dataset(name: str, choice: FileChoice | None = None) -> str:
    """Return the built-in dataset whose default recipes suit a dataset.

    It is the dataset itself, or that of a described dataset's keypoints, or COCO.

    Args:
        name, choice: as for `find_layout`.

    Raises:
        UsageError, DataError: as `find_layout` and `open_dataset`.
    """
    layout = find_layout(name, choice)
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
    choice: FileChoice | None = None,
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
        choice: as for `find_layout`.

    Raises:
        UsageError: the dataset or the split does not exist, or an option does not apply to it.
        DataError: the dataset's files are missing or wrong.
    """
    check_exif(exif)
    dataset = find_layout(name, choice).open(root, split, annotations, skeleton)
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
