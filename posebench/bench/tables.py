"""A paper's table with what was measured here beside what it prints.

A measured cell is counted here (parameters, multiply-adds) or read from run folders (accuracy,
time, memory). Where there is no measurement it is empty: it never repeats the printed figure.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pandas as pd

from posebench.bench.costs import describe
from posebench.bench.measured import Measurement, Runs
from posebench.bench.papers import DATASETS, SPLITS, PaperTable, RowRecipe
from posebench.metrics.names import AP_AT_THRESHOLDS, AP_PARTS, PCKH_PARTS, pckh_name
from posebench.recipe import Recipe

MEASURED = " measured"  # after the name of a printed column

_PCKH = (pckh_name(matched=True), pckh_name())
# Printed column -> its name in tidy rows; the first that is found counts.
_ACCURACY: dict[str, tuple[str, ...]] = {
    **{n: (n,) for n in ("AP", *AP_AT_THRESHOLDS, *AP_PARTS)},
    **{n: (n,) for n in ("AR", "AR50", "AR75", "ARM", "ARL")},
    "APM_crowd": ("APM",),
    "PCKh_mean": _PCKH,
    **{f"PCKh_{part}": tuple(f"{name}/{part}" for name in _PCKH) for part in PCKH_PARTS},
}
# Printed column -> a timing's name in tidy rows, and how many of its units make the printed one.
_TIMES = {"FPS": ("fps", 1.0), "time_ms": ("latency_p50", 1.0), "memory_GB": ("peak_MB", 1e3)}
_COSTS: dict[str, Callable[[Recipe], float]] = {
    "params_M": lambda recipe: float(describe(recipe)["params_M"]),
    "GFLOPs": lambda recipe: float(describe(recipe)["gmacs"]),  # so papers call multiply-adds
    # Float32 in units of 2^20 bytes: what gives the printed megabytes.
    "params_MB": lambda recipe: float(describe(recipe)["params_M"]) * 4e6 / 2**20,
}

COST_COLUMNS, TIME_COLUMNS = tuple(_COSTS), tuple(_TIMES)

# What is in the caption, or for programs.
_NOT_SHOWN = ("paper", "table", "row", "method_key", "ours", "note")


@dataclass(frozen=True)
class JoinedTable:
    """A printed table and what was measured."""

    table: PaperTable
    rows: pd.DataFrame  # printed columns as text; after a figure, ` measured`, numbers or empty
    figures: tuple[str, ...]  # the printed columns that have a measured one

    @property
    def measured(self) -> int:
        """How many figures were measured."""
        return int(self.rows[[f + MEASURED for f in self.figures]].notna().to_numpy().sum())


@dataclass(frozen=True)
class Grid:
    """A table as it is shown: text only."""

    title: str
    headers: list[str]
    rows: list[list[str]]
    numeric: list[bool]  # of each column
    notes: list[str]


def figure_columns(table: PaperTable) -> tuple[str, ...]:
    """Return the printed columns that something can be measured for."""
    own = {found.column for found in table.recipes if found.column}
    known = {*_ACCURACY, *_TIMES, *_COSTS} | own
    return tuple(column for column in table.rows.columns if column in known)


def join(table: PaperTable, runs: Runs) -> JoinedTable:
    """Put what was measured beside what is printed."""
    figures = figure_columns(table)
    rows = table.rows.copy()
    sources: dict[int, dict[str, None]] = {index: {} for index in rows.index}
    for figure in figures:
        values: list[float | None] = []
        for index, row in table.rows.iterrows():
            assert isinstance(index, int)
            found = _measure(table, row, figure, runs)
            values.append(found.value if found else None)
            if found:
                sources[index][_source(found)] = None
        place = list(rows.columns).index(figure) + 1
        rows.insert(place, figure + MEASURED, pd.Series(values, rows.index, dtype="Float64"))
    names = [_recipe_text(table, int(row)) for row in table.rows["row"]]
    rows["recipe"] = names
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
        found = runs.time(chosen, name, str(row.get("input_size", "")))
        return found and Measurement(found.value / units, found.run, found.conditions)
    dataset, split = _where(row, chosen)
    metrics = (chosen.metric,) if chosen.metric else _ACCURACY[figure]
    return runs.accuracy(chosen, metrics, dataset, split, str(row["test_time_augmentation"]))


def _where(row: pd.Series, chosen: RowRecipe) -> tuple[str, str]:
    """Return the dataset and split of a row, empty where the paper does not state one."""
    dataset = chosen.dataset or DATASETS.get(str(row["dataset"]), "")
    return dataset, chosen.split or SPLITS.get(str(row["split"]), "")


def _source(found: Measurement) -> str:
    return f"{found.run} ({found.conditions})" if found.run else found.conditions


def _recipe_text(table: PaperTable, row: int) -> str:
    texts = {
        " ".join((found.name, *found.settings)): None for found in table.recipes if found.row == row
    }
    return "; ".join(texts)


def grid(joined: JoinedTable) -> Grid:
    """Return the table as it is shown."""
    table, rows = joined.table, joined.rows
    places = {
        name: sorted(set(table.rows[name]) - {""})
        for name in ("dataset", "split")
        if name in table.rows
    }
    hidden = {*_NOT_SHOWN, *(name for name, values in places.items() if len(values) == 1)}
    where = " ".join(values[0] for values in places.values() if len(values) == 1)
    shown = [
        column
        for column in table.rows.columns
        if column not in hidden and (table.rows[column] != "").any()
    ]
    headers, columns, numeric = [], [], []
    for column in shown:
        cells = [str(cell) for cell in rows[column]]
        if column == "method":
            cells = [
                method + " *" * (ours == "true") + " †" * (not in_zoo)
                for method, ours, in_zoo in zip(cells, rows["ours"], rows["in_zoo"], strict=True)
            ]
        headers.append(column)
        columns.append(cells)
        numeric.append(column in joined.figures)
        if column in joined.figures:
            digits = max((len(cell.partition(".")[2]) for cell in cells), default=0)
            headers.append(column + MEASURED)
            columns.append(
                ["" if pd.isna(v) else f"{v:.{digits}f}" for v in rows[column + MEASURED]]
            )
            numeric.append(True)
    notes = [
        f"Row {row}: {note}"
        for row, note in zip(table.rows["row"], table.rows["note"], strict=True)
        if note
    ]
    if table.doubts != "none":
        notes.append(f"About the figures: {table.doubts}")
    marks = []
    if (rows["ours"] == "true").any():
        marks.append("* the paper's own model")
    if not rows["in_zoo"].all():
        marks.append("† not in this zoo: printed figures only")
    used = sorted({source for own in rows["measured_from"] for source in own.split("; ") if source})
    if used:
        marks.append(f"measured: {', '.join(used)}")
    return Grid(
        title=f"{table.paper}, {table.number}: {table.title}" + (f" ({where})" if where else ""),
        headers=headers,
        rows=[list(cells) for cells in zip(*columns, strict=True)],
        numeric=numeric,
        notes=["; ".join(marks)] * bool(marks) + notes,
    )


def tidy(joined: JoinedTable) -> pd.DataFrame:
    """Return a row for each printed figure and each measured one."""
    table = joined.table
    found = []
    for _, row in joined.rows.iterrows():
        for figure in joined.figures:
            chosen = table.recipe_of(int(row["row"]), figure)
            dataset, split = _where(row, chosen) if chosen else ("", "")
            common = {
                "table": table.name,
                "row": int(row["row"]),
                "method": row["method"],
                "recipe": " ".join((chosen.name, *chosen.settings)) if chosen else "",
                "backbone": row["backbone"],
                "input_size": row["input_size"],
                "dataset": dataset or str(row["dataset"]),
                "split": split or str(row["split"]),
                "tta": row["test_time_augmentation"],
                "metric": figure,
            }
            printed = f"paper:{table.paper}:{table.name.partition('_')[2]}"
            if row[figure]:
                found.append({**common, "value": float(row[figure]), "source": printed})
            if pd.notna(row[figure + MEASURED]):
                value = float(row[figure + MEASURED])
                made = {"source": "measured", "measured_from": row["measured_from"]}
                found.append({**common, "value": value, **made})
    return pd.DataFrame(found)
