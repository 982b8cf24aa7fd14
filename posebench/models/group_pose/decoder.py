"""Group Pose's decoder layer: group self-attentions, cross-attention, feed-forward network.

Shapes: B images, N predicted people of an image, T queries of a person (the instance query, then
the keypoint queries), C channels, S tokens of the pyramid, L levels.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from posebench.layers.deformable import DeformableAttention, feed_forward
from posebench.layers.pyramid import LEVELS, EncodedPyramid
from posebench.layers.transformer import SelfAttention
from posebench.models.group_pose.recipes import GroupPoseConfig


class DecoderLayer(nn.Module):
    """Group self-attentions, deformable cross-attention and a feed-forward network (Sec. 3.3)."""

    def __init__(self, config: GroupPoseConfig) -> None:
        super().__init__()
        channels = config.channels
        self.config = config
        grouped = config.self_attention == "group"
        if config.within_instance or not grouped:
            self.within_attn = SelfAttention(channels)
            self.within_norm = nn.LayerNorm(channels)
        if config.across_instance and grouped:
            if not (config.shared_attention and config.within_instance):
                self.across_attn = SelfAttention(channels)
            self.across_norm = nn.LayerNorm(channels)
        self.cross_attn = DeformableAttention(channels, LEVELS)
        self.norm1 = nn.LayerNorm(channels)
        self.linear1 = nn.Linear(channels, config.hidden)
        self.linear2 = nn.Linear(config.hidden, channels)
        self.norm2 = nn.LayerNorm(channels)
        for layer in (self.linear1, self.linear2):
            nn.init.xavier_uniform_(layer.weight)

    def forward(
        self, queries: Tensor, positions: Tensor, references: Tensor, features: EncodedPyramid
    ) -> tuple[Tensor, Tensor]:
        """Return the refined queries (B, N, T, C), and as they entered the cross-attention.

        Args:
            queries: (B, N, T, C), which already contain the positions: the published code adds
                them in place, so that values and residuals contain them too.
            positions: (B, N, T, C), zero for the instance query; added again before the
                cross-attention.
            references: (B, N, T, 2), the points around which the queries sample.
            features: of the images.
        """
        entering = self.attend_groups(queries) + positions
        on_levels = features.tokens.on_every_level(references).flatten(1, 2)
        return self.ffn(self.attend_image(entering, on_levels, features)), entering

    def attend_groups(self, queries: Tensor) -> Tensor:
        """Return the queries (B, N, T, C) after self-attention among them."""
        config = self.config
        if config.self_attention != "group":
            mask = None
            if config.self_attention == "masked":
                mask = group_mask(queries.shape[1], queries.shape[2], queries.device)
            attended = self.within_attn(queries.flatten(1, 2), mask=mask).view_as(queries)
            output: Tensor = self.within_norm(queries + attended)
            return output
        if config.within_instance:
            queries = self.within_norm(queries + self.within_attn(queries, axis=2))
        if config.across_instance:
            queries = self.across_norm(queries + self.attend_across(queries))
        return queries

    def attend_across(self, queries: Tensor) -> Tensor:
        """Return the attention (B, N, T, C) among queries of one type, 0 for types without it."""
        attention = self.across_attn if hasattr(self, "across_attn") else self.within_attn
        first, last = 0, queries.shape[2]
        if self.config.has_instance and self.config.has_keypoints:
            if self.config.across_types == "keypoint":
                first = 1
            elif self.config.across_types == "instance":
                last = 1
        attended: Tensor = attention(queries[:, :, first:last], axis=1)
        return F.pad(attended, (0, 0, first, queries.shape[2] - last))

    def attend_image(self, queries: Tensor, references: Tensor, features: EncodedPyramid) -> Tensor:
        """Return the queries (B, N, T, C) after cross-attention to the image.

        Args:
            queries: (B, N, T, C).
            references: (B, N T, L, 2), as shares of each level's map.
            features: of the images.
        """
        tokens = features.tokens
        attended = self.cross_attn(
            queries.flatten(1, 2), references, features.memory, tokens.sizes, tokens.padding
        )
        output: Tensor = self.norm1(queries + attended.view_as(queries))
        return output

    def ffn(self, queries: Tensor) -> Tensor:
        """Return the queries (B, N, T, C) after the feed-forward network."""
        output: Tensor = self.norm2(queries + feed_forward(queries, self.linear1, self.linear2))
        return output


def group_mask(people: int, types: int, device: torch.device) -> Tensor:
    """Return (N T, N T), True between queries of one person or of one type (Fig. 3b)."""
    person = torch.arange(people, device=device).repeat_interleave(types)
    kind = torch.arange(types, device=device).repeat(people)
    return (person[:, None] == person) | (kind[:, None] == kind)
