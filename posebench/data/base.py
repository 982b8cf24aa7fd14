"""The interface of datasets, and datasets of files in COCO's format."""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pycocotools import mask as rle
from torch import Tensor

from posebench.data.annotations import check_annotations
from posebench.data.image_files import read_image, read_size
from posebench.data.layout import Layout
from posebench.errors import DataError
from posebench.skeleton import Skeleton
from posebench.structures import Poses, Protocol, Sample, box_corners

# A keypoint annotation file in COCO's format, parsed.
GroundTruth = dict[str, Any]


class PoseDataset(ABC):
    """One split of a dataset: its images with annotated people, and its evaluation protocol."""

    name: str
    split: str
    skeleton: Skeleton  # the annotated keypoints
    protocol: Protocol  # how predictions are evaluated

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
        """Return the annotations of all images, in COCO's format."""

    @abstractmethod
    def fingerprint(self) -> str:
        """Return a string that differs whenever the annotations differ; fast to compute."""

    def contents(self) -> str:
        """Return a string that differs whenever annotations, image names or ids differ.

        By it a resumed run recognises its data, wherever they lie.
        """
        return self.fingerprint()

    @abstractmethod
    def labelled(self) -> list[int]:
        """Return the indices of the images to train on: those with a labelled keypoint."""


class FileDataset(PoseDataset):
    """Images in a folder with annotations in COCO's format."""

    def __init__(
        self,
        name: str,
        split: str,
        protocol: Protocol,
        folder: Path,
        annotations: GroundTruth,
        *,
        has_sizes: bool = True,
    ) -> None:
        """Create a dataset from checked annotations.

        Args:
            name: the dataset's name.
            split: the split's name.
            protocol: how predictions are evaluated.
            folder: the folder of the images.
            annotations: in COCO's format, as `check_annotations` returns them.
            has_sizes: whether the annotations contain image sizes; otherwise sizes are read from
                the image files.
        """
        self.name = name
        self.split = split
        self.skeleton, self.protocol = protocol.skeleton, protocol
        self.folder = folder
        self._has_sizes = has_sizes
        self._annotations = annotations
        self._images = annotations["images"]
        self._by_image: dict[int, list[dict[str, Any]]] = {}
        for annotation in annotations["annotations"]:
            self._by_image.setdefault(annotation["image_id"], []).append(annotation)

    @classmethod
    def read(cls, layout: Layout, split: str, folder: Path, path: Path) -> FileDataset:
        """Return a split whose annotations are read from a file.

        Args:
            layout: the dataset's layout.
            split: the split's name.
            folder: the folder of the images.
            path: the annotation file.

        Raises:
            DataError: the annotation file is missing or wrong.
        """
        content = check_annotations(layout.read(path), path, layout.protocol)
        return cls(layout.name, split, layout.protocol, folder, content, has_sizes=layout.has_sizes)

    def __len__(self) -> int:
        return len(self._images)

    def load(self, index: int, *, pixels: bool = True) -> Sample:
        image = self._images[index]
        if not self._has_sizes and "width" not in image:
            image["width"], image["height"] = read_size(self.folder / image["file_name"])
        for field, kind in (("file_name", str), ("width", int), ("height", int)):
            value = image.get(field)
            if not isinstance(value, kind) or (isinstance(value, int) and not 0 < value < 10**6):
                raise DataError(
                    f"Expected {field!r} of image {image['id']} in the annotations of {self.name} "
                    f"{self.split}, but found {str(value)[:40]}. Correct it."
                )
        annotations = self._by_image.get(image["id"], [])
        size = (image["height"], image["width"])
        if pixels:
            path = self.folder / image["file_name"]
            rgb = read_image(path)
            if rgb.shape[:2] != size:
                raise DataError(
                    f"The image {path} is {rgb.shape[1]} x {rgb.shape[0]}, but its annotations are "
                    f"for {size[1]} x {size[0]}: it is another image or was resized. "
                    "Download it again; posebench data doctor lists all such images."
                )
        else:
            rgb = np.broadcast_to(np.uint8(0), (*size, 3))  # allocates no memory
        return Sample(
            image=rgb,
            poses=self._poses(annotations),
            image_id=image["id"],
            name=image["file_name"],
            ignore=_ignored(annotations, size, image["file_name"]) if pixels else None,
        )

    def ground_truth(self) -> GroundTruth:
        return self._annotations

    def fingerprint(self) -> str:
        people = self._annotations["annotations"]
        digest = hashlib.sha256()
        for values in (
            [a["keypoints"] for a in people],
            [a["bbox"] for a in people],
            [a.get("iscrowd", 0) for a in people],
        ):
            digest.update(np.array(values, np.float64).tobytes())
        return digest.hexdigest()

    def contents(self) -> str:
        images = [(image["id"], image.get("file_name")) for image in self._images]
        owners = [annotation["image_id"] for annotation in self._annotations["annotations"]]
        digest = hashlib.sha256(self.fingerprint().encode())
        digest.update(json.dumps([images, owners]).encode())
        return digest.hexdigest()

    def labelled(self) -> list[int]:
        return [
            index
            for index, image in enumerate(self._images)
            if any(_is_person(a) for a in self._by_image.get(image["id"], []))
        ]

    def area(self, annotation: dict[str, Any]) -> float:
        """Return a person's area in square pixels, by which OKS divides."""
        if self.protocol.area_of_box is None:
            return float(annotation["area"])
        _, _, width, height = annotation["bbox"]
        return self.protocol.area_of_box * float(width) * float(height)

    def _poses(self, annotations: list[dict[str, Any]]) -> Poses:
        people = [a for a in annotations if _is_person(a)]
        others = [a for a in annotations if not a.get("iscrowd", 0) and not _is_person(a)]
        crowds = _corners([a for a in annotations if a.get("iscrowd", 0)])
        unlabelled = _corners(others)
        if not people:
            nobody = Poses.empty(len(self.skeleton))
            return replace(nobody, unlabelled=unlabelled, crowds=crowds)
        keypoints = torch.tensor([p["keypoints"] for p in people], dtype=torch.float64)
        keypoints = keypoints.view(len(people), -1, 3)
        return Poses(
            keypoints=keypoints[..., :2],
            visibility=keypoints[..., 2].long(),
            area=torch.tensor([self.area(p) for p in people], dtype=torch.float64),
            boxes=_corners(people),
            unlabelled=unlabelled,
            crowds=crowds,
        )


