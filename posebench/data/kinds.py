"""The rules of evaluation that a dataset.toml names: those of posebench, and metrics of plugins."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from posebench.data.annotations.options import AREA_OF_BOX
from posebench.errors import UsageError
from posebench.plugins import Registry
from posebench.structures import Metric, Protocol

# Name of the kind -> the protocol of a keypoint set, whose other fields are keywords.
KINDS: Registry[Callable[..., Protocol]] = Registry("metrics")
KINDS["oks"] = Protocol
KINDS["crowdpose"] = partial(Protocol, area_of_box=AREA_OF_BOX, crowd_index=(0.2, 0.8))
KINDS["mpii"] = partial(Protocol, head_boxes=True)


def add_metrics(module: Any) -> None:
    """Take the metrics that a module declares, as kinds of protocols.

    Raises:
        UsageError: they are something else, or have names that others have.
    """
    metrics: Mapping[str, Metric] = module.METRICS
    if not isinstance(metrics, Mapping) or not all(map(callable, metrics.values())):
        raise UsageError("its METRICS are not a dictionary of functions by name")
    for name in metrics:
        if name in KINDS:
            raise UsageError(f"there is another metric named {name!r}: choose another name")
    KINDS.update({name: partial(Protocol, metric=metric) for name, metric in metrics.items()})
