"""Joined tables as text, Markdown, LaTeX and HTML; special characters in cells are escaped."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from posebench.bench.tables.joined import LIMITS, MEASURED, JoinedTable
from posebench.files import atomic_write

_LATEX = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#",
    "%": r"\%", "_": r"\_", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    "†": r"\dag{}", "×": r"$\times$", "<": r"\textless{}", ">": r"\textgreater{}",
}  # fmt: skip


# Columns that are part of the caption or meant for programs.
_NOT_SHOWN = ("paper", "table", "row", "method_key", "ours", "note")


@dataclass(frozen=True)
class TextTable:
    """A table ready to be shown: every cell is text."""

    title: str
    headers: list[str]
    rows: list[list[str]]
    numeric: list[bool]  # whether a column holds numbers
    notes: list[str]


def write_table(joined: JoinedTable, folder: Path) -> None:
    """Write a joined table as CSV with all columns, and as Markdown and LaTeX as it is shown."""
    name, shown = joined.table.name, text_table(joined)
    with atomic_write(folder / f"{name}.csv") as beside:
        joined.rows.to_csv(beside, index=False)
    for suffix, text in (("md", markdown(shown)), ("tex", latex(shown))):
        with atomic_write(folder / f"{name}.{suffix}") as beside:
            beside.write_text(text, encoding="utf-8")


def text_table(joined: JoinedTable) -> TextTable:
    """Return a joined table as it is shown."""
    rows = joined.rows
    shown, caption = _shown_columns(joined)
    headers, columns, numeric = [], [], []
    for column in shown:
        cells = [str(cell) for cell in rows[column]]
        if column == "method":
            cells = _marked_methods(rows)
        headers.append(column)
        columns.append(cells)
        numeric.append(column in joined.figures)
        if column in joined.figures:
            digits = max((len(cell.partition(".")[2]) for cell in cells), default=0)
            headers.append(column + MEASURED)
            columns.append(_measured_cells(rows, column, digits))
            numeric.append(True)
    table = joined.table
    title = f"{table.paper}, {table.number}: {table.title}"
    return TextTable(
        title=f"{title} ({caption})" if caption else title,
        headers=headers,
        rows=[list(cells) for cells in zip(*columns, strict=True)],
        numeric=numeric,
        notes=list(_notes(joined)),
    )


def _measured_cells(rows: pd.DataFrame, column: str, digits: int) -> list[str]:
    """Return a figure's measured column as text, with its 95 % interval where it has one."""
    cells = []
    for _, row in rows.iterrows():
        value = row[column + MEASURED]
        text = "" if pd.isna(value) else f"{value:.{digits}f}"
        limits = [row.get(column + suffix) for suffix in LIMITS]
        if not any(pd.isna(limit) for limit in limits):
            text += f" ({limits[0]:.{digits}f}–{limits[1]:.{digits}f})"
        cells.append(text)
    return cells


def _shown_columns(joined: JoinedTable) -> tuple[list[str], str]:
    """Return the columns to show, and the dataset and split if all rows share them."""
    rows = joined.table.rows
    values = {name: sorted(set(rows[name]) - {""}) for name in ("dataset", "split") if name in rows}
    shared = {name: own[0] for name, own in values.items() if len(own) == 1}
    hidden = {*_NOT_SHOWN, *shared}
    shown = [name for name in rows.columns if name not in hidden and (rows[name] != "").any()]
    return shown, " ".join(shared.values())


def _marked_methods(rows: pd.DataFrame) -> list[str]:
    marked = []
    for method, ours, in_zoo in zip(rows["method"], rows["ours"], rows["in_zoo"], strict=True):
        words = [str(method)]
        if ours == "true":
            words.append("*")
        if not in_zoo:
            words.append("†")
        marked.append(" ".join(words))
    return marked


def _notes(joined: JoinedTable) -> Iterator[str]:
    """Yield the legend of the marks, the rows' notes and the doubts about the figures."""
    table, rows = joined.table, joined.rows
    legend = []
    if (rows["ours"] == "true").any():
        legend.append("* the paper's own model")
    if not rows["in_zoo"].all():
        legend.append("† not in this zoo: printed figures only")
    used = sorted({source for own in rows["measured_from"] for source in own.split("; ") if source})
    if used:
        legend.append(f"measured: {', '.join(used)}")
    if legend:
        yield "; ".join(legend)
    for row, note in zip(table.rows["row"], table.rows["note"], strict=True):
        if note:
            yield f"Row {row}: {note}"
    if table.doubts != "none":
        yield f"About the figures: {table.doubts}"


def markdown(table: TextTable) -> str:
    """Return the table in GitHub's Markdown, with its title and notes."""
    lines = [
        f"### {markdown_text(table.title)}",
        "",
        _markdown_row(table.headers),
        "| " + " | ".join("---:" if numeric else "---" for numeric in table.numeric) + " |",
        *(_markdown_row(row) for row in table.rows),
        "",
        *(f"* {markdown_text(note)}" for note in table.notes),
    ]
    return "\n".join(lines).rstrip() + "\n"


def _markdown_row(cells: list[str]) -> str:
    return "| " + " | ".join(map(markdown_text, cells)) + " |"


def markdown_text(text: str) -> str:
    return re.sub(r"([\\|`*_<>\[\]~])", r"\\\1", text)


def latex(table: TextTable) -> str:
    """Return the table in LaTeX; it needs the package `booktabs`."""
    layout = "".join("r" if numeric else "l" for numeric in table.numeric)
    lines = [
        r"\begin{table}",
        rf"\caption{{{latex_text(table.title)}}}",
        rf"\begin{{tabular}}{{{layout}}}",
        r"\toprule",
        _latex_row(table.headers),
        r"\midrule",
        *map(_latex_row, table.rows),
        r"\bottomrule",
        r"\end{tabular}",
        *(rf"\par\footnotesize {latex_text(note)}" for note in table.notes),
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def _latex_row(cells: list[str]) -> str:
    return " & ".join(map(latex_text, cells)) + r" \\"


def latex_text(text: str) -> str:
    return "".join(_LATEX.get(character, character) for character in text)


def html_table(table: TextTable) -> str:
    """Return the table as an HTML <figure>; measured cells have the class `measured`."""
    measured = [header.endswith(MEASURED) for header in table.headers]

    def row(cells: list[str], tag: str) -> str:
        made = (
            f"<{tag}{_classes(numeric, own)}>{html.escape(cell)}</{tag}>"
            for cell, numeric, own in zip(cells, table.numeric, measured, strict=True)
        )
        return f"<tr>{''.join(made)}</tr>"

    notes = "".join(f"<li>{html.escape(note)}</li>" for note in table.notes)
    return (
        f"<figure><figcaption>{html.escape(table.title)}</figcaption>\n"
        f'<div class="wide"><table><thead>{row(table.headers, "th")}</thead>\n'
        f"<tbody>{chr(10).join(row(cells, 'td') for cells in table.rows)}</tbody></table></div>\n"
        f'<ul class="notes">{notes}</ul></figure>'
    )


def _classes(numeric: bool, measured: bool) -> str:
    names = [name for name, own in (("number", numeric), ("measured", measured)) if own]
    return f' class="{" ".join(names)}"' if names else ""
