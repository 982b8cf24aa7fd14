"""Annotation files in COCO's format, as tools write them: reading, checking, deriving.

Everything that training and evaluation rely on is checked here, once, when a file is read. The
rules are those of `rules`, for the reader as for `posebench data doctor`.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from posebench.data.annotations import derived, rules
from posebench.data.annotations.categories import Chosen, choose
from posebench.data.annotations.images import Images, read_images
from posebench.data.annotations.kept import read_kept
from posebench.data.annotations.options import ReadOptions
from posebench.data.annotations.people import People, PeopleReader
from posebench.data.annotations.rules import Finding, Owner, Report
from posebench.data.annotations.text import Content, content_of, parse_content
from posebench.data.annotations.text import parts as record_parts
from posebench.errors import DataError, Notice
from posebench.files import read_text
from posebench.ground_truth import Floats, GroundTruth, Texts, texts_or_numbers
from posebench.skeleton import Skeleton
from posebench.structures import Protocol

__all__ = [
    "Content",
    "Finding",
    "ReadOptions",
    "Reading",
    "check_content",
    "content_of",
    "inspect_content",
    "read_annotations",
    "read_as",
    "read_file",
]


@dataclass(frozen=True)
class Reading:
    """The annotations of a file, and what was found in it."""

    truth: GroundTruth
    findings: list[Finding]


def read_annotations(
    path: Path, protocol: Protocol, options: ReadOptions | None = None
) -> GroundTruth:
    """Read and check an annotation file; say once what was derived.

    An empty list of annotations is allowed: its metrics are -1.

    Args:
        path: a JSON file with `images` and `annotations`.
        protocol: its keypoints are the expected ones, and it may take areas from boxes.
        options: how to read; None: as the file and the protocol say.

    Raises:
        DataError: the file is missing, damaged or in another format, or a rule refuses it.
    """
    return said(read_file(path, protocol.skeleton, options_of(protocol, options)), path)


def read_as(
    path: Path,
    skeleton: Skeleton | None,
    options: ReadOptions,
    *,
    read: Callable[[Path], Content] | None = None,
    spare: Skeleton | None = None,
    name: str = "",
    alone: bool = True,
) -> GroundTruth:
    """Read a file whose keypoints may be its own; say once what was derived.

    Args:
        path: the file.
        skeleton: the expected keypoints; None: the file's own.
        options: how to read.
        read: reads another format into the lists of COCO's; None: it is in COCO's.
        spare: the keypoints of a file that does not name its own.
        name: of keypoints that are the file's own; empty: the file's name.
        alone: the annotations depend on nothing but the file, so that they can be kept.

    Raises:
        DataError: as `read_annotations`.
    """
    read = read or _content
    if alone:
        return said(read_file(path, skeleton, options, read=read, spare=spare, name=name), path)
    return said(inspect_content(read(path), path, skeleton, options, spare=spare, name=name), path)


def _content(path: Path) -> Content:
    """Return the lists of a file in COCO's format."""
    return parse_content(read_text(path, "an annotation file"), path)


def check_content(
    content: Content, path: Path, protocol: Protocol, options: ReadOptions | None = None
) -> GroundTruth:
    """Check the lists of an annotation file, as `read_annotations`; `path` is for messages."""
    options = options_of(protocol, options)
    return said(inspect_content(content, path, protocol.skeleton, options), path)


def options_of(protocol: Protocol, options: ReadOptions | None) -> ReadOptions:
    """Return the options with the area of the protocol, where it takes the box's."""
    options = options or ReadOptions()
    if protocol.area_of_box is not None and options.area == "auto":
        return replace(options, area=protocol.area_of_box)
    return options


def said(reading: Reading, path: Path) -> GroundTruth:
    """Say what was derived, and return the annotations."""
    for finding in reading.findings:
        if finding.rule.severity == "derived":
            warnings.warn(f"{path}: {finding.said()}", Notice, stacklevel=3)
    return reading.truth


def read_file(
    path: Path,
    skeleton: Skeleton | None,
    options: ReadOptions,
    *,
    read: Callable[[Path], Content] = _content,
    spare: Skeleton | None = None,
    name: str = "",
) -> Reading:
    """Read a file, or what was kept of it; arguments as for `read_as`.

    Raises:
        DataError: as `read_annotations`.
    """

    def inspected() -> tuple[GroundTruth, list[Finding]]:
        content = read(path)
        reading = inspect_content(content, path, skeleton, options, spare=spare, name=name)
        return reading.truth, reading.findings

    reader = f"{read.__module__}.{read.__name__}"
    return Reading(*read_kept(path, (skeleton, spare), options, name, inspected, reader))


