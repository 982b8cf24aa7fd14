"""`posebench models`: the list, its filters and orders, and one recipe in full."""

from __future__ import annotations

import json
from typing import Any

import pytest

from posebench.bench.selection import main_result
from posebench.models import RECIPES
from posebench.shipped import shipped_names
from tests.cli.command import run


def listed(*words: str) -> list[dict[str, Any]]:
    result = run("models", *words, "--json")
    assert result.code == 0
    rows: list[dict[str, Any]] = json.loads(result.out)["rows"]
    return rows


def names(*words: str) -> list[str]:
    return [row["recipe"] for row in listed(*words)]


def test_all_recipes_are_listed_in_the_order_of_the_zoo() -> None:
    assert names() == list(RECIPES)


def test_a_method_has_all_its_recipes() -> None:
    assert names("cid") == [name for name, recipe in RECIPES.items() if recipe.method == "cid"]
    assert names("tiny") == [name for name in RECIPES if name.endswith("_tiny")]
    assert names("cid_hrnet_w32") == [name for name in RECIPES if name.startswith("cid_hrnet_w32")]


def test_a_dataset_keeps_recipes_that_are_for_it_or_have_a_result_on_it() -> None:
    rows = listed("cid", "--dataset", "ochuman", "--sort", "ap")
    assert [(row["recipe"], row["ap"], row["ap_on"]) for row in rows[:3]] == [
        ("cid_hrnet_w48_ochuman", 58.6, "ochuman test"),
        ("cid_hrnet_w32_ochuman", 57.5, "ochuman test"),
        ("cid_hrnet_w48_coco", 45.0, "ochuman test"),
    ]
    assert names("--dataset", "synthetic") == names("tiny")


@pytest.mark.parametrize(("order", "column"), [("params", "params_M"), ("gmacs", "gmacs")])
def test_the_cheapest_come_first(order: str, column: str) -> None:
    values = [row[column] for row in listed("--sort", order)]
    assert values == sorted(values)
    assert names("--sort", "name") == sorted(RECIPES)


def test_the_main_result_is_on_the_usual_split_and_of_the_paper() -> None:
    found = main_result(RECIPES["group_pose_swin_l_coco"])
    assert found is not None
    assert (found.split, found.value) == ("val2017", 74.8)
    paper = main_result(RECIPES["cid_hrnet_w32_crowdpose"])
    assert paper is not None
    assert (paper.value, paper.source) == (71.3, "paper:cid:table05")
    assert main_result(RECIPES["cid_tiny"]) is None


def test_names_are_never_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    for width in (60, 80, 120):
        monkeypatch.setattr("posebench.cli.common.out._width", width)
        shown = run("models").out
        assert all(name in shown for name in RECIPES), width
        assert all(len(line) <= width for line in shown.splitlines()), width
        longest = next(line for line in shown.splitlines() if "higher_hrnet_w32_coco" in line)
        assert "67.1" in longest
        assert ("val2017" in longest) == (width >= 80)


def test_a_recipe_is_described_in_full() -> None:
    shown = run("models", "cid_hrnet_w32_coco").out
    for part in (
        "AP 68.9 on coco test-dev2017",
        "AP 44.9 on ochuman val",
        "140 epochs",
        "hrnet_w32",
    ):
        assert part in shown
    assert "cid_hrnet_w32_coco@mmpose0 of MMPose 0.x" in shown
    assert "licence MIT" in shown and "by hand from https://1drv.ms" in shown
    unpublished = run("models", "posedet_dla34_coco").out
    assert "posebench weights import FILE --recipe posedet_dla34_coco" in unpublished
    assert "posebench train cid_hrnet_w32_coco --dataset coco" in shown
    assert "mask_rcnn_resnet50_coco@torchvision" in run("models", "mask_rcnn_resnet50_coco").out


@pytest.mark.parametrize("name", shipped_names())
def test_shipped_weights_are_described(name: str) -> None:
    assert "in the package, AP" in run("models", name).out
    assert [row["weights"] for row in listed(name)] == ["in the package"]


def test_mistakes_are_named() -> None:
    assert "Did you mean cid?" in run("models", "cidd").err
    assert "Did you mean coco?" in run("models", "--dataset", "cocoo").err
    assert "Did you mean gmacs?" in run("models", "--sort", "gmac").err
