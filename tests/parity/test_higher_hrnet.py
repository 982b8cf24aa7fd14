"""HigherHRNet against the published implementation, case by case of the fixture folder."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from posebench.engine.weights import convert_published
from posebench.layers.affine import invert, resize_affine, square_affine
from posebench.models.higher_hrnet.assignment import assign
from posebench.models.higher_hrnet.decoding import (
    GROUPING_ORDER,
    HigherHRNetOutputs,
    resize_maps,
    resize_tags,
)
from posebench.models.higher_hrnet.grouping import find_candidates, group
from posebench.models.higher_hrnet.losses import heatmap_loss, loss_terms, tag_losses
from posebench.models.higher_hrnet.model import HigherHRNet
from posebench.models.higher_hrnet.recipes import HigherHRNetConfig
from posebench.models.higher_hrnet.refinement import adjust, refine
from posebench.models.higher_hrnet.targets import HigherHRNetTargets, build_targets
from posebench.preprocess import collate, warp_sample
from posebench.skeleton import COCO, CROWDPOSE, Skeleton
from posebench.structures import Batch, Geometry, Inference, Poses, Resize, Sample, box_corners
from posebench.transfer import moved
from tests.parity.compare import FLOAT32, assert_close
from tests.parity.device import CPU, DEVICE, cpu_tensor, placed, tensor
from tests.parity.fixtures import Shape, cases, key_file, stored_tensors
from tests.parity.reference import reference_state_dict

BACKBONE_OF_WIDTH = {32: "hrnet_w32", 40: "hrnet_w40", 48: "hrnet_w48"}
PUSH_PULL = 0.001
# The README's tolerance. Tags have no bounds: above a hundred, the same share of the largest tag.
TAGS = {"absolute": 1e-4, "relative": 1e-6}


def skeleton_of(num_keypoints: int) -> Skeleton:
    return {17: COCO, 14: CROWDPOSE}[num_keypoints]


def stored(shape: Shape) -> Shape:
    """Return the shape of a stored gradient: of a large one, the README says, the first 8 rows."""
    return (8, *shape[1:]) if math.prod(shape) > 40_000 else shape


def load_model(path: Path, case: Any) -> HigherHRNet:
    """Return the network of a case."""
    known = stored_tensors(case)
    if "out_quarter" in case:
        channels, width = case["out_quarter"].shape[1], case["feat_quarter_mean"].shape[1]
        known["final_layers.0.weight"] = (channels, width, 1, 1)
    published = reference_state_dict(
        key_file(path, known, stored), float(case.get("weight_gain", 1.0))
    )
    width = published["final_layers.0.weight"].shape[1]
    outputs = [len(published[name]) for name in published if name.startswith("final_layers")][::2]
    blocks = {n.split(".")[2] for n in published if n.startswith("deconv_layers.0.")}
    config = HigherHRNetConfig(
        backbone=BACKBONE_OF_WIDTH[width],
        deconvolutions=len(outputs) - 1,
        blocks=max(len(blocks) - 1, 0),
    )
    model = HigherHRNet(config, skeleton_of(outputs[0] // 2))
    model.load_state_dict(convert_published(published, HigherHRNet.published_names))
    return placed(model.eval())


def rows(pattern: str) -> list[Any]:
    return [
        pytest.param(row, id=f"{path.stem}-{number}")
        for path in cases("higherhrnet", pattern)
        for number, row in enumerate(json.loads(path.read_text()))
    ]


def arrays(pattern: str) -> list[Any]:
    return [pytest.param(path, id=path.stem) for path in cases("higherhrnet", pattern)]


# --------------------------------------------------------------------------------- warps, targets


@pytest.mark.parametrize("row", rows("affine_train*.json"))
def test_affine_train(row: dict[str, Any]) -> None:
    crop = (row["center"], 200 * row["scale"], row["rotation_deg"])
    sizes = (row["input_size"], *row["output_sizes"])
    for name, size in zip(("input", "quarter", "half"), sizes, strict=True):
        assert_close(square_affine(*crop, size), row[f"matrix_{name}"], absolute=1e-4)


@pytest.mark.parametrize("row", rows("resize_test*.json"))
def test_resize_at_every_scale(row: dict[str, Any]) -> None:
    matrix, size = resize_affine(
        (row["image_w"], row["image_h"]),
        Resize(row["input_size"]),
        scale=row["current_scale"],
        smallest=row["min_scale"],
    )
    assert size == (row["resized_w"], row["resized_h"])
    assert_close(matrix, row["matrix"], absolute=1e-4)


def targets_of(case: Any) -> tuple[Batch, HigherHRNetTargets]:
    """Return our targets for a case's people and warp, with its masks."""
    keypoints = cpu_tensor(case["ann_keypoints"])
    skeleton = skeleton_of(keypoints.shape[1])
    count = len(keypoints)
    poses = Poses(
        keypoints[..., :2],
        keypoints[..., 2].long(),
        torch.ones(count, dtype=torch.float64),
        box_corners(torch.ones(count, 4, dtype=torch.float64)),
    )
    width, height = case["image_size_wh"]
    sample = Sample(np.zeros((height, width, 3), np.uint8), poses, 1, "case")
    size = int(case["input_size"])
    warped = warp_sample(
        sample,
        case["mat_input"],
        (size, size),
        mirror_with=skeleton if case["aug_flip"] else None,
    )
    masks = {
        size // int(side): cpu_tensor(case[f"mask_{name}"])[None] > 0
        for name, side in zip(("quarter", "half"), case["output_sizes"], strict=True)
    }
    batch = collate([warped])
    batch = placed(replace(batch, masks=masks))
    return batch, build_targets(batch, (4, 2))


