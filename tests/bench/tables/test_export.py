"""Tables as text, Markdown, LaTeX and HTML."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from posebench.bench.tables.export import (
    html_table,
    latex,
    markdown,
    text_table,
)
from posebench.bench.tables.joined import join
from posebench.bench.tables.measured import Runs
from posebench.bench.tables.papers import load_table
from posebench.models import RECIPES

CID = RECIPES["cid_hrnet_w32_coco"]


def test_methods_that_the_zoo_does_not_hold_are_marked(tmp_path: Path) -> None:
    shown = text_table(join(load_table("cid_table03"), Runs(tmp_path / "nothing")))
    methods = [row[shown.headers.index("method")] for row in shown.rows]
    assert methods == ["HrHRNet", "DEKR", "FCPose †", "CID *"]
    assert "† not in this zoo: printed figures only" in shown.notes[0]


def test_what_a_cell_holds_is_not_taken_for_markup(tmp_path: Path) -> None:
    shown = replace(
        text_table(join(load_table("cid_table02"), Runs(tmp_path / "nothing"))),
        title="a | b_c <d>", headers=["x & y"], rows=[["50% of $_{}^~#\\ †"], ["<b>*|`"]],
        numeric=[False], notes=["[n](o) & <p>"],
    )  # fmt: skip
    assert markdown(shown) == (
        "### a \\| b\\_c \\<d\\>\n\n| x & y |\n| --- |\n| 50% of $\\_{}^\\~#\\\\ † |\n"
        "| \\<b\\>\\*\\|\\` |\n\n* \\[n\\](o) & \\<p\\>\n"
    )
    assert r"\caption{a | b\_c \textless{}d\textgreater{}}" in latex(shown)
    assert (
        r"50\% of \$\_\{\}\textasciicircum{}\textasciitilde{}\#\textbackslash{} \dag{} \\"
        in latex(shown)
    )
    page = html_table(shown)
    assert "<td>&lt;b&gt;*|`</td>" in page
    assert "<li>[n](o) &amp; &lt;p&gt;</li>" in page
