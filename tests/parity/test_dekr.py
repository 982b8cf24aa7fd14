"""DEKR's network against the published implementation, case by case of the fixture folder."""

from __future__ import annotations

import json
import math
import re
from collections import defaultdict
from collections.abc import Mapping
from contextlib import nullcontext
from copy import deepcopy
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from posebench.engine import inference_model
from posebench.engine.weights import convert_published, fit_published
from posebench.layers.affine import invert, resize_affine
from posebench.layers.backbones.hrnet import joined
from posebench.layers.sampling import torch_operations_only
from posebench.models import RECIPES
from posebench.models.dekr.adaptive import AdaptiveBlock, sampling_offsets
from posebench.models.dekr.losses import loss_terms
from posebench.models.dekr.model import DEKR, mirrored_cells
from posebench.models.dekr.recipes import DEKRConfig
from posebench.models.dekr.targets import DEKRTargets
from posebench.skeleton import COCO, CROWDPOSE
from posebench.structures import Batch, Geometry, Inference, Resize
from tests.engine.test_weights import as_published
from tests.parity.compare import assert_close
from tests.parity.dekr import arrays, rows, skeleton_of
from tests.parity.device import placed, tensor
from tests.parity.fixtures import Shape, cases, key_file, stored_tensors
from tests.parity.reference import reference_state_dict

BACKBONE_OF_WIDTH = {32: "hrnet_w32", 48: "hrnet_w48"}
FORWARD = {"relative": 1e-4}  # the README's tolerances
PRECISE = {"relative": 1e-9}