@pytest.mark.parametrize("path", arrays("targets_*.npz"))
def test_targets(path: Path) -> None:
    case = np.load(path)
    _, targets = targets_of(case)
    for maps, name in zip(targets.heatmaps, ("quarter", "half"), strict=True):
        assert_close(maps[0], case[f"heatmaps_{name}"], absolute=1e-6)
    expected = case["tag_index_quarter"]  # (30, K, 2): joint O O + y O + x, flag
    side = int(case["output_sizes"][0])
    found = sorted(
        sorted((k * side**2 + cell) for k, cell in enumerate(row) if cell >= 0)
        for row in targets.cells.tolist()
    )
    packed = [sorted(index for index, flag in row if flag) for row in expected.tolist()]
    assert [row for row in found if row] == sorted(row for row in packed if row)


# ----------------------------------------------------------------------------------------- forward


@pytest.mark.parametrize("path", arrays("forward_*.npz"))
def test_forward(path: Path) -> None:
    case = np.load(path)
    model = load_model(path, case)
    assert {"out_half", "flip_out_quarter", "flip_out_half"} <= set(case.files)
    check_forward(model, case)


def check_forward(model: HigherHRNet, case: Any) -> None:
    """Compare what the network computes with a case."""
    images = tensor(case["image"])
    with torch.inference_mode():
        features = model.features(images)
        outputs = model.heads(features)
        mirrored = model(images[:1].flip(-1))
    step = features.shape[1] // case["feat_quarter_slice"].shape[1]
    assert_close(features[:, ::step], case["feat_quarter_slice"], relative=1e-4)
    for found, prefix in ((outputs, "out"), (mirrored, "flip_out")):
        quarter = torch.cat([found.heatmaps[0], found.tags[:, :, 0]], 1)
        if f"{prefix}_quarter" in case:
            assert_close(quarter, case[f"{prefix}_quarter"], relative=1e-4)
        if f"{prefix}_half" in case:
            assert_close(found.heatmaps[1], case[f"{prefix}_half"], relative=1e-4)


# ---------------------------------------------------------------------------------------- decoding


@pytest.mark.parametrize("row", rows("assignment*.json"))
def test_assignment_takes_the_published_one_of_equal_costs(row: dict[str, Any]) -> None:
    pairs = [list(pair) for pair in assign(np.array(row["cost"], np.float64))]
    assert pairs == [list(pair) for pair in row["munkres_1_1_4"]]


class Replayed(HigherHRNet):
    """Gives a case's stored outputs in place of a network's."""

    def __init__(self, case: Any, skeleton: Skeleton) -> None:
        with torch.device("meta"):
            super().__init__(HigherHRNetConfig(), skeleton)
        self.case = case

    def forward(
        self, images: torch.Tensor, padding: Any = None, people: Any = None
    ) -> HigherHRNetOutputs:
        several = "s1_out_quarter" in self.case
        scale = f"s{images.shape[-1] / 1000:g}_" if several else ""  # see `outputs_of`
        views = ("out", "flip_out")[: len(images)]
        quarter, half = (
            torch.cat([tensor(self.case[f"{scale}{view}_{name}"]).float() for view in views])
            for name in ("quarter", "half")
        )
        keypoints = len(self.skeleton)
        height, width = quarter.shape[-2:]
        return HigherHRNetOutputs(
            (quarter[:, :keypoints], half), quarter[:, keypoints:, None], (4 * height, 4 * width)
        )


