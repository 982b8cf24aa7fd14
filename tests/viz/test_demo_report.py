"""The demo's page and pictures."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from posebench.bench.demo import Crowd
from posebench.data.synthetic_crowds import SyntheticCrowds
from posebench.skeleton import COCO
from posebench.structures import PosePredictions
from posebench.viz.demo_report import (
    COLUMNS,
    cells,
    comparison_picture,
    crowd_picture,
    demo_page,
)

ROWS = pd.DataFrame(
    {
        "model": name, "ap": ap, "ap_low": ap - 3.21, "ap_high": ap + 4.04, "letters": letters,
        "ms": ms, "fps": 1000 / ms, "params_M": 1.234, "gmacs": 0.567, "peak_MB": 89.6,
    }
    for name, ap, letters, ms in (
        ("higher_hrnet_tiny", 55.55, "a", 51.2), ("cid_tiny", 54.0, "ab", 42.0),
        ("dgcn_tiny", 40.0, "b", 8.0),
    )
)  # fmt: skip
NOTES = ["Models that share a letter do not differ.", "Measured on x < y & z."]


@pytest.fixture(scope="module")
def crowd() -> Crowd:
    sample = SyntheticCrowds(COCO, "val", length=1, size=64).load(0)
    poses = sample.poses
    shape = poses.keypoints.shape[:2]
    people = PosePredictions(
        poses.keypoints.float(), torch.ones(shape), torch.full(shape[:1], 0.3), COCO, 0.2
    )
    return Crowd(sample, dict.fromkeys(ROWS["model"], people))


def test_a_row_as_text() -> None:
    assert cells(ROWS.iloc[0]) == [
        "higher_hrnet_tiny", "55.5", "52.3–59.6", "a", "51", "19.5", "1.23", "0.57", "90",
    ]  # fmt: skip


def test_every_model_has_a_tile_beside_the_annotation(crowd: Crowd) -> None:
    picture = crowd_picture(crowd)
    margin, caption = 6, 22
    assert picture.shape == (2 * (256 + caption + margin) + margin, 2 * (256 + margin) + margin, 3)
    people = dict.fromkeys([*ROWS["model"], "one more"], crowd.people["cid_tiny"])
    wider = crowd_picture(replace(crowd, people=people))
    assert wider.shape[1] == 3 * (256 + margin) + margin


def test_people_below_the_methods_own_score_are_left_out(crowd: Crowd) -> None:
    def with_threshold(threshold: float) -> Crowd:
        shown = {k: replace(v, draw_score=threshold) for k, v in crowd.people.items()}
        return replace(crowd, people=shown)

    nobody = replace(crowd, people={name: people[:0] for name, people in crowd.people.items()})
    hidden = crowd_picture(with_threshold(0.31))
    assert np.array_equal(hidden, crowd_picture(nobody))
    assert not np.array_equal(hidden, crowd_picture(with_threshold(0.29)))


def test_the_plot_grows_with_the_models() -> None:
    three, two = comparison_picture(ROWS), comparison_picture(ROWS[:2])
    assert three.dtype == np.uint8
    assert three.shape[1] == two.shape[1] == 1350
    assert three.shape[0] > two.shape[0]


def test_the_page_needs_nothing_else() -> None:
    picture = np.full((8, 8, 3), 200, np.uint8)
    page = demo_page(ROWS, picture, [picture] * 4, NOTES)
    assert re.findall(r"https?:", page) == []
    assert re.findall(r"<link|@import|url\(", page) == []
    sources = re.findall(r'src="([^"]*)"', page)
    assert len(sources) == 5 and all(source.startswith("data:image/") for source in sources)


def test_the_table_is_on_top_with_all_columns_and_notes() -> None:
    picture = np.full((8, 8, 3), 200, np.uint8)
    page = demo_page(ROWS, picture, [picture], NOTES)
    assert page.index("<table") < page.index("<img")
    heads = re.findall(r"<th[^>]*>([^<]*)</th>", page)
    assert heads == [column.header for column in COLUMNS]
    body = page[page.index("<tbody>") : page.index("</tbody>")]
    lines = [re.findall(r"<td[^>]*>([^<]*)</td>", line) for line in body.split("</tr>")]
    assert lines[:3] == [cells(row) for _, row in ROWS.iterrows()]
    assert "Measured on x &lt; y &amp; z." in page
