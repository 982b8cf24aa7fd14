"""The report of an analysis: what it says, and which images it shows."""

from __future__ import annotations

import re
from itertools import pairwise

import numpy as np
import pytest

from posebench.bench.analysis import Analysis, analyze
from posebench.bench.verdict import analysis_sentences
from posebench.data import LAYOUTS
from posebench.metrics.matching import Detections
from posebench.viz.colours import RGB
from posebench.viz.result_report import analysis_page
from posebench.viz.result_report.choosing import Seen, card, worst_images
from tests.planted import SIZE, planted, planted_truth

TRUTH = planted_truth(16)
PROTOCOL = LAYOUTS["coco"].protocol
ERRORS = {"swap": 0.05, "miss": 0.05, "jitter": 0.1, "duplicate": 0.2, "background": 0.2,
          "missed": 0.1, "inversion": 0.05, "score": 0.2}  # fmt: skip
FACTS = [("images", "made up <16>"), ("seed", "0")]


def nothing(image: int) -> RGB | None:
    return None


@pytest.fixture(scope="module")
def detections() -> Detections:
    return planted(TRUTH, ERRORS)


@pytest.fixture(scope="module")
def analysis(detections: Detections) -> Analysis:
    return analyze(detections, TRUTH, PROTOCOL, draws=100)


@pytest.fixture(scope="module")
def page(analysis: Analysis, detections: Detections) -> str:
    return analysis_page("a <model>", analysis, TRUTH, detections, pictures=nothing, facts=FACTS)


def test_the_page_needs_nothing_else(page: str) -> None:
    assert re.findall(r"https?:", page) == []
    assert re.findall(r"<link|@import|url\(|<img|src=", page) == []
    assert "nan" not in re.sub(r"<style>.*?</style>|<script>.*?</script>", "", page, flags=re.S)


def test_names_and_facts_are_escaped(page: str) -> None:
    assert "a <model>" not in page and "made up <16>" not in page
    assert "<h1>What a &lt;model&gt; does wrong</h1>" in page
    assert "<dt>images</dt><dd>made up &lt;16&gt;</dd>" in page


def test_the_sentences_come_first(page: str, analysis: Analysis) -> None:
    first = analysis_sentences("a &lt;model&gt;", analysis)[0]
    assert page.index(first) < page.index("<h2")


def test_ids_are_unique_and_links_lead_somewhere(page: str) -> None:
    ids = re.findall(r'\bid="([^"]*)"', page)
    assert len(set(ids)) == len(ids)
    links = set(re.findall(r'href="#([^"]*)"', page))
    buttons = {link for link in links if link.startswith("filter-")}
    # A kind that no image shows has no button; the links of the others and of sections lead there.
    assert links - buttons <= set(ids) and len(buttons & set(ids)) >= 20


def test_all_sections_have_their_heading(page: str) -> None:
    heads = re.findall(r"<h2[^>]*>([^<]*)</h2>", page)
    assert heads == [
        "What AP is lost on", "Keypoints", "Detections", "Scores", "Where", "The worst images",
        "How this was made",
    ]  # fmt: skip
    levels = [int(level) for level in re.findall(r"<h([1-6])", page)]
    assert all(later <= earlier + 1 for earlier, later in pairwise(levels))


def test_a_model_that_finds_nobody_has_a_page() -> None:
    nobody = planted(TRUTH, {"missed": 2.0, "tail": 2.0})
    empty = analyze(nobody, TRUTH, PROTOCOL, draws=100)
    made = analysis_page("none", empty, TRUTH, nobody, pictures=nothing, facts=FACTS)
    assert "it loses most by missed people" in made
    assert 'data-errors="background//0 missed//0"' in made


def test_pictures_are_asked_for_by_the_index_of_the_image(
    analysis: Analysis, detections: Detections
) -> None:
    asked = []

    def picture(image: int) -> RGB | None:
        asked.append(image)
        return np.full((SIZE[1], SIZE[0], 3), image, np.uint8)

    made = analysis_page("a", analysis, TRUTH, detections, pictures=picture, facts=FACTS)
    chosen = worst_images(Seen("a", TRUTH, detections, analysis), 4)
    assert sorted(asked) == sorted(chosen)
    assert made.count("data:image/jpeg") == len(chosen)


@pytest.mark.parametrize("kind", ["swap", "miss", "duplicate", "background", "missed"])
def test_the_worst_images_are_those_with_the_error(kind: str) -> None:
    """One image has it; the others are as good as can be, but for scores."""
    good, bad = planted(TRUTH, {}), planted(TRUTH, {kind: 0.5})
    at = 5
    rank = TRUTH.rank[at]
    mixed = Detections(
        *(
            np.concatenate([getattr(good, name)[good.image != rank],
                            getattr(bad, name)[bad.image == rank]])
            for name in ("image", "keypoints", "scores", "area")
        )
    )  # fmt: skip
    analysis = analyze(mixed, TRUTH, PROTOCOL, draws=0)
    seen = Seen("a", TRUTH, mixed, analysis)
    chosen = {image: kinds for image, kinds in worst_images(seen, 3).items() if kind in kinds}
    assert set(chosen) == {at}
    tokens = card(at, TRUTH, [seen], nothing).errors
    assert any(token.startswith(f"{kind}/") for token in tokens)
    assert card(at + 1, TRUTH, [seen], nothing).errors == []


def test_cards_show_each_person_in_one_colour(analysis: Analysis, detections: Detections) -> None:
    seen = Seen("a", TRUTH, detections, analysis)
    annotated, predicted = card(3, TRUTH, [seen], nothing).panels
    assert [person.colour for person in annotated.people] == [0, 1, 2]
    middle = {p.colour: p.points.mean(0) for p in annotated.people}
    for person in predicted.people:
        if person.colour is not None:
            assert np.hypot(*(person.points.mean(0) - middle[person.colour])) < 60


def test_marks_lead_to_the_annotated_place(analysis: Analysis, detections: Detections) -> None:
    seen = Seen("a", TRUTH, detections, analysis)
    for image in range(TRUTH.num_images):
        places = TRUTH.keypoints[TRUTH.of_image(image)][..., :2]
        for mark in card(image, TRUTH, [seen], nothing).panels[1].marks:
            k = int(mark.token.split("/")[1])
            assert mark.right is not None
            assert np.abs(places[:, k] - mark.right).sum(1).min() < 1e-9


def test_without_an_analysis_the_best_detections_are_shown(detections: Detections) -> None:
    shown = card(3, TRUTH, [Seen("a", TRUTH, detections, None)], nothing)
    assert 0 < len(shown.panels[1].people) <= 5 and shown.errors == []
    assert shown.size == SIZE and shown.title == "3.jpg"
