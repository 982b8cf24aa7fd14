"""The annotations of a file as arrays, part by part.

A part as COCO writes it becomes arrays at once; in another, each record is read leniently first.
Both then go through the same rules.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from posebench.data.annotations import rules
from posebench.data.annotations.categories import Chosen, category_key
from posebench.data.annotations.images import Images, whole
from posebench.data.annotations.options import ReadOptions
from posebench.data.annotations.rules import Owner, Report
from posebench.data.annotations.text import Records, parts
from posebench.errors import DataError
from posebench.ground_truth import narrowed

Floats = NDArray[np.float64]

_NO_BOX = (math.nan,) * 4


class _Annotation(msgspec.Struct, gc=False):
    """An annotation as COCO writes it."""

    id: int | str
    image_id: int | str
    category_id: int
    keypoints: tuple[int | float, ...]
    bbox: tuple[float, float, float, float] = _NO_BOX
    area: float = math.nan
    iscrowd: int = 0
    is_crowd: int | bool | None = None  # another spelling, which needs a second look
    num_keypoints: int = -1
    segmentation: msgspec.Raw = msgspec.Raw(b"")
    headbox_xyxy: tuple[float, float, float, float] = _NO_BOX


@dataclass(frozen=True)
class People:
    """Some annotations of a file. NaN stands for numbers that it does not give."""

    ids: list[str]
    image: NDArray[np.int64]  # (n,) index of the image
    category: NDArray[np.int64]  # (n,) index into the chosen categories
    keypoints: NDArray[Any]  # (n, K, 3)
    boxes: Floats  # (n, 4)
    area: Floats  # (n,)
    crowd: NDArray[np.bool_]  # (n,)
    outlines: list[bytes]
    heads: Floats | None  # (n, 4) boxes of heads; None: nobody has one


@dataclass
class _Columns:
    """The fields of some annotations before they are arrays."""

    ids: list[str]
    image: list[int]
    category: list[int]
    keypoints: list[Sequence[float]]
    boxes: list[Sequence[float]]
    area: list[float]
    crowd: list[bool]
    stated: list[int]  # num_keypoints; -1: not given
    outlines: list[bytes]
    heads: list[Sequence[float]]

    @classmethod
    def empty(cls) -> _Columns:
        return cls([], [], [], [], [], [], [], [], [], [])


class PeopleReader:
    """Reads the annotations of a file.

    Args:
        chosen: the categories to read.
        images: the images of the file.
        options: how to read.
        path: for messages.
        report: takes what is wrong, derived or worth knowing.
    """

    def __init__(
        self, chosen: Chosen, images: Images, options: ReadOptions, path: Path, report: Report
    ) -> None:
        self.chosen, self.images, self.options = chosen, images, options
        self.path, self.report = path, report
        self.skeleton = chosen.skeleton
        self._width = 3 * chosen.file_keypoints
        self._columns = list(chosen.columns)
        self._in_order = self._columns == list(range(chosen.file_keypoints))
        self._category = {number: index for index, number in enumerate(chosen.ids)}
        self._without_names: set[Any] = set()  # categories with keypoints that nobody names
        self._seen: set[str] = set()
        self.with_keypoints = 0  # annotations that have a list of keypoints, empty or not

    def read(self, records: Records) -> list[People]:
        """Return the annotations of the chosen categories."""
        found = []
        for part in parts(records, _Annotation):
            typed = part.typed()
            columns = None if typed is None else self._typed(typed)
            if columns is None:
                columns = _Columns.empty()
                for number, record in enumerate(part.plain(), start=part.start):
                    self._add(record, number, columns)
            found.append(self._arrays(columns))
        if len(self._without_names) > 1:
            raise DataError(
                f"{self.path} has keypoints in the categories "
                f"{', '.join(map(str, sorted(self._without_names, key=str)))} and does not name "
                "them: choose one with `category` in a dataset.toml."
            )
        return found

    # --------------------------------------------------------------- records as COCO writes them

    def _typed(self, part: list[_Annotation]) -> _Columns | None:
        """Return the fields of records that need no second look; None: they need one."""
        place, known = self.images.place, self._category
        if (
            self.options.keypoints_field != "keypoints"
            or not all(len(a.keypoints) == self._width for a in part)
            or not all(a.image_id in place and a.category_id in known for a in part)
            or not all(a.iscrowd in (0, 1) and a.is_crowd is None for a in part)
        ):
            return None
        self.with_keypoints += len(part)
        return _Columns(
            [str(a.id) for a in part],
            [place[a.image_id] for a in part],
            [known[a.category_id] for a in part],
            [a.keypoints for a in part],
            [a.bbox for a in part],
            [a.area for a in part],
            [bool(a.iscrowd) for a in part],
            [a.num_keypoints for a in part],
            [bytes(a.segmentation) for a in part],
            [a.headbox_xyxy for a in part]
            if any(a.headbox_xyxy is not _NO_BOX for a in part)
            else [],
        )

    # -------------------------------------------------------------------------------- other records

    def _add(self, record: Any, number: int, columns: _Columns) -> None:
        """Read one record leniently, and add its fields; one that is refused is left out."""
        if not isinstance(record, dict):
            self.report.refuse(
                rules.NO_OBJECT, f"annotation number {number}",
                f"Expected 'annotations' in {self.path} to be a list of objects, but number "
                f"{number} is not.",
            )  # fmt: skip
            return
        name = str(whole(record.get("id", f"number {number}")))
        category = self._category_of(record, name)
        if category is None:
            return
        if "image_id" not in record:
            self._refuse_missing("image_id", name)
            return
        image = self.images.index_of(record["image_id"], self.report, name)
        if image is None:
            self.report.refuse(
                rules.UNKNOWN_IMAGE, f"annotation {name}",
                f"Expected the image of annotation {name} in {self.path} among its "
                f"{len(self.images.ids)} images, but {record['image_id']!r} is not listed. "
                "Add the image or remove the annotation.",
            )  # fmt: skip
            return
        owner = self._owner(name, image)
        crowd = self._crowd(record, owner)
        row = self._keypoint_row(record, owner)
        box = self._numbers(record, "bbox", 4, owner, rules.BOX_UNFIT)
        area = self._numbers(record, "area", 1, owner, rules.AREA_UNFIT)
        head = self._numbers(record, "headbox_xyxy", 4, owner, rules.BOX_UNFIT)
        stated = self._count(record, owner)
        if row is None or box is None or area is None or head is None or crowd is None:
            return
        columns.ids.append(name)
        columns.image.append(image)
        columns.category.append(category)
        columns.keypoints.append(row)
        columns.boxes.append(box)
        columns.area.append(area[0])
        columns.crowd.append(crowd)
        columns.stated.append(stated)
        outline = record.get("segmentation")
        columns.outlines.append(_as_json(outline) if outline else b"")
        columns.heads.append(head)

    def _owner(self, name: str, image: int) -> Owner:
        return Owner(name, self.images.described(image), self.path)

    def _category_of(self, record: dict[str, Any], name: str) -> int | None:
        """Return the index of the record's category; None: it is another one."""
        if "category_id" not in record:
            if len(self._category) <= 1:
                return 0
            self._refuse_missing("category_id", name)
            return None
        number = category_key(record["category_id"])
        if not isinstance(number, int | str):
            number = str(number)
        if number in self._category:
            return self._category[number]
        if number in self.chosen.others:
            self.report.note(rules.OTHER_CATEGORIES, self.chosen.others[number])
            return None
        if self._category:
            known = ", ".join(map(str, [*self._category, *self.chosen.others]))
            self.report.refuse(
                rules.UNKNOWN_CATEGORY, f"annotation {name}",
                f"Expected one of the categories that {self.path} lists ({known}), but annotation "
                f"{name} has category_id {record['category_id']!r}. Correct it, or add the "
                "category.",
            )  # fmt: skip
            return None
        if not record.get(self.options.keypoints_field):
            self.report.note(rules.OTHER_CATEGORIES, number)
            return None
        self._without_names.add(number)
        return 0

    def _refuse_missing(self, field: str, name: str) -> None:
        self.report.refuse(
            rules.MISSING, f"{field} of annotation {name}",
            f"Expected {field!r} in every annotation of {self.path}, but annotation {name} has "
            "none. Add it.",
        )  # fmt: skip

    def _crowd(self, record: dict[str, Any], owner: Owner) -> bool | None:
        value = record.get("iscrowd", record.get("is_crowd"))
        found = whole(value if value is not None else 0)
        if not isinstance(found, int):
            self.report.refuse(
                rules.COUNT_UNFIT, owner,
                f"Expected 0 or 1 as iscrowd of {owner}, but found {str(value)[:40]}. Correct it.",
            )  # fmt: skip
            return None
        if isinstance(value, float):
            self.report.note(rules.WHOLE_FLOATS, f"iscrowd {value}")
        return bool(found)

    def _count(self, record: dict[str, Any], owner: Owner) -> int:
        value = record.get("num_keypoints")
        if value is None:
            return -1
        if isinstance(value, float):
            self.report.note(rules.WHOLE_FLOATS, f"num_keypoints {value}")
        found = whole(value)
        if not isinstance(found, int):
            self.report.note(rules.RECOUNTED, owner)
            return -1
        return found

    def _keypoint_row(self, record: dict[str, Any], owner: Owner) -> list[float] | None:
        """Return 3 K numbers; NaN where an unlabelled keypoint has none."""
        row = record.get(self.options.keypoints_field)
        if self.options.keypoints_field in record:
            self.with_keypoints += 1
        if not row:  # nobody labelled this person; tracks of CVAT are written so
            self.report.note(rules.NOBODY, owner)
            return [0.0] * self._width
        if isinstance(row, list) and all(isinstance(one, list) for one in row):
            self.report.note(rules.NESTED, owner)
            row = [value for one in row for value in one]
        if not isinstance(row, list) or len(row) != self._width:
            found = f"{len(row) / 3:g}" if isinstance(row, list) else repr(row)[:40]
            pairs = isinstance(row, list) and 3 * len(row) == 2 * self._width
            hint = (
                f"{len(row)} numbers are {len(row) // 2} pairs x, y without their visibility."
                if pairs
                else "Is the file for another keypoint set?"
            )
            self.report.refuse(
                rules.KEYPOINTS_UNFIT, owner,
                f"Expected {self.chosen.file_keypoints} keypoints ({self._few()}) in {owner}, but "
                f"found {found}. {hint}",
            )  # fmt: skip
            return None
        values = []
        for place, value in enumerate(row):
            if value is None:
                value = math.nan
            if isinstance(value, bool) or not isinstance(value, int | float):
                self.report.refuse(
                    rules.KEYPOINTS_UNFIT, owner,
                    f"Expected numbers in keypoints of {owner}, but found {value!r} at position "
                    f"{place}. Correct or remove it.",
                )  # fmt: skip
                return None
            values.append(float(value))
        return values

    def _few(self) -> str:
        names = self.skeleton.keypoints
        return ", ".join(names[:2]) + (", ..." if len(names) > 2 else "")

    def _numbers(
        self, record: dict[str, Any], field: str, count: int, owner: Owner, rule: rules.Rule
    ) -> list[float] | None:
        """Return a field's numbers, NaN where the record does not have it; None: refused."""
        value = record.get(field)
        if value is None or value == []:
            return [math.nan] * count
        row = [value] if count == 1 else value
        if not isinstance(row, list) or len(row) != count:
            found = len(row) if isinstance(row, list) else repr(row)[:40]
            self.report.refuse(
                rule, owner,
                f"Expected {count} numbers in {field} of {owner}, but found {found}. Correct it.",
            )  # fmt: skip
            return None
        for one in row:
            if isinstance(one, bool) or not isinstance(one, int | float):
                self.report.refuse(
                    rule, owner,
                    f"Expected a number in {field} of {owner}, but found {one!r}. Correct it.",
                )  # fmt: skip
                return None
            if not math.isfinite(one):
                self.report.refuse(
                    rule, owner,
                    f"Expected finite numbers in {field} of {owner}, but found {one}. Correct it.",
                )  # fmt: skip
                return None
        return [float(one) for one in row]

    # -------------------------------------------------------------------------------------- both

    def _arrays(self, columns: _Columns) -> People:
        count = len(columns.ids)
        before = len(self._seen)
        self._seen.update(columns.ids)
        if len(self._seen) < before + count:
            again = [name for name, times in Counter(columns.ids).items() if times > 1]
            missing = before + count - len(self._seen)
            self.report.note(rules.DUPLICATE_ANNOTATION, (again or columns.ids)[0], missing)
        numbers = chain.from_iterable(columns.keypoints)  # a quarter faster than np.array
        rows = np.fromiter(numbers, np.float64, count * self._width)
        rows = rows.reshape(count, self._width // 3, 3)
        keypoints = rows if self._in_order else rows[:, self._columns]
        image = np.array(columns.image, np.int64)
        crowd = np.array(columns.crowd, np.bool_)

        def owner(index: int) -> Owner:
            return self._owner(columns.ids[index], columns.image[index])

        self._check_visibility(keypoints, owner)
        self._check_places(keypoints, owner)
        labelled = keypoints[..., 2] > 0
        if self.skeleton.not_counted:
            names = self.skeleton.keypoints
            labelled = labelled[:, [name not in self.skeleton.not_counted for name in names]]
        counts = labelled.sum(1)
        stated = np.array(columns.stated, np.int64)
        for index in np.flatnonzero((stated >= 0) & (counts != stated)).tolist():
            self.report.note(rules.RECOUNTED, f"annotation {columns.ids[index]}")
        people = ((counts > 0) & ~crowd).tolist()  # whose outlines are not needed
        outlines = [
            b"" if person else outline
            for outline, person in zip(columns.outlines, people, strict=True)
        ]
        return People(
            columns.ids,
            image,
            np.array(columns.category, np.int64),
            narrowed(keypoints),
            np.array(columns.boxes, np.float64).reshape(count, 4),
            np.array(columns.area, np.float64),
            crowd,
            outlines,
            np.array(columns.heads, np.float64).reshape(count, 4) if columns.heads else None,
        )

    def _check_visibility(self, keypoints: Floats, owner: Callable[[int], Owner]) -> None:
        """Make visibility 0, 1 or 2, in place."""
        flags = keypoints[..., 2]
        if not self.options.visibility and ((flags == 0) | (flags == 1) | (flags == 2)).all():
            return
        for given, meant in self.options.visibility.items():
            flags[flags == given] = meant
        unknown = np.isnan(flags)
        if unknown.any():
            # Without a flag, a keypoint is labelled where it has a place.
            placed = np.asarray(~np.isnan(keypoints[..., :2]).any(-1), np.bool_)
            flags[unknown] = np.where(placed[unknown], 2.0, 0.0)
        fraction = (flags > 0) & (flags < 1)
        wrong = ~(fraction | (flags == 0) | (flags == 1) | (flags == 2))
        for index, k in np.argwhere(wrong).tolist():
            self.report.refuse(
                rules.VISIBILITY_UNFIT, owner(index),
                f"Expected a visibility of 0, 1 or 2 of {self.skeleton.keypoints[k]} in "
                f"{owner(index)}, but found {flags[index, k]:g}. Correct it, or say in a "
                f"dataset.toml what it means (visibility = {{ {flags[index, k]:g} = 0 }}).",
            )  # fmt: skip
        flags[wrong] = 0
        if fraction.any():
            self.report.note(rules.CONFIDENCES, "", int(fraction.sum()))
            flags[fraction] = 2

    def _check_places(self, keypoints: Floats, owner: Callable[[int], Owner]) -> None:
        """Check the coordinates of labelled keypoints; others without numbers become 0."""
        places = keypoints[..., :2]
        missing = ~np.isfinite(places).all(-1)  # (n, K)
        unlabelled = missing & (keypoints[..., 2] == 0)
        if unlabelled.any():
            self.report.note(rules.NO_PLACE, "", int(unlabelled.sum()))
            places[unlabelled] = 0
        for index, k in np.argwhere(missing & ~unlabelled).tolist():
            found = next(v for v in places[index, k].tolist() if not math.isfinite(v))
            self.report.refuse(
                rules.KEYPOINTS_UNFIT, owner(index),
                f"Expected finite numbers in keypoints of {owner(index)}, but found {found} as the "
                f"place of {self.skeleton.keypoints[k]}, which is labelled. Correct or remove it.",
            )  # fmt: skip
        places[missing] = 0


def _as_json(outline: Any) -> bytes:
    try:
        return msgspec.json.encode(outline)
    except (msgspec.EncodeError, TypeError, ValueError):
        return b"null"
