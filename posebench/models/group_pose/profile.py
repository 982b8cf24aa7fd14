"""Group Pose's profile: what benchmarks, figures and the oracle need to know."""

from __future__ import annotations

from functools import partial

from torch import Tensor

from posebench.layers.attention_maps import attention_maps
from posebench.layers.pyramid import STRIDE
from posebench.layers.set_decoding import ideal_people
from posebench.models.graph import Graph, Named
from posebench.models.group_pose.decoder import DecoderLayer
from posebench.models.group_pose.decoding import GroupPoseOutputs, View
from posebench.models.group_pose.model import GroupPose
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


def heatmaps(
    model: GroupPose, outputs: GroupPoseOutputs, geometry: Geometry
) -> list[tuple[PosePredictions, Heatmaps]]:
    """Return the score of each token as a proposal, and the attention of each person's queries."""
    attention = partial(_keypoint_attention, model)
    return explain_people("Group Pose", outputs, geometry, model.skeleton, STRIDE, attention)


def _keypoint_attention(
    model: GroupPose, view: View, image: int, chosen: Tensor, grid: tuple[int, int]
) -> Tensor:
    """Return the last layer's attention of M chosen people's keypoint queries.

    Args:
        model: whose last decoder layer is read.
        view: of the images.
        image: its index in the batch.
        chosen: (M,) indices of the people among the view's N.
        grid: H, W of the maps.

    Returns:
        (M, K, *grid), each map's highest value 1.
    """
    layer = model.decoder[-1]
    assert isinstance(layer, DecoderLayer)
    references = model.query_points(view.references[-2, image, chosen][None])[0]  # (M, T, 2)
    extents = view.tokens.extents[min(image, len(view.tokens.extents) - 1)]
    heat = attention_maps(
        *layer.cross_attn.offsets_and_weights(view.queries[image, chosen]),
        references * extents[:, None, None],
        view.tokens.sizes,
        grid,
    )
    if model.config.has_keypoints:
        heat = heat[:, int(model.config.has_instance) :]
    else:
        heat = heat.expand(-1, len(model.skeleton), -1, -1)
    return heat.flip(-1)[:, list(model.skeleton.flip_index)] if view.mirrored else heat


def trace(
    model: GroupPose, sample: Sample, inference: Inference, most: int
) -> tuple[PosePredictions, Trace]:
    """Return an image's people, their references before and after each layer, and Fig. 6's maps."""
    return trace_people(
        model, sample, inference, most, lambda outputs: outputs.views[0].references[:, 0]
    )


def ideal_outputs(model: GroupPose, batch: Batch) -> GroupPoseOutputs:
    """Return the annotated people as confident predictions."""
    logits, keypoints = ideal_people(
        model.targets(batch), model.config.instances, len(model.skeleton)
    )
    return GroupPoseOutputs(logits[None], keypoints[None], logits, keypoints)


def graph_outputs(
    model: GroupPose, images: Tensor, padding: Tensor | None, flip: bool
) -> dict[str, Tensor]:
    """Return the last layer's logits (B, N, 2) and keypoints (B, N, K, 2)."""
    outputs: GroupPoseOutputs = model(images, padding)
    return {"logits": outputs.logits[-1], "keypoints": outputs.keypoints[-1]}


def restored(model: GroupPose, tensors: Named, size: tuple[int, int]) -> GroupPoseOutputs:
    """Return the outputs that a runtime has computed, without the network's inner values."""
    logits, keypoints = tensors["logits"], tensors["keypoints"]
    return GroupPoseOutputs(logits[None], keypoints[None], logits, keypoints)


PROFILE = Profile(
    graph=Graph(graph_outputs, restored, reads_padding=True, slots=("keypoints", "logits")),
    ideal_outputs=ideal_outputs,
    heatmaps=heatmaps,
    trace=trace,
    paper_timing=PaperTiming("Table 6 and Sec. A.1", sizes=((480, 800), (800, 1333))),
)
