"""Starting a training from weights: what is taken, keypoint by keypoint."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from posebench.data.synthetic_crowds import SyntheticCrowds
from posebench.engine import Checkpoint, Interrupted, find_model, read_checkpoint, train
from posebench.engine.callbacks import NullCallback
from posebench.engine.checkpoint import TrainingState
from posebench.engine.starting import start_from
from posebench.errors import ModelError
from posebench.models import RECIPES, PoseModel
from posebench.models.dgcn import DGCN
from posebench.models.keypoint_rows import of_limbs
from posebench.recipe import ALL_EPOCHS
from posebench.skeleton import COCO, CROWDPOSE, Skeleton
from tests.engine.test_training import CPU, Recording, StopAfter, crowds, small_recipe

# Two keypoints of COCO in another spelling, and two that it does not have.
CALF = Skeleton(
    "calf", ("tail", "Left-Eye", "withers", "right eye"), ((0, 2), (2, 1), (2, 3)), (0.05,) * 4
)


def checkpoint_of(name: str, skeleton: Skeleton = COCO) -> Checkpoint:
    """Return random weights of a recipe, as a file has them."""
    torch.manual_seed(1)
    recipe = replace(RECIPES[name], skeleton=skeleton)
    return Checkpoint(Path("a.safetensors"), recipe, recipe.build(skeleton).state_dict(), {})


def fresh(name: str, skeleton: Skeleton) -> PoseModel:
    torch.manual_seed(2)
    model: PoseModel = RECIPES[name].build(skeleton)
    return model


def test_rows_are_taken_by_the_names_of_keypoints() -> None:
    weights = checkpoint_of("cid_tiny")
    model = fresh("cid_tiny", CROWDPOSE)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    taken = start_from(model, weights, "old")
    after = model.state_dict()
    head = "keypoint_head.weight"
    for row, name in enumerate(CROWDPOSE.keypoints):
        if name in COCO.keypoints:
            own = weights.weights[head][COCO.keypoints.index(name)]
        else:
            own = before[head][row]
        assert after[head][row].equal(own)
    assert after[head][-1].equal(weights.weights[head][-1])  # of the people's centres
    assert after["reduce.weight"].equal(weights.weights["reduce.weight"])
    assert taken.new_keypoints == ["head", "neck"]
    assert taken.in_part == {
        "keypoint_head.weight": "13 of 15", "keypoint_head.bias": "13 of 15",
        "decoupling.heatmap.weight": "12 of 14", "decoupling.heatmap.bias": "12 of 14",
    }  # fmt: skip
    assert len(taken.whole) + len(taken.in_part) == len(after)
    assert "4 in the rows of 12 of 14 keypoints (not of head, neck)" in taken.line()


def test_spellings_are_the_same_keypoint() -> None:
    weights = checkpoint_of("cid_tiny")
    model = fresh("cid_tiny", CALF)
    taken = start_from(model, weights, "old")
    assert (taken.keypoints, taken.new_keypoints) == (
        ["Left-Eye", "right eye"],
        ["tail", "withers"],
    )
    head = "decoupling.heatmap.weight"
    assert model.state_dict()[head][1].equal(weights.weights[head][1])
    assert model.state_dict()[head][3].equal(weights.weights[head][2])


def test_as_many_other_keypoints_are_not_taken_for_the_same() -> None:
    """Equal shapes say nothing: AP-10K has 17 keypoints too."""
    animal = replace(COCO, name="animal", keypoints=tuple(f"part {k}" for k in range(17)))
    model = fresh("higher_hrnet_tiny", animal)
    before = model.state_dict()["heatmap_heads.1.weight"].clone()
    taken = start_from(model, checkpoint_of("higher_hrnet_tiny"), "old")
    assert model.state_dict()["heatmap_heads.1.weight"].equal(before)
    assert {"heatmap_heads.1.weight", "heatmap_heads.1.bias"} <= set(taken.left)
    assert taken.in_part["deconvolutions.0.0.0.weight"] == "24 of 58"  # the features' part


def test_a_limb_is_the_same_from_either_end() -> None:
    values = (("confidence", None), ("x", 0), ("x", 1))
    one, other = (of_limbs(COCO, [limb], values) for limb in ((0, 1), (1, 0)))
    assert one[0] == other[0]
    assert (one[1], one[2]) == (other[2], other[1])
    assert len(set(one)) == 3


def test_a_graph_is_taken_in_rows_and_columns_and_its_draws_are_not() -> None:
    weights = checkpoint_of("dgcn_tiny")
    model = fresh("dgcn_tiny", CROWDPOSE)
    assert isinstance(model, DGCN)
    seed, adjacency = model.graph_seed.item(), model.adjacency.clone()
    start_from(model, weights, "old")
    assert (model.graph_seed.item(), model.graphs_drawn.item()) == (seed, 0)
    assert model.adjacency.equal(adjacency)
    name = "limb_pyramid.modules_of_maps.0.graph.conv.weight"
    here = [CROWDPOSE.keypoints.index(part) for part in ("left_knee", "right_elbow")]
    there = [COCO.keypoints.index(part) for part in ("left_knee", "right_elbow")]
    assert model.state_dict()[name][here][:, here].equal(weights.weights[name][there][:, there])


def test_another_network_is_one_clear_error() -> None:
    model = fresh("group_pose_tiny", COCO)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(ModelError, match=r"old \(cid_tiny\) fit \d+ % of group_pose .*at least 50"):
        start_from(model, checkpoint_of("cid_tiny"), "old")
    assert all(value.equal(before[name]) for name, value in model.state_dict().items())


def test_the_backbone_of_another_method_is_enough_where_it_is_half() -> None:
    weights = checkpoint_of("cid_hrnet_w32_coco")
    model = fresh("posedet_hrnet_w32_coco", COCO)
    taken = start_from(model, weights, "old")
    assert all(name.startswith("backbone.") for name in taken.whole)
    assert "keep their initial values: " in taken.line()


class Notes(Recording):
    def __init__(self) -> None:
        super().__init__()
        self.notes: list[str] = []

    def on_note(self, note: str) -> None:
        self.notes.append(note)


def no_download(*_: Any) -> None:
    raise AssertionError("ImageNet weights are not needed")


def test_a_run_says_what_it_started_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = small_recipe(epochs=1, pretrained=True, lr=1e-30)
    monkeypatch.setattr("posebench.models.cid.CID.load_pretrained", no_download)
    sets = (
        SyntheticCrowds(CROWDPOSE, "train", 2, size=64),
        SyntheticCrowds(CROWDPOSE, "val", 2, size=64),
    )
    notes = Notes()
    weights = find_model("cid_tiny")
    train(recipe, *sets, tmp_path, CPU, weights=weights, callback=notes)
    said = json.loads((tmp_path / "weights.json").read_text())
    assert said["recipe"] == "cid_tiny"
    assert said["new_keypoints"] == ["head", "neck"]
    assert said["taken_in_part"]["keypoint_head.bias"] == "13 of 15"
    (note,) = notes.notes
    assert note.startswith(f"Started from {weights.path} (cid_tiny): ")
    best = read_checkpoint(tmp_path)
    assert best.facts["started_from"] == str(weights.path)
    assert best.weights["reduce.weight"].equal(weights.weights["reduce.weight"].float())
    again = Notes()
    train(recipe, *sets, tmp_path, CPU, resume=True, callback=again)
    assert again.notes == [f"This run was started from {weights.path} (weights.json)."]


def test_a_callback_of_an_earlier_version_hears_no_note(tmp_path: Path) -> None:
    class Earlier(NullCallback):
        def __getattribute__(self, name: str) -> Any:
            if name == "on_note":
                raise AttributeError(name)
            return super().__getattribute__(name)

    train(
        small_recipe(epochs=1), crowds(), crowds("val", 2), tmp_path, CPU,
        weights=find_model("cid_tiny"), callback=Earlier(),
    )  # fmt: skip
    assert (tmp_path / "weights.json").is_file()


# ------------------------------------------------------------------------------ frozen backbones


def backbone_of(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: value for name, value in weights.items() if name.startswith("backbone.")}


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_a_frozen_backbone_stays_with_its_statistics(tmp_path: Path, optimizer: str) -> None:
    weights = find_model("cid_tiny")
    decay: dict[str, Any] = {"weight_decay": 0.1, "momentum": 0.9 if optimizer == "sgd" else 0.0}
    recipe = small_recipe(
        frozen_epochs=ALL_EPOCHS, optimizer=optimizer, lr=1e-3, ema_decay=0.9, **decay
    )
    sets = (crowds(), crowds("val", 2))
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    train(recipe, *sets, whole, CPU, weights=weights)
    last, best = (
        read_checkpoint(place).weights
        for place in (whole / "checkpoints" / "last.safetensors", whole)
    )
    started = {name: value.to(last[name]) for name, value in weights.weights.items()}
    frozen = backbone_of(started)
    assert any("running_mean" in name for name in frozen)
    assert all(last[name].equal(value) for name, value in frozen.items())
    assert all(best[name].equal(value) for name, value in frozen.items())  # the average
    assert not last["reduce.weight"].equal(started["reduce.weight"])
    _, state = TrainingState(whole / "checkpoints").read()
    (group,) = state["optimizer"]["param_groups"]
    heads = [n for n, _ in recipe.build(COCO).named_parameters() if not n.startswith("backbone.")]
    assert len(group["params"]) == len(heads) == len(state["optimizer"]["state"])
    with pytest.raises(Interrupted):
        train(recipe, *sets, cut, CPU, weights=weights, callback=StopAfter(1))
    train(recipe, *sets, cut, CPU, resume=True)
    resumed = read_checkpoint(cut / "checkpoints" / "last.safetensors").weights
    assert all(resumed[name].equal(value) for name, value in last.items())
