"""Group Pose's pieces against hand-worked values; the published numbers are in tests/parity."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from posebench.errors import ModelError
from posebench.models import RECIPES, profile_of
from posebench.models.cid.model import CID
from posebench.models.cid.recipes import CIDConfig
from posebench.models.group_pose.matching import PoseSets
from posebench.models.group_pose.model import (
    POSES_KEPT,
    DecoderLayer,
    GroupPose,
    GroupPoseOutputs,
    _group_mask,
)
from posebench.models.group_pose.recipes import GroupPoseConfig, Weights
from posebench.preprocess import collate, resize_sample
from posebench.recipe import override
from posebench.structures import COCO, CROWDPOSE, Batch, DetrResize, Geometry, Inference, Sample
from tests.builders import make_batch, make_sample

TINY = replace(
    RECIPES["group_pose_tiny"].config, channels=64, hidden=64, decoder_layers=2, instances=12
)

ABLATIONS: dict[str, dict[str, Any]] = {
    "default": {},
    "keypoint queries": {"queries": "keypoint", "score_from": "keypoint"},
    "instance queries": {"queries": "instance"},
    "scored by keypoints": {"score_from": "keypoint"},
    "few": {"instances": 3},
    "standard": {"self_attention": "standard"},
    "masked": {"self_attention": "masked"},
    "within": {"across_instance": False},
    "across": {"within_instance": False},
    "neither": {"within_instance": False, "across_instance": False},
    "across keypoints": {"across_types": "keypoint"},
    "across instances": {"across_types": "instance"},
    "shared": {"shared_attention": True},
    "detection": {"detection_layers": 1, "detection_queries": 20},
}


def padded_batch(people: tuple[int, ...] = (2, 1)) -> Batch:
    """Return images of which all but the first are narrower."""
    samples = [make_sample(count, seed=seed) for seed, count in enumerate(people)]
    cut = [replace(s, image=s.image[:, : 128 - 24 * i]) for i, s in enumerate(samples)]
    return collate([resize_sample(sample, DetrResize(128, 128)) for sample in cut])


@pytest.mark.parametrize("name", ABLATIONS)
def test_every_ablation_learns_with_all_of_its_parameters(name: str) -> None:
    model = GroupPose(replace(TINY, **ABLATIONS[name]), COCO).train()
    terms = model.loss(padded_batch())
    assert all(term.isfinite() for term in terms.values())
    assert ("boxes" in terms) == (name == "detection")
    torch.stack(list(terms.values())).sum().backward()
    without = [n for n, p in model.named_parameters() if p.requires_grad and p.grad is None]
    assert without == []


@pytest.mark.parametrize("name", ABLATIONS)
def test_every_ablation_finds_poses(name: str) -> None:
    model = GroupPose(replace(TINY, **ABLATIONS[name]), COCO).eval()
    sample = make_sample(2)
    inference = Inference(DetrResize(96, 128), flip=False)
    [found] = model.predict([sample], inference)
    assert found.keypoints.shape == (min(model.config.instances, len(found)), 17, 2)
    explained, maps = profile_of(model.config).explain(model, sample, inference)
    assert maps.people.shape == (len(explained), 17, 12, 12)
    assert maps.people.amax((2, 3)).allclose(torch.ones(()))


def test_terms_have_their_weights() -> None:
    def terms(weights: Weights) -> dict[str, torch.Tensor]:
        torch.manual_seed(0)
        model = GroupPose(replace(TINY, weights=weights), COCO).train()
        return model.loss(padded_batch((1, 0)))

    one, other = terms(Weights()), terms(Weights(classes=6.0, keypoints=30.0, oks=12.0))
    # All three times three: the same match.
    assert list(one) == ["class", "keypoints", "oks", "layers before", "encoder"]
    for name, value in one.items():
        torch.testing.assert_close(3 * value, other[name])


def test_only_the_tiny_recipe_has_weights_of_its_own() -> None:
    recipes = [recipe for name, recipe in RECIPES.items() if name.startswith("group_pose_")]
    own = [recipe.name for recipe in recipes if recipe.config.weights != Weights()]
    assert own == ["group_pose_tiny"]
    changed = override(RECIPES["group_pose_tiny"], "weights.oks=3")
    assert changed.config.weights == replace(TINY.weights, oks=3.0)


def test_ablations_change_what_they_say() -> None:
    def count(**changes: Any) -> int:
        model = GroupPose(replace(TINY, **changes), COCO)
        return sum(p.numel() for p in model.parameters())

    channels = TINY.channels
    attention = 4 * channels**2 + 4 * channels
    norm = 2 * channels
    assert count() - count(shared_attention=True) == 2 * attention
    assert count() - count(across_instance=False) == 2 * (attention + norm)
    assert count() - count(self_attention="standard") == 2 * (attention + norm)
    assert count() - count(queries="keypoint", score_from="keypoint") == channels
    # Without keypoint queries, each layer's head yields 17 keypoints in place of one.
    wider = 2 * (2 * 16) * (channels + 1)
    assert count(queries="instance") - count() == wider - 17 * channels


def test_attention_reaches_the_queries_it_should() -> None:
    queries = torch.randn(1, 3, 4, TINY.channels, requires_grad=True)  # N = 3, T = 4

    def reached(**changes: Any) -> set[tuple[int, int]]:
        """Return (person, type) of the queries that person 1's keypoint query 2 depends on."""
        layer = DecoderLayer(replace(TINY, **changes))
        output = layer.self_attended(queries)[0, 1, 2]
        # Not the plain sum, which a layer norm makes constant.
        weight = torch.linspace(-1, 1, TINY.channels)
        [gradient] = torch.autograd.grad((output * weight).sum(), queries)
        return {(n, t) for n, t in gradient[0].abs().sum(-1).nonzero().tolist()}

    person = {(1, t) for t in range(4)}
    alike = {(n, 2) for n in range(3)}
    everyone = {(n, t) for n in range(3) for t in range(4)}
    assert reached(across_instance=False) == person
    assert reached(within_instance=False) == alike
    assert reached(within_instance=False, across_types="instance") == {(1, 2)}
    assert reached(within_instance=False, across_types="keypoint") == alike
    assert reached(within_instance=False, across_instance=False) == {(1, 2)}
    assert reached(self_attention="masked") == person | alike
    assert reached(self_attention="standard") == everyone
    # One after the other, the group attentions join everybody.
    assert reached() == everyone


