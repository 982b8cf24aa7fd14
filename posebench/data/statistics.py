"""Statistics of a dataset's annotations, computed once and cached in a file."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

from posebench.data.base import PoseDataset
from posebench.errors import DataError, PosebenchError
from posebench.files import cache_folder, read_json, write_json
from posebench.ground_truth import GroundTruth
from posebench.structures import KeypointStatistics
from posebench.version import package_version


def keypoint_statistics(dataset: PoseDataset) -> KeypointStatistics:
    """Return the mean distances between keypoints on the people of a dataset, and their mean pose.

    The result is cached in a file that records the dataset, its annotations and this version.
    """
    fingerprint = dataset.fingerprint()
    digest = hashlib.sha256(f"{package_version()} {fingerprint}".encode()).hexdigest()[:16]
    path = cache_folder() / "distances" / f"{dataset.name}_{dataset.split}_{digest}.json"
    cached = _read(path, len(dataset.skeleton))
    if cached is not None:
        return cached
    measured = measure_keypoints(dataset.ground_truth())
    content = {
        "dataset": dataset.name,
        "split": dataset.split,
        "annotations": fingerprint,
        "measured_by": f"posebench {package_version()}",
        "keypoints": list(dataset.skeleton.keypoints),
        "people": measured.people,
        "mean_distance_over_root_of_box_area": measured.distances.tolist(),
        "mean_pose_over_root_of_box_area": measured.pose.tolist(),
        "people_with_both": measured.pairs.tolist(),
    }
    try:
        write_json(path, content)
    except PosebenchError:
        return measured  # the cache cannot be written: the next call measures again
    return measured


def measure_keypoints(truth: GroundTruth) -> KeypointStatistics:
    """Return the mean distances of the annotated people's keypoints, and their mean pose.

    Distances are relative to the square root of the box's area. Crowd regions and people with fewer
    than two labelled keypoints are skipped. A pair that nobody has gets the largest mean distance.
    The mean pose is of all those on whom a keypoint is labelled, from the centres of their boxes.

    Source: DGCN, Eq. 5. The paper averages over all people; this over those with both keypoints.
    """
    count = len(truth.skeleton)
    rows = np.asarray(truth.keypoints[~truth.crowd], np.float64)
    boxes = truth.boxes[~truth.crowd]
    labelled = rows[..., 2] > 0
    size = np.sqrt(boxes[:, 2] * boxes[:, 3])
    chosen = (labelled.sum(1) >= 2) & (size > 0)
    keypoints, labelled, size = rows[chosen, :, :2], labelled[chosen], size[chosen]
    centres = boxes[chosen, :2] + boxes[chosen, 2:4] / 2
    total, pairs = np.zeros((count, count)), np.zeros((count, count), np.int64)
    for k in range(count):
        both = labelled & labelled[:, k, None]
        distance = np.linalg.norm(keypoints - keypoints[:, k, None], axis=-1) / size[:, None]
        total[k], pairs[k] = np.where(both, distance, 0).sum(0), both.sum(0)
    mean = total / np.maximum(pairs, 1)
    farthest = mean.max() or 1.0
    mean = np.where(pairs > 0, mean, farthest)
    np.fill_diagonal(mean, 0)
    places = (keypoints - centres[:, None]) * (1, -1) / size[:, None, None]
    pose = np.where(labelled[..., None], places, 0).sum(0) / np.maximum(labelled.sum(0), 1)[:, None]
    return KeypointStatistics(mean, pose, pairs, int(chosen.sum()))


def _read(path: Path, keypoints: int) -> KeypointStatistics | None:
    if not path.is_file():
        return None
    try:
        content = read_json(path, "a file of distances")
        mean = np.array(content["mean_distance_over_root_of_box_area"], np.float64)
        pose = np.array(content["mean_pose_over_root_of_box_area"], np.float64)
        pairs = np.array(content["people_with_both"], np.int64)
        people = int(content["people"])
    except (DataError, KeyError, TypeError, ValueError):
        return None  # a damaged file is measured again and replaced
    shapes = (mean.shape, pairs.shape, pose.shape)
    if shapes != ((keypoints, keypoints), (keypoints, keypoints), (keypoints, 2)):
        return None
    return KeypointStatistics(mean, pose, pairs, people)
