"""Training queries that start near the annotated boxes: denoising, as in DN-DETR.

Q extra queries of each image start from annotated people, whose boxes are shifted and whose labels
are exchanged at random, and learn to restore them. Nothing has to be matched, so that the decoder
learns to refine boxes before the matching is stable. They are left out at test time.

Shapes: B images, Q noise queries, P people of one image. Boxes are centre x, y, width, height as
shares of the image.

Source: ED-Pose's published code; the idea is DN-DETR's (arXiv:2203.01305).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from posebench.layers.matching import PERSON
from posebench.layers.transformer import inverse_sigmoid

LABELS = 100  # a noisy label is one of so many
NOBODY = 2  # label of the random boxes in images without people
LABEL_NOISE = 0.5  # probability that a label is exchanged
BOX_NOISE = 0.4  # largest change of a side, as a share of it; a centre moves by half of that


@dataclass(frozen=True)
class Draws:
    """The random numbers that noise queries are made of."""

    people: list[Tensor]  # (Q mod P,) of each image: who is in the last, incomplete group
    boxes: Tensor  # (B, Q, 4), for images without people
    label_uniform: Tensor  # (B, Q), below `LABEL_NOISE` where the label is exchanged
    labels: Tensor  # (B, Q), by which
    box_uniform: Tensor  # (B, Q, 4)


@dataclass(frozen=True)
class NoisyPeople:
    """What noise queries start from, and what they should become."""

    labels: Tensor  # (B, Q), which are embedded as the queries' content
    boxes: Tensor  # (B, Q, 4), their first references
    sees: Tensor  # (B, Q, Q) bool, True where a noise query (row) attends to another (column)
    is_person: Tensor  # (B, Q) bool
    clean_boxes: Tensor  # (B, Q, 4)


def draw(counts: Sequence[int], seeds: Sequence[int], queries: int) -> Draws:
    """Return the random numbers for images with so many people, from their seeds.

    Args:
        counts: P of each image.
        seeds: of each image.
        queries: Q.
    """
    people, images = [], []
    for count, seed in zip(counts, seeds, strict=True):
        # A random stream separate from the augmentation's, which uses the same seed.
        rng = np.random.default_rng([seed, 1])
        incomplete = queries % count if count else 0
        people.append(torch.from_numpy(rng.integers(0, max(count, 1), incomplete)))
        images.append(
            (
                rng.random((queries, 4), np.float32),
                rng.random(queries, np.float32),
                rng.integers(0, LABELS, queries),
                rng.random((queries, 4), np.float32),
            )
        )
    stacked = (torch.from_numpy(np.stack(parts)) for parts in zip(*images, strict=True))
    return Draws(people, *stacked)


def noisy_people(boxes: Sequence[Tensor], draws: Draws) -> NoisyPeople:
    """Return what the noise queries of B images start from.

    Args:
        boxes: (P, 4) annotated ones of each image.
        draws: on the boxes' device.
    """
    queries = draws.boxes.shape[1]
    counts = [len(own) for own in boxes]
    clean = torch.stack(
        [
            own[_people(len(own), drawn, queries)] if len(own) else random
            for own, drawn, random in zip(boxes, draws.people, draws.boxes, strict=True)
        ]
    )
    is_person = torch.tensor([count > 0 for count in counts], device=clean.device)
    is_person = is_person[:, None].expand(-1, queries)
    label = torch.where(is_person, PERSON, NOBODY)
    # In an image without people, all queries are one group.
    sizes = torch.tensor([count or queries for count in counts], device=clean.device)
    group = torch.arange(queries, device=clean.device) // sizes[:, None]
    return NoisyPeople(
        labels=torch.where(draws.label_uniform < LABEL_NOISE, draws.labels, label),
        boxes=inverse_sigmoid(shifted(clean, draws.box_uniform)).sigmoid(),
        sees=group[:, :, None] == group[:, None],
        is_person=is_person,
        clean_boxes=clean,
    )


def _people(count: int, drawn: Tensor, queries: int) -> Tensor:
    """Return the person (Q,) of each noise query: all people in turn, then those drawn."""
    everybody = torch.arange(count, device=drawn.device)
    return torch.cat([everybody.repeat(queries // count), drawn])


def shifted(boxes: Tensor, uniform: Tensor) -> Tensor:
    """Return boxes (..., 4) moved and scaled by random numbers (..., 4) in [0, 1)."""
    sides = boxes[..., 2:]
    largest = torch.cat([sides / 2, sides], -1) * BOX_NOISE
    return (boxes + (2 * uniform - 1) * largest).clamp(0, 1)
