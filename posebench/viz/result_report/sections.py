"""Pieces of HTML that both reports are made of."""

from __future__ import annotations

import html
import math
from collections.abc import Iterable, Sequence

from posebench.bench.statistics import Interval
from posebench.bench.verdict.words import ERRORS, between, points
from posebench.viz.pages import page
from posebench.viz.result_report.gallery import SCRIPT
from posebench.viz.result_report.style import STYLE


def report(title: str, sentences: Sequence[str], sections: Sequence[tuple[str, str, str]]) -> str:
    """Return a whole report.

    Args:
        title: plain text.
        sentences: what it says, in plain text, the answer first.
        sections: id, heading and content of each; those without content are left out.
    """
    sections = [one for one in sections if one[2]]
    lead = "".join(f"<p>{html.escape(sentence)}</p>" for sentence in sentences)
    links = " ".join(f'<a href="#{name}">{html.escape(head)}</a>' for name, head, _ in sections)
    body = [
        f'<main><section class="lead" aria-label="Summary">{lead}</section>',
        f'<nav class="contents" aria-label="Contents">{links}</nav>',
        *(
            f'<section aria-labelledby="{name}"><h2 id="{name}">{html.escape(head)}</h2>\n'
            f"{content}</section>"
            for name, head, content in sections
        ),
        "</main>",
    ]
    return page(title, body, style=STYLE, script=SCRIPT)


def paragraph(text: str) -> str:
    return f"<p>{html.escape(text)}</p>"


def note(text: str) -> str:
    return f'<p class="notes">{html.escape(text)}</p>'


def figure(caption: str, content: str, below: str = "") -> str:
    """Return a chart with its caption, and a note below it."""
    return (
        f"<figure><figcaption>{html.escape(caption)}</figcaption>{content}"
        f"{note(below) if below else ''}</figure>"
    )


def side_by_side(figures: Iterable[str]) -> str:
    return f'<div class="side">{"".join(figures)}</div>'


def folded(summary: str, content: str) -> str:
    """Return content that is shown when asked for, and printed always."""
    return f"<details><summary>{html.escape(summary)}</summary>{content}</details>"


def key(entries: Iterable[tuple[str, str]]) -> str:
    """Return a legend: the class of a colour, and what it stands for."""
    items = "".join(f'<li class="{kind}"><i></i>{html.escape(name)}</li>' for kind, name in entries)
    return f'<ul class="key">{items}</ul>'


def facts_list(facts: Sequence[tuple[str, str]]) -> str:
    """Return names and values, as how a report was made."""
    items = "".join(f"<dt>{html.escape(n)}</dt><dd>{html.escape(v)}</dd>" for n, v in facts)
    return f'<dl class="facts">{items}</dl>'


def definitions(kinds: Iterable[str]) -> str:
    """Return what the kinds of errors are, as a list."""
    items = "".join(
        f"<dt>{html.escape(ERRORS[kind].label)}</dt><dd>{html.escape(ERRORS[kind].means)}</dd>"
        for kind in kinds
    )
    return f'<dl class="facts">{items}</dl>'


def spaced(name: str) -> str:
    """Return a keypoint's name as it is read: left_wrist is "left wrist"."""
    return name.replace("_", " ")


# ------------------------------------------------------------------------------------------ cells


def value_cell(value: float) -> str:
    """Return AP or a cost in points; empty where it is not known."""
    return points(value) if math.isfinite(value) else ""


def interval_cell(value: Interval, *, signed: bool = False) -> str:
    """Return a value with its interval: "54.2 (51.0 to 57.1)"."""
    if not math.isfinite(value.value):
        return ""
    plus = "+" if signed and round(1000 * value.value) > 0 else ""
    reach = f" ({between(value).removeprefix('95 %: ')})" if math.isfinite(value.low) else ""
    return f"{plus}{points(value.value)}{reach}"
