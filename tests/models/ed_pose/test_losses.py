"""ED-Pose's losses by hand."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from posebench.layers.matching import PERSON, Matches
from posebench.layers.pose_sets import PoseSets
from posebench.models.ed_pose.denoising import NoisyPeople
from posebench.models.ed_pose.losses import (
    box_losses,
    keypoint_losses,
    loss_terms,
    noise_losses,
)
from posebench.models.ed_pose.outputs import Detections, EDPoseOutputs
from posebench.models.ed_pose.recipes import Weights

SIGMAS = torch.tensor([0.1, 0.1])
ENTROPY = math.log(2) / 4  # focal loss of a logit of 0, before its balance


def targets(people: int = 1, visible: tuple[bool, bool] = (True, True)) -> PoseSets:
    """Return an image with so many people, side by side."""
    shift = torch.arange(float(people))[:, None] * 0.3
    return PoseSets(
        keypoints=[torch.tensor([[0.2, 0.2], [0.3, 0.6]]) + shift[:, None]],
        visible=[torch.tensor([visible]).expand(people, 2)],
        area=[torch.full((people,), 0.09)],
        boxes=[torch.tensor([[0.25, 0.4, 0.2, 0.4]]) + shift * torch.tensor([1.0, 1, 0, 0])],
    )


def pairs(*sets: tuple[int, int, int, int]) -> Matches:
    """Return matches of one pair a set, each given as set, image, query and person."""
    return Matches(*torch.tensor(sets).T[:, :, None])


def test_losses_of_boxes_by_hand() -> None:
    truth = targets().boxes[0][0]
    # The first set's box is moved by half of its width; the second set's is exact and sure.
    boxes = torch.stack([truth + torch.tensor([0.1, 0, 0, 0]), truth]).view(2, 1, 1, 4)
    logits = torch.tensor([[0.0, 0.0], [-9.0, 9.0]]).view(2, 1, 1, 2)
    matched = pairs((0, 0, 0, 0), (1, 0, 0, 0))
    found = box_losses(Detections(logits, boxes), targets(), matched, 2)
    assert found.boxes.tolist() == pytest.approx([0.1 / 2, 0])
    assert found.iou.tolist() == pytest.approx([(1 - 1 / 3) / 2, 0], abs=1e-4)
    assert found.classes.tolist() == pytest.approx([(0.25 + 0.75) * ENTROPY / 2, 0], abs=1e-6)


def test_losses_of_keypoints_by_hand() -> None:
    truth = targets(visible=(True, False))
    error = torch.tensor([[0.03, 0.0], [0.4, 0.4]])  # the second keypoint is not labelled
    keypoints = (truth.keypoints[0] + error).view(1, 1, 1, 2, 2)
    found = keypoint_losses(keypoints, truth, pairs((0, 0, 0, 0)), SIGMAS, 1)
    assert found.keypoints.item() == pytest.approx(0.03)
    oks = math.exp(-(0.03**2) / (2 * 0.09 * 0.2**2))
    assert found.oks.item() == pytest.approx(1 - oks, rel=1e-4)


def test_a_person_without_labels_costs_nothing_but_oks() -> None:
    truth = targets(visible=(False, False))
    keypoints = truth.keypoints[0].view(1, 1, 1, 2, 2).clone().requires_grad_()
    found = keypoint_losses(keypoints, truth, pairs((0, 0, 0, 0)), SIGMAS, 1)
    assert found.keypoints.item() == 0
    assert found.oks.item() == pytest.approx(1 - 1e-6, abs=1e-7)
    (found.keypoints + found.oks).sum().backward()
    assert keypoints.grad is not None
    assert keypoints.grad.eq(0).all()


def test_losses_of_noise_are_divided_by_the_queries() -> None:
    boxes = targets(2).boxes[0][[0, 1, 0, 1]][None].expand(2, 4, 4)  # two images, four queries
    noisy = NoisyPeople(
        labels=torch.zeros(2, 4, dtype=torch.int64),
        boxes=boxes,
        sees=torch.ones(2, 4, 4, dtype=torch.bool),
        is_person=torch.tensor([[True] * 4, [False] * 4]),
        clean_boxes=boxes,
    )
    shift = torch.zeros(3, 2, 4, 4)
    shift[1, ..., 0] = 0.1
    found = noise_losses(Detections(torch.zeros(3, 2, 4, 2), boxes + shift), noisy)
    # Eight boxes each; in the second image all are rejected, and yet their boxes are learned.
    assert found.boxes.tolist() == pytest.approx([0, 8 * 0.1 / 4, 0])
    assert found.iou.tolist() == pytest.approx([0, 8 * 2 / 3 / 4, 0], abs=1e-3)
    expected = (4 * (0.25 + 0.75) + 4 * 2 * 0.75) * ENTROPY / 4
    assert found.classes.tolist() == pytest.approx([expected] * 3)


def outputs(boxes: Tensor, keypoints: Tensor, queries: int) -> EDPoseOutputs:
    """Return two box layers and two pose layers that all predict the same, unsure."""
    count = len(boxes)
    return EDPoseOutputs(
        logits=torch.zeros(2, 1, count, 2),
        boxes=boxes.expand(2, 1, -1, -1),
        keypoints=keypoints.expand(2, 1, -1, -1, -1),
        detected=Detections(torch.zeros(3, 1, count, 2), boxes.expand(3, 1, -1, -1)),
        noise=Detections(torch.zeros(4, 1, queries, 2), torch.full((4, 1, queries, 4), 0.5)),
    )


def noise(queries: int, image_has_people: bool = True) -> NoisyPeople:
    return NoisyPeople(
        labels=torch.zeros(1, queries, dtype=torch.int64),
        boxes=torch.full((1, queries, 4), 0.5),
        sees=torch.ones(1, queries, queries, dtype=torch.bool),
        is_person=torch.full((1, queries), image_has_people),
        clean_boxes=torch.full((1, queries, 4), 0.5),
    )


def test_terms_are_weighted_and_cover_every_set() -> None:
    truth = targets()
    boxes = truth.boxes[0] + torch.tensor([0.1, 0, 0, 0])
    keypoints = truth.keypoints[0] + 0.03
    predicted = outputs(boxes, keypoints, 5)
    weights = Weights(classes=3, boxes=5, iou=7, keypoints=11, oks=13, noise_classes=17)
    terms = loss_terms(predicted, truth, noise(5), SIGMAS, weights)
    values = {name: term.item() for name, term in terms.items()}
    classes = 3 * ENTROPY
    box = 5 * 0.1 + 7 * 2 / 3
    distance = 11 * 4 * 0.03
    oks = 13 * (1 - math.exp(-2 * 0.03**2 / (2 * 0.09 * 0.2**2)))
    assert values == pytest.approx(
        {
            "class": classes,
            "box": box,
            "keypoints": distance,
            "oks": oks,
            "layers before": classes + box + distance + oks,
            "box layers": 2 * (classes + box),
            "encoder": classes + box,
            "noise": 4 * 17 * ENTROPY,
        },
        rel=1e-3,
        abs=1e-3,
    )
    assert "noise" not in loss_terms(replace(predicted, noise=None), truth, None, SIGMAS, weights)


@pytest.mark.parametrize("people", [0, 101])
def test_images_without_people_and_with_too_many(people: int) -> None:
    crowd = targets(people)
    count = 100
    boxes = torch.rand(count, 4).requires_grad_()
    keypoints = torch.rand(count, 2, 2).requires_grad_()
    predicted = outputs(boxes, keypoints, 4)
    logits = predicted.logits.requires_grad_()
    terms = loss_terms(predicted, crowd, noise(4, people > 0), SIGMAS, Weights())
    assert all(term.isfinite() for term in terms.values())
    if not people:
        assert terms["box"].item() == terms["keypoints"].item() == terms["oks"].item() == 0
        assert terms["class"].item() == pytest.approx(2 * 2 * count * 0.75 * ENTROPY)
    torch.stack(list(terms.values())).sum().backward()
    assert logits.grad is not None
    assert (logits.grad[..., PERSON] < 0).sum() == 2 * min(people, count)
    for learned in (boxes, keypoints):  # with a gradient of 0 if there is nobody
        assert learned.grad is not None
        assert learned.grad.any() == (people > 0)
