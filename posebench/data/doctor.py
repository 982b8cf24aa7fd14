"""Checks of a dataset's folder: annotations, image files, overlap with another training split.

The readers stop at the first error; these checks count all of them.
"""

from __future__ import annotations

import hashlib
import math
import os
import re
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from posebench.data.annotations import required_fields
from posebench.data.image_files import fit_size, read_image, read_orientation
from posebench.data.layout import Layout
from posebench.errors import DataError
from posebench.files import read_json
from posebench.structures import Protocol

_EXAMPLES = 5
_SEVERITIES = ("count", "note", "wrong")
_IMAGE_FIELDS = ("id", "file_name", "width", "height")

Progress = Callable[[int, int], None]  # (number of images checked, number of all images)


@dataclass
class Finding:
    """The result of one check of one split."""

    split: str
    check: str
    severity: str  # "count": a statistic; "note": may be intended; "wrong": correct before training
    count: int = 0
    examples: list[str] = field(default_factory=list)

    def add(self, example: object, times: int = 1) -> None:
        self.count += times
        if len(self.examples) < _EXAMPLES:
            self.examples.append(str(example))


class _Report:
    """The findings of a split, in the order of its checks."""

    def __init__(self, split: str) -> None:
        self.split = split
        self.findings: dict[str, Finding] = {}

    def count(self, what: str, number: int) -> None:
        self.findings[what] = Finding(self.split, what, "count", number)

    def note(self, check: str, example: object, times: int = 1) -> None:
        self._of(check, "note").add(example, times)

    def wrong(self, check: str, example: object, times: int = 1) -> None:
        self._of(check, "wrong").add(example, times)

    def _of(self, check: str, severity: str) -> Finding:
        return self.findings.setdefault(check, Finding(self.split, check, severity))


def examine(
    folder: Path,
    layout: Layout,
    *,
    against: tuple[Path, Layout] | None = None,
    upright: bool = False,
    progress: Progress = lambda done, total: None,
) -> list[Finding]:
    """Check the splits of a dataset that are in its folder.

    Args:
        folder: the dataset's folder, such as `data/coco`.
        layout: the layout it should have.
        against: folder and layout of another dataset, whose training images should not occur in
            this one.
        upright: read the images turned as their EXIF orientation says.
        progress: called with the number of images checked so far and the number of all images.

    Returns:
        The findings of each split: statistics, then notes, then errors.

    Raises:
        DataError: the folder contains no split of the layout, or an annotation file is not JSON.
    """
    splits = {
        split: path
        for split in layout.splits
        if (path := folder / layout.annotations.format(split=split)).is_file()
    }
    if not splits:
        raise DataError(
            f"No split of {layout.name} is in {folder}: it is expected as {layout.tree}."
        )
    contents = {split: layout.read(path) for split, path in splits.items()}
    total = sum(len(_records(content, "images")) for content in contents.values())
    done = 0
    findings: list[Finding] = []
    others = _TrainingImages(*against) if against else None
    for split, content in contents.items():
        report = _Report(split)
        images = _check_annotations(content, layout, report)
        image_folder = folder / layout.images.format(split=split)
        for _ in _check_files(images, image_folder, report, upright=upright):
            done += 1
            progress(done, total)
        if others:
            others.compare(images, image_folder, report)
        findings += sorted(report.findings.values(), key=lambda f: _SEVERITIES.index(f.severity))
    return findings


def _records(content: Any, key: str) -> list[dict[str, Any]]:
    records = content.get(key) if isinstance(content, dict) else None
    return [r for r in records if isinstance(r, dict)] if isinstance(records, list) else []


