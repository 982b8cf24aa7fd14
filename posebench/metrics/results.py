"""Result files in COCO's format, as several tools write them: reading and checking."""

from __future__ import annotations

import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from posebench.errors import DataError, Notice
from posebench.files import PERSON, finite_rows, keypoint_rows, read_json
from posebench.ground_truth import GroundTruth
from posebench.metrics.matching import Detections, Floats

_UNNAMED = "the results"
_FORMAT = "Results are in COCO's format: [{image_id, category_id, keypoints, score}, ...]."


def read_results(path: Path, truth: GroundTruth) -> list[dict[str, Any]]:
    """Read and check a result file, of posebench or any other program.

    Args:
        path: a JSON list of objects with image_id, category_id, keypoints and score.
        truth: the annotations that the results belong to.

    Raises:
        DataError: the file is missing or damaged, or its content is wrong (see `parse_results`).
    """
    results: list[dict[str, Any]] = read_json(path, "a result file")
    parse_results(results, truth, source=str(path))
    return results


def parse_results(results: Any, truth: GroundTruth, source: str = _UNNAMED) -> Detections:
    """Check results and return them as arrays.

    Entries of other categories are left out, as in the official tools, and counted in a notice. An
    image may be named by its id or by its file name, and keypoints may be nested lists.

    Args:
        results: a list of objects with image_id, category_id, keypoints (3 K numbers), score and
            optionally bbox.
        truth: the annotations that the results belong to.
        source: where the results come from, for messages.

    Raises:
        DataError: the results are not a list of such objects, all are of another category, or one
            has an unknown image, another number of keypoints, NaN or infinity. The official tools
            count NaN as a match and ignore infinite poses.
    """
    _check_form(results, source)
    images = _Images(truth, source)
    ranks = [images.rank_of(result["image_id"], index) for index, result in enumerate(results)]
    people = _of_people(results, truth, source)
    chosen = [results[index] for index in people]

    def owner(index: int) -> str:
        return f"entry {people[index]} (image {chosen[index]['image_id']}) of {source}"

    rows = [_flat(result["keypoints"]) for result in chosen]
    _check_pairs(rows, len(truth.skeleton), owner)
    keypoints = keypoint_rows(rows, truth.skeleton.keypoints, owner)
    scores = finite_rows([[r["score"]] for r in chosen], 1, "score", owner)[:, 0]
    extent = keypoints[..., :2].max(1) - keypoints[..., :2].min(1)
    area = extent[:, 0] * extent[:, 1]
    # If the first entry has a box, the official tools expect one in all entries, else they use
    # none. Here an entry without a box has the extent of its keypoints.
    if results and results[0].get("bbox"):
        boxed = [index for index, r in enumerate(chosen) if r.get("bbox")]
        given = [chosen[index]["bbox"] for index in boxed]
        boxes: Floats = finite_rows(given, 4, "bbox", lambda index: owner(boxed[index]))
        area[boxed] = boxes[:, 2] * boxes[:, 3]
    image = np.array([ranks[index] for index in people], dtype=np.int64)
    if source != _UNNAMED:  # read from a file
        _notice(image, keypoints, scores, source)
    return Detections(image, keypoints[..., :2], scores, area)


def _check_form(results: Any, source: str) -> None:
    """Raise a DataError unless the results are a list of objects with the fields of results."""
    if not isinstance(results, list):
        raise DataError(
            f"Expected a list of poses in {source}, but found {type(results).__name__}. "
            f"{_hint(results)}"
        )
    for index, result in enumerate(results):
        for field in ("image_id", "category_id", "keypoints", "score"):
            if not isinstance(result, dict) or field not in result:
                raise DataError(
                    f"Expected {field!r} in every entry of {source}, but entry {index} has none. "
                    f"{_entry_hint(result, field)}"
                )


def _hint(value: Any) -> str:
    """Return what to do with a file that is no list, if its form is known."""
    if isinstance(value, dict) and ("instance_info" in value or "meta_info" in value):
        return (
            "It looks like the output of an MMPose demo or inferencer, which names frames and no "
            "images of the dataset: run MMPose's tools/test.py with `--dump` or its "
            f"CocoMetric's format_only, which write COCO results. {_FORMAT}"
        )
    if isinstance(value, dict) and "images" in value and "annotations" in value:
        return f"It looks like an annotation file: give that as --annotations. {_FORMAT}"
    return _FORMAT


def _entry_hint(result: Any, field: str) -> str:
    """Return what to do with an entry that lacks a field, if its form is known."""
    if not isinstance(result, dict):
        return _FORMAT
    if field == "keypoints" and "bbox" in result:
        return f"It has boxes only: is it the file of a detector? {_FORMAT}"
    if field == "keypoints" and "instances" in result:
        return _hint({"instance_info": None})
    if field == "image_id" and "keypoints" in result:
        return (
            "It looks like the output of openpifpaf.predict, a file for each image: join them into "
            f"one list, with the image_id of each image in its entries. {_FORMAT}"
        )
    if field == "score":
        return (
            "Without a score detections cannot be ranked: write the model's score of each person. "
            f"{_FORMAT}"
        )
    return _FORMAT


