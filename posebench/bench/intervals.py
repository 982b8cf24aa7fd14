"""The interval of an evaluation's AP, for its row."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from posebench.bench.draws import RESAMPLES, SEED
from posebench.bench.statistics import Interval, ap_interval
from posebench.metrics.names import merged_name
from posebench.metrics.resampling import matches

if TYPE_CHECKING:
    from posebench.data import PoseDataset
    from posebench.engine import Evaluation

_EQUAL = 1e-6


@dataclass(frozen=True)
class MetricInterval(Interval):
    """The 95 % interval of a metric over images, as fractions."""

    name: str  # of the metric
    draws: int = RESAMPLES
    seed: int = SEED


def interval_of(evaluation: Evaluation, dataset: PoseDataset) -> MetricInterval | None:
    """Return the interval of an evaluation's AP by a bootstrap over the images.

    Returns:
        None where there is none: another metric than AP, nobody annotated, a single image. Where AP
        is a mean over categories, the interval is of all categories as one.
    """
    name = merged_name("AP") if merged_name("AP") in evaluation.metrics else "AP"
    value = evaluation.metrics.get(name, -1.0)
    if value < 0 or len(dataset) < 2 or dataset.protocol.metric is not None:
        return None
    found = ap_interval(matches(dataset.ground_truth(), evaluation.results, dataset.protocol))
    if abs(found.value - value) > _EQUAL:  # an AP by other rules
        return None
    return MetricInterval(found.value, found.low, found.high, name)


def limits_of(interval: MetricInterval | None) -> Mapping[str, tuple[float, float]]:
    """Return the limits by metric, as tidy rows take them."""
    return {} if interval is None else {interval.name: (interval.low, interval.high)}
