"""PifPaf: Composite Fields for Human Pose Estimation (Kreiss et al., CVPR 2019), DGCN's baseline.

Each cell of a keypoint field predicts the confidence that the keypoint is near, its offset and its
scale; each cell of a limb field predicts the same for both ends of the limb. Decoding grows poses
from the most confident keypoints along the limbs. Losses and weights are those of DGCN's paper;
docs/dgcn.md lists what that paper leaves open. Fields are encoded in `targets.py` and decoded in
`decoding.py`.

Shapes: B images, K keypoints, M limbs, H x W network input, h x w cells of the fields.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from posebench.layers.affine import apply
from posebench.layers.backbones.classifiers import backbone_channels, unpooled_backbone
from posebench.models.base import PoseModel
from posebench.models.keypoint_rows import Label, Rows, of_keypoints, of_layer, of_limbs
from posebench.models.pifpaf.decoding import FieldPoses, View, decode_fields
from posebench.models.pifpaf.losses import field_losses
from posebench.models.pifpaf.recipes import PifPafConfig
from posebench.models.pifpaf.targets import (
    KEYPOINT_VALUES,
    LIMB_VALUES,
    FieldLayout,
    FieldPeople,
    field_layout,
    field_people,
    field_size,
    keypoint_fields,
    limb_fields,
)
from posebench.skeleton import Skeleton
from posebench.structures import (
    Batch,
    Geometry,
    Inference,
    KeypointStatistics,
    PosePredictions,
)
from posebench.transfer import moved, to_device

BACKBONE_STRIDE = 16  # of the map from which fields are predicted
STRIDE = 8  # of the fields
PRIOR = 0.01  # initial confidence of every cell
# The values of a cell of both kinds of field, in order; of a limb's, the end that each belongs to.
_OF_KEYPOINTS = ("confidence", "x", "y", "scale")
_OF_LIMBS = (
    ("confidence", None), ("x", 0), ("y", 0), ("x", 1), ("y", 1), ("scale", 0), ("scale", 1),
)  # fmt: skip
# Root of the area of the box around a mean pose, relative to that of figures; below, they face or
# are turned every way, and what is left of the pose is noise.
LEAST_POSE = 0.3
IDEAL_LOGIT = 15.0  # of an ideal field's positive cells; all others have -IDEAL_LOGIT


@dataclass(frozen=True)
class PifPafFeatures:
    maps: tuple[Tensor, ...]  # (B, C, h, w), the finest first
    size: tuple[int, int]  # H, W


@dataclass(frozen=True)
class PifPafOutputs:
    keypoints: Tensor  # (B, K, 4, h, w) confidence logit; x and y offset, scale in cells
    limbs: Tensor  # (B, M, 7, h, w) confidence logit; x and y offset to both ends, scale of both
    intermediate: tuple[Tensor, ...] = ()  # DGCN's: logits (B, K, ., .) at the strides of its maps
    # For each further scale: keypoints, limbs, and the affine maps (B, 2, 3) float64 to the pixels
    # of the first scale
    further: tuple[tuple[Tensor, Tensor, Tensor], ...] = ()


@dataclass(frozen=True)
class PifPafTargets:
    keypoints: Tensor  # (B, K, 4, h, w) as the outputs, confidence 0 or 1; NaN is ignored
    limbs: Tensor  # (B, M, 7, h, w)
    intermediate: tuple[Tensor, ...] = ()  # (B, K, ., .) confidence


def people_in_cells(batch: Batch, layout: FieldLayout, stride: int) -> list[FieldPeople]:
    """Return the people of each image, in cells of `stride` pixels."""
    return [
        field_people(poses, layout, stride, (0.0, 0.0, width - 1.0, height - 1.0))
        for poses, (width, height) in zip(batch.poses, batch.geometry.sizes.tolist(), strict=True)
    ]


def build_targets(
    batch: Batch, layout: FieldLayout, module_strides: Sequence[int] = ()
) -> PifPafTargets:
    """Return the targets of a batch, on the CPU.

    Args:
        batch: with the people.
        layout: of their keypoints.
        module_strides: of the maps whose keypoint confidences are `intermediate`.
    """
    height, width = batch.images.shape[-2:]
    size = field_size((height, width), STRIDE)
    people = people_in_cells(batch, layout, STRIDE)
    intermediate = []
    for stride in module_strides:
        own_size = field_size((height, width), stride)
        fields = [
            keypoint_fields(one, own_size)[:, 0] for one in people_in_cells(batch, layout, stride)
        ]
        intermediate.append(torch.stack(fields))
    return PifPafTargets(
        torch.stack([keypoint_fields(one, size) for one in people]),
        torch.stack([limb_fields(one, layout, size) for one in people]),
        tuple(intermediate),
    )


# ---------------------------------------------------------------------------------------- network


class FieldHead(nn.Module):
    """A 1 x 1 convolution and a pixel shuffle, from a map to fields of half its stride."""

    def __init__(self, channels: int, maps: int, values: int) -> None:
        super().__init__()
        self.values = values
        self.conv = nn.Conv2d(channels, 4 * maps * values, 1)
        self.shuffle = nn.PixelShuffle(2)
        assert self.conv.bias is not None
        with torch.no_grad():
            nn.init.zeros_(self.conv.bias)
            confidence = self.conv.bias.view(maps, values, 4)[:, 0]
            confidence.fill_(math.log(PRIOR / (1 - PRIOR)))

    def forward(self, features: Tensor, size: tuple[int, int]) -> Tensor:
        """Return the fields (B, maps, values, *size), without cells beyond the input."""
        maps: Tensor = self.shuffle(self.conv(features))[..., : size[0], : size[1]]
        return _positive_scales(maps.reshape(maps.shape[0], -1, self.values, *size))


def _positive_scales(fields: Tensor) -> Tensor:
    scales = 1 if fields.shape[2] == KEYPOINT_VALUES else 2
    values, unbound = fields[:, :, :-scales], fields[:, :, -scales:]
    return torch.cat([values, F.softplus(unbound)], 2)


class PifPaf(PoseModel):
    """Keypoint and limb fields predicted from a backbone's coarsest map."""

    config: PifPafConfig
    computed_tensors: ClassVar[tuple[str, ...]] = ("mean_pose",)

    mean_pose: Tensor  # (K, 2) of the training set, 0: not known; where no upright pose is known

    published_names: ClassVar[dict[str, str]] = {}  # no weights of this architecture are published
    strides: tuple[int, ...] = (BACKBONE_STRIDE,)  # of the backbone's maps, the finest first

    def __init__(self, config: PifPafConfig, skeleton: Skeleton) -> None:
        super().__init__(config, skeleton)
        self.layout = field_layout(skeleton)
        if not self.layout.upright:
            # Saved in checkpoints, so that whatever needs it later needs no dataset.
            self.register_buffer("mean_pose", torch.zeros(len(skeleton), 2))
        self.backbone = unpooled_backbone(config.backbone, self.strides)
        self._build_heads(backbone_channels(self.backbone))

    def _build_heads(self, channels: Sequence[int]) -> None:
        self.keypoint_head = FieldHead(channels[-1], len(self.skeleton), KEYPOINT_VALUES)
        self.limb_head = FieldHead(channels[-1], len(self.layout.limbs), LIMB_VALUES)

    def prepare(self, statistics: Callable[[], KeypointStatistics]) -> None:
        """Set the training set's mean pose, if no upright pose of the keypoints is known."""
        if not self.layout.upright:
            self.set_mean_pose(statistics().pose)

    def set_mean_pose(self, pose: NDArray[np.float64]) -> None:
        """Set the pose (K, 2), y up, from which sizes of partly labelled people are extrapolated.

        One that is small beside the people, since they face or are turned every way, is not used.
        """
        if np.sqrt(np.ptp(pose, 0).prod()) >= LEAST_POSE:
            self.mean_pose.copy_(torch.from_numpy(pose))

    def current_layout(self) -> FieldLayout:
        """Return the layout, with the training set's mean pose where no upright one is known."""
        if self.layout.upright or self.mean_pose.is_meta or not self.mean_pose.any():
            return self.layout
        return replace(self.layout, upright=tuple((x, y) for x, y in self.mean_pose.tolist()))

    def load_pretrained(self) -> None:
        self.backbone = unpooled_backbone(self.config.backbone, self.strides, pretrained=True)

    def keypoint_rows(self) -> dict[str, Rows]:
        keypoints = of_keypoints(self.skeleton, *_OF_KEYPOINTS)
        limbs = of_limbs(self.skeleton, self.layout.limbs, _OF_LIMBS)
        return {
            **of_layer("keypoint_head.conv", _shuffled(keypoints)),
            **of_layer("limb_head.conv", _shuffled(limbs)),
        }

    def features(self, images: Tensor, padding: Tensor | None = None) -> PifPafFeatures:
        """Return the backbone's maps at `strides`."""
        height, width = images.shape[-2:]
        return PifPafFeatures(tuple(self.backbone(images)), (height, width))

    def heads(self, features: PifPafFeatures, people: Tensor | None = None) -> PifPafOutputs:
        size = field_size(features.size, STRIDE)
        [finest] = features.maps
        return PifPafOutputs(self.keypoint_head(finest, size), self.limb_head(finest, size))

    def merged_outputs(self, batches: Sequence[Batch], inference: Inference) -> PifPafOutputs:
        """Return the first scale's fields, with those of the other scales as `further`.

        Decoding joins the cells of all scales. Mirrored views are merged before: confidences are
        averaged, offsets and scales are averaged with the confidences as weights.
        """
        outputs, *others = [self._view(batch, inference.flip) for batch in batches]
        further = tuple(
            (view.keypoints, view.limbs, _between(batch.geometry, batches[0].geometry))
            for view, batch in zip(others, batches[1:], strict=True)
        )
        return replace(outputs, further=further)

    def _view(self, batch: Batch, flip: bool) -> PifPafOutputs:
        """Return one scale's fields, with `flip` merged with those of the mirrored images."""
        if not flip:
            outputs: PifPafOutputs = self(batch.images)
            return outputs
        both: PifPafOutputs = self(torch.cat([batch.images, batch.images.flip(-1)]))
        width = batch.images.shape[-1]
        partners, ends, single = self._flipped_limbs()
        flipped_keypoints, flipped_limbs, values, exchange, alone = to_device(
            [
                torch.tensor(self.skeleton.flip_index), torch.tensor(partners),
                torch.tensor([0, 3, 4, 1, 2, 6, 5]), torch.tensor(ends),
                torch.tensor(single, dtype=torch.int64),
            ],
            batch.device,
        )  # fmt: skip
        keypoints, mirrored_keypoints = both.keypoints.chunk(2)
        limbs, mirrored_limbs = both.limbs.chunk(2)
        mirrored_limbs = mirrored_limbs[:, flipped_limbs]
        swapped = mirrored_limbs[:, :, values]
        mirrored_limbs = torch.where(exchange[:, None, None, None], swapped, mirrored_limbs)
        merged_limbs = _merged(limbs, _unmirrored(mirrored_limbs, width))
        merged_limbs[:, alone] = limbs[:, alone]
        return PifPafOutputs(
            _merged(keypoints, _unmirrored(mirrored_keypoints[:, flipped_keypoints], width)),
            merged_limbs,
        )

    def _flipped_limbs(self) -> tuple[list[int], list[bool], list[int]]:
        """Return the index of each limb's mirror image, and whether their ends are swapped.

        Last are the limbs whose mirror image is no limb; their own index stands for it.
        """
        flip = self.skeleton.flip_index
        numbers = {limb: number for number, limb in enumerate(self.layout.limbs)}
        partners, exchanged, alone = [], [], []
        for number, (first, second) in enumerate(self.layout.limbs):
            mirrored = (flip[first], flip[second])
            if mirrored not in numbers and mirrored[::-1] not in numbers:
                alone.append(number)
            exchanged.append(mirrored not in numbers)
            partners.append(numbers.get(mirrored, numbers.get(mirrored[::-1], number)))
        return partners, exchanged, alone

    # ----------------------------------------------------------------------------- targets, losses

    def target_builder(self) -> Callable[[Batch], PifPafTargets]:
        # Fields take a CPU a while, and indexing that a GPU would be waited for at every step.
        return partial(build_targets, layout=self.current_layout())

    def targets(self, batch: Batch) -> PifPafTargets:
        targets: PifPafTargets = batch.targets or self.target_builder()(batch)
        return moved(targets, batch.device)

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        targets = self.targets(batch)
        outputs: PifPafOutputs = self(batch.images)
        with torch.autocast(batch.images.device.type, enabled=False):
            return self._terms(outputs, targets)

    def _terms(self, outputs: PifPafOutputs, targets: PifPafTargets) -> dict[str, Tensor]:
        """Return the weighted terms of Eqs. 1 to 3."""
        config = self.config
        keypoints = field_losses(outputs.keypoints, targets.keypoints)
        limbs = field_losses(outputs.limbs, targets.limbs)
        return {
            "keypoint": config.keypoint_weight * keypoints.confidence,
            "keypoint_offset": config.keypoint_offset_weight * keypoints.offset,
            "keypoint_scale": config.keypoint_offset_weight * keypoints.scale,
            "limb": config.limb_weight * limbs.confidence,
            "limb_offset": config.limb_offset_weight * limbs.offset,
            "limb_scale": config.limb_offset_weight * limbs.scale,
        }

    # ------------------------------------------------------------------------------------ decoding

    def decode(self, outputs: PifPafOutputs, geometry: Geometry) -> list[PosePredictions]:
        predictions = []
        # The logits that train modules are not read.
        outputs = moved(replace(outputs, intermediate=()), torch.device("cpu"))
        for poses, to_image in zip(self._decoded(outputs), geometry.to_image, strict=True):
            people = torch.from_numpy(poses.keypoints)
            keypoints = apply(people[..., :2], to_image).float()
            scores = torch.from_numpy(poses.scores).float()
            order = scores.argsort(descending=True, stable=True)
            predictions.append(
                PosePredictions(keypoints[order], people[order, :, 2].float(), scores[order])
            )
        return predictions

    def _decoded(self, outputs: PifPafOutputs) -> list[FieldPoses]:
        return [
            decode_fields(
                keypoints,
                limbs,
                self.layout,
                STRIDE,
                complete=self.config.complete_poses,
                further=[
                    View(own_keypoints[image], own_limbs[image], to_first[image].numpy())
                    for own_keypoints, own_limbs, to_first in outputs.further
                ],
            )
            for image, (keypoints, limbs) in enumerate(
                zip(outputs.keypoints, outputs.limbs, strict=True)
            )
        ]


