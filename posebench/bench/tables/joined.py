"""A paper's table joined with the results measured here.

A measured cell is counted (parameters, multiply-adds) or read from run folders (accuracy, time,
memory). Without a measurement it is empty; it never repeats the printed figure.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pandas as pd

from posebench.bench.flops import describe
from posebench.bench.tables.measured import Measurement, Runs
from posebench.bench.tables.papers import DATASETS, SPLITS, PaperTable, RowRecipe
from posebench.metrics.names import AP_AT_THRESHOLDS, AP_PARTS, PCKH_PARTS, pckh_name
from posebench.recipe import Recipe

MEASURED = " measured"  # suffix of the column next to a printed one
# Suffixes of the columns behind it, where a measurement has a 95 % interval.
LIMITS = (" measured low", " measured high")

_PCKH = (pckh_name(matched=True), pckh_name())
# Printed column -> names of the metric in tidy rows; the first one found is used.
_ACCURACY: dict[str, tuple[str, ...]] = {
    **{n: (n,) for n in ("AP", *AP_AT_THRESHOLDS, *AP_PARTS)},
    **{n: (n,) for n in ("AR", "AR50", "AR75", "ARM", "ARL")},
    "APM_crowd": ("APM",),
    "PCKh_mean": _PCKH,
    **{f"PCKh_{part}": tuple(f"{name}/{part}" for name in _PCKH) for part in PCKH_PARTS},
}
# Printed column -> name of the timing metric in tidy rows, and its units per printed unit.
_TIMES = {"FPS": ("fps", 1.0), "time_ms": ("latency_p50", 1.0), "memory_GB": ("peak_MB", 1e3)}
_COSTS: dict[str, Callable[[Recipe], float]] = {
    "params_M": lambda recipe: float(describe(recipe)["params_M"]),
    "GFLOPs": lambda recipe: float(describe(recipe)["gmacs"]),  # papers call multiply-adds FLOPs
    # Float32 weights in units of 2^20 bytes, which reproduces the printed megabytes.
    "params_MB": lambda recipe: float(describe(recipe)["params_M"]) * 4e6 / 2**20,
}

COST_COLUMNS, TIME_COLUMNS = tuple(_COSTS), tuple(_TIMES)


@dataclass(frozen=True)
class JoinedTable:
    """A printed table with a measured column next to each figure."""

    table: PaperTable
    rows: pd.DataFrame  # printed columns as text; measured ones as numbers, NA if not measured
    figures: tuple[str, ...]  # the printed columns that have a measured column

    @property
    def measured(self) -> int:
        """The number of measured figures."""
        return int(self.rows[[f + MEASURED for f in self.figures]].notna().to_numpy().sum())

    @property
    def printed(self) -> int:
        """The number of printed figures of rows that the zoo has a recipe for."""
        in_zoo = self.rows[self.rows["in_zoo"]]
        return int((in_zoo[list(self.figures)] != "").to_numpy().sum())

    def tidy(self) -> pd.DataFrame:
        """Return one tidy row per printed figure and per measured one."""
        table = self.table
        rows = []
        for _, row in self.rows.iterrows():
            for figure in self.figures:
                chosen = table.recipe_of(int(row["row"]), figure)
                dataset, split = evaluated_on(row, chosen) if chosen else ("", "")
                common = {
                    "table": table.name,
                    "row": int(row["row"]),
                    "method": row["method"],
                    "recipe": chosen.label if chosen else "",
                    "backbone": row["backbone"],
                    "input_size": row["input_size"],
                    "dataset": dataset or str(row["dataset"]),
                    "split": split or str(row["split"]),
                    "tta": row["test_time_augmentation"],
                    "metric": figure,
                }
                printed = f"paper:{table.paper}:{table.name.partition('_')[2]}"
                if row[figure]:
                    rows.append({**common, "value": float(row[figure]), "source": printed})
                if pd.notna(row[figure + MEASURED]):
                    value = float(row[figure + MEASURED])
                    made = {"source": "measured", "measured_from": row["measured_from"]}
                    for name, suffix in zip(("low", "high"), LIMITS, strict=True):
                        if pd.notna(row.get(figure + suffix)):
                            made[name] = float(row[figure + suffix])
                    rows.append({**common, "value": value, **made})
        return pd.DataFrame(rows)


def figure_columns(table: PaperTable) -> tuple[str, ...]:
    """Return the printed columns that can be measured."""
    of_recipes = {recipe.column for recipe in table.recipes if recipe.column}
    known = {*_ACCURACY, *_TIMES, *_COSTS} | of_recipes
    return tuple(column for column in table.rows.columns if column in known)


def join(table: PaperTable, runs: Runs) -> JoinedTable:
    """Return a printed table with the results measured in some runs."""
    figures = figure_columns(table)
    rows = table.rows.copy()
    sources: dict[int, dict[str, None]] = {index: {} for index in rows.index}
    for figure in figures:
        values: list[float | None] = []
        limits: list[tuple[float | None, float | None]] = []
        for index, row in table.rows.iterrows():
            assert isinstance(index, int)
            measurement = _measure(table, row, figure, runs)
            values.append(measurement.value if measurement else None)
            known = measurement.interval if measurement and figure in _ACCURACY else None
            limits.append(known or (None, None))
            if measurement:
                sources[index][_source(measurement)] = None
        position = list(rows.columns).index(figure) + 1
        rows.insert(position, figure + MEASURED, pd.Series(values, rows.index, dtype="Float64"))
        if any(low is not None for low, _ in limits):
            for place, suffix in enumerate(LIMITS, start=1):
                own = pd.Series([pair[place - 1] for pair in limits], rows.index, dtype="Float64")
                rows.insert(position + place, figure + suffix, own)
    rows["recipe"] = [_labels(table, int(row)) for row in table.rows["row"]]
    rows["in_zoo"] = [table.in_zoo(int(row)) for row in table.rows["row"]]
    rows["measured_from"] = ["; ".join(own) for own in sources.values()]
    return JoinedTable(table, rows, figures)


def _measure(table: PaperTable, row: pd.Series, figure: str, runs: Runs) -> Measurement | None:
    chosen = table.recipe_of(int(row["row"]), figure)
    if chosen is None or chosen.recipe is None:
        return None
    if figure in _COSTS:
        return Measurement(_COSTS[figure](chosen.recipe), "", "counted")
    if figure in _TIMES:
        name, units = _TIMES[figure]
        time = runs.time(chosen, name, str(row.get("input_size", "")))
        return time and Measurement(time.value / units, time.run, time.conditions)
    dataset, split = evaluated_on(row, chosen)
    metrics = (chosen.metric,) if chosen.metric else _ACCURACY[figure]
    return runs.accuracy(chosen, metrics, dataset, split, str(row["test_time_augmentation"]))


def evaluated_on(row: pd.Series, chosen: RowRecipe) -> tuple[str, str]:
    """Return the dataset and split of a row; empty if the paper does not state one."""
    dataset = chosen.dataset or DATASETS.get(str(row["dataset"]), "")
    return dataset, chosen.split or SPLITS.get(str(row["split"]), "")


def _source(measurement: Measurement) -> str:
    if not measurement.run:
        return measurement.conditions
    return f"{measurement.run} ({measurement.conditions})"


def _labels(table: PaperTable, row: int) -> str:
    """Return the labels of a row's recipes, each once."""
    return "; ".join(dict.fromkeys(r.label for r in table.recipes if r.row == row))
