"""HigherHRNet: Scale-Aware Representation Learning (Cheng et al., CVPR 2020), and its baseline.

A trunk's finest map yields a heatmap and a tag map per keypoint; deconvolution modules double the
resolution and yield heatmaps again. Keypoints are grouped into people by their tags. Without a
deconvolution module it is the paper's bottom-up HRNet. Follows the published code where it and the
paper differ; docs/higher_hrnet.md lists where.

Shapes: B images, P people of all images, K keypoints, T tags of a pixel (two with the mirrored
image), H x W network input. Maps are raw: there is no activation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock

from posebench.distributed import mean_count
from posebench.layers.backbones import HRNET_WIDTHS
from posebench.layers.backbones.hrnet import hrnet
from posebench.layers.heatmaps import cell_poses, gaussian_heatmaps, inside
from posebench.models.base import PoseModel
from posebench.models.higher_hrnet.grouping import (
    MAX_PEOPLE,
    adjust,
    find_candidates,
    group,
    refine,
)
from posebench.models.higher_hrnet.recipes import STRIDE, HigherHRNetConfig
from posebench.structures import (
    Batch,
    Geometry,
    Inference,
    PosePredictions,
    Skeleton,
)

SIGMA = 2.0  # cells, at every resolution
RADIUS = 7  # cells, of the window that a Gaussian is drawn in
HEAD_STD = 0.001  # of the initial weights of convolutions

# COCO's keypoints from the head outwards. The published code takes the same numbers for CrowdPose,
# whose keypoints they do not fit, as far as there are keypoints.
GROUPING_ORDER = (0, 1, 2, 3, 4, 5, 6, 11, 12, 7, 8, 9, 10, 13, 14, 15, 16)


@dataclass(frozen=True)
class HigherHRNetOutputs:
    heatmaps: tuple[Tensor, ...]  # (B, K, h, w) at strides 4, 2, ...; merged scales: one at 1
    tags: Tensor  # (B, K, T, h, w) of the coarsest heatmaps' size
    size: tuple[int, int]  # H, W


@dataclass(frozen=True)
class HigherHRNetTargets:
    heatmaps: tuple[Tensor, ...]  # (B, K, h, w) at strides 4, 2, ...
    masks: tuple[Tensor, ...]  # (B, 1, h, w) bool, True where the loss counts
    people: Tensor  # (P,) int64, the image of each
    cells: Tensor  # (P, K) int64, y w + x of the keypoints at stride 4; -1: none there


# ---------------------------------------------------------------------------------------- network


class HigherHRNet(PoseModel):
    """Heatmaps at several resolutions and associative embedding on an HRNet."""

    config: HigherHRNetConfig

    published_names: ClassVar[dict[str, str]] = {
        "final_layers.": "heatmap_heads.",
        "deconv_layers.": "deconvolutions.",
        "": "backbone.",
    }

    def __init__(self, config: HigherHRNetConfig, skeleton: Skeleton) -> None:
        super().__init__(config, skeleton)
        width, keypoints = HRNET_WIDTHS[config.backbone], len(skeleton)
        self.backbone = hrnet(config.backbone, streams=1)
        predicted = [2 * keypoints] + [keypoints] * config.deconvolutions  # tags at stride 4 only
        self.heatmap_heads = nn.ModuleList(nn.Conv2d(width, channels, 1) for channels in predicted)
        self.deconvolutions = nn.ModuleList(
            _deconvolution(width + config.concatenate * seen, width, config.blocks)
            for seen in predicted[:-1]
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

    def features(self, images: Tensor, padding: Tensor | None = None) -> Tensor:
        """Return the trunk's finest map (B, C, H / 4, W / 4)."""
        [features] = self.backbone(images)
        found: Tensor = features
        return found

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
        """Merge views: the mean of heatmaps; tags of the first scale and of its mirror image.

        Source: Sec. 3.5 and the published code, which has a scale's maps enlarged to the size of
        scale 1 before they are averaged.
        """
        looks = [self._look(batch.images, inference.flip) for batch in batches]
        if len(looks) == 1:
            return looks[0]
        size = looks[0].size
        heatmaps = [_resized(self.aggregated(look), size) for look in looks]
        tags = _resized_tags(self.fine_tags(looks[0]), size)
        return HigherHRNetOutputs((torch.stack(heatmaps).mean(0),), tags, size)

    def _look(self, images: Tensor, flip: bool) -> HigherHRNetOutputs:
        """Return one scale's outputs, averaged with the mirrored image's."""
        if not flip:
            outputs: HigherHRNetOutputs = self(images)
            return outputs
        both = self(torch.cat([images, images.flip(-1)]))
        order = list(self.skeleton.flip_index)
        heatmaps = []
        for maps in both.heatmaps:
            upright, mirrored = maps.chunk(2)
            heatmaps.append((upright + mirrored.flip(-1)[:, order]) / 2)
        upright, mirrored = both.tags.chunk(2)
        tags = torch.cat([upright, mirrored.flip(-1)[:, order]], 2)
        return HigherHRNetOutputs(tuple(heatmaps), tags, both.size)

    def aggregated(self, outputs: HigherHRNetOutputs) -> Tensor:
        """Return the mean of all resolutions' heatmaps at the finest one's size."""
        finest = outputs.heatmaps[-1]
        if not self.config.aggregate:
            return finest
        size = finest.shape[-2:]
        enlarged = [_resized(maps, size) for maps in outputs.heatmaps]
        return torch.stack(enlarged).mean(0)

    def fine_tags(self, outputs: HigherHRNetOutputs) -> Tensor:
        """Return the tags at the finest heatmaps' size; enlarging twice differs from once."""
        return _resized_tags(outputs.tags, outputs.heatmaps[-1].shape[-2:])

    def targets(self, batch: Batch) -> HigherHRNetTargets:
        return build_targets(batch, self.strides)

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        return self.loss_terms(batch.images, self.targets(batch))

    def loss_terms(self, images: Tensor, targets: HigherHRNetTargets) -> dict[str, Tensor]:
        """Return the heatmap term and the weighted terms of the tags."""
        outputs: HigherHRNetOutputs = self(images)
        with torch.autocast(images.device.type, enabled=False):
            return self._terms(outputs, targets)

    def _terms(self, outputs: HigherHRNetOutputs, targets: HigherHRNetTargets) -> dict[str, Tensor]:
        images = mean_count(len(outputs.tags), outputs.tags.device)
        per_resolution = [
            heatmap_loss(maps, wanted, mask)
            for maps, wanted, mask in zip(
                outputs.heatmaps, targets.heatmaps, targets.masks, strict=True
            )
        ]
        # Every head takes part, or several processes would wait for its gradient.
        weights = [1.0] * len(per_resolution)
        if not self.config.supervise_all:
            weights[:-1] = [0.0] * (len(weights) - 1)
        heatmaps = sum(w * loss for w, loss in zip(weights, per_resolution, strict=True))
        assert isinstance(heatmaps, Tensor)
        push, pull = tag_losses(outputs.tags[:, :, 0], targets.people, targets.cells)
        return {
            "heatmap": heatmaps.sum() / images,
            "push": self.config.push_weight * push.sum() / images,
            "pull": self.config.pull_weight * pull.sum() / images,
        }

    def decode(self, outputs: HigherHRNetOutputs, geometry: Geometry) -> list[PosePredictions]:
        heatmaps = _resized(self.aggregated(outputs), outputs.size)
        tags = _resized_tags(self.fine_tags(outputs), outputs.size)
        return [decode_image(*maps) for maps in zip(heatmaps, tags, geometry.to_image, strict=True)]