class _Images:
    """Finds images by their id, by its digits, or by their file name."""

    def __init__(self, truth: GroundTruth, source: str) -> None:
        self._truth, self._source = truth, source
        ranks = truth.rank.tolist()
        self._by_id: dict[int | str, int] = {
            truth.image_id(index): rank for index, rank in enumerate(ranks)
        }
        self._by_digits: dict[str, int] = {}
        self._by_name: dict[str, int] = {}

    def rank_of(self, image_id: Any, index: int) -> int:
        """Return the rank of an image among the sorted ids.

        Raises:
            DataError: there is no such image.
        """
        if isinstance(image_id, float) and image_id.is_integer():
            image_id = int(image_id)
        if isinstance(image_id, int | str):
            if image_id in self._by_id:
                return self._by_id[image_id]
            if not self._by_digits:
                self._list_other_names()
            text = str(image_id)
            if (rank := self._by_digits.get(text.lstrip("0") or "0")) is not None:
                return rank
            name = text.replace("\\", "/").rpartition("/")[2]
            for known in (name, name.rpartition(".")[0] or name):
                if known in self._by_name:
                    return self._by_name[known]
        raise DataError(
            f"Expected only images of the annotations, but entry {index} of {self._source} is for "
            f"image {image_id!r}, which is neither an id nor a file name of theirs. Check that the "
            "annotations are of the same split."
        )

    def _list_other_names(self) -> None:
        for image_id, rank in self._by_id.items():
            self._by_digits[str(image_id).lstrip("0") or "0"] = rank
        ends = [name.rpartition("/")[2] for name in self._truth.file_names]
        stems = [end.rpartition(".")[0] or end for end in ends]
        for names in (ends, stems):
            times = Counter(names)
            for name, rank in zip(names, self._truth.rank.tolist(), strict=True):
                if name and times[name] == 1:  # one that two images have names neither
                    self._by_name.setdefault(name, rank)


def _of_people(results: list[dict[str, Any]], truth: GroundTruth, source: str) -> list[int]:
    """Return the entries of the annotated categories, and say how many are left out.

    Raises:
        DataError: there are entries, and all are of other categories.
    """
    kinds = [_whole(result["category_id"]) for result in results]
    wanted: set[Any] = set(truth.category_ids)
    if not wanted & set(kinds) and set(kinds) == {PERSON}:
        wanted = {PERSON}  # as models without a category of their own write people
    people = [index for index, kind in enumerate(kinds) if kind in wanted]
    others = Counter(kind for kind in kinds if kind not in wanted)
    if not others:
        return people
    listed = ", ".join(f"{kind!r}" for kind in list(others)[:5])
    expected = ", ".join(map(str, truth.category_ids[:5]))
    if not people:
        raise DataError(
            f"Expected results of category_id {expected} in {source}, but all of its "
            f"{len(results)} entries have {listed}. Some tools count categories from 0: write the "
            "category_id of the annotations."
        )
    warnings.warn(
        f"{source}: {others.total()} of {len(results)} entries are of other categories "
        f"(category_id {listed}, not {expected}) and left out.",
        Notice,
        stacklevel=3,
    )
    return people


def _whole(value: Any) -> Any:
    if isinstance(value, str) and value.strip().isdecimal():
        return int(value)
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value if value is None or isinstance(value, int | str) else str(value)


def _flat(row: Any) -> Any:
    """Return keypoints as one list, where they are a list of [x, y, score]."""
    if isinstance(row, list) and row and all(isinstance(one, list) for one in row):
        return [value for one in row for value in one]
    return row


def _check_pairs(rows: list[Any], count: int, owner: Any) -> None:
    """Raise a DataError for lists of x, y without the third number."""
    for index, row in enumerate(rows):
        if isinstance(row, list) and len(row) == 2 * count and len(row) != 3 * count:
            raise DataError(
                f"Expected {3 * count} numbers in keypoints of {owner(index)}, but found "
                f"{len(row)}: {count} pairs x, y without the third number. Write x, y and a score "
                "of each keypoint (1 where there is none)."
            )


def _notice(image: Any, keypoints: Floats, scores: Floats, source: str) -> None:
    """Say what looks wrong, though it can be scored."""
    if not len(scores):
        return
    places = keypoints[..., :2]
    if ((places >= 0) & (places <= 1)).all():
        warnings.warn(
            f"{source}: all coordinates lie between 0 and 1. They look relative to the image, but "
            "are scored as pixels: multiply x by its width and y by its height.",
            Notice,
            stacklevel=3,
        )
    rows = np.column_stack([image, scores, keypoints.reshape(len(scores), -1)])
    twins = len(rows) - len(np.unique(rows, axis=0))
    if twins:
        warnings.warn(
            f"{source}: {twins} entries are exact copies of others and count as false positives. "
            "Were two files put together, or does a distributed sampler pad its last batch?",
            Notice,
            stacklevel=3,
        )
