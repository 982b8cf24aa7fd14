"""Models by name, method, backbone and word."""

from __future__ import annotations

from pathlib import Path

import pytest

from posebench.bench.selection import network_of, one_recipe_per_network, select_recipes
from posebench.errors import UsageError
from posebench.models import RECIPES


def names(*words: str) -> list[str]:
    return [recipe.name for recipe in select_recipes(words)]


def test_a_family_is_a_network_whatever_it_was_trained_on() -> None:
    assert network_of(RECIPES["cid_hrnet_w32_ochuman"]) == "cid_hrnet_w32"
    assert network_of(RECIPES["cid_tiny"]) == "cid_tiny"
    found = one_recipe_per_network()
    assert found["cid_hrnet_w32"].name == "cid_hrnet_w32_coco"
    assert {network_of(recipe) for recipe in RECIPES.values()} == set(found)
    networks = {(r.method, r.config.backbone, r.inference.resize) for r in RECIPES.values()}
    assert {(r.method, r.config.backbone, r.inference.resize) for r in found.values()} == networks


def test_words_mean_recipes_methods_backbones_and_parts() -> None:
    assert names("all") == [recipe.name for recipe in one_recipe_per_network().values()]
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
        select_recipes(["cid_tinny"])


def test_a_trained_run_is_told_from_a_misspelt_name(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"is a path\. Times and counts do not depend"):
        select_recipes([str(tmp_path)])


def test_an_exported_file_is_timed_by_another_option(tmp_path: Path) -> None:
    (tmp_path / "x.xml").touch()
    with pytest.raises(UsageError, match=r"is an exported file: time it with --onnx .*x\.xml"):
        select_recipes([str(tmp_path / "x.xml")])
