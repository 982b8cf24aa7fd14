"""Mask R-CNN's keypoints: each map resized to its box in whole pixels, and where its maximum is.

Bicubic interpolation is linear in each axis, so a map becomes one of any size by a matrix for its
rows and one for its columns, and people with boxes of several sizes are resized together.

Shapes: N people, K keypoints, H x W pixels of the largest box of a group. Boxes are left, top,
right, bottom in network-input pixels.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from posebench.layers.precision import to_float32
from posebench.transfer import to_device

SHARPNESS = -0.75  # of the cubic kernel, PyTorch's
# Resized values that are held at once: a GPU's memory, and a processor's cache.
_MOST_ON_GPU, _MOST_ON_CPU = 2**24, 2**18


def whole_sides(boxes: Tensor) -> tuple[Tensor, Tensor]:
    """Return the width and height (N, 2) of boxes (N, 4), at least 1, and rounded up to pixels."""
    sides = (boxes[:, 2:] - boxes[:, :2]).clamp(min=1)
    return sides, sides.ceil()


def maxima(logits: Tensor, boxes: Tensor) -> Tensor:
    """Return the column and row (N, K, 2) of each map's maximum among the pixels of its box.

    Args:
        logits: (N, K, cells, cells), float32.
        boxes: (N, 4), on the CPU, as they decide on sizes.
    """
    _, pixels = whole_sides(boxes)
    order = pixels.prod(1).argsort()
    groups = list(_groups(pixels[order].long().tolist(), logits))
    # On a GPU in float64, since products of float32 may be rounded to TF32.
    logits = logits.double() if logits.is_cuda else logits
    ranks, pixels, order = to_device([order.argsort(), pixels, order], logits.device)
    found = [
        _maxima(logits[order[rows]], pixels[order[rows]], size) for rows, size in groups
    ]  # fmt: skip
    return torch.cat(found)[ranks] if found else logits.new_zeros(*logits.shape[:2], 2).long()


def _groups(pixels: list[list[int]], logits: Tensor) -> Iterator[tuple[slice, tuple[int, int]]]:
    """Yield people to resize together, and the width and height of what holds their boxes.

    Args:
        pixels: width and height of each person's box, smallest first.
        logits: (N, K, cells, cells), of which the device is read.
    """
    most = (_MOST_ON_GPU if logits.is_cuda else _MOST_ON_CPU) // logits.shape[1]
    begin, size = 0, (0, 0)
    for number, (width, height) in enumerate(pixels):
        larger = max(size[0], width), max(size[1], height)
        if number > begin and (number + 1 - begin) * larger[0] * larger[1] > most:
            yield slice(begin, number), size
            begin, larger = number, (width, height)
        size = larger
    if pixels:
        yield slice(begin, len(pixels)), size


def _maxima(logits: Tensor, pixels: Tensor, size: tuple[int, int]) -> Tensor:
    """Return the column and row (N, K, 2) of the maxima of maps that are resized to `size`."""
    width, height = size
    across, down = _cubic_weights(pixels, max(size), logits.shape[-1], logits.dtype).unbind(1)
    wide = logits.flatten(1, 2) @ across[:, :width].mT
    resized = down[:, None, :height] @ wide.view(*logits.shape[:3], width)
    place = resized.flatten(2).argmax(2)
    return torch.stack([place % width, place // width], -1).minimum(pixels[:, None].long() - 1)


def _cubic_weights(pixels: Tensor, most: int, cells: int, dtype: torch.dtype) -> Tensor:
    """Return the weights (N, 2, most, cells) of cells in the pixels of each axis, as PyTorch's.

    Pixels beyond a box's last repeat that one.
    """
    pixel = torch.arange(most, device=pixels.device).minimum(pixels[..., None] - 1)
    # In float32 as PyTorch's, whose places these are to be.
    source = (cells / pixels)[..., None] * (pixel + 0.5) - 0.5
    cell = source.floor()
    taps = torch.arange(-1, 3, device=pixels.device)
    apart = (source - cell).to(dtype)[..., None] - taps
    weights = pixels.new_zeros(*pixel.shape, cells, dtype=dtype)
    places = (cell.long()[..., None] + taps).clamp(0, cells - 1)
    return weights.scatter_add_(-1, places, _cubic(apart.abs()))


def _cubic(apart: Tensor) -> Tensor:
    """Return the cubic kernel at a distance of at most 2."""
    near = ((SHARPNESS + 2) * apart - (SHARPNESS + 3)) * apart * apart + 1
    far = ((apart - 5) * apart + 8) * apart - 4
    return near.where(apart <= 1, SHARPNESS * far)


def peaks_of(logits: Tensor) -> Tensor:
    """Return the maximum (N, K) of each map's softmax over its cells."""
    peaks: Tensor = to_float32(logits).flatten(2).softmax(2).amax(2)
    return peaks
