"""Which configurations of Group Pose are refused, and the recipes' weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from posebench.models import RECIPES
from posebench.models.group_pose.recipes import GroupPoseConfig, Weights
from posebench.recipe import override
from tests.models.group_pose.builders import TINY


def test_only_the_tiny_recipe_has_weights_of_its_own() -> None:
    own = [
        recipe.name
        for recipe in RECIPES.values()
        if isinstance(recipe.config, GroupPoseConfig) and recipe.config.weights != Weights()
    ]
    assert own == ["group_pose_tiny"]
    changed = override(RECIPES["group_pose_tiny"], "weights.oks=3")
    assert isinstance(changed.config, GroupPoseConfig)
    assert changed.config.weights == replace(TINY.weights, oks=3.0)


def test_a_term_without_weight_is_refused() -> None:
    with pytest.raises(ValueError, match="above 0"):
        Weights(oks=0.0)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"backbone": "resnet9"}, "resnet50"),
        ({"queries": "none"}, "keypoint"),
        ({"queries": "keypoint"}, "needs instance queries"),
        ({"queries": "instance", "score_from": "keypoint"}, "needs keypoint queries"),
        ({"instances": 0}, "at least 1"),
        ({"detection_layers": 2}, "below decoder_layers"),
        ({"detection_layers": -1}, "below decoder_layers"),
        ({"channels": 48}, "multiple of 32"),
        ({"self_attention": "both"}, "masked"),
    ],
)
def test_a_config_outside_its_range_is_refused(changes: Mapping[str, Any], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        replace(TINY, **changes)
