"""DEKR: Disentangled Keypoint Regression (Geng et al., CVPR 2021).

A person is a peak of the centre heatmap, and its keypoints are regressed at that cell. Each
keypoint has features of its own, which adaptive blocks compute where the keypoint is. The keypoint
heatmaps score the poses. Follows the published code where it and the paper differ; docs/dekr.md
lists where.

Shapes: B images, K keypoints, C backbone channels, D channels of a keypoint's features, H x W
cells, a quarter of the input. A cell lies on the input's pixel (4 x, 4 y). All maps are raw.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock

from posebench.layers.backbones import HRNET_WIDTHS
from posebench.layers.backbones.hrnet import hrnet, joined_conv
from posebench.layers.precision import float32_conv, no_autocast
from posebench.models.base import PoseModel, Release
from posebench.models.dekr.adaptive import AdaptiveBlock, AdaptiveConv
from posebench.models.dekr.decoding import DEKROutputs, decode_people, merge_mirrored
from posebench.models.dekr.losses import loss_terms
from posebench.models.dekr.recipes import STRIDE, DEKRConfig
from posebench.models.dekr.rescoring import ScoringNet
from posebench.models.dekr.targets import DEKRTargets, batch_targets
from posebench.models.keypoint_rows import Label, Rows, of_keypoints, of_layer
from posebench.skeleton import Skeleton
from posebench.structures import Batch, Geometry, Inference, PosePredictions

Streams = tuple[Tensor, ...]  # the backbone's maps at strides 4, 8, 16 and 32


class DEKR(PoseModel):
    """A heatmap head, and an offset head with a branch per keypoint, on an HRNet."""

    config: DEKRConfig

    published_names: ClassVar[dict[str, str]] = {
        "transition_heatmap.0.": "heatmap_transition.conv.",
        "transition_heatmap.1.": "heatmap_transition.bn.",
        "head_heatmap.0.0.": "heatmap_head.0.",
        "head_heatmap.1.": "heatmap_head.1.",
        "transition_offset.0.": "offset_transition.conv.",
        "transition_offset.1.": "offset_transition.bn.",
        "": "backbone.",
    }
    # Each keypoint's layers are published on their own; here they are one layer with groups.
    published_stacks: ClassVar[dict[str, str]] = {
        "offset_final_layer.*.": "offset_head.",
        **{
            f"offset_feature_layers.*.{block}.{published}.": f"offset_blocks.{block}.{ours}."
            for block in (0, 1)
            for published, ours in (
                ("transform_matrix_conv", "matrix"),
                ("translation_conv", "shift"),
                ("adapt_conv", "conv"),
                ("bn", "bn"),
            )
        },
    }
    # The taps of a regular convolution, a constant.
    ignored_checkpoint_keys: ClassVar[tuple[str, ...]] = (r"\.regular_matrix$",)
    other_releases: ClassVar[tuple[Release, ...]] = (
        Release(
            "the authors, with the scoring net",
            {
                "l1.": "scoring.layers.0.",
                "l2.": "scoring.layers.2.",
                "l3.": "scoring.layers.4.",
                **published_names,
            },
            left_out=ignored_checkpoint_keys,
            stacks=published_stacks,
            settings=("rescore=true",),
            other_network=True,
        ),
    )

    def __init__(self, config: DEKRConfig, skeleton: Skeleton) -> None:
        super().__init__(config, skeleton)
        width, keypoints = HRNET_WIDTHS[config.backbone], len(skeleton)
        channels = 15 * width  # four streams: 1 + 2 + 4 + 8 widths
        own = keypoints * config.channels
        self.backbone = hrnet(config.backbone)
        self.heatmap_transition = Transition(channels, width)
        self.heatmap_head = nn.Sequential(
            BasicBlock(width, width), nn.Conv2d(width, keypoints + 1, 1)
        )
        self.offset_transition = Transition(channels, own)
        self.offset_blocks = nn.Sequential(
            *(AdaptiveBlock(keypoints, config.channels) for _ in range(config.blocks))
        )
        self.offset_head = nn.Conv2d(own, 2 * keypoints, 1, groups=keypoints)
        self.scoring = ScoringNet(skeleton) if config.rescore else None
        self._initialise()

    def _initialise(self) -> None:
        """Set the published initial weights. Source: the published code."""
        for layer in self.modules():
            # Adaptive convolutions keep PyTorch's own.
            if isinstance(layer, nn.Conv2d) and not isinstance(layer, AdaptiveConv):
                nn.init.normal_(layer.weight, std=self.config.initial_std)
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)
        for block in self.offset_blocks:
            assert isinstance(block, AdaptiveBlock)
            # All nine taps lie on the cell itself at first; with the identity they lie around it.
            nn.init.zeros_(block.matrix.weight)
            nn.init.zeros_(block.shift.weight)
            if self.config.initial_taps == "grid":
                assert block.matrix.bias is not None
                identity = torch.eye(2).flatten().repeat(len(self.skeleton))
                block.matrix.bias.data.copy_(identity)

    def load_pretrained(self) -> None:
        self.backbone = hrnet(self.config.backbone, pretrained=True)

    def keypoint_rows(self) -> dict[str, Rows]:
        keypoints = of_keypoints(self.skeleton)
        own = self._labels("feature", self.config.channels)
        rows: dict[str, Rows] = {
            **of_layer("heatmap_head.1", [*keypoints, ("", "centre of a person")]),
            **of_layer("offset_transition.conv", own),
            **of_norm("offset_transition.bn", own),
            **of_layer("offset_head", of_keypoints(self.skeleton, "x", "y")),
        }
        for number in range(self.config.blocks):
            block = f"offset_blocks.{number}"
            rows |= of_layer(f"{block}.matrix", self._labels("matrix", 4))
            rows |= of_layer(f"{block}.shift", self._labels("shift", 2))
            rows |= of_layer(f"{block}.conv", own) | of_norm(f"{block}.bn", own)
        return rows

    def _labels(self, value: str, count: int) -> list[Label]:
        return of_keypoints(self.skeleton, *(f"{value} {number}" for number in range(count)))

    def features(self, images: Tensor, padding: Tensor | None = None) -> Streams:
        """Return the backbone's four streams; the paper joins them."""
        return tuple(self.backbone(images))

    def heads(self, features: Streams, people: Tensor | None = None) -> DEKROutputs:
        return DEKROutputs(self.heatmaps(features), self.offsets(features))

    def heatmaps(self, streams: Streams) -> Tensor:
        """Return the heatmaps (B, K + 1, H, W)."""
        heatmaps: Tensor = self.heatmap_head(self.heatmap_transition(streams))
        return heatmaps

    def offsets(self, streams: Streams) -> Tensor:
        """Return the offsets (B, 2 K, H, W)."""
        return self.offsets_from(self.offset_transition(streams))

    def offsets_from(self, features: Tensor) -> Tensor:
        """Return the offsets from the keypoints' own features (B, K D, H, W)."""
        # float32: in bfloat16 an offset of sixty cells is known to a quarter of a cell.
        return float32_conv(self.offset_head, self.offset_blocks(features))

    def merged_outputs(self, batches: Sequence[Batch], inference: Inference) -> DEKROutputs:
        """Return the outputs of each scale, merged with those of the mirrored images.

        Scales are merged as people, by `decode`.
        """
        first, *others = (self._scale_outputs(batch.images, inference.flip) for batch in batches)
        return replace(first, others=tuple(others))

    def _scale_outputs(self, images: Tensor, flip: bool) -> DEKROutputs:
        """Return one scale's outputs; with `flip`, the mean with those of the mirrored images."""
        if not flip:
            outputs: DEKROutputs = self(images)
            return outputs
        both: DEKROutputs = self(torch.cat([images, mirrored_cells(images)]))
        heatmaps, offsets = both.heatmaps.chunk(2), both.offsets.chunk(2)
        upright, mirrored = map(DEKROutputs, heatmaps, offsets)
        return merge_mirrored(upright, mirrored, self.skeleton.flip_index)

    def targets(self, batch: Batch) -> DEKRTargets:
        return batch_targets(batch, self.config)

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        targets = self.targets(batch)
        outputs: DEKROutputs = self(batch.images)
        with no_autocast(batch.images.device):
            return loss_terms(outputs, targets, self.config.offset_weight)

    def decode(self, outputs: DEKROutputs, geometry: Geometry) -> list[PosePredictions]:
        return decode_people(outputs, geometry, self.config, self.scoring)


