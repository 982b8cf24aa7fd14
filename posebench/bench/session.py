"""A run of `posebench speed` in its folder: what is there is kept, what is missing is measured."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from posebench.bench.rows import (
    IDENTITY,
    place_of,
    read,
    round_rows,
    timing_rows,
    with_comparisons,
    write,
)
from posebench.bench.speed import SpeedOptions, cases, measure
from posebench.bench.subject import Subject
from posebench.bench.timed import TimedModel
from posebench.bench.turns import Tell, Timing
from posebench.errors import UsageError
from posebench.models import profile_of
from posebench.recipe import Recipe


def timed_run(
    recipes: Sequence[Recipe],
    options: SpeedOptions,
    run: Path,
    *,
    tell: Tell = lambda name, what: None,
    make: Callable[[Subject], object] = TimedModel,
) -> pd.DataFrame:
    """Time what the run folder does not have yet, and return all it has then.

    Args:
        recipes: at least one.
        options: the same for all.
        run: the folder; `results.csv` and `rounds.csv` in it are kept up with what is known.
        tell: what is told of progress.
        make: what a worker's process makes of its subject.
    """
    rows, rounds = read(run)
    done = {_identity(row) for row in rows.to_dict("records") if not row["error"]}
    missing = [
        recipe for recipe in recipes
        if any(
            _identity(place_of(Timing(recipe.name, case), options)) not in done
            for case in range(len(cases(recipe, options)))
        )
    ]  # fmt: skip

    def save(timings: list[Timing]) -> None:
        new_rows, new_rounds = timing_rows(timings, options), round_rows(timings, options)
        again = {_identity(row) for row in new_rows.to_dict("records")}
        kept_rows, kept_rounds = (
            table[[_identity(row) not in again for row in table.to_dict("records")]]
            if len(table) else table
            for table in (rows, rounds)
        )  # fmt: skip
        joined = [
            pd.concat([part for part in parts if len(part)], ignore_index=True)
            if any(len(part) for part in parts) else parts[1]
            for parts in ((kept_rows, new_rows), (kept_rounds, new_rounds))
        ]  # fmt: skip
        write(run, with_comparisons(*joined), joined[1])

    if missing:
        first = int(rounds["round"].max()) + 1 if len(rounds) else 0
        measure(missing, options, first_round=first, tell=tell, lot_done=save, make=make)
    return read(run)[0]


def _identity(row: Mapping[Any, Any]) -> tuple[str, ...]:
    return tuple(str(row[column]) for column in IDENTITY)


def with_alternatives(recipes: Sequence[Recipe]) -> list[Recipe]:
    """Return the recipes whose paper compares ways to a stage.

    Raises:
        UsageError: there are none.
    """
    comparing = [r for r in recipes if profile_of(r.config).alternatives is not None]
    if not comparing:
        names = ", ".join(recipe.name for recipe in recipes)
        raise UsageError(f"No paper compares ways to a stage of {names}: leave out --alternatives.")
    return comparing
