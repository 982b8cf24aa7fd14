"""What is measured once on a dataset's annotations, and kept."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

from posebench import __version__
from posebench.data.base import PoseDataset
from posebench.errors import DataError, PosebenchError
from posebench.files import cache_folder, read_json, write_json
from posebench.layers.adjacency import KeypointDistances, measure_distances


def keypoint_distances(dataset: PoseDataset) -> KeypointDistances:
    """Return how far apart keypoints lie on the people of a dataset.

    Measured once per dataset: the result is kept in a file that says of what it is.
    """
    fingerprint = dataset.fingerprint()
    digest = hashlib.sha256(f"{__version__} {fingerprint}".encode()).hexdigest()[:16]
    path = cache_folder() / "distances" / f"{dataset.name}_{dataset.split}_{digest}.json"
    kept = _read(path, len(dataset.skeleton))
    if kept is not None:
        return kept
    found = measure_distances(dataset.ground_truth()["annotations"], dataset.skeleton)
    content = {
        "dataset": dataset.name,
        "split": dataset.split,
        "annotations": fingerprint,
        "measured_by": f"posebench {__version__}",
        "keypoints": list(dataset.skeleton.keypoints),
        "people": found.people,
        "mean_distance_over_root_of_box_area": found.mean.tolist(),
        "people_with_both": found.pairs.tolist(),
    }
    try:
        write_json(path, content)
    except PosebenchError:
        return found  # whose home cannot be written measures again next time
    return found


def _read(path: Path, keypoints: int) -> KeypointDistances | None:
    if not path.is_file():
        return None
    try:
        content = read_json(path, "a file of distances")
        mean = np.array(content["mean_distance_over_root_of_box_area"], np.float64)
        pairs = np.array(content["people_with_both"], np.int64)
        people = int(content["people"])
    except (DataError, KeyError, TypeError, ValueError):
        return None  # damaged: measured again, and written over
    if mean.shape != (keypoints, keypoints) or pairs.shape != mean.shape:
        return None
    return KeypointDistances(mean, pairs, people)
