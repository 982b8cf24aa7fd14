"""`posebench tables`: the papers' tables with the measurements next to the printed figures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from posebench.cli.common import JsonOption, RunsOption, messages, out, print_rows, progress_bar

if TYPE_CHECKING:
    from posebench.bench.tables import JoinedTable


def tables(
    table: Annotated[
        str | None, typer.Argument(help="Table such as cid/4, or `all` (default: list all tables).")
    ] = None,
    to: Annotated[
        Path | None,
        typer.Option(
            "--out",
            help="Folder for the table as CSV, Markdown and LaTeX, with `all` also for report.html "
            "(default: nothing is written; with `all`: tables).",
        ),
    ] = None,
    runs: RunsOption = Path("runs"),
    json: JsonOption = False,
) -> None:
    """Show a paper's table, its printed figures next to those measured here."""
    from posebench.bench import tables as papers

    if table is None:
        _list(json)
        return
    whole = table == "all"
    names = papers.table_names() if whole else (papers.find_table(table),)

    import pandas as pd

    measured = papers.Runs(runs)
    for path in measured.unreadable:
        messages.print(
            f"[yellow]skipped[/] {escape(str(path))}: not a table of results", soft_wrap=True
        )
    with progress_bar() as bar:
        joined = [
            papers.join(papers.load_table(name), measured)
            for name in bar.track(names, description="count and match")
        ]
    folder = to or (Path("tables") if whole else None)
    if folder:
        for one in joined:
            papers.write_table(one, folder)
        if whole:
            from posebench.viz.report import write_report

            write_report(joined, measured, runs, folder / "report.html")
    if json:
        print_rows(pd.concat([one.tidy() for one in joined], ignore_index=True))
        return
    if not whole:
        _print(joined[0])
    printed, here = sum(one.printed for one in joined), sum(one.measured for one in joined)
    messages.print(f"{here} of the {printed} printed figures have a measurement here.")
    if folder:
        written = "report.html" if whole else f"{joined[0].table.name}.csv"
        out.print(escape(str(folder / written)), soft_wrap=True)


def _list(json: bool) -> None:
    from rich.table import Table

    from posebench.bench.tables import list_tables

    rows = list_tables()
    if json:
        print_rows(rows)
        return
    shown = Table("table", "rows", "in the zoo", "title")
    for row in rows:
        shown.add_row(*(escape(str(value)) for value in row.values()))
    out.print(shown)
    out.print(
        "posebench tables TABLE shows a table, posebench tables all --out DIR writes all of them."
    )


def _print(joined: JoinedTable) -> None:
    from rich import box
    from rich.table import Table

    from posebench.bench.tables import MEASURED, text_table

    shown = text_table(joined)
    columns = [
        _Column(header.replace("_", " "), numeric, header.endswith(MEASURED), cells)
        for header, numeric, cells in zip(
            shown.headers, shown.numeric, zip(*shown.rows, strict=True), strict=True
        )
    ]
    measured = [column for column in columns if any(column.cells) or not column.measured]
    fitting = _fitting(measured, out.width)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for column in fitting:
        table.add_column(
            escape(column.header),
            justify="right" if column.numeric else "left",
            style="cyan" if column.measured else None,
            no_wrap=True,
        )
    for cells in zip(*(column.cells for column in fitting), strict=True):
        table.add_row(*map(escape, cells))
    out.print(f"[bold]{escape(shown.title)}[/]", soft_wrap=True)
    out.print(table)
    if len(measured) < len(columns):
        out.print(
            f"{len(columns) - len(measured)} columns of measurements are empty and left out: "
            "`posebench eval` and `posebench speed` of these recipes fill them.",
            soft_wrap=True,
        )
    if len(fitting) < len(measured):
        hidden = ", ".join(column.header for column in measured if column not in fitting)
        out.print(
            f"Not shown at this width: {escape(hidden)}. --out DIR writes all columns.",
            soft_wrap=True,
        )
    for note in shown.notes:
        out.print(escape(note), soft_wrap=True)


@dataclass(frozen=True)
class _Column:
    header: str
    numeric: bool
    measured: bool
    cells: tuple[str, ...]

    @property
    def width(self) -> int:
        """Characters with the gap beside it."""
        return 2 + max(map(len, (self.header, *self.cells)))


def _fitting(columns: Sequence[_Column], width: int) -> list[_Column]:
    """Return the columns that fit, without first the last ones of text, then the last figures."""
    kept = list(columns)
    while sum(column.width for column in kept) > width and len(kept) > 2:
        text = [column for column in kept[1:] if not column.numeric]
        kept.remove(text[-1] if text else kept[-1])
    return kept
