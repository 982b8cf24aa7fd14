"""The metric of a dataset that brings its own."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from posebench.errors import DataError, PosebenchError
from posebench.ground_truth import GroundTruth
from posebench.metrics.matching import Detections
from posebench.plugins import cause_of
from posebench.structures import Metric


def own_metrics(truth: GroundTruth, detections: Detections, metric: Metric) -> dict[str, float]:
    """Return what a metric returns, checked.

    Args:
        truth: the annotations.
        detections: as `parse_results` returns them; `metric` gets them with `image` as the index of
            the image in `truth`.
        metric: of the dataset's protocol.

    Raises:
        PosebenchError: the metric fails.
        DataError: it returns anything but fractions by name.
    """
    name = getattr(metric, "__name__", repr(metric))
    order = np.argsort(truth.rank)
    try:
        values = metric(truth, replace(detections, image=order[detections.image]))
    except PosebenchError:
        raise
    except Exception as error:
        raise PosebenchError(f"The dataset's metric {name} fails: {cause_of(error)}.") from error
    if not isinstance(values, Mapping) or not values:
        raise DataError(
            f"Expected a dictionary of fractions by name, the main one first, from the metric "
            f"{name}, but found {repr(values)[:60]}."
        )
    for key, value in values.items():
        if not _is_fraction(value):
            raise DataError(
                f"Expected a fraction from 0 to 1 as {key!r} of the metric {name}, or -1 where "
                f"there is nothing to find, but found {value!r}: percentages are divided by 100, "
                "and an error in pixels becomes a share of keypoints within a distance."
            )
    return {str(key): float(value) for key, value in values.items()}


def _is_fraction(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float | np.number):
        return False
    number = float(value)
    return math.isfinite(number) and (0 <= number <= 1 or number == -1)