def test_the_mask_joins_a_person_and_a_type() -> None:
    expected = [
        [1, 1, 1, 0],
        [1, 1, 0, 1],
        [1, 0, 1, 1],
        [0, 1, 1, 1],
    ]
    assert _group_mask(2, 2, torch.device("cpu")).int().tolist() == expected


def test_what_lies_on_padding_changes_nothing_after_the_backbone() -> None:
    model = GroupPose(TINY, COCO).eval()
    batch = padded_batch()
    with torch.inference_mode():
        tokens = model.tokens(model.backbone(batch.images), batch.padding)
        assert tokens.padding is not None
        assert tokens.padding[1].any()
        memory = model.encoder(tokens)
        noise = torch.randn_like(tokens.values) * tokens.padding[..., None]
        disturbed = model.encoder(replace(tokens, values=tokens.values + noise))
    inside = ~tokens.padding
    torch.testing.assert_close(disturbed[inside], memory[inside])
    assert not disturbed[1].equal(memory[1])


def test_padding_without_any_is_no_padding() -> None:
    model = GroupPose(TINY, COCO).eval()
    images = make_batch((1, 1)).images
    with torch.inference_mode():
        plain, masked = (
            model(images, padding) for padding in (None, torch.zeros(2, 128, 128, dtype=torch.bool))
        )
    torch.testing.assert_close(plain.logits, masked.logits)
    torch.testing.assert_close(plain.keypoints, masked.keypoints)


def test_a_mirror_image_has_the_mirrored_people_when_both_are_shown() -> None:
    model = GroupPose(TINY, COCO).double().eval()
    sample = make_sample(2)
    mirrored = replace(sample, image=np.ascontiguousarray(sample.image[:, ::-1]))
    inference = Inference(DetrResize(128, 128), flip=True)
    (found,), (other,) = (model.predict([s], inference) for s in (sample, mirrored))
    torch.testing.assert_close(found.scores, other.scores)
    back = other.keypoints[:, list(COCO.flip_index)]
    back = torch.stack([127 - back[..., 0], back[..., 1]], -1)
    torch.testing.assert_close(found.keypoints, back)


def test_several_scales_are_one_set() -> None:
    model = GroupPose(TINY, COCO).eval()
    inference = Inference(DetrResize(128, 128), scales=(0.5, 1.0))
    found, maps = profile_of(model.config).explain(model, make_sample(1), inference)
    assert len(found) == len(maps.people) > 0
    assert (found.scores.diff() <= 0).all()


