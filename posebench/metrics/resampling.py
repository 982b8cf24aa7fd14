"""AP of resampled images: how sure a difference of two models is, given the images it was seen on.

AP is not a mean over images, so it is computed anew for every resample; but matches within an image
do not depend on other images, so they are found once.

Shapes: T OKS thresholds, N images, D detections of one model, R resamples.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from posebench.metrics.keypoints import match
from posebench.metrics.matching import Floats, Matches
from posebench.metrics.results import parse_results
from posebench.structures import Protocol

_RECALLS = np.linspace(0.0, 1.0, 101)


def matches(
    ground_truth: dict[str, Any], results: list[dict[str, Any]], protocol: Protocol
) -> Matches:
    """Match detections of all images by a protocol's OKS, over people of all sizes.

    Args:
        ground_truth: as for `evaluate_keypoints`.
        results: COCO-format results.
        protocol: whose areas and sigmas count.

    Raises:
        DataError: as `evaluate_keypoints`.
    """
    detections = parse_results(results, ground_truth, protocol.skeleton)
    return match(ground_truth, detections, protocol).matches()


def resampled_ap(models: Sequence[Matches], weights: Sequence[Floats]) -> Floats:
    """Return the AP (R,) of detections whose images count so often.

    Args:
        models: of whom the detections are, with the same images.
        weights: of each model (R, N), how often an image's detections count. The people of an
            image count as often as its detections of all models together: once where each image is
            given to one model, `c` times where it was drawn `c` times.
    """
    from posebench.metrics.compiled import weighted_ap

    image = np.concatenate([one.image for one in models])
    scores = np.concatenate([one.scores for one in models])
    owner = np.repeat(np.arange(len(models)), [len(one.image) for one in models])
    # Equal scores in the order of images, as the official tools rank them.
    order = np.lexsort((owner, image, -scores))
    correct = np.concatenate([one.correct for one in models], axis=1)[:, order]
    wrong = np.concatenate([one.wrong for one in models], axis=1)[:, order]
    stacked = np.stack(weights, axis=1)  # (R, models, N)
    people = models[0].people
    return weighted_ap(
        np.ascontiguousarray(correct), np.ascontiguousarray(wrong), image[order], owner[order],
        np.ascontiguousarray(stacked, np.float64), people.astype(np.float64), _RECALLS,
    )  # fmt: skip
