"""HigherHRNet: Scale-Aware Representation Learning (Cheng et al., CVPR 2020), and its baseline.

The backbone's finest map yields a heatmap and a tag map per keypoint; each deconvolution module
doubles the resolution and yields heatmaps again. Keypoints are grouped into people by their tags.
Without a deconvolution module it is the paper's bottom-up HRNet. Follows the published code where
it and the paper differ; docs/higher_hrnet.md lists where.

Shapes: B images, K keypoints, C backbone channels, T tags of a pixel (two with the mirrored image),
H x W network input. Heatmaps and tags are raw: there is no activation.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock

from posebench.layers.backbones import HRNET_WIDTHS
from posebench.layers.backbones.hrnet import hrnet
from posebench.layers.precision import no_autocast
from posebench.models.base import PoseModel, Release
from posebench.models.higher_hrnet.decoding import (
    HigherHRNetOutputs,
    decode_image,
    resize_maps,
    resize_tags,
)
from posebench.models.higher_hrnet.device_decoding import decode_on_device
from posebench.models.higher_hrnet.losses import loss_terms
from posebench.models.higher_hrnet.recipes import STRIDE, HigherHRNetConfig
from posebench.models.higher_hrnet.targets import HigherHRNetTargets, build_targets
from posebench.models.keypoint_rows import Rows, of_keypoints, of_layer
from posebench.skeleton import Skeleton
from posebench.structures import Batch, Geometry, Inference, PosePredictions
from posebench.transfer import index_on

HEAD_STD = 0.001  # of the initial weights of convolutions


class HigherHRNet(PoseModel):
    """Heatmaps at several resolutions and associative embedding on an HRNet."""

    config: HigherHRNetConfig

    published_names: ClassVar[dict[str, str]] = {
        "final_layers.": "heatmap_heads.",
        "deconv_layers.": "deconvolutions.",
        "": "backbone.",
    }
    # Associative embedding with HRNet has one head; its name has no number in MMPose.
    other_releases: ClassVar[tuple[Release, ...]] = (
        Release(
            "MMPose 0.x",
            {
                "backbone.": "backbone.",
                "keypoint_head.final_layers.": "heatmap_heads.",
                "keypoint_head.final_layer.": "heatmap_heads.0.",
                "keypoint_head.deconv_layers.": "deconvolutions.",
            },
            settings=("inference.resize.rounding=mmpose0",),
        ),
        Release(
            "MMPose 1.x",
            {"backbone.": "backbone.", "head.final_layer.": "heatmap_heads.0."},
            left_out=(r"^data_preprocessor\.",),
            settings=("inference.resize.rounding=mmpose1",),
        ),
    )

    def __init__(self, config: HigherHRNetConfig, skeleton: Skeleton) -> None:
        super().__init__(config, skeleton)
        width, keypoints = HRNET_WIDTHS[config.backbone], len(skeleton)
        self.backbone = hrnet(config.backbone, streams=1)
        # Channels of each resolution's maps; tags are predicted at stride 4 only.
        predicted = [2 * keypoints] + [keypoints] * config.deconvolutions
        self.heatmap_heads = nn.ModuleList(nn.Conv2d(width, channels, 1) for channels in predicted)
        self.deconvolutions = nn.ModuleList(
            _deconvolution(width + maps if config.concatenate else width, width, config.blocks)
            for maps in predicted[:-1]
        )
        for layer in (*self.heatmap_heads.modules(), *self.deconvolutions.modules()):
            if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
                nn.init.normal_(layer.weight, std=HEAD_STD)
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)

    @property
    def strides(self) -> tuple[int, ...]:
        """The strides of the heatmaps, coarsest first."""
        return tuple(STRIDE // 2**i for i in range(self.config.deconvolutions + 1))

    def load_pretrained(self) -> None:
        self.backbone = hrnet(self.config.backbone, streams=1, pretrained=True)

    def keypoint_rows(self) -> dict[str, Rows]:
        heatmaps, tags = (of_keypoints(self.skeleton, value) for value in ("heatmap", "tag"))
        predicted = [[*heatmaps, *tags], *[heatmaps] * self.config.deconvolutions]
        rows: dict[str, Rows] = {}
        for number, labels in enumerate(predicted):
            rows.update(of_layer(f"heatmap_heads.{number}", labels))
        if self.config.concatenate:
            width = HRNET_WIDTHS[self.config.backbone]
            features = [("", f"feature {channel}") for channel in range(width)]
            for number, labels in enumerate(predicted[:-1]):
                rows[f"deconvolutions.{number}.0.0.weight"] = {0: [*features, *labels]}
        return rows

    def features(self, images: Tensor, padding: Tensor | None = None) -> Tensor:
        """Return the backbone's finest map (B, C, H / 4, W / 4)."""
        streams: list[Tensor] = self.backbone(images)
        [finest] = streams
        return finest

    def heads(self, features: Tensor, people: Tensor | None = None) -> HigherHRNetOutputs:
        maps = self.heatmap_heads[0](features)
        keypoints = len(self.skeleton)
        heatmaps, tags = [maps[:, :keypoints]], maps[:, keypoints:, None]
        for deconvolve, predict in zip(self.deconvolutions, self.heatmap_heads[1:], strict=True):
            if self.config.concatenate:
                features = torch.cat([features, maps], 1)
            features = deconvolve(features)
            maps = predict(features)
            heatmaps.append(maps)
        height, width = tags.shape[-2:]
        return HigherHRNetOutputs(tuple(heatmaps), tags, (STRIDE * height, STRIDE * width))

    def merged_outputs(self, batches: Sequence[Batch], inference: Inference) -> HigherHRNetOutputs:
        """Return the outputs merged over views.

        Heatmaps are the mean over all views; tags are those of the first scale and of its mirror
        image.

        Source: Sec. 3.5 and the published code, in which each scale's maps are enlarged to the size
        of scale 1 before they are averaged.
        """
        scales = [self._scale_outputs(batch.images, inference.flip) for batch in batches]
        if len(scales) == 1:
            return scales[0]
        size = scales[0].size
        heatmaps = [resize_maps(self.aggregated(outputs), size) for outputs in scales]
        tags = resize_tags(self.fine_tags(scales[0]), size)
        return HigherHRNetOutputs((torch.stack(heatmaps).mean(0),), tags, size)

    def _scale_outputs(self, images: Tensor, flip: bool) -> HigherHRNetOutputs:
        """Return one scale's outputs; with `flip`, merged with those of the mirrored images."""
        if not flip:
            outputs: HigherHRNetOutputs = self(images)
            return outputs
        both = self(torch.cat([images, images.flip(-1)]))
        order = index_on(self.skeleton.flip_index, images.device)
        heatmaps = []
        for maps in both.heatmaps:
            upright, mirrored = maps.chunk(2)
            heatmaps.append((upright + mirrored.flip(-1)[:, order]) / 2)
        upright, mirrored = both.tags.chunk(2)
        tags = torch.cat([upright, mirrored.flip(-1)[:, order]], 2)
        return HigherHRNetOutputs(tuple(heatmaps), tags, both.size)

    def aggregated(self, outputs: HigherHRNetOutputs) -> Tensor:
        """Return the mean of all resolutions' heatmaps at the finest one's size (B, K, h, w).

        Without aggregation, return the finest heatmaps alone.
        """
        finest = outputs.heatmaps[-1]
        if not self.config.aggregate:
            return finest
        size = finest.shape[-2:]
        enlarged = [resize_maps(maps, size) for maps in outputs.heatmaps]
        return torch.stack(enlarged).mean(0)

    def fine_tags(self, outputs: HigherHRNetOutputs) -> Tensor:
        """Return the tags (B, K, T, h, w) at the finest heatmaps' size.

        Decoding enlarges them once more; that differs from enlarging them at once.
        """
        return resize_tags(outputs.tags, outputs.heatmaps[-1].shape[-2:])

    def targets(self, batch: Batch) -> HigherHRNetTargets:
        return build_targets(batch, self.strides)

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        targets = self.targets(batch)
        outputs: HigherHRNetOutputs = self(batch.images)
        with no_autocast(batch.images.device):
            return loss_terms(outputs, targets, self.config)

    def decode(self, outputs: HigherHRNetOutputs, geometry: Geometry) -> list[PosePredictions]:
        heatmaps = resize_maps(self.aggregated(outputs), outputs.size)
        tags = resize_tags(self.fine_tags(outputs), outputs.size)
        if heatmaps.is_cuda:
            return decode_on_device(heatmaps, tags, geometry)
        return [decode_image(*maps) for maps in zip(heatmaps, tags, geometry.to_image, strict=True)]


def _deconvolution(channels: int, width: int, blocks: int) -> nn.Sequential:
    enlarge = nn.Sequential(
        nn.ConvTranspose2d(channels, width, 4, 2, 1, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(inplace=True),
    )
    return nn.Sequential(enlarge, *(nn.Sequential(BasicBlock(width, width)) for _ in range(blocks)))
