"""A table's text as Markdown, LaTeX and HTML; whatever is in a cell stays what it is."""

from __future__ import annotations

import html
import re

from posebench.bench.tables import Grid

_LATEX = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#",
    "%": r"\%", "_": r"\_", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    "†": r"\dag{}", "×": r"$\times$", "<": r"\textless{}", ">": r"\textgreater{}",
}  # fmt: skip


def markdown(grid: Grid) -> str:
    """Return a table of GitHub's Markdown with its title and notes."""
    lines = [
        f"### {markdown_text(grid.title)}",
        "",
        _markdown_row(grid.headers),
        "| " + " | ".join("---:" if numeric else "---" for numeric in grid.numeric) + " |",
        *(_markdown_row(row) for row in grid.rows),
        "",
        *(f"* {markdown_text(note)}" for note in grid.notes),
    ]
    return "\n".join(lines).rstrip() + "\n"


def _markdown_row(cells: list[str]) -> str:
    return "| " + " | ".join(map(markdown_text, cells)) + " |"


def markdown_text(text: str) -> str:
    return re.sub(r"([\\|`*_<>\[\]~])", r"\\\1", text)


def latex(grid: Grid) -> str:
    """Return a table that needs no package but `booktabs`."""
    layout = "".join("r" if numeric else "l" for numeric in grid.numeric)
    lines = [
        r"\begin{table}",
        rf"\caption{{{latex_text(grid.title)}}}",
        rf"\begin{{tabular}}{{{layout}}}",
        r"\toprule",
        _latex_row(grid.headers),
        r"\midrule",
        *map(_latex_row, grid.rows),
        r"\bottomrule",
        r"\end{tabular}",
        *(rf"\par\footnotesize {latex_text(note)}" for note in grid.notes),
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def _latex_row(cells: list[str]) -> str:
    return " & ".join(map(latex_text, cells)) + r" \\"


def latex_text(text: str) -> str:
    return "".join(_LATEX.get(character, character) for character in text)


def html_table(grid: Grid) -> str:
    """Return a figure of HTML; measured cells have the class `measured`."""
    measured = [header.endswith(" measured") for header in grid.headers]

    def row(cells: list[str], tag: str) -> str:
        made = (
            f"<{tag}{_classes(numeric, own)}>{html.escape(cell)}</{tag}>"
            for cell, numeric, own in zip(cells, grid.numeric, measured, strict=True)
        )
        return f"<tr>{''.join(made)}</tr>"

    notes = "".join(f"<li>{html.escape(note)}</li>" for note in grid.notes)
    return (
        f"<figure><figcaption>{html.escape(grid.title)}</figcaption>\n"
        f'<div class="wide"><table><thead>{row(grid.headers, "th")}</thead>\n'
        f"<tbody>{chr(10).join(row(cells, 'td') for cells in grid.rows)}</tbody></table></div>\n"
        f"<ul>{notes}</ul></figure>"
    )


def _classes(numeric: bool, measured: bool) -> str:
    names = ["number"] * numeric + ["measured"] * measured
    return f' class="{" ".join(names)}"' if names else ""
