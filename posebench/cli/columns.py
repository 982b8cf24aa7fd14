"""Tables that fit the terminal: no cell is cut, columns give way instead and are named."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich import box
from rich.markup import escape
from rich.table import Table

from posebench.cli.common import out

_GAP = 2  # between columns


@dataclass(frozen=True)
class Column:
    """A column of a printed table."""

    header: str
    cells: Sequence[str]
    numeric: bool = True
    style: str | None = None
    gives_way: int = 0  # columns with the highest number give way first, the last of them before

    @property
    def width(self) -> int:
        """Characters with the gap beside it."""
        return _GAP + max(map(len, (self.header, *self.cells)))


def print_columns(columns: Sequence[Column], advice: str = "") -> None:
    """Print columns as a table, and name below it those for which there was no room.

    Args:
        columns: of equally many cells; the first one is always shown.
        advice: where the columns without room can be seen.
    """
    shown = fitting(columns, out.width)
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    for column in shown:
        table.add_column(
            escape(column.header),
            justify="right" if column.numeric else "left",
            style=column.style,
            no_wrap=True,
        )
    for cells in zip(*(column.cells for column in shown), strict=True):
        table.add_row(*map(escape, cells))
    out.print(table)
    hidden = [column.header for column in columns if column not in shown]
    if hidden:
        sentence = f"Not shown at this width: {', '.join(hidden)}."
        out.print(escape(f"{sentence} {advice}".strip()))


def fitting(columns: Sequence[Column], width: int) -> list[Column]:
    """Return the columns that fit."""
    kept = list(columns)
    while sum(column.width for column in kept) - _GAP > width and len(kept) > 1:
        _, last = max((column.gives_way, place) for place, column in enumerate(kept[1:], start=1))
        del kept[last]
    return kept
