"""A training step of ED-Pose: what learns from it, with any number of people."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
import torch

from posebench.models.ed_pose.model import EDPose
from posebench.models.ed_pose.recipes import EDPoseConfig
from posebench.skeleton import COCO
from tests.builders import make_batch

SMALL = EDPoseConfig(
    backbone="resnet_tiny", frozen_backbone=False, channels=32, hidden=32, encoder_layers=1,
    box_layers=2, pose_layers=2, box_queries=16, people=6, noise_queries=10,
)  # fmt: skip
# Losses read keypoint centres alone, and references are detached from layer to layer.
NEVER_LEARNED = r"decoder\.(keypoint_sides|side_head\.)"


def network(config: EDPoseConfig = SMALL) -> EDPose:
    """Return a network whose heads do not start at zero, so that gradients pass through them."""
    torch.manual_seed(0)
    model = EDPose(config, COCO).train()
    for parameter in model.parameters():
        parameter.data += 0.05 * torch.randn_like(parameter)
    return model


def test_everything_learns_but_the_sides_of_keypoint_boxes() -> None:
    model = network()
    terms = model.loss(make_batch((3, 0, 1), size=64))
    torch.stack(list(terms.values())).sum().backward()
    unmoved = {
        name
        for name, parameter in model.named_parameters()
        if parameter.grad is None or not parameter.grad.any()
    }
    named = {name for name, _ in model.named_parameters() if re.match(NEVER_LEARNED, name)}
    assert unmoved == named
    assert all(model.get_parameter(name).grad is not None for name in named)


@pytest.mark.parametrize("people", [(0, 0), (101, 0)])
@pytest.mark.parametrize("noise", [0, 10])
def test_any_number_of_people_is_learned(people: tuple[int, ...], noise: int) -> None:
    model = network(replace(SMALL, noise_queries=noise))
    terms = model.loss(make_batch(people, size=64))
    assert ("noise" in terms) == (noise > 0)
    assert all(term.isfinite() and term.dtype == torch.float32 for term in terms.values())
    torch.stack(list(terms.values())).sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
    if not any(people):  # and random boxes are rejected, not detected
        assert {name for name, term in terms.items() if term > 0} == {
            "class", "layers before", "box layers", "encoder", *(["noise"] if noise else []),
        }  # fmt: skip
