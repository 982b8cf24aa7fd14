"""`posebench tables`: the papers' tables with the measurements next to the printed figures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from posebench.cli.common import (
    JsonOption,
    RunsOption,
    messages,
    out,
    print_rows,
    progress_bar,
    to_folder,
)

if TYPE_CHECKING:
    from posebench.bench.tables import JoinedTable


_PUBLISHED = "published"  # the table of published checkpoints; the others are of papers


def tables(
    table: Annotated[
        str | None,
        typer.Argument(
            metavar="TABLE",
            help="Table such as cid/4, `published` for the published checkpoints, or `all` of the "
            "papers (default: list all tables).",
        ),
    ] = None,
    to: Annotated[
        Path | None,
        typer.Option(
            "--out",
            callback=to_folder,
            help="Folder for the table as CSV, Markdown and LaTeX, with `all` also for report.html "
            "(default: nothing is written; with `all`: tables).",
        ),
    ] = None,
    runs: RunsOption = Path("runs"),
    json: JsonOption = False,
) -> None:
    """Show a paper's table, its printed figures next to those measured here."""
    if table == _PUBLISHED:
        _show_published(to, runs, json)
        return
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


def _show_published(to: Path | None, runs: Path, json: bool) -> None:
    """Show the AP of published checkpoints: printed by their sources, and measured here."""
    import pandas as pd

    from posebench.bench.ledger import read_ledger
    from posebench.cli.columns import Column, print_columns

    rows, unreadable = read_ledger(runs)
    for path in unreadable:
        messages.print(
            f"[yellow]skipped[/] {escape(str(path))}: not a row of `verify --accuracy`",
            soft_wrap=True,
        )
    if to:
        to.mkdir(parents=True, exist_ok=True)
        pd.DataFrame(rows).to_csv(to / f"{_PUBLISHED}.csv", index=False)
    if json:
        print_rows(rows)
        return
    ranges = [(row["low"], row["high"]) for row in rows]
    columns = [
        Column("checkpoint", [row["checkpoint"] for row in rows], numeric=False),
        Column("printed", [f"{row['printed']:.1f}" for row in rows]),
        Column("measured", [_one_digit(row["measured"]) for row in rows], style="cyan"),
        Column("95 % interval", ["" if low is None else f"{low:.1f} to {high:.1f}"
                                 for low, high in ranges], gives_way=2),
        Column("images", [str(row["images"] or "") for row in rows], gives_way=1),
        Column("verdict", [row["verdict"] for row in rows], numeric=False),
        Column("hardware", [row["hardware"] or "" for row in rows], numeric=False, gives_way=4),
        Column("date", [(row["date"] or "")[:10] for row in rows], numeric=False, gives_way=3),
    ]  # fmt: skip
    print_columns(columns, "A wider terminal shows all columns, --out DIR also versions and runs.")
    measured = sum(row["measured"] is not None for row in rows)
    messages.print(
        f"{measured} of the {len(rows)} published checkpoints have a measurement here; "
        "`posebench verify --accuracy` makes them.",
        soft_wrap=True,
    )
    if to:
        out.print(escape(str(to / f"{_PUBLISHED}.csv")), soft_wrap=True)


def _one_digit(percent: float | None) -> str:
    return "" if percent is None else f"{percent:.1f}"


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
        "posebench tables TABLE shows a table, posebench tables all --out DIR writes all of them. "
        "posebench tables published shows the AP of published checkpoints."
    )


def _print(joined: JoinedTable) -> None:
    from posebench.bench.tables import MEASURED, text_table
    from posebench.cli.columns import Column, print_columns

    table = text_table(joined)
    columns, empty = [], 0
    for header, numeric, cells in zip(
        table.headers, table.numeric, zip(*table.rows, strict=True), strict=True
    ):
        measured = header.endswith(MEASURED)
        if measured and not any(cells):
            empty += 1
            continue
        columns.append(
            Column(
                header.replace("_", " "), cells, numeric,
                style="cyan" if measured else None, gives_way=int(not numeric),
            )
        )  # fmt: skip
    out.print(f"[bold]{escape(table.title)}[/]", soft_wrap=True)
    print_columns(columns, "--out DIR writes all columns.")
    if empty:
        out.print(
            f"{empty} columns of measurements are empty and left out: `posebench eval` and "
            "`posebench speed` of these recipes fill them.",
            soft_wrap=True,
        )
    for note in table.notes:
        out.print(escape(note), soft_wrap=True)
