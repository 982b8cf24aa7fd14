"""Detection with a fixed number of slots for boxes, which other runtimes can compute.

torchvision's detection keeps as many boxes as are found, in loops over images, levels and boxes.
Here every image has 1000 slots for proposals and 100 for people, and a slot with the score 0 is
empty; the boxes in the others are torchvision's.

Shapes: B images, L levels of the pyramid, N slots, K keypoints, R = B N regions. Boxes are left,
top, right, bottom in network-input pixels.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor
from torch._higher_order_ops import while_loop
from torchvision.ops import MultiScaleRoIAlign, roi_align

from posebench.layers.precision import to_float32
from posebench.models.graph import Named
from posebench.models.mask_rcnn.model import MaskRCNN, MaskRCNNOutputs

BOX_MIN_SIDE = 0.01  # of a person's box, torchvision's


def graph_outputs(
    model: MaskRCNN, images: Tensor, padding: Tensor | None, flip: bool
) -> dict[str, Tensor]:
    """Return the boxes (B, 100, 4), scores (B, 100) and logits (B, 100, K, 56, 56) of people."""
    padded, maps = model.pyramid(images)
    heads, limits = model.roi_heads, _limits(images, padding)
    levels = _in_one_batch([maps[name] for name in heads.box_roi_pool.featmap_names])
    proposals, found = _proposals(model, maps, padded, limits)
    boxes, scores = _people(model, levels, proposals, found, limits)
    # Slots with a person are computed, and a further one, whose maps all empty slots repeat.
    found = scores.flatten() > 0
    rows = F.pad(found, (0, 1), value=True).nonzero()[:, 0]
    slots = F.pad(boxes.flatten(0, 1), (0, 0, 0, 1))[rows]
    numbers = F.pad(_image_numbers(boxes), (0, 1))[rows]
    pooled = _pooled(heads.keypoint_roi_pool, levels, numbers, slots, model.stride)
    computed = heads.keypoint_predictor(heads.keypoint_head(pooled))
    places = (found.cumsum(0) - 1).where(found, rows.shape[0] - 1)
    logits = computed[places].unflatten(0, scores.shape)
    return {"boxes": boxes, "scores": scores, "logits": logits}


def restored(model: MaskRCNN, tensors: Named, size: tuple[int, int]) -> MaskRCNNOutputs:
    """Return the outputs that a runtime has computed, of the slots that are people."""
    names = ("boxes", "scores", "logits")
    found = tensors["scores"] > 0
    boxes, scores, logits = (
        [own[rows] for own, rows in zip(tensors[name], found, strict=True)] for name in names
    )
    return MaskRCNNOutputs(boxes, scores, logits, size)


def _limits(images: Tensor, padding: Tensor | None) -> Tensor:
    """Return the width, height, width and height (B, 1, 4) of each image without padding."""
    inside = torch.ones_like(images[:, 0]) if padding is None else (~padding).float()
    sides = [inside.amax(axis).sum(1) for axis in (1, 2)]
    return torch.stack([*sides, *sides], 1)[:, None]


def _proposals(
    model: MaskRCNN, maps: dict[str, Tensor], images: Tensor, limits: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the boxes (B, N, 4) that the box head looks at, and which slots have one (B, N).

    Args:
        model: in evaluation mode.
        maps: the pyramid, finest first.
        images: (B, 3, H, W), padded to whole cells.
        limits: (B, 1, 4) width, height, width, height of each image without padding.
    """
    rpn, count = model.rpn, model.rpn.pre_nms_top_n()
    logits, deltas = rpn.head(list(maps.values()))
    anchors = _anchors(model, maps, images)
    parts = [_best_anchors(*own, count) for own in zip(logits, deltas, anchors, strict=True)]
    top, codes, chosen = (torch.stack(own, 1) for own in zip(*parts, strict=True))
    boxes = rpn.box_coder.decode_single(codes.view(-1, 4), chosen.view(-1, 4)).view_as(codes)
    boxes = _clipped(boxes, limits[:, None])
    valid = (top > -torch.inf) & _large(boxes, rpn.min_size)
    kept = survivors(boxes.flatten(0, 1), valid.flatten(0, 1), rpn.nms_thresh).view_as(valid)
    boxes, scores, kept = (values.flatten(1, 2) for values in (boxes, top.sigmoid(), kept))
    boxes, _, found = _best(boxes, scores, kept, rpn.post_nms_top_n())
    return boxes, found


