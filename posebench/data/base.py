"""The interface of datasets, and datasets of image files with annotations."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray
from pycocotools import mask as rle
from torch import Tensor

from posebench.data.image_files import check_size, fit_size, read_image, read_size
from posebench.data.layout import Layout, find_image_folder
from posebench.errors import DataError, Notice, UsageError
from posebench.ground_truth import GroundTruth, Indices
from posebench.skeleton import Skeleton
from posebench.structures import Poses, Protocol, Sample, box_corners


class PoseDataset(ABC):
    """One split of a dataset: its images with annotated people, and its evaluation protocol."""

    name: str
    split: str
    skeleton: Skeleton  # the annotated keypoints
    protocol: Protocol  # how predictions are evaluated
    submission: str = ""  # where predictions are scored if the annotations are not public
    seed: int | None = None  # of drawn images; None: they are files

    @property
    def reference(self) -> str:
        """What `--dataset` calls it: its name, or the path of its description."""
        return self.name

    @property
    def facts(self) -> Mapping[str, str]:
        """What is printed with results on it, by name: whence sigmas and areas, licence."""
        return {}

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def load(self, index: int, *, pixels: bool = True) -> Sample:
        """Return one image with its annotated people.

        Args:
            index: from 0 to `len(self) - 1`.
            pixels: False: the image has the right size, but its content is undefined.

        Raises:
            DataError: the image is missing or damaged.
        """

    @abstractmethod
    def ground_truth(self) -> GroundTruth:
        """Return the annotations of all images."""

    @abstractmethod
    def fingerprint(self) -> str:
        """Return a string that differs whenever the annotations differ; fast to compute."""

    def contents(self) -> str:
        """Return a string that differs whenever annotations, image names or ids differ.

        By it a resumed run recognises its data, wherever they lie.
        """
        return self.fingerprint()

    def scored_contents(self) -> str:
        """Return a string that differs whenever anything that scores depend on differs."""
        return self.contents()

    @abstractmethod
    def labelled(self) -> list[int]:
        """Return the indices of the images to train on: those with a labelled keypoint."""


class FileDataset(PoseDataset):
    """Images in a folder, with their annotations."""

    upright = False  # turn images as their EXIF orientation says, which published loaders do not

    def __init__(
        self,
        name: str,
        split: str,
        protocol: Protocol,
        folder: Path | None,
        truth: GroundTruth,
        *,
        path: Path | None = None,
        reference: str = "",
        submission: str = "",
        facts: Mapping[str, str] | None = None,
    ) -> None:
        """Create a dataset.

        Args:
            name: the dataset's name.
            split: the split's name.
            protocol: how predictions are evaluated.
            folder: the folder of the images; None: it was not found.
            truth: their annotations; sizes that are missing are read from the image files.
            path: of the annotations, for messages.
            reference: what `--dataset` calls it; empty: its name.
            submission: where predictions are scored if the annotations are not public.
            facts: what is printed with results on it.
        """
        self.name = name
        self.split = split
        self.skeleton, self.protocol = truth.skeleton, protocol
        self.submission = submission
        self._folder, self._path = folder, path
        self._truth = truth
        self._reference = reference or name
        self._facts = facts or {}

    @property
    def reference(self) -> str:
        return self._reference

    @property
    def facts(self) -> Mapping[str, str]:
        return self._facts

    @classmethod
    def read(cls, layout: Layout, split: str, folder: Path | None, path: Path) -> FileDataset:
        """Return a split whose annotations are read from a file.

        Args:
            layout: the dataset's layout.
            split: the split's name.
            folder: the folder of the images, unless they lie beside the annotations.
            path: the annotation file.

        Raises:
            DataError: the annotation file is missing or wrong.
        """
        truth = layout.read_file(path)
        if folder is None or not folder.is_dir():
            folder = find_image_folder(path, truth.file_names[:5]) or folder
        return cls(
            layout.name, split, layout.protocol, folder, truth,
            path=path, submission=layout.submission if split in layout.unlabelled else "",
        )  # fmt: skip

    @property
    def folder(self) -> Path:
        """The folder of the images.

        Raises:
            UsageError: it was not found.
        """
        if self._folder is None:
            raise UsageError(
                f"The images of {self._path} are neither beside it nor in a folder `images` there "
                f"(looked for {self._truth.file_names[0]}): name their folder with --images, or "
                f"in a dataset.toml, which `posebench data describe {self._path}` begins."
            )
        return self._folder

    def __len__(self) -> int:
        return self._truth.num_images

    def load(self, index: int, *, pixels: bool = True) -> Sample:
        truth = self._truth
        image_id, name = truth.image_id(index), truth.file_names[index]
        if not name:
            raise DataError(
                f"Expected 'file_name' of image {image_id} in the annotations of {self.name} "
                f"{self.split}, but it has none. Add it."
            )
        path = self.folder / name
        annotated: tuple[int, int] = tuple(truth.sizes[index].tolist())
        if pixels:
            rgb = read_image(path, upright=self.upright)
            self._check_size(path, (rgb.shape[1], rgb.shape[0]), annotated)
        else:
            width, height = self._size_without_pixels(path, annotated)
            rgb = np.broadcast_to(np.uint8(0), (height, width, 3))  # allocates no memory
        rows = truth.of_image(index)
        return Sample(
            image=rgb,
            poses=self._poses(rows),
            image_id=image_id,
            name=name,
            ignore=self._ignored(rows, rgb.shape[:2]) if pixels else None,
        )

    def ground_truth(self) -> GroundTruth:
        return self._truth

    def fingerprint(self) -> str:
        return self._truth.digest()

    def contents(self) -> str:
        return self._truth.contents()

    def scored_contents(self) -> str:
        return self._truth.scored_contents()

    def labelled(self) -> list[int]:
        return self._truth.labelled_images()

    def _size_without_pixels(self, path: Path, annotated: tuple[int, int]) -> tuple[int, int]:
        """Return the annotated size, or the file's if there is none or it is exchanged.

        Results can be scored without the image files; where they are, they are asked.
        """
        if 0 in annotated:
            return read_size(path, upright=self.upright)
        with suppress(DataError):  # missing, or damaged, which evaluations of images tell
            size = read_size(path, upright=self.upright)
            if fit_size(path, size, annotated) == "swapped":
                self._check_size(path, size, annotated)
                return size
        return annotated

    def _check_size(self, path: Path, size: tuple[int, int], annotated: tuple[int, int]) -> None:
        """Raise a DataError if an image is not of the size that its annotations are for."""
        if 0 in annotated or check_size(path, size, annotated, upright=self.upright) == "equal":
            return
        warnings.warn(
            f"{self.name} {self.split}: the annotations have the width and height of images "
            "exchanged; the sizes of the image files are taken. posebench data doctor lists these "
            "images.",
            Notice,
            stacklevel=2,
        )

    def _poses(self, rows: Indices) -> Poses:
        truth = self._truth
        person, crowd = truth.people[rows], truth.crowd[rows]
        people = rows[person]
        keypoints = torch.from_numpy(np.asarray(truth.keypoints[people], np.float64))
        return Poses(
            keypoints=keypoints[..., :2],
            visibility=keypoints[..., 2].long(),
            area=torch.from_numpy(truth.area[people]),
            boxes=self._corners(people),
            unlabelled=self._corners(rows[~person & ~crowd]),
            crowds=self._corners(rows[crowd]),
            unlabelled_area=torch.from_numpy(truth.area[rows[~person & ~crowd]]),
        )

    def _corners(self, rows: Indices) -> Tensor:
        return box_corners(torch.from_numpy(self._truth.boxes[rows]))

    def _ignored(self, rows: Indices, size: tuple[int, ...]) -> NDArray[np.bool_] | None:
        """Return the (H, W) mask of outlined crowds and people without keypoints; None: none."""
        regions = []
        for row in rows.tolist():
            outline = self._truth.outlines[row]
            region = _region(outline, size) if outline else None
            if region is not None:
                regions.append(region)
            elif outline:
                warnings.warn(
                    f"{self.name} {self.split}: some outlines do not fit their image: they mask "
                    "nothing in training.",
                    Notice,
                    stacklevel=2,
                )
        return np.any(regions, axis=0) if regions else None


def _region(outline: str, size: tuple[int, ...]) -> NDArray[np.bool_] | None:
    """Return the (H, W) mask inside an outline; None: it is of another size, or cannot be drawn."""
    value = msgspec.json.decode(outline)
    try:
        if isinstance(value, list):
            value = rle.merge(rle.frPyObjects(value, *size))
        elif isinstance(value["counts"], list):
            value = rle.frPyObjects(value, *size)
        region = np.asarray(rle.decode(value), np.bool_)  # type: ignore[no-untyped-call]
    except Exception:  # pycocotools raises bare exceptions for what it cannot draw
        return None
    return region if region.shape == size else None
