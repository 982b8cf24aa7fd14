"""PoseDet's pieces against hand-worked values; the published numbers are in tests/parity."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from posebench.models import profile_of
from posebench.models.posedet.candidates import (
    IGNORED,
    NOBODY,
    PoseDetTargets,
    add_torso,
    assign_nearest,
    build_targets,
    candidate_grid,
    people_of,
    targets_by_oks,
)
from posebench.models.posedet.model import PoseDet, heatmap_loss, keypoint_loss, score_loss
from posebench.models.posedet.profile import as_written
from posebench.models.posedet.recipes import PoseDetConfig, Similarity
from posebench.preprocess import blank_batch
from posebench.structures import (
    COCO,
    CROWDPOSE,
    MPII,
    FitResize,
    Geometry,
    Inference,
    Poses,
    Skeleton,
    box_corners,
)
from tests.builders import make_batch, make_sample

TINY = PoseDetConfig(backbone="hrnet_tiny", width=32)
SIZES, STRIDES = [(16, 16), (8, 8), (4, 4)], (8, 16, 32)


def lively(skeleton: Skeleton = COCO, config: PoseDetConfig = TINY) -> PoseDet:
    """Return a model in float64 that finds many people, and places them all over the image."""
    model = PoseDet(config, skeleton).double().eval()
    torch.nn.init.normal_(model.coarse.weight, std=0.3)
    torch.nn.init.normal_(model.score.weight, std=3.0)
    torch.nn.init.zeros_(model.score.bias)
    return model


def person(*points: tuple[float, float], box: tuple[float, float, float, float]) -> Poses:
    """Return one person with these labelled keypoints in a box x, y, width, height."""
    keypoints = torch.tensor([points], dtype=torch.float64)
    corners = box_corners(torch.tensor([box], dtype=torch.float64))
    labels = torch.ones(1, len(points), dtype=torch.int64)
    return Poses(keypoints, labels, torch.tensor([box[2] * box[3]]).double(), corners)


def both(first: Poses, second: Poses) -> Poses:
    return Poses(
        *(
            torch.cat([getattr(first, name), getattr(second, name)])
            for name in ("keypoints", "visibility", "area", "boxes")
        )
    )


# ----------------------------------------------------------------------------------------- network


@pytest.mark.parametrize("skeleton", [COCO, CROWDPOSE, MPII])
def test_an_even_skeleton_has_a_torso_more(skeleton: Skeleton) -> None:
    points = {"coco": 17, "crowdpose": 15, "mpii": 17}[skeleton.name]
    with torch.device("meta"):
        model = PoseDet(TINY, skeleton)
        outputs = model(torch.zeros(1, 3, 64, 96))
    assert [tuple(m.shape) for m in outputs.logits] == [(1, 1, 64 // s, 96 // s) for s in STRIDES]
    assert {m.shape[1] for m in (*outputs.coarse, *outputs.refined)} == {2 * points}


def test_the_torso_is_the_mean_of_three_corners_at_least() -> None:
    poses = make_sample(3, CROWDPOSE).poses
    visibility = poses.visibility.clone()
    visibility[0, 0] = 0  # left shoulder
    visibility[1, [0, 6]] = 0
    found = add_torso(replace(poses, visibility=visibility), CROWDPOSE)
    assert found.visibility[:, -1].tolist() == [3, 0, 4]
    corners = [
        CROWDPOSE.keypoints.index(f"{s}_{p}")
        for p in ("shoulder", "hip")
        for s in ("left", "right")
    ]
    torch.testing.assert_close(found.keypoints[2, -1], poses.keypoints[2, corners].mean(0))
    torch.testing.assert_close(found.keypoints[0, -1], poses.keypoints[0, corners[1:]].mean(0))
    assert found.keypoints[:, :-1].equal(poses.keypoints)


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
    monkeypatch.setattr("posebench.models.posedet.model.MAX_PER_LEVEL", most)
    images = torch.randn(2, 3, 96, 64, dtype=torch.float64)
    found, written = model(images), as_written(model, images, None, None)
    for ours, theirs in ((found.logits, written.logits), (found.coarse, written.coarse)):
        for level, expected in zip(ours, theirs, strict=True):
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
    for ours, theirs in zip(
        model.decode(found, geometry), model.decode(written, geometry), strict=True
    ):
        assert len(ours) > 0
        torch.testing.assert_close(ours.keypoints, theirs.keypoints)
        assert ours.scores.equal(theirs.scores)


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
def test_ablated_branches_are_not_there(changes: dict[str, bool], missing: str | None) -> None:
    model = PoseDet(replace(TINY, **changes), COCO)
    terms = model.loss(make_batch((2, 1)))
    assert {"score", "coarse", "refined", "heatmap"} - terms.keys() == {missing} - {None}
    torch.stack(list(terms.values())).sum().backward()
    assert all(p.grad is not None for p in model.parameters())


# ------------------------------------------------------------------------------------- predictions


@pytest.mark.parametrize("skeleton", [COCO, CROWDPOSE])
@pytest.mark.parametrize("inference", [
    Inference(FitResize(64, 96), flip=False),
    Inference(FitResize(64, 96), flip=True),
    Inference(FitResize(64, 96), flip=True, scales=(0.7, 1.0)),
])  # fmt: skip
def test_many_people_in_a_batch_are_found_as_alone(
    skeleton: Skeleton, inference: Inference
) -> None:
    model = lively(skeleton)
    samples = [make_sample(2, skeleton, seed=seed) for seed in range(2)]
    # Another size before padding, and the same after it.
    samples.append(replace(samples[0], image=samples[0].image[:120]))
    together = model.predict(samples, inference)
    for sample, joint in zip(samples, together, strict=True):
        (alone,) = model.predict([sample], inference)
        assert len(joint) > 5
        torch.testing.assert_close(joint.scores, alone.scores)
        torch.testing.assert_close(joint.keypoints, alone.keypoints)
        width, height = sample.size
        assert (joint.keypoints >= -1e-6).all()
        assert (joint.keypoints <= torch.tensor([width, height]) + 1e-6).all()


def test_a_mirrored_image_gives_mirrored_people() -> None:
    model = lively()
    sample = make_sample(0, size=90)
    mirrored = replace(sample, image=sample.image[:, ::-1].copy())
    inference = Inference(FitResize(64, 64), flip=True)
    (found,), (other,) = (model.predict([s], inference) for s in (sample, mirrored))
    assert len(found) == len(other) > 5
    torch.testing.assert_close(found.scores, other.scores)
    back = other.keypoints[:, list(COCO.flip_index)]
    back = torch.stack([90 - back[..., 0], back[..., 1]], -1)
    torch.testing.assert_close(found.keypoints, back)


def test_further_looks_meet_in_suppression() -> None:
    model = lively()
    once, twice = (
        model.predict([make_sample(0)], Inference(FitResize(64, 64), flip=flip))[0]
        for flip in (False, True)
    )
    assert twice.scores[0] >= once.scores[0]
    assert len(twice) <= 100


def test_coarse_poses_may_be_read() -> None:
    sample, inference = make_sample(0), Inference(FitResize(64, 64), flip=False)
    torch.manual_seed(1)
    refined = lively()
    torch.manual_seed(1)
    coarse = lively(config=replace(TINY, read_coarse=True))
    assert refined.score.weight.equal(coarse.score.weight)
    (fine,), (rough,) = (m.predict([sample], inference) for m in (refined, coarse))
    assert fine.scores[0] == rough.scores[0]
    assert not fine.keypoints[0].equal(rough.keypoints[0])


def test_boxes_may_suppress_in_place_of_poses() -> None:
    # Two poses in one box, with left and right exchanged.
    pose = torch.rand(1, 17, 2) * 200
    poses = torch.cat([pose, pose[:, list(COCO.flip_index)]])
    scores = torch.tensor([0.9, 0.8])
    with torch.device("meta"):
        by_pose, by_box = (PoseDet(replace(TINY, nms=nms), COCO) for nms in ("oks", "iou"))
    assert by_pose.suppress(poses, scores).tolist() == [0, 1]
    assert by_box.suppress(poses, scores).tolist() == [0]


def test_ideal_outputs_hold_people_with_few_keypoints() -> None:
    sample = make_sample(2)
    visibility = sample.poses.visibility.clone()
    visibility[0, 1:] = 0
    sample = replace(sample, poses=replace(sample.poses, visibility=visibility))
    with torch.device("meta"):
        model = PoseDet(TINY, COCO)
    batch = blank_batch(sample, FitResize(128, 128))
    (found,) = model.decode(profile_of(model.config).ideal_outputs(model, batch), batch.geometry)
    assert len(found) == 2
    lone = found.keypoints[found.keypoints.std(1).amax(1).argmin()]
    torch.testing.assert_close(lone, sample.poses.keypoints[0, :1].expand(17, 2).float())


# -------------------------------------------------------------------------------------- assignment


def nearest(
    poses: Poses, centroid: str = "keypoints", person_cells: int = 4
) -> list[tuple[int, int, int, int]]:
    """Return person, x, y, stride of every candidate that is somebody's."""
    assigned = assign_nearest(poses, SIZES, STRIDES, centroid, person_cells=person_cells)
    stride, points = candidate_grid(SIZES, STRIDES, torch.zeros(()))
    return [
        (int(assigned[i]), *(int(v) for v in points[i]), int(stride[i]))
        for i in (assigned >= 0).nonzero()[:, 0].tolist()
    ]


