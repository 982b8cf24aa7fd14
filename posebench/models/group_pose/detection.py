"""Decoder layers that detect people as boxes, before the layers that predict their poses.

For its Table 5, Group Pose's paper takes two such layers from ED-Pose (arXiv:2302.01593) and gives
no details. This is DINO's design (arXiv:2203.03605): box queries with standard self-attention and
deformable cross-attention, boxes refined layer by layer.

Shapes: B images, S tokens of the pyramid, C channels, M box queries, R sets of predictions: the
encoder's, then each layer's. Boxes are centre x, y, width, height as shares of
the image.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from posebench.layers.deformable import DeformableAttention, Tokens, feed_forward
from posebench.layers.matching import box_costs, class_costs, match
from posebench.layers.pose_sets import PoseSets
from posebench.layers.precision import to_float32
from posebench.layers.proposals import best_tokens, proposal_sides, select
from posebench.layers.set_losses import box_losses, class_losses
from posebench.layers.transformer import (
    MLP,
    SelfAttention,
    class_head,
    point_encoding,
    refine_references,
    zero_init_head,
)

CLASS_WEIGHT = 2.0
BOX_WEIGHT = 5.0
IOU_WEIGHT = 2.0


@dataclass(frozen=True)
class DetectedBoxes:
    """Boxes of every layer, and their class logits, in float32."""

    logits: Tensor  # (R, B, M, 2), column 1: a person
    boxes: Tensor  # (R, B, M, 4)


class DetectionLayer(nn.Module):
    """Self-attention of box queries, deformable cross-attention, feed-forward network."""

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
        """Return the refined queries (B, M, C).

        Args:
            queries: (B, M, C).
            positions: (B, M, C), added before each attention.
            boxes: (B, M, 4), around whose centres the queries sample.
            tokens: the pyramid.
            memory: (B, S, C), the encoder's output.
        """
        queries = queries + positions
        queries = self.self_norm(queries + self.self_attn(queries))
        references = tokens.on_every_level(boxes[..., :2])
        queries = queries + positions
        attended = self.cross_attn(queries, references, memory, tokens.sizes, tokens.padding)
        queries = self.norm1(queries + attended)
        output: Tensor = self.norm2(queries + feed_forward(queries, self.linear1, self.linear2))
        return output


class DetectionDecoder(nn.Module):
    """Box queries from an encoder's tokens, whose boxes are refined layer by layer."""

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
        self, candidates: Tensor, logits: Tensor, centres: Tensor, tokens: Tokens, memory: Tensor
    ) -> tuple[Tensor, DetectedBoxes]:
        """Return the queries (B, M, C) after the last layer, and the boxes of all layers.

        Args:
            candidates: (B, S, C), the tokens' features as proposals.
            logits: (B, S, 2), of the tokens.
            centres: (B, S, 2), the logits of the tokens' centres, infinite where there is no
                proposal.
            tokens: the pyramid.
            memory: (B, S, C), the encoder's output.
        """
        best = best_tokens(logits, self.queries)
        sides = proposal_sides(tokens)
        proposals = torch.cat(
            [centres.expand(best.shape[0], -1, -1), sides.expand(best.shape[0], -1, -1)], -1
        )
        chosen = select(candidates, best)
        first, *heads = self.box_heads
        boxes = (to_float32(first(chosen)) + select(proposals, best)).sigmoid()
        all_logits, all_boxes = [to_float32(select(logits, best))], [boxes]
        queries = chosen.detach() + self.content
        for layer, class_layer, box_layer in zip(self.layers, self.class_heads, heads, strict=True):
            boxes = boxes.detach()
            # A box is encoded as two points: its centre, and its width and height.
            points = boxes.chunk(2, -1)
            encoded = torch.cat([point_encoding(p, queries.shape[-1]) for p in points], -1)
            positions = self.position_head(encoded.to(queries.dtype))
            queries = layer(queries, positions, boxes, tokens, memory)
            boxes = refine_references(boxes, box_layer(queries))
            all_logits.append(to_float32(class_layer(queries)))
            all_boxes.append(boxes)
        return queries, DetectedBoxes(torch.stack(all_logits), torch.stack(all_boxes))


def box_loss(detected: DetectedBoxes, targets: PoseSets, count: float | Tensor) -> Tensor:
    """Return the weighted sum of the class, L1 and generalised IoU losses of all layers.

    Args:
        detected: boxes of B images.
        targets: of the same images.
        count: of people, by which the sum is divided.

    Source: DINO's losses and weights, which ED-Pose keeps.
    """
    logits, boxes, people = detected.logits, detected.boxes, targets.together
    distance, iou = box_costs(boxes, people)
    costs = CLASS_WEIGHT * class_costs(logits, people) + BOX_WEIGHT * distance + IOU_WEIGHT * iou
    [matched] = match([costs], targets.counts)
    distance, iou = box_losses(boxes, people, matched)
    classes = class_losses(logits, matched)
    total = CLASS_WEIGHT * classes + BOX_WEIGHT * distance + IOU_WEIGHT * iou
    return total.sum() / count