def inspect_content(
    content: Content,
    path: Path,
    skeleton: Skeleton | None,
    options: ReadOptions,
    *,
    spare: Skeleton | None = None,
    name: str = "",
    strict: bool = True,
) -> Reading:
    """Read the lists of a file.

    Args:
        content: its lists.
        path: for messages.
        skeleton: the expected keypoints; None: the file's own.
        options: how to read.
        spare: the keypoints of a file that does not name its own.
        name: of keypoints that are the file's own; empty: the file's name.
        strict: raise what is refused; otherwise it is among the findings, and what is refused is
            left out of the annotations.

    Raises:
        DataError: a rule refuses it, or its categories do not fit.
    """
    report = Report()
    images = read_images(content.images, path, report)
    if not content.images:
        raise DataError(
            f"Expected images in {path}, but its list of images is empty. Check the path."
        )
    known = skeleton or spare
    if not content.annotated and known is not None:
        # COCO's test-dev lists eighty categories without keypoints.
        chosen = choose(None, known, options, path, report)
    else:
        chosen = choose(content.categories, skeleton, options, path, report, spare=spare, name=name)
    if not chosen.file_keypoints:
        chosen = replace(chosen, file_keypoints=_keypoints_in(content, chosen, options, path))
    reader = PeopleReader(chosen, images, options, path, report)
    truth = _joined(
        reader.read(content.annotations), chosen, images, options, path, report, content.annotated
    )
    if content.annotations and not reader.with_keypoints and options.keypoints_field != "keypoints":
        raise DataError(
            f"Expected {options.keypoints_field!r} (`keypoints_field` of the dataset.toml) in the "
            f"annotations of {path}, but none has it: they have {_fields_in(content)}. Name the "
            "field of the keypoints."
        )
    if content.annotations and not reader.with_keypoints:
        raise DataError(
            f"Expected {options.keypoints_field!r} in the annotations of {path}, but none has "
            "them: are these boxes only? COCO's keypoint files are named person_keypoints_*.json."
        )
    if strict:
        report.raise_refused()
    return Reading(truth, report.findings)


def _fields_in(content: Content) -> str:
    """Return the names of the fields of the annotations, as a list in words."""
    names: dict[str, None] = {}
    for part in record_parts(content.annotations, dict[str, Any]):
        for record in part.plain():
            names.update(dict.fromkeys(record if isinstance(record, dict) else ()))
    return ", ".join(names) or "no fields"


def _keypoints_in(content: Content, chosen: Chosen, options: ReadOptions, path: Path) -> int:
    """Return how many keypoints the first annotation with some has.

    Raises:
        DataError: they are fewer than `select` counts.
    """
    needed = max(chosen.columns) + 1
    for part in record_parts(content.annotations, dict[str, Any]):
        for record in part.plain():
            row = record.get(options.keypoints_field) if isinstance(record, dict) else None
            if isinstance(row, list) and row:
                found = len(row) if isinstance(row[0], list) else len(row) // 3
                if found < needed:
                    raise DataError(
                        f"Expected keypoints 0 to {found - 1} of {path} in select, but found "
                        f"{needed - 1}."
                    )
                return found
    return needed


def _joined(
    parts: list[People], chosen: Chosen, images: Images, options: ReadOptions, path: Path,
    report: Report, annotated: bool,
) -> GroundTruth:  # fmt: skip
    """Return the parts of a file as one, with boxes and areas for everyone."""
    skeleton = chosen.skeleton
    ids = [name for part in parts for name in part.ids]

    def joined(name: str, empty: tuple[int, ...], kind: Any) -> Any:
        arrays = [getattr(part, name) for part in parts]
        return np.concatenate(arrays) if arrays else np.zeros(empty, kind)

    keypoints = joined("keypoints", (0, len(skeleton), 3), np.int16)
    image = joined("image", (0,), np.int64)
    crowd = joined("crowd", (0,), np.bool_)
    sizes = np.array(images.sizes, np.int32).reshape(-1, 2)

    def owner(index: int) -> Owner:
        return Owner(ids[index], images.described(int(image[index])), path)

    people = (keypoints[..., 2] > 0).any(1)
    boxes = derived.derive_boxes(
        joined("boxes", (0, 4), np.float64), keypoints, people, crowd, options, owner, report
    )
    area, area_derived = derived.derive_area(
        joined("area", (0,), np.float64), boxes, people, crowd, options, owner, report
    )
    derived.check_places(keypoints, image, sizes, skeleton, owner, path, report)
    others = next((f.count for f in report.findings if f.rule is rules.OTHER_CATEGORIES), 0)
    derived.check_one_annotation_per_image(keypoints, image, others, path, report)
    outlines = derived.drawable_outlines(
        [outline for part in parts for outline in part.outlines], image, sizes, owner, report
    )
    heads = _heads(parts)
    several = len(chosen.names) > 1
    return GroundTruth(
        skeleton,
        texts_or_numbers(images.ids),
        Texts.of(images.names),
        sizes,
        images.crowding(),
        image,
        keypoints,
        boxes,
        area,
        crowd,
        Texts.of(ids),
        Texts.of(outlines),
        heads,
        area_derived,
        joined("category", (0,), np.int64) if several else None,
        chosen.names,
        tuple(number if isinstance(number, int) else 1 for number in chosen.ids) or (1,),
        annotated,
    )


def _heads(parts: list[People]) -> Floats | None:
    """Return the head boxes of all annotations, NaN where one has none; None: nobody has one."""
    if all(part.heads is None for part in parts):
        return None
    none = [np.full((len(part.ids), 4), np.nan) for part in parts]
    heads = [
        other if part.heads is None else part.heads for part, other in zip(parts, none, strict=True)
    ]
    return np.concatenate(heads)
