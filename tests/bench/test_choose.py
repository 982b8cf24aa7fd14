"""Models by name, method, backbone and word."""

from __future__ import annotations

import pytest

from posebench.bench.choose import choose, families, family
from posebench.errors import UsageError
from posebench.models import RECIPES


def names(*words: str) -> list[str]:
    return [recipe.name for recipe in choose(words)]


def test_a_family_is_a_network_whatever_it_was_trained_on() -> None:
    assert family(RECIPES["cid_hrnet_w32_ochuman"]) == "cid_hrnet_w32"
    assert family(RECIPES["cid_tiny"]) == "cid_tiny"
    found = families()
    assert found["cid_hrnet_w32"].name == "cid_hrnet_w32_coco"
    assert {family(recipe) for recipe in RECIPES.values()} == set(found)
    networks = {(r.method, r.config.backbone, r.inference.resize) for r in RECIPES.values()}
    assert {(r.method, r.config.backbone, r.inference.resize) for r in found.values()} == networks


def test_words_mean_recipes_methods_backbones_and_parts() -> None:
    assert names("all") == [recipe.name for recipe in families().values()]
    assert names("cid_hrnet_w32_crowdpose") == ["cid_hrnet_w32_crowdpose"]
    assert names("cid_hrnet_w32") == ["cid_hrnet_w32_coco"]
    assert {RECIPES[name].method for name in names("posedet")} == {"posedet"}
    assert {RECIPES[name].config.backbone for name in names("dla34")} == {"dla34"}
    assert "cid_tiny" in names("tiny")
    assert all(name.endswith("_tiny") for name in names("tiny"))


def test_words_are_joined_in_their_order_and_once() -> None:
    assert names("posedet_tiny", "cid_tiny", "posedet_tiny") == ["posedet_tiny", "cid_tiny"]


def test_a_misspelt_name_has_a_suggestion() -> None:
    with pytest.raises(UsageError, match="Did you mean cid_tiny"):
        choose(["cid_tinny"])
