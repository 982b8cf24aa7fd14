"""What the HTML reports share: their style, and tables that are sorted by a click on a header.

A page is one file that needs no other files and no network. It is light or dark as the reader's
screen, and light on paper. Its script sorts tables; without it, the page shows the same.
"""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

# Colours by name, for light and for dark screens. Text has a contrast of at least 4.5 with every
# ground it is written on, and what must be seen at least 3 (WCAG 2.2, AA); a test computes both.
COLOURS: dict[str, tuple[str, str]] = {
    "ground": ("#ffffff", "#15181c"),
    "raised": ("#f4f6f8", "#1f242a"),  # cards, rows under the mouse
    "text": ("#1f2328", "#e3e7ec"),
    "muted": ("#57606a", "#a2acb7"),  # notes, axes
    "line": ("#d5dae0", "#363d46"),  # hairlines, which carry no meaning
    "link": ("#0a58b5", "#7ab7ff"),
    "accent": ("#1f5fa8", "#6ba6ea"),  # bars, points, what is pressed
    "on-accent": ("#ffffff", "#0e1114"),  # text on the accent
    "measured": ("#e8f1fd", "#1c2b3f"),  # the ground of measured cells
}


def colour_rules(colours: Mapping[str, tuple[str, str]]) -> str:
    """Return CSS that declares colours as variables, which follow the reader's colour scheme.

    Paper is light: the dark ones are for screens only.

    Args:
        colours: on light and on dark screens, by name; `text` becomes `--text`.
    """
    light, dark = (
        "".join(f"--{name}:{pair[scheme]};" for name, pair in colours.items()) for scheme in (0, 1)
    )
    return f":root{{{light}}}\n@media screen and (prefers-color-scheme: dark){{:root{{{dark}}}}}\n"


_STYLE = (
    colour_rules(COLOURS)
    + """
:root { color-scheme: light dark; }
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 75rem; padding: 0 1rem;
  color: var(--text); background: var(--ground); }
h1, h2, h3 { line-height: 1.2; text-wrap: balance; }
h2 { margin-top: 3rem; border-bottom: 1px solid var(--line); padding-bottom: .2rem; }
a { color: var(--link); }
:focus-visible { outline: 2px solid var(--link); outline-offset: 2px; }
figure { margin: 2rem 0; } figcaption { font-weight: 600; margin-bottom: .4rem; }
.wide { overflow-x: auto; } svg, img { max-width: 100%; height: auto; }
.plot svg { min-width: 42rem; }
table { border-collapse: collapse; font-size: 13px; }
th, td { padding: .15rem .5rem; text-align: left; border-bottom: 1px solid var(--line);
  white-space: nowrap; }
.number { text-align: right; font-variant-numeric: tabular-nums; }
.measured { background: var(--measured); }
.group { text-align: center; border-bottom: 1px solid var(--muted); }
.sortable tbody tr:hover > * { background: var(--raised); }
.sortable td a { color: inherit; text-decoration: underline dotted var(--muted); }
.sortable th:first-child, .sortable td:first-child { position: sticky; left: 0;
  background: var(--ground); }
tbody th { font-weight: inherit; } caption { text-align: left; font-weight: 600; }
.sortable th button { all: unset; cursor: pointer; }
.sortable th button:hover { text-decoration: underline; }
.sortable th button:focus-visible { outline: 2px solid var(--link); }
th[aria-sort=ascending] button::after { content: " ▲"; }
th[aria-sort=descending] button::after { content: " ▼"; }
nav a { margin-right: .7em; white-space: nowrap; }
.notes { font-size: 13px; color: var(--muted); } ul.notes { padding-left: 1.2rem; }
@media screen and (prefers-color-scheme: dark) {
  /* Plots that are drawn on white, inverted; the half turn gives each hue back, and the blending
     lets the page's ground through where they are black. */
  .plot svg, img.plot { filter: invert(1) hue-rotate(180deg); mix-blend-mode: screen; }
}
@media print {
  body { margin: 0; max-width: none; padding: 0; font-size: 10pt; }
  :root { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
  h2, h3, figcaption { break-after: avoid; } tr, figure { break-inside: avoid; }
  thead { display: table-header-group; } .wide { overflow: visible; } .plot svg { min-width: 0; }
  th, td { white-space: normal; } nav { display: none; }
}
"""
)

