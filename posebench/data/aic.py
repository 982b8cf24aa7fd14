"""AI Challenger 2017 human keypoints: the official lists of images, in COCO's format.

Boxes are corners, and flags have meanings of their own; docs/datasets.md says how the official
evaluation differs from the one here.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

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
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number, entry in enumerate(parse_json(text, path, "an annotation file"), start=1):
        owner = f"image {number} of {path}"
        name, boxes, keypoints = _fields(entry, owner)
        images.append({"id": number, "file_name": f"{name}.jpg"})
        for person in dict.fromkeys([*boxes, *keypoints]):
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": number,
                    "category_id": PERSON,
                    "iscrowd": 0,
                    **_person(boxes.get(person), keypoints.get(person), f"{person} in {owner}"),
                }
            )
    category = {"id": PERSON, "name": "person", "keypoints": [*named_skeletons()["aic"].keypoints]}
    return Content(images, annotations, [category])


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


def _person(box: Any, keypoints: Any, owner: str) -> dict[str, Any]:
    """Return a person's box and keypoints, as far as the file has them."""
    fields: dict[str, Any] = {"keypoints": []}
    if box is not None:
        left, top, right, bottom = finite_rows([box], 4, "human_annotations", lambda _: owner)[0]
        fields["bbox"] = [float(left), float(top), float(right - left), float(bottom - top)]
    if keypoints is not None:
        count = 3 * len(named_skeletons()["aic"])
        row = finite_rows([keypoints], count, "keypoint_annotations", lambda _: owner)[0]
        for x, y, flag in row.reshape(-1, 3).tolist():
            if flag not in _VISIBILITY:
                raise DataError(
                    f"Expected a flag of 1 (visible), 2 (not visible) or 3 (absent) in the "
                    f"keypoints of {owner}, but found {flag:g}. Correct it."
                )
            labelled = _VISIBILITY[int(flag)]
            fields["keypoints"] += [x, y, labelled] if labelled else [0.0, 0.0, 0]
    return fields
