"""What a file does not give, boxes and areas; and what looks wrong in it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from posebench.data.annotations import rules
from posebench.data.annotations.options import AREA_OF_BOX, ReadOptions
from posebench.data.annotations.rules import Owner, Report
from posebench.skeleton import Skeleton

Floats = NDArray[np.float64]
OwnerOf = Callable[[int], Owner]  # of an annotation, for messages

# A box around keypoints is grown on each side by this share of its longer side, since people reach
# beyond their joints.
MARGIN = 0.1
_SMALLEST_SIDE = 1.0  # pixels, on each side of a hull that is a point or a line


def hull(keypoints: NDArray[Any]) -> Floats:
    """Return the boxes around labelled keypoints, grown by `MARGIN`.

    Args:
        keypoints: (N, K, 3); everyone has a labelled keypoint.

    Returns:
        (N, 4) x, y, width, height.
    """
    labelled = keypoints[..., 2:] > 0
    low = np.where(labelled, keypoints[..., :2], np.inf).min(1)
    high = np.where(labelled, keypoints[..., :2], -np.inf).max(1)
    margin = np.maximum(MARGIN * (high - low).max(1, keepdims=True), _SMALLEST_SIDE)
    low, high = low - margin, high + margin
    return np.concatenate([low, high - low], 1).astype(np.float64)


def derive_boxes(
    boxes: Floats, keypoints: NDArray[Any], people: NDArray[np.bool_], crowd: NDArray[np.bool_],
    options: ReadOptions, owner: OwnerOf, report: Report,
) -> Floats:  # fmt: skip
    """Return the boxes of all annotations; those that are missing or empty are derived.

    Args:
        boxes: (N, 4), NaN where the file has none.
        keypoints: (N, K, 3).
        people: (N,) with a labelled keypoint.
        crowd: (N,) crowd regions, which are not derived.
        options: `box` says where they come from.
        owner: of an annotation, for messages.
        report: takes how many were derived, or are wrong.
    """
    missing = np.asarray(np.isnan(boxes).any(1), np.bool_)
    empty = missing | (boxes[:, 2] <= 0) | (boxes[:, 3] <= 0)
    derived = people & ~crowd
    if options.box != "keypoints":
        derived &= empty & (options.box == "auto")
    if options.box == "annotated":
        for index in np.flatnonzero(people & ~crowd & empty).tolist():
            report.refuse(
                rules.BOX_UNFIT, owner(index),
                f"Expected a box with a width and height above 0 of {owner(index)}, but it has "
                'none. Add it, or derive boxes with box = "auto".',
            )  # fmt: skip
    boxes = np.where(missing[:, None], 0.0, boxes)
    if derived.any():
        if options.box == "auto":  # otherwise the user has asked for it
            report.note(rules.NO_BOX, "", int(derived.sum()))
        boxes[derived] = hull(keypoints[derived])
    return boxes


def derive_area(
    area: Floats, boxes: Floats, people: NDArray[np.bool_], crowd: NDArray[np.bool_],
    options: ReadOptions, owner: OwnerOf, report: Report,
) -> tuple[Floats, NDArray[np.bool_] | None]:  # fmt: skip
    """Return the areas by which OKS divides, and whose are derived though others are annotated.

    Args and returned arrays are (N,), as for `derive_boxes`; None: nobody's.
    """
    width, height = boxes[:, 2], boxes[:, 3]
    if isinstance(options.area, int | float):
        # In this order, as the published loaders multiply.
        return options.area * width * height, None
    missing = people & ~crowd & ~(area > 0)
    if options.area == "annotated":
        for index in np.flatnonzero(missing).tolist():
            report.refuse(
                rules.AREA_UNFIT, owner(index),
                f"Expected an area above 0 of {owner(index)}, but found {area[index]:g}. Add it, "
                'or derive areas with area = "auto".',
            )  # fmt: skip
    elif missing.any():
        report.note(rules.NO_AREA, "", int(missing.sum()))
    # A person or region that is not evaluated needs none.
    derived = AREA_OF_BOX * width * height
    areas = np.where(missing, derived, np.where(np.isnan(area), width * height, area))
    return areas, missing if missing.any() else None


def check_places(
    keypoints: NDArray[Any], image: NDArray[np.int64], sizes: NDArray[Any], skeleton: Skeleton,
    owner: OwnerOf, path: Path, report: Report,
) -> None:  # fmt: skip
    """Report coordinates that look wrong: relative ones, at the origin, outside of the image.

    Args:
        keypoints: (N, K, 3).
        image: (N,) index of the image.
        sizes: (I, 2) width, height; 0 where not known.
        skeleton: whose keypoints these are.
        owner: of an annotation, for messages.
        path: for messages.
        report: takes the findings.
    """
    labelled = keypoints[..., 2] > 0
    if not labelled.any():
        return
    x, y = keypoints[..., 0], keypoints[..., 1]
    some = x[labelled], y[labelled]
    within = all(bool(((c >= 0) & (c <= 1)).all()) for c in some)
    if within and any(bool(((c > 0) & (c < 1)).any()) for c in some):
        report.refuse(
            rules.RELATIVE, path.name,
            f"Expected coordinates in pixels in {path}, but all of its labelled keypoints lie "
            "between 0 and 1: they look relative to the image. Multiply x by its width and y by "
            "its height.",
        )  # fmt: skip
        return
    at_origin = labelled & (x == 0) & (y == 0)
    for index in np.flatnonzero(at_origin.any(1)).tolist():
        report.note(rules.AT_ORIGIN, owner(index), int(at_origin[index].sum()))
    width, height = sizes[image, 0, None], sizes[image, 1, None]
    outside = labelled & ((x < 0) | (y < 0) | (x >= width) | (y >= height)) & (width > 0)
    for index in np.flatnonzero(outside.any(1)).tolist():
        report.note(rules.OUTSIDE, owner(index), int(outside[index].sum()))
    for k in np.flatnonzero(~labelled.any(0)).tolist():
        report.note(rules.NEVER_LABELLED, skeleton.keypoints[k])


class _RunLengths(msgspec.Struct):
    counts: list[int] | str
    size: tuple[int, int]  # height, width


_Polygon = Annotated[list[float], msgspec.Meta(min_length=6)]
_OUTLINE = msgspec.json.Decoder(Annotated[list[_Polygon], msgspec.Meta(min_length=1)] | _RunLengths)


def drawable(outline: bytes, size: Sequence[int]) -> bool:
    """Return whether an outline in JSON is polygons or run lengths of an image.

    Args:
        outline: polygons of at least three points, or an object with counts and size.
        size: width and height of the image; 0: not known.
    """
    try:
        value = _OUTLINE.decode(outline)
    except msgspec.ValidationError:
        return False
    if isinstance(value, _RunLengths):
        # Files exist whose images have their width and height exchanged.
        return 0 in size or sorted(value.size) == sorted(size)
    return all(len(polygon) % 2 == 0 for polygon in value)


def drawable_outlines(
    outlines: list[bytes], image: NDArray[np.int64], sizes: NDArray[Any], owner: OwnerOf,
    report: Report,
) -> list[bytes]:  # fmt: skip
    """Return the outlines, empty where they cannot be drawn; those without any are left alone."""
    kept = list(outlines)
    size_of = sizes.tolist()
    for index, (outline, place) in enumerate(zip(outlines, image.tolist(), strict=True)):
        if outline in (b"", b"[]", b"null"):
            kept[index] = b""
        elif not drawable(outline, size_of[place]):
            report.note(rules.OUTLINE_UNFIT, owner(index))
            kept[index] = b""
    return kept


def check_one_annotation_per_image(
    keypoints: NDArray[Any], image: NDArray[np.int64], others: int, path: Path, report: Report
) -> None:
    """Refuse a file in which all people of an image share one annotation, as Label Studio writes.

    Args:
        keypoints: (N, K, 3).
        image: (N,) index of the image.
        others: number of annotations of other categories, such as people's boxes.
        path: for messages.
        report: takes the finding.
    """
    images = len(np.unique(image))
    if images > 1 and images == len(image) and others >= 2 * images:
        report.refuse(
            rules.NO_PEOPLE, path.name,
            f"Expected an annotation for each person in {path}, but each image has one for the "
            f"keypoints and {others / images:.1f} boxes of other categories: this export joins the "
            "keypoints of all people, so they cannot be told apart. Export again with the "
            "keypoints inside their person's region, or keep images with a single person.",
        )  # fmt: skip
