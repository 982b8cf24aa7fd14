"""Heatmaps: Gaussians around keypoints, scores, and the focal loss between them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from posebench.distributed import mean_count
from posebench.layers.precision import to_float32
from posebench.structures import Batch, Poses


def inside(cells: Tensor, size: tuple[int, int]) -> Tensor:
    """Return which (..., 2) cells x, y lie on a map of H, W."""
    x, y = cells.unbind(-1)
    return (x >= 0) & (y >= 0) & (x < size[1]) & (y < size[0])


def cell_poses(batch: Batch, stride: int) -> list[Poses]:
    """Return the batch's poses in the cells of maps of a stride, as fractions of a cell.

    The published loaders of CID and HigherHRNet mirror in the cells of each map
    (x -> width - 1 - x) and not in the pixels of the input, which lies up to a cell beside it;
    targets follow the loaders.
    """
    poses = []
    for one, flipped in zip(batch.poses, batch.geometry.flipped.tolist(), strict=True):
        keypoints, boxes = one.keypoints / stride, one.boxes / stride
        if flipped:
            shift = keypoints.new_tensor([1 / stride - 1, 0.0])
            keypoints, boxes = keypoints + shift, boxes + shift
        poses.append(replace(one, keypoints=keypoints, boxes=boxes))
    return poses


def gaussian_heatmaps(
    points: Tensor, drawn: Tensor, size: tuple[int, int], *, radius: Tensor, sigma: Tensor
) -> Tensor:
    """Draw one Gaussian per point.

    Args:
        points: (N, P, 2) x, y in cells; they truncate toward zero.
        drawn: (N, P) bool.
        size: H, W.
        radius: (N,) cells, beyond which the map is 0.
        sigma: (N,) cells.

    Returns:
        (N, P, H, W) float32, exactly 1 at a drawn point's cell. A point outside the map leaves its
        map empty.

    Source: CID, Eq. 13; truncation and the square window from the published code.
    """
    cells = points.trunc()
    drawn = drawn & inside(cells, size)

    def profile(position: Tensor, length: int) -> Tensor:
        distance = torch.arange(length, device=points.device) - position[..., None]
        value = torch.exp(-(distance**2) / (2 * sigma[:, None, None] ** 2))
        return value.where(distance.abs() <= radius[:, None, None], 0).float()

    # A Gaussian is the product of its profiles, so exp is taken of H + W cells and not of H x W.
    rows = profile(cells[..., 1], size[0]) * drawn[..., None]
    return rows[..., None] * profile(cells[..., 0], size[1])[..., None, :]


def clamped_sigmoid(logits: Tensor) -> Tensor:
    """Return float32 scores: bfloat16 rounds 0.999 up to 1, and log(1 - p) becomes -inf."""
    return clamp_scores(to_float32(logits).sigmoid())


def clamp_scores(scores: Tensor) -> Tensor:
    """Keep scores off 0 and 1, where the focal loss has no logarithm."""
    return scores.clamp(1e-4, 1 - 1e-4)


def heatmap_focal_loss(scores: Tensor, targets: Tensor, mask: Tensor) -> Tensor:
    """Focal loss that is lenient near a peak.

    Args:
        scores: (B, K, H, W), after the sigmoid, clamped to [1e-4, 1 - 1e-4], float32.
        targets: (B, K, H, W) in [0, 1], exactly 1 at a keypoint.
        mask: broadcasts to these shapes, False where nothing counts.

    Returns:
        Scalar: sum over all cells by the number of keypoints that count, at least one; several
        processes share the number.

    Raises:
        ValueError: the shapes of scores and targets differ.

    Source: CID, Eq. 15, alpha = 2, beta = 4. The published code sums over all people of a batch
    and divides once, where Eq. 16 has a mean over people.
    """
    if scores.shape != targets.shape:
        raise ValueError(f"Scores {tuple(scores.shape)} and targets {tuple(targets.shape)} differ.")
    peaks = ((targets == 1) & mask).nonzero(as_tuple=True)
    total: Tensor = _FocalSum.apply(scores, targets, mask, peaks)
    return total / mean_count(len(peaks[0]), scores.device)


def heatmap_focal_loss_of_logits(logits: Tensor, targets: Tensor, mask: Tensor) -> Tensor:
    """The same loss of scores without bounds: a score of 1 has no logarithm, its logit does.

    Args:
        logits: (B, K, H, W), before the sigmoid.
        targets: (B, K, H, W) in [0, 1], exactly 1 at a keypoint.
        mask: broadcasts to these shapes, False where nothing counts.

    Source: CornerNet (arXiv:1808.01244), Eq. 1, alpha = 2, beta = 4, as PoseDet published it.
    """
    logits = to_float32(logits)
    scores, peak = logits.sigmoid(), targets == 1
    missed = (1 - scores).square() * F.softplus(-logits)
    wrong = (1 - targets) ** 4 * scores.square() * F.softplus(logits)
    total: Tensor = (torch.where(peak, missed, wrong) * mask).sum()
    return total / mean_count(int((peak & mask).sum()), logits.device)


class _FocalSum(torch.autograd.Function):
    """The sum of CID's Eq. 15 with its gradient by hand: autograd would keep a dozen maps for it.

    (1 - target)^4 is zero at a peak, so the sum over all cells needs no selection, and the few
    peaks are added by index.
    """

    @staticmethod
    def forward(
        ctx: Any, scores: Tensor, targets: Tensor, mask: Tensor, peaks: tuple[Tensor, ...]
    ) -> Tensor:
        weight = (1 - targets).square_().square_().mul_(mask).mul_(scores)  # (1 - t)^4 p
        log_rest = torch.log1p(-scores)
        total = -(weight * scores).flatten().dot(log_rest.flatten())
        gradient = log_rest.mul_(-2).add_(scores / (1 - scores)).mul_(weight)
        at_peak = scores[peaks]
        rest, log_peak = 1 - at_peak, at_peak.log()
        gradient[peaks] += 2 * rest * log_peak - rest**2 / at_peak
        ctx.save_for_backward(gradient)
        return total - (rest**2 * log_peak).sum()

    @staticmethod
    def backward(ctx: Any, *outer: Tensor) -> tuple[Tensor, None, None, None]:
        (gradient,) = ctx.saved_tensors
        return gradient * outer[0], None, None, None
