"""DGCN: a dynamic graph convolutional network for keypoints (Qiu et al., AAAI 2020).

PifPaf with a module (DGCM) between the backbone and the fields. The module reduces the backbone's
map to one channel per keypoint, supervised to be the keypoint's confidence; mixes these channels
by a graph convolution, whose graph is sampled anew at every training step; and applies a non-local
layer. There is no published code; docs/dgcn.md lists what the paper leaves open and our choices.

Shapes: B images, K keypoints, C channels of a map, h x w cells.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from posebench.layers.portable import portable
from posebench.models.dgcn.adjacency import (
    limb_adjacency,
    sampled_adjacency,
    soft_adjacency,
    upright_distances,
)
from posebench.models.dgcn.recipes import ATTENTION_SHARE, HEAD_STRIDES, DGCNConfig
from posebench.models.keypoint_rows import Rows, of_keypoints, of_layer
from posebench.models.pifpaf.losses import confidence_loss
from posebench.models.pifpaf.model import (
    STRIDE,
    FieldHead,
    PifPaf,
    PifPafFeatures,
    PifPafOutputs,
    PifPafTargets,
    build_targets,
)
from posebench.models.pifpaf.targets import KEYPOINT_VALUES, LIMB_VALUES, field_size
from posebench.skeleton import Skeleton
from posebench.structures import Batch, KeypointStatistics
from posebench.transfer import to_device, to_host

OWN_SHARE = 0.5  # initial weight of a keypoint's own channel in the graph convolution


# ------------------------------------------------------------------------------------------- graph


class GraphConvolution(nn.Module):
    """A graph convolution over K maps, one per keypoint. Source: Eqs. 4 and 8."""

    def __init__(self, keypoints: int, *, learned: bool) -> None:
        super().__init__()
        self.conv = nn.Conv2d(keypoints, keypoints, 1)  # W
        # W_d, such that the softmax gives OWN_SHARE to a keypoint itself, equal parts to the others
        own = math.log(OWN_SHARE * (keypoints - 1) / (1 - OWN_SHARE))
        self.relation = nn.Parameter(own * torch.eye(keypoints)) if learned else None

    def forward(self, maps: Tensor, adjacency: Tensor) -> Tensor:
        """Return the mixed maps (B, K, h, w).

        Args:
            maps: (B, K, h, w).
            adjacency: (K, K), multiplied with W_d: an element 0 contributes e^0 to the softmax.
        """
        if self.relation is not None:
            # In float32: the matrix is small, and its rounding errors would affect all cells alike.
            weights = (self.relation.float() * adjacency).softmax(1)  # beta, row by row
            maps = torch.einsum("bihw,ij->bjhw", maps, weights.to(maps.dtype))
        mixed: Tensor = F.relu(self.conv(maps))
        return mixed


class NonLocal(nn.Module):
    """A non-local layer: attention over the whole map. Source: Wang et al. (arXiv:1711.07971).

    Keys and values of finer maps are pooled to the coarsest map's stride, since attention over all
    pairs of cells would be too expensive.
    """

    def __init__(self, channels: int, pool: int) -> None:
        super().__init__()
        inner = channels // ATTENTION_SHARE
        self.query = nn.Conv2d(channels, inner, 1)
        self.key = nn.Conv2d(channels, inner, 1)
        self.value = nn.Conv2d(channels, inner, 1)
        self.out = nn.Conv2d(inner, channels, 1)
        self.pool = pool
        nn.init.zeros_(self.out.weight)  # the layer starts as the identity
        assert self.out.bias is not None
        nn.init.zeros_(self.out.bias)

    def forward(self, features: Tensor) -> Tensor:
        pooled = features
        if self.pool > 1:
            pooled = F.max_pool2d(features, self.pool, ceil_mode=True)
        query, key, value = self.query(features), self.key(pooled), self.value(pooled)
        tokens = [maps.flatten(2).transpose(1, 2) for maps in (query, key, value)]
        if portable() or query.is_cuda:  # ONNX's and CUDA's fast attention have an axis of heads
            tokens = [own[:, None] for own in tokens]
        attended = F.scaled_dot_product_attention(*tokens)
        attended = attended.mT.reshape(*query.shape)
        outputs: Tensor = features + self.out(attended)
        return outputs


class DGCM(nn.Module):
    """The paper's module: K channels, a graph convolution over them, and a non-local layer.

    K channels are too few to predict the fields from, so the input map, reduced to `width`
    channels, is added to them.
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
        """Return the features (B, width, h, w) and the supervised logits (B, K, h, w)."""
        logits = self.reduce(features)
        mixed = self.squeeze(features) + self.expand(self.graph(logits, adjacency))
        return self.non_local(mixed), logits