def _deconvolution(channels: int, width: int, blocks: int) -> nn.Sequential:
    enlarge = nn.Sequential(
        nn.ConvTranspose2d(channels, width, 4, 2, 1, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(inplace=True),
    )
    return nn.Sequential(enlarge, *(nn.Sequential(BasicBlock(width, width)) for _ in range(blocks)))


def _resized(maps: Tensor, size: Sequence[int]) -> Tensor:
    if tuple(maps.shape[-2:]) == tuple(size):
        return maps
    return F.interpolate(maps, list(size), mode="bilinear", align_corners=False)


def _resized_tags(tags: Tensor, size: Sequence[int]) -> Tensor:
    """Resize (B, K, T, h, w)."""
    return _resized(tags.flatten(1, 2), size).view(*tags.shape[:3], *size)


# ---------------------------------------------------------------------------------------- targets


def build_targets(batch: Batch, strides: Sequence[int]) -> HigherHRNetTargets:
    """Draw every resolution's heatmaps, and find the cells whose tags are trained.

    Source: Sec. 3.4, and the published loader: coordinates truncate to cells, a Gaussian has the
    same width in cells at every resolution, and the first 30 people of an image have tags.
    """
    height, width = batch.images.shape[-2:]
    heatmaps = []
    for stride in strides:
        size = (height // stride, width // stride)
        drawn = []
        for one in cell_poses(batch, stride):
            constant = one.keypoints.new_ones(len(one))
            maps = gaussian_heatmaps(
                one.keypoints, one.visibility > 0, size,
                radius=RADIUS * constant, sigma=SIGMA * constant,
            )  # fmt: skip
            drawn.append(maps.amax(0) if len(maps) else maps.new_zeros(maps.shape[1:]))
        heatmaps.append(torch.stack(drawn))
    people, cells = [], []
    size = (height // STRIDE, width // STRIDE)
    for image, one in enumerate(cell_poses(batch, STRIDE)):
        found = one.keypoints[:MAX_PEOPLE].trunc().long()
        there = (one.visibility[:MAX_PEOPLE] > 0) & inside(found, size)
        cells.append(torch.where(there, found[..., 1] * size[1] + found[..., 0], -1))
        people.append(torch.full((len(found),), image, device=found.device))
    return HigherHRNetTargets(
        heatmaps=tuple(heatmaps),
        masks=tuple(batch.masks[stride][:, None] for stride in strides),
        people=torch.cat(people),
        cells=torch.cat(cells),
    )


def _ideal_tags(poses: Any, size: tuple[int, int]) -> Tensor:
    """Return (K, h, w): near a keypoint the number of its person, elsewhere nobody's."""
    height, width = size[0] // STRIDE, size[1] // STRIDE
    keypoints = poses.keypoints.shape[1]
    tags = torch.full((keypoints, height, width), -100.0)
    nearest = torch.full((keypoints, height, width), float(RADIUS))
    rows = torch.arange(height)[:, None]
    columns = torch.arange(width)
    for person in range(len(poses)):
        x, y = poses.keypoints[person].trunc().float().unbind(-1)  # (K,)
        distance = torch.hypot(columns - x[:, None, None], rows - y[:, None, None])
        distance = distance.where(poses.visibility[person, :, None, None] > 0, torch.inf)
        own = distance < nearest
        tags[own] = 4.0 * person
        nearest = torch.minimum(nearest, distance)
    return tags


# ----------------------------------------------------------------------------------------- losses


def heatmap_loss(maps: Tensor, targets: Tensor, mask: Tensor) -> Tensor:
    """Return each image's mean squared error (B,); cells that do not count are in the mean.

    Source: Sec. 3.4; the mask from the published code.
    """
    maps = maps.to(torch.promote_types(maps.dtype, torch.float32))
    return ((maps - targets).square() * mask).mean((1, 2, 3))


def tag_losses(tags: Tensor, people: Tensor, cells: Tensor) -> tuple[Tensor, Tensor]:
    """Push people's mean tags apart, and pull keypoints' tags to their person's.

    Args:
        tags: (B, K, h, w).
        people: (P,) the image of each person.
        cells: (P, K) of its keypoints, -1 for none.

    Returns:
        Push and pull of each image (B,).

    Source: associative embedding (arXiv:1611.05424); without a width in the exponent and with one
    half, as published.
    """
    tags = tags.to(torch.promote_types(tags.dtype, torch.float32))
    there = cells >= 0
    counted = there.any(1)
    people, cells, there = people[counted], cells[counted], there[counted]
    keypoint = torch.arange(cells.shape[1], device=cells.device)
    found = tags.flatten(2)[people[:, None], keypoint, cells.clamp(min=0)]  # (P, K)
    number = there.sum(1)
    mean = (found * there).sum(1) / number
    own_pull = ((found - mean[:, None]).square() * there).sum(1) / number

    crowd = torch.bincount(people, minlength=len(tags))  # (B,)
    together = (people[:, None] == people[None]).fill_diagonal_(False)
    near = torch.exp(-(mean[:, None] - mean[None]).square()) * together
    zeros = tags.new_zeros(len(tags))
    pairs = (crowd * (crowd - 1)).clamp(min=1)
    push = 0.5 * zeros.index_add(0, people, near.sum(1)) / pairs
    pull = zeros.index_add(0, people, own_pull) / crowd.clamp(min=1)
    # Times zero, so that the tags have a gradient also where nobody is.
    touch = 0 * tags.mean((1, 2, 3))
    return push + touch, pull + touch


# --------------------------------------------------------------------------------------- decoding


def decode_image(heatmaps: Tensor, tags: Tensor, to_image: Tensor) -> PosePredictions:
    """Return one image's people, best first.

    Args:
        heatmaps: (K, H, W) at the network input's size.
        tags: (K, T, H, W).
        to_image: (2, 3) affine from network-input pixels to image pixels.

    Source: the published code: a person's score is the mean over all keypoints before missing
    ones are filled in.
    """
    order = tuple(k for k in GROUPING_ORDER if k < len(heatmaps))
    heatmaps, tags = heatmaps.float(), tags.float()
    people, people_tags = group(find_candidates(heatmaps, tags), order)
    if not len(people):
        empty = torch.zeros(0, len(heatmaps))
        return PosePredictions(empty[..., None].expand(-1, -1, 2), empty, torch.zeros(0))
    scores = people[..., 2].mean(1)
    on_cpu, tags_on_cpu = heatmaps.cpu().numpy(), tags.contiguous().cpu().numpy()
    means = np.stack([own.mean(0) for own in people_tags])
    filled = refine(adjust(people, on_cpu), means, on_cpu, tags_on_cpu)
    best = np.argsort(-scores, kind="stable")
    found = torch.from_numpy(filled[best])
    matrix = to_image.cpu().to(found.dtype)
    keypoints = found[..., :2] @ matrix[:, :2].T + matrix[:, 2]
    return PosePredictions(keypoints, found[..., 2], torch.from_numpy(scores[best]))


def _likeness(tags: Tensor, maps: Tensor, keypoints: Tensor, to_image: Tensor) -> Tensor:
    """Return (K, h, w): how near each cell's tag is to the mean tag of a person's keypoints."""
    matrix = to_image.to(keypoints)
    cells = (keypoints - matrix[:, 2]) @ torch.linalg.inv(matrix[:, :2]).T / STRIDE
    height, width = maps.shape[-2:]
    x = cells[:, 0].long().clamp(0, width - 1).to(maps.device)
    y = cells[:, 1].long().clamp(0, height - 1).to(maps.device)
    keypoint = torch.arange(len(maps), device=maps.device)
    own = tags[keypoint, :, y, x].median(0).values  # (T,)
    return torch.exp(-(tags - own[:, None, None]).square().sum(1))
