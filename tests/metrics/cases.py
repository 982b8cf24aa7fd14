"""Random people and imperfect detections of them, in COCO's layout."""

from __future__ import annotations

from typing import Any

import numpy as np

from posebench.layers.oks import count_keypoints
from posebench.skeleton import Skeleton


def random_case(
    skeleton: Skeleton, seed: int, images: int = 12
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return ground truth and results with crowds, unlabelled people, ties and false positives."""
    rng = np.random.default_rng(seed)
    annotations: list[dict[str, Any]] = []
    results: list[dict[str, Any]] = []
    ids = rng.permutation(1000)[:images].tolist()
    for image_id in ids:
        for _ in range(rng.integers(0, 7)):
            side = float(rng.uniform(20, 200))
            corner = rng.uniform(0, 400, 2)
            visibility = rng.integers(0, 3, len(skeleton)).astype(np.float64)
            if rng.random() <= 0.15:
                visibility[:] = 0
            joints = (corner + rng.uniform(0, side, (len(skeleton), 2))).round(2)
            keypoints = np.column_stack([joints * (visibility > 0)[:, None], visibility])
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image_id,
                    "category_id": 1,
                    "keypoints": keypoints.ravel().tolist(),
                    "num_keypoints": int(count_keypoints(visibility[None], skeleton)[0]),
                    "bbox": [*corner.tolist(), side, side],
                    "area": side * side * float(rng.uniform(0.3, 0.9)),
                    "iscrowd": int(rng.random() < 0.1),
                }
            )
            for _ in range(rng.integers(0, 8)):
                noise = rng.normal(0, side * rng.choice([0.005, 0.03, 0.2]), joints.shape)
                results.append(_result(image_id, joints + noise, rng))
        for _ in range(rng.integers(0, 3)):
            results.append(_result(image_id, rng.uniform(0, 600, (len(skeleton), 2)), rng))
    order = rng.permutation(len(results))
    crowd_index = rng.choice([0.0, 0.19, 0.2, 0.5, 0.8, 1.3], images).tolist()
    ground_truth = {
        "images": [
            {"id": image_id, "file_name": f"{image_id}.jpg", "crowdIndex": crowd}
            for image_id, crowd in zip(ids, crowd_index, strict=True)
        ],
        "annotations": annotations,
        "categories": [{"id": 1, "name": "person", "keypoints": list(skeleton.keypoints)}],
    }
    return ground_truth, [results[index] for index in order]


def _result(image_id: int, joints: Any, rng: np.random.Generator) -> dict[str, Any]:
    keypoints = np.column_stack([joints, np.ones(len(joints))])
    return {
        "image_id": image_id,
        "category_id": 1,
        "keypoints": keypoints.ravel().tolist(),
        "score": round(float(rng.random()), 1),
    }
