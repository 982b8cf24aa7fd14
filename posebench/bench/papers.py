"""The figures that the papers print, as facts: tables, notes, doubts, and which recipe a row is of.

The files lie in `bench/paper_tables/` and travel with the package; its README says what they hold.
"""

from __future__ import annotations

import csv
import io
import re
from dataclasses import dataclass
from functools import cache
from importlib import resources

import pandas as pd

from posebench.data import LAYOUTS
from posebench.errors import UsageError, unknown_name
from posebench.models import RECIPES
from posebench.recipe import Recipe, override

# How papers spell datasets and splits, and how posebench does.
DATASETS = {layout.title: layout.name for layout in LAYOUTS.values() if layout.title}
SPLITS = {"val2017": "val", "test-dev2017": "test-dev", "val": "val", "test": "test"}

# Other names of the papers: the methods'.
_METHODS = {"group_pose": "grouppose", "higher_hrnet": "higherhrnet"}


@dataclass(frozen=True)
class RowRecipe:
    """Which recipe of the zoo a printed row, or one figure of it, is of."""

    row: int
    column: str  # the figure; empty: all of the row
    name: str
    settings: tuple[str, ...]  # field=value by which the row differs from the recipe
    dataset: str  # empty: the table's
    split: str  # empty: the table's
    metric: str  # which the figure is; empty: as the column is called

    @property
    def recipe(self) -> Recipe | None:
        """The recipe with the row's settings; None: this zoo does not have it."""
        recipe = RECIPES.get(self.name)
        for setting in self.settings if recipe else ():
            recipe = override(recipe, setting)  # type: ignore[arg-type]
        return recipe


@dataclass(frozen=True)
class PaperTable:
    """One printed table."""

    name: str  # "cid_table04"
    paper: str  # "cid"
    number: str  # "Table 4"
    title: str
    hardware: str  # that times were taken on; empty: there are none
    doubts: str  # "none", or what is not certain about the figures
    rows: pd.DataFrame  # as printed, all cells text
    recipes: tuple[RowRecipe, ...]

    def recipe_of(self, row: int, column: str = "") -> RowRecipe | None:
        """Return what a row, or a figure of its own, is of."""
        of_row = [found for found in self.recipes if found.row == row]
        for found in of_row:
            if found.column == column:
                return found
        return next((found for found in of_row if not found.column), None)

    def in_zoo(self, row: int) -> bool:
        return any(f.row == row and f.recipe is not None for f in self.recipes)


def _records(name: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(read_text(name))))


def read_text(name: str) -> str:
    """Return what a file of the package holds."""
    return (resources.files("posebench.bench") / "paper_tables" / name).read_text(encoding="utf-8")


@cache
def table_names() -> tuple[str, ...]:
    """Return the tables' names in the order of the papers."""
    return tuple(row["file"].removesuffix(".csv") for row in _records("index.csv"))


def find_table(name: str) -> str:
    """Return the table that is meant: `cid_table04`, `cid/4`, `grouppose/4a`, `group_pose/A02`.

    Raises:
        UsageError: there is none.
    """
    aliases = {short_name(table): table for table in table_names()}
    full = {table.lower(): table for table in table_names()}
    wanted = name.lower().removesuffix(".csv")
    if wanted in full:
        return full[wanted]
    paper, _, number = wanted.partition("/")
    paper = _METHODS.get(paper, paper)
    number = _plain(number)
    if f"{paper}/{number}" in aliases:
        return aliases[f"{paper}/{number}"]
    own = [short for short in aliases if short.startswith(f"{paper}/")]
    if own and not number:
        raise UsageError(f"{name} has several tables: name one of {', '.join(own)}.")
    raise unknown_name("table", name, aliases)


def short_name(table: str) -> str:
    """Return `cid/4` of `cid_table04`, `grouppose/4a` of `grouppose_table04_a`."""
    paper, _, number = table.partition("_table")
    return f"{paper}/{_plain(number.replace('_', ''))}"


def _plain(number: str) -> str:
    """Return `4a` of `04_a` or `Table 4a`, `a2` of `A02`."""
    return re.sub(r"^(table)?\W*(a?)0*", r"\2", number.lower())


@cache
def load_table(name: str) -> PaperTable:
    """Return a table by its full name."""
    index = next(row for row in _records("index.csv") if row["file"] == f"{name}.csv")
    return PaperTable(
        name=name,
        paper=index["paper"],
        number=index["table"],
        title=index["title"],
        hardware=index["timing_hardware"],
        doubts=index["doubts"],
        rows=pd.read_csv(io.StringIO(read_text(f"{name}.csv")), dtype=str, keep_default_na=False),
        recipes=tuple(
            RowRecipe(
                row=int(row["row"]),
                column=row["column"],
                name=row["recipe"],
                settings=tuple(filter(None, row["settings"].split(";"))),
                dataset=row["dataset"],
                split=row["split"],
                metric=row["metric"],
            )
            for row in _records("rows.csv")
            if row["table"] == name
        ),
    )