class Transition(nn.Module):
    """The layer from the backbone's joined streams to a head's features."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, width, 1, bias=False)
        self.bn = nn.BatchNorm2d(width)

    def forward(self, streams: Streams) -> Tensor:
        """Return the features (B, width, H, W)."""
        [convolved] = joined_conv(streams, [self.conv])
        return F.relu(self.bn(convolved))

    def as_written(self, joined: Tensor) -> Tensor:
        """Return the features from the joined streams (B, C, H, W)."""
        return F.relu(self.bn(self.conv(joined)))


def mirrored_cells(images: Tensor) -> Tensor:
    """Return the mirrored images (B, 3, H, W) whose cells are those of the images.

    Cells lie on the pixels 0, 4, 8, ..., mirrored ones of W pixels on 3, 7, ...: the mirror image
    is moved to the left by 3 pixels.

    Source: the published code, which leaves the last columns as they are.
    """
    mirrored = images.flip(-1)
    moved = mirrored.clone()
    moved[..., : 1 - STRIDE] = mirrored[..., STRIDE - 1 :]
    return moved


def of_norm(name: str, labels: Sequence[Label]) -> dict[str, Rows]:
    """Return the rows of a batch norm."""
    values = ("weight", "bias", "running_mean", "running_var")
    return {f"{name}.{value}": {0: labels} for value in values}
