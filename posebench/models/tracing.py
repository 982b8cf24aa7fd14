"""How a decoder's people came about: their references layer by layer, and the pixels they rely on.

Shapes: N predicted people of an image, K keypoints, D steps.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from posebench.layers.affine import apply
from posebench.layers.matching import PERSON
from posebench.layers.set_decoding import decode_set
from posebench.models.base import PoseModel
from posebench.preprocess import scaled_batches
from posebench.structures import Inference, PosePredictions, Sample, Trace
from posebench.transfer import to_host


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
