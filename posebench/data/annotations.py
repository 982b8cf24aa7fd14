"""Annotation files in COCO's format: reading and checking.

Everything that training and evaluation rely on is checked here, once, when the file is read.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from pathlib import Path
from typing import Any

from posebench.errors import DataError
from posebench.files import PERSON, finite_rows, keypoint_rows, read_json
from posebench.structures import Protocol

_REQUIRED = ("id", "image_id", "category_id", "keypoints", "bbox")


def required_fields(protocol: Protocol) -> tuple[str, ...]:
    """Return the fields that every annotation must have."""
    return _REQUIRED if protocol.area_of_box is not None else (*_REQUIRED, "area")


def read_annotations(path: Path, protocol: Protocol) -> dict[str, Any]:
    """Read and check an annotation file.

    An empty list of annotations is allowed: its metrics are -1.

    Args:
        path: a JSON file with `images` and `annotations`.
        protocol: determines the expected keypoints and whether areas are required.

    Returns:
        The file's content, ready for `evaluate_keypoints`. A missing `num_keypoints` is counted
        from the keypoints (without CrowdPose's head and neck); all else is as in the file.

    Raises:
        DataError: the file is missing, damaged or in another format; it lists no images; or an
            annotation has an unknown image, a missing field, another number of keypoints, or NaN
            or infinity in its keypoints, box or area.
    """
    return check_annotations(read_json(path, "an annotation file"), path, protocol)


def check_annotations(content: Any, path: Path, protocol: Protocol) -> dict[str, Any]:
    """Check the content of an annotation file and return it; `path` is for messages."""
    skeleton = protocol.skeleton
    images, annotations = _records(content, "images", path), _records(content, "annotations", path)
    if not images:
        raise DataError(
            f"Expected images in {path}, but its list of images is empty. Check the path."
        )
    names = _image_names(images, path)

    def owner(index: int) -> str:
        annotation = annotations[index]
        image = ", ".join(
            filter(None, [str(annotation["image_id"]), names[annotation["image_id"]]])
        )
        return f"annotation {annotation['id']} (image {image}) in {path}"

    required = required_fields(protocol)
    _check_fields(annotations, required, path)
    for index, annotation in enumerate(annotations):
        _check_image(annotation, names, path)
        _check_numbers(annotation, index, owner)
    rows = [annotation["keypoints"] for annotation in annotations]
    keypoints = keypoint_rows(rows, skeleton.keypoints, owner)
    finite_rows([annotation["bbox"] for annotation in annotations], 4, "bbox", owner)
    if "area" in required:
        finite_rows([[annotation["area"]] for annotation in annotations], 1, "area", owner)

    # Imported here because it needs torch, which `data doctor` works without.
    from posebench.layers.oks import count_keypoints

    counts = count_keypoints(keypoints[..., 2], skeleton)
    for annotation, count in zip(annotations, counts.tolist(), strict=True):
        annotation.setdefault("num_keypoints", count)
    return dict(content)


def _check_fields(annotations: list[dict[str, Any]], required: tuple[str, ...], path: Path) -> None:
    """Raise a DataError unless every annotation has the required fields."""
    for field in required:
        for index, annotation in enumerate(annotations):
            if field not in annotation:
                raise DataError(
                    f"Expected {field!r} in every annotation of {path}, but number {index} "
                    f"(id {annotation.get('id', 'none')}) has none. "
                    "COCO's keypoint files are named person_keypoints_*.json."
                )


def _check_image(annotation: dict[str, Any], names: dict[int, str], path: Path) -> None:
    """Raise a DataError unless the annotation belongs to one of the images, listed by id."""
    image_id = annotation["image_id"]
    if not isinstance(image_id, Hashable) or image_id not in names:
        raise DataError(
            f"Expected the image of annotation {annotation['id']} in {path} among its "
            f"{len(names)} images, but {image_id!r} is not listed. "
            "Add the image or remove the annotation."
        )


def _check_numbers(annotation: dict[str, Any], index: int, owner: Callable[[int], str]) -> None:
    """Raise a DataError unless the annotation is a person's and its counts are whole numbers."""
    if annotation["category_id"] != PERSON:
        raise DataError(
            f"Expected only people (category_id {PERSON}), but {owner(index)} has "
            f"category_id {annotation['category_id']}. Remove or renumber it."
        )
    for field in ("num_keypoints", "iscrowd"):
        if not isinstance(annotation.get(field, 0), int):
            raise DataError(
                f"Expected a whole number as {field} of {owner(index)}, but found "
                f"{str(annotation[field])[:40]}. Correct or remove it."
            )


def _records(content: Any, key: str, path: Path) -> list[dict[str, Any]]:
    """Return the list of objects under a key of the file."""
    if not isinstance(content, dict) or key not in content:
        found = f"the keys {sorted(content)}" if isinstance(content, dict) else "no keys"
        raise DataError(
            f"Expected {key!r} in {path}, but found {found[:200]}. "
            "An annotation file in COCO's format has images and annotations."
        )
    records = content[key]
    if not isinstance(records, list) or not all(isinstance(record, dict) for record in records):
        raise DataError(
            f"Expected {key!r} in {path} to be a list of objects, but it is not. Check the path."
        )
    return records


def _image_names(images: list[dict[str, Any]], path: Path) -> dict[int, str]:
    """Return the file name of every image by id; empty where the file has none."""
    for index, image in enumerate(images):
        if not isinstance(image.get("id"), int):
            raise DataError(
                f"Expected a whole number as the id of every image of {path}, but number {index} "
                f"has {image.get('id', 'none')!r}. Correct or remove it."
            )
    return {image["id"]: str(image.get("file_name", "")) for image in images}