def converted(published: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return published weights by our names."""
    names = DEKR.published_names, DEKR.ignored_checkpoint_keys, DEKR.published_stacks
    return convert_published(published, *names)


def keys_of(path: Path, case: Any) -> Path:
    """Return the key file of a case's network.

    Of large gradients a case holds the first rows alone, so the shapes of vectors decide.
    """
    known: dict[str, Shape | None] = {
        name: shape if shape and len(shape) == 1 else None
        for name, shape in stored_tensors(case).items()
    }
    if "feat_mean" in case:
        width = len(case["feat_mean"]) // 15
        known["head_heatmap.1.weight"] = (case["heatmap"].shape[1], width, 1, 1)
    return key_file(path, known)


@lru_cache(maxsize=1)
def load_model(keys: Path, weight_gain: float) -> DEKR:
    """Return the network of a key file with the reference weights, which is not to be changed."""
    published = reference_state_dict(keys, weight_gain)
    outputs, width = published["head_heatmap.1.weight"].shape[:2]
    model = DEKR(DEKRConfig(backbone=BACKBONE_OF_WIDTH[width]), skeleton_of(outputs - 1))
    model.load_state_dict(converted(published))
    return placed(model.eval())


# ------------------------------------------------------------------------------------------- names


@pytest.mark.parametrize(
    "path", [p for p in arrays("*.keys.json") if not str(p.id).startswith("rescore")]
)
def test_published_weights_are_imported(path: Path) -> None:
    shapes = json.loads(path.read_text())
    published = {name: torch.zeros(shape) for name, shape in shapes.items()}
    outputs, width = shapes["head_heatmap.1.weight"][:2]
    backbone, skeleton = BACKBONE_OF_WIDTH[width], skeleton_of(outputs - 1)
    recipe = RECIPES[f"dekr_{backbone}_{skeleton.name}"]
    fitting, weights, release = fit_published(published, recipe, path.name)
    assert (fitting, release) == (recipe, "the authors")
    with torch.device("meta"):
        own = recipe.build(skeleton).state_dict()
    assert {n: v.shape for n, v in weights.items()} == {n: v.shape for n, v in own.items()}


@pytest.mark.parametrize("path", arrays("rescore*.keys.json"))
def test_the_scoring_net_is_imported_with_a_network(path: Path) -> None:
    shapes = json.loads(path.read_text())
    skeleton = {74: COCO, 59: CROWDPOSE}[shapes["l1.weight"][1]]
    recipe = replace(RECIPES["dekr_tiny"], skeleton=skeleton)
    published = {name: torch.full(shape, 0.5) for name, shape in shapes.items()}
    tiny = recipe.build(skeleton)
    network = as_published(tiny.state_dict(), DEKR.published_names, model=tiny)
    fitting, weights, release = fit_published({**network, **published}, recipe, path.name)
    assert isinstance(fitting.config, DEKRConfig)
    assert (fitting.config.rescore, release) == (True, "the authors, with the scoring net")
    model = fitting.build(skeleton)
    model.load_state_dict(weights)
    assert isinstance(model, DEKR)
    assert model.scoring is not None
    assert all((value == 0.5).all() for value in model.scoring.parameters())


# ----------------------------------------------------------------------------------- sizes, warps


@pytest.mark.parametrize("row", rows("resize_test*.json"))
def test_resize_at_every_scale(row: dict[str, Any]) -> None:
    image_size = (row["image_w"], row["image_h"])
    resize = Resize(row["input_size"], rounding="dekr")
    # The smallest scale of a test does not matter.
    for smallest in (row["scale_factor"], 0.5, 1.0):
        matrix, size = resize_affine(
            image_size, resize, scale=row["scale_factor"], smallest=smallest
        )
        assert size == (row["resized_w"], row["resized_h"])
        assert_close(matrix, row["matrix"], absolute=1e-3)
        base, base_size = resize_affine(image_size, resize, smallest=smallest)
        assert base_size == (row["base_w"], row["base_h"])
        assert_close(invert(base), row["base_inverse_matrix"], absolute=1e-3)


# ----------------------------------------------------------------------------------------- forward


@pytest.mark.parametrize("form", ["compiled", "torchvision", "as predicting"])
@pytest.mark.parametrize("path", arrays("forward_*.npz"))
def test_forward(path: Path, form: str) -> None:
    case = np.load(path)
    model = load_model(keys_of(path, case), float(case["weight_gain"]))
    network = inference_model(model) if form == "as predicting" else model
    assert isinstance(network, DEKR)
    with torch_operations_only() if form == "torchvision" else nullcontext():
        check_forward(network, case)


def check_forward(model: DEKR, case: Any) -> None:
    """Compare what the network computes with a case."""
    images = tensor(case["image"])
    maps: list[Tensor] = []
    hooks = [
        block.get_submodule("conv").register_forward_pre_hook(
            lambda layer, inputs: maps.append(inputs[1])
        )
        for block in model.offset_blocks
    ]
    with torch.inference_mode():
        streams = model.features(images)
        outputs = model.heads(streams)
        for hook in hooks:
            hook.remove()
        mirrored = model(mirrored_cells(images))
        merged = model.merged_outputs([batch_of(images)], Inference(Resize(1), flip=True))
    features = joined(streams)[0]  # a case holds those of its first image
    assert_close(features[tensor(case["feat_channels"]).long()], case["feat_slice"], **FORWARD)
    assert_close(features.mean((1, 2)), case["feat_mean"], **FORWARD)
    assert_close(features.std((1, 2)), case["feat_std"], **FORWARD)
    assert_close(outputs.heatmaps, case["heatmap"], **FORWARD)
    assert_close(outputs.offsets, case["offset"], **FORWARD)
    assert_close(mirrored.heatmaps, case["flip_heatmap"], **FORWARD)
    assert_close(mirrored.offsets, case["flip_offset"], **FORWARD)
    keypoints = len(model.skeleton)
    for key in case:
        if match := re.fullmatch(r"sampling_offset_keypoint(\d+)_block(\d+)", key):
            offsets = sampling_offsets(maps[int(match[2])], keypoints).chunk(keypoints, 1)
            assert_close(offsets[int(match[1])], case[key], **FORWARD)
    for name, found in (("pose", outputs), ("merged_pose", merged)):
        if name in case:
            assert_close(cells_minus(found.offsets), case[name], **FORWARD)
    if "merged_heatmap" in case:
        assert_close(merged.heatmaps, case["merged_heatmap"], **FORWARD)


def cells_minus(offsets: Tensor) -> Tensor:
    """Return the regressed poses (B, 2 K, H, W)."""
    height, width = offsets.shape[-2:]
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    return (placed(torch.stack([x, y])) - offsets.unflatten(1, (-1, 2))).flatten(1, 2)


def batch_of(images: Tensor) -> Batch:
    identity = torch.eye(2, 3, dtype=torch.float64)[None]
    sizes = torch.tensor([images.shape[:1:-1]])
    return Batch(images, [], {}, Geometry(identity, torch.tensor([False]), sizes), [], [], [])


# ---------------------------------------------------------------------------------- adaptive block


def adaptive_cases() -> list[Any]:
    return [
        pytest.param(path, key.removesuffix("_input"), id=f"{path.stem}-{key}")
        for path in cases("dekr", "adaptive_block*.npz")
        for key in np.load(path)
        if key.endswith("_input") and "grad" not in key
    ]


PUBLISHED_LAYERS = {
    "transform_matrix_conv": "matrix", "translation_conv": "shift", "adapt_conv": "conv",
    "bn": "bn",
}  # fmt: skip


@pytest.mark.parametrize(("path", "name"), adaptive_cases())
def test_adaptive_block(path: Path, name: str) -> None:
    """Two keypoints with the same weights and inputs, so that the groups are compared, too."""
    case = np.load(path)
    weights = {}
    for key in case:
        if key.startswith(f"{name}_weight/"):
            layer, _, kind = key.rpartition("/")[2].partition(".")
            weights[f"{PUBLISHED_LAYERS[layer]}.{kind}"] = tensor(case[key])
    features = tensor(case[f"{name}_input"])
    block = placed(AdaptiveBlock(2, features.shape[1]).double().eval())
    doubled = {key: torch.cat([value, value]) for key, value in weights.items()}
    block.load_state_dict({**doubled, "bn.num_batches_tracked": torch.tensor(0)})
    inputs = torch.cat([features, features], 1).double().requires_grad_()
    convolved: list[Tensor] = []
    hook = block.conv.register_forward_hook(lambda layer, given, output: convolved.append(output))
    output = block(inputs)
    hook.remove()
    offsets = sampling_offsets(block.maps(inputs), 2)
    cotangent = tensor(case[f"{name}_cotangent"]).double()
    output.backward(torch.cat([cotangent, cotangent], 1))
    assert inputs.grad is not None
    for found, expected in (
        (offsets, "sampling_offset"), (convolved[0], "convolution"), (output, "output"),
        (inputs.grad, "grad_input"),
    ):  # fmt: skip
        for own in found.detach().chunk(2, 1):
            assert_close(own, case[f"{name}_{expected}"], **PRECISE)
    gradients = dict(block.named_parameters())
    for key in case:
        if key.startswith(f"{name}_grad/"):
            layer, _, kind = key.rpartition("/")[2].partition(".")
            gradient = gradients[f"{PUBLISHED_LAYERS[layer]}.{kind}"].grad
            assert gradient is not None
            for own in gradient.chunk(2):
                assert_close(own, case[key], **PRECISE)
    block.zero_grad()
    block.float()
    with torch.inference_mode():
        compiled = block(inputs.detach().float())
    for own in compiled.chunk(2, 1):
        assert_close(own, case[f"{name}_output"], **FORWARD)


# ---------------------------------------------------------------------------------- initial values


def kind_of(name: str, layer: nn.Module, tensor_name: str) -> str:
    """Return how the fixture calls a tensor of the network."""
    if tensor_name in ("running_mean", "running_var", "num_batches_tracked"):
        return tensor_name
    if isinstance(layer, nn.BatchNorm2d):
        return f"norm.{tensor_name}"
    for published, ours in PUBLISHED_LAYERS.items():
        if re.fullmatch(rf"offset_blocks\.\d+\.{ours}", name):
            return f"{published}.{tensor_name}"
    final = name in ("offset_head", "heatmap_head.1")
    return "conv.weight/final" if final and tensor_name == "weight" else f"conv.{tensor_name}"


def initial_tensors(model: nn.Module) -> dict[str, Tensor]:
    """Return all values of each kind of tensor."""
    kinds = defaultdict(list)
    for name, layer in model.named_modules():
        own = [*layer.named_parameters(recurse=False), *layer.named_buffers(recurse=False)]
        for tensor_name, values in own:
            kinds[kind_of(name, layer, tensor_name)].append(values.detach().flatten())
    return {kind: torch.cat(values) for kind, values in kinds.items()}


def network_of(counts: Mapping[str, int]) -> DEKR:
    """Return the new network that has as many entries of each kind."""
    for backbone in BACKBONE_OF_WIDTH.values():
        for skeleton in (COCO, CROWDPOSE):
            with torch.device("meta"):
                meta = DEKR(DEKRConfig(backbone=backbone), skeleton)
            own = initial_tensors(meta)
            if all(len(own[k]) == counts[k] for k in ("conv.weight", "conv.weight/final")):
                return DEKR(DEKRConfig(backbone=backbone), skeleton)
    raise AssertionError(f"no network has the entries {counts}")


@pytest.mark.parametrize("path", arrays("initial_values*.npz"))
def test_initial_values(path: Path) -> None:
    case = np.load(path)
    fields = ("entries", "mean", "std", "minimum", "maximum")
    expected = {
        str(kind): dict(zip(fields, values, strict=True))
        for kind, *values in zip(case["kinds"], *(case[field] for field in fields), strict=True)
    }
    torch.manual_seed(0)
    found = initial_tensors(
        network_of({kind: int(own["entries"]) for kind, own in expected.items()})
    )
    # Our counters are fewer, since a layer here is one per keypoint there.
    own_kinds = {k for k in expected if not k.startswith("rescore") and k != "regular_matrix"}
    assert set(found) == own_kinds
    for kind, values in found.items():
        wanted = expected[kind]
        if kind != "num_batches_tracked":
            assert len(values) == wanted["entries"]
        values = values.double()
        if wanted["std"] == 0:
            assert (values == wanted["mean"]).all()
            continue
        share = 5 / math.sqrt(len(values))  # five standard deviations of the estimates
        assert abs(float(values.mean())) <= share * wanted["std"]
        assert float(values.std()) == pytest.approx(wanted["std"], rel=share)
        if kind == "adapt_conv.weight":  # uniform
            assert float(values.min()) == pytest.approx(wanted["minimum"], rel=share)
            assert float(values.max()) == pytest.approx(wanted["maximum"], rel=share)


# ---------------------------------------------------------------------------------- training step


def by_published_name(keys: Path, own: Mapping[str, Tensor], keypoints: int) -> dict[str, Tensor]:
    """Return our tensors by their published names, those of groups cut to pieces."""
    values = {}
    for name in json.loads(keys.read_text()):
        for ours in converted({name: torch.zeros(1)}):
            if ours not in own:
                continue
            value = own[ours]
            if match := re.match(r"offset_(?:feature_layers|final_layer)\.(\d+)\.", name):
                value = value.chunk(keypoints)[int(match[1])] if value.dim() else value
            values[name] = value
    return values


@pytest.mark.parametrize("path", arrays("loss_train*.npz"))
def test_training_step(path: Path) -> None:
    case = np.load(path)
    keys = keys_of(path, case)
    model = deepcopy(load_model(keys, float(case["weight_gain"]))).double().train()
    targets = DEKRTargets(
        *(tensor(case[name]) for name in ("heatmap", "heatmap_weight", "offset", "offset_weight"))
    )
    outputs = model(tensor(case["image"]).double())
    assert_close(outputs.heatmaps.detach().mean((2, 3)), case["out_heatmap_mean"], relative=1e-5)
    assert_close(outputs.offsets.detach().mean((2, 3)), case["out_offset_mean"], relative=1e-5)
    terms = loss_terms(outputs, targets, model.config.offset_weight)
    total = torch.stack(list(terms.values())).sum()
    assert_close(total.detach(), case["total_loss"], relative=1e-5)
    total.backward()
    gradients = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    gradients = by_published_name(keys, gradients, len(model.skeleton))
    buffers = by_published_name(keys, dict(model.named_buffers()), len(model.skeleton))
    for key in case:
        kind, _, name = key.partition("/")
        if kind in ("grad", "bn"):
            found = {"grad": gradients, "bn": buffers}[kind][name]
            assert_close(found[: len(case[key])], case[key], relative=1e-5)
    norms = dict(zip(case["grad_norm_names"].tolist(), case["grad_norms"].tolist(), strict=True))
    assert set(norms) == set(gradients)
    largest = max(norms.values())
    for name, expected in norms.items():
        norm = float(gradients[name].norm())
        assert abs(norm - expected) <= 1e-5 * max(expected, 1e-4 * largest)
