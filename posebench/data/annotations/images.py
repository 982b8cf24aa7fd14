"""The images of an annotation file: ids, names, sizes."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from posebench.data.annotations import rules
from posebench.data.annotations.rules import Report
from posebench.data.annotations.text import Records, parts

_LARGEST = 10**6  # pixels of a side


class _Image(msgspec.Struct, gc=False):
    """An image as COCO writes it."""

    id: int | str
    file_name: str
    width: int = 0
    height: int = 0
    crowdIndex: float = math.nan  # noqa: N815 (CrowdPose's name)


@dataclass
class Images:
    """The images of a file, in its order."""

    ids: list[int | str] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    sizes: list[tuple[int, int]] = field(default_factory=list)
    crowd_index: list[float] = field(default_factory=list)
    place: dict[int | str, int] = field(default_factory=dict)  # id -> index
    ends: dict[str, int] = field(default_factory=dict)  # id in digits -> index, when needed

    def index_of(self, image_id: Any, report: Report, example: object) -> int | None:
        """Return the index of an id; None: it is not listed."""
        key = whole(image_id)
        if isinstance(key, int | str) and key in self.place:
            return self.place[key]
        if not isinstance(key, int | str):
            return None
        if not self.ends:
            self.ends = {_digits(one): index for one, index in self.place.items()}
        found = self.ends.get(_digits(key))
        if found is not None:
            report.note(rules.TEXT_IDS, f"{key!r} is {self.ids[found]!r}")
        return found

    def described(self, index: int) -> str:
        """Return an image's id and, if it has one, its file name."""
        return ", ".join(filter(None, [str(self.ids[index]), self.names[index]]))

    def crowding(self) -> NDArray[np.float64]:
        return np.array(self.crowd_index, np.float64)


def _digits(one: int | str) -> str:
    text = str(one).strip()
    return (text.lstrip("0") or "0") if text.isdecimal() else text


def whole(value: Any) -> Any:
    """Return 3 for 3.0, as tables of pandas write whole numbers; other values as they are."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value


def read_images(records: Records, path: Path, report: Report) -> Images:
    """Return the images of a file.

    Args:
        records: the file's list of images.
        path: for messages.
        report: takes what is wrong, derived or worth knowing.
    """
    images = Images()
    by_name: dict[str, int | str] = {}
    for part in parts(records, _Image):
        typed = part.typed()
        for number, record in enumerate(part.plain() if typed is None else typed, part.start):
            image = record if isinstance(record, _Image) else _lenient(record, number, path, report)
            if image is not None and _is_new(image, images, by_name, path, report):
                _add(image, images, path, report)
    return images


def _lenient(record: Any, number: int, path: Path, report: Report) -> _Image | None:
    """Return an image whose record is not as COCO writes it; None: it cannot be read."""
    if not isinstance(record, dict):
        report.refuse(
            rules.NO_OBJECT, f"image number {number}",
            f"Expected 'images' in {path} to be a list of objects, but number {number} is not.",
        )  # fmt: skip
        return None
    image_id = whole(record.get("id"))
    if isinstance(image_id, bool) or not isinstance(image_id, int | str):
        report.refuse(
            rules.ID_UNFIT, f"image number {number}",
            f"Expected a number or a text as the id of every image of {path}, but number {number} "
            f"has {record.get('id', 'none')!r}. Correct or remove it.",
        )  # fmt: skip
        return None
    name = record.get("file_name", "")
    if not isinstance(name, str):
        report.refuse(
            rules.MISSING, f"file_name of image {image_id}",
            f"Expected a text as the file_name of image {image_id} in {path}, but found "
            f"{str(name)[:40]}. Correct it.",
        )  # fmt: skip
        return None
    width, height = (
        _side(record.get(key), key, image_id, path, report) for key in ("width", "height")
    )
    crowd = record.get("crowdIndex")
    if isinstance(crowd, bool) or not isinstance(crowd, int | float):
        crowd = math.nan
    return _Image(image_id, name, width, height, float(crowd))


def _side(value: Any, key: str, image_id: int | str, path: Path, report: Report) -> int:
    if value is None:
        return 0
    if isinstance(value, float) and value.is_integer():
        report.note(rules.WHOLE_FLOATS, f"{key} {value} of image {image_id}")
    found = whole(value)
    if isinstance(found, bool) or not isinstance(found, int):
        report.refuse(
            rules.SIZE_UNFIT, f"image {image_id}",
            f"Expected a whole number of pixels as {key!r} of image {image_id} in {path}, but "
            f"found {str(value)[:40]}. Correct it.",
        )  # fmt: skip
        return 0
    return found


def _is_new(
    image: _Image, images: Images, by_name: dict[str, int | str], path: Path, report: Report
) -> bool:
    """Return whether an image is not in the list yet."""
    other = images.place.get(image.id)
    if other is not None:
        if images.names[other] == _slashed(image.file_name):
            report.note(rules.SAME_IMAGE_TWICE, image.id)
        else:
            report.refuse(
                rules.DUPLICATE_IMAGE, image.id,
                f"The image id {image.id} in {path} is of {images.names[other]} and of "
                f"{image.file_name}: their people cannot be told apart. Were two files put "
                "together? Number their images anew, or name both files in a dataset.toml.",
            )  # fmt: skip
        return False
    name = _slashed(image.file_name)
    if name and name in by_name:
        report.refuse(
            rules.IMAGE_TWICE, image.file_name,
            f"{image.file_name} is listed twice in {path}, as image {by_name[name]} and as image "
            f"{image.id}: each would be taught without the other's people. Keep one of them.",
        )  # fmt: skip
        return False
    by_name[name] = image.id
    return True


def _slashed(name: str) -> str:
    return name.replace("\\", "/") if "\\" in name and "/" not in name else name


def _add(image: _Image, images: Images, path: Path, report: Report) -> None:
    if _slashed(image.file_name) != image.file_name:
        report.note(rules.BACKSLASH, image.file_name)
    width, height = image.width, image.height
    if not width or not height:
        report.note(rules.NO_SIZE, image.file_name or image.id)
        width = height = 0
    elif not (0 < width < _LARGEST and 0 < height < _LARGEST):
        report.refuse(
            rules.SIZE_UNFIT, f"image {image.id}",
            f"Expected a width and height above 0 and below {_LARGEST} of image {image.id} in "
            f"{path}, but found {width} and {height}. Correct them.",
        )  # fmt: skip
        width = height = 0
    images.place[image.id] = len(images.ids)
    images.ids.append(image.id)
    images.names.append(_slashed(image.file_name))
    images.sizes.append((width, height))
    images.crowd_index.append(image.crowdIndex)
