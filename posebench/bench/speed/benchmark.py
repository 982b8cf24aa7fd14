"""A benchmark in its run folder: times the models that the folder does not have yet."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pandas as pd

from posebench.bench.speed.interleave import backends_of, measure
from posebench.bench.speed.options import SpeedOptions, TimingJob, input_cases
from posebench.bench.speed.rounds import OnProgress, Timing
from posebench.bench.speed.rows import (
    conditions_of,
    identity_of,
    is_current,
    read_tables,
    round_rows,
    timing_rows,
    with_comparisons,
    write_tables,
)
from posebench.bench.speed.timed_predictor import timed
from posebench.engine import Predictor
from posebench.recipe import Recipe


def run_speed_benchmark(
    recipes: Sequence[Recipe | Predictor],
    options: SpeedOptions,
    run: Path,
    *,
    on_progress: OnProgress = lambda name, what: None,
    make: Callable[[TimingJob], object] = timed,
) -> pd.DataFrame:
    """Time the recipes that the run folder does not have yet, and return all of its rows.

    Args:
        recipes: at least one; predictors may be among them.
        options: the same for all.
        run: the folder; its `results.csv` and `rounds.csv` are updated after each group of models.
        on_progress: is called with a recipe and what its model is doing.
        make: builds the model in a worker's process.
    """
    rows, rounds = read_tables(run)
    done = {
        identity_of(row)
        for row in rows.to_dict("records")
        if not row["error"] and is_current(row)  # those of other rules are timed anew
    }
    missing = [recipe for recipe in recipes if not _identities(recipe, options) <= done]

    def save(timings: list[Timing]) -> None:
        new_rows, new_rounds = timing_rows(timings, options), round_rows(timings, options)
        again = {identity_of(row) for row in new_rows.to_dict("records")}
        all_rows = _concat(_without(rows, again), new_rows)
        all_rounds = _concat(_without(rounds, again), new_rounds)
        write_tables(run, with_comparisons(all_rows, all_rounds), all_rounds)

    if missing:
        first = int(rounds["round"].max()) + 1 if len(rounds) else 0
        measure(
            missing, options, first_round=first, on_progress=on_progress, on_group=save, make=make
        )
    return read_tables(run)[0]


def _identities(recipe: Recipe | Predictor, options: SpeedOptions) -> set[tuple[str, ...]]:
    """Return the identities of all timings of a recipe."""
    predictor = recipe if isinstance(recipe, Predictor) else None
    timings = [
        Timing(recipe.name, case, predictor=predictor, backend=backend)
        for backend in backends_of(recipe, options)
        for case in range(len(input_cases(recipe, options)))
    ]
    return {identity_of(conditions_of(timing, options)) for timing in timings}


def _without(table: pd.DataFrame, identities: set[tuple[str, ...]]) -> pd.DataFrame:
    if not len(table):
        return table
    return table[[identity_of(row) not in identities for row in table.to_dict("records")]]


def _concat(old: pd.DataFrame, new: pd.DataFrame) -> pd.DataFrame:
    parts = [part for part in (old, new) if len(part)]
    return pd.concat(parts, ignore_index=True) if parts else new
