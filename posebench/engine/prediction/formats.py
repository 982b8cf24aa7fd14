"""How predictions are written: as COCO results, JSON lines, CSV or Parquet.

Each format is text that grows; Parquet is converted from its rows when it is complete, or stopped.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from posebench.engine.prediction.stream import FramePrediction
from posebench.errors import DataError, UnsupportedError, UsageError
from posebench.files import atomic_write
from posebench.skeleton import Skeleton

SUFFIXES = (".json", ".jsonl", ".csv", ".parquet")
_ROWS = 4096  # of a row group of Parquet
# Digits after the point of coordinates in pixels and of scores; COCO results are not rounded.
_PIXEL_DIGITS, _SCORE_DIGITS = 3, 6


@dataclass(frozen=True)
class TextFormat:
    """A text: `head`, records with `joint` between them, and `tail`."""

    records: Callable[[FramePrediction, int], list[str]]  # of a frame, and how many came before
    head: str = ""
    joint: str = "\n"
    tail: str = "\n"


def check_format(path: Path) -> None:
    """Check that a file can be written, before anything is computed.

    Raises:
        UsageError: it has another ending than `SUFFIXES`.
        UnsupportedError: it is Parquet, and pyarrow is not installed.
    """
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise UsageError(
            f"Expected a file that ends in {', '.join(SUFFIXES)}, but --out is {path}: choose such "
            "an ending, or make the folder of that name first."
        )
    if suffix == ".parquet":
        import_pyarrow()


def format_of(path: Path, skeleton: Skeleton, image_ids: Callable[[str, int], int]) -> TextFormat:
    """Return the format of a file by its ending; of Parquet that of its rows.

    Args:
        path: the file.
        skeleton: names the keypoints.
        image_ids: returns the id of an image in COCO results, from its source's name and the
            number of images and frames before it.

    Raises:
        UsageError, UnsupportedError: as for `check_format`.
    """
    check_format(path)
    suffix = path.suffix.lower()
    if suffix == ".json":
        return TextFormat(_coco(image_ids), "[\n", ",\n", "\n]\n")
    if suffix == ".jsonl":
        return TextFormat(lambda one, number: [_line(one, skeleton)])
    if suffix == ".csv":
        columns = ["source", "frame", "time_s", "width", "height", "person", "track", "score"]
        columns += _keypoint_columns(skeleton)
        return TextFormat(lambda one, number: _csv(one), ",".join(columns) + "\n")
    return TextFormat(lambda one, number: [_json(row) for row in _rows(one)])


def import_pyarrow() -> Any:
    """Return pyarrow.

    Raises:
        UnsupportedError: it is not installed.
    """
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise UnsupportedError(
            "Parquet files are written by pyarrow, which is not installed: run "
            "`pip install 'posebench[parquet]'`, or choose another ending, such as .csv."
        ) from None
    return pyarrow


def _coco(image_ids: Callable[[str, int], int]) -> Callable[[FramePrediction, int], list[str]]:
    def records(one: FramePrediction, number: int) -> list[str]:
        entries = one.people.to_coco(image_ids(one.source, number))
        for row, entry in enumerate(entries):
            entry["file_name"] = one.source
            if one.time_s is not None or one.frame:
                entry["frame"], entry["time_s"] = one.frame, one.time_s
            if one.numbers is not None:
                entry["track_id"] = one.numbers[row]
        return [_json(entry) for entry in entries]

    return records


def _line(one: FramePrediction, skeleton: Skeleton) -> str:
    people = []
    for row, score, keypoints in _people(one):
        person: dict[str, Any] = {"score": score, "keypoints": keypoints}
        if one.numbers is not None:
            person = {"track": one.numbers[row], **person}
        people.append(person)
    line = {
        "source": one.source, "frame": one.frame, "time_s": one.time_s,
        "width": one.size[0], "height": one.size[1], "skeleton": skeleton.name, "people": people,
    }  # fmt: skip
    return _json({**line, "error": one.error} if one.error else line)


def _people(one: FramePrediction) -> Iterator[tuple[int, float, list[list[float]]]]:
    """Yield each person's row, score and rounded [x, y, score] of its keypoints."""
    places = one.people.keypoints.double().tolist()
    sure = one.people.keypoint_scores.double().tolist()
    for row, score in enumerate(one.people.scores.double().tolist()):
        keypoints = [
            [round(x, _PIXEL_DIGITS), round(y, _PIXEL_DIGITS), round(own, _SCORE_DIGITS)]
            for (x, y), own in zip(places[row], sure[row], strict=True)
        ]
        yield row, round(score, _SCORE_DIGITS), keypoints


def _rows(one: FramePrediction) -> list[list[Any]]:
    """Return a row of values for each person, in the order of the columns."""
    return [
        [
            one.source, one.frame, one.time_s, *one.size, row,
            None if one.numbers is None else one.numbers[row], score,
            *(value for keypoint in keypoints for value in keypoint),
        ]
        for row, score, keypoints in _people(one)
    ]  # fmt: skip


def _csv(one: FramePrediction) -> list[str]:
    lines = []
    for row in _rows(one):
        line = io.StringIO()
        csv.writer(line, lineterminator="").writerow(row)
        lines.append(line.getvalue())
    return lines


def _keypoint_columns(skeleton: Skeleton) -> list[str]:
    return [f"{name}_{value}" for name in skeleton.keypoints for value in ("x", "y", "score")]


def _json(value: Any) -> str:
    try:
        return json.dumps(value, allow_nan=False)
    except ValueError:
        raise DataError(
            "Expected finite numbers, but the model predicts NaN or infinity: it has diverged, so "
            "use an earlier checkpoint."
        ) from None


def write_parquet(rows: Path, path: Path, skeleton: Skeleton) -> None:
    """Write a Parquet file from the rows of its text, some thousand at a time."""
    pyarrow = import_pyarrow()
    text, whole, real = pyarrow.string(), pyarrow.int64(), pyarrow.float64()
    types = {
        "source": text, "frame": whole, "time_s": real, "width": whole, "height": whole,
        "person": whole, "track": whole, "score": real,
        **dict.fromkeys(_keypoint_columns(skeleton), real),
    }  # fmt: skip
    schema = pyarrow.schema(list(types.items()))
    with (
        atomic_write(path) as beside,
        rows.open(encoding="utf-8") as lines,
        pyarrow.parquet.ParquetWriter(beside, schema) as writer,
    ):
        while chunk := [_as_text(json.loads(line)) for line in islice(lines, _ROWS)]:
            columns = [
                pyarrow.array(values, kind)
                for values, kind in zip(zip(*chunk, strict=True), types.values(), strict=True)
            ]
            writer.write_table(pyarrow.Table.from_arrays(columns, schema=schema))


def _as_text(row: list[Any]) -> list[Any]:
    """Return a row whose source is text, as Parquet needs it: names of files need not be."""
    return [row[0].encode(errors="surrogateescape").decode(errors="replace"), *row[1:]]
