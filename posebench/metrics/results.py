"""Result files in COCO's format, as several tools write them: reading and checking."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, overload

import msgspec
import numpy as np
from numpy.typing import NDArray

from posebench.errors import DataError, Notice
from posebench.files import PERSON, finite_rows, keypoint_rows, parse_json, read_text
from posebench.ground_truth import GroundTruth
from posebench.metrics.matching import Detections, Floats

_UNNAMED = "the results"
_KIND = "a result file"
_FORMAT = "Results are in COCO's format: [{image_id, category_id, keypoints, score}, ...]."

# What metrics are computed of: entries of a result file, or what is read from one.
Results = Sequence[dict[str, Any]] | Detections


class ResultFile(Sequence[dict[str, Any]]):
    """The entries of a result file, which is parsed when they are first asked for.

    Scoring needs arrays only; 100,000 poses as Python objects take a second and 500 MB.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @cached_property
    def _entries(self) -> list[dict[str, Any]]:
        entries: list[dict[str, Any]] = parse_json(read_text(self.path, _KIND), self.path, _KIND)
        return entries

    def __len__(self) -> int:
        return len(self._entries)

    @overload
    def __getitem__(self, index: int) -> dict[str, Any]: ...
    @overload
    def __getitem__(self, index: slice) -> list[dict[str, Any]]: ...
    def __getitem__(self, index: int | slice) -> dict[str, Any] | list[dict[str, Any]]:
        return self._entries[index]


@dataclass(frozen=True)
class _Columns:
    """The fields of all E entries of a result file."""

    image_ids: list[Any]
    category_ids: list[Any]
    keypoints: Floats | list[Any]  # (E, 3 K), or a list for each entry
    scores: Floats | list[Any]  # (E, 1), or a list of one for each entry
    boxes: list[Any]  # None, or a list


class _Entry(msgspec.Struct, gc=False):
    image_id: int | float | str
    category_id: int | float | str
    keypoints: msgspec.Raw
    score: float
    bbox: list[float] | None = None


def read_results(path: Path, truth: GroundTruth) -> Detections:
    """Read and check a result file, of posebench or any other program.

    Args:
        path: a JSON list of objects with image_id, category_id, keypoints and score.
        truth: the annotations that the results belong to.

    Raises:
        DataError: the file is missing or damaged, or its content is wrong (see `parse_results`).
    """
    text = read_text(path, _KIND)
    columns = _fast_columns(text, 3 * len(truth.skeleton))
    if columns is None:
        columns = _columns(parse_json(text, path, _KIND), str(path))
    return _detections(columns, truth, str(path))


def parse_results(results: Results, truth: GroundTruth, source: str = _UNNAMED) -> Detections:
    """Check results and return them as arrays.

    Entries of other categories are left out, as in the official tools, and counted in a notice. An
    image may be named by its id or by its file name, and keypoints may be nested lists.

    Args:
        results: a list of objects with image_id, category_id, keypoints (3 K numbers), score and
            optionally bbox; a file of them; or what `read_results` returned.
        truth: the annotations that the results belong to.
        source: where the results come from, for messages.

    Raises:
        DataError: the results are not a list of such objects, all are of another category, or one
            has an unknown image, another number of keypoints, NaN or infinity. The official tools
            count NaN as a match and ignore infinite poses.
    """
    if isinstance(results, Detections):
        return results
    if isinstance(results, ResultFile):
        return read_results(results.path, truth)
    return _detections(_columns(results, source), truth, source)


def _fast_columns(text: bytes, width: int) -> _Columns | None:
    """Return the fields of a file's entries; None: they are not as posebench writes them."""
    try:
        entries = msgspec.json.decode(text, type=list[_Entry])
        decoder = msgspec.json.Decoder(list[float])
        keypoints = np.empty((len(entries), width))
        for index, entry in enumerate(entries):  # one at a time: few Python numbers at once
            row = decoder.decode(entry.keypoints)
            if len(row) != width:
                return None
            keypoints[index] = row
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    return _Columns(
        [entry.image_id for entry in entries],
        [entry.category_id for entry in entries],
        keypoints,
        np.array([entry.score for entry in entries]).reshape(-1, 1),
        [entry.bbox for entry in entries],
    )


