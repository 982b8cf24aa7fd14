"""Result files in COCO's format, read and checked."""

from __future__ import annotations

from collections.abc import Hashable
from pathlib import Path
from typing import Any

import numpy as np

from posebench.errors import DataError
from posebench.files import PERSON, finite_rows, keypoint_rows, read_json
from posebench.metrics.matching import Detections, Floats
from posebench.structures import Skeleton

_FORMAT = "Results are in COCO's format: [{image_id, category_id, keypoints, score}, ...]."


def read_results(
    path: Path, ground_truth: dict[str, Any], skeleton: Skeleton
) -> list[dict[str, Any]]:
    """Read and check anyone's result file.

    Args:
        path: a JSON list of image_id, category_id, keypoints and score.
        ground_truth: the annotations it is for.
        skeleton: the keypoint set it should have.

    Raises:
        DataError: the file is missing or damaged, or as for `parse_results`.
    """
    results: list[dict[str, Any]] = read_json(path, "a result file")
    parse_results(results, ground_truth, skeleton, source=str(path))
    return results


def parse_results(
    results: Any, ground_truth: dict[str, Any], skeleton: Skeleton, source: str = "the results"
) -> Detections:
    """Check results and return them as arrays.

    Entries of another category than people are left out, as the official tools do.

    Args:
        results: a list of image_id, category_id, keypoints (3 K numbers) and score; possibly bbox.
        ground_truth: the annotations they are for.
        skeleton: the keypoint set they should have.
        source: where they are from, for messages.

    Raises:
        DataError: not a list of such entries; an unknown image; another number of keypoints; NaN or
            infinity. Official tools take NaN for a match, and an infinite pose for one to ignore.
    """
    index_of = image_index(ground_truth)
    _check_entries(results, index_of, source)
    people = [index for index, r in enumerate(results) if r["category_id"] == PERSON]
    chosen = [results[index] for index in people]

    def owner(index: int) -> str:
        return f"entry {people[index]} (image {chosen[index]['image_id']}) of {source}"

    keypoints = keypoint_rows([r["keypoints"] for r in chosen], skeleton.keypoints, owner)
    scores = finite_rows([[r["score"]] for r in chosen], 1, "score", owner)[:, 0]
    extent = keypoints[..., :2].max(1) - keypoints[..., :2].min(1)
    area = extent[:, 0] * extent[:, 1]
    # The official tools look at the first entry and then expect a box in all or use none. Some
    # without one need not fail: they have their keypoints' extent.
    if results and results[0].get("bbox"):
        boxed = [index for index, r in enumerate(chosen) if r.get("bbox")]
        rows = [chosen[index]["bbox"] for index in boxed]
        boxes: Floats = finite_rows(rows, 4, "bbox", lambda index: owner(boxed[index]))
        area[boxed] = boxes[:, 2] * boxes[:, 3]
    image = np.array([index_of[r["image_id"]] for r in chosen], dtype=np.int64)
    return Detections(image, keypoints[..., :2], scores, area)


def _check_entries(results: Any, index_of: dict[int, int], source: str) -> None:
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
                f"image {image_id!r}. Are the annotations those of another split?"
            )


def image_index(ground_truth: dict[str, Any]) -> dict[int, int]:
    """Return the place of every image id among the sorted ids.

    Detections with equal scores are ranked by it across images, as the official tools do.
    """
    ids = {image["id"] for image in ground_truth["images"]}
    return {image_id: index for index, image_id in enumerate(sorted(ids))}
