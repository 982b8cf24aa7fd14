"""Reading and checking of result files in COCO's format."""

from __future__ import annotations

from collections.abc import Hashable
from pathlib import Path
from typing import Any

import numpy as np

from posebench.errors import DataError
from posebench.files import PERSON, finite_rows, keypoint_rows, read_json
from posebench.ground_truth import GroundTruth
from posebench.metrics.matching import Detections, Floats

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


def parse_results(results: Any, truth: GroundTruth, source: str = "the results") -> Detections:
    """Check results and return them as arrays.

    Entries of other categories than person are skipped, as in the official tools.

    Args:
        results: a list of objects with image_id, category_id, keypoints (3 K numbers), score and
            optionally bbox.
        truth: the annotations that the results belong to.
        source: where the results come from, for messages.

    Raises:
        DataError: the results are not a list of such objects, or have an unknown image, another
            number of keypoints, NaN or infinity. The official tools count NaN as a match and
            ignore infinite poses.
    """
    index_of = {truth.image_id(i): int(rank) for i, rank in enumerate(truth.rank)}
    _check_entries(results, index_of, source)
    people = [index for index, r in enumerate(results) if r["category_id"] == PERSON]
    chosen = [results[index] for index in people]

    def owner(index: int) -> str:
        return f"entry {people[index]} (image {chosen[index]['image_id']}) of {source}"

    keypoints = keypoint_rows([r["keypoints"] for r in chosen], truth.skeleton.keypoints, owner)
    scores = finite_rows([[r["score"]] for r in chosen], 1, "score", owner)[:, 0]
    extent = keypoints[..., :2].max(1) - keypoints[..., :2].min(1)
    area = extent[:, 0] * extent[:, 1]
    # If the first entry has a box, the official tools expect one in all entries, else they use
    # none. Here an entry without a box has the extent of its keypoints.
    if results and results[0].get("bbox"):
        boxed = [index for index, r in enumerate(chosen) if r.get("bbox")]
        rows = [chosen[index]["bbox"] for index in boxed]
        boxes: Floats = finite_rows(rows, 4, "bbox", lambda index: owner(boxed[index]))
        area[boxed] = boxes[:, 2] * boxes[:, 3]
    image = np.array([index_of[r["image_id"]] for r in chosen], dtype=np.int64)
    return Detections(image, keypoints[..., :2], scores, area)


def _check_entries(results: Any, index_of: dict[int | str, int], source: str) -> None:
    """Raise a DataError unless every result has all fields and belongs to a known image."""
    if not isinstance(results, list):
        raise DataError(
            f"Expected a list of poses in {source}, but found {type(results).__name__}. {_FORMAT}"
        )
    for index, result in enumerate(results):
        for field in ("image_id", "category_id", "keypoints", "score"):
            if not isinstance(result, dict) or field not in result:
                raise DataError(
                    f"Expected {field!r} in every entry of {source}, but entry {index} has none. "
                    f"{_FORMAT}"
                )
        image_id = result["image_id"]
        if not isinstance(image_id, Hashable) or image_id not in index_of:
            raise DataError(
                f"Expected only images of the annotations, but entry {index} of {source} is for "
                f"image {image_id!r}. Check that the annotations are of the same split."
            )