def _columns(results: Any, source: str) -> _Columns:
    """Return the fields of entries, whose content is still to be checked.

    Raises:
        DataError: they are no list of objects with these fields.
    """
    _check_form(results, source)
    return _Columns(
        [result["image_id"] for result in results],
        [result["category_id"] for result in results],
        [_flat(result["keypoints"]) for result in results],
        [[result["score"]] for result in results],
        [result.get("bbox") for result in results],
    )


def _detections(columns: _Columns, truth: GroundTruth, source: str) -> Detections:
    image = _Images(truth, source).ranks_of(columns.image_ids)
    people = _of_people(columns.category_ids, truth, source)

    def owner(index: int) -> str:
        entry = people[index]
        return f"entry {entry} (image {columns.image_ids[entry]}) of {source}"

    rows, scored = _chosen(columns.keypoints, people), _chosen(columns.scores, people)
    _check_pairs(rows, len(truth.skeleton), owner)
    keypoints = keypoint_rows(rows, truth.skeleton.keypoints, owner)
    scores = finite_rows(scored, 1, "score", owner)[:, 0]
    extent = keypoints[..., :2].max(1) - keypoints[..., :2].min(1)
    area = extent[:, 0] * extent[:, 1]
    # If the first entry has a box, the official tools expect one in all entries, else they use
    # none. Here an entry without a box has the extent of its keypoints.
    if columns.boxes and columns.boxes[0]:
        chosen = [columns.boxes[index] for index in people]
        boxed = [index for index, box in enumerate(chosen) if box]
        boxes: Floats = finite_rows(
            [chosen[index] for index in boxed], 4, "bbox", lambda index: owner(boxed[index])
        )
        area[boxed] = boxes[:, 2] * boxes[:, 3]
    image = image[people]
    if source != _UNNAMED:  # read from a file
        _notice(image, keypoints, scores, source)
    return Detections(image, keypoints[..., :2], scores, area, _categories(columns, people, truth))


def _categories(
    columns: _Columns, people: list[int], truth: GroundTruth
) -> NDArray[np.int64] | None:
    """Return the index of each entry's category; None: the annotations have a single one."""
    if truth.category is None:
        return None
    place: dict[Any, int] = {number: index for index, number in enumerate(truth.category_ids)}
    kinds = (_whole(columns.category_ids[entry]) for entry in people)
    return np.array([place.get(kind, 0) for kind in kinds], np.int64)


def _chosen(values: Any, entries: list[int]) -> Any:
    return values[entries] if isinstance(values, np.ndarray) else [values[i] for i in entries]


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

    def ranks_of(self, image_ids: list[Any]) -> NDArray[np.int64]:
        """Return the rank among the sorted ids of each entry's image.

        Raises:
            DataError: there is no such image.
        """
        known: dict[Any, int] = {}
        ranks = np.empty(len(image_ids), np.int64)
        for index, image_id in enumerate(image_ids):
            rank = known.get(image_id) if isinstance(image_id, int | str) else None
            if rank is None:
                rank = self.rank_of(image_id, index)
                if isinstance(image_id, int | str):
                    known[image_id] = rank
            ranks[index] = rank
        return ranks

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


def _of_people(category_ids: list[Any], truth: GroundTruth, source: str) -> list[int]:
    """Return the entries of the annotated categories, and say how many are left out.

    Raises:
        DataError: there are entries, and all are of other categories.
    """
    kinds = [one if type(one) is int else _whole(one) for one in category_ids]
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
            f"{len(kinds)} entries have {listed}. Some tools count categories from 0: write the "
            "category_id of the annotations."
        )
    warnings.warn(
        f"{source}: {others.total()} of {len(kinds)} entries are of other categories "
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


def _check_pairs(rows: Any, count: int, owner: Any) -> None:
    """Raise a DataError for lists of x, y without the third number."""
    if isinstance(rows, np.ndarray):
        return
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
    twins = len(rows) - len({row.tobytes() for row in rows})
    if twins:
        warnings.warn(
            f"{source}: {twins} entries are exact copies of others and count as false positives. "
            "Were two files put together, or does a distributed sampler pad its last batch?",
            Notice,
            stacklevel=3,
        )
