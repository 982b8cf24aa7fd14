"""The report of a comparison: what it says, and which images it shows."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from posebench.bench.analysis import analyze
from posebench.bench.comparison import Comparison, compare
from posebench.bench.verdict import comparison_sentences
from posebench.data import LAYOUTS
from posebench.metrics.matching import Detections
from posebench.viz.colours import RGB
from posebench.viz.result_report import comparison_page
from tests.planted import SIZE, planted, planted_truth

TRUTH = planted_truth(16)
PROTOCOL = LAYOUTS["coco"].protocol
FILES = {
    "ours <1>": planted(TRUTH, {"jitter": 0.1}),
    "theirs": planted(TRUTH, {"jitter": 0.1, "swap": 0.2}, seed=1),
    "old": planted(TRUTH, {"miss": 0.3, "background": 0.3, "missed": 0.1}, seed=2),
}
FACTS = [("images", "made up"), ("seed", "0")]


def compared(*names: str, errors: bool = True) -> tuple[Comparison, dict[str, Detections]]:
    files = {name: FILES[name] for name in names}
    analyses = {name: analyze(own, TRUTH, PROTOCOL, draws=100) for name, own in files.items()}
    made = compare(files, TRUTH, PROTOCOL, draws=100, errors=analyses if errors else None)
    return made, files


def nothing(image: int) -> RGB | None:
    return None


@pytest.fixture(scope="module")
def three() -> tuple[Comparison, str]:
    comparison, files = compared(*FILES)
    return comparison, comparison_page(comparison, TRUTH, files, pictures=nothing, facts=FACTS)


def test_the_page_needs_nothing_else(three: tuple[Comparison, str]) -> None:
    _, page = three
    assert re.findall(r"https?:", page) == []
    assert re.findall(r"<link|@import|url\(|<img|src=", page) == []
    assert "nan" not in re.sub(r"<style>.*?</style>|<script>.*?</script>", "", page, flags=re.S)
    assert "ours <1>" not in page and "ours &lt;1&gt;" in page


def test_the_sentences_come_first(three: tuple[Comparison, str]) -> None:
    comparison, page = three
    first = comparison_sentences(comparison)[0].replace("<1>", "&lt;1&gt;")
    assert page.index(first) < page.index("<h2")


def test_ids_are_unique_and_sections_are_linked(three: tuple[Comparison, str]) -> None:
    _, page = three
    ids = re.findall(r'\bid="([^"]*)"', page)
    assert len(set(ids)) == len(ids)
    links = set(re.findall(r'href="#([^"]*)"', page))
    assert {link for link in links if not link.startswith("filter-")} <= set(ids)
    levels = [int(level) for level in re.findall(r"<h([1-6])", page)]
    assert all(later <= earlier + 1 for earlier, later in pairwise(levels))


def test_the_matrix_has_each_pair_twice_with_opposite_signs(
    three: tuple[Comparison, str],
) -> None:
    comparison, page = three
    matrix = page[page.index('<table class="matrix">') :]
    matrix = matrix[: matrix.index("</table>")]
    values = [
        float(cell.replace("−", "-"))
        for cell in re.findall(r"<td[^>]*>([+−]?[\d.]+)<small>", matrix)
    ]
    assert len(values) == 6 and sum(values) == pytest.approx(0, abs=1e-9)
    assert matrix.count('class="sure"') == 2 * sum(p.p_adjusted < 0.05 for p in comparison.pairs)


def test_two_models_need_no_matrix_but_a_word_on_who_is_right() -> None:
    comparison, files = compared("ours <1>", "theirs")
    page = comparison_page(comparison, TRUTH, files, pictures=nothing, facts=FACTS)
    assert "<h1>ours &lt;1&gt; and theirs compared</h1>" in page
    assert 'class="matrix"' not in page
    assert "right: ours &lt;1&gt; loses less" in page


def test_the_images_that_decide_are_those_of_different_costs(
    three: tuple[Comparison, str],
) -> None:
    comparison, _ = three
    files = FILES
    few = tuple(replace(one, cost=dict.fromkeys(one.cost, 0.0)) for one in comparison.images)
    chosen = few[3]
    cost = dict(zip([m.name for m in comparison.models], (0.002, -0.001, 0.01), strict=True))
    few = (*few[:3], replace(chosen, cost=cost), *few[4:])
    own = replace(comparison, images=few)
    asked = []

    def picture(image: int) -> RGB | None:
        asked.append(image)
        return np.full((SIZE[1], SIZE[0], 3), 90, np.uint8)

    page = comparison_page(own, TRUTH, files, pictures=picture, facts=FACTS)
    assert asked == [chosen.image]
    assert page.count('<article class="card') == 1 and 'data-better="1"' in page
    assert f"{comparison.models[1].name} −0.10".replace("<1>", "&lt;1&gt;") in page
    assert page.count('href="#picture-') == 1 + len(files)


def test_a_comparison_without_errors_groups_and_images_has_a_page() -> None:
    comparison, files = compared("ours <1>", "theirs", errors=False)
    bare = replace(comparison, groups=(), group_differences=(), images=(), errors=(), analyses={})
    page = comparison_page(bare, TRUTH, files, pictures=nothing, facts=FACTS)
    heads = re.findall(r"<h2[^>]*>([^<]*)</h2>", page)
    assert heads == ["Models", "Differences", "How this was made"]
    assert re.findall(r'<nav class="contents".*?</nav>', page)[0].count("<a ") == 3


def test_two_equal_files_have_a_page() -> None:
    own = FILES["theirs"]
    analysis = analyze(own, TRUTH, PROTOCOL, draws=100)
    files = {"one": own, "other": own}
    made = compare(files, TRUTH, PROTOCOL, draws=100, errors=dict.fromkeys(files, analysis))
    page = comparison_page(made, TRUTH, files, pictures=nothing, facts=FACTS)
    assert "cannot be told apart: the difference is 0.0 AP" in page
    assert "The images that decide" not in page  # none does