def outputs_of(case: Any, kind: str) -> HigherHRNetOutputs:
    """Return the merged outputs that are decoded."""
    prefix = "s1_" if "s1_out_quarter" in case else ""
    keypoints = case[f"{prefix}out_half"].shape[1]
    model = Replayed(case, skeleton_of(keypoints))
    scales = case["scale_factors"].tolist()
    # An image whose width tells the scale; its pixels are not looked at.
    ordered = sorted(scales, key=lambda scale: abs(scale - 1))
    batches = [
        batch_of(torch.zeros(1, 3, 1, round(1000 * scale), device=DEVICE)) for scale in ordered
    ]
    return model.merged_outputs(batches, Inference(Resize(1), flip=kind == "flip"))


def batch_of(images: torch.Tensor) -> Batch:
    identity = torch.eye(2, 3, dtype=torch.float64)[None]
    sizes = torch.tensor([images.shape[:1:-1]])
    return Batch(images, [], {}, Geometry(identity, torch.tensor([False]), sizes), [], [], [])


def kinds_of(path: Path) -> list[str]:
    case = np.load(path)
    return [kind for kind in ("noflip", "flip") if f"{kind}_matched" in case]


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        pytest.param(path, kind, id=f"{path.stem}-{kind}")
        for path in cases("higherhrnet", "decode_*.npz")
        for kind in kinds_of(path)
    ],
)
def test_decode(path: Path, kind: str) -> None:
    case = np.load(path)
    outputs = outputs_of(case, kind)
    width, height = case["resized_size_wh"].tolist()
    assert outputs.size == (height, width)
    model = Replayed(case, skeleton_of(outputs.tags.shape[1]))
    heatmaps = resize_maps(model.aggregated(outputs), outputs.size)[0]
    tags = resize_tags(model.fine_tags(outputs), outputs.size)[0]  # (K, T, H, W)
    assert_close(heatmaps[:, 3::8, 3::8], case[f"{kind}_heatmaps_sub8"], absolute=1e-4)
    assert_close(tags[:, :, 3::8, 3::8].permute(0, 2, 3, 1), case[f"{kind}_tags_sub8"], **TAGS)
    enlarged = HigherHRNetOutputs((heatmaps[None],), tags[None], outputs.size)
    heatmaps, tags = moved((heatmaps, tags), CPU)
    candidates = find_candidates(heatmaps, tags)
    strong = case[f"{kind}_topk_val"] > 0.1
    assert_close(candidates.scores[strong], case[f"{kind}_topk_val"][strong], absolute=1e-4)
    assert_close(candidates.cells[strong], case[f"{kind}_topk_loc_xy"][strong])
    assert_close(candidates.tags[strong], case[f"{kind}_topk_tag"][strong], **TAGS)
    people, own_tags = group(candidates, tuple(k for k in GROUPING_ORDER if k < len(heatmaps)))
    assert_people(people, case[f"{kind}_matched"], absolute=1e-4)
    on_cpu, tags_on_cpu = heatmaps.numpy(), tags.contiguous().numpy()
    adjusted = adjust(people, on_cpu)
    assert_people(adjusted, case[f"{kind}_adjusted"], absolute=1e-4)
    refined = refine(adjusted, np.stack([t.mean(0) for t in own_tags]), on_cpu, tags_on_cpu)
    assert_people(refined, case[f"{kind}_refined"], absolute=1e-3)

    image_size = tuple(case["image_size_wh"].tolist())
    scales = case["scale_factors"].tolist()
    matrix, _ = resize_affine(
        image_size, Resize(int(case["input_size"])), scale=1.0, smallest=min(scales)
    )
    size = torch.tensor([[width, height]])
    geometry = Geometry(cpu_tensor(invert(matrix))[None], torch.tensor([False]), size)
    (predictions,) = model.decode(enlarged, geometry)
    expected_scores = case[f"{kind}_person_scores"]
    order = np.argsort(-expected_scores, kind="stable")
    final = case[f"{kind}_final_image"][order]
    assert_close(predictions.keypoints, final[..., :2], absolute=1e-3, relative=FLOAT32)
    assert_close(predictions.keypoint_scores, final[..., 2], absolute=1e-4)
    assert_close(predictions.scores, expected_scores[order], absolute=1e-4)


def assert_people(found: Any, expected: Any, absolute: float) -> None:
    """Compare people (P, K, 3 + T): coordinates to a tolerance of pixels, scores, and tags."""
    assert_close(found[..., :2], expected[..., :2], absolute=absolute)
    assert_close(found[..., 2], expected[..., 2], absolute=1e-4)
    assert_close(found[..., 3:], expected[..., 3:], **TAGS)


# ------------------------------------------------------------------------------------------ losses


