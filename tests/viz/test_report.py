"""The report is one page that needs nothing else, and its plots show what was measured only."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from posebench.bench.tables import Runs, join, load_table, read_text, table_names
from posebench.viz.plots import Plot, plots, time_per_stage
from posebench.viz.report import html_report
from posebench.viz.summary import summary
from tests.bench.tables.runs import write_times

COSTLY = ("cid_table03", "cid_table04", "posedet_table01", "higherhrnet_table01")


@pytest.fixture(autouse=True, scope="module")
def _counted() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "posebench.bench.tables.joined.describe",
            lambda recipe: {"params_M": 7.25, "gmacs": 11.125},
        )
        patch.setattr(
            "posebench.viz.summary.describe", lambda recipe: {"params_M": 7.25, "gmacs": 11.125}
        )
        yield


def drawn(runs: Runs) -> dict[str, Plot]:
    return {plot.title: plot for plot in plots([join(load_table(n), runs) for n in COSTLY], runs)}


@pytest.fixture(scope="module")
def timed(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    folder = tmp_path_factory.mktemp("runs")
    rows: list[dict[str, Any]] = []
    for recipe, fps in (("cid_hrnet_w32_coco", 4.0), ("higher_hrnet_w32_coco", 2.0)):
        rows.append({"recipe": recipe, "metric": "fps", "value": fps})
        for people in (1, 5, 50):
            case = {"recipe": recipe, "protocol": "end-to-end", "people": people}
            rows.append({**case, "metric": "fps", "value": fps - people / 100})
            rows.append({**case, "metric": "latency_p50", "value": 1000 / fps})
            for stage, ms in (("network/backbone", 200.0), ("postprocess", 10.0)):
                rows.append({**case, "metric": f"stage/{stage}_p50", "value": ms})
    write_times(folder / "speed/a", rows)
    return Runs(folder)


@pytest.fixture(scope="module")
def pictures(timed: Runs) -> dict[str, Plot]:
    return drawn(timed)


class Links(HTMLParser):
    """Collects what a page would load, and the ids that it has."""

    def __init__(self) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.ids: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag not in ("link", "iframe", "img", "object", "embed")
        for name, value in attrs:
            if name in ("src", "href", "xlink:href", "data", "srcset"):
                self.loaded.append(value or "")
            if name == "id":
                self.ids.append(value or "")


def test_the_page_loads_nothing(timed: Runs, pictures: dict[str, Plot]) -> None:
    joined = [join(load_table(name), timed) for name in table_names()]
    notes = read_text("crosspaper_notes.md")
    page = html_report(joined, timed, list(pictures.values()), notes, "Made <now>.")
    links = Links()
    links.feed(page)
    assert all(link.startswith("#") for link in links.loaded)
    assert {f"#{name}" for name in table_names()} <= set(links.loaded)
    assert set(table_names()) <= set(links.ids)
    assert not re.search(r"@import|url\((?!#)", page)
    for address in re.findall(r"https?://[^\"' <]+", page):
        assert address.startswith("http://www.w3.org/")  # names of XML's kinds, not loaded
    assert "Made &lt;now&gt;." in page
    assert "HigherHRNet W32: 28.6 M / 47.9 GFLOPs" in page
    assert page.count("<table>") == len(table_names())
    assert page.count('<table class="sortable">') == 1
    assert '<nav><b>Group Pose</b> <a href="#grouppose_table01"' in page


def test_the_summary_tells_printed_from_measured(timed: Runs, tmp_path: Path) -> None:
    table, note = summary([join(load_table(name), timed) for name in COSTLY], timed)
    [row] = re.findall(r"<tr><td>cid_hrnet_w32_coco</td>.*</tr>", table)
    cells = re.findall("<td[^>]*>(?:<a[^>]*>)?([^<]*)", row)
    assert cells == [
        "cid_hrnet_w32_coco", "68.9", "coco test-dev2017", "47.6", "29.4", "3.8", "43.17",
        "", "", "250", "7.2", "", "11.1",
    ]  # fmt: skip
    assert 'title="CID, Table 3, RTX 3090' in row and 'href="#cid_table03"' in row
    assert note == "end-to-end, 5 people, batch size 1, a CPU, fp32, channels last"
    assert "cid_tiny" not in table  # neither printed nor measured
    bare, nothing = summary([join(load_table("cid_table03"), Runs(tmp_path))], Runs(tmp_path))
    assert nothing == "" and "cid_hrnet_w32_coco" in bare


def test_without_runs_plots_name_the_command_that_makes_their_data(tmp_path: Path) -> None:
    found = drawn(Runs(tmp_path))
    for title in ("FPS against people", "Time per stage"):
        assert found[title].svg == ""
        assert "`posebench speed" in found[title].caption
    # Printed figures are there without any run, and are not called measured.
    assert "measured here" not in found["Speed against accuracy"].svg
    assert "`posebench speed" in found["Speed against accuracy"].caption
    assert "Hourglass" in found["Parameters against GMACs"].svg


def test_what_was_timed_is_drawn(pictures: dict[str, Plot]) -> None:
    for plot in pictures.values():
        ElementTree.fromstring(plot.svg)
    assert "measured here" in pictures["Speed against accuracy"].svg
    for title in ("FPS against people", "Time per stage"):
        assert "cid_hrnet_w32_coco" in pictures[title].svg
        assert "a CPU, fp32, channels last, protocol end-to-end." in pictures[title].caption
    assert "network/backbone" in pictures["Time per stage"].svg


def test_plots_are_the_same_for_the_same_data(timed: Runs, pictures: dict[str, Plot]) -> None:
    assert time_per_stage(timed) == pictures["Time per stage"]
    ids = [set(re.findall(r'<clipPath id="(\w+)"', plot.svg)) for plot in pictures.values()]
    assert all(ids)
    assert len(set.union(*ids)) == sum(map(len, ids))  # they stand in one page
