"""The gallery's cards, buttons and poses as markup; what its script does: test_browser.py."""

from __future__ import annotations

import base64
import re
from typing import Any
from xml.etree import ElementTree

import cv2
import numpy as np

from posebench.skeleton import COCO
from posebench.viz.result_report.gallery import Card, Filter, gallery
from posebench.viz.result_report.pictures import embedded
from posebench.viz.result_report.poses import Box, Drawn, Mark, Panel, panel_svg, sign

POINTS = np.stack([np.linspace(20, 180, 17), np.linspace(10, 90, 17)], -1)
EVERYWHERE = np.ones(17, np.bool_)


def make_card(key: str, *errors: str, picture: bool = False, better: str = "") -> Card:
    image = np.full((100, 200, 3), 90, np.uint8) if picture else None
    panels = [Panel("annotated", [Drawn(POINTS, EVERYWHERE, None, 0)]), Panel("A & B", [])]
    return Card(key, f"{key}.jpg", "1 person", (200, 100), image, panels, errors, better)


FILTERS = [
    Filter("kind", "Error", {"swap": "swaps", "miss": "misses", "jitter": "jitter"}),
    Filter("keypoint", "Keypoint", {"0": "nose", "9": "left wrist"}),
    Filter("better", "Better here", {"0": "A", "1": "B"}),
]


def test_buttons_say_how_many_images_they_leave() -> None:
    cards = [make_card("a", "swap/9/0", "swap/0/0"), make_card("b", "miss/0/1", better="1")]
    made = gallery(cards, FILTERS, COCO)
    buttons = re.findall(
        r'data-filter="(\w+)" data-value="(\w+)".*?<span class="count">(\d+)', made
    )
    assert buttons == [
        ("kind", "swap", "1"), ("kind", "miss", "1"), ("keypoint", "0", "2"),
        ("keypoint", "9", "1"), ("better", "1", "1"),
    ]  # fmt: skip
    assert made.count('aria-pressed="false"') == len(buttons)
    assert 'role="status" aria-live="polite">2 images<' in made


def test_a_picture_is_embedded_once_and_shown_by_every_panel() -> None:
    made = gallery([make_card("a", picture=True)], FILTERS, COCO)
    assert made.count("data:image/jpeg;base64,") == 1
    assert made.count('href="#picture-a"') == 2
    plain = gallery([make_card("a")], FILTERS, COCO)
    assert "data:image" not in plain and "#picture" not in plain


def test_pictures_are_made_small() -> None:
    picture = np.random.default_rng(0).integers(0, 255, (900, 600, 3), dtype=np.uint8)
    encoded = embedded(picture, 300).removeprefix("data:image/jpeg;base64,")
    decoded: Any = cv2.imdecode(np.frombuffer(base64.b64decode(encoded), np.uint8), 1)
    assert decoded.shape == (300, 200, 3)
    assert len(embedded(picture[:20, :10], 300)) < 2000  # is not made larger


def test_a_panel_has_the_proportions_of_its_image_and_says_what_it_shows() -> None:
    panel = Panel("ours", [Drawn(POINTS, EVERYWHERE, None, 0, "0.91")], notes=["1 swap (nose)"])
    tree = ElementTree.fromstring(panel_svg(panel, (200, 100), COCO, ""))
    width, height = map(float, tree.attrib["viewBox"].split()[2:])
    assert width == 2 * height
    assert tree.attrib["aria-label"] == "ours: 1 person, 1 swap (nose)"
    assert [one.text for one in tree.iter("text")] == ["0.91"]


def test_invisible_keypoints_and_what_is_not_finite_are_not_drawn() -> None:
    points = POINTS.copy()
    points[3] = np.nan
    visible = EVERYWHERE.copy()
    visible[4] = False
    whole = panel_svg(Panel("", [Drawn(POINTS, EVERYWHERE, None, 0)]), (200, 100), COCO, "")
    part = panel_svg(Panel("", [Drawn(points, visible, None, 0)]), (200, 100), COCO, "")
    dots = [len(re.findall(r"h0", made)) for made in (whole, part)]
    assert dots == [2 * 17, 2 * 15]  # each with its dark edge
    assert "nan" not in part
    nothing = Drawn(POINTS, ~EVERYWHERE, None, 0)
    assert "h0" not in panel_svg(Panel("", [nothing]), (200, 100), COCO, "")


def test_occluded_limbs_are_dashed() -> None:
    hidden = np.zeros(17, np.bool_)
    assert "dasharray" not in panel_svg(
        Panel("", [Drawn(POINTS, EVERYWHERE, hidden, 0)]), (200, 100), COCO, ""
    )
    hidden[9] = True  # the left wrist
    assert "dasharray" in panel_svg(
        Panel("", [Drawn(POINTS, EVERYWHERE, hidden, 0)]), (200, 100), COCO, ""
    )


def test_marks_carry_their_token_and_lead_to_the_right_place() -> None:
    mark = Mark("swap/9/1", (100, 50), (20, 50), "left wrist: swap")
    box = Box("missed//1", (0, 0), (50, 50), "missed person")
    made = panel_svg(Panel("", [], [mark], [box]), (200, 100), COCO, "")
    assert re.findall(r'data-error="([^"]*)"', made) == ["missed//1", "swap/9/1"]
    assert "<title>left wrist: swap</title>" in made and 'class="lead"' in made


def test_every_class_has_a_form_of_its_own() -> None:
    forms = {re.sub(r"k-\w+", "", sign(kind)) for kind in ("miss", "swap", "inversion", "jitter")}
    assert len(forms) == 4
    assert "<rect" in sign("missed") and "aria-hidden" in sign("missed")
