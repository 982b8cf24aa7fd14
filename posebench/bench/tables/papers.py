"""The figures printed in the papers: their tables, and which recipe each row belongs to.

The data is in `paper_tables/`, which is part of the package; its README describes the files.
"""

from __future__ import annotations

import csv
import io
import re
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any

from posebench.data import LAYOUTS
from posebench.errors import UsageError, unknown_name
from posebench.models import RECIPES
from posebench.recipe import Recipe, override

if TYPE_CHECKING:
    import pandas as pd

# Datasets and splits as spelled in the papers -> as spelled in posebench.
DATASETS = {layout.title: layout.name for layout in LAYOUTS.values() if layout.title}
SPLITS = {"val2017": "val", "test-dev2017": "test-dev", "val": "val", "test": "test"}

# Method -> the paper's name in `paper_tables/`, where they differ.
_METHODS = {"group_pose": "grouppose", "higher_hrnet": "higherhrnet"}
# The papers' names in `paper_tables/` -> as they are written.
_PAPERS = {
    "cid": "CID", "posedet": "PoseDet", "grouppose": "Group Pose", "higherhrnet": "HigherHRNet",
    "dgcn": "DGCN",
}  # fmt: skip


@dataclass(frozen=True)
class RowRecipe:
    """The recipe of the zoo that a printed row, or one figure of it, belongs to."""

    row: int
    column: str  # of the figure; empty: the whole row
    name: str
    settings: tuple[str, ...]  # field=value by which the row differs from the recipe
    dataset: str  # empty: the table's
    split: str  # empty: the table's
    metric: str  # of the figure; empty: the column's name

    @property
    def label(self) -> str:
        """The recipe's name and settings, separated by spaces."""
        return " ".join((self.name, *self.settings))

    @property
    def recipe(self) -> Recipe | None:
        """The recipe with the row's settings; None if the zoo does not have it."""
        recipe = RECIPES.get(self.name)
        for setting in self.settings if recipe else ():
            recipe = override(recipe, setting)  # type: ignore[arg-type]
        return recipe


@dataclass(frozen=True)
class PaperTable:
    """A printed table."""

    name: str  # "cid_table04"
    paper: str  # "cid"
    number: str  # "Table 4"
    title: str
    hardware: str  # on which its times were measured; empty: it prints no times
    doubts: str  # "none", or what is uncertain about the figures
    rows: pd.DataFrame  # as printed, every cell as text
    recipes: tuple[RowRecipe, ...]

    @property
    def paper_title(self) -> str:
        """The paper's method as it is written: "Group Pose" for grouppose."""
        return _PAPERS[self.paper]

    def recipe_of(self, row: int, column: str = "") -> RowRecipe | None:
        """Return the recipe of a row's figure; None: unknown."""
        of_row = [recipe for recipe in self.recipes if recipe.row == row]
        for recipe in of_row:
            if recipe.column == column:
                return recipe
        return next((recipe for recipe in of_row if not recipe.column), None)

    def in_zoo(self, row: int) -> bool:
        """Return whether the zoo has a recipe for a row."""
        return any(r.row == row and r.recipe is not None for r in self.recipes)


def _records(name: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(read_text(name))))


def read_text(name: str) -> str:
    """Return the text of a file in `paper_tables/`."""
    return (resources.files("posebench.bench.tables") / "paper_tables" / name).read_text(
        encoding="utf-8"
    )


@cache
def table_names() -> tuple[str, ...]:
    """Return the names of all tables, in the papers' order."""
    return tuple(row["file"].removesuffix(".csv") for row in _records("index.csv"))


def find_table(name: str) -> str:
    """Return the full name of a table given as `cid_table04`, `cid/4`, `grouppose/4a` or similar.

    Raises:
        UsageError: there is no such table.
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


def list_tables() -> list[dict[str, Any]]:
    """Return one row per table: its short name, number of rows, those in the zoo, and its title."""
    titles = {row["file"].removesuffix(".csv"): row["title"] for row in _records("index.csv")}
    listed = []
    for name in table_names():
        in_zoo = {recipe.row for recipe in _row_recipes(name) if recipe.recipe is not None}
        rows = [int(record["row"]) for record in _records(f"{name}.csv")]
        listed.append(
            {
                "table": short_name(name),
                "rows": len(rows),
                "in_zoo": sum(row in in_zoo for row in rows),
                "title": titles[name],
            }
        )
    return listed


@cache
def load_table(name: str) -> PaperTable:
    """Return a table by its full name."""
    import pandas as pd

    index = next(row for row in _records("index.csv") if row["file"] == f"{name}.csv")
    return PaperTable(
        name=name,
        paper=index["paper"],
        number=index["table"],
        title=index["title"],
        hardware=index["timing_hardware"],
        doubts=index["doubts"],
        rows=pd.read_csv(io.StringIO(read_text(f"{name}.csv")), dtype=str, keep_default_na=False),
        recipes=_row_recipes(name),
    )


def _row_recipes(table: str) -> tuple[RowRecipe, ...]:
    """Return the recipes of a table's rows."""
    return tuple(
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
        if row["table"] == table
    )