def test_a_person_goes_to_the_level_of_its_size_and_to_its_centre() -> None:
    small = person((10, 10), (30, 50), (50, 60), box=(0, 0, 60, 80))
    large = person((10, 10), (100, 50), (90, 120), box=(0, 0, 60, 80))
    assert nearest(small) == [(0, 32, 40, 8)]
    assert nearest(large) == [(0, 64, 64, 16)]
    assert nearest(large, person_cells=8) == [(0, 64, 56, 8)]
    assert nearest(small, "box") == [(0, 32, 40, 8)]
    assert nearest(person((10, 10), (30, 50), (50, 60), box=(0, 0, 90, 80)), "box") == [
        (0, 48, 40, 8)
    ]
    few = replace(small, visibility=torch.tensor([[1, 1, 0]]))
    assert nearest(few) == []


def test_a_candidate_is_given_to_the_nearer_of_two() -> None:
    first = person((10, 10), (30, 50), (50, 57), box=(0, 0, 60, 60))
    second = person((10, 12), (30, 50), (50, 57), box=(0, 0, 60, 60))
    # Their means are 1 and 0.33 pixels from (32, 40) in height.
    assert nearest(both(first, second)) == [(1, 32, 40, 8)]
    assert nearest(both(second, first)) == [(0, 32, 40, 8)]
    assert nearest(both(first, first)) == [(0, 32, 40, 8)]