def _anchors(model: MaskRCNN, maps: dict[str, Tensor], images: Tensor) -> list[Tensor]:
    """Return the anchors (N, 4) of each level; in an exported graph sizes are not numbers yet."""
    sizes = [level.shape[-2:] for level in maps.values()]
    whole = images.shape[-2:]
    strides = [
        [
            torch.scalar_tensor(side // cells, dtype=torch.int64, device=images.device)
            for side, cells in zip(whole, size, strict=True)
        ]
        for size in sizes
    ]
    generator = model.rpn.anchor_generator
    generator.set_cell_anchors(to_float32(images).dtype, images.device)
    anchors: list[Tensor] = generator.grid_anchors(sizes, strides)
    return anchors


def _people(
    model: MaskRCNN, levels: Tensor, proposals: Tensor, found: Tensor, limits: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the boxes (B, 100, 4) of people and their scores (B, 100), best first."""
    heads, rows = model.roi_heads, proposals.flatten(0, 1)
    pooled = _pooled(heads.box_roi_pool, levels, _image_numbers(proposals), rows, model.stride)
    logits, deltas = heads.box_predictor(heads.box_head(pooled))
    decoded = heads.box_coder.decode_single(deltas, rows)
    boxes = _clipped(decoded[:, 4:].view_as(proposals), limits)  # the second class is people
    scores = logits.softmax(1)[:, 1].view_as(found)
    people = found & (scores > heads.score_thresh) & _large(boxes, BOX_MIN_SIDE)
    boxes, scores, people = _best(boxes, scores, people, scores.shape[1])
    kept = survivors(boxes, people, heads.nms_thresh)
    boxes, scores, _ = _best(boxes, scores, kept, heads.detections_per_img)
    return boxes, scores


def _best_anchors(
    logits: Tensor, deltas: Tensor, anchors: Tensor, count: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the logits (B, N), codes and anchors (B, N, 4) of a level's best anchors.

    Where a level has fewer than `count` anchors, the logits of the last slots are minus infinity.
    """
    batch, kinds, height, width = logits.shape
    rows = logits.permute(0, 2, 3, 1).flatten(1)
    codes = deltas.view(batch, kinds, 4, height, width).permute(0, 3, 4, 1, 2).flatten(1, 3)
    # Padded by `count` whatever the level's size, which an exported graph does not know.
    top, order = F.pad(rows, (0, count), value=-torch.inf).topk(count)
    order = order.clamp(max=rows.shape[1] - 1)
    return top, codes.gather(1, order[..., None].expand(-1, -1, 4)), anchors[order]


def survivors(boxes: Tensor, valid: Tensor, threshold: float) -> Tensor:
    """Return which boxes (R, N, 4), best first, suppression keeps, as a mask (R, N).

    A box is suppressed if its overlap with a better one that is kept is above the threshold. The
    rule, applied to all boxes at once until nothing changes, settles at least the next best box
    each time, and most boxes in the first few: what is left are torchvision's.
    """
    left, top, right, bottom = boxes.unbind(-1)
    shared = _shared(left, right) * _shared(top, bottom)
    areas = (right - left) * (bottom - top)
    overlaps = shared / (areas[:, :, None] + areas[:, None] - shared)
    ranks = torch.arange(boxes.shape[1], device=boxes.device)
    better = (ranks[:, None] < ranks) & valid[:, :, None]
    suppresses = ((overlaps > threshold) & better).float()

    # A loop in an exported graph hands on all that it reads, and copies of what it does not change.
    def changed(kept: Tensor, previous: Tensor, suppresses: Tensor) -> Tensor:
        return (kept != previous).any()

    def settled(kept: Tensor, previous: Tensor, suppresses: Tensor) -> tuple[Tensor, ...]:
        suppressors = (kept[:, None] @ suppresses)[:, 0]
        return (suppressors == 0).float(), kept.clone(), suppresses.clone()

    state: tuple[Tensor, ...] = torch.ones_like(areas), torch.zeros_like(areas), suppresses
    if torch.compiler.is_exporting():
        state = while_loop(changed, settled, state)  # type: ignore[no-untyped-call]
    else:
        while changed(*state):
            state = settled(*state)
    return (state[0] > 0) & valid


def _shared(low: Tensor, high: Tensor) -> Tensor:
    """Return how much of an axis (R, N, N) each two boxes share, from their edges (R, N)."""
    first = torch.maximum(low[:, :, None], low[:, None])
    last = torch.minimum(high[:, :, None], high[:, None])
    return (last - first).clamp(min=0)


def _best(boxes: Tensor, scores: Tensor, kept: Tensor, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return `count` slots of the kept boxes (B, N, 4), best first, and which have one (B, N)."""
    scores, order = scores.where(kept, -1).topk(count)
    found = scores >= 0
    boxes = boxes.gather(1, order[..., None].expand(-1, -1, 4))
    return boxes.where(found[..., None], 0), scores.where(found, 0), found


def _clipped(boxes: Tensor, limits: Tensor) -> Tensor:
    return torch.minimum(boxes.clamp(min=0), limits)


def _large(boxes: Tensor, side: float) -> Tensor:
    return (boxes[..., 2:] - boxes[..., :2] >= side).all(-1)


def _image_numbers(boxes: Tensor) -> Tensor:
    """Return the number (B N,) of the image of each box (B, N, 4)."""
    numbers = torch.arange(boxes.shape[0], device=boxes.device)
    return numbers[:, None].expand(boxes.shape[:2]).flatten()


def _in_one_batch(levels: list[Tensor]) -> Tensor:
    """Return the levels (B, C, h, w) of a pyramid as images (B L, C, H, W) of the finest's size.

    Smaller ones are padded by their border, as RoIAlign reads beyond it.
    """
    height, width = levels[0].shape[-2:]
    padded = [
        F.pad(level, (0, width - level.shape[-1], 0, height - level.shape[-2]), mode="replicate")
        for level in levels
    ]
    return torch.stack(padded, 1).flatten(0, 1)


def _pooled(
    pool: MultiScaleRoIAlign, levels: Tensor, images: Tensor, boxes: Tensor, stride: int
) -> Tensor:
    """Return the features (R, C, side, side) of boxes, each from the level of its size.

    Args:
        pool: torchvision's, of which the settings are read.
        levels: (B L, C, H, W), so that one RoIAlign reads all of them.
        images: (R,) the number of each box's image.
        boxes: (R, 4).
        stride: of the finest level.
    """
    count, lowest = len(pool.featmap_names), stride.bit_length() - 1
    sides = (boxes[:, 2:] - boxes[:, :2]).prod(1).sqrt()
    level = pool.canonical_level + torch.log2(sides / pool.canonical_scale) + 1e-6
    level = level.floor().clamp(lowest, lowest + count - 1) - lowest
    cells = boxes / (stride * 2**level)[:, None]
    regions = torch.cat([(images * count + level)[:, None], cells], 1)
    pooled: Tensor = roi_align(levels, regions, pool.output_size, 1.0, pool.sampling_ratio)
    return pooled
