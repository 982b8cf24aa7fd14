"""CID: Contextual Instance Decoupling (Wang & Zhang, CVPR 2022).

A person is a point of the centre heatmap. The feature vector at that point recalibrates one shared
map into a map of that person alone (GFD), from which the person's keypoint heatmaps are read.
Follows the published code where it and the paper differ; docs/cid.md lists where.

Shapes: B images, M people of all images, K keypoints, C backbone channels, E embedding channels,
H x W feature map (a quarter of the input). A cell (y, x) covers 4 x 4 input pixels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from posebench.layers.backbones import HRNET_WIDTHS
from posebench.layers.backbones.hrnet import hrnet, joined_at, joined_conv
from posebench.layers.heatmaps import cell_poses, clamped_sigmoid
from posebench.layers.precision import no_autocast
from posebench.models.base import PoseModel, Release
from posebench.models.cid.decoding import CIDOutputs, centre_slots, decode_people, find_centres
from posebench.models.cid.decoupling import Decoupling, counts_wait, people_per_image
from posebench.models.cid.losses import loss_terms
from posebench.models.cid.multiscale import Grid
from posebench.models.cid.recipes import STRIDE, CIDConfig
from posebench.models.cid.targets import CIDTargets, build_targets, draw_jitter, keep_people
from posebench.models.keypoint_rows import Rows, of_keypoints, of_layer
from posebench.skeleton import Skeleton
from posebench.structures import Batch, Geometry, Inference, PosePredictions
from posebench.transfer import to_device

MAX_TRAINED_PEOPLE = 200  # over all images of a micro-batch

Streams = tuple[Tensor, ...]  # the backbone's maps at strides 4, 8, 16 and 32


@dataclass(frozen=True)
class View:
    """The network's maps of a batch's images at one scale, perhaps mirrored."""

    streams: Streams
    shared: Tensor  # (B, E, H, W)
    heatmaps: Tensor  # (B, K + 1, H, W) scores
    keypoint_order: Tensor  # (K,), exchanges left and right in a mirrored view


class CID(PoseModel):
    """Instance information abstraction (IIA) and global feature decoupling (GFD) on an HRNet."""

    config: CIDConfig

    published_names: ClassVar[dict[str, str]] = {
        "backbone.": "backbone.",
        "iia.keypoint_center_conv.": "keypoint_head.",
        "gfd.conv_down.": "reduce.",
        "gfd.c_attn.atn.": "decoupling.channel.",
        "gfd.s_attn.atn.": "decoupling.similarity.",
        "gfd.s_attn.conv.": "decoupling.mask.",
        "gfd.fuse_attn.": "decoupling.fuse.",
        "gfd.heatmap_conv.": "decoupling.heatmap.",
    }
    other_releases: ClassVar[tuple[Release, ...]] = (
        Release(
            "MMPose 0.x",
            {
                "backbone.": "backbone.",
                "keypoint_head.keypoint_center_conv.": "keypoint_head.",
                "keypoint_head.conv_down.": "reduce.",
                "keypoint_head.c_attn.atn.": "decoupling.channel.",
                "keypoint_head.s_attn.atn.": "decoupling.similarity.",
                "keypoint_head.s_attn.conv.": "decoupling.mask.",
                "keypoint_head.fuse_attn.": "decoupling.fuse.",
                "keypoint_head.heatmap_conv.": "decoupling.heatmap.",
            },
            settings=("inference.resize.rounding=mmpose0",),
        ),
        Release(
            "MMPose 1.x",
            {
                "backbone.": "backbone.",
                "head.iia_module.keypoint_root_conv.": "keypoint_head.",
                "head.gfd_module.conv_down.": "reduce.",
                "head.gfd_module.channel_attention.atn.": "decoupling.channel.",
                "head.gfd_module.spatial_attention.atn.": "decoupling.similarity.",
                "head.gfd_module.spatial_attention.conv.": "decoupling.mask.",
                "head.gfd_module.fuse_attention.": "decoupling.fuse.",
                "head.gfd_module.heatmap_conv.": "decoupling.heatmap.",
            },
            left_out=(r"^data_preprocessor\.",),
            settings=(
                "cell_centre=0.5",
                "strict_border=true",
                "inference.resize.rounding=mmpose1",
            ),
        ),
    )

    def __init__(self, config: CIDConfig, skeleton: Skeleton) -> None:
        super().__init__(config, skeleton)
        channels = 15 * HRNET_WIDTHS[config.backbone]  # four streams: 1 + 2 + 4 + 8 widths
        self.backbone = hrnet(config.backbone)
        self.keypoint_head = nn.Conv2d(channels, len(skeleton) + 1, 1)
        self.reduce = nn.Conv2d(channels, config.embedding, 1)  # the transformed map of Eq. 9
        self.decoupling = Decoupling(
            channels, len(skeleton), config.embedding,
            spatial=config.spatial, channel=config.channel, cell_centre=config.cell_centre,
        )  # fmt: skip
        for head in (self.keypoint_head, self.reduce, self.decoupling):
            for layer in head.modules():
                if isinstance(layer, nn.Conv2d | nn.Linear):
                    nn.init.normal_(layer.weight, std=config.head_std)
                    _fill_bias(layer, 0.0)
        # Initial scores are 0.01 everywhere, as in the focal loss's paper.
        for layer in (self.keypoint_head, self.decoupling.heatmap):
            _fill_bias(layer, -math.log(99))

    def load_pretrained(self) -> None:
        self.backbone = hrnet(self.config.backbone, pretrained=True)

    def keypoint_rows(self) -> dict[str, Rows]:
        keypoints = of_keypoints(self.skeleton)
        return {
            **of_layer("keypoint_head", [*keypoints, ("", "centre of a person")]),
            **of_layer("decoupling.heatmap", keypoints),
        }

    def features(self, images: Tensor, padding: Tensor | None = None) -> Streams:
        """Return the backbone's four streams; the paper's F is their joined map (B, C, H, W)."""
        return tuple(self.backbone(images))

    def heads(self, features: Streams, people: Tensor | None = None) -> CIDOutputs:
        heatmaps, shared = self.image_maps(features)
        if people is None and counts_wait(heatmaps):
            return self._slots(features, heatmaps, shared)
        [given] = [None] if people is None else to_device([people], heatmaps.device)
        centres, centre_scores = find_centres(heatmaps[:, -1], self.config.centre_pool, given)
        person_features = joined_at(features, centres)
        counts = None
        if people is not None and not torch.compiler.is_compiling():
            counts = people_per_image(people, len(shared))
        instance_heatmaps = self.decoupling(shared, person_features, centres, counts)
        return CIDOutputs(heatmaps, centres, centre_scores, person_features, instance_heatmaps)

    def _slots(self, streams: Streams, heatmaps: Tensor, shared: Tensor) -> CIDOutputs:
        """Return the outputs of 30 slots for people of each image, of which some are empty."""
        people, scores = centre_slots(heatmaps[:, -1], self.config.centre_pool)
        person_features = joined_at(streams, people)
        instance_heatmaps = self.decoupling.slots(shared, person_features, people).flatten(0, 1)
        return CIDOutputs(heatmaps, people, scores.flatten(), person_features, instance_heatmaps)

    def image_maps(self, streams: Streams) -> tuple[Tensor, Tensor]:
        """Return the heatmap scores (B, K + 1, H, W) and the reduced map S (B, E, H, W)."""
        logits, shared = joined_conv(streams, (self.keypoint_head, self.reduce))
        return clamped_sigmoid(logits), shared

    def merged_outputs(self, batches: Sequence[Batch], inference: Inference) -> CIDOutputs:
        """Return the outputs merged over views.

        Centres come from the mean of the views' centre maps, and each person's heatmaps are the
        mean of those from every view.

        The published code merges the mirrored image in this way. It has no multi-scale test; ours
        merges scales like mirrored images, on the cells of the first batch.
        """
        # An exported network has merged the mirrored image already.
        if len(batches) == 1 and (not inference.flip or self.runtime is not None):
            outputs: CIDOutputs = self(batches[0].images)
            return outputs
        views = [view for batch in batches for view in self._views(batch, inference.flip)]
        first, first_grid = views[0]
        heatmaps = mean_of([first_grid.resample(view.heatmaps, grid) for view, grid in views])
        slots = counts_wait(heatmaps)
        find = centre_slots if slots else find_centres
        people, centre_scores = find(heatmaps[:, -1], self.config.centre_pool)
        centre_scores = centre_scores.flatten()
        maps = []
        for view, grid in views:
            cells = grid.nearest_cells(people, first_grid)
            features = joined_at(view.streams, cells)
            if slots:
                decoupled = self.decoupling.slots(view.shared, features, cells).flatten(0, 1)
            else:
                decoupled = self.decoupling(view.shared, features, cells)
            in_order = decoupled[:, view.keypoint_order]
            maps.append(first_grid.resample(in_order, grid, people[:, 0]))
        person_features = joined_at(first.streams, people)
        return CIDOutputs(heatmaps, people, centre_scores, person_features, mean_of(maps))

    def _views(self, batch: Batch, flip: bool) -> list[tuple[View, Grid]]:
        """Return the network's maps of the images, and of their mirror images, mirrored back."""
        views = self.views(batch.images, flip)
        height, width = views[0].heatmaps.shape[-2:]
        [to_image] = to_device([batch.geometry.to_image], batch.device)
        grid = Grid(to_image, (height, width), STRIDE)
        return [(view, grid) for view in views]

    def views(self, images: Tensor, flip: bool) -> list[View]:
        """Return the network's maps of images and of their mirror images, whose cells agree."""
        count = images.shape[0]
        streams = self.features(torch.cat([images, images.flip(-1)]) if flip else images)
        keypoints = len(self.skeleton)
        orders = torch.tensor([[*range(keypoints + 1)], [*self.skeleton.flip_index, keypoints]])
        [orders] = to_device([orders], images.device)
        ordered = [(tuple(stream[:count] for stream in streams), orders[0])]
        if flip:
            # Cells agree from here on; left and right keypoints are still exchanged.
            mirrored = tuple(stream[count:].flip(-1) for stream in streams)
            ordered.append((mirrored, orders[1]))
        views = []
        for own_streams, order in ordered:
            heatmaps, shared = self.image_maps(own_streams)
            views.append(View(own_streams, shared, heatmaps[:, order], order[:-1]))
        return views

    def targets(self, batch: Batch) -> CIDTargets:
        height, width = (side // STRIDE for side in batch.images.shape[-2:])
        centre_jitter = [draw_jitter(p, s) for p, s in zip(batch.poses, batch.seeds, strict=True)]
        targets = build_targets(
            cell_poses(batch, STRIDE),
            (height, width),
            centre_jitter,
            batch.masks[STRIDE][:, None],
            min_area=self.config.min_person_area / STRIDE**2,
        )
        return keep_people(targets, MAX_TRAINED_PEOPLE, batch.seeds[0])

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        targets = self.targets(batch)
        outputs: CIDOutputs = self(batch.images, people=targets.people)
        with no_autocast(batch.images.device):
            return loss_terms(outputs, targets, self.config)

    def decode(self, outputs: CIDOutputs, geometry: Geometry) -> list[PosePredictions]:
        decoded = decode_people(outputs, geometry, self.skeleton, self.config)
        return [predictions for predictions, _ in decoded]


def mean_of(maps: list[Tensor]) -> Tensor:
    """Return the mean of maps of equal shape."""
    return sum(maps[1:], maps[0]) / len(maps)


def _fill_bias(layer: nn.Conv2d | nn.Linear, value: float) -> None:
    assert layer.bias is not None  # every layer of the heads has one
    nn.init.constant_(layer.bias, value)