def test_a_grid_first_made_in_inference_serves_training() -> None:
    sizes = ((3, 5), (2, 3))
    with torch.inference_mode():
        candidate_grid(sizes, (8, 16), torch.zeros(()))
    stride, points = candidate_grid(sizes, (8, 16), torch.zeros(()))
    weight = torch.ones((), requires_grad=True)
    (weight * points / stride[:, None]).sum().backward()
    assert stride.tolist() == [8] * 15 + [16] * 6
    assert points[7].tolist() == [16, 8] and points[-1].tolist() == [32, 16]


def test_several_candidates_may_learn_a_person() -> None:
    def assigned(poses: Poses, candidates: int) -> dict[tuple[int, int], int]:
        found = assign_nearest(poses, SIZES, STRIDES, "keypoints", candidates=candidates)
        _, points = candidate_grid(SIZES, STRIDES, torch.zeros(()))
        chosen = (found >= 0).nonzero()[:, 0]
        places = (tuple(map(int, point)) for point in points[chosen].tolist())
        return dict(zip(places, found[chosen].tolist(), strict=True))  # type: ignore[arg-type]

    # The mean is (30, 39.3); in a square box the nearest are those in pixels.
    alone = person((10, 10), (30, 50), (50, 58), box=(0, 0, 60, 60))
    assert assigned(alone, 3) == {(32, 40): 0, (24, 40): 0, (32, 32): 0}
    # A second person's mean is (34, 39.3): each has the candidates it is nearer to.
    second = person((14, 10), (34, 50), (54, 58), box=(0, 0, 60, 60))
    found = assigned(both(alone, second), 3)
    assert found == {(24, 40): 0, (32, 40): 0, (32, 32): 0, (40, 40): 1}
    # A level of one candidate has no more.
    single = assign_nearest(alone, [(1, 1)], (8,), "keypoints", candidates=3)
    assert single.tolist() == [0]


