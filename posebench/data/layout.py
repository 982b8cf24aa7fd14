"""Layouts: a dataset's files, splits and evaluation, as a plain value free of torch."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from posebench.errors import DataError, UsageError, unknown_name
from posebench.skeleton import Skeleton
from posebench.structures import Protocol

if TYPE_CHECKING:
    from posebench.data.annotations.options import ReadOptions
    from posebench.data.annotations.text import Content
    from posebench.data.base import PoseDataset
    from posebench.ground_truth import GroundTruth


def data_root(named: Path | None) -> Path:
    """Return the folder that contains the datasets: `named`, else `$POSEBENCH_DATA` or `./data`."""
    return named or Path(os.environ.get("POSEBENCH_DATA", "data"))


# Arguments: layout, data root, split, annotation file in place of the split's own, keypoint set.
Opener = Callable[["Layout", Path, str, Path | None, Skeleton | None], "PoseDataset"]


def open_files(
    layout: Layout,
    root: Path,
    split: str,
    annotations: Path | None,
    skeleton: Skeleton | None = None,
) -> PoseDataset:
    """Open one split of a dataset whose files are in COCO's format.

    Args:
        layout: the dataset's layout.
        root: the folder that contains the dataset's folder.
        split: one of the layout's splits.
        annotations: an annotation file to read in place of the split's own.
        skeleton: not used, since the layout has a single keypoint set.

    Raises:
        UsageError: there is no such split.
        DataError: the split's files are missing or wrong.
    """
    from posebench.data.base import FileDataset

    # With annotations from elsewhere, result files can be scored without the dataset's folder.
    folder = layout.folder(root, split, needed=annotations is None)
    own = layout.split_files(folder, split)
    path = annotations or layout.file(own.annotations[0])
    return FileDataset.read(layout, split, own.images, path)


@dataclass(frozen=True)
class SplitFiles:
    """The files of one split."""

    images: Path | None  # folder to which file names are appended; None: found by them
    annotations: tuple[Path, ...]
    others: tuple[Path, ...] = ()  # further folders of which one may have the images

    def image_folder(self, names: Iterable[str], annotations: Path | None = None) -> Path | None:
        """Return the folder of the images; None: none is named, and none is found.

        It is the first of those named that has the images, or else the first of all; without any,
        one that is found by the images' names.

        Args:
            names: a few of the images' file names.
            annotations: the file near which they are looked for; None: the split's first.
        """
        known = [name for name in names if name]
        for folder in filter(None, (self.images, *self.others)):
            if known and all((folder / name).is_file() for name in known):
                return folder
        return self.images or find_image_folder(annotations or self.annotations[0], known)


@dataclass(frozen=True)
class FileChoice:
    """What is said beside a dataset's name about its files, as by `--images`."""

    images: Path | None = None  # the folder of the images
    category: tuple[str | int, ...] = ()  # names or ids of those with the keypoints
    skeleton: Skeleton | None = None  # the keypoints


