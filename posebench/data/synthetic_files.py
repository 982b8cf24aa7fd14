"""Synthetic crowds as files, in the official layouts of COCO and CrowdPose."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import cv2

from posebench.data.base import GroundTruth
from posebench.data.synthetic import SyntheticCrowds, ground_truth_of
from posebench.errors import unknown_name
from posebench.files import write_json, written_beside
from posebench.structures import COCO, CROWDPOSE, Sample, Skeleton

_JPEG_QUALITY = 92


@dataclass(frozen=True)
class _Split:
    name: str
    share: int  # of the images, relative to the other splits
    source: str  # the split of SyntheticCrowds that the scenes come from
    images: str  # folder below the dataset's
    annotations: str  # file below the dataset's


@dataclass(frozen=True)
class _Format:
    skeleton: Skeleton
    splits: tuple[_Split, ...]
    file_name: str  # of an image, by its id
    first_id: int


# Name, share and source. Validation and test people are strangers to the training's.
_CROWDPOSE_SPLITS = (("train", 5, "train"), ("val", 1, "val"), ("test", 4, "val"))
_FORMATS = {
    "coco": _Format(
        COCO,
        tuple(
            _Split(
                name, share, name, f"{name}2017", f"annotations/person_keypoints_{name}2017.json"
            )
            for name, share in (("train", 4), ("val", 1))
        ),
        file_name="{:012d}.jpg",
        first_id=1,
    ),
    "crowdpose": _Format(
        CROWDPOSE,
        tuple(
            _Split(name, share, source, "images", f"annotations/crowdpose_{name}.json")
            for name, share, source in (
                ("train", 5, "train"),
                ("val", 1, "val"),
                ("test", 4, "val"),
            )
        ),
        file_name="{}.jpg",
        first_id=100001,
    ),
}


@dataclass(frozen=True)
class WrittenDataset:
    """What was written where."""

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
    """Write scenes as JPEG files with annotations, so that `out` serves as a data root.

    Args:
        out: the folder; `out/coco` or `out/crowdpose` is written into.
        images: how many over all splits; every split gets at least one.
        layout: "coco" or "crowdpose".
        size: side of the images in pixels.
        crowd, lookalike, seed: see SyntheticCrowds.

    Raises:
        UsageError: no such layout, or a value is outside its range.
        PosebenchError: the folder cannot be written.
    """
    if layout not in _FORMATS:
        raise unknown_name("layout", layout, _FORMATS)
    form = _FORMATS[layout]
    folder = out / layout
    image_counts: dict[str, int] = {}
    people_counts: dict[str, int] = {}
    used = {"train": 0, "val": 0}  # scenes of each source, so that no two splits share one
    next_id = form.first_id
    for split in form.splits:
        count = _split_size(split, form.splits, images)
        first = used[split.source]
        used[split.source] += count
        dataset = SyntheticCrowds(
            form.skeleton, split.source, used[split.source], size, crowd, lookalike, seed
        )
        numbered = (
            replace(dataset.load(index), image_id=number, name=form.file_name.format(number))
            for number, index in enumerate(range(first, first + count), start=next_id)
        )
        next_id += count
        content = ground_truth_of(_saved(numbered, folder / split.images), form.skeleton)
        write_json(folder / split.annotations, _as_official(content, layout))
        image_counts[split.name] = count
        people_counts[split.name] = len(content["annotations"])
    return WrittenDataset(folder, image_counts, people_counts)


def _split_size(split: _Split, splits: tuple[_Split, ...], images: int) -> int:
    """Return this split's share of the images; the first split takes what rounding leaves."""
    total = sum(other.share for other in splits)
    sizes = {other.name: max(1, images * other.share // total) for other in splits}
    first = splits[0].name
    sizes[first] = max(1, images - sum(sizes.values()) + sizes[first])
    return sizes[split.name]


def _saved(samples: Iterator[Sample], folder: Path) -> Iterator[Sample]:
    """Write each sample's image below its name and pass the sample on.

    Raises:
        PosebenchError: the folder cannot be written.
    """
    for sample in samples:
        bgr = cv2.cvtColor(sample.image, cv2.COLOR_RGB2BGR)
        _, data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
        with written_beside(folder / sample.name) as beside:
            beside.write_bytes(data.tobytes())
        yield sample


def _as_official(content: GroundTruth, layout: str) -> GroundTruth:
    """Return the annotations with the fields that the official files have."""
    if layout == CROWDPOSE.name:
        without_area = [
            {field: value for field, value in annotation.items() if field != "area"}
            for annotation in content["annotations"]
        ]
        return {**content, "annotations": without_area}
    outlined = []
    for annotation in content["annotations"]:
        x, y, width, height = annotation["bbox"]
        outline = [x, y, x + width, y, x + width, y + height, x, y + height]
        outlined.append({**annotation, "segmentation": [outline]})
    return {**content, "annotations": outlined}
