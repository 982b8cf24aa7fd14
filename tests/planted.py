"""People and detections of which it is known what is wrong with them, made from numbers alone."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from posebench.ground_truth import GroundTruth
from posebench.metrics.matching import Detections
from posebench.metrics.results import parse_results
from posebench.skeleton import COCO
from tests.builders import truth_of

SIZE = (640, 480)
PEOPLE = 3  # in each image, beside each other
WHOLE = ("duplicate", "background", "missed", "score", "tail")
FLIP = np.array(COCO.flip_index)

# A standing person of height 1, x and y of COCO's keypoints.
_BODY = np.array(
    [
        (0.0, 0.06), (0.03, 0.04), (-0.03, 0.04), (0.06, 0.06), (-0.06, 0.06), (0.12, 0.2),
        (-0.12, 0.2), (0.18, 0.36), (-0.18, 0.36), (0.2, 0.52), (-0.2, 0.52), (0.08, 0.52),
        (-0.08, 0.52), (0.09, 0.75), (-0.09, 0.75), (0.09, 0.97), (-0.09, 0.97),
    ]
)  # fmt: skip


def planted_truth(images: int = 12) -> GroundTruth:
    """Return images with three people each, whose ids fall while their index rises."""
    rng = np.random.default_rng(1)
    content: dict[str, Any] = {
        "images": [
            {"id": 100 - index, "file_name": f"{index}.jpg", "width": SIZE[0], "height": SIZE[1]}
            for index in range(images)
        ],
        "annotations": [],
        "categories": [{"id": 1, "name": "person", "keypoints": list(COCO.keypoints)}],
    }
    for index in range(images):
        for place in range(PEOPLE):
            height = rng.uniform(150, 300)
            points = _BODY * height + (120 + 200 * place, rng.uniform(20, 100))
            low, high = points.min(0), points.max(0)
            content["annotations"].append(
                {
                    "id": len(content["annotations"]) + 1,
                    "image_id": 100 - index,
                    "category_id": 1,
                    "iscrowd": 0,
                    "keypoints": np.column_stack([points, np.full(17, 2)]).ravel().tolist(),
                    "num_keypoints": 17,
                    "area": float(0.6 * (high - low).prod()),
                    "bbox": [*low.tolist(), *(high - low).tolist()],
                }
            )
    return truth_of(content)


def planted(truth: GroundTruth, errors: dict[str, float], seed: int = 0) -> Detections:
    """Return detections with errors.

    Args:
        truth: of `planted_truth`.
        errors: the share of people (duplicate, background, tail, missed), of detections (score) or
            of keypoints (jitter, miss, inversion, swap) with each kind of error. A tail is a
            detection of nobody with a low score.
        seed: of all that is random, which is the same for other errors.
    """
    rng = np.random.default_rng(seed)
    entries = []
    keypoints = np.asarray(truth.keypoints[..., :2], np.float64)
    for person in range(len(truth)):
        image = int(truth.image[person])
        size = float(np.sqrt(truth.area[person]))
        draws = {kind: rng.random(17) for kind in ("jitter", "miss", "inversion", "swap")}
        noise = rng.normal(0, 0.004, (17, 2))
        score, low_score = rng.uniform(0.6, 1.0), rng.uniform(0.0, 0.1)
        whole = {kind: rng.random() for kind in WHOLE}
        own = keypoints[person] + size * noise
        others = [other for other in truth.of_image(image).tolist() if other != person]
        for k in range(17):
            at = {kind: draw[k] < errors.get(kind, 0.0) for kind, draw in draws.items()}
            if at["jitter"]:
                # Where its similarity is 0.65.
                own[k] = keypoints[person, k] + (
                    size * 2 * COCO.sigmas[k] * np.sqrt(-2 * np.log(0.65)),
                    0,
                )
            if at["miss"]:
                own[k] = keypoints[person, k] + (0, -0.9 * size)
            if at["inversion"] and k > 4 and FLIP[k] != k:
                own[k] = keypoints[person, FLIP[k]]
            if at["swap"] and k > 4:
                own[k] = keypoints[others[k % len(others)], k]
        if whole["tail"] < errors.get("tail", 0.0):
            entries.append(_entry(truth, image, 0.1 * own + (300, 430), 0.1 * score))
        if whole["score"] < errors.get("score", 0.0):
            score = low_score
        if whole["missed"] >= errors.get("missed", 0.0):
            entries.append(_entry(truth, image, own, score))
        if whole["duplicate"] < errors.get("duplicate", 0.0):
            entries.append(_entry(truth, image, own + 0.5, score - 1e-3))
        if whole["background"] < errors.get("background", 0.0):
            entries.append(_entry(truth, image, 0.1 * own + (0, 430), score))
    return parse_results(entries, truth)


def _entry(
    truth: GroundTruth, image: int, points: NDArray[np.float64], score: float
) -> dict[str, Any]:
    return {
        "image_id": truth.image_id(image),
        "category_id": 1,
        "keypoints": np.column_stack([points, np.ones(17)]).ravel().tolist(),
        "score": score,
    }
