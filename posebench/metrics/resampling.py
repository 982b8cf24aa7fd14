"""AP of resampled images, for confidence intervals and tests of differences between models.

AP is not a mean over images, so it is computed anew for every resample. Matches within an image do
not depend on other images, so they are computed once.

Shapes: T OKS thresholds, N images, D detections of one model, R resamples.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from posebench.ground_truth import GroundTruth
from posebench.metrics.keypoints import match
from posebench.metrics.matching import Floats, Matches
from posebench.metrics.results import Results, parse_results
from posebench.structures import Protocol

_RECALLS = np.linspace(0.0, 1.0, 101)


def matches(truth: GroundTruth, results: Results, protocol: Protocol) -> Matches:
    """Match detections of all images by a protocol's OKS, over people of all sizes.

    Args:
        truth: the annotations.
        results: COCO-format results.
        protocol: determines areas and sigmas.

    Raises:
        DataError: as `evaluate_keypoints`.
    """
    [found] = match(truth, parse_results(results, truth), protocol).matches()
    return found


def resampled_ap(models: Sequence[Matches], weights: Sequence[Floats]) -> Floats:
    """Return the (R,) AP of detections for R weightings of the images.

    Args:
        models: the matches of each model, on the same images.
        weights: an (R, N) array for each model: how many times each image's detections count. The
            people of an image count as often as the weights of all models add up to: once if the
            image is assigned to one model, `c` times if a bootstrap drew it `c` times.
    """
    from posebench.metrics.compiled import weighted_ap

    image = np.concatenate([one.image for one in models])
    scores = np.concatenate([one.scores for one in models])
    owner = np.repeat(np.arange(len(models)), [len(one.image) for one in models])
    # Equal scores are ranked by image, as in the official tools.
    order = np.lexsort((owner, image, -scores))
    correct = np.concatenate([one.correct for one in models], axis=1)[:, order]
    wrong = np.concatenate([one.wrong for one in models], axis=1)[:, order]
    thresholds, positions = np.nonzero(~wrong)
    starts = np.searchsorted(thresholds, np.arange(len(wrong) + 1))
    stacked = np.stack(weights, axis=1)  # (R, models, N)
    people = models[0].people
    return weighted_ap(
        positions, correct[thresholds, positions], starts, image[order], owner[order],
        np.ascontiguousarray(stacked, np.float64), people.astype(np.float64), _RECALLS,
    )  # fmt: skip
