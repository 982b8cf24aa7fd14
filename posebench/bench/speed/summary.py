"""The results of a benchmark as they are shown: groups of models that can be compared."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import inf

import pandas as pd

from posebench.bench.speed.load import QUIET
from posebench.bench.speed.options import label_of
from posebench.bench.speed.rows import COMPARED, with_backend

_MODEL = ["recipe", "backend", "people"]


@dataclass(frozen=True)
class ModelSpeed:
    """The results of one model."""

    recipe: str
    input_size: str  # "512x704", H x W
    people: int
    values: dict[str, float]  # metric -> value
    stages: dict[str, float]  # stage -> ms
    error: str
    interval: tuple[float, float] | None = None  # ms, 95 % of the median pass
    load: str = ""  # what else the machine did; empty: it does not tell, or nothing


@dataclass(frozen=True)
class ComparedModels:
    """Models that were timed under the same conditions, the fastest first."""

    conditions: str  # in words
    models: list[ModelSpeed]


def compared_models(rows: pd.DataFrame) -> Iterator[ComparedModels]:
    """Yield the models of each group of rows that can be compared."""
    for _, group in with_backend(rows).groupby(list(COMPARED), sort=False, dropna=False):
        first = group.iloc[0]
        words = [
            f"{first['protocol']}, batch {first['batch_size']}, {first['people']} people",
            str(first["precision"]), str(first["options"]), str(first["hardware"]),
        ]  # fmt: skip
        models = [_model(own) for _, own in group.groupby(["recipe", "backend"], sort=False)]
        models.sort(
            key=lambda one: (one.values.get("rank", inf), one.values.get("latency_p50", inf))
        )
        yield ComparedModels(", ".join(word for word in words if word), models)


def pass_intervals(rows: pd.DataFrame) -> Iterator[dict[str, tuple[float, float]]]:
    """Yield recipe -> 95 % interval of the median pass, ms, for each group of `pass_times`."""
    for group in _complete_groups(rows):
        models = [_model(own) for _, own in group.groupby(_MODEL, sort=False)]
        found: dict[str, tuple[float, float]] = {}
        for model in models:
            if model.interval is not None:
                found.setdefault(model.recipe, model.interval)
        yield found


def pass_times(rows: pd.DataFrame) -> Iterator[dict[str, float]]:
    """Yield recipe -> median ms of a pass for each group of `stage_curves`, its first people."""
    for group in _complete_groups(rows):
        models = [_model(own) for _, own in group.groupby(_MODEL, sort=False)]
        times: dict[str, float] = {}
        for model in models:
            if "latency_p50" in model.values:
                times.setdefault(model.recipe, model.values["latency_p50"])
        yield times


def _complete_groups(rows: pd.DataFrame) -> Iterator[pd.DataFrame]:
    complete = with_backend(rows[rows["error"] == ""])
    if len(complete):
        others = [column for column in COMPARED if column != "people"]
        for _, group in complete.groupby(others, sort=False):
            yield group


def stage_curves(rows: pd.DataFrame) -> Iterator[dict[str, dict[str, dict[int, float]]]]:
    """Yield recipe -> stage -> people -> ms for each group that differs in people alone."""
    for group in _complete_groups(rows):
        curves: dict[str, dict[str, dict[int, float]]] = {}
        for _, own in group.groupby(_MODEL, sort=False):
            model = _model(own)
            for stage, ms in model.stages.items():
                curves.setdefault(model.recipe, {}).setdefault(stage, {})[model.people] = ms
        yield curves


def _model(rows: pd.DataFrame) -> ModelSpeed:
    first = rows.iloc[0]
    values = {str(k): float(v) for k, v in zip(rows["metric"], rows["value"], strict=True)}
    return ModelSpeed(
        recipe=label_of(str(first["recipe"]), str(first["backend"])),
        input_size=str(first["input_size"]),
        people=int(first["people"]),
        values=values,
        stages={
            name.removeprefix("stage/").removesuffix("_p50"): value
            for name, value in values.items()
            if name.startswith("stage/")
        },
        error=str(first["error"]),
        interval=_interval(rows),
        load=_load(rows),
    )


def _interval(rows: pd.DataFrame) -> tuple[float, float] | None:
    """Return the limits of the median pass; earlier versions wrote none."""
    own = rows[rows["metric"] == "latency_p50"]
    if not len(own) or "low" not in own:
        return None
    low, high = own["low"].iloc[0], own["high"].iloc[0]
    return None if pd.isna(low) or pd.isna(high) else (float(low), float(high))


def _load(rows: pd.DataFrame) -> str:
    load = str(rows["load"].iloc[0]) if "load" in rows else ""
    return "" if load in (QUIET, "nan") else load
