"""AI Challenger 2017 human keypoints: the official lists of images, in COCO's format.

Boxes are corners, and flags have meanings of their own; docs/datasets.md says how the official
evaluation differs from the one here.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from posebench.errors import DataError
from posebench.files import PERSON, finite_rows, parse_json, read_text
from posebench.skeleton import named_skeletons

if TYPE_CHECKING:
    from posebench.data.annotations.text import Content

# 1: visible, 2: not visible, 3: not in the image, or not to be guessed.
_VISIBILITY = {1: 2, 2: 1, 3: 0, 0: 0}


def read_aic(path: Path) -> Content:
    """Return an annotation file of AI Challenger converted to COCO's format.

    Images are numbered from 1, in the order of the file.

    Args:
        path: the official list of images; or a file in COCO's format.

    Raises:
        DataError: the file is missing, damaged, or none of these.
    """
    from posebench.data.annotations.text import Content, parse_content

    text = read_text(path, "an annotation file")
    if not text.lstrip().startswith(b"["):
        return parse_content(text, path)
    people: list[_Person] = []
    images: list[dict[str, Any]] = []
    for number, entry in enumerate(parse_json(text, path, "an annotation file"), start=1):
        owner = f"image {number} of {path}"
        name, boxes, keypoints = _fields(entry, owner)
        images.append({"id": number, "file_name": f"{name}.jpg"})
        for person in dict.fromkeys([*boxes, *keypoints]):
            people.append(_Person(number, person, boxes.get(person), keypoints.get(person)))
    category = {"id": PERSON, "name": "person", "keypoints": [*named_skeletons()["aic"].keypoints]}
    return Content(images, _records(people, path), [category])


@dataclass(frozen=True, slots=True)
class _Person:
    image: int
    name: str
    box: Any  # None: the file has none
    keypoints: Any


def _records(people: list[_Person], path: Path) -> list[msgspec.Raw]:
    """Return the people as annotations in JSON, which take a fraction of their memory.

    Raises:
        DataError: a box or keypoints do not fit.
    """
    boxed = [k for k, person in enumerate(people) if person.box is not None]
    corners = _rows([people[k] for k in boxed], "box", 4, path)
    boxes = dict(zip(boxed, corners.tolist(), strict=True))
    labelled = [k for k, person in enumerate(people) if person.keypoints is not None]
    count = len(named_skeletons()["aic"])
    rows = _rows([people[k] for k in labelled], "keypoints", 3 * count, path)
    _map_flags(rows.reshape(-1, count, 3), [people[k] for k in labelled], path)
    keypoints = dict(zip(labelled, rows.tolist(), strict=True))
    encoder = msgspec.json.Encoder()
    records = []
    for index, person in enumerate(people):
        record: dict[str, Any] = {
            "id": index + 1, "image_id": person.image, "category_id": PERSON, "iscrowd": 0,
            "keypoints": keypoints.get(index, []),
        }  # fmt: skip
        if index in boxes:
            left, top, right, bottom = boxes[index]
            record["bbox"] = [left, top, right - left, bottom - top]
        records.append(msgspec.Raw(encoder.encode(record)))
    return records


def _rows(people: list[_Person], field: str, width: int, path: Path) -> NDArray[np.float64]:
    """Return the (n, width) numbers of people's boxes or keypoints."""
    names = {"box": "human_annotations", "keypoints": "keypoint_annotations"}
    given = [getattr(person, field) for person in people]
    return finite_rows(given, width, names[field], lambda index: _owner(people[index], path))


def _owner(person: _Person, path: Path) -> str:
    return f"{person.name} in image {person.image} of {path}"


def _map_flags(rows: NDArray[np.float64], people: list[_Person], path: Path) -> None:
    """Make flags those of COCO, in place; keypoints that are not labelled become 0, 0, 0."""
    flags = rows[..., 2].copy()
    unknown = ~np.isin(flags, list(_VISIBILITY))
    if unknown.any():
        index, k = np.argwhere(unknown)[0]
        raise DataError(
            f"Expected a flag of 1 (visible), 2 (not visible) or 3 (absent) in the keypoints of "
            f"{_owner(people[index], path)}, but found {flags[index, k]:g}. Correct it."
        )
    for flag, meant in _VISIBILITY.items():
        rows[flags == flag, 2] = meant
    rows[rows[..., 2] == 0] = 0


def _fields(entry: Any, owner: str) -> tuple[str, dict[str, Any], dict[str, Any]]:
    """Return an image's name, its people's boxes, and their keypoints."""
    fields = entry if isinstance(entry, dict) else {}
    name = fields.get("image_id")
    boxes, keypoints = fields.get("human_annotations"), fields.get("keypoint_annotations")
    if not (isinstance(name, str) and isinstance(boxes, dict) and isinstance(keypoints, dict)):
        raise DataError(
            f"Expected image_id, human_annotations and keypoint_annotations in {owner}, but found "
            f"{', '.join(map(str, fields)) or repr(entry)[:40]}. AI Challenger's file is a list of "
            "images with these fields."
        )
    return name, boxes, keypoints
