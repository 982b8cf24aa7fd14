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
from contextlib import contextmanager
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
from torchvision.models.detection.roi_heads import heatmaps_to_keypoints
from torchvision.ops import (
    FeaturePyramidNetwork,
    FrozenBatchNorm2d,
    MultiScaleRoIAlign,
    nms,
)
from torchvision.ops.feature_pyramid_network import LastLevelMaxPool

from posebench.downloads import download_state_dict
from posebench.errors import ModelError
from posebench.layers.affine import apply
from posebench.layers.backbones.resnet import ResNetBackbone
from posebench.layers.precision import to_float32
from posebench.models.base import PoseModel
from posebench.models.keypoint_rows import Rows, of_keypoints, of_layer
from posebench.models.mask_rcnn.recipes import MaskRCNNConfig
from posebench.preprocess import mirrored_images
from posebench.skeleton import Skeleton
from posebench.structures import Batch, Geometry, Inference, PosePredictions
from posebench.transfer import index_on, moved, to_device

MULTIPLE = 32  # input sides are padded to it, since anchors need maps of whole cells
PROPOSALS = 1000  # maximum per image
OVERLAP = 0.5  # IoU with a better box above which a box is suppressed
CELLS = 56  # along each side of a box's heatmaps
FIGURE_STRIDE = 8  # of the heatmaps in figures
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
    images: ImageList  # with each image's (height, width) before padding


