"""Rows of tables in LaTeX and Markdown; special characters in cells are escaped."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from itertools import zip_longest

_LATEX = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#",
    "%": r"\%", "_": r"\_", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    "†": r"\dag{}", "×": r"$\times$", "<": r"\textless{}", ">": r"\textgreater{}",
}  # fmt: skip


def latex_text(text: str) -> str:
    """Return text that LaTeX prints as it is."""
    return "".join(_LATEX.get(character, character) for character in text)


def latex_row(cells: Sequence[str], marks: Sequence[str] = ()) -> str:
    """Return a row of a LaTeX table; `marks` stand raised behind the cells, where not empty."""
    return " & ".join(_marked(map(latex_text, cells), marks, "$^{\\mathrm{%s}}$")) + r" \\"


def markdown_text(text: str) -> str:
    """Return text that Markdown prints as it is."""
    return re.sub(r"([\\|`*_<>\[\]~])", r"\\\1", text)


def markdown_row(cells: Sequence[str], marks: Sequence[str] = ()) -> str:
    """Return a row of a table in GitHub's Markdown; `marks` as in `latex_row`."""
    return "| " + " | ".join(_marked(map(markdown_text, cells), marks, "<sup>%s</sup>")) + " |"


def markdown_rule(numeric: Sequence[bool]) -> str:
    """Return the row below the headers, by whether each column holds numbers."""
    return "| " + " | ".join("---:" if own else "---" for own in numeric) + " |"


def _marked(cells: Iterable[str], marks: Sequence[str], form: str) -> list[str]:
    raised = [form % mark if mark else "" for mark in marks]
    return [cell + mark for cell, mark in zip_longest(cells, raised, fillvalue="")]
