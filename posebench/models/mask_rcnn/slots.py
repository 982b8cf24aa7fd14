"""Detection with a fixed number of slots for boxes: on a GPU, and in other runtimes.

torchvision's detection keeps as many boxes as are found, in loops over images, levels and boxes,
each of which waits for a GPU. Here every image has 1000 slots for proposals and 100 for people, and
a slot without a box is empty; the boxes in the others are torchvision's.

Shapes: B images, L levels of the pyramid, N slots, R = B N regions. Boxes are left, top, right,
bottom in network-input pixels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch._higher_order_ops import while_loop
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.ops import MultiScaleRoIAlign, roi_align

from posebench.layers.precision import to_float32
from posebench.transfer import to_device

if TYPE_CHECKING:
    from posebench.models.mask_rcnn.model import MaskRCNN

BOX_MIN_SIDE = 0.01  # of a person's box, torchvision's
# Of a suppression without a wait; where they are too few it is repeated with so many times as many.
TURNS, MORE_TURNS = 16, 8


class Slots(NamedTuple):
    """Boxes of each image, best first; empty slots have zeros, and are last."""

    boxes: Tensor  # (B, N, 4)
    scores: Tensor  # (B, N), after the sigmoid or softmax
    found: Tensor  # (B, N) whether a slot has a box
    settled: Tensor  # whether the turns of the suppressions were enough; else boxes are wrong


def limits_of(images: Tensor, padding: Tensor | None) -> Tensor:
    """Return the width, height, width and height (B, 1, 4) of each image without padding."""
    inside = torch.ones_like(images[:, 0]) if padding is None else (~padding).float()
    sides = [inside.amax(axis).sum(1) for axis in (1, 2)]
    return torch.stack([*sides, *sides], 1)[:, None]


def detected(
    model: MaskRCNN, maps: list[Tensor], levels: Tensor, size: tuple[int, int], limits: Tensor,
    turns: int | None = None,
) -> Slots:  # fmt: skip
    """Return the boxes of people, in 100 slots of each image.

    Args:
        model: in evaluation mode.
        maps: the pyramid, finest first.
        levels: those that boxes are read from, as `in_one_batch` returns them.
        size: height and width of the images, padded to whole cells.
        limits: (B, 1, 4) width, height, width, height of each image without padding.
        turns: of each suppression; None: as many as it needs.
    """
    rpn, heads = model.rpn, model.roi_heads
    anchors = anchors_of(rpn.anchor_generator, maps, size)
    logits, deltas = rpn.head(maps)
    proposals = proposed(rpn, logits, deltas, anchors, limits, turns)
    numbers, rows = image_numbers(proposals.boxes), proposals.boxes.flatten(0, 1)
    features = pooled(heads.box_roi_pool, levels, numbers, rows, model.stride)
    logits, deltas = heads.box_predictor(heads.box_head(features))
    return people_in(heads, logits, deltas, proposals, limits, turns)


def proposed(
    rpn: Any, logits: list[Tensor], deltas: list[Tensor], anchors: list[Tensor],
    limits: Tensor, turns: int | None = None,
) -> Slots:  # fmt: skip
    """Return the boxes that the box head looks at.

    Args:
        rpn: torchvision's network for proposals, of which the settings are read.
        logits, deltas: what its head returns of each level.
        anchors: (N, 4) of each level.
        limits: (B, 1, 4) width, height, width, height of each image without padding.
        turns: of the suppression; None: as many as it needs.
    """
    count = rpn.pre_nms_top_n()
    if not torch.compiler.is_exporting():  # a graph does not know the levels' sizes
        count = min(count, max(len(own) for own in anchors))
    parts = [_best_anchors(*own, count) for own in zip(logits, deltas, anchors, strict=True)]
    top, codes, chosen = (torch.stack(own, 1) for own in zip(*parts, strict=True))
    boxes = _clipped(decoded(codes, chosen, rpn.box_coder), limits[:, None])
    valid = (top > -torch.inf) & _large(boxes, rpn.min_size)
    kept, settled = survivors(boxes.flatten(0, 1), valid.flatten(0, 1), rpn.nms_thresh, turns)
    boxes, scores, kept = (
        values.flatten(1, 2) for values in (boxes, top.sigmoid(), kept.view_as(valid))
    )
    return _best(boxes, scores, kept, settled, rpn.post_nms_top_n())


def anchors_of(
    generator: AnchorGenerator, maps: list[Tensor], size: tuple[int, int]
) -> list[Tensor]:
    """Return the anchors (N, 4) of each level; in an exported graph sizes are not numbers yet.

    Args:
        generator: torchvision's.
        maps: the pyramid, finest first.
        size: height and width of the images.
    """
    finest = to_float32(maps[0])
    strides = [
        [
            torch.scalar_tensor(side // cells, dtype=torch.int64, device=finest.device)
            for side, cells in zip(size, level.shape[-2:], strict=True)
        ]
        for level in maps
    ]
    generator.cell_anchors = to_device(generator.cell_anchors, finest.device)
    generator.set_cell_anchors(finest.dtype, finest.device)
    anchors: list[Tensor] = generator.grid_anchors(
        [list(level.shape[-2:]) for level in maps], strides
    )
    return anchors


def people_in(
    heads: Any, logits: Tensor, deltas: Tensor, proposals: Slots, limits: Tensor,
    turns: int | None = None,
) -> Slots:  # fmt: skip
    """Return the boxes of people.

    Args:
        heads: torchvision's, of which the settings are read.
        logits, deltas: (R, 2) and (R, 8), what the box head returns for the proposals.
        proposals: of every image.
        limits: (B, 1, 4) width, height, width, height of each image without padding.
        turns: of the suppression; None: as many as it needs.
    """
    codes = deltas[:, 4:].view_as(proposals.boxes)  # the second class is people
    boxes = _clipped(decoded(codes, proposals.boxes, heads.box_coder), limits)
    scores = logits.softmax(1)[:, 1].view_as(proposals.found)
    people = proposals.found & (scores > heads.score_thresh) & _large(boxes, BOX_MIN_SIDE)
    boxes, scores, people, _ = _best(boxes, scores, people, proposals.settled, scores.shape[1])
    kept, settled = survivors(boxes, people, heads.nms_thresh, turns)
    return _best(boxes, scores, kept, settled & proposals.settled, heads.detections_per_img)


def decoded(codes: Tensor, boxes: Tensor, coder: Any) -> Tensor:
    """Return the boxes (..., 4) that codes (..., 4) make of others (..., 4).

    Args:
        codes: shifts of the centre in sides of a box, and logarithms of what its sides grow by.
        boxes: to change.
        coder: torchvision's, of which the weights of the codes are read.
    """
    sides = boxes[..., 2:] - boxes[..., :2]
    shifts, growth = codes[..., :2] / coder.weights[0], codes[..., 2:] / coder.weights[2]
    centres = shifts * sides + (boxes[..., :2] + 0.5 * sides)
    half = 0.5 * (growth.clamp(max=coder.bbox_xform_clip).exp() * sides)
    return torch.cat([centres - half, centres + half], -1)


def encoded(targets: Tensor, boxes: Tensor, coder: Any) -> Tensor:
    """Return the codes (N, 4) that make targets (N, 4) of boxes (N, 4): see `decoded`."""
    sides, wanted = (own[:, 2:] - own[:, :2] for own in (boxes, targets))
    centres, places = boxes[:, :2] + 0.5 * sides, targets[:, :2] + 0.5 * wanted
    shifts = coder.weights[0] * (places - centres) / sides
    return torch.cat([shifts, coder.weights[2] * (wanted / sides).log()], 1)


def by_anchor(logits: Tensor, deltas: Tensor) -> tuple[Tensor, Tensor]:
    """Return a level's logits (B, N) and codes (B, N, 4) in the order of its anchors."""
    batch, kinds, height, width = logits.shape
    codes = deltas.view(batch, kinds, 4, height, width).permute(0, 3, 4, 1, 2)
    return logits.permute(0, 2, 3, 1).flatten(1), codes.flatten(1, 3)


