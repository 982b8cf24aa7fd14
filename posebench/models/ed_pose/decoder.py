"""ED-Pose's decoder: box layers detect people, pose layers refine them and their keypoints.

Shapes: B images, M box queries, N people, K keypoints, T = K + 1 queries of a person: its box
query, then its keypoint queries. Q noise queries come first, in training only. C channels, S
tokens of the pyramid, D layers. A reference is a box, of keypoints too: centre x, y, width, height,
as shares of the image without padding.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from posebench.layers.deformable import DeformableAttention, feed_forward
from posebench.layers.precision import to_float32
from posebench.layers.proposals import best_tokens, select
from posebench.layers.pyramid import EncodedPyramid
from posebench.layers.transformer import (
    MLP,
    SelfAttention,
    box_encoding,
    class_head,
    refine_references,
    zero_init_head,
)
from posebench.models.ed_pose.denoising import LABELS
from posebench.models.ed_pose.outputs import NoiseQueries, with_noise
from posebench.models.ed_pose.recipes import EDPoseConfig


@dataclass(frozen=True)
class LayerPredictions:
    """What one layer predicts from its normed queries, in float32."""

    logits: Tensor  # (B, Q + M or N, 2)
    boxes: Tensor  # (B, Q + M or N, 4)
    keypoints: Tensor | None  # (B, N, K, 2); None: of a box layer


@dataclass(frozen=True)
class LayerSteps:
    """A layer's inner values; the first Q of its queries are noise queries."""

    entering: Tensor  # (B, Q + M or N T, C), the queries as they enter the cross-attention
    queries: Tensor  # (B, Q + M or N T, C), as they leave the layer
    before: Tensor  # (B, Q + M or N T, 4), the references that entered the layer, with gradients
    after: Tensor  # (B, Q + M or N T, 4), refined


class DecoderLayer(nn.Module):
    """Self-attention, deformable cross-attention around boxes, feed-forward network."""

    def __init__(self, channels: int, hidden: int, levels: int) -> None:
        super().__init__()
        self.self_attn = SelfAttention(channels)
        self.norm2 = nn.LayerNorm(channels)
        self.cross_attn = DeformableAttention(channels, levels)
        self.norm1 = nn.LayerNorm(channels)
        self.linear1 = nn.Linear(channels, hidden)
        self.linear2 = nn.Linear(hidden, channels)
        self.norm3 = nn.LayerNorm(channels)
        for layer in (self.linear1, self.linear2):
            nn.init.xavier_uniform_(layer.weight)

    def forward(
        self,
        queries: Tensor,
        positions: Tensor,
        references: Tensor,
        features: EncodedPyramid,
        mask: Tensor | None,
    ) -> tuple[Tensor, Tensor]:
        """Return the refined queries (B, T, C), and as they entered the cross-attention.

        Args:
            queries: (B, T, C) of T queries.
            positions: (B, T, C), added before both attentions; residuals do not contain them.
            references: (B, T, L, 4), as shares of each level's map.
            features: of the images.
            mask: (T, T) or (B, T, T) bool, True where a query (row) sees another (column); None:
                everywhere.
        """
        attended = self.self_attn(queries, mask=mask, positions=positions)
        queries = self.norm2(queries + attended)
        entering = queries + positions
        queries = self.norm1(queries + self.attend_image(entering, references, features))
        queries = self.norm3(queries + feed_forward(queries, self.linear1, self.linear2))
        return queries, entering

    def attend_image(self, queries: Tensor, references: Tensor, features: EncodedPyramid) -> Tensor:
        """Return what the queries (B, T, C) see of the image around their references."""
        tokens = features.tokens
        attended: Tensor = self.cross_attn(
            queries, references, features.memory, tokens.sizes, tokens.padding
        )
        return attended


