"""PoseDet's network and losses against hand-worked values; tests/parity has published numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from posebench.models.posedet.model import PoseDet, heatmap_loss, keypoint_loss, score_loss
from posebench.models.posedet.profile import as_written
from posebench.models.posedet.recipes import Similarity
from posebench.models.posedet.targets import BACKGROUND, IGNORED, PoseDetTargets
from posebench.skeleton import COCO, CROWDPOSE, MPII, Skeleton
from posebench.structures import Geometry
from tests.builders import make_batch
from tests.models.posedet.networks import SIZES, STRIDES, TINY, lively

# ------------------------------------------------------------------------------------------ network


@pytest.mark.parametrize("skeleton", [COCO, CROWDPOSE, MPII])
def test_an_even_skeleton_has_a_torso_more(skeleton: Skeleton) -> None:
    points = {"coco": 17, "crowdpose": 15, "mpii": 17}[skeleton.name]
    with torch.device("meta"):
        model = PoseDet(TINY, skeleton)
        outputs = model(torch.zeros(1, 3, 64, 96))
    assert [tuple(m.shape) for m in outputs.logits] == [(1, 1, 64 // s, 96 // s) for s in STRIDES]
    assert {m.shape[1] for m in (*outputs.coarse, *outputs.refined)} == {2 * points}


def test_a_tenth_of_the_embeddings_gradient_reaches_the_bypass() -> None:
    model = lively()
    features = [torch.randn(1, 32, *size, dtype=torch.float64) for size in SIZES]

    def gradient(share: float) -> Tensor:
        model.zero_grad()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("posebench.models.posedet.model.GRADIENT_SHARE", share)
            outputs = model.heads(tuple(features))
        torch.stack([level.sum() for level in outputs.logits]).sum().backward()
        assert model.coarse.weight.grad is not None
        return model.coarse.weight.grad.clone()

    whole, share = gradient(1.0), gradient(0.1)
    assert whole.any()
    torch.testing.assert_close(share, 0.1 * whole)


def test_refinement_adds_to_coarse_offsets_without_moving_them() -> None:
    model = lively()
    assert model.refinement.bias is not None
    torch.nn.init.constant_(model.refinement.bias, 2.0)
    torch.nn.init.zeros_(model.refinement.weight)
    outputs = model(torch.randn(1, 3, 64, 64, dtype=torch.float64))
    torch.testing.assert_close(outputs.refined[0], outputs.coarse[0] + 2)
    outputs.refined[0].sum().backward()
    assert model.coarse.weight.grad is None or not model.coarse.weight.grad.any()


@pytest.mark.parametrize("most", [3, 500])
def test_candidates_that_are_read_are_refined_and_no_others(
    most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = lively().eval()
    monkeypatch.setattr("posebench.models.posedet.decoding.MAX_PER_LEVEL", most)
    images = torch.randn(2, 3, 96, 64, dtype=torch.float64)
    found, written = model(images), as_written(model, images, None, None)
    for levels, whole in ((found.logits, written.logits), (found.coarse, written.coarse)):
        for level, expected in zip(levels, whole, strict=True):
            assert level.equal(expected)
    for logits, coarse, ours, theirs in zip(
        found.logits, found.coarse, found.refined, written.refined, strict=True
    ):
        best = logits.flatten(1).topk(min(most, logits[0].numel())).indices
        read = torch.zeros_like(logits.flatten(1), dtype=torch.bool).scatter(1, best, True)
        read = read.view(logits.shape)
        assert not theirs.allclose(coarse)
        torch.testing.assert_close(ours, theirs.where(read, coarse), rtol=0, atol=1e-9)
    geometry = Geometry(
        to_image=torch.eye(2, 3, dtype=torch.float64).expand(2, 2, 3),
        flipped=torch.zeros(2, dtype=torch.bool),
        sizes=torch.tensor([[64, 96]]).expand(2, 2),
    )
    for people, wanted in zip(
        model.decode(found, geometry), model.decode(written, geometry), strict=True
    ):
        assert len(people) > 0
        torch.testing.assert_close(people.keypoints, wanted.keypoints)
        assert people.scores.equal(wanted.scores)


def test_the_heatmap_branch_is_not_run_outside_of_training() -> None:
    model = PoseDet(TINY, COCO)
    model.intermediate.register_forward_hook(lambda *_: pytest.fail("it was run"))
    model(torch.zeros(1, 3, 64, 64))


@pytest.mark.parametrize(
    ("changes", "missing"),
    [
        ({"refinement": False}, "refined"),
        ({"intermediate_supervision": False}, "heatmap"),
        ({"read_coarse": True}, None),
    ],
)
def test_ablated_branches_are_not_there(changes: Mapping[str, Any], missing: str | None) -> None:
    model = PoseDet(replace(TINY, **changes), COCO)
    terms = model.loss(make_batch((2, 1)))
    assert {"score", "coarse", "refined", "heatmap"} - terms.keys() == {missing} - {None}
    torch.stack(list(terms.values())).sum().backward()
    assert all(p.grad is not None for p in model.parameters())


# ------------------------------------------------------------------------------------------- losses


def one_target(keypoints: Tensor, labelled: Tensor) -> PoseDetTargets:
    nothing = torch.zeros(0)
    return PoseDetTargets(keypoints, labelled, nothing, [], [], nothing, nothing, (), ())


def test_the_keypoint_loss_is_a_bounded_sum_in_strides() -> None:
    keypoints = torch.tensor([[[0.0, 0.0], [8.0, 8.0], [50.0, 50.0]]])
    targets = one_target(keypoints, torch.tensor([[True, True, False]]))
    poses = torch.zeros(2, 2, 3, 2, requires_grad=True)
    with torch.no_grad():
        poses[0, 1, 0] = torch.tensor([24.0, 32.0])  # 40 pixels away, in units of 4 x 8
        poses[0, 1, 1] = torch.tensor([8.0, 308.0])  # beyond the bound
    person = torch.full((2, 2), BACKGROUND)
    person[0, 1] = 0
    loss = keypoint_loss(poses, person, targets, torch.tensor([16, 8]))
    # One positive, and one counted for the image without any.
    assert loss.item() == pytest.approx((40 / 32 + 5) / 2)
    loss.backward()
    assert poses.grad is not None
    assert poses.grad[0, 1, 0].tolist() == pytest.approx([0.6 / 32 / 2, 0.8 / 32 / 2])
    assert not poses.grad[0, 1, 1:].any()


def test_the_score_loss_ignores_candidates_in_between() -> None:
    logits = torch.zeros(1, 4)
    person = torch.tensor([[3, BACKGROUND, IGNORED, IGNORED]])
    focal = 0.25 * math.log(2)  # (1 - p)^2 times -log p
    expected = 0.25 * focal + 0.75 * focal
    assert score_loss(logits, person).item() == pytest.approx(expected)
    assert score_loss(logits, torch.full((1, 4), IGNORED)).item() == 0


def test_the_heatmap_loss_is_the_mean_of_levels_each_by_its_keypoints() -> None:
    # Logits of 0: 0.25 log 2 of a peak, as much of a cell beside it whose target is 0.
    one = 0.25 * math.log(2)
    first, second = torch.zeros(1, 2, 1, 2), torch.zeros(1, 2, 1, 1)
    targets = [torch.tensor([1.0, 0.0, 1.0, 0.0]).view(1, 2, 1, 2), torch.ones(1, 2, 1, 1)]
    masks = [torch.ones(1, 1, 1, 2, dtype=torch.bool), torch.ones(1, 1, 1, 1, dtype=torch.bool)]
    assert heatmap_loss([first, second], targets, masks).item() == pytest.approx(
        (4 * one / 2 + one) / 2
    )


def test_the_config_says_how_a_network_starts_and_what_weighs() -> None:
    batch = make_batch((2, 1))
    terms = []
    everybody = replace(TINY, similarity=Similarity(refined=0.0, refined_at_best=0.0))
    weights: dict[str, Any] = {"coarse_weight": 0.3, "refined_weight": 1.0, "heatmap_weight": 0.2}
    for changes in ({}, weights):
        torch.manual_seed(0)
        terms.append(PoseDet(replace(everybody, **changes), COCO).eval().loss(batch))
    assert terms[0]["refined"].item() > 0
    assert terms[1]["refined"].item() == pytest.approx(5 * terms[0]["refined"].item())
    assert terms[1]["coarse"].item() == pytest.approx(3 * terms[0]["coarse"].item())
    assert terms[1]["heatmap"].item() == pytest.approx(2 * terms[0]["heatmap"].item())
    model = PoseDet(replace(TINY, head_std=0.05), COCO)
    for name in ("classification_embedding.weight", "bypass.0.conv.weight"):
        weight = model.get_parameter(name)
        assert float(weight.detach().std()) == pytest.approx(0.05, rel=0.05)
    sharp, blurred = (
        PoseDet(replace(TINY, heatmap_sigma=sigma), COCO).targets(batch).heatmaps
        for sigma in (1.0, 2.0)
    )
    assert all(
        bool((a <= b).all() and a.sum() < b.sum()) for a, b in zip(sharp, blurred, strict=True)
    )