def _best_anchors(
    logits: Tensor, deltas: Tensor, anchors: Tensor, count: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the logits (B, N), codes and anchors (B, N, 4) of a level's best anchors.

    Where a level has fewer than `count` anchors, the logits of the last slots are minus infinity.
    """
    rows, codes = by_anchor(logits, deltas)
    # Padded by `count` whatever the level's size, which an exported graph does not know.
    top, order = F.pad(rows, (0, count), value=-torch.inf).topk(count)
    order = order.clamp(max=rows.shape[1] - 1)
    return top, codes.gather(1, order[..., None].expand(-1, -1, 4)), anchors[order]


def survivors(
    boxes: Tensor, valid: Tensor, threshold: float, turns: int | None = None
) -> tuple[Tensor, Tensor]:
    """Return which boxes suppression keeps, as a mask (R, N), and whether this is all settled.

    A box is suppressed if its overlap with a better one that is kept is above the threshold. The
    rule, applied to all boxes at once until nothing changes, settles at least the next best box
    each time, and most boxes in the first few: what is left are torchvision's.

    Args:
        boxes: (R, N, 4), best first.
        valid: (R, N) which of them are boxes.
        threshold: of the overlap.
        turns: how often the rule is applied, without a wait for a GPU; None: until nothing changes.
    """
    left, top, right, bottom = boxes.unbind(-1)
    shared = _shared(left, right) * _shared(top, bottom)
    areas = (right - left) * (bottom - top)
    overlaps = shared / (areas[:, :, None] + areas[:, None] - shared)
    ranks = torch.arange(boxes.shape[1], device=boxes.device)
    better = (ranks[:, None] < ranks) & valid[:, :, None]
    suppresses = ((overlaps > threshold) & better).float()

    def turned(kept: Tensor, suppresses: Tensor) -> Tensor:
        return ((kept[:, None] @ suppresses)[:, 0] == 0).float()

    # A loop in an exported graph hands on all that it reads, and copies of what it does not change.
    def changed(kept: Tensor, previous: Tensor, suppresses: Tensor) -> Tensor:
        return (kept != previous).any()

    def next_turn(kept: Tensor, previous: Tensor, suppresses: Tensor) -> tuple[Tensor, ...]:
        return turned(kept, suppresses), kept.clone(), suppresses.clone()

    kept, previous = torch.ones_like(areas), torch.zeros_like(areas)
    if torch.compiler.is_exporting():
        state = kept, previous, suppresses
        kept, previous, _ = while_loop(changed, next_turn, state)  # type: ignore[no-untyped-call]
    elif turns is None:
        while changed(kept, previous, suppresses):
            kept, previous = turned(kept, suppresses), kept
    else:
        for _ in range(turns):
            kept, previous = turned(kept, suppresses), kept
    return (kept > 0) & valid, ~changed(kept, previous, suppresses)


def _shared(low: Tensor, high: Tensor) -> Tensor:
    """Return how much of an axis (R, N, N) each two boxes share, from their edges (R, N)."""
    first = torch.maximum(low[:, :, None], low[:, None])
    last = torch.minimum(high[:, :, None], high[:, None])
    return (last - first).clamp(min=0)


def _best(boxes: Tensor, scores: Tensor, kept: Tensor, settled: Tensor, count: int) -> Slots:
    """Return at most `count` slots of the kept boxes (B, N, 4), best first."""
    scores, order = scores.where(kept, -1).topk(min(count, scores.shape[1]))
    found = scores >= 0
    boxes = boxes.gather(1, order[..., None].expand(-1, -1, 4))
    return Slots(boxes.where(found[..., None], 0), scores.where(found, 0), found, settled)


def _clipped(boxes: Tensor, limits: Tensor) -> Tensor:
    return torch.minimum(boxes.clamp(min=0), limits)


def _large(boxes: Tensor, side: float) -> Tensor:
    return (boxes[..., 2:] - boxes[..., :2] >= side).all(-1)


def image_numbers(boxes: Tensor) -> Tensor:
    """Return the number (B N,) of the image of each box (B, N, 4)."""
    numbers = torch.arange(boxes.shape[0], device=boxes.device)
    return numbers[:, None].expand(boxes.shape[:2]).flatten()


def in_one_batch(levels: list[Tensor]) -> Tensor:
    """Return the levels (B, C, h, w) of a pyramid as images (B L, C, H, W) of the finest's size.

    Smaller ones are padded by their border, as RoIAlign reads beyond it.
    """
    height, width = levels[0].shape[-2:]
    padded = [
        F.pad(level, (0, width - level.shape[-1], 0, height - level.shape[-2]), mode="replicate")
        for level in levels
    ]
    return torch.stack(padded, 1).flatten(0, 1)


def pooled(
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
    features: Tensor = roi_align(levels, regions, pool.output_size, 1.0, pool.sampling_ratio)
    return features
