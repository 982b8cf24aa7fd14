"""DGCN: a dynamic graph convolutional network for keypoints (Qiu et al., AAAI 2020).

PifPaf, whose fields are read from features that have passed a graph of keypoints: a module (DGCM)
reduces a trunk's map to one channel per keypoint, which learns to be its confidence, lets keypoints
tell one another along a graph that is drawn anew for every step of training, and looks across the
image. There is no published code; docs/dgcn.md lists what the paper leaves open and what is done.

Shapes: B images, K keypoints, C channels of a map, h x w cells, G modules.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from posebench.models.dgcn.adjacency import (
    drawn_adjacency,
    limb_adjacency,
    soft_adjacency,
    upright_distances,
)
from posebench.models.dgcn.recipes import ATTENTION_SHARE, HEAD_STRIDES, DGCNConfig
from posebench.models.pifpaf.losses import confidence_loss
from posebench.models.pifpaf.model import (
    STRIDE,
    FieldHead,
    PifPaf,
    PifPafFeatures,
    PifPafOutputs,
    PifPafTargets,
)
from posebench.models.pifpaf.targets import (
    KEYPOINT_VALUES,
    LIMB_VALUES,
    field_size,
    keypoint_fields,
)
from posebench.structures import Batch, KeypointDistances, Skeleton

OWN_SHARE = 0.5  # of a keypoint that keeps to itself in an untrained graph


# ------------------------------------------------------------------------------------------- graph


class GraphConvolution(nn.Module):
    """Keypoints' maps, each mixed from those that it is bound to. Source: Eqs. 4 and 8."""

    def __init__(self, keypoints: int, *, learned: bool) -> None:
        super().__init__()
        self.conv = nn.Conv2d(keypoints, keypoints, 1)  # W
        # W_d. Softmax makes a keypoint keep OWN_SHARE of itself, and share out the rest evenly.
        own = math.log(OWN_SHARE * (keypoints - 1) / (1 - OWN_SHARE))
        self.relation = nn.Parameter(own * torch.eye(keypoints)) if learned else None

    def forward(self, maps: Tensor, adjacency: Tensor) -> Tensor:
        """Return (B, K, h, w) of the same.

        Args:
            maps: (B, K, h, w).
            adjacency: (K, K); multiplies W_d, so that a 0 leaves a weight of e^0 before softmax.
        """
        if self.relation is not None:
            # In full precision: it is small, and errors would be the same for all cells.
            weights = (self.relation.float() * adjacency).softmax(1)  # beta, row by row
            maps = torch.einsum("bihw,ij->bjhw", maps, weights.to(maps.dtype))
        mixed: Tensor = F.relu(self.conv(maps))
        return mixed


class NonLocal(nn.Module):
    """Every cell looks at all of the image. Source: Wang et al. (arXiv:1711.07971).

    Fine maps are looked at as coarsely as the coarsest: all pairs of cells would be too many.
    """

    def __init__(self, channels: int, pool: int) -> None:
        super().__init__()
        inner = channels // ATTENTION_SHARE
        self.query = nn.Conv2d(channels, inner, 1)
        self.key = nn.Conv2d(channels, inner, 1)
        self.value = nn.Conv2d(channels, inner, 1)
        self.out = nn.Conv2d(inner, channels, 1)
        self.pool = pool
        nn.init.zeros_(self.out.weight)  # at first it changes nothing
        assert self.out.bias is not None
        nn.init.zeros_(self.out.bias)

    def forward(self, features: Tensor) -> Tensor:
        seen = features
        if self.pool > 1:
            seen = F.max_pool2d(features, self.pool, ceil_mode=True)
        query, key, value = self.query(features), self.key(seen), self.value(seen)
        looked = F.scaled_dot_product_attention(
            *(maps.flatten(2).transpose(1, 2) for maps in (query, key, value))
        )
        looked = looked.transpose(1, 2).reshape(*query.shape)
        told: Tensor = features + self.out(looked)
        return told


