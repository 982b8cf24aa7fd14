"""Datasets by name, as the other functions of the API open them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from posebench.data import FileChoice, choose_files, find_layout

if TYPE_CHECKING:
    from posebench.data import PoseDataset
    from posebench.skeleton import Skeleton


def open_dataset(
    name: str,
    split: str | None = None,
    *,
    data_root: str | Path | None = None,
    annotations: str | Path | None = None,
    images: str | Path | None = None,
    category: str | Sequence[str | int] = (),
    skeleton: str | Skeleton | None = None,
    exif: str = "stored",
    limit: int | None = None,
) -> PoseDataset:
    """Open one split of a dataset.

    Args:
        name: as `posebench data list` shows it, or the path of a dataset.toml, an annotation file
            or a folder.
        split: None: the one that models are usually evaluated on.
        data_root: the folder that contains the dataset folders; None: `$POSEBENCH_DATA`, else
            `./data`.
        annotations: a file to read in place of the split's own.
        images: the folder of the images; None: where the dataset has them, or beside the file.
        category: names or ids of the categories to read, where a file has several.
        skeleton: the keypoints, where the file does not name them: the name of a built-in set, the
            path of a TOML file, or a `Skeleton`.
        exif: `upright` turns images as their EXIF orientation says; `stored` ignores it, as the
            published loaders do.
        limit: take this many images at most, the first ones.

    Raises:
        UsageError: the dataset or the split does not exist, or the options do not fit it.
        DataError: its files are missing or wrong.
    """
    choice = choose_files(images, category, skeleton)
    return open_chosen(name, split, choice, None, data_root, annotations, exif, limit)


def open_chosen(
    name: str, split: str | None, choice: FileChoice | None, spare: Skeleton | None,
    data_root: str | Path | None, annotations: str | Path | None, exif: str, limit: int | None,
) -> PoseDataset:  # fmt: skip
    """Open a split; `spare` are a model's keypoints, where the dataset leaves its own open."""
    from posebench.data import open_dataset as open_split

    dataset = open_split(
        name,
        split or find_layout(name).eval_split,
        root=Path(data_root) if data_root else None,
        annotations=Path(annotations) if annotations else None,
        skeleton=spare,
        exif=exif,
        choice=choice,
    )
    return dataset if limit is None else first_images(dataset, limit)


def first_images(dataset: PoseDataset, limit: int) -> PoseDataset:
    """Return a dataset's first images, at most so many."""
    from posebench.data.limited import FirstImages

    return FirstImages(dataset, limit)
