"""Mask R-CNN's losses on a GPU: torchvision's, of the same samples, with one wait.

torchvision assigns people to anchors and to proposals, and draws samples of both, image by image.
Here all of that is done for the whole batch, and only then Python waits for how many of each there
are to draw from. The draws are made on the CPU, from the same numbers, so a step has the
samples of the same step on a CPU.

Shapes: B images, A anchors of an image, N slots for boxes, M people of an image, K keypoints. Boxes
are left, top, right, bottom in network-input pixels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.models.detection.roi_heads import keypoints_to_heatmap
from torchvision.ops import box_iou

from posebench.models.mask_rcnn.slots import (
    MORE_TURNS,
    TURNS,
    Slots,
    anchors_of,
    by_anchor,
    encoded,
    in_one_batch,
    pooled,
    proposed,
)
from posebench.transfer import to_device, to_host

if TYPE_CHECKING:
    from posebench.models.mask_rcnn.model import MaskRCNN, MaskRCNNFeatures

PERSON, BACKGROUND, IGNORED = 1, 0, -1
BETA = 1 / 9  # error of a code at which a box's loss becomes linear


class Assigned(NamedTuple):
    """What is to be found in boxes."""

    labels: Tensor  # (B, N) PERSON, BACKGROUND or IGNORED
    people: Tensor  # (B, N) whom a box overlaps most, among the people of all images


def sampled_losses(
    model: MaskRCNN, features: MaskRCNNFeatures, targets: list[dict[str, Tensor]], seed: int
) -> dict[str, Tensor]:
    """Return the loss terms by torchvision's names.

    Args:
        model: in training mode.
        features: of the images.
        targets: boxes (M, 4) and keypoints (M, K, 3) of each image.
        seed: of the samples.
    """
    rpn, heads, maps = model.rpn, model.roi_heads, list(features.maps.values())
    people = [own["boxes"] for own in targets]
    logits, deltas = rpn.head(maps)
    height, width = features.images.shape[-2:]
    levels = anchors_of(rpn.anchor_generator, maps, (height, width))
    anchors = torch.cat(levels)
    of_anchors = _assigned([anchors] * len(people), people, rpn.proposal_matcher)
    [limits] = to_device([features.limits], anchors.device)
    settled, turns = torch.tensor(False), TURNS
    while not settled:
        with torch.no_grad():
            slots = proposed(rpn, logits, deltas, levels, limits, turns)
        boxes, found = _with_people(slots, people)
        of_boxes = _assigned(list(boxes), people, heads.proposal_matcher)
        of_boxes = of_boxes._replace(labels=of_boxes.labels.where(found, IGNORED))
        counts, settled = to_host([_counts(of_anchors, of_boxes), slots.settled])
        turns *= MORE_TURNS
    samplers = (rpn.fg_bg_sampler, heads.fg_bg_sampler)
    drawn = to_device(_drawn(counts.tolist(), samplers, seed), anchors.device)

    everyone = torch.cat(people)
    parts = [by_anchor(*own) for own in zip(logits, deltas, strict=True)]
    scores, codes = (torch.cat(own, 1).flatten(0, 1) for own in zip(*parts, strict=True))
    rows = _rows(of_anchors, *drawn[:2])
    whom = of_anchors.people.flatten()[rows[0]]
    terms = _proposal_losses(scores, codes, anchors, rows, everyone[whom], rpn.box_coder)
    rows = _rows(of_boxes, *drawn[2:])
    keypoints = torch.cat([own["keypoints"] for own in targets])
    return terms | _people_losses(model, features, boxes, rows, of_boxes, everyone, keypoints)


def _proposal_losses(
    scores: Tensor, codes: Tensor, anchors: Tensor, sampled: list[Tensor],
    people: Tensor, coder: Any,
) -> dict[str, Tensor]:  # fmt: skip
    """Return the terms of the network for proposals.

    Args:
        scores, codes: (B N,) and (B N, 4), of the anchors of all images.
        anchors: (N, 4) of an image.
        sampled: rows of anchors with a person, and of those without.
        people: (N, 4) the boxes of the people of sampled anchors.
        coder: torchvision's.
    """
    positive, _ = sampled
    rows = torch.cat(sampled)
    labels = torch.arange(len(rows), device=rows.device) < len(positive)
    wanted = encoded(people, anchors[positive % len(anchors)], coder)
    return {
        "loss_objectness": F.binary_cross_entropy_with_logits(scores[rows], labels.to(scores)),
        "loss_rpn_box_reg": _code_loss(codes[positive], wanted, len(rows)),
    }


def _people_losses(
    model: MaskRCNN, features: MaskRCNNFeatures, boxes: Tensor, sampled: list[Tensor],
    assigned: Assigned, people: Tensor, keypoints: Tensor,
) -> dict[str, Tensor]:  # fmt: skip
    """Return the terms of the heads for boxes and keypoints.

    Args:
        model: in training mode.
        features: of the images.
        boxes: (B, N, 4) the proposals.
        sampled: rows of proposals with a person, and of those without.
        assigned: who is in the proposals.
        people, keypoints: (M, 4) and (M, K, 3) of all images.
    """
    heads, count = model.roi_heads, len(sampled[0])
    rows = torch.cat(sampled)
    images, regions = rows // boxes.shape[1], boxes.flatten(0, 1)[rows]
    whom = assigned.people.flatten()[sampled[0]]
    levels = in_one_batch(model.pooled_levels(features.maps))
    read = pooled(heads.box_roi_pool, levels, images, regions, model.stride)
    logits, codes = heads.box_predictor(heads.box_head(read))
    labels = torch.arange(len(rows), device=rows.device) < count
    wanted = encoded(people[whom], regions[:count], heads.box_coder)
    read = pooled(heads.keypoint_roi_pool, levels, images[:count], regions[:count], model.stride)
    maps = heads.keypoint_predictor(heads.keypoint_head(read))
    return {
        "loss_classifier": F.cross_entropy(logits, labels.long()),
        "loss_box_reg": _code_loss(codes[:count, 4:], wanted, len(rows)),
        "loss_keypoint": _keypoint_loss(maps, keypoints[whom], regions[:count]),
    }


def _assigned(boxes: list[Tensor], people: list[Tensor], matcher: Any) -> Assigned:
    """Return what is to be found in the boxes (N, 4) of each image, by torchvision's rule.

    Args:
        boxes: of each image.
        people: boxes (M, 4) of the people of each image.
        matcher: torchvision's, of which the thresholds of the overlaps are read.
    """
    labels, whom, before = [], [], 0
    for own, others in zip(boxes, people, strict=True):
        if not len(others):
            labels.append(own.new_full((len(own),), BACKGROUND, dtype=torch.int64))
            whom.append(torch.zeros_like(labels[-1]))
            continue
        overlaps = box_iou(others, own)
        best, person = overlaps.max(0)
        label = torch.where(best >= matcher.high_threshold, PERSON, IGNORED)
        label = label.where(best >= matcher.low_threshold, BACKGROUND)
        if matcher.allow_low_quality_matches:  # each person's best boxes, however low
            chosen = (overlaps == overlaps.amax(1, keepdim=True)).any(0)
            label = label.where(~chosen, PERSON)
        labels.append(label)
        whom.append(before + person)
        before += len(others)
    return Assigned(torch.stack(labels), torch.stack(whom))


def _with_people(slots: Slots, people: list[Tensor]) -> tuple[Tensor, Tensor]:
    """Return proposals and the annotated boxes (B, N, 4), and which of them are boxes (B, N)."""
    most = max(len(own) for own in people)
    annotated = torch.stack([F.pad(own, (0, 0, 0, most - len(own))) for own in people])
    ranks = torch.arange(most, device=annotated.device)
    there = torch.stack([ranks < len(own) for own in people])
    return torch.cat([slots.boxes, annotated], 1), torch.cat([slots.found, there], 1)


def _counts(*assigned: Assigned) -> Tensor:
    """Return how many boxes of each image are people and background, as (any, B, 2)."""
    return torch.stack(
        [
            torch.stack([(own.labels == kind).sum(1) for kind in (PERSON, BACKGROUND)], 1)
            for own in assigned
        ]
    )


def _drawn(counts: list[list[list[int]]], samplers: tuple[Any, ...], seed: int) -> list[Tensor]:
    """Draw boxes of people and of background for each sampler.

    Returns, for each sampler in turn, the drawn people and then the drawn background, as ranks
    among all such boxes of the batch.

    Args:
        counts: how many boxes of each image are people and background, for each sampler.
        samplers: torchvision's, of which the sizes are read.
        seed: of the draws, which are made in torchvision's order.
    """
    generator = torch.Generator().manual_seed(seed)
    drawn = []
    for of_images, sampler in zip(counts, samplers, strict=True):
        size = sampler.batch_size_per_image
        most = int(size * sampler.positive_fraction)
        ranks: tuple[list[Tensor], list[Tensor]] = [], []
        before = [0, 0]
        for numbers in of_images:
            positive = min(numbers[0], most)
            for kind, wanted in enumerate((positive, size - positive)):
                order = torch.randperm(numbers[kind], generator=generator)
                ranks[kind].append(before[kind] + order[:wanted])
                before[kind] += numbers[kind]
        drawn += [torch.cat(own) for own in ranks]
    return drawn


def _rows(assigned: Assigned, positive: Tensor, negative: Tensor) -> list[Tensor]:
    """Return the rows, among the boxes of all images, of people and background of these ranks."""
    return [
        torch.searchsorted((assigned.labels == kind).flatten().cumsum(0), ranks + 1)
        for kind, ranks in ((PERSON, positive), (BACKGROUND, negative))
    ]


def _code_loss(codes: Tensor, wanted: Tensor, count: int) -> Tensor:
    return F.smooth_l1_loss(codes, wanted, beta=BETA, reduction="sum") / count


def _keypoint_loss(logits: Tensor, keypoints: Tensor, boxes: Tensor) -> Tensor:
    """Return the mean cross-entropy of the maps whose keypoint is labelled and in its box.

    Args:
        logits: (N, K, cells, cells).
        keypoints: (N, K, 3) of the person of each box.
        boxes: (N, 4).
    """
    cells, valid = keypoints_to_heatmap(keypoints, boxes, logits.shape[-1])
    losses = F.cross_entropy(logits.flatten(2).flatten(0, 1), cells.flatten(), reduction="none")
    loss: Tensor = (losses * valid.flatten()).sum() / valid.sum().clamp(min=1)
    return loss
