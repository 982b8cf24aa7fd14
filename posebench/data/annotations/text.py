"""From JSON text to the lists of an annotation file, whose records stay in JSON.

Files of COCO's size are decoded a part at a time: as Python objects, train2017 would take 1.5 GB.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from posebench.errors import DataError
from posebench.files import parse_json

_KIND = "an annotation file"
_PART = 128  # records that are decoded together

# A record is an object, or JSON text of one.
Records = Sequence[Any]


@dataclass(frozen=True)
class Content:
    """An annotation file in COCO's format."""

    images: Records
    annotations: Records
    categories: list[Any] | None
    annotated: bool = True  # False: it has no list of annotations


class _File(msgspec.Struct, gc=False):
    images: list[msgspec.Raw]
    annotations: list[msgspec.Raw]
    categories: list[Any] | None = None


def parse_content(text: bytes, path: Path) -> Content:
    """Return the lists of an annotation file.

    Args:
        text: in UTF-8.
        path: for messages.

    Raises:
        DataError: it is not JSON, or not in COCO's format.
    """
    try:
        file = msgspec.json.decode(text, type=_File)
        return Content(file.images, file.annotations, file.categories)
    except (msgspec.DecodeError, UnicodeDecodeError):
        # Not in COCO's format, or with NaN, which is no JSON but common.
        return content_of(parse_json(text, path, _KIND), path)


def content_of(value: Any, path: Path) -> Content:
    """Return the lists of a parsed annotation file.

    Raises:
        DataError: it is not in COCO's format.
    """
    if not isinstance(value, dict) or "images" not in value:
        raise DataError(_other_form(value, path))
    images = value["images"]
    if "annotations" not in value and _annotations_inside(images):
        raise DataError(
            f"Expected 'annotations' beside 'images' in {path}, but each image has its own: "
            "this is OCHuman's original file. Take the COCO-format file, "
            "ochuman_coco_format_{val,test}_range_0.00_1.00.json, which is in the same download."
        )
    annotations = value.get("annotations", [])
    for key, records in (("images", images), ("annotations", annotations)):
        if not isinstance(records, list):
            raise DataError(
                f"Expected {key!r} in {path} to be a list of objects, but it is not. Check the "
                "path."
            )
    categories = value.get("categories")
    return Content(
        images,
        annotations,
        categories if isinstance(categories, list) else None,
        annotated="annotations" in value,
    )


def _other_form(value: Any, path: Path) -> str:
    found = f"the keys {sorted(map(str, value))}" if isinstance(value, dict) else "no keys"
    hint = "An annotation file in COCO's format has images and annotations."
    if isinstance(value, list) and value and isinstance(value[0], dict) and "score" in value[0]:
        hint = "It looks like a result file: score it with --predictions."
    return f"Expected 'images' in {path}, but found {found[:200]}. {hint}"


def _annotations_inside(images: Any) -> bool:
    return isinstance(images, list) and any(
        isinstance(image, dict) and "annotations" in image for image in images[:1]
    )


@dataclass(frozen=True)
class Part:
    """Some records of a list, which are decoded together."""

    start: int  # number of the first record
    _records: Records
    _decoder: msgspec.json.Decoder[Any]

    def typed(self) -> list[Any] | None:
        """Return the records as their type; None: not all of them are of that form."""
        if not isinstance(self._records[0], msgspec.Raw):
            return None
        try:
            records: list[Any] = self._decoder.decode(self._text())
        except msgspec.ValidationError:
            return None
        return records

    def plain(self) -> list[Any]:
        """Return the records as plain Python values."""
        if not isinstance(self._records[0], msgspec.Raw):
            return list(self._records)
        records: list[Any] = msgspec.json.decode(self._text())
        return records

    def _text(self) -> bytes:
        return b"[" + b",".join(self._records) + b"]"


def parts(records: Records, kind: type[Any]) -> Iterator[Part]:
    """Yield the records part by part; `kind` is the type that they usually fit."""
    decoder = msgspec.json.Decoder(list[kind])  # type: ignore[valid-type]
    for start in range(0, len(records), _PART):
        yield Part(start, records[start : start + _PART], decoder)