def _check_annotations(content: Any, layout: Layout, report: _Report) -> list[dict[str, Any]]:
    """Check the annotations and return the images that have a file name."""
    images, people = _records(content, "images"), _records(content, "annotations")
    for key, records in (("images", images), ("annotations", people)):
        if not isinstance(content, dict) or not isinstance(content.get(key), list):
            report.wrong("missing field", key)
        elif len(records) < len(content[key]):
            report.wrong("no object", key, len(content[key]) - len(records))
    for image in images:
        expected = _IMAGE_FIELDS if layout.has_sizes else _IMAGE_FIELDS[:2]
        for name in (name for name in expected if name not in image):
            report.wrong("missing field", f"{name} of image {image.get('id', '?')}")
    _duplicates(images, "image", report)
    _duplicates(people, "annotation", report)
    by_id = {image["id"]: image for image in images if isinstance(image.get("id"), int)}
    labelled = keypoints = 0
    with_people = set()
    for person in people:
        points = _check_person(person, layout, by_id, report)
        if points:
            labelled += 1
            keypoints += points
            with_people.add(str(person.get("image_id")))
    report.count("images", len(images))
    report.count("images with labelled people", len(with_people))
    report.count("annotations", len(people))
    report.count("people with labelled keypoints", labelled)
    report.count("labelled keypoints", keypoints)
    return [image for image in images if isinstance(image.get("file_name"), str)]


def _duplicates(records: list[dict[str, Any]], kind: str, report: _Report) -> None:
    ids = Counter(r["id"] for r in records if isinstance(r.get("id"), int | str))
    for number, times in ids.items():
        if times > 1:
            report.wrong(f"duplicate {kind} id", number, times - 1)


def _check_person(
    person: dict[str, Any], layout: Layout, images: dict[int, dict[str, Any]], report: _Report
) -> int:
    """Check one annotation and return its number of labelled keypoints; 0 for crowd regions."""
    name = f"annotation {person.get('id', '?')}"
    for field_name in required_fields(layout.protocol):
        if field_name not in person:
            report.wrong("missing field", f"{field_name} of {name}")
    image_id = person.get("image_id")
    image = images.get(image_id) if isinstance(image_id, int) else None
    if image is None and "image_id" in person:
        report.wrong("unknown image", name)
    row = person.get("keypoints", [])
    if not _numbers(row, 3 * len(layout.protocol.skeleton)):
        if "keypoints" in person:
            report.wrong("keypoints unfit", name)
        return 0
    points = [(x, y) for x, y, v in zip(row[::3], row[1::3], row[2::3], strict=True) if v > 0]
    # A crowd region is one annotation of many people; its keypoints are not used.
    if not points or person.get("iscrowd", 0):
        return 0
    if fault := _size_fault(person, layout.protocol):
        report.wrong(fault, name)
    if outside := _count_outside(points, image or {}):
        report.note("keypoint outside its image", name, outside)
    return len(points)


def _size_fault(person: dict[str, Any], protocol: Protocol) -> str | None:
    """Return the name of the check that a person's box or area fails; None if both are fine."""
    if "bbox" in person:
        if not _numbers(person["bbox"], 4):
            return "box unfit"
        if min(person["bbox"][2:]) <= 0:
            return "zero area"
    if protocol.area_of_box is None and "area" in person:
        if not _numbers([person["area"]], 1):
            return "area unfit"
        if person["area"] <= 0:
            return "zero area"
    return None


def _count_outside(points: list[tuple[float, float]], image: dict[str, Any]) -> int:
    """Return the number of points outside the image; 0 if its size is not known."""
    width, height = image.get("width", math.nan), image.get("height", math.nan)
    if not _numbers([width, height], 2):
        return 0
    return sum(not (0 <= x < width and 0 <= y < height) for x, y in points)


def _numbers(values: Any, count: int) -> bool:
    return (
        isinstance(values, list)
        and len(values) == count
        and all(
            isinstance(v, int | float) and not isinstance(v, bool) and math.isfinite(v)
            for v in values
        )
    )


def _check_files(
    images: list[dict[str, Any]], folder: Path, report: _Report, *, upright: bool
) -> Iterator[dict[str, Any]]:
    """Decode every image and compare its size with the annotations; yield each checked image."""

    def decoded_size(image: dict[str, Any]) -> tuple[int, int] | None:
        try:
            path = folder / image["file_name"]
            height, width = read_image(path, upright=upright).shape[:2]
        except DataError:
            return None
        return width, height

    # Threads are enough, since OpenCV releases Python's lock while it decodes.
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for image, size in zip(images, pool.map(decoded_size, images), strict=True):
            name = image["file_name"]
            if size is None:
                exists = (folder / name).is_file()
                report.wrong("unreadable image" if exists else "missing image", name)
            elif "width" in image and "height" in image:
                _check_size(folder / name, size, image, report, upright=upright)
            yield image


