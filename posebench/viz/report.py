"""All tables and plots as one HTML page that needs no other files and no network."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import groupby
from pathlib import Path

from posebench.bench.tables import (
    JoinedTable,
    Runs,
    html_table,
    read_text,
    text_table,
)
from posebench.engine.runs import git_commit
from posebench.files import atomic_write
from posebench.version import package_version
from posebench.viz.pages import page
from posebench.viz.plots import Plot, plots
from posebench.viz.summary import summary

_SUMMARY = (
    "A click on a header sorts. Printed figures lead to their table; times are of the authors' "
    "hardware, which the mouse shows, and milliseconds are computed from printed frames per second "
    "where a paper prints those. An AP is comparable only with one of the same dataset and split. "
    "GMACs are of one forward pass on a square input; papers print them as FLOPs, and `posebench "
    "verify` says why counts differ."
)


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
    text = html_report(tables, runs, plots(tables, runs), read_text("crosspaper_notes.md"), made)
    with atomic_write(path) as beside:
        beside.write_text(text, encoding="utf-8")


def html_report(
    tables: Sequence[JoinedTable], runs: Runs, plots: Sequence[Plot], notes: str, made: str
) -> str:
    """Return the page.

    Args:
        tables: the joined tables.
        runs: the measurements they were joined with.
        plots: shown above the tables.
        notes: on contradictions between papers, as a Markdown list.
        made: a line that says when the page was made, and from what.
    """
    table, timed = summary(tables, runs)
    figures = sum(joined.measured for joined in tables)
    body = [
        f"<p>{html.escape(made)} The {figures} measured figures are shaded blue; an empty blue "
        "cell has not been measured.</p>",
        "<h2>Summary</h2>",
        table,
        f"<p>{_code(_SUMMARY)}{html.escape(f' Measured times: {timed}.' if timed else '')}</p>",
        *_navigation(tables),
        "<h2>Plots</h2>",
        *(
            f"<figure><figcaption>{html.escape(plot.title)}</figcaption>"
            f'<div class="wide plot">{plot.svg}</div>'
            f"<p>{_code(plot.caption)}</p></figure>"
            for plot in plots
        ),
        "<h2>Tables</h2>",
        *(f'<section id="{j.table.name}">{html_table(text_table(j))}</section>' for j in tables),
        "<h2>Contradictions between papers</h2>",
        f'<ul class="notes">{"".join(_items(notes))}</ul>',
    ]
    return page("The papers' tables with measurements", body)


def _navigation(tables: Sequence[JoinedTable]) -> Iterator[str]:
    """Yield a line of links for each paper."""
    for paper, own in groupby(tables, key=lambda joined: joined.table.paper_title):
        links = " ".join(
            f'<a href="#{joined.table.name}" title="{html.escape(joined.table.title)}">'
            f"{html.escape(joined.table.number)}</a>"
            for joined in own
        )
        yield f"<nav><b>{html.escape(paper)}</b> {links}</nav>"


def _items(notes: str) -> list[str]:
    return [
        f"<li>{_code(line.removeprefix('- '))}</li>"
        for line in notes.splitlines()
        if line.startswith("- ")
    ]


def _code(text: str) -> str:
    return re.sub("`([^`]*)`", r"<code>\1</code>", html.escape(text))
