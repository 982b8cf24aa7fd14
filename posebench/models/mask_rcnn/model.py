"""Mask R-CNN with keypoint heads (He et al., ICCV 2017): torchvision's Keypoint R-CNN, a baseline.

A region proposal network proposes boxes on a feature pyramid; the box head classifies and refines
them; for each box that is kept, the keypoint head predicts K heatmaps of 56 x 56 cells. Layers,
losses and weights are torchvision's; this module adapts them to `PoseModel`. docs/mask_rcnn.md
lists where results differ from torchvision's.

Shapes: B images, N people of one image, K keypoints, H x W network input. Boxes are left, top,
right, bottom in network-input pixels.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models import ResNet50_Weights
from torchvision.models.detection import KeypointRCNN
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.backbone_utils import resnet_fpn_backbone
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.keypoint_rcnn import KeypointRCNNHeads, KeypointRCNNPredictor
from torchvision.ops import (
    FeaturePyramidNetwork,
    FrozenBatchNorm2d,
    MultiScaleRoIAlign,
)
from torchvision.ops.feature_pyramid_network import LastLevelMaxPool

from posebench.downloads import download_state_dict
from posebench.errors import ModelError
from posebench.layers.affine import apply
from posebench.layers.backbones.resnet import ResNetBackbone
from posebench.layers.precision import to_float32
from posebench.models.base import PoseModel
from posebench.models.keypoint_rows import Rows, of_keypoints, of_layer
from posebench.models.mask_rcnn.decoding import maxima, peaks_of, whole_sides
from posebench.models.mask_rcnn.recipes import MaskRCNNConfig
from posebench.models.mask_rcnn.sampling import sampled_losses
from posebench.models.mask_rcnn.slots import (
    MORE_TURNS,
    TURNS,
    detected,
    in_one_batch,
    limits_of,
    pooled,
)
from posebench.models.mask_rcnn.targets import image_targets
from posebench.models.mask_rcnn.views import OVERLAP, in_pixels_of, merged
from posebench.preprocess import mirrored_images
from posebench.skeleton import Skeleton
from posebench.structures import Batch, Geometry, Inference, PosePredictions
from posebench.transfer import index_on, moved, to_device, to_host

MULTIPLE = 32  # input sides are padded to it, since anchors need maps of whole cells
PROPOSALS = 1000  # maximum per image
GIVEN_SIDE = 0.5  # side of the box around a given centre, relative to the input's short side

# torchvision's names of the loss terms, and ours.
_TERMS = {
    "loss_objectness": "objectness",
    "loss_rpn_box_reg": "proposal_box",
    "loss_classifier": "class",
    "loss_box_reg": "box",
    "loss_keypoint": "keypoint",
}


@dataclass(frozen=True)
class MaskRCNNFeatures:
    maps: dict[str, Tensor]  # the pyramid, finest first
    images: Tensor  # (B, 3, H, W), padded to whole cells
    size: tuple[int, int]  # height and width before that
    # (B, 1, 4) width, height, width, height of each image without padding; of images without, on
    # the CPU.
    limits: Tensor

    def in_list(self) -> ImageList:
        """Return the images with the height and width of each, as torchvision takes them."""
        sizes = self.limits[:, 0, :2].long().tolist()
        return ImageList(self.images, [(height, width) for width, height in sizes])


@dataclass(frozen=True)
class MaskRCNNOutputs:
    """The people of each image, best first.

    The boxes and scores of people that a GPU has found are on the CPU: their number decides on
    shapes.
    """

    boxes: list[Tensor]  # (N, 4)
    scores: list[Tensor]  # (N,)
    logits: list[Tensor]  # (N, K, 56, 56) over the cells of each box
    size: tuple[int, int]  # H, W


# ---------------------------------------------------------------------------------------- network


class MaskRCNN(PoseModel):
    """torchvision's Keypoint R-CNN as a `PoseModel`."""

    config: MaskRCNNConfig

    # The modules have torchvision's names.
    published_names: ClassVar[dict[str, str]] = {
        part: part for part in ("backbone.", "rpn.", "roi_heads.")
    }
    ignored_checkpoint_keys: ClassVar[tuple[str, ...]] = (r"num_batches_tracked$",)
    # torchvision does not declare the types of these modules' attributes.
    backbone: nn.Module
    rpn: Any
    roi_heads: Any

    def __init__(self, config: MaskRCNNConfig, skeleton: Skeleton) -> None:
        super().__init__(config, skeleton)
        if not config.frozen_backbone:  # batch norms that are trained do have this buffer
            self.ignored_checkpoint_keys = ()  # type: ignore[misc]
        backbone = _backbone(config)
        self.stride, levels = (8, 4) if config.backbone == "resnet_tiny" else (4, 5)
        names = [str(level) for level in range(levels - 1)]  # the coarsest is for proposals only
        anchors = AnchorGenerator(  # type: ignore[no-untyped-call]
            tuple((32 * 2**level,) for level in range(levels)), ((0.5, 1.0, 2.0),) * levels
        )
        network = KeypointRCNN(
            backbone,
            rpn_anchor_generator=anchors,
            box_roi_pool=MultiScaleRoIAlign(names, 7, 2),
            box_head=TwoMLPHead(  # type: ignore[no-untyped-call]
                7 * 7 * config.channels, config.hidden
            ),
            box_predictor=FastRCNNPredictor(config.hidden, 2),  # type: ignore[no-untyped-call]
            rpn_post_nms_top_n_test=PROPOSALS,
            box_nms_thresh=OVERLAP,
            keypoint_roi_pool=MultiScaleRoIAlign(names, 14, 2),
            keypoint_head=KeypointRCNNHeads(  # type: ignore[no-untyped-call]
                config.channels, (config.keypoint_channels,) * config.keypoint_layers
            ),
            keypoint_predictor=KeypointRCNNPredictor(  # type: ignore[no-untyped-call]
                config.keypoint_channels, len(skeleton)
            ),
        )
        # Its `transform` is not used, since batches are already resized and normalized.
        self.backbone, self.rpn, self.roi_heads = network.backbone, network.rpn, network.roi_heads
        # Boxes, scores and losses are computed in float32: bfloat16 would round boxes to 4 pixels.
        heads = self.roi_heads
        for last in (self.rpn.head, heads.box_predictor, heads.keypoint_predictor):
            last.register_forward_hook(_float32_outputs)

    def load_pretrained(self) -> None:
        if self.config.backbone == "resnet_tiny":
            raise ModelError("resnet_tiny has no ImageNet weights: add --no-pretrained.")
        weights = download_state_dict(ResNet50_Weights.IMAGENET1K_V1.url)
        body = self.backbone.get_submodule("body")
        body.load_state_dict({name: w for name, w in weights.items() if name in body.state_dict()})

    def keypoint_rows(self) -> dict[str, Rows]:
        # A transposed convolution: its outputs are the second dimension.
        head = "roi_heads.keypoint_predictor.kps_score_lowres"
        return of_layer(head, of_keypoints(self.skeleton), dim=1)

    def features(self, images: Tensor, padding: Tensor | None = None) -> MaskRCNNFeatures:
        """Return the feature pyramid of images, padded at the bottom right to whole cells."""
        height, width = images.shape[-2:]
        if padding is None:
            limits = torch.tensor([width, height] * 2).float().expand(len(images), 1, 4)
        else:
            limits = limits_of(images, padding)
        padded, maps = self.pyramid(images)
        return MaskRCNNFeatures(maps, padded, (height, width), limits)

    def pyramid(self, images: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Return images padded to whole cells, and their feature pyramid, finest first."""
        height, width = (-(-side // MULTIPLE) * MULTIPLE for side in images.shape[-2:])
        padded = F.pad(images, (0, width - images.shape[-1], 0, height - images.shape[-2]))
        return padded, {name: to_float32(level) for name, level in self.backbone(padded).items()}

    def heads(self, features: MaskRCNNFeatures, people: Tensor | None = None) -> MaskRCNNOutputs:
        """Return the people in detected boxes, or in boxes of one size around given centres.

        Args:
            features: as `features` returns them.
            people: (M, 3) image, row and column of each centre in cells; None: detect boxes.
        """
        *_, (_, outputs) = self.head_stages(features, people)
        assert isinstance(outputs, MaskRCNNOutputs)
        return outputs

    def head_stages(
        self, features: MaskRCNNFeatures, people: Tensor | None
    ) -> Iterator[tuple[str, Any]]:
        # Of the pyramid for a GPU, which reads it at once.
        levels = None
        if features.images.is_cuda:
            levels = in_one_batch(self.pooled_levels(features.maps))
        if people is not None:
            boxes, scores = self._given(features, levels, people)
        elif levels is not None:
            boxes, scores = self._found(features, levels)
        else:
            boxes, scores = self._detected(features)
        yield "boxes", boxes
        heads = self.roi_heads
        pooled = self._pooled(heads.keypoint_roi_pool, features, levels, boxes)
        logits = heads.keypoint_predictor(heads.keypoint_head(pooled))
        height, width = features.images.shape[-2:]
        parts = torch.split(logits, [len(own) for own in boxes])
        yield "keypoints", MaskRCNNOutputs(boxes, scores, list(parts), (height, width))

    def _detected(self, features: MaskRCNNFeatures) -> tuple[list[Tensor], list[Tensor]]:
        """Return the boxes of people and their scores, by torchvision's loops."""
        images = features.in_list()
        proposals, _ = self.rpn(images, features.maps)
        logits, deltas = self._classified(features, None, proposals)
        boxes, scores, _ = self.roi_heads.postprocess_detections(
            logits, deltas, proposals, images.image_sizes
        )
        return boxes, scores

    def _found(
        self, features: MaskRCNNFeatures, levels: Tensor
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Return what `_detected` does, on the CPU: Python waits for a GPU once, for all images."""
        maps, turns = list(features.maps.values()), TURNS
        height, width = features.images.shape[-2:]
        [limits] = to_device([features.limits], levels.device)
        while True:
            slots = detected(self, maps, levels, (height, width), limits, turns)
            boxes, scores, found, settled = to_host(slots)
            if settled:
                counts = found.sum(1).tolist()  # the slots with a person are the first
                of_images = range(len(counts))
                return (
                    [boxes[image, : counts[image]] for image in of_images],
                    [scores[image, : counts[image]] for image in of_images],
                )
            turns *= MORE_TURNS

    def _given(
        self, features: MaskRCNNFeatures, levels: Tensor | None, people: Tensor
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Return boxes around given people, and their scores, with the computation of detection.

        The box head also scores as many further boxes as detection has proposals. Nothing is
        sorted, so that operations can be counted on the meta device.
        """
        self.rpn.head(list(features.maps.values()))
        images, limits = features.images, features.limits
        parts = [people[people[:, 0] == image][:, [2, 1]] for image in range(len(images))]
        boxes, proposals = [], []
        for cells, limit in zip(to_device(parts, limits.device), limits, strict=True):
            centres = self.stride * (cells + 0.5)
            side = GIVEN_SIDE * limit[:, :2].amin(1, keepdim=True)
            own = torch.cat([centres - side / 2, centres + side / 2], 1)
            own = own.to(to_float32(images).dtype)
            whole = F.pad(limit[:, 2:], (2, 0)).to(own)
            boxes.append(own)
            proposals.append(torch.cat([own, whole.expand(max(PROPOSALS - len(own), 0), 4)]))
        if images.is_cuda:
            boxes, proposals = moved((boxes, proposals), images.device)
        logits, _ = self._classified(features, levels, proposals)
        scores = torch.split(logits.softmax(1)[:, 1], [len(one) for one in proposals])
        return boxes, [one[: len(own)] for one, own in zip(scores, boxes, strict=True)]

    def _classified(
        self, features: MaskRCNNFeatures, levels: Tensor | None, boxes: list[Tensor]
    ) -> tuple[Tensor, Tensor]:
        """Return the class logits and box deltas of all images' boxes."""
        heads = self.roi_heads
        pooled = self._pooled(heads.box_roi_pool, features, levels, boxes)
        logits, deltas = heads.box_predictor(heads.box_head(pooled))
        return logits, deltas

    def _pooled(
        self, pool: MultiScaleRoIAlign, features: MaskRCNNFeatures, levels: Tensor | None,
        boxes: list[Tensor],
    ) -> Tensor:  # fmt: skip
        """Return the features of all images' boxes, from `levels` in one batch where given."""
        if levels is None:
            read: Tensor = pool(features.maps, boxes, [features.size])
            return read
        numbers = [torch.full((len(own),), image) for image, own in enumerate(boxes)]
        [images, *rows] = to_device([torch.cat(numbers), *boxes], levels.device)
        return pooled(pool, levels, images, torch.cat(rows), self.stride)

    def pooled_levels(self, maps: dict[str, Tensor]) -> list[Tensor]:
        """Return the levels of the pyramid that boxes are read from, finest first."""
        return [maps[name] for name in self.roi_heads.box_roi_pool.featmap_names]

    def merged_outputs(self, batches: Sequence[Batch], inference: Inference) -> MaskRCNNOutputs:
        """Return the people of all views after a joint suppression; torchvision has one view."""
        first = batches[0]
        views: list[MaskRCNNOutputs] = []
        for batch in batches:
            outputs = [self(batch.images, batch.padding)]
            if inference.flip:
                mirrored = self(mirrored_images(batch), batch.padding)
                outputs.append(self._mirrored_back(mirrored, batch))
            views += [in_pixels_of(first, view, batch) for view in outputs]
        return views[0] if len(views) == 1 else merged(views)

    def _mirrored_back(self, outputs: MaskRCNNOutputs, batch: Batch) -> MaskRCNNOutputs:
        """Return the outputs for mirrored images, mirrored back to the images."""
        boxes = []
        for own, (width, _) in zip(outputs.boxes, batch.geometry.sizes.tolist(), strict=True):
            left, top, right, bottom = own.unbind(1)
            boxes.append(torch.stack([width - right, top, width - left, bottom], 1))
        order = index_on(self.skeleton.flip_index, batch.device)
        logits = [one.flip(-1)[:, order] for one in outputs.logits]
        return MaskRCNNOutputs(boxes, outputs.scores, logits, outputs.size)

    def targets(self, batch: Batch) -> list[dict[str, Tensor]]:
        """Return each image's people in torchvision's format.

        The assignment of people to proposals depends on the proposals: `loss` leaves it to
        torchvision's own forward pass.
        """
        return moved(image_targets(batch), batch.device)

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        features = self.features(batch.images, batch.padding)
        targets = self.targets(batch)
        seed = sum(batch.seeds) % 2**63
        if features.images.is_cuda:
            terms = sampled_losses(self, features, targets, seed)
        else:
            terms = self._looped_losses(features, targets, seed)
        return {_TERMS[name]: to_float32(term) for name, term in terms.items()}

    def _looped_losses(
        self, features: MaskRCNNFeatures, targets: list[dict[str, Tensor]], seed: int
    ) -> dict[str, Tensor]:
        images = features.in_list()
        # Boxes are sampled from the images' seeds, so that a resumed run has the same samples.
        with torch.random.fork_rng([]):
            torch.manual_seed(seed)
            proposals, terms = self.rpn(images, features.maps, targets)
            _, box_terms = self.roi_heads(features.maps, proposals, images.image_sizes, targets)
        return {**terms, **box_terms}

    def decode(self, outputs: MaskRCNNOutputs, geometry: Geometry) -> list[PosePredictions]:
        counts = [len(own) for own in outputs.boxes]
        boxes = torch.cat(to_host(outputs.boxes))
        logits = to_float32(torch.cat(outputs.logits))
        cells, peaks, *scores = to_host([maxima(logits, boxes), peaks_of(logits), *outputs.scores])
        # A pixel's middle in its box, whose sides were rounded up.
        sides, pixels = whole_sides(boxes)
        keypoints = (cells + 0.5) * (sides / pixels)[:, None] + boxes[:, None, :2]
        predictions = []
        parts = torch.split(keypoints, counts), torch.split(peaks, counts)
        for own, peak, score, to_image in zip(*parts, scores, geometry.to_image, strict=True):
            # Copies: the numbers of all images came in one piece of memory.
            placed = apply(own, to_image.to(own))
            predictions.append(PosePredictions(placed, peak.clone(), score.clone()))
        return predictions


def _backbone(config: MaskRCNNConfig) -> nn.Module:
    """Return a backbone with a feature pyramid."""
    if config.backbone == "resnet_tiny":
        return _TinyPyramid(config)
    # The published weights' batch norms have an epsilon of 0.
    frozen = partial(FrozenBatchNorm2d, eps=0.0)
    pyramid: nn.Module = resnet_fpn_backbone(
        backbone_name=config.backbone,
        weights=None,
        norm_layer=frozen if config.frozen_backbone else nn.BatchNorm2d,
        trainable_layers=3 if config.frozen_backbone else 5,
    )
    return pyramid


class _TinyPyramid(nn.Module):
    """A backbone that can be trained on a CPU, with a pyramid of strides 8, 16, 32 and 64."""

    def __init__(self, config: MaskRCNNConfig) -> None:
        super().__init__()
        self.body = ResNetBackbone(config.backbone, frozen=config.frozen_backbone)
        self.fpn = FeaturePyramidNetwork(
            self.body.channels, config.channels, extra_blocks=LastLevelMaxPool()
        )
        self.out_channels = config.channels

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        levels = {str(level): maps for level, maps in enumerate(self.body(images))}
        pyramid: dict[str, Tensor] = self.fpn(levels)
        return pyramid


def _float32_outputs(layer: nn.Module, _: Any, outputs: Any) -> Any:
    if isinstance(outputs, Tensor):
        return to_float32(outputs).contiguous()  # torchvision views them as rows
    return type(outputs)(_float32_outputs(layer, _, output) for output in outputs)
