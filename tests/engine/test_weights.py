"""Published checkpoints: names mapped, everything checked, no code run."""

from __future__ import annotations

import argparse
import pickle
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from posebench.engine import read_checkpoint
from posebench.engine.torch_files import read_state_dict
from posebench.engine.weights import convert_published, import_published, unwrapped
from posebench.errors import ModelError
from posebench.models import RECIPES, PoseModel
from posebench.models.base import Release
from posebench.models.cid.model import CID
from posebench.models.group_pose import GroupPose
from posebench.recipe import Recipe, with_settings
from posebench.skeleton import CROWDPOSE

RECIPE = RECIPES["cid_hrnet_w32_crowdpose"]


def build(recipe: Recipe) -> PoseModel:
    assert recipe.skeleton is not None
    return recipe.build(recipe.skeleton)


def published_names(recipe: Recipe) -> Mapping[str, str]:
    return meta_model(recipe).published_names


def meta_model(recipe: Recipe) -> PoseModel:
    with torch.device("meta"):
        return recipe.build(recipe.skeleton or CROWDPOSE)


PUBLISHED = [name for name, recipe in RECIPES.items() if published_names(recipe)]


def as_published(
    weights: dict[str, Tensor], names: Any, prefix: str = "", model: PoseModel | None = None
) -> dict[str, Tensor]:
    """Return our weights under the authors' names: the mappings read backwards."""
    published = {}
    stacks = model.published_stacks if model else {}
    for name, value in weights.items():
        stacked = [(t, o) for t, o in stacks.items() if name.startswith(o)]
        if model and stacked:
            [(theirs, own)] = stacked
            count = len(model.skeleton)
            parts = value.chunk(count) if value.dim() else [value] * count
            for number, part in enumerate(parts):
                key = prefix + theirs.replace("*", str(number)) + name.removeprefix(own)
                published[key] = part.clone()
            continue
        (theirs,) = (t + name.removeprefix(o) for t, o in names.items() if name.startswith(o))
        published[prefix + theirs] = value
    return published


@pytest.fixture(scope="module")
def ours() -> dict[str, Tensor]:
    torch.manual_seed(0)
    return build(RECIPE).state_dict()


@pytest.fixture(scope="module")
def published(ours: dict[str, Tensor]) -> dict[str, Tensor]:
    return as_published(ours, published_names(RECIPE))


@pytest.mark.parametrize("wrapped", ["bare", "state_dict", "model"])
@pytest.mark.parametrize("prefix", ["", "module."])
def test_a_published_checkpoint_is_imported(
    tmp_path: Path, ours: dict[str, Tensor], wrapped: str, prefix: str
) -> None:
    published = as_published(ours, published_names(RECIPE), prefix)
    assert f"{prefix}gfd.conv_down.weight" in published
    path, out = tmp_path / "published.pth.tar", tmp_path / "weights" / "ours.safetensors"
    state = {"epoch": 139, "optimizer": {"state": {}, "param_groups": [{"lr": 1e-3}]}}
    torch.save(published if wrapped == "bare" else {**state, wrapped: published}, path)
    assert len(import_published(path, RECIPE, out).weights) == len(ours)
    checkpoint = read_checkpoint(out)
    assert checkpoint.recipe == RECIPE
    assert checkpoint.skeleton == CROWDPOSE
    assert checkpoint.facts == {"imported_from": "published.pth.tar", "release": "the authors"}
    assert all(torch.equal(checkpoint.weights[name], ours[name]) for name in ours)


def test_the_file_format_of_old_torch_is_imported(
    tmp_path: Path, published: dict[str, Tensor]
) -> None:
    path = tmp_path / "old.pth"
    torch.save(published, path, _use_new_zipfile_serialization=False)
    assert len(import_published(path, RECIPE, tmp_path / "x.safetensors").weights) == len(published)


def test_names_are_converted_by_prefix() -> None:
    one, two, three = (torch.full((1,), float(number)) for number in range(3))
    converted = convert_published(
        {"module.iia.head.weight": one, "module.bias": two, "iia": three},
        {"iia.head.": "keypoint_head."},
    )
    assert converted == {"keypoint_head.weight": one, "bias": two, "iia": three}


