"""PoseDet: Estimating Pose by Detection (Tian et al., FG 2021).

A candidate is a cell of one level of a feature pyramid. A bypass predicts its coarse offsets to the
keypoints of a person. The features at these K points become one vector, the pose embedding; one
embedding is used to refine the offsets, another to score the candidate. Candidates with similar
poses are suppressed. Where the published code and the paper differ, this follows the code;
docs/posedet.md lists the differences.

Shapes: B images, M people of all images, K keypoints, P candidates of all levels (level by level,
row by row), C channels, E channels of an embedding. Offsets are 2K channels y1, x1, y2, x2, ... in
cells of their level. The candidate (y, x) lies at (x, y) times the stride, without a shift by half
a cell.

The embedding's kernel needs an odd K. Skeletons with an even number of keypoints get a torso point
as the last one, which is trained like the others and dropped from the predictions.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

import torch
from torch import Tensor, nn
from torchvision.ops import sigmoid_focal_loss

from posebench.distributed import mean_count
from posebench.layers.backbones import HRNET_WIDTHS
from posebench.layers.backbones.hrnet import hrnet
from posebench.layers.backbones.pretrained import timm_backbone
from posebench.layers.heatmaps import heatmap_focal_loss_of_logits
from posebench.layers.precision import float32_conv, no_autocast, to_float32
from posebench.layers.torso import add_torso
from posebench.models.base import PoseModel
from posebench.models.keypoint_rows import Rows, of_keypoints, of_layer
from posebench.models.posedet.decoding import (
    BestCandidates,
    Candidates,
    PoseDetOutputs,
    View,
    best_candidates,
    gather_best,
    people_of_views,
    read_candidates,
)
from posebench.models.posedet.point_conv import PoseEmbedding
from posebench.models.posedet.pyramids import FPN, HRFPN, Conv
from posebench.models.posedet.recipes import PoseDetConfig
from posebench.models.posedet.targets import (
    IGNORED,
    OksAssignment,
    PoseDetTargets,
    assign_by_oks,
    build_targets,
    candidate_grid,
    maps_to_rows,
    offsets_to_xy,
    poses_from_offsets,
    rows_to_maps,
    shift_right,
)
from posebench.preprocess import mirrored_images
from posebench.skeleton import Skeleton
from posebench.structures import Batch, Geometry, Inference, PosePredictions, Poses
from posebench.transfer import moved

DLA34_CHANNELS = (64, 128, 256, 512)
PRIOR = 0.01  # initial score of every candidate
GRADIENT_SHARE = 0.1  # factor on the gradient from the embeddings to the coarse offsets

DISTANCE_UNIT = 4  # strides; unit of distances in the keypoint loss
MAX_DISTANCE = 5.0  # units; larger distances have no gradient


# ---------------------------------------------------------------------------------------- network


class PoseDet(PoseModel):
    """Bypass, refinement and score heads, shared by the levels of a feature pyramid."""

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
    # The published DLA-34 has these but does not use them; timm's lacks them.
    ignored_checkpoint_keys = (r"^backbone\.level[34]\.project\.",)

    def __init__(self, config: PoseDetConfig, skeleton: Skeleton) -> None:
        super().__init__(config, skeleton)
        self.with_torso = len(skeleton) % 2 == 0
        points, width = len(skeleton) + self.with_torso, config.width
        self.backbone = _backbone(config.backbone)
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
        self.backbone = _backbone(self.config.backbone, pretrained=True)

    def keypoint_rows(self) -> dict[str, Rows]:
        torso = "torso"  # the mean of shoulders and hips, whatever the other keypoints are
        points = of_keypoints(self.skeleton) + [("", torso)] * self.with_torso
        offsets = of_keypoints(self.skeleton, "y", "x")
        offsets += [("", torso, axis) for axis in "yx"] * self.with_torso
        rows: dict[str, Rows] = of_layer("coarse", offsets)
        if self.config.refinement:
            rows.update(of_layer("refinement", offsets))
            rows["regression_embedding.weight"] = {3: points}
        rows["classification_embedding.weight"] = {3: points}
        if self.config.intermediate_supervision:
            rows.update(of_layer("intermediate.1", points))
        return rows

    def features(self, images: Tensor, padding: Tensor | None = None) -> tuple[Tensor, ...]:
        """Return the levels of the pyramid (B, C, h, w), finest first."""
        levels: tuple[Tensor, ...] = self.neck(self.backbone(images))
        return levels

    def heads(
        self,
        features: tuple[Tensor, ...],
        people: Tensor | None = None,
        *,
        refine_all: bool = False,
    ) -> PoseDetOutputs:
        """Return the outputs; only the candidates that decoding may use are refined.

        Args:
            features: as `features` returns them.
            people: ignored, since every cell is a candidate.
            refine_all: whether to refine all candidates, as in the paper.
        """
        coarse, logits = self.detect(features)
        if not self.config.refinement:
            return PoseDetOutputs(logits, coarse, coarse)
        chosen = None
        # On a GPU selecting candidates takes longer than refining all.
        if not (refine_all or features[0].is_cuda):
            _, indices = best_candidates(logits)
            image = torch.arange(len(indices), device=indices.device)[:, None].expand_as(indices)
            chosen = torch.stack([image, indices], -1).flatten(0, 1)
        return PoseDetOutputs(logits, coarse, self.refine(features, coarse, chosen))

    def detect(self, features: Sequence[Tensor]) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        """Return each level's coarse offsets (B, 2K, h, w) and logits (B, 1, h, w)."""
        # float32: offsets reach dozens of cells, and bfloat16 has only three digits.
        coarse = tuple(float32_conv(self.coarse, self.bypass(maps)) for maps in features)
        logits = []
        for maps, offsets in zip(features, coarse, strict=True):
            embedding = self.classification_embedding(
                self.classification(maps), _scaled_gradient(offsets)
            )
            logits.append(self.score(embedding))
        return coarse, tuple(logits)

    def refine(
        self, features: Sequence[Tensor], coarse: Sequence[Tensor], chosen: Tensor | None = None
    ) -> tuple[Tensor, ...]:
        """Return each level's offsets (B, 2K, h, w): coarse + conv(embed(features, coarse)).

        Args:
            features: (B, C, h, w) of the levels.
            coarse: offsets (B, 2K, h, w) of the levels; they are detached in the sum.
            chosen: (N, 2) image and index of each candidate to refine, without duplicates; the
                others keep their coarse offsets. None: all.

        Source: Sec. 3.1; the detached sum from the published code.
        """
        maps = [self.regression(level) for level in features]
        if chosen is None:
            refined = []
            for level, offsets in zip(maps, coarse, strict=True):
                embedding = self.regression_embedding(level, _scaled_gradient(offsets))
                refined.append(offsets.detach() + float32_conv(self.refinement, embedding))
            return tuple(refined)
        sizes = [offsets.shape[-2:] for offsets in coarse]
        grid = candidate_grid(sizes, self.strides, coarse[0])
        image, index = chosen.unbind(1)
        rows = maps_to_rows(coarse)  # (B, P, 2K)
        own = rows[image, index]  # (N, 2K)
        points = offsets_to_xy(_scaled_gradient(own)) + grid.cells[index, None]
        embedding = self.regression_embedding.at(maps, grid.level[index], image, points)
        moves = float32_conv(self.refinement, embedding[..., None, None]).flatten(1)
        rows = rows.detach().index_put((image, index), own.detach() + moves)
        return rows_to_maps(rows, sizes)

    # ---------------------------------------------------------------------------- targets, losses

    def targets(self, batch: Batch) -> PoseDetTargets:
        return build_targets(
            self.people(batch),
            self.level_sizes(batch),
            self.strides,
            centroid=self.config.centroid,
            candidates=self.config.coarse_candidates,
            person_cells=self.config.person_cells,
            sigma=self.config.heatmap_sigma,
            device=batch.device,
        )

    def level_sizes(self, batch: Batch) -> list[tuple[int, int]]:
        """Return h, w of each level."""
        height, width = batch.images.shape[-2:]
        return [(-(-height // stride), -(-width // stride)) for stride in self.strides]

    def people(self, batch: Batch) -> list[Poses]:
        """Return each image's people for training, with torso points if the skeleton needs them."""
        images = []
        for poses, flipped in zip(batch.poses, batch.geometry.flipped.tolist(), strict=True):
            # The published loader mirrors x to width - x, one pixel right of the mirrored pixel.
            if flipped:
                poses = shift_right(poses, 1.0)
            images.append(add_torso(poses, self.skeleton) if self.with_torso else poses)
        return images

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        return self.loss_terms(batch.images, self.targets(batch))

    def loss_terms(self, images: Tensor, targets: PoseDetTargets) -> dict[str, Tensor]:
        """Return the weighted terms of Eq. 4.

        Only the few candidates assigned to a person are refined, since the refined poses of the
        others do not contribute to a loss.
        """
        features = self.features(images)
        coarse, logits = self.detect(features)
        with no_autocast(images.device):
            poses = poses_from_offsets(coarse, self.strides)
            assigned = assign_by_oks(poses.detach(), targets, self.skeleton, self.config.similarity)
        refined = chosen = None
        if self.config.refinement:
            chosen = (assigned.refined >= 0).nonzero()
            refined = poses_from_offsets(self.refine(features, coarse, chosen), self.strides)
        heatmaps: list[Tensor] = []
        if self.config.intermediate_supervision:
            heatmaps = [self.intermediate(level) for level in features]
        with no_autocast(images.device):
            return self.weighted_terms(logits, poses, refined, heatmaps, targets, assigned, chosen)

    def weighted_terms(
        self,
        logits: Sequence[Tensor],
        coarse: Tensor,
        refined: Tensor | None,
        heatmaps: Sequence[Tensor],
        targets: PoseDetTargets,
        assigned: OksAssignment,
        chosen: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Return the weighted terms of Eq. 4.

        Args:
            logits: (B, 1, h, w) of the levels.
            coarse: poses (B, P, K, 2).
            refined: poses (B, P, K, 2); None: without refinement.
            heatmaps: logits (B, K, h, w) of the levels; empty: without intermediate supervision.
            targets: the targets that do not depend on predictions.
            assigned: the assignment, which depends on the coarse poses.
            chosen: (N, 2) image and candidate of those with a refined pose; None: not known.
        """
        config = self.config
        joined = torch.cat([level.flatten(1) for level in logits], 1)  # (B, P)
        grid = candidate_grid([level.shape[-2:] for level in logits], self.strides, joined)
        terms = {
            "score": score_loss(joined, assigned.scored),
            "coarse": config.coarse_weight
            * keypoint_loss(coarse, targets.coarse, targets, grid.stride, targets.coarse_at),
        }
        if refined is not None:
            terms["refined"] = config.refined_weight * keypoint_loss(
                refined, assigned.refined, targets, grid.stride, chosen
            )
        if heatmaps:
            terms["heatmap"] = config.heatmap_weight * heatmap_loss(
                heatmaps, targets.heatmaps, targets.masks
            )
        return terms

    # ----------------------------------------------------------------------------------- decoding

    def merged_outputs(self, batches: Sequence[Batch], inference: Inference) -> PoseDetOutputs:
        """Return the outputs of the first view, with the candidates of all further views."""
        mirrors = (False, True) if inference.flip else (False,)
        views = [(batch, mirrored) for batch in batches for mirrored in mirrors]
        outputs: list[PoseDetOutputs] = [
            self(mirrored_images(batch) if mirrored else batch.images) for batch, mirrored in views
        ]
        further = [
            View(self.best(own), batch.geometry, mirrored)
            for own, (batch, mirrored) in zip(outputs[1:], views[1:], strict=True)
        ]
        return replace(outputs[0], further=tuple(further))

    def best(self, outputs: PoseDetOutputs) -> BestCandidates:
        """Return the candidates of one view that may be people, see `gather_best`."""
        return gather_best(outputs, self.strides, read_coarse=self.config.read_coarse)

    def candidates(self, outputs: PoseDetOutputs, geometry: Geometry) -> list[Candidates]:
        """Return the candidates of each image in one view, see `read_candidates`."""
        view = moved(View(self.best(outputs), geometry), torch.device("cpu"))
        return read_candidates(view, self.skeleton)

    def decode(self, outputs: PoseDetOutputs, geometry: Geometry) -> list[PosePredictions]:
        return [predictions for predictions, _ in self.decode_with_coarse(outputs, geometry)]

    def decode_with_coarse(
        self, outputs: PoseDetOutputs, geometry: Geometry
    ) -> list[tuple[PosePredictions, Tensor]]:
        """Return each image's people, and their coarse poses (N, K, 2) in image pixels."""
        views = [View(self.best(outputs), geometry), *outputs.further]
        views = moved(views, torch.device("cpu"))
        candidates = [read_candidates(view, self.skeleton) for view in views]
        return people_of_views(candidates, self.config, self.skeleton)


def _backbone(name: str, *, pretrained: bool = False) -> nn.Module:
    """Return a backbone with maps at strides 4, 8, 16 and 32."""
    if name == "dla34":
        # timm's has the published parameter names.
        return timm_backbone(name, pretrained=pretrained, out_indices=(2, 3, 4, 5))
    return hrnet(name, pretrained=pretrained)


def _convs(width: int, count: int) -> nn.Sequential:
    return nn.Sequential(*(Conv(width, width, 3, relu=True) for _ in range(count)))


def _scaled_gradient(offsets: Tensor) -> Tensor:
    """Return the offsets, with their gradient scaled by GRADIENT_SHARE."""
    return GRADIENT_SHARE * offsets + (1 - GRADIENT_SHARE) * offsets.detach()


# ----------------------------------------------------------------------------------------- losses


def score_loss(logits: Tensor, person: Tensor) -> Tensor:
    """Return the focal loss of all candidates that are not ignored.

    Args:
        logits: (B, P).
        person: (B, P) index of each candidate's person, as `OksAssignment.scored`.

    Source: Eq. 4; Lin et al. (arXiv:1708.02002), alpha = 0.25, gamma = 2.
    """
    loss: Tensor = sigmoid_focal_loss(to_float32(logits), (person >= 0).float(), reduction="none")
    return (loss * (person != IGNORED)).sum() / _positives(person)


def keypoint_loss(
    poses: Tensor,
    person: Tensor,
    targets: PoseDetTargets,
    stride: Tensor,
    assigned: Tensor | None = None,
) -> Tensor:
    """Return the summed distance of poses to the labelled keypoints of their assigned people.

    Distances are in units of four strides and clipped at five units.

    Args:
        poses: (B, P, K, 2).
        person: (B, P) index of each candidate's person; below 0: none.
        targets: targets with the people's keypoints.
        stride: (P,) stride of each candidate's level.
        assigned: (N, 2) image and candidate of those that have a person; None: they are looked for.

    Source: Eq. 4; units, clipping and sum over keypoints from the published code.
    """
    assigned = (person >= 0).nonzero() if assigned is None else assigned
    image, candidate = assigned.unbind(1)
    own = person[image, candidate]
    distance = (to_float32(poses[image, candidate]) - targets.keypoints[own]).norm(dim=-1)
    distance = distance / (DISTANCE_UNIT * stride[candidate, None])
    total: Tensor = (distance.clamp(max=MAX_DISTANCE) * targets.labelled[own]).sum()
    return total / _positives(person)


def heatmap_loss(
    logits: Sequence[Tensor], targets: Sequence[Tensor], masks: Sequence[Tensor]
) -> Tensor:
    """Return the mean over levels of the focal loss of heatmaps (B, K, h, w).

    Source: the published code; the paper has a squared error.
    """
    losses = [
        heatmap_focal_loss_of_logits(*level) for level in zip(logits, targets, masks, strict=True)
    ]
    return torch.stack(losses).mean()


def _positives(person: Tensor) -> float | Tensor:
    """Return the number of positive candidates (B, P), counting at least one per image.

    In distributed training it is the mean over ranks.
    """
    counts = (person >= 0).sum(1).clamp(min=1)
    return mean_count(counts.sum(), person.device)