def _shuffled(labels: Sequence[Label]) -> list[Label]:
    """Return the labels of the channels that a pixel shuffle spreads over four cells."""
    return [(*label, f"cell {cell}") for label in labels for cell in range(4)]


def _ideal(fields: Tensor) -> Tensor:
    fields = fields.nan_to_num(0.0)
    fields[:, :, 0] = torch.where(fields[:, :, 0] > 0, IDEAL_LOGIT, -IDEAL_LOGIT)
    return fields


def _between(own: Geometry, first: Geometry) -> Tensor:
    """Return the affine maps (B, 2, 3) from the pixels of one scale to those of the first."""
    linear = torch.linalg.inv(first.to_image[:, :, :2])
    both: Tensor = linear @ own.to_image
    both[:, :, 2] -= (linear @ first.to_image[:, :, 2:])[:, :, 0]
    return both


def _unmirrored(fields: Tensor, width: int) -> Tensor:
    """Return the fields of mirrored images, mirrored back to the nearest cells of the images.

    Mirroring moves pixel x to W - 1 - x, which lies between two cells where W - 1 is not a multiple
    of the stride. A column whose mirror image lies outside the map gets the lowest confidence.
    """
    columns = fields.shape[-1]
    offset = (width - 1) / STRIDE
    own = torch.arange(columns, device=fields.device)
    partner = (offset - own).round().long()
    inside = (partner >= 0) & (partner < columns)
    mirrored = fields[..., partner.clamp(0, columns - 1)]
    mirrored[:, :, 0].masked_fill_(~inside, -IDEAL_LOGIT)
    ends = 1 if fields.shape[2] == KEYPOINT_VALUES else 2
    for end in range(ends):
        # x of the keypoint: W - 1 - 8 (partner + dx), over 8, less the own cell.
        shift = offset - partner - own
        mirrored[:, :, 1 + 2 * end] = shift - mirrored[:, :, 1 + 2 * end]
    return mirrored


def _merged(first: Tensor, second: Tensor) -> Tensor:
    a, b = first[:, :, :1].sigmoid(), second[:, :, :1].sigmoid()
    mean = ((a + b) / 2).clamp(1e-6, 1 - 1e-6)
    values = (a * first[:, :, 1:] + b * second[:, :, 1:]) / (a + b).clamp(min=1e-6)
    return torch.cat([mean.logit(), values], 2)


def _nearness(keypoints: Tensor, size: Sequence[int], to_image: Tensor) -> Tensor:
    """Return (K, h, w) Gaussians around a person's keypoints, as wide as a tenth of the person."""
    matrix = to_image.to(keypoints)
    cells = (keypoints - matrix[:, 2]) @ torch.linalg.inv(matrix[:, :2]).T / STRIDE
    reach = ((cells.amax(0) - cells.amin(0)).prod().sqrt() / 10).clamp(min=1)
    rows, columns = torch.arange(size[0])[:, None], torch.arange(size[1])
    x, y = cells[:, 0, None, None], cells[:, 1, None, None]
    return torch.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * reach**2))
