"""Decoder layers that detect people as boxes, before others find their poses.

Group Pose's paper takes two such layers from ED-Pose (arXiv:2302.01593) for its Table 5 and says no
more of them than their number. This is DINO's design (arXiv:2203.03605) in this code's terms: box
queries with standard self-attention and deformable cross-attention, boxes refined layer by layer.

Shapes: B images, M box queries, P people of one image, R rounds: the encoder's boxes, then each
layer's. Boxes are centre x, y, width, height as shares of the image.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torchvision.ops import box_convert, generalized_box_iou, generalized_box_iou_loss

from posebench.layers.deformable import DeformableAttention, Tokens, feed_forward
from posebench.layers.matching import assignment, focal_cost, focal_loss
from posebench.layers.precision import to_float32
from posebench.layers.transformer import (
    MLP,
    SelfAttention,
    class_head,
    inverse_sigmoid,
    point_encoding,
    zero_init_head,
)

CLASS_WEIGHT = 2.0
BOX_WEIGHT = 5.0
IOU_WEIGHT = 2.0
FINEST_SIDE = 0.05  # of the box that a token of the finest level proposes; doubled on each other


@dataclass(frozen=True)
class DetectedBoxes:
    logits: Tensor  # (R, B, M, 2), column 1: a person
    boxes: Tensor  # (R, B, M, 4)


class DetectionLayer(nn.Module):
    """Box queries that see one another, then the image."""

    def __init__(self, channels: int, hidden: int, levels: int) -> None:
        super().__init__()
        self.self_attn = SelfAttention(channels)
        self.self_norm = nn.LayerNorm(channels)
        self.cross_attn = DeformableAttention(channels, levels)
        self.norm1 = nn.LayerNorm(channels)
        self.linear1 = nn.Linear(channels, hidden)
        self.linear2 = nn.Linear(hidden, channels)
        self.norm2 = nn.LayerNorm(channels)

    def forward(
        self, queries: Tensor, positions: Tensor, boxes: Tensor, tokens: Tokens, memory: Tensor
    ) -> Tensor:
        queries = queries + positions
        queries = self.self_norm(queries + self.self_attn(queries))
        places = tokens.on_every_level(boxes[..., :2])
        queries = queries + positions
        read = self.cross_attn(queries, places, memory, tokens.sizes, tokens.padding)
        queries = self.norm1(queries + read)
        fed: Tensor = self.norm2(queries + feed_forward(queries, self.linear1, self.linear2))
        return fed


class DetectionDecoder(nn.Module):
    """Turns an encoder's tokens into box queries and refines their boxes."""

    def __init__(self, channels: int, hidden: int, layers: int, levels: int, queries: int) -> None:
        super().__init__()
        self.queries = queries
        self.content = nn.Parameter(torch.zeros(1, channels))
        self.position_head = MLP([2 * channels, channels, channels])
        self.layers = nn.ModuleList(DetectionLayer(channels, hidden, levels) for _ in range(layers))
        self.class_heads = nn.ModuleList(class_head(channels) for _ in range(layers))
        self.box_heads = nn.ModuleList(
            zero_init_head([channels, channels, channels, 4]) for _ in range(layers + 1)
        )

    def forward(
        self, found: Tensor, logits: Tensor, centres: Tensor, tokens: Tokens, memory: Tensor
    ) -> tuple[Tensor, DetectedBoxes]:
        """Return the queries (B, M, C) after the last layer, and every round's boxes.

        Args:
            found: (B, S, C), the tokens as proposals.
            logits: (B, S, 2), how much they are a person.
            centres: (B, S, 2), the logits of their centres; infinite where there is no proposal.
            tokens: the pyramid.
            memory: (B, S, C), its encoded values.
        """
        best = logits.amax(-1).topk(min(self.queries, logits.shape[1])).indices

        def of_best(values: Tensor) -> Tensor:
            return values.gather(1, best[..., None].expand(-1, -1, values.shape[-1]))

        sides = torch.cat(
            [
                centres.new_full((height * width, 2), FINEST_SIDE * 2**level)
                for level, (height, width) in enumerate(tokens.sizes)
            ]
        ).logit()
        proposals = torch.cat(
            [centres.expand(len(best), -1, -1), sides.expand(len(best), -1, -1)], -1
        )
        chosen = of_best(found)
        first, *heads = self.box_heads
        boxes = (to_float32(first(chosen)) + of_best(proposals)).sigmoid()
        all_logits, all_boxes = [to_float32(of_best(logits))], [boxes]
        queries = chosen.detach() + self.content
        for layer, class_layer, box_layer in zip(self.layers, self.class_heads, heads, strict=True):
            # A box's place is told by its centre and by its size, as if that were a point too.
            own = boxes.detach()
            width = queries.shape[-1]
            encoded = torch.cat([point_encoding(p, width) for p in own.chunk(2, -1)], -1)
            positions = self.position_head(encoded.to(queries.dtype))
            queries = layer(queries, positions, own, tokens, memory)
            boxes = (inverse_sigmoid(own) + to_float32(box_layer(queries))).sigmoid()
            all_logits.append(to_float32(class_layer(queries)))
            all_boxes.append(boxes)
        return queries, DetectedBoxes(torch.stack(all_logits), torch.stack(all_boxes))


def box_loss(detected: DetectedBoxes, boxes: list[Tensor], people: float | Tensor) -> Tensor:
    """Return the weighted sum of all rounds' class, distance and overlap losses.

    Args:
        boxes: (P, 4) true ones of each image.
        people: by which the sum is divided.

    Source: DINO's losses and weights, which ED-Pose keeps.
    """
    is_person = torch.zeros_like(detected.logits)
    total = 0 * detected.boxes.sum()
    for image, own in enumerate(boxes):
        truth = own.to(detected.boxes.dtype)
        corners = box_convert(truth, "cxcywh", "xyxy")
        logits, found = detected.logits[:, image].detach(), detected.boxes[:, image].detach()
        overlap = torch.stack(
            [generalized_box_iou(box_convert(one, "cxcywh", "xyxy"), corners) for one in found]
        )
        costs = (
            CLASS_WEIGHT * focal_cost(logits[..., 1, None])
            + BOX_WEIGHT * torch.cdist(found, truth, p=1)
            - IOU_WEIGHT * overlap
        )
        for number, (chosen, person) in enumerate(assignment(costs)):
            is_person[number, image, chosen, 1] = 1
            predicted = detected.boxes[number, image, chosen]
            total = total + BOX_WEIGHT * (predicted - truth[person]).abs().sum()
            total = total + IOU_WEIGHT * generalized_box_iou_loss(
                box_convert(predicted, "cxcywh", "xyxy"), corners[person], reduction="sum"
            )
    total = total + CLASS_WEIGHT * focal_loss(detected.logits, is_person).sum()
    return total / people