@dataclass(frozen=True)
class Layout:
    """A dataset: its name, splits, files below the data root, keypoint sets and protocols."""

    name: str
    protocols: tuple[Protocol, ...]  # one for each of its keypoint sets
    splits: tuple[str, ...]
    train_split: str
    eval_split: str
    tree: str  # the expected files, as shell patterns below the data root; empty: none
    source: str  # where to download it
    annotations: str = ""  # the file of a {split}, below the dataset's folder
    images: str = ""  # the folder of a {split}'s images, below the dataset's folder
    # Splits whose annotations are not public, with the list of their images, likewise.
    unlabelled: Mapping[str, SplitFiles] = field(default_factory=dict)
    # Images of the splits as published; those that are not known are left out.
    images_in: Mapping[str, int] = field(default_factory=dict)
    submission: str = ""  # where predictions on these are scored
    chosen: FileChoice = FileChoice()
    # Reads an annotation file into the lists of COCO's format; None: it is in that format.
    read: Callable[[Path], Content] | None = None
    alone: bool = False  # `read` takes everything from the file itself, and none from others
    opener: Opener = open_files
    crowd: float = 0.1  # crowd level of the synthetic images that stand in for it in ablations
    title: str = ""  # its name in the papers' tables; empty: in none

    @property
    def skeletons(self) -> tuple[Skeleton, ...]:
        """The keypoint sets of the dataset."""
        return tuple(protocol.skeleton for protocol in self.protocols)

    @property
    def protocol(self) -> Protocol:
        """The protocol of a dataset with a single keypoint set."""
        [protocol] = self.protocols
        return protocol

    @property
    def reference(self) -> str:
        """What `--dataset` calls it."""
        return self.name

    @property
    def folder_name(self) -> str:
        """The name of its folder below the data root."""
        return self.name

    def files_in(self, folder: Path | None = None) -> dict[str, SplitFiles]:
        """Return the files of the splits whose annotations, or list of images, are in the folder.

        None: the folder of its name below `data_root`.
        """
        folder = folder or data_root(None) / self.folder_name
        files = {split: self.split_files(folder, split) for split in self.splits}
        return {split: own for split, own in files.items() if own.annotations[0].is_file()}

    def split_files(self, folder: Path, split: str) -> SplitFiles:
        """Return where the files of a split are, in the dataset's folder."""
        own = self.unlabelled.get(split) or SplitFiles(
            Path(self.images.format(split=split)), (Path(self.annotations.format(split=split)),)
        )
        images = self.chosen.images or (None if own.images is None else folder / own.images)
        return SplitFiles(images, tuple(folder / path for path in own.annotations))

    def choosing(self, choice: FileChoice) -> Layout:
        """Return the layout with what is said about its files.

        Raises:
            UsageError: it has no files, or other keypoints.
        """
        if not self.tree and (choice.images or choice.category):
            raise UsageError(
                f"{self.name} makes its own images: leave out --images and --category."
            )
        protocols = self.protocols
        if choice.skeleton is not None:
            protocols = tuple(p for p in protocols if p.skeleton == choice.skeleton)
        if not protocols:
            own = " or ".join(skeleton.name for skeleton in self.skeletons)
            raise UsageError(
                f"{self.name} has the keypoints of {own}: leave out --skeleton. Of another "
                "dataset, give the path of its annotation file as --dataset."
            )
        return replace(self, protocols=protocols, chosen=choice)

    @property
    def skeleton(self) -> Skeleton | None:
        """The keypoint set of a dataset that has a single one; None: that of its files."""
        return self.protocol.skeleton

    @property
    def reading(self) -> ReadOptions:
        """How its annotation files are read."""
        from posebench.data.annotations.options import ReadOptions

        return ReadOptions(self.chosen.category, area=self.protocol.area_of_box or "auto")

    def read_file(self, path: Path, spare: Skeleton | None = None) -> GroundTruth:
        """Read an annotation file of the dataset.

        Args:
            path: the file.
            spare: the keypoints, where neither the layout nor the file names them.

        Raises:
            DataError: it is missing or wrong.
        """
        from posebench.data.annotations import read_as

        return read_as(
            path, self.skeleton, self.reading, read=self.read, spare=spare, name=self.name,
            alone=self.read is None or self.alone,
        )  # fmt: skip

    def open(
        self,
        root: Path | None,
        split: str,
        annotations: Path | None = None,
        skeleton: Skeleton | None = None,
    ) -> PoseDataset:
        """Open one split; see `posebench.data.open_dataset`."""
        return self.opener(self, data_root(root), split, annotations, skeleton)

    def folder(self, root: Path, split: str, *, needed: bool) -> Path:
        """Return the dataset's folder below the root.

        Raises:
            UsageError: there is no such split.
            DataError: the folder is `needed` and missing.
        """
        if split not in self.splits:
            raise unknown_name(f"split of {self.name}", split, self.splits)
        folder = root / self.folder_name
        if needed and not folder.is_dir():
            raise DataError(
                f"The folder {folder} is not there: get {self.name} from {self.source}, lay it out "
                f"as {self.tree}, and name the folder that contains {self.folder_name}/ with "
                "--data-root."
            )
        return folder

    def file(self, path: Path) -> Path:
        """Return the path of a file that belongs to the layout.

        Raises:
            DataError: the file is missing.
        """
        if not path.is_file():
            raise DataError(
                f"The file {path} is not there: {self.name} is expected as {self.tree}; "
                "choose another --split, or name a file with --annotations."
            )
        return path


def find_image_folder(annotations: Path, names: Iterable[str]) -> Path | None:
    """Return the folder in which the images of an annotation file lie; None: it is not found.

    Args:
        annotations: the file.
        names: a few of the images' file names.
    """
    here = annotations.parent
    above = here.parent
    stem = annotations.stem
    stems = [stem, stem.replace("annotations", "images"), *re.split(r"[^A-Za-z0-9]+", stem)]
    folders = [
        here, here / "images", here / "data", above / "images", above,
        *(place / name for place in (here, above, above / "images") for name in stems if name),
    ]  # fmt: skip
    known = [name for name in names if name]

    def has_them(folder: Path) -> bool:
        return bool(known) and all((folder / name).is_file() for name in known)

    for folder in dict.fromkeys(folders):
        if has_them(folder):
            return folder
    # Under any other name, if a single folder has them: `frames`, `rgb`, ... beside the file, or
    # beside the folder of annotations; there, images of another split may have the same names.
    beside = _folders(here)
    if here.name in ("annotations", "labels") and not any(map(has_them, beside)):
        own = _splits_named(stem)
        beside = [folder for folder in _folders(above) if _splits_named(folder.name) <= own]
    found = [folder for folder in beside if has_them(folder)]
    return found[0] if len(found) == 1 else None


def _folders(place: Path) -> list[Path]:
    return [folder for folder in place.iterdir() if folder.is_dir()]


def _splits_named(name: str) -> set[str]:
    words = set(re.findall("[a-z]+", name.lower()))
    return words & {"train", "val", "valid", "validation", "test"}


def refuse_annotations(layout: Layout, annotations: Path | None) -> None:
    """Raise a UsageError if annotations are given for a dataset that makes its own."""
    if annotations is not None:
        raise UsageError(f"{layout.name} makes its own annotations: leave out --annotations.")
