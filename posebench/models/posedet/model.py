"""PoseDet: Estimating Pose by Detection (Tian et al., FG 2021).

A candidate is a cell of one level of a feature pyramid. A bypass predicts coarse displacements from
it to the keypoints of a person; the features at these places become one vector, the pose embedding,
from which one branch refines the displacements and another scores the candidate. Candidates that
are too alike are suppressed. Follows the published code where it and the paper differ;
docs/posedet.md lists where.

Shapes: B images, M people of all images, K keypoints, P candidates of all levels (level by level,
row by row), C channels, E of an embedding. Offsets are 2K channels y1, x1, y2, x2, ... in cells of
their level. The candidate (y, x) lies at (x, y) times the stride: there is no shift by half a
cell.

The kernel of the embedding needs an odd K. Skeletons with an even number of keypoints get a torso
point as the last one, which is learned like the others, and dropped from the predictions.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.ops import sigmoid_focal_loss

from posebench.distributed import mean_count
from posebench.layers.affine import apply
from posebench.layers.backbones import HRNET_WIDTHS
from posebench.layers.backbones.hrnet import hrnet
from posebench.layers.backbones.pretrained import timm_backbone
from posebench.layers.heatmaps import heatmap_focal_loss_of_logits
from posebench.layers.nms import box_nms, oks_nms, pose_area
from posebench.layers.precision import float32_conv, no_autocast, to_float32
from posebench.models.base import PoseModel
from posebench.models.posedet.candidates import (
    IGNORED,
    PoseDetTargets,
    TargetsByOks,
    add_torso,
    build_targets,
    candidate_grid,
    poses_of,
    published_area,
    targets_by_oks,
)
from posebench.models.posedet.point_conv import point_conv, point_conv_at
from posebench.models.posedet.pyramids import FPN, HRFPN, Conv
from posebench.models.posedet.recipes import PoseDetConfig
from posebench.preprocess import mirrored_images
from posebench.structures import (
    Batch,
    Geometry,
    Inference,
    PosePredictions,
    Poses,
    Skeleton,
)

DLA34_CHANNELS = (64, 128, 256, 512)
PRIOR = 0.01  # initial score of every candidate
GRADIENT_SHARE = 0.1  # of the embeddings' gradient that reaches the coarse displacements

DISTANCE_UNIT = 4  # strides, of the keypoint loss
MAX_DISTANCE = 5.0  # of these units

MIN_SCORE = 0.05
MAX_PER_LEVEL = 500  # candidates before suppression
MAX_DETECTIONS = 100
MIN_AREA = 32.0**2  # square pixels, of a pose in suppression
SURE = 20.0  # logit of an ideal candidate


@dataclass(frozen=True)
class Candidates:
    """People found in one image, before suppression; best first in each level."""

    keypoints: Tensor  # (N, K, 2) image pixels
    coarse: Tensor  # (N, K, 2) image pixels, where the pose embedding was sampled
    scores: Tensor  # (N,)


@dataclass(frozen=True)
class PoseDetOutputs:
    logits: tuple[Tensor, ...]  # per level (B, 1, h, w)
    coarse: tuple[Tensor, ...]  # per level (B, 2K, h, w)
    refined: tuple[Tensor, ...]  # per level (B, 2K, h, w), of the keypoints, not of the coarse ones
    # What further looks at the images found, mirrored or at other scales, per look and image.
    further: tuple[list[Candidates], ...] = ()


# ---------------------------------------------------------------------------------------- network


class PoseEmbedding(nn.Module):
    """Sec. 3.1: the features at K points become one vector, for every candidate at once.

    Published as a deformable convolution with a kernel of 1 x K whose taps land on the points.
    """

    def __init__(self, width: int, embedding: int, points: int, std: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(embedding, width, 1, points))
        nn.init.normal_(self.weight, std=std)

    def forward(self, features: Tensor, offsets: Tensor) -> Tensor:
        """Return (B, E, h, w) of features (B, C, h, w) and offsets (B, 2K, h, w)."""
        return F.relu(point_conv(features, offsets, self.weight), inplace=True)

    def at(
        self, features: Sequence[Tensor], level: Tensor, image: Tensor, points: Tensor
    ) -> Tensor:
        """Return (N, E) of points (N, K, 2), in cells, in the maps of these levels and images."""
        return F.relu(point_conv_at(features, level, image, points, self.weight), inplace=True)


class PoseDet(PoseModel):
    """Heads shared by the levels of a pyramid: bypass, refinement, score."""

    config: PoseDetConfig

    published_names: ClassVar[dict[str, str]] = {
        "backbone.": "backbone.",
        "neck.": "neck.",
        "bbox_head.init_pre_convs.": "bypass.",
        "bbox_head.init_out.": "coarse.",
        "bbox_head.refine_pre_convs.": "regression.",
        "bbox_head.refine_embedding_conv.": "regression_embedding.",
        "bbox_head.refine_out.": "refinement.",
        "bbox_head.cls_pre_convs.": "classification.",
        "bbox_head.cls_embedding_conv.": "classification_embedding.",
        "bbox_head.cls_out.": "score.",
        "bbox_head.heatmap_pre_convs.": "intermediate.0.",
        "bbox_head.heatmap_out.": "intermediate.1.",
    }
    # The published DLA-34 has these and never reads them; timm's is without.
    ignored_checkpoint_keys = (r"^backbone\.level[34]\.project\.",)
    # A CPU is named beside the card, so that suppression is taken to count.

    def __init__(self, config: PoseDetConfig, skeleton: Skeleton) -> None:
        super().__init__(config, skeleton)
        self.with_torso = len(skeleton) % 2 == 0
        points, width = len(skeleton) + self.with_torso, config.width
        self.backbone = _trunk(config.backbone)
        self.neck: FPN | HRFPN
        if config.backbone == "dla34":
            self.neck = FPN(DLA34_CHANNELS, width)
        else:
            self.neck = HRFPN([HRNET_WIDTHS[config.backbone] * 2**i for i in range(4)], width)
        self.bypass = _convs(width, 3)
        self.coarse = nn.Conv2d(width, 2 * points, 1)
        if config.refinement:
            self.regression = _convs(width, 2)
            wide = config.refined_width or width
            self.regression_embedding = PoseEmbedding(width, wide, points, config.head_std)
            self.refinement = nn.Conv2d(wide, 2 * points, 1)
        self.classification = _convs(width, 2)
        self.classification_embedding = PoseEmbedding(width, width, points, config.head_std)
        self.score = nn.Conv2d(width, 1, 1)
        if config.intermediate_supervision:
            self.intermediate = nn.Sequential(_convs(width, 1), nn.Conv2d(width, points, 1))
        for name, part in self.named_children():
            for layer in part.modules() if name not in ("backbone", "neck") else ():
                if isinstance(layer, nn.Conv2d):
                    nn.init.normal_(layer.weight, std=config.head_std)
                    if layer.bias is not None:
                        nn.init.zeros_(layer.bias)
        assert self.score.bias is not None
        nn.init.constant_(self.score.bias, -math.log(1 / PRIOR - 1))

    @property
    def strides(self) -> tuple[int, ...]:
        return self.neck.strides

    def load_pretrained(self) -> None:
        self.backbone = _trunk(self.config.backbone, pretrained=True)

    def features(self, images: Tensor, padding: Tensor | None = None) -> tuple[Tensor, ...]:
        """Return the levels of the pyramid (B, C, h, w), finest first."""
        levels: tuple[Tensor, ...] = self.neck(self.backbone(images))
        return levels

    def heads(self, features: tuple[Tensor, ...], people: Tensor | None = None) -> PoseDetOutputs:
        """Return the outputs; there is no notion of given people.

        Those candidates are refined that decoding reads, and the others keep their coarse poses.
        """
        # A GPU has embedded them all before it would have chosen.
        if features[0].is_cuda:
            return self.heads_everywhere(features)
        coarse, logits = self._unrefined(features)
        refined = self._refined_best(features, coarse, logits) if self.config.refinement else coarse
        return PoseDetOutputs(logits, coarse, refined)

    def heads_everywhere(self, features: tuple[Tensor, ...]) -> PoseDetOutputs:
        """Return the outputs with every candidate refined, as the paper has it."""
        coarse, logits = self._unrefined(features)
        refined = coarse
        if self.config.refinement:
            refined = tuple(self._refined(*level) for level in zip(features, coarse, strict=True))
        return PoseDetOutputs(logits, coarse, refined)

    def _unrefined(
        self, features: Sequence[Tensor]
    ) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        """Return each level's coarse offsets (B, 2K, h, w) and logits (B, 1, h, w)."""
        coarse = tuple(self._coarse(level) for level in features)
        return coarse, tuple(self._logits(*level) for level in zip(features, coarse, strict=True))

    def _coarse(self, features: Tensor) -> Tensor:
        # Offsets reach dozens of cells, of which bfloat16 keeps three digits.
        return float32_conv(self.coarse, self.bypass(features))

    def _logits(self, features: Tensor, coarse: Tensor) -> Tensor:
        embedding = self.classification_embedding(self.classification(features), _points(coarse))
        logits: Tensor = self.score(embedding)
        return logits

    def _refined(self, features: Tensor, coarse: Tensor) -> Tensor:
        embedding = self.regression_embedding(self.regression(features), _points(coarse))
        return coarse.detach() + float32_conv(self.refinement, embedding)

    def _refined_best(
        self, features: Sequence[Tensor], coarse: Sequence[Tensor], logits: Sequence[Tensor]
    ) -> tuple[Tensor, ...]:
        """Return offsets (B, 2K, h, w) that are refined at each level's best candidates."""
        chosen = [_best(level)[1] for level in logits]  # (B, P of the level)
        rows = torch.arange(len(chosen[0]), device=chosen[0].device)[:, None]
        points = [
            poses_of([_points(maps)], [1])[rows, index].flatten(0, 1)  # in cells
            for maps, index in zip(coarse, chosen, strict=True)
        ]
        image = [rows.expand_as(index).flatten() for index in chosen]
        level = [torch.full_like(own, number) for number, own in enumerate(image)]
        moves = self._moves(features, torch.cat(level), torch.cat(image), torch.cat(points))
        refined = []
        for maps, index, moved in zip(
            coarse, chosen, torch.split(moves, [len(own) for own in image]), strict=True
        ):
            offsets = maps.detach().flatten(2).mT  # (B, P, 2K)
            moved = moved.view(*index.shape, -1)
            offsets = offsets.index_put((rows, index), moved, accumulate=True)
            refined.append(offsets.mT.reshape(maps.shape))
        return tuple(refined)

    def _moves(
        self, features: Sequence[Tensor], level: Tensor, image: Tensor, points: Tensor
    ) -> Tensor:
        """Return how far (N, 2K) refinement moves poses, of points (N, K, 2) in cells."""
        embedding = self.regression_embedding.at(
            [self.regression(maps) for maps in features], level, image, points
        )
        return float32_conv(self.refinement, embedding[..., None, None]).flatten(1)

    def _refined_at(self, features: Sequence[Tensor], coarse: Tensor, chosen: Tensor) -> Tensor:
        """Return the refined poses (N, K, 2) of chosen candidates (B, P), in pixels.

        Few candidates learn to be refined, and the others' embeddings would take most of the time.
        """
        strides, _ = candidate_grid([maps.shape[-2:] for maps in features], self.strides, coarse)
        image, candidate = chosen.nonzero().unbind(1)
        stride = strides[candidate, None, None]
        level = torch.bucketize(strides[candidate], strides.new_tensor(self.strides))
        settled = coarse[chosen]
        yx = self._moves(features, level, image, _points(settled) / stride).view(settled.shape)
        return settled.detach() + stride * yx.flip(-1)

    def merged_outputs(self, batches: Sequence[Batch], inference: Inference) -> PoseDetOutputs:
        """Return what the first batch gives, and the candidates of all further looks.

        They meet in suppression (Sec. 4.1).
        """
        looks = [
            (batch, mirror) for batch in batches for mirror in (False, True)[: 1 + inference.flip]
        ]
        outputs, *further = [self._look(batch, mirror) for batch, mirror in looks]
        return replace(
            outputs,
            further=tuple(
                self.candidates(look, batch.geometry, mirrored=mirror)
                for look, (batch, mirror) in zip(further, looks[1:], strict=True)
            ),
        )

    def _look(self, batch: Batch, mirror: bool) -> PoseDetOutputs:
        outputs: PoseDetOutputs = self(mirrored_images(batch) if mirror else batch.images)
        return outputs

    def targets(self, batch: Batch) -> PoseDetTargets:
        return build_targets(
            self._people(batch),
            self._sizes(batch),
            self.strides,
            centroid=self.config.centroid,
            candidates=self.config.coarse_candidates,
            person_cells=self.config.person_cells,
            sigma=self.config.heatmap_sigma,
        )

    def _sizes(self, batch: Batch) -> list[tuple[int, int]]:
        """Return the h, w of the levels."""
        height, width = batch.images.shape[-2:]
        return [(-(-height // stride), -(-width // stride)) for stride in self.strides]

    def _people(self, batch: Batch) -> list[Poses]:
        """Return the batch's people with their torsos."""
        everybody = []
        for poses, flipped in zip(batch.poses, batch.geometry.flipped.tolist(), strict=True):
            if flipped:
                poses = _shifted(poses, 1.0)
            everybody.append(add_torso(poses, self.skeleton) if self.with_torso else poses)
        return everybody

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        return self.loss_terms(batch.images, self.targets(batch))

    def loss_terms(self, images: Tensor, targets: PoseDetTargets) -> dict[str, Tensor]:
        """Return the weighted terms of Eq. 4."""
        config = self.config
        features = self.features(images)
        offsets, logits = self._unrefined(features)
        with no_autocast(images.device):
            coarse = poses_of(offsets, self.strides)
            found = targets_by_oks(coarse.detach(), targets, self.skeleton, config.similarity)
        refined = None
        if config.refinement:
            refined = self._refined_at(features, coarse, found.refined >= 0)
        supervised = config.intermediate_supervision
        heatmaps = [self.intermediate(level) for level in features] if supervised else []
        with no_autocast(images.device):
            return self._terms(logits, coarse, refined, heatmaps, targets, found)

    def _terms(
        self,
        levels: Sequence[Tensor],
        coarse: Tensor,
        refined: Tensor | None,
        heatmaps: Sequence[Tensor],
        targets: PoseDetTargets,
        found: TargetsByOks,
    ) -> dict[str, Tensor]:
        """Return the weighted terms.

        Args:
            levels: logits (B, 1, h, w).
            coarse: poses (B, P, K, 2).
            refined: poses (N, K, 2) of the candidates that are refined, if any is.
            heatmaps: logits (B, K, h, w) of the levels, or none.
            targets: what does not depend on predictions.
            found: what does.
        """
        config = self.config
        logits = torch.cat([level.flatten(1) for level in levels], 1)  # (B, P)
        sizes = [level.shape[-2:] for level in levels]
        stride, _ = candidate_grid(sizes, self.strides, logits)
        terms = {
            "score": score_loss(logits, found.scored),
            "coarse": config.coarse_weight
            * keypoint_loss(coarse[targets.coarse >= 0], targets.coarse, targets, stride),
        }
        if refined is not None:
            terms["refined"] = config.refined_weight * keypoint_loss(
                refined, found.refined, targets, stride
            )
        if heatmaps:
            terms["heatmap"] = config.heatmap_weight * heatmap_loss(
                heatmaps, targets.heatmaps, targets.masks
            )
        return terms

    def decode(self, outputs: PoseDetOutputs, geometry: Geometry) -> list[PosePredictions]:
        return [predictions for predictions, _ in self._decode(outputs, geometry)]

    def _decode(
        self, outputs: PoseDetOutputs, geometry: Geometry
    ) -> list[tuple[PosePredictions, Tensor]]:
        return self.suppressed(self.candidates(outputs, geometry), *outputs.further)

    def suppressed(
        self, *looks_at_images: list[Candidates]
    ) -> list[tuple[PosePredictions, Tensor]]:
        """Return each image's people, and their coarse poses (N, K, 2) in image pixels."""
        decoded = []
        for looks in zip(*looks_at_images, strict=True):
            keypoints, coarse, scores = (
                torch.cat([getattr(look, name) for look in looks])
                for name in ("keypoints", "coarse", "scores")
            )
            keypoints = keypoints[:, : len(self.skeleton)]
            keep = self.suppress(keypoints, scores)
            # The published code has no scores of keypoints.
            certain = torch.ones_like(keypoints[keep, :, 0])
            decoded.append((PosePredictions(keypoints[keep], certain, scores[keep]), coarse[keep]))
        return decoded

    def candidates(
        self, outputs: PoseDetOutputs, geometry: Geometry, *, mirrored: bool = False
    ) -> list[Candidates]:
        """Return the best candidates of every level of each image, above the least score.

        Args:
            outputs: of one look.
            geometry: of the upright images.
            mirrored: the network looked at mirror images.
        """
        read = outputs.coarse if self.config.read_coarse else outputs.refined
        chosen = []
        first = 0
        for level in outputs.logits:
            scores, index = _best(level)
            chosen.append((scores, first + index))
            first += level[0].numel()
        scores, index = (torch.cat(parts, 1) for parts in zip(*chosen, strict=True))
        rows = torch.arange(len(index), device=index.device)[:, None]
        poses, coarse = (poses_of(o, self.strides)[rows, index] for o in (read, outputs.coarse))
        found = []
        for image, (width, height) in enumerate(geometry.sizes.tolist()):
            good = scores[image] > MIN_SCORE
            # Only what is read is moved into the image, as published.
            own, own_coarse = poses[image, good], coarse[image, good]
            own = own.clamp(min=0).minimum(own.new_tensor([width, height]))
            if mirrored:
                flip_index = self._flip_index()
                own, own_coarse = (mirror_poses(p, width, flip_index) for p in (own, own_coarse))
            to_image = geometry.to_image[image].to(own)
            found.append(
                Candidates(apply(own, to_image), apply(own_coarse, to_image), scores[image, good])
            )
        return found

    def _flip_index(self) -> list[int]:
        torso = [len(self.skeleton)] if self.with_torso else []
        return [*self.skeleton.flip_index, *torso]

    def suppress(self, keypoints: Tensor, scores: Tensor) -> Tensor:
        """Return the indices of the people (N, K, 2), without torsos, to keep, best first.

        Source: Sec. 3.2; the area of a pose, and its lower bound, from the published code.
        """
        threshold = self.config.nms_threshold
        if self.config.nms == "iou":
            return box_nms(keypoints, scores, threshold, limit=MAX_DETECTIONS)
        area = published_area(pose_area(keypoints).clamp(min=MIN_AREA))
        sigmas = torch.tensor(self.skeleton.sigmas)
        return oks_nms(keypoints, scores, sigmas, threshold, area=area, limit=MAX_DETECTIONS)


def _trunk(name: str, *, pretrained: bool = False) -> nn.Module:
    """Return a trunk that yields maps at strides 4, 8, 16 and 32."""
    if name == "dla34":
        # timm's has the published parameter names.
        return timm_backbone(name, pretrained=pretrained, out_indices=(2, 3, 4, 5))
    return hrnet(name, pretrained=pretrained)


def _points(coarse: Tensor) -> Tensor:
    """Return where embeddings are sampled: coarse poses or offsets, with less of their gradient."""
    return GRADIENT_SHARE * coarse + (1 - GRADIENT_SHARE) * coarse.detach()


def _best(logits: Tensor) -> tuple[Tensor, Tensor]:
    """Return scores (B, P) and indices of the best candidates of a level (B, 1, h, w)."""
    scores = to_float32(logits).sigmoid().flatten(1)
    return scores.topk(min(MAX_PER_LEVEL, scores.shape[1]))


def _convs(width: int, count: int) -> nn.Sequential:
    return nn.Sequential(*(Conv(width, width, 3, relu=True) for _ in range(count)))


def _as_maps(values: Tensor, sizes: Sequence[tuple[int, int]]) -> tuple[Tensor, ...]:
    """Return (B, P, C) values of candidates as each level's map (B, C, h, w)."""
    levels = torch.split(values, [height * width for height, width in sizes], 1)
    return tuple(
        level.mT.reshape(len(level), -1, *size) for level, size in zip(levels, sizes, strict=True)
    )


def mirror_poses(keypoints: Tensor, width: float, flip_index: Sequence[int]) -> Tensor:
    """Return poses (N, K, 2) of the mirror image of an image so wide.

    The published code does this in the original image's pixels with the resized image's width,
    which is right where the two are of one size; here it is done before poses are scaled back.
    """
    moved = torch.stack([width - keypoints[..., 0], keypoints[..., 1]], -1)
    return moved[:, list(flip_index)]


# ---------------------------------------------------------------------------------------- targets


def _shifted(poses: Poses, right: float) -> Poses:
    """Return poses moved to the right.

    The published loader mirrors x to width - x, one more than where the pixel goes.
    """
    shift = torch.tensor([right, 0.0], dtype=poses.keypoints.dtype, device=poses.keypoints.device)
    return replace(
        poses,
        keypoints=poses.keypoints + shift,
        boxes=poses.boxes + shift,
        unlabelled=poses.unlabelled + shift,
    )


def _completed(poses: Poses) -> Poses:
    """Return poses whose unlabelled keypoints lie at the mean of their labelled ones."""
    labelled = (poses.visibility > 0)[..., None]
    mean = (poses.keypoints * labelled).sum(1, keepdim=True) / labelled.sum(1, keepdim=True).clamp(
        min=1
    )
    return replace(poses, keypoints=poses.keypoints.where(labelled, mean))


# ----------------------------------------------------------------------------------------- losses


def _normaliser(person: Tensor) -> float | Tensor:
    """Return the number of positives of a batch (B, P), at least one for each image."""
    counts = (person >= 0).sum(1).clamp(min=1)
    return mean_count(int(counts.sum()), person.device)


def score_loss(logits: Tensor, person: Tensor) -> Tensor:
    """Return the focal loss of (B, P) logits, of candidates that are not ignored.

    Source: Eq. 4; Lin et al. (arXiv:1708.02002), alpha = 0.25, gamma = 2.
    """
    loss: Tensor = sigmoid_focal_loss(to_float32(logits), (person >= 0).float(), reduction="none")
    return (loss * (person != IGNORED)).sum() / _normaliser(person)


def keypoint_loss(poses: Tensor, person: Tensor, targets: PoseDetTargets, stride: Tensor) -> Tensor:
    """Return the summed distance of poses (N, K, 2) to their people's labelled keypoints.

    They are those of the N candidates for whom `person` (B, P) names somebody. The distance is
    measured in four strides (P,) of the candidate's level, and has no gradient beyond five of them.

    Source: Eq. 4; units, bound and sum from the published code.
    """
    image, candidate = (person >= 0).nonzero().unbind(1)
    own = person[image, candidate]
    distance = (to_float32(poses) - targets.keypoints[own]).norm(dim=-1)
    distance = distance / (DISTANCE_UNIT * stride[candidate, None])
    total: Tensor = (distance.clamp(max=MAX_DISTANCE) * targets.labelled[own]).sum()
    return total / _normaliser(person)


def heatmap_loss(
    logits: Sequence[Tensor], targets: Sequence[Tensor], masks: Sequence[Tensor]
) -> Tensor:
    """Return the mean over levels of the focal loss of (B, K, h, w) heatmaps.

    Source: the published code, where the paper has a squared error.
    """
    losses = [
        heatmap_focal_loss_of_logits(*level) for level in zip(logits, targets, masks, strict=True)
    ]
    return torch.stack(losses).mean()
