"""PoseDet against the published implementation, case by case of the fixture folder."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from posebench.data.transforms import crop_centres, crop_sample
from posebench.engine.weights import convert_published
from posebench.layers.affine import compose, fit_size, invert, square_affine
from posebench.layers.nms import oks_nms, pose_area
from posebench.layers.oks import oks
from posebench.layers.torso import add_torso
from posebench.models.posedet.decoding import MIN_AREA, PoseDetOutputs, mirror_poses
from posebench.models.posedet.model import PoseDet, keypoint_loss
from posebench.models.posedet.point_conv import deformable_point_conv, sampled_point_conv
from posebench.models.posedet.recipes import PoseDetConfig
from posebench.models.posedet.targets import (
    IGNORED,
    PoseDetTargets,
    assign_by_oks,
    assign_nearest,
    build_targets,
    candidate_grid,
    oks_with_people,
    poses_from_offsets,
    published_area,
)
from posebench.preprocess import collate, resize_sample
from posebench.skeleton import COCO, CROWDPOSE, MPII, Skeleton
from posebench.structures import FitResize, Geometry, Poses, Sample, box_corners
from tests.parity.compare import FLOAT32, assert_close
from tests.parity.device import DEVICE, cpu_tensor, placed, tensor
from tests.parity.fixtures import cases, first_64, key_file, stored_tensors
from tests.parity.reference import reference_state_dict

# The README's tolerances; where values exceed ten, the same share of the largest value as at ten.
# With the plain reference weights, HRNet's feature maps reach millions.
FORWARD = {"absolute": 2e-4, "relative": 2e-5}
LOSSES = {"absolute": 1e-4, "relative": 1e-5}


def skeleton_of(points: int) -> Skeleton:
    """Return the skeleton of a case's number of points, the torso included."""
    return next(s for s in (COCO, CROWDPOSE, MPII) if len(s) + (len(s) % 2 == 0) == points)


def arrays(pattern: str) -> list[Any]:
    return [pytest.param(path, id=path.stem) for path in cases("posedet", pattern)]


def new_model(published: dict[str, torch.Tensor]) -> PoseDet:
    """Return a network for a published state dict."""
    width, _, _, points = published["bbox_head.cls_embedding_conv.weight"].shape
    backbone = "dla34"
    if "neck.reduction_conv.conv.weight" in published:
        stream = published["neck.reduction_conv.conv.weight"].shape[1] // 15
        backbone = f"hrnet_w{stream}"
    skeleton = skeleton_of(points)
    # README: the released thresholds.
    config = PoseDetConfig(backbone, width, nms_threshold=0.2 if skeleton is COCO else 0.3)
    return PoseDet(config, skeleton)


def load_model(path: Path, case: Any) -> PoseDet:
    """Return the network of a case."""
    known = stored_tensors(case)
    if offsets := levels(case, "offset_init"):
        known["bbox_head.init_out.bias"] = (offsets[0].shape[1],)
        # With HRNet, the neck makes three levels from one map; with DLA-34, four from four maps.
        neck = "reduction_conv" if len(offsets) == 3 else "lateral_convs.0"
        known[f"neck.{neck}.conv.weight"] = None
    gain = float(case.get("weight_gain", 1.0))
    published = reference_state_dict(key_file(path, known, first_64), gain)
    model = new_model(published)
    model.load_state_dict(converted(published))
    return placed(model.eval())


