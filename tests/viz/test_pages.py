"""Pages need nothing else, and their tables sort by a click where scripts run."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from posebench.viz.pages import COLOURS, Cell, Column, colour_rules, page, sortable_table
from tests.viz.contrast import contrast

COLUMNS = [
    Column("model"),
    Column("AP, %", numeric=True, best_first="high", group="in the <paper>"),
    Column("ms", numeric=True, group="in the <paper>"),
    Column("AP", numeric=True, measured=True, group="here"),
]
ROWS: list[list[str | Cell]] = [
    ["b & c", Cell("48.1 (47 to 50)", "CID, Table 4", "cid_table04"), "100", ""],
    ["a", "", "9.5", "20.0"],
    ["c", "9.0", "30", "3.0"],
]


def test_cells_are_escaped_and_may_link() -> None:
    table = sortable_table(COLUMNS, ROWS)
    assert "<td>b &amp; c</td>" in table
    link = '<a href="#cid_table04" title="CID, Table 4">48.1 (47 to 50)</a>'
    assert f'<td class="number">{link}</td>' in table
    assert '<td class="number measured">20.0</td>' in table


def test_neighbouring_columns_of_a_group_share_a_header() -> None:
    head = sortable_table(COLUMNS, ROWS).partition("<tbody>")[0]
    spans = re.findall(r'<th colspan="(\d)"[^>]*>([^<]*)</th>', head)
    assert spans == [("1", ""), ("2", "in the &lt;paper&gt;"), ("1", "here")]
    assert head.count("<tr>") == 2
    assert sortable_table([Column("one")], []).count("<tr>") == 1


def test_every_row_has_a_cell_for_each_column() -> None:
    with pytest.raises(ValueError, match="zip"):
        sortable_table(COLUMNS, [["a", "b"]])


def test_a_page_is_whole_without_scripts() -> None:
    made = page("One < two", ["<p>first</p>", sortable_table(COLUMNS, ROWS)])
    assert "<title>posebench: One &lt; two</title>" in made
    assert "<h1>One &lt; two</h1>\n<p>first</p>" in made
    assert made.index("</table>") < made.index("<script>")
    assert made.count("<script") == 1 and "src=" not in made and "hidden" not in made


def test_a_caption_makes_row_headers_and_a_box_for_the_keyboard() -> None:
    table = sortable_table(COLUMNS, ROWS, "AP & ms")
    assert "<caption>AP &amp; ms</caption>" in table
    assert 'role="region" aria-label="AP &amp; ms" tabindex="0"' in table
    assert '<th scope="row">b &amp; c</th>' in table and table.count('scope="row"') == len(ROWS)
    assert "<caption>" not in sortable_table(COLUMNS, ROWS)


def test_colours_follow_the_scheme_but_paper_is_light() -> None:
    rules = colour_rules({"ink": ("#111111", "#eeeeee")})
    light, _, dark = rules.partition("@media screen and (prefers-color-scheme: dark)")
    assert "--ink:#111111" in light and "--ink:#eeeeee" in dark and "#eeeeee" not in light
    assert "--ink" not in page("Page", []) and "--ink" in page("Page", [], style=rules)


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_text_can_be_read(scheme: int) -> None:
    colours = {name: pair[scheme] for name, pair in COLOURS.items()}
    for ground in ("ground", "raised", "measured"):
        for ink in ("text", "muted", "link"):
            assert contrast(colours[ink], colours[ground]) >= 4.5, (ink, ground)
        assert contrast(colours["accent"], colours[ground]) >= 3
    assert contrast(colours["on-accent"], colours["accent"]) >= 4.5


# Column, clicks and the order of the first column afterwards.
CLICKED = [
    (0, 1, "a, b & c, c"),
    (0, 2, "c, b & c, a"),
    (1, 1, "b & c, c, a"),  # the largest first; without a value: last
    (1, 2, "c, b & c, a"),
    (2, 1, "a, c, b & c"),  # as numbers, not as text
    (3, 1, "c, a, b & c"),
]


@pytest.mark.skipif(not shutil.which("chromium"), reason="needs a browser")
def test_a_click_sorts(tmp_path: Path) -> None:
    script = """for (const [table, column, clicks] of CLICKED) {
      const own = document.querySelectorAll("table")[table];
      for (let i = 0; i < clicks; i++) own.querySelectorAll("th button")[column].click();
      const names = [...own.querySelectorAll("tbody tr")].map(row => row.cells[0].textContent);
      document.body.append(`[${names.join(", ")}]`);
    }""".replace("CLICKED", str([[i, *case[:2]] for i, case in enumerate(CLICKED)]))
    path = tmp_path / "page.html"
    tables = [sortable_table(COLUMNS, ROWS)] * len(CLICKED)
    path.write_text(page("Models", tables) + f"<script>{script}</script>")
    browser = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom"]
    done = subprocess.run(
        [*browser, f"--user-data-dir={tmp_path}/profile", path.as_uri()],
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    orders = re.findall(r"\[([^]]*)\]", done.stdout.rpartition("</script>")[2])
    assert [order.replace("&amp;", "&") for order in orders] == [case[2] for case in CLICKED]
