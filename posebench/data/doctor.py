"""Checks of a dataset's folder: annotations, image files, overlap with another training split.

Annotations go through the reader's own rules (`annotations.rules`); here nothing stops at the first
that refuses.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from posebench.data import oddities
from posebench.data.annotations import Reading, inspect_content, rules
from posebench.data.annotations.text import parse_content
from posebench.data.image_files import fit_size, read_image, read_orientation
from posebench.data.layout import Layout, SplitFiles
from posebench.errors import DataError
from posebench.files import read_text
from posebench.ground_truth import GroundTruth

MISSING_IMAGE = "missing image"  # the check's name
_EXAMPLES = 5
_SEVERITIES = ("count", "note", "wrong")

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

    def take(self, found: rules.Finding) -> None:
        """Take over what the reader has found; what it derives is a note here."""
        severity = "wrong" if found.rule.severity == "wrong" else "note"
        name = found.rule.name
        self.findings[name] = Finding(self.split, name, severity, found.count, found.examples)

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
        folder: the dataset's folder, such as `data/coco`; a described dataset has its own.
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
    files = _files(layout, folder)
    if not files:
        raise DataError(
            f"No split of {layout.name} is in {folder}: it is expected as {layout.tree}."
        )
    in_order = sorted(files, key=lambda split: split != layout.train_split)  # it is compared with
    readings = [
        (split, files[split], path, _read(path, layout))
        for split in in_order
        for path in files[split].annotations
    ]
    total = sum(reading.truth.num_images for *_, reading in readings)
    done = 0
    findings: list[Finding] = []
    others = _TrainingImages(*against) if against else None
    images: dict[str, set[Path]] = {}
    for split, own, path, reading in readings:
        report = _Report(split)
        for found in reading.findings:
            report.take(found)
        _count(reading.truth, report)
        _check_people(reading.truth, report)
        image_folder = own.image_folder(reading.truth.file_names[:5], path) or path.parent
        in_split = images.setdefault(split, set())
        in_split.update(image_folder / name for name in _named(reading.truth))
        if split == layout.eval_split != layout.train_split:
            _check_apart(in_split, images.get(layout.train_split, set()), layout, report)
        for _ in _check_files(reading.truth, image_folder, report, upright=upright):
            done += 1
            progress(done, total)
        if others:
            others.compare(_named(reading.truth), image_folder, report)
        findings += sorted(report.findings.values(), key=lambda f: _SEVERITIES.index(f.severity))
    return findings


def _files(layout: Layout, folder: Path) -> dict[str, SplitFiles]:
    """Return the files by split; a dataset with a path of its own knows its folder."""
    return layout.files_in(folder) if layout.reference == layout.name else layout.files_in()


def _read(path: Path, layout: Layout) -> Reading:
    """Return the annotations of a file with all findings, also those that the reader refuses."""
    if layout.read is None:
        content = parse_content(read_text(path, "an annotation file"), path)
    else:
        content = layout.read(path)
    return inspect_content(
        content, path, layout.skeleton, layout.reading, name=layout.name, strict=False
    )


def _count(truth: GroundTruth, report: _Report) -> None:
    people = truth.people
    report.count("images", truth.num_images)
    report.count("images with labelled people", len(truth.labelled_images()))
    report.count("annotations", len(truth))
    report.count("people with labelled keypoints", int(people.sum()))
    report.count("labelled keypoints", int((truth.keypoints[people][..., 2] > 0).sum()))


def _check_people(truth: GroundTruth, report: _Report) -> None:
    """Report what looks wrong with the annotated people as a whole."""
    if shares := oddities.visibility_shares(truth):
        check = "keypoints: % not labelled/hidden/visible"
        report.findings[check] = Finding(report.split, check, "count", len(shares), shares)
    for person in oddities.outside_box(truth):
        report.note("keypoint outside its box", person)
    for pair in oddities.exchanged_pairs(truth):
        report.note("left and right look exchanged", pair)


def _check_apart(evaluated: set[Path], trained: set[Path], layout: Layout, report: _Report) -> None:
    """Report images that are also trained on, or are of a video or pair that is trained on.

    Videos and pairs are told by their folders, where both splits have several.
    """
    training = f"in {layout.train_split}"
    for path in sorted(evaluated & trained):
        report.note(f"image is also {training}", path.name)
    folders, others = (Counter(path.parent for path in paths) for paths in (evaluated, trained))
    if min(len(folders), len(others)) > 1:
        for folder in sorted(folders.keys() & others.keys()):
            report.note(f"folder is also {training}", folder.name, folders[folder])


def _named(truth: GroundTruth) -> list[str]:
    return [name for name in truth.file_names if name]


def _check_files(
    truth: GroundTruth, folder: Path, report: _Report, *, upright: bool
) -> Iterator[str]:
    """Decode every image and compare its size with the annotations; yield each name."""

    def decoded_size(name: str) -> tuple[int, int] | None:
        try:
            height, width = read_image(folder / name, upright=upright).shape[:2]
        except DataError:
            return None
        return width, height

    for index, name in enumerate(truth.file_names):
        if not name:
            report.wrong("missing field", f"file_name of image {truth.image_id(index)}")
    names = _named(truth)
    everyone = zip(truth.file_names, truth.sizes.tolist(), strict=True)
    sizes = [tuple(size) for name, size in everyone if name]
    # Threads are enough, since OpenCV releases Python's lock while it decodes.
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        decoded = pool.map(decoded_size, names)
        for name, annotated, size in zip(names, sizes, decoded, strict=True):
            if size is None:
                exists = (folder / name).is_file()
                report.wrong("unreadable image" if exists else MISSING_IMAGE, name)
            elif 0 not in annotated:
                _check_size(folder / name, name, size, annotated, report, upright=upright)
            yield name


def _check_size(
    path: Path,
    name: str,
    size: tuple[int, int],
    annotated: tuple[int, int],
    report: _Report,
    *,
    upright: bool,
) -> None:
    """Compare the width and height of an image with those in its annotations."""
    fit = fit_size(path, size, annotated)
    if fit == "equal":
        orientation = 1 if upright else read_orientation(path)
        if orientation > 1:
            report.note("EXIF orientation that is ignored", f"{name}: {orientation}")
    elif fit == "turned by EXIF" and upright:
        report.wrong("annotated as stored, not as turned by EXIF", name)
    elif fit == "turned by EXIF":
        report.wrong("annotated as turned by EXIF (read with --exif upright)", name)
    elif fit == "swapped":
        report.note("width and height swapped: the file's are taken", name)
    else:
        report.wrong("other size than annotated", f"{name}: {size[0]} x {size[1]}")


class _TrainingImages:
    """The training images of another dataset, indexed by size and by COCO image id."""

    def __init__(self, folder: Path, layout: Layout) -> None:
        self.name, self.split = layout.name, layout.train_split
        image_folder = folder / layout.images.format(split=layout.train_split)
        own = _files(layout, folder).get(layout.train_split)
        if own is None:
            names = sorted(path.name for path in image_folder.glob("*.*"))
        else:
            names = [n for path in own.annotations for n in _named(_read(path, layout).truth)]
            image_folder = own.image_folder(names[:5]) or image_folder
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

    def compare(self, images: list[str], folder: Path, report: _Report) -> None:
        """Compare the files of a split with the training images, and report how many there are."""
        readable = sum((folder / image).is_file() for image in images)
        report.count(f"images compared with {self.name} {self.split}", readable)
        files = sum(len(paths) for paths in self.by_size.values())
        report.count(f"images of {self.name} {self.split}, by content", files)
        report.count(f"images of {self.name} {self.split}, by number", len(self.numbers))
        twins = 0
        for image in images:
            path = folder / image
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
