"""Writing synthetic crowds as files in the layouts of COCO, CrowdPose, MPII and OCHuman."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2

from posebench.data import coco, crowdpose, mpii, ochuman
from posebench.data.layout import Layout
from posebench.data.synthetic_crowds import SyntheticCrowds, ground_truth_of
from posebench.errors import unknown_name
from posebench.files import atomic_write, write_json
from posebench.skeleton import MPII
from posebench.structures import Protocol, Sample

_JPEG_QUALITY = 92


@dataclass(frozen=True)
class _Split:
    name: str
    share: int  # of the images, relative to the other splits
    source: str  # the split of SyntheticCrowds that the scenes come from


@dataclass(frozen=True)
class _Format:
    layout: Layout
    splits: tuple[_Split, ...]
    file_name: str  # of an image, by its id
    first_id: int


# Validation and test scenes never occur in training.
_FORMATS = {
    form.layout.name: form
    for form in (
        _Format(
            coco.LAYOUT,
            (_Split("train", 4, "train"), _Split("val", 1, "val")),
            file_name="{:012d}.jpg",
            first_id=1,
        ),
        _Format(
            crowdpose.LAYOUT,
            (_Split("train", 5, "train"), _Split("val", 1, "val"), _Split("test", 4, "val")),
            file_name="{}.jpg",
            first_id=100001,
        ),
        _Format(
            mpii.LAYOUT,
            (_Split("train", 4, "train"), _Split("val", 1, "val")),
            file_name="{:09d}.jpg",
            first_id=1,
        ),
        _Format(
            ochuman.LAYOUT,
            (_Split("val", 1, "train"), _Split("test", 1, "val")),
            file_name="{:06d}.jpg",
            first_id=1,
        ),
    )
}


@dataclass(frozen=True)
class WrittenDataset:
    """The folder, images and people that were written."""

    folder: Path
    images: dict[str, int]  # by split
    people: dict[str, int]

    def __str__(self) -> str:
        counts = ", ".join(
            f"{split} {images} images with {self.people[split]} people"
            for split, images in self.images.items()
        )
        return f"{self.folder} ({counts})"


def write_synthetic(
    out: Path,
    images: int,
    layout: str,
    *,
    size: int = 256,
    crowd: float = 0.5,
    lookalike: bool = False,
    seed: int = 0,
) -> WrittenDataset:
    """Write scenes as JPEG files with annotations, so that `out` can be used as a data root.

    Args:
        out: the data root; files are written into its subfolder of the layout's name.
        images: number of images in all splits together; every split gets at least one.
        layout: "coco", "crowdpose", "mpii" or "ochuman".
        size: side of the images in pixels.
        crowd, lookalike, seed: see SyntheticCrowds.

    Raises:
        UsageError: there is no such layout, or a value is out of range.
        PosebenchError: the folder cannot be written.
    """
    if layout not in _FORMATS:
        raise unknown_name("layout", layout, _FORMATS)
    form = _FORMATS[layout]
    folder = out / layout
    protocol = form.layout.protocol
    image_counts: dict[str, int] = {}
    people_counts: dict[str, int] = {}
    used = {"train": 0, "val": 0}  # scenes used from each source: splits must not share any
    next_id = form.first_id
    for split in form.splits:
        count = _split_size(split, form.splits, images)
        first = used[split.source]
        used[split.source] += count
        dataset = SyntheticCrowds(
            protocol.skeleton, split.source, used[split.source], size, crowd, lookalike, seed
        )
        numbered = (
            replace(dataset.load(index), image_id=number, name=form.file_name.format(number))
            for number, index in enumerate(range(first, first + count), start=next_id)
        )
        next_id += count
        image_folder = folder / form.layout.images.format(split=split.name)
        content = ground_truth_of(_saved(numbered, image_folder), protocol).to_coco()
        annotations = folder / form.layout.annotations.format(split=split.name)
        write_json(annotations, _as_official(content, protocol))
        image_counts[split.name] = count
        people_counts[split.name] = len(content["annotations"])
    return WrittenDataset(folder, image_counts, people_counts)


def _split_size(split: _Split, splits: tuple[_Split, ...], images: int) -> int:
    """Return the number of images of a split; the first split gets the remainder of rounding."""
    total = sum(other.share for other in splits)
    sizes = {other.name: max(1, images * other.share // total) for other in splits}
    first = splits[0].name
    sizes[first] = max(1, images - sum(sizes.values()) + sizes[first])
    return sizes[split.name]


def _saved(samples: Iterator[Sample], folder: Path) -> Iterator[Sample]:
    """Write each sample's image into the folder under its name, and yield the sample.

    Raises:
        PosebenchError: the folder cannot be written.
    """
    for sample in samples:
        bgr = cv2.cvtColor(sample.image, cv2.COLOR_RGB2BGR)
        _, data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
        with atomic_write(folder / sample.name) as beside:
            beside.write_bytes(data.tobytes())
        yield sample


def _head_box(annotation: dict[str, Any]) -> list[float]:
    """Return a square head box x1, y1, x2, y2, centred on the head and as wide as it is long.

    If the head is not labelled, the box lies at the top of the person's box, and its side is an
    eighth of that box's longer side.
    """
    points = {
        name: annotation["keypoints"][3 * k : 3 * k + 3] for k, name in enumerate(MPII.keypoints)
    }
    (x1, y1, top), (x2, y2, neck) = points["head_top"], points["upper_neck"]
    if top and neck:
        centre, side = ((x1 + x2) / 2, (y1 + y2) / 2), math.hypot(x2 - x1, y2 - y1)
    else:
        left, upper, width, height = annotation["bbox"]
        side = max(width, height) / 8
        centre = (left + width / 2, upper + side / 2)
    return [*(value - side / 2 for value in centre), *(value + side / 2 for value in centre)]


def _as_official(content: dict[str, Any], protocol: Protocol) -> dict[str, Any]:
    """Return the annotations with the fields that the official files have."""
    if protocol.area_of_box is not None:
        without_area = [
            {field: value for field, value in annotation.items() if field != "area"}
            for annotation in content["annotations"]
        ]
        return {**content, "annotations": without_area}
    if protocol.head_boxes:
        with_heads = [{**a, "headbox_xyxy": _head_box(a)} for a in content["annotations"]]
        return {**content, "annotations": with_heads}
    outlined = []
    for annotation in content["annotations"]:
        x, y, width, height = annotation["bbox"]
        outline = [x, y, x + width, y, x + width, y + height, x, y + height]
        outlined.append({**annotation, "segmentation": [outline]})
    return {**content, "annotations": outlined}
