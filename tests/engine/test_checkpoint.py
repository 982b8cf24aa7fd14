"""Checkpoints: saved, read back, and told apart from what is none."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from posebench.engine.checkpoint import (
    TrainingState,
    load_weights,
    read_checkpoint,
    save_weights,
)
from posebench.engine.runs import find_checkpoint
from posebench.errors import ModelError
from posebench.models import RECIPES, PoseModel
from posebench.recipe import override, recipe_to_json
from posebench.skeleton import COCO, CROWDPOSE

RECIPE = override(RECIPES["cid_tiny"], "embedding=4")


def model_of(seed: int) -> PoseModel:
    torch.manual_seed(seed)
    model: PoseModel = RECIPE.build(CROWDPOSE)
    return model


def save(path: Path, seed: int = 0, **facts: Any) -> dict[str, Tensor]:
    model = model_of(seed)
    path.parent.mkdir(exist_ok=True)
    save_weights(path, model, RECIPE, CROWDPOSE, facts)
    return model.state_dict()


def same(found: dict[str, Tensor], expected: dict[str, Tensor]) -> bool:
    return found.keys() == expected.keys() and all(
        torch.equal(found[name], expected[name]) for name in expected
    )


def test_a_checkpoint_is_read_as_it_was_saved(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    weights = save(path, epoch=3, metrics={"AP": 0.5})
    checkpoint = read_checkpoint(path)
    assert checkpoint.path == path
    assert same(checkpoint.weights, weights)
    assert checkpoint.facts == {"epoch": 3, "metrics": {"AP": 0.5}}
    assert checkpoint.skeleton == CROWDPOSE
    assert checkpoint.recipe.config == RECIPE.config
    model = checkpoint.model()
    assert same(model.state_dict(), weights)
    assert not model.training
    assert model.skeleton == CROWDPOSE
    assert list(tmp_path.iterdir()) == [path]


def test_a_network_with_its_channels_innermost_is_saved_like_another(tmp_path: Path) -> None:
    model = model_of(0).to(memory_format=torch.channels_last)
    save_weights(tmp_path / "x.safetensors", model, RECIPE, CROWDPOSE, {})
    assert same(read_checkpoint(tmp_path / "x.safetensors").weights, model_of(0).state_dict())


def test_a_run_means_its_best_checkpoint_else_its_last(tmp_path: Path) -> None:
    last = tmp_path / "checkpoints" / "last.safetensors"
    best = tmp_path / "checkpoints" / "best.safetensors"
    save(last, step=2)
    assert find_checkpoint(tmp_path) == last
    save(best, seed=1, step=1)
    assert find_checkpoint(tmp_path) == best
    assert find_checkpoint(last) == last
    assert read_checkpoint(tmp_path).facts["step"] == 1


@pytest.mark.parametrize(
    ("place", "found"), [("", "a folder without checkpoints/"), ("absent", "nothing")]
)
def test_a_place_without_a_checkpoint_is_told(tmp_path: Path, place: str, found: str) -> None:
    with pytest.raises(ModelError, match=f"Expected a run folder.*{found}"):
        find_checkpoint(tmp_path / place)


@pytest.mark.parametrize("part", [0.0, 0.001, 0.5, 0.999])
def test_a_truncated_file_is_told(tmp_path: Path, part: float) -> None:
    path = tmp_path / "x.safetensors"
    save(path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(part * len(whole))])
    with pytest.raises(ModelError, match="damaged or cut short"):
        read_checkpoint(path)


@pytest.mark.parametrize("suffix", ["pth", "pth.tar", "pt"])
def test_a_published_checkpoint_is_told_how_to_be_imported(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"x.{suffix}"
    torch.save({"weight": torch.zeros(2)}, path)
    with pytest.raises(ModelError, match="posebench weights import"):
        read_checkpoint(path)


@pytest.mark.parametrize(
    "metadata",
    [
        None,
        {"format": "pt"},
        {"recipe": "{}", "facts": "{}"},
        {"recipe": "[]", "facts": "{}"},
        {"recipe": "{", "facts": "{}"},
        {"recipe": '{"name": "cid_tiny"}'},
    ],
)
def test_somebody_elses_safetensors_file_is_told(
    tmp_path: Path, metadata: dict[str, str] | None
) -> None:
    path = tmp_path / "x.safetensors"
    save_file({"weight": torch.zeros(2)}, path, metadata)
    with pytest.raises(ModelError, match="does not name its recipe"):
        read_checkpoint(path)


def test_a_recipe_that_this_version_lacks_is_told(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    recipe = {**recipe_to_json(RECIPE, COCO), "name": "cid_of_tomorrow"}
    save_file({"w": torch.zeros(2)}, path, {"recipe": json.dumps(recipe), "facts": "{}"})
    with pytest.raises(ModelError, match="cid_of_tomorrow"):
        read_checkpoint(path)


def test_weights_of_another_network_are_refused_with_what_differs() -> None:
    weights = nn.Linear(2, 3).state_dict()
    model = nn.Sequential(nn.Linear(2, 3))
    with pytest.raises(ModelError) as caught:
        load_weights(model, {**weights, "0.weight": torch.zeros(3, 5)}, "x.safetensors")
    message = str(caught.value)
    assert "x.safetensors does not fit the model in 4 of 2 tensors" in message
    assert "0.bias is missing" in message
    assert "bias is not in the model" in message
    assert "0.weight is (3, 5) instead of (3, 2)" in message


def test_a_network_that_fits_nowhere_lists_no_more_than_eight() -> None:
    with pytest.raises(ModelError) as caught:
        load_weights(model_of(0), {}, "x")
    assert str(caught.value).count("is missing") == 8


def test_refused_weights_leave_the_network_as_it_was() -> None:
    model = nn.Sequential(nn.Linear(2, 3))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(ModelError):
        load_weights(model, {"0.weight": torch.zeros(3, 2)}, "x")
    assert same(model.state_dict(), before)


# --------------------------------------------------------------------------------- training state


def stepped(seed: int) -> tuple[PoseModel, torch.optim.Optimizer]:
    """Return a model and an optimizer that has something to remember."""
    model = model_of(seed)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1 * (seed + 1))
    for parameter in model.parameters():
        parameter.grad = torch.full_like(parameter, float(seed + 1))
    optimizer.step()
    return model, optimizer


def save_state(folder: Path, step: int) -> tuple[PoseModel, torch.optim.Optimizer]:
    model, optimizer = stepped(step)
    TrainingState(folder).save(model, RECIPE, CROWDPOSE, {"step": step}, optimizer.state_dict())
    return model, optimizer


def assert_is(folder: Path, step: int, model: PoseModel, optimizer: torch.optim.Optimizer) -> None:
    checkpoint, state = TrainingState(folder).read()
    assert checkpoint.facts["step"] == step
    assert same(checkpoint.weights, model.state_dict())
    expected = optimizer.state_dict()
    assert state["param_groups"] == expected["param_groups"]
    assert state["state"].keys() == expected["state"].keys()
    for number, moments in expected["state"].items():
        assert all(torch.equal(state["state"][number][name], moments[name]) for name in moments)


def test_a_training_state_is_read_as_it_was_saved(tmp_path: Path) -> None:
    model, optimizer = save_state(tmp_path / "checkpoints", 1)
    assert_is(tmp_path / "checkpoints", 1, model, optimizer)


def test_only_the_newest_state_is_kept(tmp_path: Path) -> None:
    for step in (1, 2, 3):
        model, optimizer = save_state(tmp_path, step)
    assert {path.name for path in tmp_path.iterdir()} == {"last.safetensors", "state-3.pt"}
    assert_is(tmp_path, 3, model, optimizer)


def test_a_run_killed_between_its_two_files_continues_from_the_pair_before(tmp_path: Path) -> None:
    model, optimizer = save_state(tmp_path, 1)
    _, newer = stepped(2)
    torch.save(newer.state_dict(), tmp_path / "state-2.pt")  # and then the plug was pulled
    assert_is(tmp_path, 1, model, optimizer)
    again = save_state(tmp_path, 2)  # the continued run comes by there once more
    assert_is(tmp_path, 2, *again)
    assert {path.name for path in tmp_path.iterdir()} == {"last.safetensors", "state-2.pt"}


def test_a_run_killed_while_it_wrote_weights_continues_from_the_pair_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, optimizer = save_state(tmp_path, 1)

    def killed(*arguments: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("posebench.engine.checkpoint.save", killed)
        with pytest.raises(KeyboardInterrupt):
            save_state(tmp_path, 2)
    assert_is(tmp_path, 1, model, optimizer)


@pytest.mark.parametrize("damage", ["gone", "cut", "empty", "garbage"])
def test_a_lost_or_damaged_state_is_told(tmp_path: Path, damage: str) -> None:
    save_state(tmp_path, 1)
    state = tmp_path / "state-1.pt"
    whole = state.read_bytes()
    state.unlink()
    if damage != "gone":
        state.write_bytes({"cut": whole[: len(whole) // 2], "empty": b"", "garbage": b"?"}[damage])
    with pytest.raises(ModelError, match=r"state-1\.pt cannot be read.*can be evaluated"):
        TrainingState(tmp_path).read()


def test_weights_without_a_training_state_are_not_resumed(tmp_path: Path) -> None:
    save(tmp_path / "last.safetensors", step=1)
    with pytest.raises(ModelError, match="not resumed"):
        TrainingState(tmp_path).read()
