"""`posebench tables`: the papers' tables with what was measured beside what they print."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from posebench.cli.common import JsonOption, RunsOption, messages, out, print_rows, progress_bar

if TYPE_CHECKING:
    from posebench.bench.tables import JoinedTable, Runs


def tables(
    table: Annotated[
        str | None, typer.Argument(help="A table such as cid/4, or `all` [list them].")
    ] = None,
    to: Annotated[
        Path | None,
        typer.Option(
            "--out", help="Folder for CSV, Markdown and LaTeX; with `all` also a report [tables]."
        ),
    ] = None,
    runs: RunsOption = Path("runs"),
    json: JsonOption = False,
) -> None:
    """Show a paper's table with what was measured here beside what it prints."""
    import pandas as pd

    from posebench.bench.tables import Runs, find_table, join, load_table, table_names

    if table is None:
        _list(json)
        return
    names = table_names() if table == "all" else (find_table(table),)
    found = Runs(runs)
    for path in found.unreadable:
        messages.print(
            f"[yellow]left out[/] {escape(str(path))} is not a table of results.", soft_wrap=True
        )
    joined = []
    with progress_bar() as bar:
        for name in bar.track(names, description="count and match"):
            joined.append(join(load_table(name), found))
    folder = to or (Path("tables") if table == "all" else None)
    if folder:
        for one in joined:
            _write(one, folder)
    if folder and table == "all":
        _write_report(joined, found, runs, folder / "report.html")
    if json:
        print_rows(pd.concat([one.tidy() for one in joined], ignore_index=True))
        return
    if len(joined) == 1:
        _print(joined[0])
    figures = sum(one.measured for one in joined)
    messages.print(f"{figures} figures are measured, of {_printed(joined)} that are printed.")
    if folder:
        written = (
            folder / "report.html" if table == "all" else folder / f"{joined[0].table.name}.csv"
        )
        out.print(escape(str(written)), soft_wrap=True)


def _printed(joined: list[JoinedTable]) -> int:
    """Return how many printed figures could be measured with this zoo."""
    return sum(
        bool(row[figure]) and bool(row["in_zoo"])
        for one in joined
        for figure in one.figures
        for _, row in one.rows.iterrows()
    )


def _list(json: bool) -> None:
    import pandas as pd
    from rich.table import Table

    from posebench.bench.tables import load_table, short_name, table_names

    known = [load_table(name) for name in table_names()]
    rows = pd.DataFrame(
        {
            "table": short_name(table.name),
            "rows": len(table.rows),
            "in_zoo": sum(table.in_zoo(int(row)) for row in table.rows["row"]),
            "title": table.title,
        }
        for table in known
    )
    if json:
        print_rows(rows)
        return
    shown = Table("table", "rows", "in the zoo", "title")
    for row in rows.to_dict("records"):
        shown.add_row(*(escape(str(value)) for value in row.values()))
    out.print(shown)
    out.print("posebench tables TABLE shows one, posebench tables all --out DIR writes all.")


def _print(joined: JoinedTable) -> None:
    from rich.table import Table

    from posebench.bench.tables import MEASURED, text_table

    shown = text_table(joined)
    table = Table(title=escape(shown.title), title_justify="left", title_style="bold")
    for header, numeric in zip(shown.headers, shown.numeric, strict=True):
        measured = header.endswith(MEASURED)
        table.add_column(
            escape(header.replace("_", " ")),
            justify="right" if numeric else "left",
            style="cyan" if measured else None,
        )
    for cells in shown.rows:
        table.add_row(*map(escape, cells))
    out.print(table)
    for note in shown.notes:
        out.print(escape(note), soft_wrap=True)


def _write(joined: JoinedTable, folder: Path) -> None:
    """Write one table as CSV (everything), Markdown and LaTeX (as it is shown)."""
    from posebench.bench.tables import latex, markdown, text_table
    from posebench.files import atomic_write

    name, shown = joined.table.name, text_table(joined)
    with atomic_write(folder / f"{name}.csv") as beside:
        joined.rows.to_csv(beside, index=False)
    for suffix, text in (("md", markdown(shown)), ("tex", latex(shown))):
        with atomic_write(folder / f"{name}.{suffix}") as beside:
            beside.write_text(text, encoding="utf-8")


def _write_report(joined: list[JoinedTable], found: Runs, runs: Path, path: Path) -> None:
    from datetime import datetime

    from posebench.bench.tables import read_text
    from posebench.engine.runs import git_commit
    from posebench.files import atomic_write
    from posebench.version import package_version
    from posebench.viz.plots import plots
    from posebench.viz.report import html_report

    commit = git_commit()
    version = f"posebench {package_version()}" + f" ({commit})" * bool(commit)
    made = f"Made on {datetime.now().date().isoformat()} by {version}, from the runs in {runs}."
    page = html_report(joined, plots(joined, found), read_text("crosspaper_notes.md"), made)
    with atomic_write(path) as beside:
        beside.write_text(page, encoding="utf-8")