class Decoder(nn.Module):
    """Box layers, the selection of people, and pose layers, with a head of each kind per layer."""

    def __init__(self, config: EDPoseConfig, keypoints: int) -> None:
        super().__init__()
        width, depth = config.channels, config.box_layers + config.pose_layers
        self.box_layers, self.people, self.keypoints = config.box_layers, config.people, keypoints
        self.layers = nn.ModuleList(
            DecoderLayer(width, config.hidden, config.levels) for _ in range(depth)
        )
        self.norm = nn.LayerNorm(width)  # before the heads that predict, of all layers
        self.position_head = MLP([2 * width, width, width])
        for layer in self.position_head.layers:
            assert isinstance(layer, nn.Linear)
            nn.init.xavier_uniform_(layer.weight)
        self.keypoint_embedding = nn.Parameter(torch.empty(keypoints, width))
        # Logits of the first keypoint boxes' width and height, as shares of the person's.
        self.keypoint_sides = nn.Parameter(torch.empty(keypoints, 2))
        nn.init.xavier_uniform_(self.keypoint_embedding, gain=config.embedding_gain)
        nn.init.xavier_uniform_(self.keypoint_sides)
        if config.noise_queries:
            self.label_embedding = nn.Parameter(torch.randn(LABELS + 1, width))
        self.class_heads = nn.ModuleList(class_head(width) for _ in range(depth))
        self.box_heads = nn.ModuleList(
            zero_init_head([width, width, width, 4]) for _ in range(depth)
        )
        # Keypoint centres: of each pose layer, then those that the first of them starts from.
        own = config.first_centres == "own head"
        self.pose_heads = nn.ModuleList(
            zero_init_head([width, width, width, 2]) for _ in range(config.pose_layers + own)
        )
        self.first_centres = config.pose_layers if own else 0
        # One head moves the keypoint boxes' sides in all pose layers. As published, nothing is ever
        # learned of sides: losses read centres alone, and references are detached between layers.
        self.side_head = MLP([width, width, width, 2])

    def forward(
        self,
        content: Tensor,
        boxes: Tensor,
        features: EncodedPyramid,
        noise: NoiseQueries | None = None,
        *,
        every_layer: bool = False,
    ) -> tuple[list[LayerSteps], list[LayerPredictions]]:
        """Return the steps of all layers, and the predictions of every layer or of the last alone.

        Args:
            content: (B, M, C), the box queries.
            boxes: (B, M, 4), their references.
            features: of the images.
            noise: noise queries, which go before the others.
            every_layer: predict from every layer.
        """
        mask = None
        queries, references, noises = content, boxes, 0
        if noise is not None:
            noises = noise.content.shape[1]
            queries = torch.cat([noise.content.to(queries.dtype), queries], 1)
            references = torch.cat([noise.boxes, references], 1)
            mask = with_noise(None, noise, content.shape[1])
        before = references  # with gradients
        steps, predictions = [], []
        for number, layer in enumerate(self.layers):
            if number == self.box_layers:
                queries, before = self.expand(queries, before, noises)
                references = before.detach()
                others = queries.shape[1] - noises
                mask = pose_mask(others // (self.keypoints + 1), self.keypoints, queries.device)
                if noise is not None:
                    mask = with_noise(mask, noise, others)
            on_levels = features.tokens.on_every_level(references)
            positions = self.positions(on_levels[..., 0, :], queries.dtype)
            queries, entering = layer(queries, positions, on_levels, features, mask)
            after = self.refine(number, queries, references, noises)
            steps.append(LayerSteps(entering, queries, before, after))
            if every_layer or number == len(self.layers) - 1:
                predictions.append(self.predict(number, self.norm(queries), before, noises))
            before, references = after, after.detach()
        return steps, predictions

    def positions(self, boxes: Tensor, dtype: torch.dtype) -> Tensor:
        """Return the position encodings (B, T, C) of references (B, T, 4).

        Args:
            boxes: as published, as shares of the finest map with its padding.
            dtype: of the encodings.
        """
        encoded = box_encoding(boxes, self.keypoint_embedding.shape[1])
        positions: Tensor = self.position_head(encoded.to(dtype))
        return positions

    def expand(self, queries: Tensor, references: Tensor, noises: int) -> tuple[Tensor, Tensor]:
        """Return the queries (B, Q + N T, C) and references of the best N people, Sec. 3.2.

        Args:
            queries: (B, Q + M, C).
            references: (B, Q + M, 4), with gradients.
            noises: Q, which go on as they are.
        """
        head = self.class_heads[self.box_layers - 1]
        # As published, without the norm that is before the predictions, and by either class.
        best = best_tokens(to_float32(head(queries[:, noises:])), self.people)
        people, boxes = (select(of[:, noises:], best) for of in (queries, references))
        content = people[:, :, None] + self.keypoint_embedding  # (B, N, K, C)
        centres = refine_references(
            boxes[:, :, None, :2].expand(-1, -1, self.keypoints, -1),
            self.pose_heads[self.first_centres](content),
        )
        sides = to_float32(self.keypoint_sides).sigmoid() * boxes[:, :, None, 2:]
        keypoints = torch.cat([centres, sides], -1)
        expanded = [
            torch.cat([of_person[:, :, None], of_keypoints], 2).flatten(1, 2)
            for of_person, of_keypoints in ((people, content), (boxes, keypoints))
        ]
        return (
            after_noise(queries, noises, expanded[0]),
            after_noise(references, noises, expanded[1]),
        )

    def refine(self, number: int, queries: Tensor, references: Tensor, noises: int) -> Tensor:
        """Return the references (B, Q + M or N T, 4), moved by a layer's queries.

        As published, the heads read the queries without the norm that is before the predictions.
        """
        box_head = self.box_heads[number]
        if number < self.box_layers:
            return refine_references(references, box_head(queries))
        of_boxes = box_head(self.box_queries(queries, noises))
        own = self.by_person(queries, noises)[:, :, 1:]
        heads = (self.pose_heads[number - self.box_layers], self.side_head)
        of_keypoints = torch.cat([head(own) for head in heads], -1)
        deltas = torch.cat([of_boxes[:, noises:, None], of_keypoints], 2).flatten(1, 2)
        return refine_references(references, after_noise(of_boxes, noises, deltas))

    def box_queries(self, of_queries: Tensor, noises: int) -> Tensor:
        """Return the box queries' part (B, Q + N, C) of what all queries have (B, Q + N T, C)."""
        return after_noise(of_queries, noises, self.by_person(of_queries, noises)[:, :, 0])

    def by_person(self, of_queries: Tensor, noises: int) -> Tensor:
        """Return the people's part (B, N, T, C) of what pose layers' queries have."""
        of_people = of_queries[:, noises:]
        shape = (of_people.shape[0], -1, self.keypoints + 1, of_people.shape[-1])
        return of_people.reshape(shape)

    def predict(self, number: int, normed: Tensor, before: Tensor, noises: int) -> LayerPredictions:
        """Return a layer's predictions from its normed queries.

        Args:
            number: of the layer.
            normed: (B, Q + M or N T, C).
            before: (B, Q + M or N T, 4), the references that entered the layer, with gradients:
                "look forward twice" (DINO, arXiv:2203.03605).
            noises: Q.
        """
        queries, references, keypoints = normed, before, None
        if number >= self.box_layers:
            queries, references = (self.box_queries(of, noises) for of in (normed, before))
            own, boxes = (self.by_person(of, noises)[:, :, 1:] for of in (normed, before))
            head = self.pose_heads[number - self.box_layers]
            keypoints = refine_references(boxes[..., :2], head(own))
        return LayerPredictions(
            logits=to_float32(self.class_heads[number](queries)),
            boxes=refine_references(references, self.box_heads[number](queries)),
            keypoints=keypoints,
        )


def after_noise(of_queries: Tensor, noises: int, others: Tensor) -> Tensor:
    """Return what the first Q queries have (B, Q + any, C), then what the others have (B, X, C)."""
    return torch.cat([of_queries[:, :noises], others], 1) if noises else others


def pose_mask(people: int, keypoints: int, device: torch.device) -> Tensor:
    """Return (N T, N T) bool, True where a query (row) sees another (column), Sec. 3.3.

    A keypoint query sees the queries of its own person; a box query those and all box queries.

    Args:
        people: N.
        keypoints: K.
        device: of the mask.
    """
    of_person = keypoints + 1
    place = torch.arange(people * of_person, device=device)
    person, is_box = place // of_person, place % of_person == 0
    return (person[:, None] == person) | (is_box[:, None] & is_box)