def _check_size(
    path: Path, size: tuple[int, int], image: dict[str, Any], report: _Report, *, upright: bool
) -> None:
    """Compare the width and height of an image with those in its annotations."""
    name = image["file_name"]
    fit = fit_size(path, size, (image["width"], image["height"]))
    if fit == "equal":
        orientation = 1 if upright else read_orientation(path)
        if orientation > 1:
            report.note("EXIF orientation that is ignored", f"{name}: {orientation}")
    elif fit == "turned by EXIF" and upright:
        report.wrong("annotated as stored, not as turned by EXIF", name)
    elif fit == "turned by EXIF":
        report.wrong("annotated as turned by EXIF (read with --exif upright)", name)
    elif fit == "swapped":
        report.wrong("width and height swapped", name)
    else:
        report.wrong("other size than annotated", f"{name}: {size[0]} x {size[1]}")


class _TrainingImages:
    """The training images of another dataset, indexed by size and by COCO image id."""

    def __init__(self, folder: Path, layout: Layout) -> None:
        self.name, self.split = layout.name, layout.train_split
        image_folder = folder / layout.images.format(split=layout.train_split)
        annotations = folder / layout.annotations.format(split=layout.train_split)
        if annotations.is_file():
            content = read_json(annotations, "an annotation file")
            names = [record["file_name"] for record in _records(content, "images")]
        else:
            names = sorted(path.name for path in image_folder.glob("*.*"))
        if not names:
            raise DataError(
                f"The training split {layout.train_split} of {layout.name} is not in {folder}: "
                f"it is expected as {layout.tree}."
            )
        self.numbers = {_number(name): name for name in names if _number(name) is not None}
        self.by_size: dict[int, list[Path]] = {}
        for name in names:
            path = image_folder / name
            if path.is_file():
                self.by_size.setdefault(path.stat().st_size, []).append(path)
        self._hashes: dict[Path, str] = {}

    def compare(self, images: list[dict[str, Any]], folder: Path, report: _Report) -> None:
        """Compare the files of a split with the training images, and report how many there are."""
        readable = sum((folder / image["file_name"]).is_file() for image in images)
        report.count(f"images compared with {self.name} {self.split}", readable)
        files = sum(len(paths) for paths in self.by_size.values())
        report.count(f"images of {self.name} {self.split}, by content", files)
        report.count(f"images of {self.name} {self.split}, by number", len(self.numbers))
        twins = 0
        for image in images:
            path = folder / image["file_name"]
            twin = self._twin(path)
            if twin:
                twins += 1
                report.wrong(f"also in {self.name}'s training", f"{path.name} is {twin.name}")
                continue
            number = _number(path.name)
            if number is not None and number in self.numbers:
                same = f"{path.name} and {self.numbers[number]}"
                report.note(f"same number as in {self.name}'s training", same)
        if not twins:
            report.count(f"also in {self.name}'s training", 0)

    def _twin(self, path: Path) -> Path | None:
        """Return the training image of equal content."""
        if not path.is_file():
            return None
        # Only files of the same size are read and hashed.
        candidates = self.by_size.get(path.stat().st_size, [])
        return next((c for c in candidates if self._hash(c) == self._hash(path)), None)

    def _hash(self, path: Path) -> str:
        if path not in self._hashes:
            self._hashes[path] = hashlib.sha256(path.read_bytes()).hexdigest()
        return self._hashes[path]


def _number(name: str) -> int | None:
    """Return the COCO id that a file name ends in, as in COCO_val2014_000000000139.jpg."""
    match = re.search(r"(\d{5,12})$", Path(name).stem)
    return int(match[1]) if match else None