# Rows without a value come last in either order. Equal rows keep their order.
_SCRIPT = """
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[table.tHead.rows.length - 1].cells], body = table.tBodies[0];
  heads.forEach((head, column) => {
    const number = head.classList.contains("number"), button = document.createElement("button");
    button.append(...head.childNodes);
    head.append(button);
    button.onclick = () => {
      const before = head.getAttribute("aria-sort") || head.dataset.first || "descending";
      const order = before === "ascending" ? "descending" : "ascending";
      const value = row => {
        const text = row.cells[column].textContent.trim();
        return number && text ? parseFloat(text.replace("−", "-")) : text;
      };
      heads.forEach(other => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", order);
      body.append(...[...body.rows].sort((one, two) => {
        const a = value(one), b = value(two);
        if (a === "" || b === "") return (a === "") - (b === "");
        return (number ? a - b : a.localeCompare(b)) * (order === "ascending" ? 1 : -1);
      }));
    };
  });
}
"""


@dataclass(frozen=True)
class Column:
    """A column of a sortable table."""

    header: str
    numeric: bool = False  # right-aligned, sorted by the number that a cell begins with
    best_first: str = "low"  # `high`: the first click puts the largest value first
    measured: bool = False  # shaded blue
    group: str = ""  # a header above neighbouring columns of the same group


@dataclass(frozen=True)
class Cell:
    """A cell that says more than its text."""

    text: str
    source: str = ""  # shown when the mouse rests on it
    link: str = ""  # id of the element on this page that it links to


def page(title: str, body: Sequence[str], *, style: str = "", script: str = "") -> str:
    """Return a page with its style and script.

    Args:
        title: plain text, the title of the window and the heading.
        body: pieces of HTML below the heading.
        style: further CSS.
        script: further JavaScript, which runs when the page is there.
    """
    text = html.escape(title)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>posebench: {text}</title>\n<style>{_STYLE}{style}</style></head>\n"
        f"<body>\n<h1>{text}</h1>\n"
        + "\n".join(body)
        + f"\n<script>{_SCRIPT}{script}</script>\n</body></html>\n"
    )


def sortable_table(
    columns: Sequence[Column], rows: Sequence[Sequence[str | Cell]], caption: str = ""
) -> str:
    """Return a <table>, in a box that scrolls where the page is narrow.

    Args:
        columns: from left to right; the first one stays in view while the others scroll.
        rows: a cell for each column, as plain text; an empty one is sorted last.
        caption: what the table shows. With it, the first cell of a row is the row's header, and the
            box can be scrolled by keyboard.
    """
    groups = ""
    if any(column.group for column in columns):
        spans = []
        for group, own in groupby(columns, key=lambda column: column.group):
            style = ' class="group" scope="colgroup"' if group else ""
            spans.append(f'<th colspan="{len(list(own))}"{style}>{html.escape(group)}</th>')
        groups = f"<tr>{''.join(spans)}</tr>\n"
    heads = "".join(
        f'<th scope="col"{_classes(column)}{_first_order(column)}>{html.escape(column.header)}</th>'
        for column in columns
    )
    lines = []
    for row in rows:
        cells = [_cell(column, own) for column, own in zip(columns, row, strict=True)]
        if caption:
            cells[0] = f'<th scope="row"{cells[0][len("<td") : -len("</td>")]}</th>'
        lines.append(f"<tr>{''.join(cells)}</tr>")
    text = html.escape(caption)
    box = f' role="region" aria-label="{text}" tabindex="0"' if caption else ""
    above = f"<caption>{text}</caption>" if caption else ""
    return (
        f'<div class="wide"{box}><table class="sortable">{above}'
        f"<thead>{groups}<tr>{heads}</tr></thead>\n"
        "<tbody>" + "\n".join(lines) + "</tbody></table></div>"
    )


def _first_order(column: Column) -> str:
    # The order before the first click, which turns it round.
    return ' data-first="ascending"' if column.best_first == "high" else ""


def _cell(column: Column, content: str | Cell) -> str:
    cell = Cell(content) if isinstance(content, str) else content
    text = html.escape(cell.text)
    source = f' title="{html.escape(cell.source)}"' if cell.source else ""
    if cell.link:
        return f'<td{_classes(column)}><a href="#{html.escape(cell.link)}"{source}>{text}</a></td>'
    return f"<td{_classes(column)}{source}>{text}</td>"


def _classes(column: Column) -> str:
    named = {"number": column.numeric, "measured": column.measured}
    names = [name for name, own in named.items() if own]
    return f' class="{" ".join(names)}"' if names else ""