def geometry_of(width: int, height: int) -> Geometry:
    identity = torch.eye(2, 3, dtype=torch.float64)[None]
    return Geometry(identity, torch.tensor([False]), torch.tensor([[width, height]]))


def test_decoding_keeps_fifty_and_leaves_out_those_who_are_nobody() -> None:
    count = POSES_KEPT + 10
    logits = torch.stack([torch.full((count,), -9.0), torch.linspace(3, -3, count)], -1)
    logits[0] = torch.tensor([9.0, 4.0])  # surer to be nobody, which takes one of the places
    keypoints = torch.rand(count, 17, 2)
    outputs = GroupPoseOutputs(logits[None, None], keypoints[None, None], logits[None], keypoints)
    with torch.device("meta"):
        model = GroupPose(TINY, COCO)
    [found] = model.decode(outputs, geometry_of(200, 100))
    assert len(found) == POSES_KEPT - 1
    torch.testing.assert_close(found.scores, logits[: POSES_KEPT - 1, 1].sigmoid())
    expected = keypoints[: POSES_KEPT - 1] * torch.tensor([200.0, 100.0])
    torch.testing.assert_close(found.keypoints, expected)


def test_targets_are_shares_of_the_image_without_padding() -> None:
    batch = padded_batch((1, 2))
    model = GroupPose(TINY, COCO)
    targets = model.targets(batch)
    assert isinstance(targets, PoseSets)
    assert len(targets) == 3
    width, height = batch.geometry.sizes[1].tolist()
    assert (width, height) == (104, 128)
    expected = batch.poses[1].keypoints / torch.tensor([width, height])
    torch.testing.assert_close(targets.keypoints[1], expected.float())
    area = batch.poses[1].area / (width * height)
    torch.testing.assert_close(targets.area[1], area.float())


def test_people_without_a_label_are_no_targets() -> None:
    sample = make_sample(2)
    visibility = sample.poses.visibility.clone()
    visibility[0] = 0
    hidden = replace(sample, poses=replace(sample.poses, visibility=visibility))
    batch = collate([resize_sample(hidden, DetrResize(128, 128))])
    assert len(GroupPose(TINY, COCO).targets(batch)) == 1


def test_a_published_backbone_is_frozen_where_it_was() -> None:
    with torch.device("meta"):
        model = GroupPose(GroupPoseConfig(), COCO)
    parameters = model.backbone.named_parameters()
    frozen = {name.split(".")[1] for name, p in parameters if not p.requires_grad}
    assert frozen == {"conv1", "layer1"}
    assert not any(isinstance(module, nn.BatchNorm2d) for module in model.modules())


def test_the_trace_ends_at_the_people() -> None:
    model = GroupPose(TINY, CROWDPOSE).eval()
    sample = make_sample(2, CROWDPOSE)
    inference = Inference(DetrResize(96, 128))
    found, trace = profile_of(model.config).trace(model, sample, inference, most=2)
    [predicted] = model.predict([sample], replace(inference, flip=False))
    torch.testing.assert_close(found.keypoints, predicted.keypoints, rtol=1e-4, atol=1e-3)
    assert trace.steps.shape == (len(found), 3, 14, 2)
    torch.testing.assert_close(trace.steps[:, -1], found.keypoints, rtol=1e-4, atol=1e-3)
    assert trace.reliance.shape == (2, 96, 96)
    assert trace.reliance.amax((1, 2)).tolist() == [1, 1]


def test_a_method_of_one_step_has_no_trace() -> None:
    sample: Sample = make_sample(1)
    with pytest.raises(ModelError, match="one step"):
        profile_of(CIDConfig()).trace(
            CID(CIDConfig("hrnet_tiny"), COCO), sample, Inference(DetrResize(64, 64)), 1
        )


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"backbone": "resnet9"}, "resnet50"),
        ({"queries": "none"}, "keypoint"),
        ({"queries": "keypoint"}, "scored"),
        ({"queries": "instance", "score_from": "keypoint"}, "scored"),
        ({"instances": 0}, "at least 1"),
        ({"detection_layers": 2}, "one at least"),
        ({"detection_layers": -1}, "one at least"),
        ({"channels": 48}, "multiple of 32"),
        ({"self_attention": "both"}, "masked"),
    ],
)
def test_a_config_outside_its_range_is_refused(changes: dict[str, object], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        replace(TINY, **changes)
