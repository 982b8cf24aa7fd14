"""The whole network and its ablations; the published numbers are in tests/parity."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from posebench.models import profile_of
from posebench.models.group_pose.model import GroupPose
from posebench.models.group_pose.recipes import GroupPoseConfig, Weights
from posebench.skeleton import COCO
from posebench.structures import DetrResize, Inference
from tests.builders import make_batch, make_sample
from tests.models.group_pose.builders import TINY, padded_batch

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


def test_a_published_backbone_is_frozen_where_it_was() -> None:
    with torch.device("meta"):
        model = GroupPose(GroupPoseConfig(), COCO)
    parameters = model.backbone.named_parameters()
    frozen = {name.split(".")[1] for name, p in parameters if not p.requires_grad}
    assert frozen == {"conv1", "layer1"}
    assert not any(isinstance(module, nn.BatchNorm2d) for module in model.modules())
