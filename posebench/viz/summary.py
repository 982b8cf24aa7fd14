"""The report's summary: one row a model, printed figures beside those measured here."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pandas as pd

from posebench.bench.flops import describe
from posebench.bench.speed.options import PEOPLE
from posebench.bench.tables import JoinedTable, Runs
from posebench.models import RECIPES
from posebench.recipe import Recipe
from posebench.viz.pages import Cell, Column, sortable_table

_PRINTED, _HERE = "printed in the papers", "measured here"
_COLUMNS = (
    Column("model"),
    Column("AP, %", numeric=True, best_first="high", group=_PRINTED),
    Column("of", group=_PRINTED),
    Column("ms", numeric=True, group=_PRINTED),
    Column("params, M", numeric=True, group=_PRINTED),
    Column("memory, GB", numeric=True, group=_PRINTED),
    Column("GMACs", numeric=True, group=_PRINTED),
    Column("AP, %", numeric=True, best_first="high", measured=True, group=_HERE),
    Column("of", measured=True, group=_HERE),
    Column("ms", numeric=True, measured=True, group=_HERE),
    Column("params, M", numeric=True, measured=True, group=_HERE),
    Column("memory, GB", numeric=True, measured=True, group=_HERE),
    Column("GMACs", numeric=True, measured=True, group=_HERE),
)
_PROTOCOLS = ("end-to-end", "paper", "forward")  # the first one that was timed is shown


def summary(tables: Sequence[JoinedTable], runs: Runs) -> tuple[str, str]:
    """Return the table as HTML, and a sentence on its measured times, empty if there are none.

    A row for every model that a table has a row for, or that was measured.
    """
    times, note = _times(runs)
    measured = set(runs.rows["recipe"])
    printed = {name: _printed(name, tables) for name in RECIPES}
    rows: list[list[str | Cell]] = [
        [name, *printed[name], *_here(recipe, runs, times)]
        for name, recipe in RECIPES.items()
        if name in measured or any(cell.text for cell in printed[name])
    ]
    return sortable_table(_COLUMNS, rows), note


def _printed(name: str, tables: Sequence[JoinedTable]) -> list[Cell]:
    """Return AP, what it is of, ms, parameters, memory and GMACs; the paper's own figures first."""
    # Of the dataset it was trained on, val if it is printed, as most papers print that.
    reported = [
        one
        for one in RECIPES[name].reported
        if one.metric == "AP" and one.source.startswith("paper:")
    ]
    reported = [one for one in reported if one.dataset == reported[0].dataset]
    reported.sort(key=lambda one: not one.split.startswith("val"))
    ap, of = Cell(""), Cell("")
    if reported:
        first = reported[0]
        link = first.source.removeprefix("paper:").replace(":", "_")
        link = link if any(joined.table.name == link for joined in tables) else ""
        ap = Cell(f"{first.value:.1f}", link=link)
        of = Cell(f"{first.dataset} {first.split}")
    rows = [
        (joined, row)
        for joined in tables
        for _, row in joined.rows.iterrows()
        if (chosen := joined.table.recipe_of(int(row["row"]))) and chosen.label == name
    ]
    rows.sort(key=lambda pair: pair[1]["ours"] != "true")

    def figure(*columns: str) -> Cell:
        for joined, row in rows:
            for column in columns:
                if row.get(column):
                    value = float(row[column])
                    table = joined.table
                    text = f"{1000 / value:.3g}" if column == "FPS" else f"{value:g}"
                    source = f"{table.paper_title}, {table.number}"
                    if column in ("FPS", "time_ms", "memory_GB") and table.hardware:
                        source += f", {table.hardware}"
                    return Cell(text, source, table.name)
        return Cell("")

    costs = figure("time_ms", "FPS"), figure("params_M"), figure("memory_GB"), figure("GFLOPs")
    return [ap, of, *costs]


def _here(recipe: Recipe, runs: Runs, times: pd.DataFrame) -> Iterator[str]:
    """Yield the same of what was measured here, the newest of each."""
    rows = runs.rows
    own = rows[(rows["recipe"] == recipe.name) & (rows["protocol"] == "")]
    own = own[own["metric"] == "AP"]
    if len(own):
        newest = own.iloc[-1]
        text = f"{float(newest['value']):.1f}"
        if pd.notna(newest["low"]) and pd.notna(newest["high"]):
            text += f" ({newest['low']:.1f}–{newest['high']:.1f})"
        yield text
        yield f"{newest['dataset']} {newest['split']}"
    else:
        yield ""
        yield ""
    timed = times[times["recipe"] == recipe.name] if len(times) else times

    def newest_time(metric: str) -> float | None:
        found = timed[timed["metric"] == metric] if len(timed) else timed
        return float(found.iloc[-1]["value"]) if len(found) else None

    ms, peak = newest_time("latency_p50"), newest_time("peak_MB")
    costs = describe(recipe)
    yield "" if ms is None else f"{ms:.3g}" if ms < 1000 else f"{ms:.0f}"
    yield f"{costs['params_M']:.1f}"
    yield "" if peak is None else f"{peak / 1000:.2f}"
    yield f"{costs['gmacs']:.3g}"


def _times(runs: Runs) -> tuple[pd.DataFrame, str]:
    """Return the rows of one protocol, batch size 1 and one number of people, and say which."""
    times = runs.times()
    if not len(times):
        return times, ""
    times = times[times["batch_size"] == "1"]
    for protocol in _PROTOCOLS:
        rows = times[times["protocol"] == protocol]
        if not len(rows):
            continue
        distance = (pd.to_numeric(rows["people"]) - PEOPLE).abs()
        rows = rows[distance == distance.min()]
        first = rows.iloc[-1]
        words = (first["hardware"], first["precision"], first["options"])
        conditions = ", ".join(filter(None, words))
        return rows, f"{protocol}, {first['people']} people, batch size 1, {conditions}"
    return times, ""
