"""What has been measured here: the tidy rows of run folders, found again by what they are of."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from posebench.bench.papers import RowRecipe
from posebench.recipe import Recipe, current_name, recipe_to_json
from posebench.structures import COCO

# Of a speed run; rows that differ in one of them are not compared.
ENVIRONMENT = ("hardware", "precision", "options")
_USUAL_PEOPLE = 5

_NONE = pd.DataFrame(
    columns=[
        "recipe", "input_size", "dataset", "split", "tta", "protocol", "people", "batch_size",
        "metric", "value", "run", *ENVIRONMENT,
    ],
    dtype=str,
)  # fmt: skip


@dataclass(frozen=True)
class Measurement:
    """One figure and where it is from."""

    value: float
    run: str  # the folder
    conditions: str  # hardware and precision, as far as they were written


class Runs:
    """The results of all runs below a folder; of several of one thing, the newest count."""

    def __init__(self, folder: Path) -> None:
        """Read the runs; a folder that is not there has none."""
        self.unreadable: list[Path] = []
        self._recipes: dict[str, dict[str, Any]] = {}  # run -> what its recipe.json says
        tables = []
        paths = folder.rglob("results.csv") if folder.is_dir() else ()
        for path in sorted(paths, key=lambda path: (path.stat().st_mtime, str(path))):
            table = self._read(path)
            if table is not None:
                tables.append(table)
        rows = pd.concat([_NONE, *tables], ignore_index=True).fillna("")
        rows["value"] = pd.to_numeric(rows["value"], errors="coerce")
        self.rows = rows[rows["value"].notna()]

    def _read(self, path: Path) -> pd.DataFrame | None:
        run = path.parent
        try:
            table = pd.read_csv(path, dtype=str, keep_default_na=False)
            if not {"recipe", "metric", "value"} <= set(table.columns):
                raise ValueError("not tidy")
            recipe, environment = (
                json.loads(place.read_text()) if place.is_file() else {}
                for place in (run / "recipe.json", run / "environment.json")
            )
        except (OSError, ValueError):
            self.unreadable.append(path)
            return None
        if "--annotations" in environment.get("command", ()):
            return None  # other images than the split's
        self._recipes[str(run)] = {current_name(name): value for name, value in recipe.items()}
        return table[table["source"] == "measured"].assign(run=str(run))

    def accuracy(
        self, row: RowRecipe, metrics: Sequence[str], dataset: str, split: str, tta: str
    ) -> Measurement | None:
        """Return what an evaluation of this recipe gave.

        Args:
            metrics: names under which it may have been written, the first that is found counts.
            tta: as papers write it; empty: as the recipe is tested.
        """
        recipe = row.recipe
        if recipe is None or not dataset or not split:
            return None
        # A row that differs from its recipe is of the paper's own dataset.
        expected = recipe if row.settings else recipe.on(dataset)
        found = self.rows[
            (self.rows["recipe"] == expected.name)
            & (self.rows["dataset"] == dataset)
            & (self.rows["split"] == split)
            & (self.rows["protocol"] == "")
            & (self.rows["input_size"] == str(expected.inference.resize.short_side))
        ]
        views = tta or expected.inference.label
        same = [
            _same_views(views, own) and self._same_recipe(run, expected, row)
            for own, run in zip(found["tta"], found["run"], strict=True)
        ]
        found = found[np.array(same, dtype=np.bool_)]
        for metric in metrics:
            of_metric = found[found["metric"] == metric]
            if len(of_metric):
                return _measurement(of_metric.iloc[-1])
        return None

    def _same_recipe(self, run: str, expected: Recipe, row: RowRecipe) -> bool:
        """Return whether a run had the row's network, training time and settings."""
        saved = self._recipes[run]
        if not saved:  # somebody's results, without what they were made with
            return not row.settings
        wanted = json.loads(json.dumps(recipe_to_json(expected, expected.skeleton or COCO)))
        paths = [setting.partition("=")[0].split(".") for setting in row.settings]
        return (
            {**wanted["config"], **saved.get("config", {})} == wanted["config"]
            and saved.get("epochs") == wanted["epochs"]
            and all(_at(saved, path) == _at(wanted, path) for path in paths if path[0] in wanted)
        )

    def times(self) -> pd.DataFrame:
        """Return the timing rows of one environment, that of the newest run."""
        times = self.rows[self.rows["protocol"] != ""]
        if times.empty:
            return times
        newest = times.iloc[-1]
        same = (times[list(ENVIRONMENT)] == newest[list(ENVIRONMENT)]).all(axis=1)
        return times[same]

    def time(self, row: RowRecipe, metric: str, size: str) -> Measurement | None:
        """Return what a run of `speed --protocol paper` gave, one image at a time.

        Args:
            size: height x width as printed; empty or a short side: whichever was timed.
        """
        times = self.times()
        changed = [s for s in row.settings if not s.startswith("inference.resize.")]
        if times.empty or changed or row.recipe is None:
            return None
        found = times[
            (times["recipe"] == row.name)
            & (times["metric"] == metric)
            & (times["protocol"] == "paper")
            & (times["batch_size"] == "1")
        ]
        if "x" in size:
            found = found[found["input_size"] == size]
        if found.empty:
            return None
        people = (pd.to_numeric(found["people"]) - _USUAL_PEOPLE).abs()
        return _measurement(found[people == people.min()].iloc[-1])


def _same_views(printed: str, measured: str) -> bool:
    """Return whether a paper's word for test-time augmentation is what was done here."""
    if printed == "multi-scale+flip":
        return measured.startswith("flip + scales")
    return printed == measured


def _at(values: Mapping[str, Any], path: Sequence[str]) -> Any:
    found: Any = values
    for name in path:
        found = found.get(name) if isinstance(found, Mapping) else None
    return found


def _measurement(row: pd.Series) -> Measurement:
    conditions = ", ".join(filter(None, (row["hardware"], row["precision"])))
    return Measurement(float(row["value"]), str(row["run"]), conditions)