def _corners(annotations: list[dict[str, Any]]) -> Tensor:
    boxes = torch.tensor([a["bbox"] for a in annotations], dtype=torch.float64)
    return box_corners(boxes.view(-1, 4))


def _is_person(annotation: dict[str, Any]) -> bool:
    return not annotation.get("iscrowd", 0) and annotation["num_keypoints"] > 0


def _ignored(
    annotations: list[dict[str, Any]], size: tuple[int, int], name: str
) -> np.ndarray | None:
    """Return the (H, W) mask of outlined crowd regions and people without keypoints; None: none.

    Raises:
        DataError: an outline is neither polygons nor run lengths of the image's size.
    """
    regions = []
    for annotation in annotations:
        outline = annotation.get("segmentation")
        if _is_person(annotation) or not outline:
            continue
        try:
            regions.append(_region(outline, size))
        except Exception as error:  # pycocotools raises a bare Exception for a short polygon
            raise DataError(
                f"Expected polygons or run lengths of {size[1]} x {size[0]} pixels as the "
                f"segmentation of annotation {annotation['id']} ({name}), but found "
                f"{str(outline)[:60]}. Correct or remove it."
            ) from error
    return np.any(regions, axis=0) if regions else None


def _region(outline: Any, size: tuple[int, int]) -> np.ndarray:
    if isinstance(outline, list):
        outline = rle.merge(rle.frPyObjects(outline, *size))
    elif isinstance(outline["counts"], list):
        outline = rle.frPyObjects(outline, *size)
    region = np.asarray(rle.decode(outline), np.bool_)  # type: ignore[no-untyped-call]
    if region.shape != size:
        raise ValueError(f"the outline is of {region.shape}")
    return region
