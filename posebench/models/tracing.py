"""How a decoder's people came about: where their queries look, and their references by layer.

Shapes: B images, N predicted people of an image, X chosen ones, K keypoints, S tokens, D steps.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor

from posebench.errors import ModelError
from posebench.layers.affine import apply
from posebench.layers.attention_maps import level_maps
from posebench.layers.matching import PERSON
from posebench.layers.precision import to_float32
from posebench.layers.set_decoding import decode_people, decode_set
from posebench.models.base import PoseModel
from posebench.preprocess import scaled_batches
from posebench.skeleton import Skeleton
from posebench.structures import (
    Geometry,
    Heatmaps,
    Inference,
    PosePredictions,
    Sample,
    Trace,
)
from posebench.transfer import to_device, to_host


def explain_people(
    method: str,
    outputs: Any,
    geometry: Geometry,
    skeleton: Skeleton,
    stride: int,
    attention: Callable[[Any, int, Tensor, tuple[int, int]], Tensor],
) -> list[tuple[PosePredictions, Heatmaps]]:
    """Return each image's people, the scores of its tokens, and what each person attends to.

    Args:
        method: as it is called.
        outputs: of a `SetModel`, whose views have `tokens`, `token_logits` (B, S, 2) and
            `references` (..., B, N, K, any).
        geometry: of the images.
        skeleton: of the K keypoints.
        stride: of the finest level.
        attention: (view, image, indices among the view's N, height and width) -> maps (X, K,
            height, width).

    Raises:
        ModelError: there are no views, as of an exported network.
    """
    views = outputs.views
    if not views:
        raise ModelError(
            f"An exported {method} returns people without the attention that --heatmaps draws: "
            "name the run or the checkpoint that it was exported from."
        )
    first = views[0]
    grid = first.tokens.sizes[0]
    scores = to_float32(first.token_logits[..., PERSON]).sigmoid()  # (B, S)
    counts = [view.references.shape[2] for view in views]
    explained = []
    for image, (predictions, chosen) in enumerate(decode_people(outputs, geometry, skeleton)):
        [chosen] = to_device([chosen], scores.device)
        people = torch.zeros(len(chosen), len(skeleton), *grid, device=chosen.device)
        for view, start, count in zip(views, accumulate(counts, initial=0), counts, strict=False):
            of_view = (chosen >= start) & (chosen < start + count)
            people[of_view] = attention(view, image, chosen[of_view] - start, grid)
        scene = {"proposals": level_maps(scores[image], first.tokens.sizes).amax(0)}
        maps = Heatmaps(scene, people, stride, geometry.to_image[image])
        explained.append((predictions, maps))
    return explained


def trace_people(
    model: PoseModel,
    sample: Sample,
    inference: Inference,
    most: int,
    references: Callable[[Any], Tensor],
) -> tuple[PosePredictions, Trace]:
    """Return an image's people, their references before and after each layer, and score gradients.

    Args:
        model: in evaluation mode, whose outputs have `logits` (..., 1, N, 2) and `keypoints`
            (..., 1, N, K, 2) of its layers.
        sample: the image.
        inference: its size; mirrored images and scales are ignored.
        most: number of people, the best first, with a map of the norm of their score's gradient by
            each pixel.
        references: (outputs) -> the keypoints' references (D, N, K, 2), as shares of the image.
    """
    single_view = replace(inference, flip=False, scales=(1.0,))
    [(_, [batch])] = scaled_batches([sample], single_view)
    batch = model.ready(batch)
    images = batch.images.requires_grad_()
    with torch.enable_grad():
        outputs = model(images)
        logits, keypoints = outputs.logits[-1], outputs.keypoints[-1]
        [(predictions, chosen)] = decode_set(logits, keypoints, batch.geometry, model.skeleton)
        norms = []
        for person in chosen[:most].tolist():
            score = logits[0, person, PERSON].sigmoid()
            [gradient] = torch.autograd.grad(score, images, retain_graph=True)
            norms.append(gradient[0].norm(dim=0))
    reliance = torch.stack(norms) if norms else images.new_zeros(0, *images.shape[-2:])
    matrix, size = batch.geometry.to_image[0], batch.geometry.sizes[0]
    [steps] = to_host([references(outputs)])
    steps = steps[:, chosen].transpose(0, 1)  # (people, D, K, 2)
    return (
        PosePredictions(
            predictions.keypoints.detach(),
            predictions.keypoint_scores.detach(),
            predictions.scores.detach(),
        ),
        Trace(
            steps=apply(steps * size, matrix.to(steps)),
            reliance=reliance / reliance.amax((1, 2), keepdim=True).clamp(min=1e-12),
            to_image=matrix,
        ),
    )