def test_files_of_two_parts_are_joined(tmp_path: Path) -> None:
    recipe = with_settings(replace(RECIPES["dekr_tiny"], skeleton=CROWDPOSE), ["rescore=true"])
    model = build(recipe)
    with_scoring = {**model.published_names, **model.other_releases[0].names}
    published = as_published(model.state_dict(), with_scoring, model=model)
    scoring = {name for name in published if re.match(r"l\d\.", name)}
    assert len(scoring) == 6
    one, other = tmp_path / "network.pth", tmp_path / "scoring.pth"
    torch.save({n: v for n, v in published.items() if n not in scoring}, one)
    torch.save({f"module.{n}": published[n] for n in scoring}, other)
    tiny = replace(RECIPES["dekr_tiny"], skeleton=CROWDPOSE)
    imported = import_published(one, tiny, tmp_path / "both.safetensors", join=other)
    assert imported.recipe == recipe
    assert imported.facts["joined_from"] == "scoring.pth"
    weights = read_checkpoint(tmp_path / "both.safetensors").weights
    assert all(torch.equal(weights[n], value) for n, value in model.state_dict().items())
    alone = import_published(one, tiny, tmp_path / "one.safetensors")
    assert alone.recipe == tiny
    with pytest.raises(ModelError, match=r"further tensors in network\.pth"):
        import_published(one, tiny, join=one)


def test_layers_published_one_by_one_are_put_in_the_order_of_their_numbers() -> None:
    published = {f"head.{number}.3.weight": torch.full((1, 2), number) for number in (10, 9, 2)}
    published |= {f"head.{number}.3.count": torch.tensor(7) for number in (2, 9, 10)}
    converted = convert_published(published, {}, (), {"head.*.3.": "heads.third."})
    assert set(converted) == {"heads.third.weight", "heads.third.count"}
    assert converted["heads.third.weight"].tolist() == [[2, 2], [9, 9], [10, 10]]
    assert converted["heads.third.count"] == 7


@pytest.mark.parametrize("name", PUBLISHED)
def test_every_parameter_has_one_published_name(name: str) -> None:
    model = meta_model(RECIPES[name])
    stacks = model.published_stacks
    weights = dict(model.state_dict())
    published = as_published(weights, model.published_names, model=model)
    converted = convert_published(published, model.published_names, (), stacks)
    assert {n: v.shape for n, v in converted.items()} == {n: v.shape for n, v in weights.items()}
    one_by_one = {n for n in weights if any(n.startswith(own) for own in stacks.values())}
    more = (len(model.skeleton) - 1) * len(one_by_one)
    assert len(published) == len(weights) + more
    assert all(converted[n] is value for n, value in weights.items() if n not in one_by_one)


@pytest.mark.parametrize("name", [name for name in PUBLISHED if name.endswith("_tiny")])
def test_every_methods_published_names_are_imported(tmp_path: Path, name: str) -> None:
    recipe = replace(RECIPES[name], skeleton=CROWDPOSE)
    weights = build(recipe).state_dict()
    path, out = tmp_path / "published.pth", tmp_path / "ours.safetensors"
    published = as_published(weights, published_names(recipe), "module.", meta_model(recipe))
    torch.save({"state_dict": published, "epoch": 3}, path)
    assert len(import_published(path, recipe, out).weights) == len(weights)
    imported = read_checkpoint(out).weights
    assert all(torch.equal(imported[key], value) for key, value in weights.items())
    torch.save({**published, next(iter(published)): torch.zeros(1)}, path)
    with pytest.raises(ModelError, match="does not fit"):
        import_published(path, recipe, out)


def test_a_checkpoint_that_lacks_tensors_is_told_of_its_method(
    tmp_path: Path, ours: dict[str, Tensor]
) -> None:
    published = as_published(ours, CID.published_names)
    path = tmp_path / "published.pth"
    torch.save(dict(list(published.items())[1:]), path)
    with pytest.raises(ModelError, match="its names are those of cid, so tensors are missing"):
        import_published(path, None)


@pytest.mark.parametrize("release", CID.other_releases, ids=lambda release: release.source)
def test_a_checkpoint_of_mmpose_is_recognised_by_its_names(
    release: Release, tmp_path: Path, ours: dict[str, Tensor]
) -> None:
    path, out = tmp_path / "mmpose.pth", tmp_path / "ours.safetensors"
    published = as_published(ours, release.names)
    torch.save({"meta": {}, "state_dict": {**published, "data_preprocessor.mean": torch.ones(3)}
                if release.left_out else published}, path)  # fmt: skip
    import_published(path, RECIPE, out)
    checkpoint = read_checkpoint(out)
    assert checkpoint.facts["release"] == release.source
    assert checkpoint.recipe.config == with_settings(RECIPE, release.settings).config
    assert checkpoint.recipe.inference == with_settings(RECIPE, release.settings).inference
    assert all(torch.equal(checkpoint.weights[name], ours[name]) for name in ours)
    assert isinstance(checkpoint.model(), CID)


