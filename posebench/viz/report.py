"""All tables and plots as one HTML page that needs no other files and no network."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from posebench.bench.tables import (
    JoinedTable,
    Runs,
    html_table,
    read_text,
    short_name,
    text_table,
)
from posebench.engine.runs import git_commit
from posebench.files import atomic_write
from posebench.version import package_version
from posebench.viz.pages import page
from posebench.viz.plots import Plot, plots


def write_report(tables: Sequence[JoinedTable], runs: Runs, folder: Path, path: Path) -> None:
    """Write the page.

    Args:
        tables: the joined tables.
        runs: the measurements they were joined with.
        folder: the folder of the runs; the page names it.
        path: the HTML file to write.
    """
    commit = git_commit()
    version = f"posebench {package_version()}"
    if commit:
        version += f" ({commit})"
    made = f"Made on {datetime.now().date().isoformat()} by {version}, from the runs in {folder}."
    text = html_report(tables, plots(tables, runs), read_text("crosspaper_notes.md"), made)
    with atomic_write(path) as beside:
        beside.write_text(text, encoding="utf-8")


def html_report(tables: Sequence[JoinedTable], plots: Sequence[Plot], notes: str, made: str) -> str:
    """Return the page.

    Args:
        tables: the joined tables.
        plots: shown above the tables.
        notes: on contradictions between papers, as a Markdown list.
        made: a line that says when the page was made, and from what.
    """
    links = "".join(
        f'<a href="#{joined.table.name}">{html.escape(short_name(joined.table.name))}</a>'
        for joined in tables
    )
    figures = sum(joined.measured for joined in tables)
    body = [
        f"<p>{html.escape(made)} The {figures} measured figures are shaded blue; an empty blue "
        "cell has not been measured.</p>",
        f"<nav>{links}</nav>",
        "<h2>Plots</h2>",
        *(
            f"<figure><figcaption>{html.escape(plot.title)}</figcaption>{plot.svg}"
            f"<p>{_code(plot.caption)}</p></figure>"
            for plot in plots
        ),
        "<h2>Tables</h2>",
        *(f'<section id="{j.table.name}">{html_table(text_table(j))}</section>' for j in tables),
        "<h2>Contradictions between papers</h2>",
        f'<ul class="notes">{"".join(_items(notes))}</ul>',
    ]
    return page("The papers' tables with measurements", body)


def _items(notes: str) -> list[str]:
    return [
        f"<li>{_code(line.removeprefix('- '))}</li>"
        for line in notes.splitlines()
        if line.startswith("- ")
    ]


def _code(text: str) -> str:
    return re.sub("`([^`]*)`", r"<code>\1</code>", html.escape(text))
