"""CID against the published implementation, case by case of the fixture folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from posebench.engine.weights import convert_published
from posebench.layers.affine import invert, resize_affine, square_affine
from posebench.layers.backbones.hrnet import joined, joined_conv
from posebench.layers.heatmaps import cell_poses, clamped_sigmoid, heatmap_focal_loss
from posebench.layers.nms import oks_nms
from posebench.models.cid.decoding import CIDOutputs, decode_instances, find_centres
from posebench.models.cid.losses import contrastive_loss, loss_terms
from posebench.models.cid.model import CID
from posebench.models.cid.recipes import CIDConfig
from posebench.models.cid.targets import CIDTargets, build_targets
from posebench.preprocess import collate, warp_sample
from posebench.skeleton import COCO, CROWDPOSE, Skeleton
from posebench.structures import Batch, Geometry, Inference, Poses, Resize, Sample, box_corners
from tests.parity.compare import FLOAT32, assert_close
from tests.parity.device import cpu_tensor, placed, tensor
from tests.parity.fixtures import cases, key_file, stored_tensors
from tests.parity.reference import reference_state_dict

BACKBONE_OF_WIDTH = {32: "hrnet_w32", 40: "hrnet_w40", 48: "hrnet_w48"}


def skeleton_of(num_keypoints: int) -> Skeleton:
    return {17: COCO, 14: CROWDPOSE}[num_keypoints]


def new_model(published: dict[str, torch.Tensor]) -> CID:
    """Return the model that has the published parameters' shapes."""
    embedding, channels = published["gfd.conv_down.weight"].shape[:2]
    num_keypoints = len(published["gfd.heatmap_conv.weight"])
    config = CIDConfig(backbone=BACKBONE_OF_WIDTH[channels // 15], embedding=embedding)
    return CID(config, skeleton_of(num_keypoints))


def load_model(path: Path, case: Any) -> CID:
    """Return the network of a case."""
    known = stored_tensors(case)
    for kind in ("heatmap", "logits"):
        if (name := f"noflip_multi_{kind}") in case:
            channels, width = case[name].shape[1], len(case["noflip_feat_mean"])
            known["iia.keypoint_center_conv.weight"] = (channels, width, 1, 1)
    published = reference_state_dict(key_file(path, known), float(case.get("weight_gain", 1.0)))
    model = new_model(published)
    model.load_state_dict(convert_published(published, CID.published_names))
    return placed(model.eval())


def rows(pattern: str) -> list[Any]:
    return [
        pytest.param(row, id=f"{path.stem}-{number}")
        for path in cases("cid", pattern)
        for number, row in enumerate(json.loads(path.read_text()))
    ]


def arrays(pattern: str) -> list[Any]:
    return [pytest.param(path, id=path.stem) for path in cases("cid", pattern)]


def whole_decodings() -> list[Any]:
    parts = {*cases("cid", "decode_centers*.npz"), *cases("cid", "decode_edges*.npz")}
    return [
        pytest.param(path, id=path.stem)
        for path in cases("cid", "decode_*.npz")
        if path not in parts
    ]


@pytest.mark.parametrize("row", rows("affine_train*.json"))
def test_affine_train(row: dict[str, Any]) -> None:
    crop = (row["center"], 200 * row["scale"], row["rotation_deg"])
    for kind in ("input", "output"):
        matrix = square_affine(*crop, row[f"{kind}_size"])
        assert_close(matrix, row[f"matrix_{kind}"], absolute=1e-4)
    area_factor = np.linalg.det(square_affine(*crop, row["input_size"])[:, :2])
    assert area_factor == pytest.approx(row["area_factor"], rel=1e-6)


@pytest.mark.parametrize("row", rows("affine_train*.json"))
def test_affine_train_moves_people(row: dict[str, Any]) -> None:
    skeleton = skeleton_of(len(row["keypoints_in"]))
    keypoints = cpu_tensor(row["keypoints_in"])[None].double()
    sample = Sample(
        np.zeros((row["image_h"], row["image_w"], 3), np.uint8),
        Poses(
            keypoints[..., :2],
            keypoints[..., 2],
            cpu_tensor([row["area_in"]]),
            cpu_tensor(row["bbox_corners_in"])[None].double(),
        ),
        image_id=1,
        name="",
    )
    matrix = square_affine(
        row["center"], 200 * row["scale"], row["rotation_deg"], row["input_size"]
    )
    size = (row["input_size"], row["input_size"])
    moved = warp_sample(sample, matrix, size, mirror_with=skeleton if row["flip"] else None)
    (cells,) = cell_poses(collate([moved]), 4)
    assert_close(cells.keypoints[0], np.asarray(row["keypoints_out"])[:, :2], absolute=1e-4)
    assert_close(cells.boxes[0], row["bbox_corners_out"], absolute=1e-4)
    assert cells.area[0].item() == pytest.approx(row["area_out"], rel=1e-6)


@pytest.mark.parametrize("row", rows("resize_test*.json"))
def test_resize_test(row: dict[str, Any]) -> None:
    matrix, size = resize_affine((row["image_w"], row["image_h"]), Resize(row["input_size"]))
    assert size == (row["resized_w"], row["resized_h"])
    assert_close(matrix, row["matrix"], absolute=1e-4)
    assert_close(invert(matrix), row["inverse_matrix"], absolute=1e-4)


@pytest.mark.parametrize("path", arrays("targets_*.npz"))
def test_targets(path: Path) -> None:
    case = np.load(path)
    keypoints = cpu_tensor(case["ann_keypoints"])
    skeleton = skeleton_of(keypoints.shape[1])
    width, height = case["image_size_wh"].tolist()
    boxes = cpu_tensor(case["ann_bbox_xywh"])
    sample = Sample(
        np.zeros((height, width, 3), np.uint8),
        Poses(keypoints[..., :2], keypoints[..., 2], boxes[:, 2:].prod(1), box_corners(boxes)),
        int(case["image_id"]),
        path.stem,
    )
    size = int(case["input_size"])
    matrix = square_affine(
        case["aug_center"], 200 * float(case["aug_scale"]), float(case["aug_rotation_deg"]), size
    )
    assert_close(matrix, case["mat_input"], absolute=1e-4)
    mirror = skeleton if case["aug_flip"] else None
    # The published matrix itself: it comes from float32 points, and cells are truncated.
    warped = warp_sample(sample, case["mat_input"], (size, size), mirror_with=mirror)
    batch = collate([warped])
    cells = cell_poses(batch, 4)
    assert_close(cells[0].keypoints, case["keypoints"][..., :2], absolute=1e-6)
    assert_close(cells[0].boxes, case["bboxes"], absolute=1e-6)
    assert_close(cells[0].visibility, case["keypoints"][..., 2])

    output = int(case["output_size"])
    targets = build_targets(
        cells,
        (output, output),
        [cpu_tensor(case["center_jitter_xy"])],
        tensor(case["multi_mask"])[None] > 0,
        min_area=0.0 if case["is_crowdpose"] else CIDConfig().min_person_area / 16,
    )
    assert_close(targets.heatmaps[0], case["multi_heatmap"], absolute=1e-6)
    assert_close(targets.people[:, 1:], case["instance_coord"])
    assert_close(targets.instance_heatmaps, case["instance_heatmap"], absolute=1e-6)
    assert_close(targets.instance_mask, case["instance_mask"])


@pytest.mark.parametrize("path", arrays("*.keys.json"))
def test_published_names_and_shapes(path: Path) -> None:
    shapes = {name: tuple(shape) for name, shape in json.loads(path.read_text()).items()}
    with torch.device("meta"):
        published = {name: torch.empty(shape) for name, shape in shapes.items()}
        model = new_model(published)
    converted = convert_published(published, CID.published_names)
    ours = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    assert {name: tuple(value.shape) for name, value in converted.items()} == ours


@pytest.mark.parametrize("path", arrays("forward_*.npz"))
def test_forward(path: Path) -> None:
    case = np.load(path)
    check_forward(load_model(path, case), case)


def check_forward(model: CID, case: Any) -> None:
    """Compare what the network computes with a case."""
    image = tensor(case["image"])
    channels = tensor(case["feat_channels"]).long()
    order = list(model.skeleton.flip_index)
    with torch.inference_mode():
        upright, mirrored = (model.features(x) for x in (image, image.flip(-1)))
        mirrored = tuple(stream.flip(-1) for stream in mirrored)
        for kind, streams in (("noflip", upright), ("flip", mirrored)):
            features = joined(streams)
            assert_close(features[0, channels], case[f"{kind}_feat_slice"], relative=1e-4)
            assert_close(features[0].mean((1, 2)), case[f"{kind}_feat_mean"], relative=1e-4)
            if f"{kind}_feat_std" in case:
                # The README says unbiased; the stored numbers divide by the count all the same.
                spread = features[0].std((1, 2), correction=0)
                assert_close(spread, case[f"{kind}_feat_std"], relative=1e-4)
        both = tuple(torch.cat(pair) for pair in zip(upright, mirrored, strict=True))
        for kind, streams in (("noflip", upright), ("flip", both)):
            logits, shared = joined_conv(streams, (model.keypoint_head, model.reduce))
            if f"{kind}_multi_logits" in case:
                assert_close(logits, case[f"{kind}_multi_logits"], relative=1e-4)
            if f"{kind}_instance_heatmaps_raw" not in case:
                continue
            given = F.pad(cpu_tensor(case["given_coords"]), (1, 0))
            given = torch.cat([given + cpu_tensor([i, 0, 0]) for i in range(len(shared))])
            outputs = model.heads(streams, given)
            assert_close(outputs.heatmaps, case[f"{kind}_multi_heatmap"], absolute=1e-4)
            raw = outputs.instance_heatmaps
            assert_close(raw, case[f"{kind}_instance_heatmaps_raw"], absolute=1e-4)
            masks = model.decoupling.spatial_masks(
                shared,
                outputs.person_features,
                placed(given),
                [len(case["given_coords"])] * len(shared),
            )
            masks = masks.view(-1, *shared.shape[-2:])
            assert_close(masks, case[f"{kind}_spatial_attention"], absolute=1e-4)
            if kind == "flip":
                halves = raw.chunk(2)
                merged = (halves[0] + halves[1][:, order]) / 2
                assert_close(merged, case["flip_instance_heatmaps"], absolute=1e-4)


def batch_of(images: torch.Tensor) -> Batch:
    """Return a batch of images alone."""
    count = len(images)
    identity = torch.eye(2, 3, dtype=torch.float64).expand(count, 2, 3)
    sizes = torch.tensor(images.shape[:1:-1]).expand(count, 2)
    geometry = Geometry(identity, torch.zeros(count, dtype=torch.bool), sizes)
    return Batch(images, [], {}, geometry, [], [], [])


@pytest.mark.parametrize("flip", [False, True], ids=["noflip", "flip"])
@pytest.mark.parametrize("path", arrays("forward_*.npz"))
def test_inference(path: Path, flip: bool) -> None:
    case = np.load(path)
    kind = "flip" if flip else "noflip"
    if f"{kind}_detected_poses" not in case:
        pytest.skip("this case stores linear outputs only")
    model = load_model(path, case)
    with torch.inference_mode():
        batch = batch_of(tensor(case["image"]))
        outputs = model.merged_outputs([batch], Inference(Resize(64), flip=flip))
        keypoints, scores = decode_instances(outputs, model.config.centre_pool)
    people, centre_scores, keypoints, scores = without_empty_slots(outputs, keypoints, scores)
    assert_close(people[:, 1:], case[f"{kind}_detected_coords"])
    assert_close(centre_scores, case[f"{kind}_detected_center_scores"], absolute=1e-4)
    assert_close(keypoints, case[f"{kind}_detected_poses"][..., :2], absolute=1e-3)
    assert_close(scores, case[f"{kind}_detected_poses"][..., 2], absolute=1e-4)
    assert_close(scores.mean(1), case[f"{kind}_detected_scores"], absolute=1e-4)


def without_empty_slots(outputs: CIDOutputs, *of_people: torch.Tensor) -> list[torch.Tensor]:
    """Return people, centre scores and other values of all slots without those that are nobody.

    A GPU's outputs have as many slots for every image; a CPU's have none that is empty.
    """
    found = outputs.centre_scores > 0
    return [values[found].cpu() for values in (outputs.people, outputs.centre_scores, *of_people)]


@pytest.mark.parametrize("path", arrays("decode_centers*.npz"))
def test_decode_centres(path: Path) -> None:
    case = np.load(path)
    pool = int(case["center_pool_kernel"])
    for name in (key.removesuffix("_center_logits") for key in case if key.endswith("_logits")):
        scores = clamped_sigmoid(tensor(case[f"{name}_center_logits"]).float())
        people, centre_scores = find_centres(scores[None], pool)
        assert_close(people[:, 1:], case[f"{name}_coords"])
        assert_close(centre_scores, case[f"{name}_scores"], absolute=1e-5)


@pytest.mark.parametrize("path", arrays("decode_edges*.npz"))
def test_decode_edges(path: Path) -> None:
    case = np.load(path)
    centre_map = clamped_sigmoid(tensor(case["center_logits"]))
    people, centre_scores = find_centres(centre_map, CIDConfig().centre_pool)
    heatmaps = tensor(case["instance_heatmaps"])
    outputs = CIDOutputs(centre_map[:, None], people, centre_scores, people, heatmaps)
    keypoints, scores = decode_instances(outputs, CIDConfig().centre_pool)
    assert_close(people[:, 1:], case["detected_coords"])
    assert_close(centre_scores, case["detected_center_scores"], absolute=1e-5)
    assert_close(keypoints, case["poses_resized"][..., :2], absolute=1e-3)
    assert_close(scores, case["poses_resized"][..., 2], absolute=1e-5)
    assert_close(scores.mean(1), case["scores"], absolute=1e-5)


@pytest.mark.parametrize("kind", ["noflip", "flip"])
@pytest.mark.parametrize("path", whole_decodings())
def test_decode(path: Path, kind: str) -> None:
    case = np.load(path)
    pool = int(case["center_pool_kernel"])
    order = tensor(case["flip_index"])
    skeleton = skeleton_of(len(order))
    assert skeleton.flip_index == tuple(order.tolist())
    assert_close(skeleton.sigmas, case["oks_sigmas"], absolute=1e-9)
    maps = clamped_sigmoid(tensor(case["center_logits"]))
    if kind == "noflip":
        centre_map, heatmaps = maps[:1], tensor(case["noflip_instance_heatmaps"])
    else:
        centre_map = maps.mean(0, keepdim=True)
        mirrored = tensor(case["flip_instance_heatmaps_of_flipped"])[:, order]
        heatmaps = (tensor(case["flip_instance_heatmaps_of_image"]) + mirrored) / 2
    people, centre_scores = find_centres(centre_map, pool)
    outputs = CIDOutputs(centre_map[:, None], people, centre_scores, people, heatmaps)
    assert_close(people[:, 1:], case[f"{kind}_detected_coords"])
    assert_close(centre_scores, case[f"{kind}_detected_center_scores"], absolute=1e-5)

    keypoints, scores = decode_instances(outputs, pool)
    assert_close(keypoints, case[f"{kind}_poses_resized"][..., :2], absolute=1e-3)
    assert_close(scores, case[f"{kind}_poses_resized"][..., 2], absolute=1e-5)
    assert_close(scores.mean(1), case[f"{kind}_scores"], absolute=1e-5)

    width, height = case["image_size_wh"].tolist()
    matrix, size = resize_affine((width, height), Resize(int(case["input_size"])))
    assert size == tuple(case["resized_size_wh"].tolist())
    geometry = Geometry(
        cpu_tensor(invert(matrix))[None], torch.tensor([False]), torch.tensor([size])
    )
    config = CIDConfig(
        backbone="hrnet_tiny", centre_pool=pool, nms_threshold=float(case["oks_nms_threshold"])
    )
    (predictions,) = CID(config, skeleton).decode(outputs, geometry)
    keep = case[f"{kind}_keep"]
    expected = case[f"{kind}_poses_image"][keep]
    assert_close(predictions.keypoints, expected[..., :2], absolute=1e-3, relative=FLOAT32)
    assert_close(predictions.keypoint_scores, expected[..., 2], absolute=1e-5)
    assert_close(predictions.scores, case[f"{kind}_scores"][keep], absolute=1e-5)
    everyone = tensor(case[f"{kind}_poses_image"])[..., :2]
    kept = oks_nms(everyone, scores.mean(1), torch.tensor(skeleton.sigmas), config.nms_threshold)
    assert kept.tolist() == keep.tolist()


@pytest.mark.parametrize("path", arrays("loss_modules*.npz"))
def test_loss_modules(path: Path) -> None:
    case = np.load(path)
    for name in (key.removesuffix("_pred") for key in case if key.endswith("_pred")):
        predicted = tensor(case[f"{name}_pred"]).double().requires_grad_()
        targets, mask = tensor(case[f"{name}_gt"]).double(), tensor(case[f"{name}_mask"]) > 0
        loss = heatmap_focal_loss(predicted.clamp(1e-4, 1 - 1e-4), targets, mask)
        (gradient,) = torch.autograd.grad(loss, predicted)
        assert_close(loss.detach(), case[f"{name}_loss"], relative=1e-5)
        assert_close(gradient, case[f"{name}_grad"], relative=1e-5)
    for name in (key.removesuffix("_features") for key in case if key.endswith("_features")):
        features = tensor(case[f"{name}_features"]).double().requires_grad_()
        # The fixture has the sum over rows, ours is the mean.
        one_image = torch.zeros(len(features), dtype=torch.int64, device=features.device)
        loss = contrastive_loss(features, one_image) * len(features)
        (gradient,) = torch.autograd.grad(loss, features)
        scale = np.abs(case[f"{name}_grad"]).max()
        assert_close(loss.detach(), case[f"{name}_loss"], relative=1e-5, absolute=1e-9)
        assert_close(gradient, case[f"{name}_grad"], absolute=1e-5 * scale + 1e-9)


def train_step(model: CID, case: Any) -> dict[str, Any]:
    """Return the losses, gradients and running statistics of a training step, by a case's names."""
    # The README: gradients through batch norm on tiny maps are ill-conditioned in float32.
    model = model.double().train()
    images = range(int(case["batch_size"]))

    def gather(name: str) -> list[torch.Tensor]:
        return [tensor(case[f"{name}_{i}"]) for i in images]

    coordinates = [cpu_tensor(case[f"instance_coord_{i}"]) for i in images]
    people = [F.pad(own, (1, 0), value=i) for i, own in enumerate(coordinates)]
    targets = CIDTargets(
        heatmaps=torch.stack(gather("multi_heatmap")).double(),
        mask=torch.stack(gather("multi_mask")) > 0,
        people=torch.cat(people),
        instance_heatmaps=torch.cat(gather("instance_heatmap")).double(),
        instance_mask=torch.cat(gather("instance_mask")) > 0,
    )
    outputs = model(torch.stack(gather("image")).double(), people=targets.people)
    terms = loss_terms(outputs, targets, model.config)
    total = torch.stack(list(terms.values())).sum()
    total.backward()
    published = {ours: theirs for theirs, ours in CID.published_names.items()}
    gradients = convert_published(
        {name: p.grad for name, p in model.named_parameters() if p.grad is not None}, published
    )
    buffers = convert_published(dict(model.named_buffers()), published)
    return {
        "loss_multi_heatmap_loss": terms["heatmap"].detach(),
        "loss_single_heatmap_loss": terms["instance"].detach(),
        "loss_contrastive_loss": terms["contrastive"].detach(),
        "loss_total": total.detach(),
        "grad_norm_names": list(gradients),
        "grad_norms": [float(gradient.norm()) for gradient in gradients.values()],
        **{f"grad/{name}": gradient for name, gradient in gradients.items()},
        **{f"bn/{name}": buffer for name, buffer in buffers.items()},
    }


@pytest.mark.parametrize("path", arrays("loss_train*.npz"))
def test_training_step(path: Path) -> None:
    case = np.load(path)
    computed = train_step(load_model(path, case), case)
    for name in (key for key in case if key.startswith(("loss_", "grad/", "bn/"))):
        assert_close(computed[name], case[name], relative=1e-5)
    norms = dict(zip(computed["grad_norm_names"], computed["grad_norms"], strict=True))
    assert set(norms) == set(case["grad_norm_names"].tolist())
    ordered = [norms[name] for name in case["grad_norm_names"].tolist()]
    assert_close(ordered, case["grad_norms"], relative=1e-5)


def test_every_case_is_covered() -> None:
    patterns = (
        "affine_train*.json", "resize_test*.json", "targets_*.npz", "forward_*.npz",
        "decode_*.npz", "loss_modules*.npz", "loss_train*.npz", "*.keys.json",
    )  # fmt: skip
    covered = {path for pattern in patterns for path in cases("cid", pattern)}
    assert covered == {*cases("cid", "*.npz"), *cases("cid", "*.json")}