class DGCM(nn.Module):
    """The paper's module: K channels, a graph of them, and a non-local layer.

    The K channels cannot carry what the fields are made of, so the map itself, squeezed, is added.
    """

    def __init__(
        self, channels: int, keypoints: int, width: int, pool: int, *, learned: bool
    ) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(channels, keypoints, 1)
        self.graph = GraphConvolution(keypoints, learned=learned)
        self.expand = nn.Conv2d(keypoints, width, 1)
        self.squeeze = nn.Sequential(
            nn.Conv2d(channels, width, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU(inplace=True)
        )
        self.non_local = NonLocal(width, pool)

    def forward(self, features: Tensor, adjacency: Tensor) -> tuple[Tensor, Tensor]:
        """Return (B, width, h, w), and the logits (B, K, h, w) that are supervised."""
        logits = self.reduce(features)
        related = self.squeeze(features) + self.expand(self.graph(logits, adjacency))
        return self.non_local(related), logits


class Pyramid(nn.Module):
    """A module for each map, brought to the coarsest one's size and summed. Source: Eq. 9.

    One downsampling convolution serves every halving, since the paper's third head hardly adds
    parameters.
    """

    def __init__(
        self, channels: Sequence[int], strides: Sequence[int], keypoints: int, width: int,
        *, learned: bool,
    ) -> None:  # fmt: skip
        super().__init__()
        coarsest = strides[-1]
        self.modules_of_maps = nn.ModuleList(
            DGCM(own, keypoints, width, coarsest // stride, learned=learned)
            for own, stride in zip(channels, strides, strict=True)
        )
        self.downsample = (
            nn.Conv2d(width, width, 3, stride=2, padding=1) if len(strides) > 1 else nn.Identity()
        )

    def forward(
        self, maps: Sequence[Tensor], adjacencies: Sequence[Tensor]
    ) -> tuple[Tensor, list[Tensor]]:
        """Return (B, width, h, w) of the coarsest map, and every module's logits, finest first."""
        total: Tensor | None = None
        logits = []
        for module, own, adjacency in zip(self.modules_of_maps, maps, adjacencies, strict=True):
            features, own_logits = module(own, adjacency)
            total = features if total is None else features + self.downsample(total)
            logits.append(own_logits)
        assert total is not None  # there is at least one map
        return total, logits


# ---------------------------------------------------------------------------------------- network


class DGCN(PifPaf):
    """PifPaf's fields read from two pyramids of graph modules, one for each kind of field."""

    config: DGCNConfig
    adjacency: Tensor  # (K, K) of every module; what a dynamic one's elements are drawn with
    graph_seed: Tensor  # int64
    graphs_drawn: Tensor  # int64

    def __init__(self, config: DGCNConfig, skeleton: Skeleton) -> None:
        self.strides = HEAD_STRIDES[config.heads]
        super().__init__(config, skeleton)
        keypoints = len(skeleton)
        self.register_buffer("adjacency", torch.zeros(keypoints, keypoints))
        self.set_distances(upright_distances(self.layout))
        # What graphs are drawn from. They travel with the weights, so that a resumed run draws
        # what it would have drawn, and to every process, so that all draw the same.
        self.register_buffer("graph_seed", torch.randint(2**31, ()))
        self.register_buffer("graphs_drawn", torch.zeros((), dtype=torch.int64))

    def _build_heads(self, channels: Sequence[int]) -> None:
        keypoints, width = len(self.skeleton), self.config.width
        learned = self.config.adjacency != "identity"
        self.keypoint_pyramid, self.limb_pyramid = (
            Pyramid(channels, self.strides, keypoints, width, learned=learned) for _ in range(2)
        )
        self.keypoint_head = FieldHead(width, keypoints, KEYPOINT_VALUES)
        self.limb_head = FieldHead(width, len(self.layout.limbs), LIMB_VALUES)

    def prepare(self, distances: Callable[[], KeypointDistances]) -> None:
        """Take over the training set's mean distances, where the graph is made of them."""
        if self.config.adjacency in ("soft", "dynamic"):
            self.set_distances(distances().mean)

    def set_distances(self, mean: Any) -> None:
        """Make the adjacency of mean distances (K, K); limbs and identity do not depend on them."""
        if self.config.adjacency == "identity":
            adjacency = torch.eye(len(self.skeleton))
        elif self.config.adjacency == "limbs":
            adjacency = limb_adjacency(self.layout)
        else:
            adjacency = soft_adjacency(mean, self.config.gamma)
        self.adjacency = adjacency.to(self.adjacency.device)

    def graphs(self) -> list[Tensor]:
        """Return the adjacency (K, K) of each module: the keypoint pyramid's, then the limbs'.

        In training a dynamic graph is drawn for each of them, as often as this is called; in
        testing it is all ones. Source: Eq. 7.
        """
        count = 2 * len(self.strides)
        if self.config.adjacency != "dynamic":
            return [self.adjacency] * count
        if not self.training:
            return [torch.ones_like(self.adjacency)] * count
        seed, drawn = torch.stack([self.graph_seed, self.graphs_drawn]).tolist()
        self.graphs_drawn += 1
        return [
            drawn_adjacency(self.adjacency, zlib.crc32(f"{seed} {drawn} {number}".encode()))
            for number in range(count)
        ]

    def heads(self, features: PifPafFeatures, people: Tensor | None = None) -> PifPafOutputs:
        graphs = self.graphs()
        half = len(self.strides)
        of_keypoints, keypoint_logits = self.keypoint_pyramid(features.maps, graphs[:half])
        of_limbs, limb_logits = self.limb_pyramid(features.maps, graphs[half:])
        size = field_size(features.size, STRIDE)
        return PifPafOutputs(
            self.keypoint_head(of_keypoints, size),
            self.limb_head(of_limbs, size),
            (*keypoint_logits, *limb_logits),
        )

    def targets(self, batch: Batch) -> PifPafTargets:
        """Return PifPaf's, and keypoints' confidences at the strides of the maps."""
        height, width = batch.images.shape[-2:]
        at_strides = []
        for stride in self.strides:
            size = field_size((height, width), stride)
            fields = [keypoint_fields(one, size)[:, 0] for one in self._people(batch, stride)]
            at_strides.append(torch.stack(fields))
        return replace(super().targets(batch), intermediate=(*at_strides, *at_strides))

    def _terms(self, outputs: PifPafOutputs, targets: PifPafTargets) -> dict[str, Tensor]:
        modules = len(outputs.intermediate)
        each = [
            confidence_loss(logits, wanted)
            for logits, wanted in zip(outputs.intermediate, targets.intermediate, strict=True)
        ]
        # alpha / N, with N the number of modules.
        weight = self.config.keypoint_weight / modules
        return {
            **super()._terms(outputs, targets),
            "intermediate": weight * torch.stack(each).sum(),
        }
