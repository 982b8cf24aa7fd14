"""ED-Pose's profile: what benchmarks, figures and the oracle need to know."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from posebench.layers.attention_maps import attention_maps
from posebench.layers.deformable import around_boxes
from posebench.layers.set_decoding import ideal_people
from posebench.models.ed_pose.decoder import DecoderLayer
from posebench.models.ed_pose.model import EDPose
from posebench.models.ed_pose.outputs import EDPoseOutputs, View
from posebench.models.graph import Graph, Named
from posebench.models.profile import Profile
from posebench.models.tracing import explain_people, trace_people
from posebench.structures import (
    Batch,
    Geometry,
    Heatmaps,
    Inference,
    PaperTiming,
    PosePredictions,
    Sample,
    Trace,
)
from posebench.transfer import index_on

STRIDES = {4: 8, 5: 4}  # of the finest level, by the number of levels


def heatmaps(
    model: EDPose, outputs: EDPoseOutputs, geometry: Geometry
) -> list[tuple[PosePredictions, Heatmaps]]:
    """Return the score of each token as a proposal, and the attention of each person's queries."""
    attention, stride = partial(_keypoint_attention, model), STRIDES[model.config.levels]
    return explain_people("ED-Pose", outputs, geometry, model.skeleton, stride, attention)


def _keypoint_attention(
    model: EDPose, view: View, image: int, chosen: Tensor, grid: tuple[int, int]
) -> Tensor:
    """Return the last layer's attention of chosen people's keypoint queries.

    Args:
        model: whose last decoder layer is read.
        view: of the images.
        image: its index in the batch.
        chosen: (X,) indices of the people among the view's N.
        grid: height and width of the maps.

    Returns:
        (X, K, *grid), each map's highest value 1.
    """
    layer = model.decoder.layers[-1]
    assert isinstance(layer, DecoderLayer)
    attention, sizes = layer.cross_attn, view.tokens.sizes
    boxes = view.references[-2, image, chosen, 1:]  # (X, K, 4)
    offsets, weights = attention.offsets_and_weights(view.queries[image, chosen, 1:])
    own = min(image, len(view.tokens.extents) - 1)
    share = view.tokens.valid[own].repeat(1, 2)  # (L, 4)
    centres, offsets = around_boxes(boxes[..., None, :] * share, offsets, sizes)
    cells = (view.tokens.extents[own] / view.tokens.valid[own])[:, None, None]  # (L, 1, 1, 2)
    heat = attention_maps(offsets, weights, centres.movedim(2, 0) * cells, sizes, grid)
    if not view.mirrored:
        return heat
    return heat.flip(-1)[:, index_on(model.skeleton.flip_index, heat.device)]


def trace(
    model: EDPose, sample: Sample, inference: Inference, most: int
) -> tuple[PosePredictions, Trace]:
    """Return an image's people, and their keypoints from the first references to the prediction."""

    def steps(outputs: EDPoseOutputs) -> Tensor:
        # As published, predictions are no references: not even the last layer's.
        entering = outputs.views[0].references[:-1, 0, :, 1:, :2]
        return torch.cat([entering, outputs.keypoints[-1:, 0]])

    return trace_people(model, sample, inference, most, steps)


def ideal_outputs(model: EDPose, batch: Batch) -> EDPoseOutputs:
    """Return the annotated people as confident predictions."""
    targets = model.targets(batch)
    logits, keypoints = ideal_people(targets, model.config.people, len(model.skeleton))
    boxes = torch.full((*logits.shape[:2], 4), 0.5, device=logits.device)
    for image, truth in enumerate(targets.boxes):
        boxes[image, : len(truth)] = truth[: boxes.shape[1]]
    return EDPoseOutputs(logits[None], boxes[None], keypoints[None])


def as_written(
    model: EDPose, images: Tensor, padding: Tensor | None, people: Tensor | None
) -> EDPoseOutputs:
    """Return the outputs, computed with all that the published code throws away in evaluation.

    These are the boxes of the tokens that are not selected, and the predictions of every layer but
    the last.
    """
    features = model.features(images, padding)
    proposals = model.propose(features, every_token=True)
    outputs = model.predictions(features, every_layer=True, proposals=proposals)
    last = {name: getattr(outputs, name)[-1:] for name in ("logits", "boxes", "keypoints")}
    return replace(outputs, **last, detected=None)


def graph_outputs(
    model: EDPose, images: Tensor, padding: Tensor | None, flip: bool
) -> dict[str, Tensor]:
    """Return the last layer's logits (B, N, 2), boxes (B, N, 4) and keypoints (B, N, K, 2)."""
    outputs: EDPoseOutputs = model(images, padding)
    return {
        "logits": outputs.logits[-1],
        "boxes": outputs.boxes[-1],
        "keypoints": outputs.keypoints[-1],
    }


def restored(model: EDPose, tensors: Named, size: tuple[int, int]) -> EDPoseOutputs:
    """Return the outputs that a runtime has computed, without the network's inner values."""
    return EDPoseOutputs(
        tensors["logits"][None], tensors["boxes"][None], tensors["keypoints"][None]
    )


PROFILE = Profile(
    graph=Graph(
        graph_outputs, restored, reads_padding=True, slots=("keypoints", "logits", "boxes")
    ),
    ideal_outputs=ideal_outputs,
    heatmaps=heatmaps,
    trace=trace,
    as_written=as_written,
    paper_timing=PaperTiming("Group Pose's Table 6", sizes=((480, 800), (800, 1333))),
)
