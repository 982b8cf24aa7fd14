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
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.ops import sigmoid_focal_loss

from posebench.distributed import mean_count
from posebench.layers.affine import apply
from posebench.layers.backbones.hrnet import HRNET_WIDTHS, hrnet
from posebench.layers.backbones.pretrained import timm_trunk
from posebench.layers.candidates import (
    IGNORED,
    PERSON_CELLS,
    PUBLISHED,
    PoseDetTargets,
    Similarity,
    TargetsByOks,
    add_torso,
    assign_nearest,
    build_targets,
    candidate_grid,
    poses_of,
    published_area,
    targets_by_oks,
)
from posebench.layers.heatmaps import gaussian_heatmaps, heatmap_focal_loss_of_logits
from posebench.layers.nms import box_nms, oks_nms, pose_area
from posebench.layers.point_conv import point_conv, point_conv_at
from posebench.layers.precision import precise, precise_conv, unrounded
from posebench.layers.pyramids import FPN, HRFPN, Conv
from posebench.models.base import PoseModel
from posebench.preprocess import mirrored_images
from posebench.recipe import Recipe, printed
from posebench.structures import (
    COCO,
    CROWDPOSE,
    MPII,
    Batch,
    CropAugment,
    FitResize,
    Geometry,
    Heatmaps,
    PaperTiming,
    PosePredictions,
    Poses,
    Skeleton,
    TestTime,
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
class PoseDetConfig:
    backbone: str = "dla34"
    width: int = 128  # C of the pyramid and the heads
    refinement: bool = True  # Table 4; False: the network has no branch that refines
    read_coarse: bool = False  # Table 4, read otherwise: trained as usual, coarse poses are output
    centroid: str = "keypoints"  # Table 5: a person's centre is their mean, or that of its "box"
    nms: str = "oks"  # Table 5: or "iou", of the boxes around keypoints
    nms_threshold: float = 0.2
    intermediate_supervision: bool = True  # Table 5: heatmaps of the pyramid, in training only
    # How it starts and what it learns from; others than the published for few images.
    head_std: float = 0.01  # of the heads' initial weights
    refined_width: int = 0  # of the embedding that refines; 0: like the heads
    coarse_candidates: int = 1  # that learn a person's coarse pose, nearest to its centre
    person_cells: int = PERSON_CELLS  # across a person, up to twice as many, at its level
    similarity: Similarity = PUBLISHED
    coarse_weight: float = 0.1  # of the losses; the score's is 1
    refined_weight: float = 0.2
    heatmap_weight: float = 0.1
    heatmap_sigma: float = 2.0  # cells, at every level

    def __post_init__(self) -> None:
        backbones = ("dla34", *HRNET_WIDTHS)
        for name, choices in (
            ("backbone", backbones), ("centroid", ("keypoints", "box")), ("nms", ("oks", "iou")),
        ):  # fmt: skip
            if getattr(self, name) not in choices:
                raise ValueError(
                    f"PoseDet's {name} is one of {', '.join(choices)}, not {getattr(self, name)!r}."
                )
        for name, value in (("head_std", self.head_std), ("heatmap_sigma", self.heatmap_sigma)):
            if value <= 0:
                raise ValueError(f"PoseDet's {name} is above 0, not {value:g}.")
        if self.refined_width < 0:
            raise ValueError(
                "PoseDet's refined_width is the number of channels of the embedding that refines, "
                f"or 0 for as many as the heads have, not {self.refined_width}."
            )
        if self.person_cells < 1:
            raise ValueError(
                "PoseDet's person_cells is at least 1, the cells across the smallest people of a "
                f"level, not {self.person_cells}."
            )
        if self.coarse_candidates < 1:
            raise ValueError(
                "PoseDet's coarse_candidates is at least 1, since nobody else learns coarse poses, "
                f"not {self.coarse_candidates}."
            )
        if self.width < 16 or self.width % 16 or (self.width > 128 and self.width % 32):
            raise ValueError(
                "PoseDet's width is a multiple of 16, and above 128 of 32, so that its channels "
                f"fall into groups, but it is {self.width}."
            )


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
    published_left_out = (r"^backbone\.level[34]\.project\.",)
    # A CPU is named beside the card, so that suppression is taken to count.
    paper_timing = PaperTiming("Sec. 4.1 and Table 1", decoded=True)

    def __init__(self, config: PoseDetConfig, skeleton: Skeleton) -> None:
        super().__init__(skeleton)
        self.config = config
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

    def as_written(
        self, images: Tensor, padding: Tensor | None = None, people: Tensor | None = None
    ) -> PoseDetOutputs:
        return self.heads_everywhere(self.features(images))

    def _unrefined(
        self, features: Sequence[Tensor]
    ) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        """Return each level's coarse offsets (B, 2K, h, w) and logits (B, 1, h, w)."""
        coarse = tuple(self._coarse(level) for level in features)
        return coarse, tuple(self._logits(*level) for level in zip(features, coarse, strict=True))

    def _coarse(self, features: Tensor) -> Tensor:
        # Offsets reach dozens of cells, of which bfloat16 keeps three digits.
        return precise_conv(self.coarse, self.bypass(features))

    def _logits(self, features: Tensor, coarse: Tensor) -> Tensor:
        embedding = self.classification_embedding(self.classification(features), _points(coarse))
        logits: Tensor = self.score(embedding)
        return logits

    def _refined(self, features: Tensor, coarse: Tensor) -> Tensor:
        embedding = self.regression_embedding(self.regression(features), _points(coarse))
        return coarse.detach() + precise_conv(self.refinement, embedding)

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
        return precise_conv(self.refinement, embedding[..., None, None]).flatten(1)

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

    def test_outputs(self, batches: Sequence[Batch], test_time: TestTime) -> PoseDetOutputs:
        """Return what the first batch gives, and the candidates of all further looks.

        They meet in suppression (Sec. 4.1).
        """
        looks = [
            (batch, mirror) for batch in batches for mirror in (False, True)[: 1 + test_time.flip]
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
        with unrounded(images.device):
            coarse = poses_of(offsets, self.strides)
            found = targets_by_oks(coarse.detach(), targets, self.skeleton, config.similarity)
        refined = None
        if config.refinement:
            refined = self._refined_at(features, coarse, found.refined >= 0)
        supervised = config.intermediate_supervision
        heatmaps = [self.intermediate(level) for level in features] if supervised else []
        with unrounded(images.device):
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

    def heatmaps(
        self, outputs: PoseDetOutputs, geometry: Geometry
    ) -> list[tuple[PosePredictions, Heatmaps]]:
        """Return the best score near each place, and where each person's embedding was sampled.

        The intermediate heatmaps are not made outside of training.
        """
        stride, size = self.strides[0], tuple(outputs.logits[0].shape[-2:])
        scores = torch.stack(
            [F.interpolate(level.float().sigmoid(), size)[:, 0] for level in outputs.logits]
        ).amax(0)
        explained = []
        for (predictions, coarse), score, to_image in zip(
            self._decode(outputs, geometry), scores, geometry.to_image, strict=True
        ):
            matrix = to_image.to(coarse)
            cells = (coarse - matrix[:, 2]) @ torch.linalg.inv(matrix[:, :2]).T / stride
            constant = cells.new_ones(len(cells))
            people = gaussian_heatmaps(
                cells[:, : len(self.skeleton)],
                torch.ones_like(cells[:, : len(self.skeleton), 0], dtype=torch.bool),
                (size[0], size[1]),
                radius=3 * constant,
                sigma=constant,
            )
            # A drawing puts cells at their centres; candidates lie at their corners.
            to_corner = to_image.clone()
            to_corner[:, 2] -= to_image[:, :2].sum(1) * stride / 2
            explained.append((predictions, Heatmaps({"score": score}, people, stride, to_corner)))
        return explained

    def ideal_outputs(self, batch: Batch) -> PoseDetOutputs:
        """Return a sure candidate with the exact pose for everybody who is given one in training.

        Also for those with few keypoints, whom training leaves out. A keypoint without a label lies
        in the middle of its person's others.
        """
        sizes = self._sizes(batch)
        stride, points = candidate_grid(sizes, self.strides, torch.zeros(()))
        logits, offsets = [], []
        for poses in map(_completed, self._people(batch)):
            person = assign_nearest(
                poses,
                sizes,
                self.strides,
                self.config.centroid,
                min_labelled=1,
                person_cells=self.config.person_cells,
            )
            chosen = (person >= 0).nonzero()[:, 0]
            xy = torch.zeros(len(points), poses.keypoints.shape[1], 2)
            away = poses.keypoints[person[chosen]].float() - points[chosen, None]
            xy[chosen] = away / stride[chosen, None, None]
            offsets.append(xy.flip(-1).flatten(1))
            logits.append(torch.where(person >= 0, SURE, -SURE)[:, None])
        maps = _as_maps(torch.stack(offsets), sizes)
        return PoseDetOutputs(_as_maps(torch.stack(logits), sizes), maps, maps)


def _trunk(name: str, *, pretrained: bool = False) -> nn.Module:
    """Return a trunk that yields maps at strides 4, 8, 16 and 32."""
    if name == "dla34":
        # timm's has the published parameter names.
        return timm_trunk(name, pretrained=pretrained, out_indices=(2, 3, 4, 5))
    return hrnet(name, pretrained=pretrained)


def _points(coarse: Tensor) -> Tensor:
    """Return where embeddings are sampled: coarse poses or offsets, with less of their gradient."""
    return GRADIENT_SHARE * coarse + (1 - GRADIENT_SHARE) * coarse.detach()


def _best(logits: Tensor) -> tuple[Tensor, Tensor]:
    """Return scores (B, P) and indices of the best candidates of a level (B, 1, h, w)."""
    scores = precise(logits).sigmoid().flatten(1)
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
    loss: Tensor = sigmoid_focal_loss(precise(logits), (person >= 0).float(), reduction="none")
    return (loss * (person != IGNORED)).sum() / _normaliser(person)


def keypoint_loss(poses: Tensor, person: Tensor, targets: PoseDetTargets, stride: Tensor) -> Tensor:
    """Return the summed distance of poses (N, K, 2) to their people's labelled keypoints.

    They are those of the N candidates for whom `person` (B, P) names somebody. The distance is
    measured in four strides (P,) of the candidate's level, and has no gradient beyond five of them.

    Source: Eq. 4; units, bound and sum from the published code.
    """
    image, candidate = (person >= 0).nonzero().unbind(1)
    own = person[image, candidate]
    distance = (precise(poses) - targets.keypoints[own]).norm(dim=-1)
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


# ---------------------------------------------------------------------------------------- recipes


def _recipe(name: str, config: PoseDetConfig, size: int, long_side: int, **fields: Any) -> Recipe:
    """Return one of the released configurations; the paper has one schedule for all."""
    skeleton: Skeleton = fields["skeleton"]
    threshold = 0.2 if skeleton is COCO else 0.3  # as released
    return Recipe(
        name=name,
        build=PoseDet,
        config=replace(config, nms_threshold=threshold),
        test_time=TestTime(FitResize(short_side=size, long_side=long_side), flip=False),
        augment=CropAugment(size=512),
        epochs=210,
        batch_size=48,  # Sec. 4.1: 6 on each of 8 GPUs
        images_per_pass=6,
        lr=1e-4,
        lr_drops=(180, 200),
        warmup_steps=5,
        clip_norm=35.0,
        **fields,
    )


_DLA34 = PoseDetConfig()
_W32, _W48 = (PoseDetConfig(backbone=f"hrnet_w{width}", width=256) for width in (32, 48))


RECIPES = {
    recipe.name: recipe
    for recipe in (
        _recipe(
            "posedet_dla34_coco", _DLA34, 512, 800, skeleton=COCO,
            reported=(printed("coco", "test-dev2017", 59.2, "posedet:table01"),),
        ),
        _recipe(
            "posedet_hrnet_w32_coco", _W32, 512, 800, skeleton=COCO,
            default_for=("coco", "ochuman"),
            reported=(printed("coco", "test-dev2017", 64.4, "posedet:table01"),),
        ),
        _recipe(
            "posedet_hrnet_w48_coco", _W48, 640, 1000, skeleton=COCO,
            reported=(printed("coco", "test-dev2017", 66.2, "posedet:table01"),),
        ),
        _recipe("posedet_dla34_crowdpose", _DLA34, 512, 800, skeleton=CROWDPOSE),
        _recipe(
            "posedet_hrnet_w48_crowdpose", _W48, 640, 1000, skeleton=CROWDPOSE,
            default_for=("crowdpose",),
            reported=(printed("crowdpose", "test", 65.9, "posedet:table04"),),
        ),
        # On MPII, for which the paper has no figure: as on COCO.
        _recipe(
            "posedet_hrnet_w32_mpii", _W32, 512, 800, skeleton=MPII, default_for=("mpii",),
        ),
        Recipe(
            name="posedet_tiny",
            build=PoseDet,
            # From random weights and 4,000 images, the published start and thresholds leave nearly
            # every candidate without a person for thousands of steps; docs/posedet.md.
            config=PoseDetConfig(
                backbone="hrnet_tiny", width=64, nms_threshold=0.3,
                head_std=0.05, refined_width=256, coarse_candidates=13, person_cells=8,
                similarity=Similarity(0.4, 0.2, positive=0.5, negative=0.4),
                coarse_weight=0.3, refined_weight=0.5, heatmap_weight=4.0, heatmap_sigma=1.0,
            ),
            skeleton=None,
            default_for=("synthetic",),
            test_time=TestTime(FitResize(short_side=192, long_side=384)),
            augment=CropAugment(size=160, scale=(1.2, 1.55)),
            epochs=7,
            batch_size=8,
            images_per_pass=8,
            lr=2e-3,
            schedule="cosine",
            warmup_steps=200,
            clip_norm=35.0,
            ema_decay=0.995,
            evaluate_every=2,
            pretrained=False,
        ),
    )
}  # fmt: skip
