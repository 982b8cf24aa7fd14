"""Results measured here: the tidy rows of run folders, looked up by recipe, dataset and metric."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from posebench.bench.speed.options import PEOPLE
from posebench.bench.tables.papers import RowRecipe
from posebench.recipe import Recipe, current_name, recipe_to_json
from posebench.skeleton import COCO

# Columns of timing rows; times that differ in any of them are not compared.
ENVIRONMENT = ("hardware", "precision", "options")

_NO_ROWS = pd.DataFrame(
    columns=[
        "recipe", "input_size", "dataset", "split", "tta", "protocol", "people", "batch_size",
        "metric", "value", "low", "high", "run", *ENVIRONMENT,
    ],
    dtype=str,
)  # fmt: skip


@dataclass(frozen=True)
class Measurement:
    """A measured figure and where it comes from."""

    value: float
    run: str  # folder; empty: counted here
    conditions: str  # hardware and precision, as far as known
    interval: tuple[float, float] | None = None  # of 95 %, in the unit of the value


class Runs:
    """The results of all runs below a folder; of several measurements the newest counts."""

    def __init__(self, folder: Path) -> None:
        """Read the runs; a missing folder counts as empty."""
        self.unreadable: list[Path] = []
        self._recipes: dict[str, dict[str, Any]] = {}  # run -> its recipe.json
        tables = []
        paths = folder.rglob("results.csv") if folder.is_dir() else ()
        for path in sorted(paths, key=lambda path: (path.stat().st_mtime, str(path))):
            table = self._read(path)
            if table is not None:
                tables.append(table)
        rows = pd.concat([_NO_ROWS, *tables], ignore_index=True).fillna("")
        for name in ("value", "low", "high"):  # earlier versions wrote no limits
            rows[name] = pd.to_numeric(rows[name], errors="coerce")
        self.rows = rows[rows["value"].notna()]

    def _read(self, path: Path) -> pd.DataFrame | None:
        run = path.parent
        try:
            table = pd.read_csv(path, dtype=str, keep_default_na=False)
            if not {"recipe", "metric", "value"} <= set(table.columns):
                raise ValueError("not tidy")
            recipe, environment = (
                json.loads(path.read_text()) if path.is_file() else {}
                for path in (run / "recipe.json", run / "environment.json")
            )
        except (OSError, ValueError):
            self.unreadable.append(path)
            return None
        if "--annotations" in environment.get("command", ()):
            return None  # not evaluated on the split's own images
        self._recipes[str(run)] = {current_name(name): value for name, value in recipe.items()}
        if "backend" in table:  # the papers' tables are of PyTorch's networks
            table = table[table["backend"].isin(["", "torch"])]
        return table[table["source"] == "measured"].assign(run=str(run))

    def accuracy(
        self, row: RowRecipe, metrics: Sequence[str], dataset: str, split: str, tta: str
    ) -> Measurement | None:
        """Return the newest result of evaluating a row's recipe; None: there is none.

        Args:
            row: the printed row.
            metrics: names that the metric may have in result files; the first one found is used.
            dataset: on which it was evaluated.
            split: likewise.
            tta: test-time augmentation as written in the papers; empty: the recipe's own.
        """
        recipe = row.recipe
        if recipe is None or not dataset or not split:
            return None
        # A row with settings was trained and tested on the paper's own dataset.
        expected = recipe if row.settings else recipe.on(dataset)
        rows = self.rows[
            (self.rows["recipe"] == expected.name)
            & (self.rows["dataset"] == dataset)
            & (self.rows["split"] == split)
            & (self.rows["protocol"] == "")
            & (self.rows["input_size"] == str(expected.inference.resize.short_side))
        ]
        views = tta or expected.inference.label
        same = [
            _same_views(views, own) and self._same_recipe(run, expected, row)
            for own, run in zip(rows["tta"], rows["run"], strict=True)
        ]
        rows = rows[np.array(same, dtype=np.bool_)]
        for metric in metrics:
            of_metric = rows[rows["metric"] == metric]
            if len(of_metric):
                return _measurement(of_metric.iloc[-1])
        return None

    def _same_recipe(self, run: str, expected: Recipe, row: RowRecipe) -> bool:
        """Return whether a run had the row's network, number of epochs and settings."""
        saved = self._recipes[run]
        if not saved:  # results without a recipe.json, such as somebody else's
            return not row.settings
        wanted = json.loads(json.dumps(recipe_to_json(expected, expected.skeleton or COCO)))
        paths = [setting.partition("=")[0].split(".") for setting in row.settings]
        return (
            {**wanted["config"], **saved.get("config", {})} == wanted["config"]
            and saved.get("epochs") == wanted["epochs"]
            and all(_at(saved, path) == _at(wanted, path) for path in paths if path[0] in wanted)
        )

    def times(self) -> pd.DataFrame:
        """Return the timing rows measured in the environment of the newest timing run."""
        times = self.rows[self.rows["protocol"] != ""]
        if times.empty:
            return times
        newest = times.iloc[-1]
        same = (times[list(ENVIRONMENT)] == newest[list(ENVIRONMENT)]).all(axis=1)
        return times[same]

    def time(self, row: RowRecipe, metric: str, size: str) -> Measurement | None:
        """Return a metric of a `speed --protocol paper` run at batch size 1; None: there is none.

        Args:
            row: the printed row.
            metric: its name in timing rows.
            size: of the input as printed, "height x width"; without an x: any size that was timed.
        """
        times = self.times()
        changed = [s for s in row.settings if not s.startswith("inference.resize.")]
        if times.empty or changed or row.recipe is None:
            return None
        rows = times[
            (times["recipe"] == row.name)
            & (times["metric"] == metric)
            & (times["protocol"] == "paper")
            & (times["batch_size"] == "1")
        ]
        if "x" in size:
            rows = rows[rows["input_size"] == size]
        if rows.empty:
            return None
        people = (pd.to_numeric(rows["people"]) - PEOPLE).abs()
        return _measurement(rows[people == people.min()].iloc[-1])


def _same_views(printed: str, measured: str) -> bool:
    """Return whether a paper's word for test-time augmentation matches a measurement's label."""
    if printed == "multi-scale+flip":
        return measured.startswith("flip + scales")
    return printed == measured


def _at(values: Mapping[str, Any], path: Sequence[str]) -> Any:
    value: Any = values
    for name in path:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def _measurement(row: pd.Series) -> Measurement:
    conditions = ", ".join(filter(None, (row["hardware"], row["precision"])))
    limits = (float(row["low"]), float(row["high"]))
    interval = None if pd.isna(row["low"]) or pd.isna(row["high"]) else limits
    return Measurement(float(row["value"]), str(row["run"]), conditions, interval)
