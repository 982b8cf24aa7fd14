"""Which configurations of ED-Pose are refused, and what its recipes have in common."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
import torch

from posebench.models.ed_pose import RECIPES, EDPoseConfig
from posebench.models.ed_pose.recipes import PUBLISHED, Weights
from posebench.skeleton import CROWDPOSE
from tests.models.ed_pose.builders import TINY


def test_recipes_are_the_released_configurations() -> None:
    for name, recipe in RECIPES.items():
        config = recipe.config
        assert isinstance(config, EDPoseConfig)
        if name == "ed_pose_tiny":
            continue
        crowd = recipe.skeleton is CROWDPOSE
        assert (recipe.epochs, recipe.lr_drops) == ((80, (75,)) if crowd else (60, (55,)))
        assert config.first_centres == ("first layer's head" if crowd else "own head")
        assert config.levels == (5 if "5scale" in name else 4)
        assert config.weights == PUBLISHED


def test_a_term_without_weight_is_refused() -> None:
    with pytest.raises(ValueError, match="above 0"):
        Weights(iou=0.0)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"backbone": "resnet9"}, "resnet50"),
        ({"first_centres": "none"}, "own head"),
        ({"people": 0}, "at least 1"),
        ({"pose_layers": 1}, "at least 2"),
        ({"noise_queries": -1}, "at least 0"),
        ({"levels": 6}, "4 or 5"),
        ({"channels": 48}, "multiple of 32"),
    ],
)
def test_a_config_outside_its_range_is_refused(changes: Mapping[str, Any], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        replace(TINY, **changes)


def test_the_tiny_network_has_the_parts_of_the_released_ones() -> None:
    """By them `weights import` tells the methods apart, whatever their sizes."""
    parts = []
    for name in ("ed_pose_tiny", "ed_pose_swin_l_5scale_crowdpose"):
        with torch.device("meta"):
            model = RECIPES[name].build(CROWDPOSE)
        parts.append({tensor.partition(".")[0] for tensor in model.state_dict()})
    assert parts[0] == parts[1]
