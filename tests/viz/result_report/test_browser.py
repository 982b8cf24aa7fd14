"""What the reports do in a real browser: run with `pytest -m browser`, which needs Chromium."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from posebench.bench.analysis import analyze
from posebench.bench.comparison import compare
from posebench.data import LAYOUTS
from posebench.skeleton import COCO
from posebench.viz.colours import RGB
from posebench.viz.pages import Cell, Column, sortable_table
from posebench.viz.result_report import analysis_page, comparison_page
from posebench.viz.result_report.gallery import gallery
from posebench.viz.result_report.sections import folded, report
from tests.browser import Page, browser
from tests.planted import SIZE, planted, planted_truth
from tests.viz.contrast import contrast
from tests.viz.result_report.test_analysis_page import ERRORS
from tests.viz.result_report.test_gallery import FILTERS, make_card

pytestmark = pytest.mark.browser

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    program = next((name for name in PROGRAMS if shutil.which(name)), None)
    if program is None:
        pytest.fail("No Chromium was found: install it, for example `apt-get install chromium`.")
    with browser(program, tmp_path_factory.mktemp("browser") / "profile") as opened:
        yield opened


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a report with a table and a gallery of five images."""
    cards = [
        make_card("a", "swap/9/0", "miss/0/1", picture=True, better="0"),
        make_card("b", "swap/0/1", better="0"),
        make_card("c", "jitter/9/0", better="1"),
        make_card("d", "swap/9/1", "swap/9/0", picture=True, better="1"),
        make_card("e"),
    ]
    columns = [Column("error"), Column("difference", numeric=True, best_first="high")]
    rows: list[list[str | Cell]] = [
        [Cell("swaps", link="filter-kind-swap"), "−2.0 (−3.0 to −1.0)"],
        [Cell("misses", link="filter-kind-miss"), "+10.5"],
        [Cell("jitter", link="filter-kind-jitter"), "+9.0"],
    ]
    table = sortable_table(columns, rows, "Differences")
    sections = [
        ("table", "Table", table + folded("More", "<p>folded words</p>")),
        ("gallery", "Images", gallery(cards, FILTERS, COCO)),
    ]
    path = tmp_path_factory.mktemp("report") / "report.html"
    path.write_text(report("A report", ["A is better than B."], sections), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def analysed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the report of an analysis of planted errors, with pictures."""
    truth = planted_truth(16)
    detections = planted(truth, ERRORS)
    analysis = analyze(detections, truth, LAYOUTS["coco"].protocol, draws=100)

    def picture(image: int) -> RGB:
        return np.full((SIZE[1], SIZE[0], 3), 60 + 10 * image, np.uint8)

    made = analysis_page(
        "ours", analysis, truth, detections, pictures=picture, facts=[("draws", "100")]
    )
    path = tmp_path_factory.mktemp("analysis") / "analysis.html"
    path.write_text(made, encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the report of a comparison of three files, without pictures."""
    truth, protocol = planted_truth(16), LAYOUTS["coco"].protocol
    files = {
        "ours": planted(truth, {"jitter": 0.1}),
        "a model of a rather long name": planted(truth, {"swap": 0.2}, seed=1),
        "old": planted(truth, ERRORS, seed=2),
    }
    analyses = {name: analyze(own, truth, protocol, draws=100) for name, own in files.items()}
    comparison = compare(files, truth, protocol, draws=100, errors=analyses)
    made = comparison_page(comparison, truth, files, pictures=lambda image: None, facts=[])
    path = tmp_path_factory.mktemp("comparison") / "comparison.html"
    path.write_text(made, encoding="utf-8")
    return path


SHOWN = (
    "[...document.querySelectorAll('.card:not([hidden]) h3')].map(h => h.textContent[0]).join('')"
)
STATUS = "document.querySelector('[role=status]').textContent"


def press(page: Page, button: str, key: str = "") -> None:
    """Press a button by the mouse, or focus it and press a key."""
    page.run(f"document.getElementById('{button}').{'focus' if key else 'click'}()")
    if key:
        page.press(key)


def test_buttons_filter_and_say_so(page: Page, file: Path) -> None:
    page.open(file)
    assert (page.run(SHOWN), page.run(STATUS)) == ("abcde", "All 5 images are shown.")
    press(page, "filter-kind-swap")
    assert (page.run(SHOWN), page.run(STATUS)) == ("abd", "3 of 5 images are shown.")
    press(page, "filter-keypoint-9")  # of the same error: the swap of b is of the nose
    assert page.run(SHOWN) == "ad"
    press(page, "filter-better-1")
    assert (page.run(SHOWN), page.run(STATUS)) == ("d", "1 of 5 images is shown.")
    press(page, "filter-kind-swap")  # once more: released
    assert page.run(SHOWN) == "cd"
    page.run("document.querySelector('.reset').click()")
    assert page.run(SHOWN) == "abcde"
    assert page.faults() == []


def test_buttons_tell_by_aria_pressed_and_exclude_each_other(page: Page, file: Path) -> None:
    page.open(file)
    pressed = "[...document.querySelectorAll('[aria-pressed=true]')].map(b => b.id).join(' ')"
    assert page.run(pressed) == ""
    press(page, "filter-kind-swap")
    press(page, "filter-keypoint-9")
    assert page.run(pressed) == "filter-kind-swap filter-keypoint-9"
    press(page, "filter-kind-miss")
    assert page.run(pressed) == "filter-kind-miss filter-keypoint-9"


@pytest.mark.parametrize("key", ["Enter", " "])
def test_the_keyboard_filters(page: Page, file: Path, key: str) -> None:
    page.open(file)
    press(page, "filter-kind-jitter", key)
    assert page.run(SHOWN) == "c"
    assert page.run("document.activeElement.id") == "filter-kind-jitter"
    press(page, "filter-kind-jitter", key)
    assert page.run(SHOWN) == "abcde"


def test_everything_is_reached_by_tab(page: Page, file: Path) -> None:
    page.open(file)
    reached = []
    for _ in range(40):
        page.press("Tab")
        reached.append(page.run("document.activeElement.textContent.trim()"))
    wanted = ["error", "difference", "swaps", "More", "Show all"]
    assert set(wanted) <= set(reached)


def test_marks_of_other_errors_fade(page: Page, file: Path) -> None:
    page.open(file)
    page.run(
        "document.querySelector('.card .pose').innerHTML ="
        ' \'<g class="mark" data-error="swap/9/0"/><g class="mark" data-error="miss/0/1"/>\''
    )
    press(page, "filter-kind-miss")
    off = "[...document.querySelectorAll('.mark.off')].map(m => m.dataset.error).join(' ')"
    assert page.run(off) == "swap/9/0"


def test_a_link_elsewhere_presses_its_button(page: Page, file: Path) -> None:
    page.open(file)
    press(page, "filter-better-1")
    page.run("document.querySelector('a[href=\"#filter-kind-miss\"]').click()")
    assert page.run(SHOWN) == "a"
    assert page.run("document.activeElement.id") == "filter-kind-miss"


def test_headers_sort_by_numbers_with_signs(page: Page, file: Path) -> None:
    page.open(file)
    column = "[...document.querySelectorAll('tbody tr')].map(r => r.cells[0].textContent).join(' ')"
    page.run("document.querySelectorAll('th button')[1].click()")
    assert page.run(column) == "misses jitter swaps"
    page.run("document.querySelectorAll('th button')[1].click()")
    assert page.run(column) == "swaps jitter misses"
    sorted_ = "document.querySelectorAll('thead th')[1].getAttribute('aria-sort')"
    assert page.run(sorted_) == "ascending"


def test_a_screen_reader_knows_what_there_is(page: Page, file: Path) -> None:
    page.open(file)
    assert page.names("heading")[:2] == ["A report", "Table"]
    assert {"Error", "Keypoint", "Better here"} <= set(page.names("group"))
    assert "swaps 3" in page.names("button")
    assert "annotated: 1 person" in [*page.names("image"), *page.names("img")]
    assert {"swaps", "misses"} <= set(page.names("rowheader"))
    assert page.names("main") == [""] and page.names("status") == [""]


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_the_page_follows_the_scheme_and_fits_a_telephone(
    page: Page, file: Path, dark: bool
) -> None:
    page.open(file, width=400, dark=dark)
    ground = page.run("getComputedStyle(document.body).backgroundColor")
    assert ground == ("rgb(21, 24, 28)" if dark else "rgb(255, 255, 255)")
    assert page.run("document.documentElement.scrollWidth") <= 400
    assert page.faults() == []


def test_it_prints_all_cards_and_what_is_folded(page: Page, file: Path) -> None:
    page.open(file, dark=True)
    printed = page.printed()
    assert printed.startswith(b"%PDF") and page.run("document.querySelector('details').open")
    assert page.faults() == []


def test_without_scripts_everything_is_shown(page: Page, file: Path) -> None:
    plain = file.with_name("plain.html")
    text = file.read_text(encoding="utf-8")
    plain.write_text(text[: text.index("<script>")], encoding="utf-8")
    page.open(plain)
    assert page.run(SHOWN) == "abcde"
    assert page.run("getComputedStyle(document.querySelector('.filters')).display") == "none"


OUTSIDE = """[...document.querySelectorAll('svg.chart')].flatMap(svg => {
  const frame = svg.getBoundingClientRect();
  return [...svg.querySelectorAll('text')].filter(text => {
    const box = text.getBoundingClientRect();
    return box.left < frame.left - 1 || box.right > frame.right + 1;
  }).map(text => text.textContent);
})"""


@pytest.mark.parametrize(("width", "dark"), [(1280, False), (400, True)])
@pytest.mark.parametrize("made", ["analysed", "compared"])
def test_a_whole_report_shows_filters_and_prints(
    page: Page, request: pytest.FixtureRequest, made: str, width: int, dark: bool
) -> None:
    page.open(request.getfixturevalue(made), width=width, dark=dark)
    assert page.run("document.documentElement.scrollWidth") <= width
    cards = page.run("document.querySelectorAll('.card').length")
    shown = "document.querySelectorAll('.card:not([hidden])').length"
    for kind in ("swap", "missed", "background"):
        count = int(page.run(f"document.querySelector('#filter-kind-{kind} .count').textContent"))
        press(page, f"filter-kind-{kind}")
        assert 0 < page.run(shown) == count <= cards
    assert page.run(OUTSIDE) == []  # no text is cut by its chart's border
    assert page.printed().startswith(b"%PDF")
    assert page.faults() == []


def test_a_comparison_filters_by_who_is_better_and_whose_error(page: Page, compared: Path) -> None:
    page.open(compared)
    better = "[...document.querySelectorAll('.card:not([hidden])')].map(c => c.dataset.better)"
    press(page, "filter-better-0")
    assert set(page.run(better)) == {"0"}
    press(page, "filter-better-0")
    press(page, "filter-kind-swap")
    press(page, "filter-model-0")  # the first has no swaps
    assert page.run("document.querySelectorAll('.card:not([hidden])').length") == 0
    assert page.run(STATUS).startswith("0 of ")
    press(page, "filter-model-1")
    assert page.run("document.querySelectorAll('.card:not([hidden])').length") > 0


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("made", ["analysed", "compared"])
def test_all_text_stands_out_from_what_is_behind_it(
    page: Page, request: pytest.FixtureRequest, made: str, dark: bool
) -> None:
    """As computed by the browser: colour and size of every text, and the nearest ground."""
    page.open(request.getfixturevalue(made), dark=dark)
    press(page, "filter-kind-swap")
    texts = page.run(
        """[...document.querySelectorAll('main *')].filter(element =>
          !element.closest('.pose') && element.getClientRects().length &&
          [...element.childNodes].some(node => node.nodeType === 3 && node.data.trim())
        ).map(element => {
          const style = getComputedStyle(element);
          let behind = element;
          while (behind !== document.documentElement &&
                 getComputedStyle(behind).backgroundColor === 'rgba(0, 0, 0, 0)')
            behind = behind.parentElement;
          const ink = element.namespaceURI.endsWith('svg') ? style.fill : style.color;
          return [ink, getComputedStyle(behind).backgroundColor, element.textContent.slice(0, 40)];
        })"""
    )
    assert len(texts) > 300
    for ink, ground, words in texts:
        assert contrast(_hex(ink), _hex(ground)) >= 4.5, (ink, ground, words)


def _hex(colour: str) -> str:
    return "#" + bytes(map(int, re.findall(r"\d+", colour)[:3])).hex()
