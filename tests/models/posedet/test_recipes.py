"""Configurations of PoseDet that cannot be built are refused."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from posebench.models.posedet.recipes import Similarity
from tests.models.posedet.networks import TINY


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"backbone": "hrnet_w99"}, "dla34"),
        ({"width": 40}, "multiple of 16"),
        ({"width": 144}, "multiple of 16"),
        ({"nms": "soft"}, "oks, iou"),
        ({"centroid": "head"}, "keypoints, box"),
        ({"coarse_candidates": 0}, "at least 1"),
        ({"person_cells": 0}, "size in cells"),
        ({"refined_width": -1}, "refined_width"),
        ({"heatmap_sigma": 0.0}, "heatmap_sigma must be above 0"),
    ],
)
def test_a_config_outside_its_range_is_refused(changes: Mapping[str, Any], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        replace(TINY, **changes)


def test_thresholds_in_the_wrong_order_are_refused() -> None:
    with pytest.raises(ValueError, match=r"0\.4 and 0\.5"):
        Similarity(positive=0.4)
