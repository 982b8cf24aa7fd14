"""DEKR's decoding against the published implementation, case by case of the fixture folder."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from posebench.layers.affine import invert, resize_affine
from posebench.layers.centres import find_peaks
from posebench.models.dekr.decoding import (
    DEKROutputs,
    decode_people,
    enlarged_heatmaps,
    find_candidates,
    merge_mirrored,
    select_people,
)
from posebench.models.dekr.matching import fit_gaussians, move_to_peaks
from posebench.models.dekr.recipes import DEKRConfig
from posebench.models.dekr.rescoring import LINKS, ScoringNet, pose_features
from posebench.models.dekr.suppression import kept
from posebench.skeleton import Skeleton
from posebench.structures import Geometry, Resize
from tests.parity.compare import FLOAT32, assert_close
from tests.parity.dekr import arrays, skeleton_of
from tests.parity.device import cpu_tensor, placed, tensor
from tests.parity.fixtures import cases, find_in_sets
from tests.parity.reference import reference_state_dict

PIXELS = {"absolute": 1e-3, "relative": FLOAT32}  # the README's tolerances
SCORES = {"absolute": 1e-5}


def kinds_of(path: Path) -> list[str]:
    case = np.load(path)
    return [kind for kind in ("noflip", "flip") if f"{kind}_nms_keep" in case]


def whole_decodings() -> list[Any]:
    parts = set(cases("dekr", "decode_centers*.npz"))
    return [
        pytest.param(path, kind, id=f"{path.stem}-{kind}")
        for path in cases("dekr", "decode_*.npz")
        if path not in parts
        for kind in kinds_of(path)
    ]


def outputs_of(case: Any, kind: str) -> DEKROutputs:
    """Return the outputs of all scales, the one nearest to 1 first, as they are decoded."""
    scales = sorted(case["scale_factors"].tolist(), key=lambda scale: abs(scale - 1))
    several = "heatmap" not in case

    def own(scale: float, view: str) -> DEKROutputs:
        prefix = f"s{scale:g}_" if several else ""
        heatmaps, offsets = (
            tensor(case[f"{prefix}{view}{name}"]) for name in ("heatmap", "offset")
        )
        return DEKROutputs(heatmaps, offsets)

    def merged(scale: float) -> DEKROutputs:
        upright = own(scale, "")
        if kind == "noflip":
            return upright
        return merge_mirrored(upright, own(scale, "flip_"), case["flip_index"].tolist())

    first, *others = map(merged, scales)
    return replace(first, others=tuple(others))


def geometry_of(case: Any) -> Geometry:
    resize = Resize(int(case["input_size"]), rounding="dekr")
    matrix, size = resize_affine(tuple(case["image_size_wh"].tolist()), resize)
    assert size == tuple(case["resized_size_wh"].tolist())
    return Geometry(cpu_tensor(invert(matrix))[None], torch.tensor([False]), torch.tensor([size]))


def scoring_net(skeleton: Skeleton) -> ScoringNet:
    """Return the scoring net with the reference weights."""
    features = 3 * len(LINKS[skeleton.name]) + len(skeleton)
    path = find_in_sets(f"dekr/rescore_{skeleton.name}.keys.json")
    assert json.loads(path.read_text())["l1.weight"] == [256, features]
    published = reference_state_dict(path, 1.0)
    net = ScoringNet(skeleton)
    net.load_state_dict(
        {
            f"layers.{2 * (number - 1)}.{kind}": published[f"l{number}.{kind}"]
            for number in (1, 2, 3)
            for kind in ("weight", "bias")
        }
    )
    return placed(net)


@pytest.mark.parametrize("path", arrays("decode_centers*.npz"))
def test_centres(path: Path) -> None:
    case = np.load(path)
    for name in (key.removesuffix("_heatmap") for key in case if key.endswith("_heatmap")):
        people, scores = find_peaks(tensor(case[f"{name}_heatmap"]).float()[None])
        assert_close(people[:, 1:], case[f"{name}_cells_yx"])
        assert_close(scores, case[f"{name}_scores"])


@pytest.mark.parametrize(("path", "kind"), whole_decodings())
def test_decode(path: Path, kind: str) -> None:
    case = np.load(path)
    skeleton = skeleton_of(len(case["flip_index"]))
    assert skeleton.flip_index == tuple(case["flip_index"].tolist())
    outputs, geometry = outputs_of(case, kind), geometry_of(case)
    config = DEKRConfig(
        nms_distance=float(case["nms_distance_factor"]),
        nms_keypoints=int(case["nms_joint_count"]),
        other_scale_factor=float(case["other_scale_factor"]),
    )
    maps = enlarged_heatmaps(outputs)[0]
    assert_close(maps[:, 3::8, 3::8], case[f"{kind}_heatmaps_sub8"], absolute=1e-5)
    assert_close(maps.mean((1, 2)), case[f"{kind}_heatmaps_mean"], absolute=1e-5)

    (candidates,), _ = find_candidates(outputs)
    assert_close(candidates.cells, case[f"{kind}_candidate_cells_yx"])
    assert_close(candidates.scale, case[f"{kind}_candidate_scale"])
    assert_close(candidates.centre_scores, case[f"{kind}_candidate_center_scores"], **SCORES)
    assert_close(candidates.poses, case[f"{kind}_candidate_poses"], **PIXELS)
    assert_close(candidates.heat, case[f"{kind}_candidate_heat_values"], **SCORES)
    assert_close(candidates.heat_scores, case[f"{kind}_candidate_heat_scores"], **SCORES)

    keep = kept(candidates.poses, candidates.heat_scores, config.nms_distance, config.nms_keypoints)
    assert_close(keep, case[f"{kind}_nms_keep"])
    poses, scores = select_people(candidates, config)
    assert_close(poses, case[f"{kind}_poses_resized"][..., :2], **PIXELS)
    assert_close(scores, case[f"{kind}_poses_resized"][..., 2], **SCORES)
    assert_close(scores.mean(1), case[f"{kind}_scores"], **SCORES)

    net = scoring_net(skeleton)
    for scoring, name in ((None, "scores"), (net, "rescored_scores")):
        (predictions,) = decode_people(outputs, geometry, config, scoring)
        expected = case[f"{kind}_{name}"]
        best = np.argsort(-expected, kind="stable")
        people = case[f"{kind}_poses_image"][best]
        assert_close(predictions.scores, expected[best], **SCORES)
        assert_close(predictions.keypoints, people[..., :2], **PIXELS)
        assert_close(predictions.keypoint_scores, people[..., 2], **SCORES)


@pytest.mark.parametrize("path", arrays("nms*.npz"))
def test_suppression(path: Path) -> None:
    case = np.load(path)
    for number in range(int(case["cases"])):
        own = f"case{number}"
        keep = kept(
            case[f"{own}_poses"].astype(np.float64),
            case[f"{own}_heat_scores"].astype(np.float64),
            float(case[f"{own}_distance_factor"]),
            int(case[f"{own}_joint_count"]),
        )
        assert_close(keep, case[f"{own}_keep"])


@pytest.mark.parametrize("path", arrays("match*.npz"))
def test_matching(path: Path) -> None:
    case = np.load(path)
    heatmap = tensor(case["heatmap"])
    centre = torch.zeros_like(heatmap[:, :1])
    outputs = DEKROutputs(torch.cat([heatmap, centre], 1), heatmap)
    enlarged = enlarged_heatmaps(outputs)[0].cpu().numpy()
    assert enlarged.shape[:0:-1] == tuple(case["resized_size_wh"].tolist())
    poses, scores = case["poses_resized"][..., :2], case["poses_resized"][..., 2]
    moved = move_to_peaks(poses, enlarged, float(case["max_absorb_distance"]))
    assert_close(moved, case["absorbed"][..., :2])
    assert_close(scores, case["absorbed"][..., 2])
    fitted = fit_gaussians(moved, scores, enlarged, float(case["adjust_threshold"]))
    assert_close(fitted, case["adjusted"][..., :2], absolute=2e-2)
    assert_close(scores, case["adjusted"][..., 2])


@pytest.mark.parametrize("path", arrays("rescore*.npz"))
def test_scoring_net(path: Path) -> None:
    case = np.load(path)
    for name in (key.removesuffix("_features") for key in case if key.endswith("_features")):
        people = tensor(case[f"{name}_poses_image"])
        net = scoring_net(skeleton_of(people.shape[1]))
        features = pose_features(people[..., :2], people[..., 2], net.links)
        assert_close(features, case[f"{name}_features"], relative=1e-5)
        assert_close(net(features), case[f"{name}_predicted_oks"], absolute=1e-4)
        everybody = people.double().cpu().numpy()
        keypoints, scores = everybody[..., :2], everybody[..., 2]
        [rescored] = net.rescored(
            [(keypoints, scores)], [case[f"{name}_scores"].astype(np.float64)]
        )
        assert_close(rescored, case[f"{name}_rescored_scores"], absolute=1e-4)


@pytest.mark.parametrize("path", arrays("rescore*.npz"))
def test_the_scoring_net_can_be_trained(path: Path) -> None:
    """It is not trained here, but a step of the published training is one of this network."""
    case = np.load(path)
    for name in (key.removesuffix("_loss") for key in case if key.endswith("_loss")):
        net = scoring_net(skeleton_of(case[f"{name}_poses_image"].shape[1])).double()
        found = net.requires_grad_()(tensor(case[f"{name}_features"]).double())
        loss = (found - tensor(case[f"{name}_target_oks"])[:, 0]).square().mean()
        assert_close(loss.detach(), case[f"{name}_loss"], relative=1e-6)
        loss.backward()
        for number in (1, 2, 3):
            for kind in ("weight", "bias"):
                gradient = net.get_parameter(f"layers.{2 * (number - 1)}.{kind}").grad
                assert gradient is not None
                expected = case[f"{name}_grad/l{number}.{kind}"]
                assert_close(gradient[: len(expected)], expected, relative=1e-5)
                norm = case[f"{name}_grad_norm/l{number}.{kind}"]
                assert_close(gradient.norm(), norm, relative=1e-5)
