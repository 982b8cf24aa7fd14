"""Heatmaps with a Gaussian at each keypoint, and the focal losses that train them."""

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
    """Return which cells x, y (..., 2) lie on a map of size H, W."""
    x, y = cells.unbind(-1)
    return (x >= 0) & (y >= 0) & (x < size[1]) & (y < size[0])


def cell_poses(batch: Batch, stride: int) -> list[Poses]:
    """Return the batch's poses in cells of a map of this stride; cells are not rounded.

    The published loaders of CID and HigherHRNet flip keypoints in the cells of each map
    (x -> width - 1 - x), which shifts them by up to a cell from a flip in pixels. Targets follow
    the loaders.
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
    points: Tensor, valid: Tensor, size: tuple[int, int], *, radius: Tensor, sigma: Tensor
) -> Tensor:
    """Return a heatmap for each point, with a Gaussian around it.

    Args:
        points: (N, P, 2) x, y in cells; they are truncated toward zero.
        valid: (N, P) bool, False where a point has no Gaussian.
        size: H, W.
        radius: (N,) cells, beyond which the map is 0.
        sigma: (N,) cells.

    Returns:
        (N, P, H, W) float32, exactly 1 at a valid point's cell; all 0 where the point is not valid
        or lies outside the map.

    Source: CID, Eq. 13; truncation and the square window from the published code.
    """
    cells = points.trunc()
    valid = valid & inside(cells, size)

    def profile(position: Tensor, length: int) -> Tensor:
        distance = torch.arange(length, device=points.device) - position[..., None]
        value = torch.exp(-(distance**2) / (2 * sigma[:, None, None] ** 2))
        return value.where(distance.abs() <= radius[:, None, None], 0).float()

    # A Gaussian is the product of its two profiles: exp of H + W values instead of H x W.
    rows = profile(cells[..., 1], size[0]) * valid[..., None]
    return rows[..., None] * profile(cells[..., 0], size[1])[..., None, :]


def clamped_sigmoid(logits: Tensor) -> Tensor:
    """Return float32 scores clamped for the focal loss.

    bfloat16 would round 0.999 up to 1, and log(1 - p) would be -inf.
    """
    return clamp_scores(to_float32(logits).sigmoid())


def clamp_scores(scores: Tensor) -> Tensor:
    """Return scores clamped away from 0 and 1, whose logarithms are infinite."""
    return scores.clamp(1e-4, 1 - 1e-4)


def heatmap_focal_loss(scores: Tensor, targets: Tensor, mask: Tensor) -> Tensor:
    """Return the focal loss that is lenient near a peak.

    Args:
        scores: (B, K, H, W), after the sigmoid, clamped to [1e-4, 1 - 1e-4], float32.
        targets: (B, K, H, W) in [0, 1], exactly 1 at a keypoint.
        mask: broadcasts to these shapes, False at cells that are ignored.

    Returns:
        Scalar: the sum over all cells divided by the number of keypoints that are not ignored, at
        least one, averaged over all ranks.

    Raises:
        ValueError: the shapes of scores and targets differ.

    Source: CID, Eq. 15, alpha = 2, beta = 4. The published code sums over all people of a batch
    and divides once, where Eq. 16 has a mean over people.
    """
    if scores.shape != targets.shape:
        raise ValueError(f"Scores {tuple(scores.shape)} and targets {tuple(targets.shape)} differ.")
    is_peak = (targets == 1) & mask
    # A CPU adds the few peaks by index; a GPU would be waited for until they are found.
    peaks = None if scores.is_cuda else is_peak.nonzero(as_tuple=True)
    total: Tensor = _FocalSum.apply(scores, targets, mask, is_peak, peaks)
    count = is_peak.sum() if peaks is None else len(peaks[0])
    return total / mean_count(count, scores.device)


def heatmap_focal_loss_of_logits(logits: Tensor, targets: Tensor, mask: Tensor) -> Tensor:
    """Return the loss of `heatmap_focal_loss` from logits, whose scores need no clamping.

    Args:
        logits: (B, K, H, W), before the sigmoid.
        targets: (B, K, H, W) in [0, 1], exactly 1 at a keypoint.
        mask: broadcasts to these shapes, False at cells that are ignored.

    Source: CornerNet (arXiv:1808.01244), Eq. 1, alpha = 2, beta = 4, as PoseDet published it.
    """
    logits = to_float32(logits)
    scores, peak = logits.sigmoid(), targets == 1
    missed = (1 - scores).square() * F.softplus(-logits)
    wrong = (1 - targets) ** 4 * scores.square() * F.softplus(logits)
    total: Tensor = (torch.where(peak, missed, wrong) * mask).sum()
    return total / mean_count((peak & mask).sum(), logits.device)


class _FocalSum(torch.autograd.Function):
    """The sum of CID's Eq. 15 with its gradient derived by hand: autograd would store a dozen maps.

    (1 - target)^4 is zero at a peak, so the sum over the other cells runs over all cells, and the
    few peaks are added by index, or by their mask.
    """

    @staticmethod
    def forward(
        ctx: Any,
        scores: Tensor,
        targets: Tensor,
        mask: Tensor,
        is_peak: Tensor,
        peaks: tuple[Tensor, ...] | None,
    ) -> Tensor:
        weight = (1 - targets).square_().square_().mul_(mask).mul_(scores)  # (1 - t)^4 p
        log_rest = torch.log1p(-scores)
        total = -(weight * scores).flatten().dot(log_rest.flatten())
        gradient = log_rest.mul_(-2).add_(scores / (1 - scores)).mul_(weight)
        at_peak = scores if peaks is None else scores[peaks]
        rest, log_peak = 1 - at_peak, at_peak.log()
        slope, value = 2 * rest * log_peak - rest**2 / at_peak, rest**2 * log_peak
        if peaks is None:
            gradient += slope * is_peak
            value = value * is_peak
        else:
            gradient[peaks] += slope
        ctx.save_for_backward(gradient)
        return total - value.sum()

    @staticmethod
    def backward(ctx: Any, *outer: Tensor) -> tuple[Tensor, None, None, None, None]:
        (gradient,) = ctx.saved_tensors
        return gradient * outer[0], None, None, None, None