def test_the_wrapper_of_half_precision_is_taken_off(tmp_path: Path) -> None:
    """The authors of HigherHRNet save the network between two conversions of precision."""
    recipe = RECIPES["higher_hrnet_w32_640_coco"]
    weights = build(recipe).state_dict()
    published = {
        f"1.{name}": value.half() if value.dim() == 4 else value
        for name, value in as_published(weights, published_names(recipe)).items()
    }
    path, out = tmp_path / "x.pth.tar", tmp_path / "x.safetensors"
    torch.save(published, path)
    import_published(path, recipe, out)
    found = read_checkpoint(out).weights
    assert {name: value.dtype for name, value in found.items()} == {
        name: value.dtype for name, value in weights.items()
    }
    assert torch.equal(found["heatmap_heads.0.bias"], weights["heatmap_heads.0.bias"])


def test_a_checkpoint_of_another_recipe_names_the_one_that_fits(
    tmp_path: Path, published: dict[str, Tensor]
) -> None:
    path = tmp_path / "x.pth"
    torch.save(published, path)
    message = refused(path, "does not fit", RECIPES["higher_hrnet_w32_crowdpose"])
    assert "It fits cid_hrnet_w32_crowdpose: choose by --recipe." in message
    torch.save({"some.weight": torch.zeros(2)}, path)
    assert "No recipe fits it" in refused(path, "does not fit")