@dataclass(frozen=True)
class MaskRCNNOutputs:
    """The people of each image, best first."""

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
        sizes = [(height, width)] * len(images)
        if padding is not None:
            sizes = list(zip(*(_extent(~padding, axis) for axis in (2, 1)), strict=True))
        padded, maps = self.pyramid(images)
        return MaskRCNNFeatures(maps, ImageList(padded, sizes))

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
        if people is None:
            boxes, scores = self._detected(features)
        else:
            boxes, scores = self._given(features, people)
        yield "boxes", boxes
        heads = self.roi_heads
        pooled = heads.keypoint_roi_pool(features.maps, boxes, features.images.image_sizes)
        logits = heads.keypoint_predictor(heads.keypoint_head(pooled))
        height, width = features.images.tensors.shape[-2:]
        parts = torch.split(logits, [len(own) for own in boxes])
        yield "keypoints", MaskRCNNOutputs(boxes, scores, list(parts), (height, width))

    def _detected(self, features: MaskRCNNFeatures) -> tuple[list[Tensor], list[Tensor]]:
        proposals, _ = self.rpn(features.images, features.maps)
        logits, deltas = self._classified(features, proposals)
        boxes, scores, _ = self.roi_heads.postprocess_detections(
            logits, deltas, proposals, features.images.image_sizes
        )
        return boxes, scores

    def _given(
        self, features: MaskRCNNFeatures, people: Tensor
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Return boxes around given people, and their scores, with the computation of detection.

        The box head also scores as many further boxes as detection has proposals. Nothing is
        sorted, so that operations can be counted on the meta device.
        """
        self.rpn.head(list(features.maps.values()))
        boxes, proposals = [], []
        images = features.images.tensors
        for image, (height, width) in enumerate(features.images.image_sizes):
            centres = self.stride * (people[people[:, 0] == image][:, [2, 1]] + 0.5)
            side = GIVEN_SIDE * min(height, width)
            own = torch.cat([centres - side / 2, centres + side / 2], 1)
            own = own.to(to_float32(images).dtype)
            whole = own.new_tensor([[0, 0, width, height]])
            boxes.append(own)
            proposals.append(torch.cat([own, whole.expand(max(PROPOSALS - len(own), 0), 4)]))
        if images.is_cuda:
            boxes, proposals = moved((boxes, proposals), images.device)
        logits, _ = self._classified(features, proposals)
        scores = torch.split(logits.softmax(1)[:, 1], [len(one) for one in proposals])
        return boxes, [one[: len(own)] for one, own in zip(scores, boxes, strict=True)]

    def _classified(self, features: MaskRCNNFeatures, boxes: list[Tensor]) -> tuple[Tensor, Tensor]:
        """Return the class logits and box deltas of all images' boxes."""
        heads = self.roi_heads
        pooled = heads.box_roi_pool(features.maps, boxes, features.images.image_sizes)
        logits, deltas = heads.box_predictor(heads.box_head(pooled))
        return logits, deltas

    def merged_outputs(self, batches: Sequence[Batch], inference: Inference) -> MaskRCNNOutputs:
        """Return the people of all views after a joint suppression; torchvision has one view."""
        first = batches[0]
        views: list[MaskRCNNOutputs] = []
        for batch in batches:
            outputs = [self(batch.images, batch.padding)]
            if inference.flip:
                mirrored = self(mirrored_images(batch), batch.padding)
                outputs.append(self._mirrored_back(mirrored, batch))
            views += [_in_pixels_of(first, view, batch) for view in outputs]
        return views[0] if len(views) == 1 else _merged(views)

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
        with _sampling_seed(sum(batch.seeds), self.device):
            proposals, proposal_terms = self.rpn(features.images, features.maps, targets)
            _, box_terms = self.roi_heads(
                features.maps, proposals, features.images.image_sizes, targets
            )
        terms = {**proposal_terms, **box_terms}
        return {_TERMS[name]: to_float32(term) for name, term in terms.items()}

    def decode(self, outputs: MaskRCNNOutputs, geometry: Geometry) -> list[PosePredictions]:
        predictions = []
        # On the CPU: torchvision's loop over people launches 180 kernels for each of them.
        outputs = moved(outputs, torch.device("cpu"))
        for boxes, scores, logits, to_image in zip(
            outputs.boxes, outputs.scores, outputs.logits, geometry.to_image, strict=True
        ):
            points, _ = heatmaps_to_keypoints(  # type: ignore[no-untyped-call]
                to_float32(logits), boxes
            )
            keypoints = apply(points[..., :2], to_image.to(points))
            # A copy: the scores came in one piece of memory with all heatmaps, 21 MB an image.
            predictions.append(PosePredictions(keypoints, _peaks(logits), scores.clone()))
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


def _extent(inside: Tensor, axis: int) -> list[int]:
    """Return the number of rows (axis 2) or columns (axis 1) with a pixel inside, per image."""
    extent: list[int] = inside.any(axis).sum(1).tolist()
    return extent


def _in_pixels_of(first: Batch, outputs: MaskRCNNOutputs, batch: Batch) -> MaskRCNNOutputs:
    """Return the outputs of `batch` in pixels of `first`, a batch of the same images."""
    if batch is first:
        return outputs
    boxes = []
    for own, to_image, first_to_image in zip(
        outputs.boxes, batch.geometry.to_image, first.geometry.to_image, strict=True
    ):
        back = torch.linalg.inv(first_to_image[:, :2])
        to_image, shift, back = to_device(
            [matrix.to(own.dtype) for matrix in (to_image, first_to_image[:, 2], back)], own.device
        )
        corners = apply(own.view(-1, 2, 2), to_image) - shift
        boxes.append((corners @ back.T).flatten(1))
    height, width = first.images.shape[-2:]
    return MaskRCNNOutputs(boxes, outputs.scores, outputs.logits, (height, width))


def _merged(views: Sequence[MaskRCNNOutputs]) -> MaskRCNNOutputs:
    """Return the people of all views after box suppression, best first."""
    joined = MaskRCNNOutputs([], [], [], views[0].size)
    for image in range(len(views[0].boxes)):
        boxes = torch.cat([view.boxes[image] for view in views])
        scores = torch.cat([view.scores[image] for view in views])
        logits = torch.cat([view.logits[image] for view in views])
        kept = nms(boxes, scores, OVERLAP)  # best first
        joined.boxes.append(boxes[kept])
        joined.scores.append(scores[kept])
        joined.logits.append(logits[kept])
    return joined


# ---------------------------------------------------------------------------------------- targets


def image_targets(batch: Batch) -> list[dict[str, Tensor]]:
    """Return each image's people in torchvision's format, on the CPU."""
    images = zip(batch.poses, batch.geometry.sizes, strict=True)
    return [_image_targets(poses, size) for poses, size in images]


def _image_targets(poses: Any, size: Tensor) -> dict[str, Tensor]:
    """Return boxes (N, 4), labels (N,) and keypoints (N, K, 3) in torchvision's format.

    Boxes of people without labelled keypoints are included, as in torchvision's training.
    """
    corners = torch.cat([poses.boxes, poses.unlabelled])
    low = corners.amin(1).clamp(min=0)
    high = torch.minimum(corners.amax(1), size.to(corners))
    # People of whom a crop leaves no whole pixel are dropped.
    kept = ((high - low) >= 1).all(1)
    labelled = (poses.visibility > 0).to(poses.keypoints)[..., None]
    keypoints = torch.cat([poses.keypoints * labelled, labelled], -1)
    unlabelled = keypoints.new_zeros(len(poses.unlabelled), *keypoints.shape[1:])
    boxes = torch.cat([low, high], 1)[kept]
    return {
        "boxes": boxes.float(),
        "labels": torch.ones(len(boxes), dtype=torch.int64, device=boxes.device),
        "keypoints": torch.cat([keypoints, unlabelled])[kept].float(),
    }


def _ideal_logits(boxes: Tensor, keypoints: Tensor) -> Tensor:
    """Return logits (N, K, 56, 56) that are high in the cell of each labelled keypoint."""
    sides = (boxes[:, 2:] - boxes[:, :2])[:, None]
    cells = ((keypoints[..., :2] - boxes[:, None, :2]) / sides * CELLS).floor()
    cells = cells.long().clamp(0, CELLS - 1)
    columns, rows = (F.one_hot(cells[..., axis], CELLS).float() for axis in (0, 1))
    labelled = (keypoints[..., 2] > 0)[..., None, None]
    return 20 * labelled * rows[..., :, None] * columns[..., None, :]


@contextmanager
def _sampling_seed(seed: int, device: torch.device) -> Iterator[None]:
    """Let torchvision sample boxes with this seed, so that a resumed run has the same samples."""
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(seed % 2**63)
        yield


# --------------------------------------------------------------------------------------- decoding


def _peaks(logits: Tensor) -> Tensor:
    """Return the maximum (N, K) of each map's softmax over its cells."""
    peaks: Tensor = to_float32(logits).flatten(2).softmax(2).amax(2)
    return peaks


def _paste(maps: Tensor, box: Tensor, heat: Tensor) -> None:
    """Resize one person's `heat` (K, 56, 56) to its box of cells and write it to `maps`."""
    height, width = maps.shape[-2:]
    left, top = (int(edge) for edge in box[:2].floor().clamp(min=0))
    right = min(max(int(box[2].ceil()), left + 1), width)
    bottom = min(max(int(box[3].ceil()), top + 1), height)
    if left >= right or top >= bottom:
        return
    maps[:, top:bottom, left:right] = F.interpolate(
        heat[None], (bottom - top, right - left), mode="bilinear", align_corners=False
    )[0]
