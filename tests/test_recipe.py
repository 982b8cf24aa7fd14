"""Recipes: changed by --set, saved beside weights and read back."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any, cast

import pytest

from posebench.errors import ModelError, UsageError
from posebench.models import RECIPES, find_recipe
from posebench.models.cid import CIDConfig
from posebench.recipe import RENAMED_FIELDS, Recipe, override, recipe_from_json, recipe_to_json
from posebench.skeleton import COCO, CROWDPOSE
from posebench.structures import Augment, FixedResize

TINY = RECIPES["cid_tiny"]
CONFIG, AUGMENT = cast(CIDConfig, TINY.config), cast(Augment, TINY.augment)
COCO_RECIPE = RECIPES["cid_hrnet_w32_coco"]


@pytest.mark.parametrize(
    ("assignment", "expected"),
    [
        ("epochs=3", replace(TINY, epochs=3)),
        ("lr=0.5", replace(TINY, lr=0.5)),
        ("lr=1", replace(TINY, lr=1.0)),
        ("lr=1e-4", replace(TINY, lr=1e-4)),
        ("schedule=step", replace(TINY, schedule="step")),
        ('schedule="step"', replace(TINY, schedule="step")),
        ("pretrained=true", replace(TINY, pretrained=True)),
        ("lr_drops=[90, 120]", replace(TINY, lr_drops=(90, 120))),
        ("lr_drops=[]", replace(TINY, lr_drops=())),
        ("embedding=8", replace(TINY, config=replace(CONFIG, embedding=8))),
        ("config.embedding=8", replace(TINY, config=replace(CONFIG, embedding=8))),
        ("spatial=false", replace(TINY, config=replace(CONFIG, spatial=False))),
        ("augment.size=64", replace(TINY, augment=replace(AUGMENT, size=64))),
        ("augment.scale=[1, 2]", replace(TINY, augment=replace(AUGMENT, scale=(1, 2)))),
        ("inference.flip=false", replace(TINY, inference=replace(TINY.inference, flip=False))),
    ],
)
def test_a_field_is_set(assignment: str, expected: Recipe) -> None:
    changed = override(TINY, assignment)
    assert changed == expected
    assert type(changed.lr) is float


def test_a_part_of_a_part_is_set_and_nothing_else_changes() -> None:
    changed = override(TINY, "inference.resize.short_side=128")
    assert changed.inference.resize == replace(TINY.inference.resize, short_side=128)
    usual = TINY.inference.resize.short_side
    assert override(changed, f"inference.resize.short_side={usual}") == TINY


@pytest.mark.parametrize(
    "assignment",
    [
        "epochs=1.5",
        "epochs=true",
        "epochs=many",
        "epochs=",
        "lr=fast",
        "lr=true",
        "pretrained=1",
        "pretrained=yes",
        "lr_drops=90",
        "schedule=3",
        "config=3",
        "augment=64",
        "embedding=[8]",
    ],
)
def test_a_value_of_another_type_is_refused(assignment: str) -> None:
    with pytest.raises(UsageError, match=r"Expected a value like|has nested fields"):
        override(TINY, assignment)


@pytest.mark.parametrize(
    ("assignment", "meant"),
    [
        ("epoch=3", "epochs"),
        ("embeding=8", "embedding"),
        ("config.embeding=8", "embedding"),
        ("augment.sise=64", "size"),
        ("inference.resize.short=64", "short_side"),
    ],
)
def test_an_unknown_field_is_answered_with_the_nearest(assignment: str, meant: str) -> None:
    with pytest.raises(UsageError, match=rf"Did you mean {meant}\?"):
        override(TINY, assignment)


def test_a_field_without_parts_has_none_to_set() -> None:
    with pytest.raises(UsageError, match="epochs has no nested fields"):
        override(TINY, "epochs.first=3")


@pytest.mark.parametrize("assignment", ["epochs", "", "epochs 3"])
def test_an_assignment_needs_an_equals_sign(assignment: str) -> None:
    with pytest.raises(UsageError, match="field=value"):
        override(TINY, assignment)


@pytest.mark.parametrize(
    "field", ["name", "build", "skeleton", "default_for", "test_overrides", "reported"]
)
def test_what_identifies_a_recipe_cannot_be_set(field: str) -> None:
    with pytest.raises(UsageError, match=f"no recipe field named '{field}'"):
        override(COCO_RECIPE, f"{field}=other")


def test_a_value_that_the_config_refuses_is_a_usage_error() -> None:
    spatial_only = override(TINY, "channel=false")
    with pytest.raises(UsageError, match="both are off"):
        override(spatial_only, "spatial=false")


@pytest.mark.parametrize(
    ("assignment", "named"),
    [
        ("schedule=sine", "step, cosine"),
        ("optimizer=lion", "adam, adamw, sgd"),
        ("epochs=0", "epochs is at least 1"),
        ("batch_size=0", "batch_size is at least 1"),
        ("micro_batch_size=-1", "micro_batch_size is at least 1"),
        ("evaluate_every=0", "evaluate_every is at least 1"),
    ],
)
def test_a_value_that_no_run_can_use_is_refused(assignment: str, named: str) -> None:
    with pytest.raises(UsageError, match=named):
        override(TINY, assignment)


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_survives_being_saved(name: str) -> None:
    recipe = RECIPES[name]
    skeleton = recipe.skeleton or COCO
    saved = json.loads(json.dumps(recipe_to_json(recipe, skeleton), allow_nan=False))
    assert recipe_from_json(saved, recipe) == replace(recipe, skeleton=skeleton)


def test_what_was_set_survives_being_saved() -> None:
    changed = TINY
    for assignment in ("lr_drops=[1, 2]", "augment.scale=[1, 2]", "spatial=false", "epochs=3"):
        changed = override(changed, assignment)
    saved = json.loads(json.dumps(recipe_to_json(changed, CROWDPOSE)))
    assert saved["skeleton"] == "crowdpose"
    assert recipe_from_json(saved, TINY) == replace(changed, skeleton=CROWDPOSE)


def renamed(values: dict[str, Any]) -> None:
    values["learning_rate"] = values.pop("lr")


def renamed_in_a_part(values: dict[str, Any]) -> None:
    values["config"]["width"] = values["config"].pop("embedding")


def without_skeleton(values: dict[str, Any]) -> None:
    del values["skeleton"]


def of_a_new_skeleton(values: dict[str, Any]) -> None:
    values["skeleton"] = "wholebody"


def with_a_plain_part(values: dict[str, Any]) -> None:
    values["augment"] = 512


def with_a_new_schedule(values: dict[str, Any]) -> None:
    values["schedule"] = "polynomial"


@pytest.mark.parametrize(
    "edit",
    [
        renamed, renamed_in_a_part, without_skeleton, of_a_new_skeleton, with_a_plain_part,
        with_a_new_schedule,
    ],
)  # fmt: skip
def test_a_recipe_of_another_version_is_a_model_error(edit: Any) -> None:
    saved = recipe_to_json(TINY, COCO)
    edit(saved)
    with pytest.raises(ModelError, match="cid_tiny was saved by another version"):
        recipe_from_json(saved, TINY)


@pytest.mark.parametrize("name", RECIPES)
def test_the_score_of_drawing_is_a_methods_and_not_in_files(name: str) -> None:
    recipe = RECIPES[name]
    assert 0 < recipe.draw_score < 1
    assert recipe.draw_score == RECIPES[f"{recipe.method}_tiny"].draw_score
    saved = recipe_to_json(recipe, COCO)
    assert "draw_score" not in {*saved, *saved["config"]}


def test_a_recipe_names_its_method() -> None:
    assert {recipe.method for recipe in RECIPES.values()} == {
        "cid",
        "dekr",
        "dgcn",
        "group_pose",
        "higher_hrnet",
        "mask_rcnn",
        "pifpaf",
        "posedet",
    }
    assert all(name.startswith(recipe.method) for name, recipe in RECIPES.items())


def test_a_recipe_says_how_it_is_tested_elsewhere() -> None:
    on_ochuman = COCO_RECIPE.on("ochuman")
    assert isinstance(on_ochuman.config, CIDConfig)
    assert (on_ochuman.config.nms_threshold, on_ochuman.config.centre_pool) == (0.7, 11)
    assert COCO_RECIPE.on("coco") is COCO_RECIPE
    assert find_recipe("cid", "ochuman").name == "cid_hrnet_w32_ochuman"
    assert find_recipe("cid", "ochuman").batch_size == 20


@pytest.mark.parametrize("decay", [-0.1, 1.0])
def test_a_moving_average_needs_a_decay_below_one(decay: float) -> None:
    with pytest.raises(UsageError, match="ema_decay"):
        override(TINY, f"ema_decay={decay}")


def test_fields_may_be_set_by_the_names_they_had_before() -> None:
    for old, new in (
        ("test_time.flip=false", "inference.flip=false"),
        ("images_per_pass=3", "micro_batch_size=3"),
    ):
        assert override(TINY, old) == override(TINY, new) != TINY


def test_a_recipe_saved_under_old_names_is_the_same() -> None:
    recipe = override(override(COCO_RECIPE, "inference.scales=[0.5,1]"), "micro_batch_size=7")
    saved = recipe_to_json(recipe, COCO)
    for old, new in RENAMED_FIELDS.items():
        saved[old] = saved.pop(new)
    assert recipe_from_json(saved, COCO_RECIPE) == recipe


def test_the_size_of_an_exported_network_is_kept() -> None:
    inference = replace(TINY.inference, resize=FixedResize.of(128, 96))
    recipe = replace(TINY, inference=inference, skeleton=COCO)
    saved = json.loads(json.dumps(recipe_to_json(recipe, COCO)))
    assert recipe_from_json(saved, TINY) == recipe