def converted(published: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return convert_published(published, PoseDet.published_names, PoseDet.ignored_checkpoint_keys)


def levels(case: Any, name: str) -> tuple[torch.Tensor, ...]:
    """Return the case's arrays `name_0`, `name_1`, ..."""
    count = sum(key.removeprefix(f"{name}_").isdigit() for key in case if key.startswith(name))
    return tuple(tensor(case[f"{name}_{i}"]) for i in range(count))


def people_of_image(case: Any, suffix: str = "", prefix: str = "gt_") -> Poses:
    """Return the labelled people of a case's image, and the boxes of the others."""
    keypoints = cpu_tensor(case[f"{prefix}keypoints{suffix}"]).double()
    boxes = cpu_tensor(case[f"{prefix}bboxes{suffix}"]).double().view(-1, 4)
    if keypoints.ndim == 2:
        keypoints = keypoints.view(len(boxes), -1, 3)
    corners = box_corners(torch.cat([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], 1))
    known = cpu_tensor(case[f"{prefix}num_keypoints{suffix}"]) > 0
    area = torch.ones(len(boxes), dtype=torch.float64)
    everyone = Poses(keypoints[..., :2], keypoints[..., 2].long(), area, corners)
    return replace(everyone[known], unlabelled=corners[~known], unlabelled_area=area[~known])


def images_of(case: Any) -> list[Poses]:
    count = sum(key.startswith("gt_bboxes_") for key in case)
    return [people_of_image(case, f"_{image}") for image in range(count)]


def numbers_of(case: Any) -> list[list[int]]:
    """Return, per image, which of the case's people are labelled."""
    count = sum(key.startswith("gt_bboxes_") for key in case)
    return [np.nonzero(case[f"gt_num_keypoints_{i}"])[0].tolist() for i in range(count)]


def targets_of(case: Any, sizes: list[tuple[int, int]], strides: tuple[int, ...]) -> PoseDetTargets:
    return build_targets(images_of(case), sizes, strides, centroid="keypoints", device=DEVICE)


# ----------------------------------------------------------------------------------------- network


@pytest.mark.parametrize("path", arrays("*.keys.json"))
def test_published_names_and_shapes(path: Path) -> None:
    shapes = json.loads(path.read_text())
    with torch.device("meta"):
        published = {name: torch.empty(shape) for name, shape in shapes.items()}
        model = new_model(published)
    ours = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    theirs = {name: tuple(value.shape) for name, value in converted(published).items()}
    assert theirs == ours


@pytest.mark.parametrize("path", arrays("initial_values*.npz"))
def test_initial_values(path: Path) -> None:
    case = np.load(path)
    stored = {name: cpu_tensor(case[name]) for name in case if name != "dcn_base_offset"}
    backbone = "hrnet_w32" if any("neck.reduction_conv" in name for name in stored) else "dla34"
    points = len(case["dcn_base_offset"]) // 2
    state = PoseDet(PoseDetConfig(backbone), skeleton_of(points)).state_dict()
    deviations = {n.removeprefix("std/"): v for n, v in stored.items() if n.startswith("std/")}
    values = {name: value for name, value in stored.items() if not name.startswith("std/")}
    assert values
    for name, value in converted(values).items():
        assert_close(state[name], value, absolute=1e-5)
    for name, deviation in converted(deviations).items():
        assert float(state[name].std()) == pytest.approx(float(deviation), rel=0.1), name


def embedding_cases(path: Path) -> list[str]:
    return [key.removesuffix("_output") for key in np.load(path) if key.endswith("_output")]


@pytest.mark.parametrize(
    ("path", "name"),
    [
        pytest.param(path, name, id=f"{path.stem}-{name}")
        for path in cases("posedet", "pose_embedding*.npz")
        for name in embedding_cases(path)
    ],
)
@pytest.mark.parametrize("embed", [deformable_point_conv, sampled_point_conv])
def test_pose_embedding(path: Path, name: str, embed: Callable[..., torch.Tensor]) -> None:
    case = np.load(path)
    weight = tensor(case[f"{name}_weight"]).requires_grad_()
    features = tensor(case[f"{name}_x"]).requires_grad_()
    offsets = tensor(case[f"{name}_point_offsets_yx"]).requires_grad_()
    output = embed(features, offsets, weight)
    assert_close(output.detach(), case[f"{name}_output"], absolute=1e-5, relative=2e-6)
    (output.flatten() @ torch.linspace(-1, 1, output.numel(), device=DEVICE)).backward()
    for values, key in ((features, "x"), (offsets, "offsets"), (weight, "weight")):
        assert values.grad is not None
        assert_close(values.grad, case[f"{name}_grad_{key}"], relative=1e-5)


def forward(
    model: PoseDet, images: torch.Tensor
) -> tuple[dict[str, Sequence[torch.Tensor]], PoseDetOutputs]:
    """Return the maps of every level, by a case's names, and the outputs that are decoded."""
    embeddings: dict[str, list[torch.Tensor]] = {"cls_embedding": [], "refine_embedding": []}
    hooks = [
        part.register_forward_hook(lambda _, __, output, name=name: embeddings[name].append(output))
        for part, name in (
            (model.classification_embedding, "cls_embedding"),
            (model.regression_embedding, "refine_embedding"),
        )
    ]
    with torch.inference_mode():
        backbone = model.backbone(images)
        neck = model.neck(backbone)
        outputs = model.heads(neck, refine_all=True)
        heatmaps = [model.intermediate(level) for level in neck]
    for hook in hooks:
        hook.remove()
    maps = {
        "backbone": backbone,
        "neck": neck,
        "cls": outputs.logits,
        "offset_init": outputs.coarse,
        "offset_refine": outputs.refined,
        "heatmap": heatmaps,
        **embeddings,
    }
    return maps, outputs


@pytest.mark.parametrize("path", arrays("forward_*.npz"))
def test_forward(path: Path) -> None:
    case = np.load(path)
    model = load_model(path, case)
    maps, outputs = forward(model, tensor(case["images"]))
    for name in ("backbone", "neck", "cls_embedding", "refine_embedding"):
        for computed, expected in zip(maps[name], levels_of_slices(case, name), strict=True):
            # Ours are after the ReLU.
            expected = expected.relu() if name.endswith("embedding") else expected
            images, channels = expected.shape[:2]
            assert_close(computed[:images, :channels], expected, **FORWARD)
    for name in ("cls", "offset_init", "offset_refine", "heatmap"):
        for computed, expected in zip(maps[name], levels(case, name), strict=True):
            assert_close(computed, expected, **FORWARD)
    compare_detections(model, outputs, case)
    with torch.inference_mode():
        compare_detections(model, model.heads(tuple(maps["neck"])), case)


def levels_of_slices(case: Any, name: str) -> list[torch.Tensor]:
    count = sum(key.startswith(f"{name}_") and key.endswith("_slice") for key in case)
    return [tensor(case[f"{name}_{i}_slice"]) for i in range(count)]


def compare_detections(model: PoseDet, outputs: PoseDetOutputs, case: Any) -> None:
    """Compare as a set: candidates with scores of 1e-5 beside each other may change ranks."""
    images = sum(key.startswith("det_poses_") for key in case)
    sizes = [case[f"img_shape_{i}"][:2] for i in range(images)]
    scales = [case[f"scale_factor_{i}"] for i in range(images)]
    for predictions, image in zip(
        model.decode(outputs, geometry_of(sizes, scales)), range(images), strict=True
    ):
        expected = cpu_tensor(case[f"det_poses_{image}"])
        assert len(predictions) == len(expected)
        poses = expected[:, :-1].reshape(len(expected), -1, 3)[:, : len(model.skeleton), :2]
        apart = (predictions.keypoints[:, None] - poses).abs().amax((2, 3))  # (found, expected)
        apart = apart.where((predictions.scores[:, None] - expected[:, -1]).abs() < 1e-4, torch.inf)
        assert (apart.amin(0) < 1e-2).all()
        assert (apart.amin(1) < 1e-2).all()


def geometry_of(sizes_hw: Any, scale_factors: Any) -> Geometry:
    to_image = torch.zeros(len(sizes_hw), 2, 3, dtype=torch.float64)
    for matrix, factors in zip(to_image, scale_factors, strict=True):
        matrix[0, 0], matrix[1, 1] = 1 / float(factors[0]), 1 / float(factors[1])
    sizes = torch.tensor([[int(width), int(height)] for height, width in sizes_hw])
    return Geometry(to_image, torch.zeros(len(sizes), dtype=torch.bool), sizes)


# ---------------------------------------------------------------------------------------- decoding


@pytest.mark.parametrize("path", arrays("post_*.npz"))
def test_decoding(path: Path) -> None:
    case = np.load(path)
    logits, refined = levels(case, "cls"), levels(case, "offset_refine")
    skeleton = skeleton_of(refined[0].shape[1] // 2)
    config = PoseDetConfig(
        backbone="dla34" if len(logits) == 4 else "hrnet_w32",
        nms_threshold=float(case["nms_thr"]),
    )
    with torch.device("meta"):
        model = PoseDet(config, skeleton)
    assert model.strides == tuple(case["strides"].tolist())
    outputs = PoseDetOutputs(logits, refined, refined)
    geometry = geometry_of([case["img_shape"][:2]], [case["scale_factor"]])
    (found,) = model.candidates(outputs, geometry)
    scores = cpu_tensor(case["decoded_scores"])[:, 0]
    good = scores > float(case["score_thr"])
    poses = cpu_tensor(case["decoded_poses"]).reshape(len(scores), -1, 3)[good, :, :2]
    assert len(found.scores) == int(good.sum())
    # Each level comes best first; of equal scores either may.
    ours, theirs = (
        sorted(zip(s.round(decimals=5).tolist(), p[:, 0].tolist(), range(len(s)), strict=True))
        for s, p in ((found.scores, found.keypoints), (scores[good], poses))
    )
    ours_index, theirs_index = ([entry[2] for entry in order] for order in (ours, theirs))
    assert_close(found.scores[ours_index], scores[good][theirs_index], absolute=1e-5)
    assert_close(found.keypoints[ours_index], poses[theirs_index], absolute=1e-2)
    (predictions,) = model.decode(outputs, geometry)
    expected = cpu_tensor(case["det_poses"])
    assert_close(predictions.scores, expected[:, -1], absolute=1e-5)
    final = expected[:, :-1].reshape(len(expected), -1, 3)[:, : len(skeleton), :2]
    assert_close(predictions.keypoints, final, absolute=1e-2)


def isolated() -> list[Any]:
    return [
        pytest.param(path, key.removesuffix("_dets"), id=f"{path.stem}-{key}")
        for path in cases("posedet", "nms_*.npz")
        for key in np.load(path)
        if key.endswith("_dets")
    ]


@pytest.mark.parametrize(("path", "name"), isolated())
def test_suppression(path: Path, name: str) -> None:
    case = np.load(path)
    points, threshold = name.split("_thr")
    skeleton = skeleton_of(int(points.removeprefix("k")))
    scores = tensor(case[f"{points}_scores"])[:, 0]
    good = scores > 0.05
    scores, poses = scores[good], tensor(case[f"{points}_poses"])[good]
    sigmas = placed(torch.tensor(skeleton.sigmas))
    annotated = poses.reshape(len(poses), -1, 3)[:, : len(skeleton), :2]
    area = published_area(pose_area(annotated).clamp(min=MIN_AREA))
    pair_area = (area[:, None] + area) / 2
    similarity = oks(annotated, annotated, torch.ones_like(annotated[..., 0]), pair_area, sigmas)
    assert_close(similarity, case[f"{points}_oks_of_kept_candidates"], absolute=1e-5)
    # README: 100 people at most with one threshold, 12 with the other.
    limit = {"02": 100, "03": 12}[threshold]
    kept = oks_nms(
        annotated,
        scores,
        sigmas,
        float(f"{threshold[0]}.{threshold[1:]}"),
        area=area,
        limit=limit,
    )
    expected = tensor(case[f"{name}_dets"])
    assert_close(scores[kept], expected[:, -1])
    assert_close(poses[kept], expected[:, :-1])


@pytest.mark.parametrize("path", arrays("pipeline_*.npz"))
def test_mirrored_poses(path: Path) -> None:
    case = np.load(path)
    poses = tensor(case["flip_test_in"])
    keypoints = poses.reshape(len(poses), -1, 3)[..., :2]
    skeleton = skeleton_of(keypoints.shape[1])
    found = mirror_poses(keypoints, float(case["flip_test_img_shape"][1]), skeleton)
    expected = tensor(case["flip_test_out"]).reshape(len(poses), -1, 3)[..., :2]
    assert_close(found, expected, absolute=1e-4)


# -------------------------------------------------------------------------------------- assignment


@pytest.mark.parametrize("path", arrays("assign_*.npz"))
def test_assignment(path: Path) -> None:
    case = np.load(path)
    strides = tuple(case["strides"].tolist())
    coarse, refined = levels(case, "offset_init"), levels(case, "offset_refine")
    assert len(coarse) == len(refined) == len(strides)
    sizes = [(level.shape[-2], level.shape[-1]) for level in coarse]
    skeleton = skeleton_of(coarse[0].shape[1] // 2)
    poses = poses_from_offsets(coarse, strides)
    targets = targets_of(case, sizes, strides)
    found = assign_by_oks(poses, targets, skeleton)
    starts = np.cumsum([0, *(len(numbers) for numbers in numbers_of(case))])
    person = {"init": targets.coarse, "refine": found.refined, "cls": found.scored}
    for image, (numbers, start) in enumerate(zip(numbers_of(case), starts, strict=False)):
        # Offsets have no bounds: above 2000 px, float32 cannot express thousandths of a pixel.
        expected = case[f"coarse_poses_{image}"]
        assert_close(poses[image].flatten(1), expected, absolute=1e-3, relative=FLOAT32)
        similarity = case[f"oks_{image}"]
        eligible = targets.people[image]
        if len(eligible):
            rows = [numbers[number] for number in (eligible - start).tolist()]
            ours = oks_with_people(poses[image], targets, eligible, skeleton)
            assert_close(ours.T[:, ::7], similarity[rows], absolute=1e-5)
        for stage, assigned in person.items():
            own = assigned[image].cpu().numpy()
            expected = case[f"{stage}_gt_inds_{image}"]
            theirs = np.array([*numbers, -1])[np.where(own >= 0, own - start, -1)] + 1
            # The published numbers are 0 for background and -1 for what is ignored.
            assert np.array_equal(np.where(own == IGNORED, -1, theirs), expected)
    for stage, assigned in person.items():
        labels = torch.cat(levels(case, f"{stage}_labels"), 1)
        weights = torch.cat(levels(case, f"{stage}_label_weights"), 1)
        positive = torch.cat(levels(case, f"{stage}_pose_weights"), 1)[..., 0]
        assert ((assigned >= 0) == (labels == 0)).all()
        assert ((assigned != IGNORED) == (weights > 0)).all()
        assert ((assigned >= 0) == (positive > 0)).all()
        checksum = case[f"{stage}_keypoint_targets_checksum"]
        coordinates = targets.keypoints[assigned.clamp(min=0)].sum((2, 3)) * (assigned >= 0)
        visibility = visibility_of(case, stage)[assigned.clamp(min=0)] * (assigned >= 0)
        assert_close(coordinates + visibility, checksum, absolute=1e-2, relative=FLOAT32)
        at_least_one = (assigned >= 0).sum(1).clamp(min=1)
        assert int(at_least_one.sum()) == int(case[f"{stage}_num_pos"])


def visibility_of(case: Any, stage: str) -> torch.Tensor:
    """Return the sum over keypoints of everybody's visibility, as the stage's own copy has it."""
    values = torch.cat([poses.visibility for poses in images_of(case)])
    return placed((values > 0 if stage == "init" else values).sum(1))


@pytest.mark.parametrize("path", arrays("level_assignment*.npz"))
def test_levels(path: Path) -> None:
    rows = np.load(path)["keypoint_box_wh_and_assigned_xy_stride"]
    strides = (8, 16, 32, 64)
    sizes = [(1024 // stride, 1024 // stride) for stride in strides]
    first = 5.0  # the boxes' top left corner, so that no centre is between two candidates
    for width, height, x, y, stride in rows.tolist():
        corner = torch.tensor([first, first], dtype=torch.float64)
        side = torch.tensor([width, height], dtype=torch.float64)
        keypoints = torch.stack([corner, corner + side, corner + side / 2])[None]
        boxes = box_corners(torch.cat([corner, side])[None])
        poses = Poses(keypoints, torch.ones(1, 3, dtype=torch.int64), side[:1], boxes)
        assigned = assign_nearest(poses, sizes, strides, "keypoints")
        (candidate,) = (assigned >= 0).nonzero()[:, 0].tolist()
        grid = candidate_grid(sizes, strides, torch.zeros(()))
        assert grid.points[candidate].tolist() == [x, y]
        assert int(grid.stride[candidate]) == stride


# ------------------------------------------------------------------------------------------ losses


@pytest.mark.parametrize("path", [p for p in arrays("loss_*.npz") if "full" not in str(p.id)])
def test_losses_and_gradients(path: Path) -> None:
    case = np.load(path)
    strides = tuple(case["strides"].tolist())
    names = ("cls", "offset_init", "offset_refine", "heatmap")
    maps = {name: [m.requires_grad_() for m in levels(case, name)] for name in names}
    sizes = [(level.shape[-2], level.shape[-1]) for level in maps["cls"]]
    skeleton = skeleton_of(maps["heatmap"][0].shape[1])
    targets = targets_of(case, sizes, strides)
    for drawn, mask, heatmap, weight in zip(
        targets.heatmaps,
        targets.masks,
        levels(case, "heatmap_target"),
        levels(case, "heatmap_weight"),
        strict=True,
    ):
        assert_close(drawn, heatmap, absolute=1e-6)
        assert_close(mask, weight)
    with torch.device("meta"):
        config = PoseDetConfig(backbone="dla34" if len(strides) == 4 else "hrnet_w32")
        model = PoseDet(config, skeleton)
    outputs = PoseDetOutputs(
        tuple(maps["cls"]), tuple(maps["offset_init"]), tuple(maps["offset_refine"])
    )
    coarse, refined = (poses_from_offsets(o, strides) for o in (outputs.coarse, outputs.refined))
    found = assign_by_oks(coarse.detach(), targets, skeleton)
    terms = model.weighted_terms(outputs.logits, coarse, refined, maps["heatmap"], targets, found)
    expected = {
        "score": case["loss/loss_cls"].sum(),
        "coarse": case["loss/loss_keypoints_init"].sum(),
        "refined": case["loss/loss_keypoints_refine"].sum(),
        "heatmap": case["loss/heatmap_loss"].sum(),
    }
    assert terms.keys() == expected.keys()
    for name, value in expected.items():
        assert_close(terms[name].detach(), value, **LOSSES)
    total = torch.stack(list(terms.values())).sum()
    assert_close(total.detach(), case["total"], **LOSSES)
    total.backward()
    for name in names:
        for level, wanted in zip(maps[name], levels(case, f"grad_{name}"), strict=True):
            assert level.grad is not None
            assert_close(level.grad, wanted, relative=1e-4, absolute=1e-7)
    compare_single_levels(case, outputs, targets, skeleton)


def compare_single_levels(
    case: Any, outputs: PoseDetOutputs, targets: PoseDetTargets, skeleton: Skeleton
) -> None:
    """Compare the terms level by level: candidates of other levels are nobody's."""
    strides = tuple(case["strides"].tolist())
    sizes = [(level.shape[-2], level.shape[-1]) for level in outputs.logits]
    stride = candidate_grid(sizes, strides, outputs.logits[0]).stride
    coarse, refined = (
        poses_from_offsets(outputs.coarse, strides),
        poses_from_offsets(outputs.refined, strides),
    )
    found = assign_by_oks(coarse.detach(), targets, skeleton)
    for key, poses, person, weight in (
        ("init", coarse, targets.coarse, 0.1), ("refine", refined, found.refined, 0.2),
    ):  # fmt: skip
        everybody = float((person >= 0).sum(1).clamp(min=1).sum())
        for level, expected in zip(strides, case[f"loss/loss_keypoints_{key}"], strict=True):
            own = person.where(stride == level, -1)
            share = float((own >= 0).sum(1).clamp(min=1).sum()) / everybody
            term = weight * share * keypoint_loss(poses.detach(), own, targets, stride)
            assert_close(term, expected, **LOSSES)


@pytest.mark.parametrize("path", arrays("loss_full_model_*.npz"))
def test_training_step(path: Path) -> None:
    case = np.load(path)
    model = load_model(path, case).train()
    images = tensor(case["images"])
    height, width = images.shape[-2:]
    sizes = [(-(-height // s), -(-width // s)) for s in model.strides]
    terms = model.loss_terms(images, targets_of(case, sizes, model.strides))
    keys = ("loss_cls", "loss_keypoints_init", "loss_keypoints_refine", "heatmap_loss")
    for term, key in zip(terms.values(), keys, strict=True):
        assert_close(term.detach(), case[f"loss/{key}"].sum(), relative=1e-3)
    total = torch.stack(list(terms.values())).sum()
    assert_close(total.detach(), case["total"], relative=1e-3)
    total.backward()
    back = {ours: published for published, ours in PoseDet.published_names.items()}

    def published(name: str) -> str:
        prefix = next(p for p in back if name.startswith(p))
        return back[prefix] + name.removeprefix(prefix)

    gradients = {published(name): p.grad for name, p in model.named_parameters()}
    norms = dict(zip(case["param_names"].tolist(), case["param_grad_norms"].tolist(), strict=True))
    largest = max(norms.values())
    for name, expected in norms.items():
        if any(re.search(pattern, name) for pattern in PoseDet.ignored_checkpoint_keys):
            assert expected < 0  # there is no gradient
            continue
        gradient = gradients[name]
        assert gradient is not None
        # README: 1.4e-3 between float32 and float64, of norms that are not lost beside the largest.
        assert abs(float(gradient.norm()) - expected) <= 5e-3 * max(expected, 1e-4 * largest)
    for key in (key for key in case if key.startswith("grad/")):
        expected_slice = case[key]
        found = gradients[key.removeprefix("grad/")]
        assert found is not None
        found = found.flatten(1) if expected_slice.ndim == 2 else found
        rows, columns = (*expected_slice.shape, None)[:2]
        found = found[:rows] if columns is None else found[:rows, :columns]
        assert_close(found, expected_slice, relative=3e-2)
    state = {published(name): value for name, value in model.state_dict().items()}
    for key in (key for key in case if key.startswith("after/")):
        assert_close(state[key.removeprefix("after/")], case[key], relative=1e-3)


# ----------------------------------------------------------------------------------------- pipeline


def without_torso(poses: Poses, skeleton: Skeleton) -> Poses:
    count = len(skeleton)
    return replace(
        poses, keypoints=poses.keypoints[:, :count], visibility=poses.visibility[:, :count]
    )


def sample_of(case: Any) -> tuple[Sample, Skeleton]:
    poses = people_of_image(case)
    skeleton = skeleton_of(poses.keypoints.shape[1])
    image = np.ascontiguousarray(case["image_bgr_uint8"][..., ::-1])
    return Sample(image, without_torso(poses, skeleton), 1, "case"), skeleton


@pytest.mark.parametrize("path", arrays("pipeline_*.npz"))
def test_crops(path: Path) -> None:
    case = np.load(path)
    sample, skeleton = sample_of(case)
    boxes = cpu_tensor(case["gt_bboxes"]).double()
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    anchors = centres[case["anchor_candidates"].tolist()]
    apart = torch.cdist(crop_centres(sample.poses, skeleton), anchors)
    assert (apart.amin(0) < 1e-3).all()
    assert (apart.amin(1) < 1e-3).all()
    size = int(case["crop_patch_size"])
    for number in range(sum(key.endswith("_anchor_index") for key in case)):
        name = f"crop{number}"
        x, y = centres[int(case[f"{name}_anchor_index"])].tolist()
        side = size * float(case[f"{name}_scale"])
        found = crop_sample(sample, (x, y), side, size)
        matrix = case[f"{name}_affine"]
        assert_close(invert(found.to_image), matrix, absolute=1e-3, relative=1e-6)
        bgr = case[f"{name}_image"].astype(np.int64)
        assert_close(found.image[..., ::-1].astype(np.int64), bgr, absolute=1)
        compare_people(found.poses, case, f"{name}_gt_", skeleton)
        if number:
            continue
        flipped = crop_sample(sample, (x, y), side, size, skeleton)
        compare_flipped(flipped, case, skeleton)


def compare_people(poses: Poses, case: Any, prefix: str, skeleton: Skeleton) -> None:
    expected = people_of_image(case, prefix=prefix)
    annotated = without_torso(expected, skeleton)
    labelled = annotated.visibility > 0
    assert poses.visibility.gt(0).equal(labelled)
    assert_close(poses.keypoints[labelled], annotated.keypoints[labelled], absolute=1e-3)
    assert_close(poses.boxes, expected.boxes, absolute=1e-3)
    assert_close(poses.unlabelled, expected.unlabelled, absolute=1e-3)


def compare_flipped(flipped: Any, case: Any, skeleton: Skeleton) -> None:
    """Compare a mirrored crop, its torso, its normalised image, and its heatmaps."""
    batch = collate([flipped], multiple=32)
    assert batch.images.shape[2:] == tuple(case["pad_shape"][:2])
    assert_close(flipped.image[..., ::-1], case["flip_image"], absolute=1)
    normalised = batch.images[0].permute(1, 2, 0)[::2, ::2]
    # One grey level is 1 / 58 of a deviation.
    assert_close(normalised, case["normalized_hwc_rgb"], absolute=0.02)
    maps = levels(case, "heatmap")
    with torch.device("meta"):
        config = PoseDetConfig(backbone="dla34" if len(maps) == 4 else "hrnet_w32")
        model = PoseDet(config, skeleton)
    (poses,) = model.people(batch)
    boxes = cpu_tensor(case["flip_gt_bboxes"]).double()
    corners = box_corners(torch.cat([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], 1))
    known = cpu_tensor(case["crop0_gt_num_keypoints"]) > 0
    assert_close(poses.boxes, corners[known], absolute=1e-3)
    keypoints = cpu_tensor(case["flip_gt_keypoints"]).reshape(len(boxes), -1, 3)[known]
    labelled = keypoints[..., 2] > 0
    assert (poses.visibility > 0).equal(labelled)
    assert_close(poses.keypoints[labelled], keypoints[labelled][:, :2], absolute=1e-3)
    compare_heatmaps(poses, maps, levels(case, "heatmap_weight"), model.strides)


def compare_heatmaps(poses: Poses, maps: Any, weights: Any, strides: tuple[int, ...]) -> None:
    sizes = [(level.shape[-2], level.shape[-1]) for level in maps]
    targets = build_targets([poses], sizes, strides, centroid="keypoints", device=DEVICE)
    for drawn, mask, expected, weight in zip(
        targets.heatmaps, targets.masks, maps, weights, strict=True
    ):
        assert_close(drawn[0], expected, absolute=1e-5)
        assert_close(mask[0], weight)


@pytest.mark.parametrize("path", arrays("pipeline_*.npz"))
def test_heatmaps_of_arbitrary_points(path: Path) -> None:
    case = np.load(path)
    keypoints = cpu_tensor(case["gauss_keypoints"]).double()
    boxes = cpu_tensor(case["gauss_bboxes"]).double()
    corners = box_corners(torch.cat([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], 1))
    # Here people have points to draw although they count as without.
    poses = Poses(keypoints[..., :2], keypoints[..., 2].long(), boxes[:, 0], corners)
    unknown = corners[cpu_tensor(case["gauss_num_keypoints"]) == 0]
    maps = levels(case, "gauss_heatmap")
    strides = (8, 16, 32, 64)[: len(maps)]
    compare_heatmaps(
        replace(poses, unlabelled=unknown), maps, levels(case, "gauss_weight"), strides
    )


@pytest.mark.parametrize("path", arrays("pipeline_*.npz"))
def test_affine_maps(path: Path) -> None:
    case = np.load(path)
    for row, matrix, inverse in zip(
        case["affine_params"].tolist(),
        case["affine_matrices"],
        case["affine_inverse_matrices"],
        strict=True,
    ):
        x, y, width, height, out_width, out_height, scale, rotation = row
        # The published map may change the ratio; crops do not use that.
        unit = square_affine((x, y), 1.0, rotation, 1)
        stretch = np.diag([out_width / (width * scale), out_height / (height * scale)])
        centre = np.array([out_width, out_height]) / 2
        outer = np.column_stack([stretch, centre - stretch @ [0.5, 0.5]])
        found = compose(outer, unit)
        assert_close(found, matrix, relative=1e-4)
        assert_close(invert(found), inverse, relative=1e-4)


@pytest.mark.parametrize("path", arrays("pipeline_*.npz"))
def test_test_sizes_and_resized_pixels(path: Path) -> None:
    case = np.load(path)
    for row in case["resize_table"].tolist():
        width, height, long, short, new_width, new_height, _, _, padded_w, padded_h = row
        size = fit_size((int(width), int(height)), int(short), int(long))
        assert size == (new_width, new_height)
        assert tuple(-(-side // 32) * 32 for side in size) == (padded_w, padded_h)
    poses = Poses.empty(17)
    sample = Sample(np.ascontiguousarray(case["resize_input"]), poses, 1, "case")
    height, width = case["resize_output"].shape[:2]
    found = resize_sample(sample, FitResize(height, width))
    assert_close(found.image.astype(int), case["resize_output"].astype(int), absolute=1)
    assert_close(1 / np.diag(found.to_image[:, :2]), case["resize_scale_factor"][:2], absolute=1e-6)


@pytest.mark.parametrize(
    "path", [p for p in arrays("pipeline_*.npz") if "fourteen_in" in np.load(p.values[0])]
)
def test_torso(path: Path) -> None:
    case = np.load(path)
    without = cpu_tensor(case["fourteen_in"]).double()
    without = without.reshape(len(without), -1, 3)
    corners = torch.zeros(len(without), 4, 2, dtype=torch.float64)
    poses = Poses(without[..., :2], without[..., 2].long(), corners[:, 0, 0], corners)
    found = add_torso(poses, skeleton_of(without.shape[1] + 1))
    expected = cpu_tensor(case["fifteen_out"]).reshape(len(without), -1, 3)
    assert_close(found.keypoints, expected[..., :2], absolute=1e-4)
    # The published code has only reduced the others' visibility to labelled or not.
    assert_close(found.visibility[:, -1], expected[:, -1, 2])
    assert (found.visibility > 0).equal(expected[..., 2] > 0)


def test_every_file_is_looked_at() -> None:
    patterns = (
        "*.keys.json", "initial_values*.npz", "pose_embedding*.npz", "forward_*.npz", "post_*.npz",
        "nms_*.npz", "assign_*.npz", "level_assignment*.npz", "loss_*.npz", "pipeline_*.npz",
    )  # fmt: skip
    covered = {path for pattern in patterns for path in cases("posedet", pattern)}
    assert covered == {*cases("posedet", "*.npz"), *cases("posedet", "*.json")}
