"""CID: Contextual Instance Decoupling (Wang & Zhang, CVPR 2022).

A person is a point of the centre heatmap. Its feature vector modulates one shared map into a map
of its own (GFD), which yields that person's heatmaps alone. Follows the published code where it
and the paper differ; docs/cid.md lists where.

Shapes: B images, M people of all images, K keypoints, C backbone channels, E embedding channels,
H x W feature map (a quarter of the input). A cell (y, x) covers 4 x 4 input pixels.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from posebench.distributed import mean_count
from posebench.layers.backbones import HRNET_WIDTHS
from posebench.layers.backbones.hrnet import hrnet, joined_at, joined_conv
from posebench.layers.heatmaps import (
    cell_poses,
    clamped_sigmoid,
    gaussian_heatmaps,
    heatmap_focal_loss,
    inside,
)
from posebench.layers.nms import oks_nms
from posebench.models.base import PoseModel
from posebench.models.cid.decoupling import Decoupling, people_per_chunk, per_image
from posebench.models.cid.multiscale import Grid
from posebench.models.cid.recipes import CIDConfig
from posebench.structures import (
    Batch,
    Geometry,
    Inference,
    PosePredictions,
    Poses,
    Skeleton,
)

STRIDE = 4
TEMPERATURE = 0.05  # tau of Eq. 8
MIN_OVERLAP = 0.7  # of two boxes, in the size-adaptive radius
MAX_PEOPLE_PER_PASS = 200  # in training, over all images of a pass
MAX_DETECTIONS = 30
MIN_CENTRE_SCORE = 0.01


Streams = tuple[Tensor, ...]


@dataclass(frozen=True)
class CIDOutputs:
    """All scores are after the sigmoid, clamped to [1e-4, 1 - 1e-4], float32."""

    heatmaps: Tensor  # (B, K + 1, H, W), the last channel is the person centre
    people: Tensor  # (M, 3) int64: image, y, x of a centre, in cells; sorted by image
    centre_scores: Tensor  # (M,) of the smoothed centre map
    person_features: Tensor  # (M, C), Eq. 7
    instance_heatmaps: Tensor  # (M, K, H, W)


@dataclass(frozen=True)
class CIDTargets:
    heatmaps: Tensor  # (B, K + 1, H, W)
    mask: Tensor  # (B, 1, H, W) bool, True where the loss counts
    people: Tensor  # (M, 3) int64: image, y, x; sorted by image
    instance_heatmaps: Tensor  # (M, K, H, W)
    instance_mask: Tensor  # (M, K, 1, 1) bool, False for unlabelled keypoints


# ---------------------------------------------------------------------------------------- network


@dataclass(frozen=True)
class _View:
    """What the network made of one look at a batch's images: at a scale, perhaps mirrored."""

    streams: Streams
    shared: Tensor  # (B, E, H, W)
    heatmaps: Tensor  # (B, K + 1, H, W) scores
    keypoint_order: list[int]  # that exchanges left and right of a mirrored look
    grid: Grid


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

    def __init__(self, config: CIDConfig, skeleton: Skeleton) -> None:
        super().__init__(config, skeleton)
        channels = 15 * HRNET_WIDTHS[config.backbone]  # four streams: 1 + 2 + 4 + 8 widths
        self.backbone = hrnet(config.backbone)
        self.keypoint_head = nn.Conv2d(channels, len(skeleton) + 1, 1)
        self.reduce = nn.Conv2d(channels, config.embedding, 1)  # the transformed map of Eq. 9
        self.decoupling = Decoupling(
            channels, len(skeleton), config.embedding,
            spatial=config.spatial, channel=config.channel,
        )  # fmt: skip
        for head in (self.keypoint_head, self.reduce, self.decoupling):
            for layer in head.modules():
                if isinstance(layer, nn.Conv2d | nn.Linear):
                    nn.init.normal_(layer.weight, std=config.head_std)
                    _fill_bias(layer, 0.0)
        # A score of 0.01 everywhere at the start, as in focal loss's own paper.
        for layer in (self.keypoint_head, self.decoupling.heatmap):
            _fill_bias(layer, -math.log(99))

    def load_pretrained(self) -> None:
        self.backbone = hrnet(self.config.backbone, pretrained=True)

    def features(self, images: Tensor, padding: Tensor | None = None) -> Streams:
        """Return the trunk's four streams; the paper's F is their joined map (B, C, H, W)."""
        return tuple(self.backbone(images))

    def heads(self, features: Streams, people: Tensor | None = None) -> CIDOutputs:
        *_, (_, outputs) = self.head_stages(features, people)
        assert isinstance(outputs, CIDOutputs)
        return outputs

    def head_stages(self, streams: Streams, people: Tensor | None) -> Iterator[tuple[str, Any]]:
        logits, shared = joined_conv(streams, (self.keypoint_head, self.reduce))
        heatmaps = clamped_sigmoid(logits)
        yield "heatmaps", heatmaps
        people, centre_scores = find_centres(heatmaps[:, -1], self.config.centre_pool, people)
        person_features = joined_at(streams, people)
        yield "IIA", person_features
        instance_heatmaps = self.decoupling(shared, person_features, people)
        yield (
            "GFD",
            CIDOutputs(heatmaps, people, centre_scores, person_features, instance_heatmaps),
        )

    def merged_outputs(self, batches: Sequence[Batch], inference: Inference) -> CIDOutputs:
        """Merge views: centres from the mean centre map, then the mean of everyone's maps.

        The published code merges the mirrored image so; it has no multi-scale test, and ours does
        with scales what it does with mirrors, on the cells of the first batch.
        """
        if len(batches) == 1 and not inference.flip:
            outputs: CIDOutputs = self(batches[0].images)
            return outputs
        views = [view for batch in batches for view in self._views(batch, inference.flip)]
        first = views[0]
        heatmaps = _mean([first.grid.read(view.heatmaps, view.grid) for view in views])
        people, centre_scores = find_centres(heatmaps[:, -1], self.config.centre_pool)
        maps = []
        for view in views:
            own = view.grid.cells_of(people, first.grid)
            decoupled = self.decoupling(view.shared, joined_at(view.streams, own), own)
            in_order = decoupled[:, view.keypoint_order]
            maps.append(first.grid.read(in_order, view.grid, people[:, 0]))
        person_features = joined_at(first.streams, people)
        return CIDOutputs(heatmaps, people, centre_scores, person_features, _mean(maps))

    def _views(self, batch: Batch, flip: bool) -> list[_View]:
        """Return what the network makes of a batch, and of its mirror images, mirrored back."""
        count = len(batch)
        images = torch.cat([batch.images, batch.images.flip(-1)]) if flip else batch.images
        streams = self.features(images)
        upright = list(range(len(self.skeleton)))
        shown = [(tuple(stream[:count] for stream in streams), upright)]
        if flip:
            # Both share coordinates from here on; left and right are still exchanged.
            mirrored = tuple(stream[count:].flip(-1) for stream in streams)
            shown.append((mirrored, list(self.skeleton.flip_index)))
        height, width = streams[0].shape[-2:]
        grid = Grid(batch.geometry.to_image, (height, width), STRIDE)
        views = []
        for own, order in shown:
            logits, shared = joined_conv(own, (self.keypoint_head, self.reduce))
            views.append(_View(own, shared, clamped_sigmoid(logits)[:, [*order, -1]], order, grid))
        return views

    def targets(self, batch: Batch) -> CIDTargets:
        height, width = (side // STRIDE for side in batch.images.shape[-2:])
        centre_jitter = [_draw_jitter(p, s) for p, s in zip(batch.poses, batch.seeds, strict=True)]
        targets = build_targets(
            cell_poses(batch, STRIDE),
            (height, width),
            centre_jitter,
            batch.masks[STRIDE][:, None],
            min_area=self.config.min_person_area / STRIDE**2,
        )
        return keep_people(targets, MAX_PEOPLE_PER_PASS, batch.seeds[0])

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        return self.loss_terms(batch.images, self.targets(batch))

    def loss_terms(self, images: Tensor, targets: CIDTargets) -> dict[str, Tensor]:
        """Return the three weighted terms of Eqs. 5, 14 and 16."""
        outputs: CIDOutputs = self(images, people=targets.people)
        with torch.autocast(images.device.type, enabled=False):
            return self._terms(outputs, targets)

    def _terms(self, outputs: CIDOutputs, targets: CIDTargets) -> dict[str, Tensor]:
        return {
            "heatmap": heatmap_focal_loss(outputs.heatmaps, targets.heatmaps, targets.mask),
            "instance": self.config.instance_weight
            * heatmap_focal_loss(
                outputs.instance_heatmaps, targets.instance_heatmaps, targets.instance_mask
            ),
            "contrastive": self.config.contrastive_weight
            * contrastive_loss(outputs.person_features, targets.people[:, 0]),
        }

    def decode(self, outputs: CIDOutputs, geometry: Geometry) -> list[PosePredictions]:
        return [predictions for predictions, _ in self._decode(outputs, geometry)]

    def _decode(
        self, outputs: CIDOutputs, geometry: Geometry
    ) -> list[tuple[PosePredictions, Tensor]]:
        """Return each image's people, and which of the outputs' people they are."""
        keypoints, keypoint_scores = decode_instances(outputs, self.config.centre_pool)
        to_image = geometry.to_image.to(keypoints.dtype)[outputs.people[:, 0]]  # (M, 2, 3)
        keypoints = keypoints @ to_image[:, :, :2].mT + to_image[:, None, :, 2]
        counts = torch.bincount(outputs.people[:, 0], minlength=len(geometry.to_image)).tolist()
        sigmas = torch.tensor(self.skeleton.sigmas, device=keypoints.device)
        decoded, first = [], 0
        for xy, scores in zip(
            per_image(keypoints, counts), per_image(keypoint_scores, counts), strict=True
        ):
            person_scores = scores.mean(1)
            keep = oks_nms(xy, person_scores, sigmas, self.config.nms_threshold)
            predictions = PosePredictions(xy[keep], scores[keep], person_scores[keep])
            decoded.append((predictions, first + keep))
            first += len(xy)
        return decoded

    def _exact_targets(self, batch: Batch) -> CIDTargets:
        """Return the targets without the jitter of centres; their loss would count everywhere."""
        height, width = (side // STRIDE for side in batch.images.shape[-2:])
        return build_targets(
            cell_poses(batch, STRIDE),
            (height, width),
            [torch.zeros(len(poses), 2, dtype=torch.int64) for poses in batch.poses],
            batch.images.new_ones(len(batch), 1, height, width, dtype=torch.bool),
            min_area=self.config.min_person_area / STRIDE**2,
        )


def _mean(maps: list[Tensor]) -> Tensor:
    return sum(maps[1:], maps[0]) / len(maps)


def _fill_bias(layer: nn.Conv2d | nn.Linear, value: float) -> None:
    assert layer.bias is not None  # every layer of the heads has one
    nn.init.constant_(layer.bias, value)


# ---------------------------------------------------------------------------------------- targets


def build_targets(
    poses: list[Poses],
    size: tuple[int, int],
    centre_jitter: list[Tensor],
    mask: Tensor,
    *,
    min_area: float,
) -> CIDTargets:
    """Draw the multi-person map and every person's own map.

    Args:
        poses: in output cells.
        size: H, W.
        centre_jitter: per image (N, 2) x, y in {-1, 0, 1}, by which an instance's centre moves.
        mask: (B, 1, H, W), handed through.
        min_area: square cells below which a person gets no centre and no instance.

    Source: Eqs. 13 to 16, and the published loader: coordinates truncate to cells, instances come
    in order of increasing area, and a cell that is taken is not given twice.
    """
    width = size[1]
    heatmaps, people, instance_heatmaps, labelled = [], [], [], []
    for image, (one, jitter) in enumerate(zip(poses, centre_jitter, strict=True)):
        visible = one.visibility > 0
        centres, has_centre = _centres(one, min_area)
        points = torch.cat([one.keypoints, centres[:, None]], 1)
        drawn = torch.cat([visible, has_centre[:, None]], 1)
        radius = gaussian_radius(one.boxes, size)
        # A window of 2 r + 1 cells is six deviations wide.
        maps = gaussian_heatmaps(points, drawn, size, radius=radius, sigma=(2 * radius + 1) / 6)
        heatmaps.append(maps.amax(0) if len(maps) else maps.new_zeros(maps.shape[1:]))

        cells = centres.trunc().long()
        has_centre = has_centre & inside(cells, size)
        jittered = cells + jitter.to(cells.device)
        cells = torch.where(inside(jittered, size)[:, None], jittered, cells)
        order = torch.argsort(_box_area(one), stable=True)
        order = order[has_centre[order]]
        ids = cells[order, 1] * width + cells[order, 0]
        taken = (ids[:, None] == ids[None]).tril(-1).any(1)
        order = order[~taken]
        people.append(F.pad(cells[order].flip(1), (1, 0), value=image))
        instance_heatmaps.append(maps[order, :-1])
        labelled.append(visible[order])
    return CIDTargets(
        heatmaps=torch.stack(heatmaps),
        mask=mask,
        people=torch.cat(people),
        instance_heatmaps=torch.cat(instance_heatmaps),
        instance_mask=torch.cat(labelled)[:, :, None, None],
    )


def keep_people(targets: CIDTargets, limit: int, seed: int) -> CIDTargets:
    """Return the targets with at most `limit` people, a random subset in the same order."""
    if len(targets.people) <= limit:
        return targets
    chosen = np.random.default_rng([seed, 2]).permutation(len(targets.people))[:limit]
    keep = torch.from_numpy(np.sort(chosen)).to(targets.people.device)
    return replace(
        targets,
        people=targets.people[keep],
        instance_heatmaps=targets.instance_heatmaps[keep],
        instance_mask=targets.instance_mask[keep],
    )


def _draw_jitter(poses: Poses, seed: int) -> Tensor:
    # A stream of its own beside the augmentation's, which uses the same seed.
    return torch.from_numpy(np.random.default_rng([seed, 1]).integers(-1, 2, (len(poses), 2)))


def _box_area(poses: Poses) -> Tensor:
    """Return the (N,) areas of boxes that a warp may have turned."""
    right = poses.boxes[:, 1] - poses.boxes[:, 0]
    down = poses.boxes[:, 2] - poses.boxes[:, 0]
    return (right[:, 0] * down[:, 1] - right[:, 1] * down[:, 0]).abs()


def _centres(poses: Poses, min_area: float) -> tuple[Tensor, Tensor]:
    """Return the mean labelled keypoint (N, 2), also of those out of frame, and who has one."""
    visible = (poses.visibility > 0).to(poses.keypoints.dtype)[..., None]
    count = visible.sum(1)
    centres = (poses.keypoints * visible).sum(1) / count.clamp(min=1)
    return centres, (count[:, 0] > 0) & (_box_area(poses) >= min_area)


def gaussian_radius(boxes: Tensor, size: tuple[int, int]) -> Tensor:
    """Return the (N,) radius in cells by which a box may move and still overlap itself enough.

    Args:
        boxes: (N, 4, 2) corners in cells; they are clipped to the map first.
        size: H, W.

    Source: CornerNet (arXiv:1808.01244), with the roots as its code has them: (b + root) / 2
    whatever a is. The published CID inherits that, and takes the lengths of the top and the left
    edge for a box that the warp has turned.
    """
    limit = boxes.new_tensor([size[1] - 1, size[0] - 1])
    corners = boxes.clamp(min=0).minimum(limit)
    width = (corners[:, 1] - corners[:, 0]).norm(dim=1).ceil()
    height = (corners[:, 2] - corners[:, 0]).norm(dim=1).ceil()
    total, area = height + width, height * width
    both = total + (total**2 - 4 * area * (1 - MIN_OVERLAP) / (1 + MIN_OVERLAP)).sqrt()
    inner = 2 * total + (4 * total**2 - 16 * (1 - MIN_OVERLAP) * area).sqrt()
    b = -2 * MIN_OVERLAP * total
    outer = b + (b**2 - 16 * MIN_OVERLAP * (MIN_OVERLAP - 1) * area).sqrt()
    return (torch.stack([both, inner, outer]).amin(0) / 2).floor().clamp(min=0)


# ----------------------------------------------------------------------------------------- losses


def contrastive_loss(features: Tensor, image: Tensor) -> Tensor:
    """Push apart the feature vectors of people of the same image.

    Args:
        features: (M, C).
        image: (M,) index of each person's image.

    Returns:
        Scalar: mean over people, 0 without any.

    Source: Eq. 8, tau = 0.05.
    """
    unit = F.normalize(features.to(torch.promote_types(features.dtype, torch.float32)), dim=1)
    logits = (unit @ unit.T / TEMPERATURE).masked_fill(image[:, None] != image, -torch.inf)
    own = torch.arange(len(features), device=features.device)
    # cross_entropy's mean of nobody is 0 / 0.
    total = F.cross_entropy(logits, own, reduction="sum")
    return total / mean_count(len(features), features.device)


# --------------------------------------------------------------------------------------- decoding


def _smooth(maps: Tensor, window: int) -> Tensor:
    """Average (..., H, W) with its mean filter; the zero border counts in the mean."""
    sums = _window_sums(_window_sums(maps, window, -1), window, -2)
    return (maps + sums / window**2) / 2


def _window_sums(values: Tensor, window: int, axis: int) -> Tensor:
    """Return the sums of windows along an axis, -1 or -2.

    Equal to average pooling, which takes seven times as long on a CPU. The two sides of a cell are
    added to each other first, so that a symmetric peak has equal neighbours to the last bit.
    """
    reach, length = window // 2, values.shape[axis]
    padded = F.pad(values, (reach, reach) if axis == -1 else (0, 0, reach, reach))
    total = values
    for shift in range(1, reach + 1):
        before = padded.narrow(axis, reach - shift, length)
        after = padded.narrow(axis, reach + shift, length)
        total = total + (before + after)
    return total


def find_centres(
    centre_map: Tensor, pool: int, people: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Return the centres (M, 3) image, y, x and their scores (M,), best first in each image.

    Args:
        centre_map: (B, H, W) scores.
        pool: side of the mean filter.
        people: (M, 3) given centres, of which only the scores are looked up.

    Source: Sec. 3.2; the published code smooths the map, keeps maxima of a window that grows with
    the map, and takes the 30 best above 0.01.
    """
    smooth = _smooth(centre_map, pool)
    if people is not None:
        image, y, x = people.unbind(1)
        return people, smooth[image, y, x]
    height, width = smooth.shape[-2:]
    mean_side = (height + width) / 2
    window = 3 if mean_side <= 200 else 5 if mean_side <= 300 else 7
    highest = F.max_pool2d(smooth[:, None], window, 1, window // 2)[:, 0]
    peaks = smooth.where(smooth == highest, 0).flatten(1)
    scores, cells = peaks.topk(min(MAX_DETECTIONS, peaks.shape[1]))
    image, rank = (scores > MIN_CENTRE_SCORE).nonzero().unbind(1)
    cells = cells[image, rank]
    return torch.stack([image, cells // width, cells % width], 1), scores[image, rank]


def decode_instances(outputs: CIDOutputs, pool: int) -> tuple[Tensor, Tensor]:
    """Return keypoints (M, K, 2) in network-input pixels and their scores (M, K).

    A keypoint is the maximum of its smoothed map, moved a quarter cell towards the higher
    neighbour; not on ties, nor at the border. Its score is the maximum times the centre's score.
    """
    instance_heatmaps = outputs.instance_heatmaps
    chunk = people_per_chunk(len(instance_heatmaps), instance_heatmaps.device)
    read = [_read_peaks(maps, pool) for maps in torch.split(instance_heatmaps, chunk)]
    keypoints, peaks = (torch.cat(found) for found in zip(*read, strict=True))
    return STRIDE * keypoints + STRIDE / 2, peaks * outputs.centre_scores[:, None]


def _read_peaks(instance_heatmaps: Tensor, pool: int) -> tuple[Tensor, Tensor]:
    """Return the peaks of (N, K, H, W) maps in cells (N, K, 2), and their heights (N, K)."""
    maps = _smooth(instance_heatmaps, pool)
    height, width = maps.shape[-2:]
    flat = maps.flatten(2)
    peak, cell = flat.max(2)
    y, x = cell // width, cell % width

    def step(position: Tensor, length: int, stride: int) -> Tensor:
        inner = (position > 0) & (position < length - 1)
        after = flat.gather(2, (cell + stride).where(inner, cell)[..., None])[..., 0]
        before = flat.gather(2, (cell - stride).where(inner, cell)[..., None])[..., 0]
        return 0.25 * (after - before).sign()

    return torch.stack([x + step(x, width, 1), y + step(y, height, width)], -1), peak
