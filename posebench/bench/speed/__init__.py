"""The speed benchmark: models take turns, each in its own process, and are ranked.

`run_speed_benchmark` times recipes into a run folder.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from posebench._lazy import lazy_names

if TYPE_CHECKING:
    from posebench.bench.speed.benchmark import run_speed_benchmark
    from posebench.bench.speed.options import (
        FULL,
        QUICK,
        SpeedOptions,
        input_cases,
        with_alternatives,
    )
    from posebench.bench.speed.summary import (
        ComparedModels,
        ModelSpeed,
        compared_models,
        pass_intervals,
        pass_times,
        stage_curves,
    )

__all__ = [
    "FULL",
    "QUICK",
    "ComparedModels",
    "ModelSpeed",
    "SpeedOptions",
    "compared_models",
    "input_cases",
    "pass_intervals",
    "pass_times",
    "run_speed_benchmark",
    "stage_curves",
    "with_alternatives",
]

__getattr__ = lazy_names(
    __name__,
    benchmark=("run_speed_benchmark",),
    options=("FULL", "QUICK", "SpeedOptions", "input_cases", "with_alternatives"),
    summary=(
        "ComparedModels",
        "ModelSpeed",
        "compared_models",
        "pass_intervals",
        "pass_times",
        "stage_curves",
    ),
)