class Pyramid(nn.Module):
    """The sum of one module per map, downsampled to the coarsest map. Source: Eq. 9.

    All downsampling steps share one convolution, since the paper's third head adds few parameters.
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
        """Return features (B, width, h, w) at the coarsest stride, and all logits, finest first."""
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
    """PifPaf's fields predicted from two pyramids of modules, one for each kind of field."""

    config: DGCNConfig
    computed_tensors = (*PifPaf.computed_tensors, "adjacency", "graph_seed", "graphs_drawn")

    adjacency: Tensor  # (K, K) of every module; a dynamic graph's edge probabilities
    graph_seed: Tensor  # int64
    graphs_drawn: Tensor  # int64, number of training steps for which graphs were sampled

    def __init__(self, config: DGCNConfig, skeleton: Skeleton) -> None:
        self.strides = HEAD_STRIDES[config.heads]
        super().__init__(config, skeleton)
        keypoints = len(skeleton)
        self.register_buffer("adjacency", torch.zeros(keypoints, keypoints))
        self.set_distances(upright_distances(self.layout))
        # Seed and counter of the graphs. As buffers they are saved in checkpoints, so that a
        # resumed run continues the same sequence, and broadcast, so that all ranks share it.
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

    def keypoint_rows(self) -> dict[str, Rows]:
        keypoints = of_keypoints(self.skeleton)
        rows = super().keypoint_rows()
        for pyramid in ("keypoint_pyramid", "limb_pyramid"):
            for number in range(len(self.strides)):
                module = f"{pyramid}.modules_of_maps.{number}"
                rows.update(of_layer(f"{module}.reduce", keypoints))
                rows.update(of_layer(f"{module}.graph.conv", keypoints))
                # Mixes keypoints, as the relation does.
                rows[f"{module}.graph.conv.weight"] = {0: keypoints, 1: keypoints}
                rows[f"{module}.graph.relation"] = {0: keypoints, 1: keypoints}
                rows[f"{module}.expand.weight"] = {1: keypoints}
        return rows

    def prepare(self, statistics: Callable[[], KeypointStatistics]) -> None:
        """Set the training set's mean distances, if the adjacency is computed from them."""
        super().prepare(statistics)
        if self.config.adjacency in ("soft", "dynamic"):
            self.set_distances(statistics().distances)

    def set_distances(self, mean: Any) -> None:
        """Set the adjacency from mean distances (K, K); limbs and identity ignore them."""
        if self.config.adjacency == "identity":
            adjacency = torch.eye(len(self.skeleton))
        elif self.config.adjacency == "limbs":
            adjacency = limb_adjacency(self.layout)
        else:
            adjacency = soft_adjacency(mean, self.config.gamma)
        self.adjacency = adjacency.to(self.adjacency.device)

    def graphs(self) -> list[Tensor]:
        """Return each module's adjacency (K, K): the keypoint pyramid's, then the limb pyramid's.

        In training every call samples new dynamic graphs; in testing they are all ones. Source:
        Eq. 7.
        """
        count = 2 * len(self.strides)
        if self.config.adjacency != "dynamic":
            return [self.adjacency] * count
        if not self.training:
            return [torch.ones_like(self.adjacency)] * count
        buffers = (self.graph_seed, self.graphs_drawn, self.adjacency)
        seed, drawn, adjacency = to_host([buffer.clone() for buffer in buffers])
        self.graphs_drawn += 1
        graphs = [
            sampled_adjacency(adjacency, zlib.crc32(f"{int(seed)} {int(drawn)} {number}".encode()))
            for number in range(count)
        ]
        return to_device(graphs, self.adjacency.device)

    def heads(self, features: PifPafFeatures, people: Tensor | None = None) -> PifPafOutputs:
        graphs = self.graphs()
        half = len(self.strides)
        keypoint_features, keypoint_logits = self.keypoint_pyramid(features.maps, graphs[:half])
        limb_features, limb_logits = self.limb_pyramid(features.maps, graphs[half:])
        size = field_size(features.size, STRIDE)
        return PifPafOutputs(
            self.keypoint_head(keypoint_features, size),
            self.limb_head(limb_features, size),
            (*keypoint_logits, *limb_logits),
        )

    def target_builder(self) -> Callable[[Batch], PifPafTargets]:
        """Return what builds PifPaf's targets, and keypoint confidences for every module."""
        return partial(build_targets, layout=self.current_layout(), module_strides=2 * self.strides)

    def _terms(self, outputs: PifPafOutputs, targets: PifPafTargets) -> dict[str, Tensor]:
        modules = len(outputs.intermediate)
        each = [
            confidence_loss(logits, confidences)
            for logits, confidences in zip(outputs.intermediate, targets.intermediate, strict=True)
        ]
        # alpha / N, with N the number of modules.
        weight = self.config.keypoint_weight / modules
        return {
            **super()._terms(outputs, targets),
            "intermediate": weight * torch.stack(each).sum(),
        }