def cells_of(index: torch.Tensor, side: int) -> torch.Tensor:
    """Return (P, K) cells of the published (30, K, 2) rows, in which keypoints come packed."""
    count, keypoints = index.shape[:2]
    cells = torch.full((count, keypoints), -1)
    for person in range(count):
        for position, flag in index[person].tolist():
            if flag:
                cells[person, position // side**2] = position % side**2
    return cells


def stored_targets(case: Any) -> HigherHRNetTargets:
    side = case["heatmaps_quarter"].shape[-1]
    people, cells = [], []
    for image, index in enumerate(cpu_tensor(case["tag_index_quarter"])):
        cells.append(cells_of(index, side))
        people.append(torch.full((len(index),), image))
    return HigherHRNetTargets(
        heatmaps=(tensor(case["heatmaps_quarter"]), tensor(case["heatmaps_half"])),
        masks=(tensor(case["mask_quarter"])[:, None] > 0, tensor(case["mask_half"])[:, None] > 0),
        people=torch.cat(people),
        cells=torch.cat(cells),
    )


@pytest.mark.parametrize("path", [p for p in arrays("loss_*.npz") if "train" not in str(p.id)])
def test_losses_and_gradients(path: Path) -> None:
    case = np.load(path)
    targets = stored_targets(case)
    quarter = tensor(case["out_quarter"]).requires_grad_()
    half = tensor(case["out_half"]).requires_grad_()
    keypoints = half.shape[1]
    heatmaps, tags = quarter[:, :keypoints], quarter[:, keypoints:]
    first = heatmap_loss(heatmaps, targets.heatmaps[0], targets.masks[0])
    second = heatmap_loss(half, targets.heatmaps[1], targets.masks[1])
    push, pull = tag_losses(tags, targets.people, targets.cells)
    assert_close(first.detach(), case["heatmap_loss_quarter"], relative=1e-5)
    assert_close(second.detach(), case["heatmap_loss_half"], relative=1e-5)
    assert_close(PUSH_PULL * push.detach(), case["push_loss"], relative=1e-5)
    assert_close(PUSH_PULL * pull.detach(), case["pull_loss"], relative=1e-5)
    total = (first + second + PUSH_PULL * (push + pull)).mean()
    assert_close(total.detach(), case["total_loss"], relative=1e-5)
    total.backward()
    assert quarter.grad is not None
    assert half.grad is not None
    grad = quarter.grad
    assert_close(grad[:, :keypoints], case["grad_heatmaps_quarter"], relative=1e-5)
    assert_close(grad[:, keypoints:], case["grad_tags_quarter"], relative=1e-5)
    assert_close(half.grad[..., ::2, ::2], case["grad_heatmaps_half_sub2"], relative=1e-5)
    for name in (
        key.removesuffix("_push") for key in case if re.fullmatch(r"ae_small\d+_push", key)
    ):
        index = cpu_tensor(case[f"{name}_tag_index"])[0]
        small = tensor(case["ae_small_tags"])
        cells = cells_of(index, small.shape[-1])
        push, pull = tag_losses(small, torch.zeros(len(cells), dtype=torch.int64), cells)
        assert_close(push, case[f"{name}_push"], relative=1e-5, absolute=1e-7)
        assert_close(pull, case[f"{name}_pull"], relative=1e-5, absolute=1e-7)


@pytest.mark.parametrize("path", arrays("loss_train*.npz"))
def test_training_step(path: Path) -> None:
    case = np.load(path)
    model = load_model(path, case).double().train()
    targets = stored_targets(case)
    outputs = model(tensor(case["image"]).double())
    assert_close(
        heatmap_loss_64(outputs.heatmaps[0], targets.heatmaps[0], targets.masks[0]),
        case["heatmap_loss_quarter"],
        relative=1e-5,
    )
    terms = loss_terms(outputs, targets, model.config)
    total = torch.stack([term.double() for term in terms.values()]).sum()
    assert_close(total.detach(), case["total_loss"], relative=1e-5)
    total.backward()
    converted = {name: p.grad for name, p in model.named_parameters()}
    back = {ours: published for published, ours in HigherHRNet.published_names.items()}
    gradients = {}
    for name, gradient in converted.items():
        prefix = next(p for p in back if name.startswith(p))
        gradients[back[prefix] + name.removeprefix(prefix)] = gradient
    for key in (key for key in case if key.startswith("grad/")):
        expected = case[key]
        found = gradients[key.removeprefix("grad/")]
        assert found is not None
        assert_close(found[: len(expected)], expected, relative=1e-5)
    norms = dict(zip(case["grad_norm_names"].tolist(), case["grad_norms"].tolist(), strict=True))
    largest = max(norms.values())
    for name, expected_norm in norms.items():
        gradient = gradients[name]
        assert gradient is not None
        assert abs(float(gradient.norm()) - expected_norm) <= 1e-5 * max(
            expected_norm, 1e-4 * largest
        )


def heatmap_loss_64(maps: torch.Tensor, targets: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    return ((maps - targets).square() * mask).mean((1, 2, 3)).detach()