def test_a_recipe_that_is_not_named_is_the_only_one_that_fits(
    tmp_path: Path, published: dict[str, Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "x.pth"
    torch.save(published, path)
    imported = import_published(path, None)
    assert imported.recipe.name == "cid_hrnet_w32_crowdpose"
    assert read_checkpoint(Path("weights/cid_hrnet_w32_crowdpose.safetensors")).weights.keys()
    weights = build(RECIPES["cid_hrnet_w32_coco"]).state_dict()
    torch.save(as_published(weights, published_names(RECIPE)), path)
    with pytest.raises(ModelError, match="fits cid_hrnet_w32_coco and cid_hrnet_w32_ochuman"):
        import_published(path, None)


@pytest.mark.parametrize("prefix", ["module.", "ema_model.module.", "_orig_mod.", "model.", "1."])
def test_the_prefixes_of_wrappers_are_taken_off(prefix: str) -> None:
    wrapped = {f"{prefix}backbone.conv1.weight": torch.ones(1), f"{prefix}gfd.x": torch.ones(1)}
    assert list(unwrapped(wrapped)) == ["backbone.conv1.weight", "gfd.x"]
    counted = {"module.a.b": torch.ones(1), "steps": torch.ones(1)}  # as MMEngine averages
    assert list(unwrapped(counted)) == ["a.b"]


def test_what_a_checkpoint_names_beside_its_tensors_is_stepped_over(
    tmp_path: Path, published: dict[str, Tensor], ours: dict[str, Tensor]
) -> None:
    path, trace = tmp_path / "x.pth", tmp_path / "was_here"
    meta = {"best": np.float32(0.7), "sigmas": np.ones(17), "hook": RunsCode(trace)}
    for old in (False, True):
        torch.save(
            {"state_dict": {**published, "steps": 3}, "meta": meta, "optimizer": {}},
            path,
            _use_new_zipfile_serialization=not old,
        )
        imported = import_published(path, RECIPE, tmp_path / "x.safetensors")
        assert imported.weights.keys() == ours.keys()
    assert not trace.exists()


def test_a_script_that_would_be_run_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.pt"
    torch.jit.script(torch.nn.Linear(2, 3)).save(path)
    refused(path, "is not a PyTorch checkpoint")


def test_a_method_without_published_weights_says_so(tmp_path: Path) -> None:
    recipe = RECIPES["dgcn_resnet50_coco"]
    refused(tmp_path / "x.pth", "have published no weights.*posebench train dgcn", recipe)


def test_what_the_published_network_never_reads_is_left_out(tmp_path: Path) -> None:
    recipe = RECIPES["posedet_dla34_crowdpose"]
    weights = build(recipe).state_dict()
    published = as_published(weights, published_names(recipe))
    for level in (3, 4):
        published[f"backbone.level{level}.project.0.weight"] = torch.zeros(1)
    assert len(published) == len(weights) + 2
    path, out = tmp_path / "x.pth", tmp_path / "x.safetensors"
    torch.save({"state_dict": published}, path)
    assert len(import_published(path, recipe, out).weights) == len(weights)
    assert read_checkpoint(out).weights.keys() == weights.keys()


def refused(path: Path, match: str, recipe: Recipe = RECIPE) -> str:
    """Check that a file is refused and nothing is written, and return the message."""
    out = path.parent / "weights" / "x.safetensors"
    with pytest.raises(ModelError, match=match) as caught:
        import_published(path, recipe, out)
    assert not out.parent.exists()
    return str(caught.value)


def test_a_checkpoint_that_does_not_fit_is_refused_with_what_differs(
    tmp_path: Path, published: dict[str, Tensor]
) -> None:
    path = tmp_path / "x.pth"
    changed = {k: v for k, v in published.items() if k != "gfd.conv_down.bias"}
    torch.save({**changed, "gfd.extra": torch.zeros(1)}, path)
    message = refused(path, r"x\.pth does not fit the model in 2 of")
    assert "reduce.bias is missing" in message
    assert "gfd.extra is not in the model" in message


def test_a_checkpoint_of_another_keypoint_set_is_refused_with_its_shapes(
    tmp_path: Path, published: dict[str, Tensor]
) -> None:
    path = tmp_path / "x.pth"
    torch.save(published, path)
    message = refused(path, "does not fit", RECIPES["cid_hrnet_w32_coco"])
    assert "keypoint_head.bias is (15,) instead of (18,)" in message


class RunsCode:
    """A pickle of this creates a file when it is loaded."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.file,)


@pytest.mark.parametrize("protocol", ["torch", "pickle"])
def test_a_checkpoint_that_runs_code_is_refused_unrun(tmp_path: Path, protocol: str) -> None:
    path, trace = tmp_path / "x.pth", tmp_path / "was_here"
    if protocol == "torch":
        torch.save({"state_dict": RunsCode(trace)}, path)
    else:
        path.write_bytes(pickle.dumps(RunsCode(trace), protocol=2))
    refused(path, "would run code: it was refused")
    assert not trace.exists()


def test_a_whole_pickled_network_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.pth"
    torch.save(torch.nn.Linear(2, 3), path)
    refused(path, r"Save its state dict alone: torch\.save")


@pytest.mark.parametrize("content", ["empty", "text", "html", "cut", "cut old", "head of old"])
def test_a_file_that_is_no_checkpoint_is_told(tmp_path: Path, content: str) -> None:
    path = tmp_path / "x.pth"
    torch.save({"a": torch.zeros(100)}, path)
    new = path.read_bytes()
    torch.save({"a": torch.zeros(100)}, path, _use_new_zipfile_serialization=False)
    old = path.read_bytes()
    contents = {
        "empty": b"",
        "text": b"not found\n",
        "html": b"<!DOCTYPE html>\n<html>",  # what a download behind a login leaves
        "cut": new[: len(new) // 2],
        "cut old": old[: len(old) // 2],
        "head of old": old[:30],
    }
    path.write_bytes(contents[content])
    kinds = {"empty": "is an empty file", "html": "is a web page"}
    refused(path, kinds.get(content, "is not a PyTorch checkpoint, or it is cut short"))


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    refused(tmp_path / "x.pth", "there is no such file")
    refused(tmp_path, "there is no such file")


@pytest.mark.parametrize("content", [{}, {"state_dict": {}}, {"epoch": 3}, torch.zeros(3), [1]])
def test_a_checkpoint_without_a_state_dict_is_told(tmp_path: Path, content: Any) -> None:
    path = tmp_path / "x.pth"
    torch.save(content, path)
    refused(path, "holds no state dict")


def test_what_is_saved_twice_or_can_be_computed_is_left_out() -> None:
    names = [
        "class_embed.0.bias",
        "transformer.decoder.class_embed.0.bias",
        "backbone.0.layers.0.blocks.1.attn.relative_position_index",
        "backbone.0.layers.0.downsample.norm.bias",
        "backbone.0.layers.1.blocks.0.norm1.bias",
        "backbone.0.norm3.weight",
        "transformer.decoder.layers.2.norm1.bias",
    ]
    model = GroupPose
    published = {name: torch.zeros(1) for name in names}
    converted = convert_published(published, model.published_names, model.ignored_checkpoint_keys)
    assert list(converted) == [
        "class_heads.0.bias",
        "backbone.stages.layers_1.downsample.norm.bias",
        "backbone.stages.layers_1.blocks.0.norm1.bias",
        "backbone.norms.2.weight",
        "decoder.2.norm1.bias",
    ]


def test_a_checkpoint_may_hold_its_command_lines_options(tmp_path: Path) -> None:
    path = tmp_path / "published.pth"
    weight = torch.ones(2)
    torch.save({"model": {"a": weight}, "args": argparse.Namespace(lr=1e-4)}, path)
    assert read_state_dict(path)["a"].equal(weight)
