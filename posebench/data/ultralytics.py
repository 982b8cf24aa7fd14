"""Folders of ultralytics' pose format: data.yaml, and a text file of labels beside each image.

A line is `class cx cy w h` and K keypoints `x y [v]`, all relative to the image.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from posebench.data.annotations.options import ReadOptions
from posebench.data.image_files import is_image_name, read_size
from posebench.data.layout import SplitFiles
from posebench.errors import DataError
from posebench.skeleton import Skeleton, pairs_by_name, skeleton_from_table
from posebench.toml_tables import Table

if TYPE_CHECKING:
    from posebench.data.annotations.text import Content

_SPLITS = ("train", "val", "test")


def read_data_yaml(path: Path) -> dict[str, Any]:
    """Return what a data.yaml says of a dataset, as the fields of a `DescribedLayout`.

    Raises:
        DataError: it is no YAML, or does not describe keypoints.
    """
    content = _content(path)
    root = path.parent / str(content.get("path", "."))
    if not root.is_dir():  # `path` is often one of the machine on which the file was written
        root = path.parent
    count, numbers = _shape(content, path)
    files = {}
    for split in _SPLITS:
        given = content.get(split)
        for images in (root / str(given), path.parent / str(given).removeprefix("../")):
            if given and images.is_dir():
                files[split] = SplitFiles(images.absolute(), (_labels(images).absolute(),))
                break
    if not files:
        raise DataError(
            f"Expected the folders of images that {path} names (train, val), but none is there: "
            "correct `path` and the splits in it."
        )
    skeleton = _skeleton(content, count, path)
    names = _class_names(content)

    def read(labels: Path) -> Content:
        images = next(split.images for split in files.values() if labels in split.annotations)
        assert images is not None
        return read_labels(labels, images, skeleton, numbers, names)

    return {"files": files, "read": read, "options": ReadOptions(), "keypoints": skeleton}


def _content(path: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise DataError(f"Expected ultralytics' data file at {path}: {error}.") from None
    if not isinstance(content, dict):
        raise DataError(f"Expected keys such as train and kpt_shape in {path}, but it has none.")
    return content


def _shape(content: dict[str, Any], path: Path) -> tuple[int, int]:
    shape = content.get("kpt_shape")
    if not isinstance(shape, list) or len(shape) != 2 or shape[1] not in (2, 3):
        raise DataError(
            f"Expected kpt_shape: [K, 2 or 3] in {path}, but found {shape!r}: is it a dataset of "
            "boxes without keypoints?"
        )
    return int(shape[0]), int(shape[1])


def _skeleton(content: dict[str, Any], count: int, path: Path) -> Skeleton:
    names = content.get("kpt_names")
    if isinstance(names, dict):  # by class
        names = next(iter(names.values()), None)
    if not isinstance(names, list) or len(names) != count:
        names = [f"keypoint_{k}" for k in range(count)]
    names = list(map(str, names))
    table: dict[str, Any] = {"keypoints": names}
    flip = content.get("flip_idx")
    if isinstance(flip, list) and len(flip) == count:
        pairs = [(k, int(other)) for k, other in enumerate(flip) if k < int(other)]
        table["pairs"] = [[names[first], names[second]] for first, second in pairs]
    elif pairs_by_name(names) is None:
        table["mirror"] = False
    sigmas = content.get("kpt_oks_sigmas")
    if isinstance(sigmas, list) and len(sigmas) == count:
        table["sigmas"] = sigmas
    return skeleton_from_table(Table(table, str(path)), path.parent.name)


def _class_names(content: dict[str, Any]) -> dict[int, str]:
    names = content.get("names", {})
    if isinstance(names, list):
        names = dict(enumerate(names))
    return {int(number): str(name) for number, name in names.items()}


def _labels(images: Path) -> Path:
    """Return the folder of labels: `images` in the path becomes `labels`, as ultralytics does."""
    parts = list(images.parts)
    for place in range(len(parts) - 1, -1, -1):
        if parts[place] == "images":
            parts[place] = "labels"
            return Path(*parts)
    return images.parent / "labels"


def read_labels(
    labels: Path, images: Path, skeleton: Skeleton, numbers: int, names: dict[int, str]
) -> Content:
    """Return a split in COCO's format.

    Args:
        labels: the folder of text files.
        images: the folder of images.
        skeleton: the keypoints.
        numbers: values of a keypoint: 3, or 2 without visibility, where (0, 0) is not labelled.
        names: of the classes.

    Raises:
        DataError: a line does not fit.
    """
    from posebench.data.annotations.text import Content

    listed: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    used: set[int] = set()
    for path in sorted(file for file in images.rglob("*") if is_image_name(file)):
        name = path.relative_to(images)
        width, height = read_size(path)
        number = len(listed) + 1
        listed.append(
            {"id": number, "file_name": name.as_posix(), "width": width, "height": height}
        )
        text = labels / name.with_suffix(".txt")
        if not text.is_file():
            continue
        for row, line in enumerate(text.read_text(encoding="utf-8").splitlines(), start=1):
            if line.strip():
                where = f"line {row} of {text}"
                person = _person(line, where, len(skeleton), numbers, (width, height))
                used.add(person["category_id"])
                annotations.append({"id": len(annotations) + 1, "image_id": number, **person})
    categories = [
        {"id": number, "name": names.get(number, str(number)), "keypoints": [*skeleton.keypoints]}
        for number in sorted(used | names.keys())
    ]
    return Content(listed, annotations, categories)


def _person(
    line: str, where: str, count: int, numbers: int, size: tuple[int, int]
) -> dict[str, Any]:
    try:
        values = [float(word) for word in line.split()]
    except ValueError:
        raise DataError(f"Expected numbers in {where}, but found {line[:60]!r}.") from None
    expected = 5 + count * numbers
    if len(values) != expected or not all(map(math.isfinite, values)):
        raise DataError(
            f"Expected {expected} finite numbers (a class, a box and {count} keypoints of "
            f"{numbers}) in {where}, but found {len(values)}. Correct it, or kpt_shape in "
            "data.yaml."
        )
    width, height = size
    x, y, w, h = values[1] * width, values[2] * height, values[3] * width, values[4] * height
    keypoints: list[float] = []
    for k in range(count):
        point = values[5 + k * numbers : 5 + (k + 1) * numbers]
        flag = point[2] if numbers == 3 else 2.0 * (point[0] > 0 or point[1] > 0)
        keypoints += [point[0] * width, point[1] * height, flag]
    return {
        "category_id": int(values[0]),
        "bbox": [x - w / 2, y - h / 2, w, h],
        "keypoints": keypoints,
    }
