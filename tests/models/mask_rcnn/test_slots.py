"""Mask R-CNN with fixed slots: the boxes, scores and maps of torchvision's loops."""

from __future__ import annotations

import pytest
import torch
from torchvision.ops import nms

from posebench.data.synthetic_crowds import SyntheticCrowds
from posebench.engine import find_model
from posebench.models import profile_of
from posebench.models.mask_rcnn.model import MaskRCNN, MaskRCNNOutputs
from posebench.models.mask_rcnn.slots import survivors
from posebench.preprocess import normalise


@pytest.mark.parametrize(("size", "padded"), [((192, 256), False), ((150, 170), True)])
def test_slots_are_the_people_of_torchvisions_loops(size: tuple[int, int], padded: bool) -> None:
    model = find_model("mask_rcnn_tiny").model()
    assert isinstance(model, MaskRCNN)
    crowd = SyntheticCrowds(model.skeleton, "val", size=256, crowd=0.3).load(0).image
    shown = normalise(torch.from_numpy(crowd[None, : size[0], : size[1]]))
    images = torch.cat([shown, torch.zeros_like(shown)])  # nobody is in the second
    padding = None
    if padded:
        padding = torch.zeros(2, *size, dtype=torch.bool)
        padding[0, 130:], padding[0, :, 160:] = True, True
    graph = profile_of(model.config).graph
    with torch.inference_mode():
        expected: MaskRCNNOutputs = model(images, padding)
        named = graph.outputs(model, images, padding, False)
    found: MaskRCNNOutputs = graph.restored(model, named, size)
    assert named["scores"].shape == (2, 100)
    assert [len(scores) > 0 for scores in expected.scores] == [True, False]
    for name in ("boxes", "scores", "logits"):
        for own, other in zip(getattr(found, name), getattr(expected, name), strict=True):
            torch.testing.assert_close(own, other, rtol=1e-5, atol=1e-5, msg=name)


def test_suppression_without_a_loop_over_boxes_keeps_the_same() -> None:
    generator = torch.Generator().manual_seed(0)
    corners = 60 * torch.rand(4, 200, 2, generator=generator)
    sides = 5 + 40 * torch.rand(4, 200, 2, generator=generator)
    boxes = torch.cat([corners, corners + sides], -1)
    valid = torch.rand(4, 200, generator=generator) < 0.8
    for threshold in (0.1, 0.5, 0.7):
        kept, settled = survivors(boxes, valid, threshold)
        assert settled
        for own, rows, found in zip(boxes, valid, kept, strict=True):
            expected = rows.nonzero()[:, 0][
                nms(own[rows], -torch.arange(sum(rows)).float(), threshold)
            ]
            assert found.nonzero()[:, 0].tolist() == expected.tolist()


def test_a_chain_of_boxes_is_followed_to_its_end() -> None:
    """Each box overlaps the next only, so that every second one is kept, however long it is."""
    left = torch.arange(301.0)
    boxes = torch.stack([left, torch.zeros(301), left + 1.5, torch.ones(301)], 1)
    kept, settled = survivors(boxes[None], torch.ones(1, 301, dtype=torch.bool), 0.19)
    assert settled
    assert kept[0].tolist() == [number % 2 == 0 for number in range(301)]


def test_too_few_turns_of_a_suppression_are_noticed() -> None:
    left = torch.arange(41.0)
    boxes = torch.stack([left, torch.zeros(41), left + 1.5, torch.ones(41)], 1)[None]
    valid = torch.ones(1, 41, dtype=torch.bool)
    results = [survivors(boxes, valid, 0.19, turns) for turns in (5, 60)]
    assert [bool(settled) for _, settled in results] == [False, True]
    assert results[1][0].equal(survivors(boxes, valid, 0.19)[0])