def test_similarities_of_the_config_decide() -> None:
    sample = make_sample(1)
    poses = sample.poses
    targets = build_targets([poses], SIZES, STRIDES, centroid="keypoints")
    coarse = torch.full((1, targets.coarse.shape[1], 17, 2), -1e4)
    coarse[0, :2] = poses.keypoints[0].float()
    coarse[0, 1, : 17 // 2] = -1e4  # 9 of 17 keypoints are there
    found = targets_by_oks(coarse, targets, COCO)
    assert found.scored[0, :2].tolist() == [0, IGNORED]
    assert found.refined[0, :2].tolist() == [0, NOBODY]
    found = targets_by_oks(coarse, targets, COCO, Similarity(0.5, 0.5, positive=0.5, negative=0.4))
    assert found.scored[0, :3].tolist() == [0, 0, NOBODY]
    assert found.refined[0, :3].tolist() == [0, 0, NOBODY]


def test_people_by_similarity() -> None:
    similarity = torch.tensor([[0.9, 0.1], [0.65, 0.2], [0.3, 0.55], [0.1, 0.55], [0.2, 0.1]])
    people = torch.tensor([4, 7])
    assert people_of(similarity, people, 0.7, 0.7, 0.52).tolist() == [4, NOBODY, 7, 7, NOBODY]
    assert people_of(similarity, people, 0.6, 0.5).tolist() == [4, 4, IGNORED, IGNORED, NOBODY]
    assert people_of(similarity, people, 0.7, 0.7, 0.56).tolist()[2:4] == [NOBODY, NOBODY]


@pytest.mark.parametrize(
    ("visible", "others", "expected"),
    [(17, 0, "both"), (2, 0, "ignored"), (0, 1, "ignored"), (0, 0, "nobody")],
)
def test_where_nobody_has_keypoints_nothing_is_known(
    visible: int, others: int, expected: str
) -> None:
    poses = make_sample(1).poses
    poses = poses[:1] if visible else poses[:0]
    visibility = poses.visibility.clone()
    visibility[:, visible:] = 0
    boxes = make_sample(others).poses.boxes
    poses = replace(poses, visibility=visibility, unlabelled=boxes)
    targets = build_targets([poses], SIZES, STRIDES, centroid="keypoints")
    coarse = torch.randn(1, len(targets.coarse[0]), 17, 2)
    if len(poses):
        coarse[0, 5] = poses.keypoints[0].float()
    scored = targets_by_oks(coarse, targets, COCO).scored
    values = {"both": {0, NOBODY}, "ignored": {IGNORED}, "nobody": {NOBODY}}
    assert set(scored.unique().tolist()) == values[expected]


# ------------------------------------------------------------------------------------------ losses


def one_target(keypoints: Tensor, labelled: Tensor) -> PoseDetTargets:
    nothing = torch.zeros(0)
    return PoseDetTargets(keypoints, labelled, nothing, [], [], nothing, (), ())


def test_the_keypoint_loss_is_a_bounded_sum_in_strides() -> None:
    keypoints = torch.tensor([[[0.0, 0.0], [8.0, 8.0], [50.0, 50.0]]])
    targets = one_target(keypoints, torch.tensor([[True, True, False]]))
    poses = torch.zeros(2, 2, 3, 2, requires_grad=True)
    with torch.no_grad():
        poses[0, 1, 0] = torch.tensor([24.0, 32.0])  # 40 pixels away, in units of 4 x 8
        poses[0, 1, 1] = torch.tensor([8.0, 308.0])  # beyond the bound
    person = torch.full((2, 2), NOBODY)
    person[0, 1] = 0
    loss = keypoint_loss(poses[person >= 0], person, targets, torch.tensor([16, 8]))
    # One positive, and one counted for the image without any.
    assert loss.item() == pytest.approx((40 / 32 + 5) / 2)
    loss.backward()
    assert poses.grad is not None
    assert poses.grad[0, 1, 0].tolist() == pytest.approx([0.6 / 32 / 2, 0.8 / 32 / 2])
    assert not poses.grad[0, 1, 1:].any()


def test_the_score_loss_ignores_candidates_in_between() -> None:
    logits = torch.zeros(1, 4)
    person = torch.tensor([[3, NOBODY, IGNORED, IGNORED]])
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


def test_heatmaps_do_not_count_in_the_boxes_of_people_without_labels() -> None:
    boxes = box_corners(torch.tensor([[-20.0, 17, 40, 16]], dtype=torch.float64))
    poses = replace(make_sample(1).poses, unlabelled=boxes)
    masks = build_targets([poses], SIZES, STRIDES, centroid="keypoints").masks
    expected = torch.ones(16, 16, dtype=torch.bool)
    expected[2:4, :2] = False
    assert masks[0][0, 0].equal(expected)
    # At stride 16 the box is rows 1 to 2.06 and columns up to 1.25.
    assert (~masks[1][0, 0]).nonzero().tolist() == [[1, 0]]


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"backbone": "hrnet_w99"}, "dla34"),
        ({"width": 40}, "multiple of 16"),
        ({"width": 144}, "multiple of 16"),
        ({"nms": "soft"}, "oks, iou"),
        ({"centroid": "head"}, "keypoints, box"),
        ({"coarse_candidates": 0}, "at least 1"),
        ({"person_cells": 0}, "cells across"),
        ({"refined_width": -1}, "refined_width"),
        ({"heatmap_sigma": 0.0}, "heatmap_sigma is above 0"),
    ],
)
def test_a_config_outside_its_range_is_refused(changes: dict[str, object], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        replace(TINY, **changes)


def test_a_candidate_is_not_somebody_and_nobody() -> None:
    with pytest.raises(ValueError, match=r"0\.4 and 0\.5"):
        Similarity(positive=0.4)


def test_the_config_says_how_a_network_starts_and_what_weighs() -> None:
    batch = make_batch((2, 1))
    terms = []
    everybody = replace(TINY, similarity=Similarity(refined=0.0, refined_at_best=0.0))
    for changes in ({}, {"coarse_weight": 0.3, "refined_weight": 1.0, "heatmap_weight": 0.2}):
        torch.manual_seed(0)
        terms.append(PoseDet(replace(everybody, **changes), COCO).eval().loss(batch))
    assert terms[0]["refined"].item() > 0
    assert terms[1]["refined"].item() == pytest.approx(5 * terms[0]["refined"].item())
    assert terms[1]["coarse"].item() == pytest.approx(3 * terms[0]["coarse"].item())
    assert terms[1]["heatmap"].item() == pytest.approx(2 * terms[0]["heatmap"].item())
    model = PoseDet(replace(TINY, head_std=0.05), COCO)
    for weight in (model.classification_embedding.weight, model.bypass[0].conv.weight):
        assert float(weight.detach().std()) == pytest.approx(0.05, rel=0.05)
    sharp, blurred = (
        PoseDet(replace(TINY, heatmap_sigma=sigma), COCO).targets(batch).heatmaps
        for sigma in (1.0, 2.0)
    )
    assert all(
        bool((a <= b).all() and a.sum() < b.sum()) for a, b in zip(sharp, blurred, strict=True)
    )
