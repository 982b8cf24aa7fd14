"""Whether an exported network computes what PyTorch does: its tensors, and the people in them.

Shapes: B images, N people, K keypoints.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from posebench.exporting.card import Card
from posebench.exporting.files import Session
from posebench.exporting.network import Computed, exported_network
from posebench.exporting.program import GraphModule
from posebench.models import PoseModel
from posebench.preprocess import scaled_batches
from posebench.structures import Batch, PosePredictions, Sample

DISTANCE_PX = 0.01  # of a keypoint, above which people differ
SCORE = 1e-4  # likewise
TENSOR = 1e-3  # likewise of a tensor, relative to its largest value
_SAME_SLOT = 1e-2  # of the value by which slots are told apart, relative to the largest


@dataclass(frozen=True)
class Agreement:
    """How an exported network's outputs and people differ from PyTorch's."""

    tensors: Mapping[str, float]  # name -> the largest difference
    largest: Mapping[str, float]  # name -> the largest value, to judge the difference by
    people: int = 0  # found by PyTorch in all images
    unequal: int = 0  # people whom only one of both has, within DISTANCE_PX and SCORE
    distance_px: float = 0.0  # the largest of a keypoint, between the people nearest to each other
    score: float = 0.0  # the largest difference of their scores

    @property
    def equal(self) -> bool:
        """Whether all people are the same, and all tensors within TENSOR of their range."""
        return not self.unequal and self.tensors_equal

    @property
    def tensors_equal(self) -> bool:
        return all(self.tensors[name] <= TENSOR * self.largest[name] for name in self.tensors)

    def __str__(self) -> str:
        name = max(self.tensors, key=lambda name: self.tensors[name], default="")
        found = f"largest difference {self.tensors[name]:.1e} ({name})" if name else "no tensors"
        if self.unequal:
            return (
                f"{found}; {self.unequal} of {self.people} people differ, by up to "
                f"{self.distance_px:.2g} px"
            )
        return f"{found}; {self.people} people equal within {self.distance_px:.1e} px"


def compare(model: PoseModel, card: Card, session: Session, samples: Sequence[Sample]) -> Agreement:
    """Compare an exported network with the one it was written from.

    Args:
        model: in evaluation mode, on the CPU.
        card: of the file.
        session: of the file.
        samples: images.
    """
    network = exported_network(card, session)
    inference = card.used_recipe.inference
    total = Agreement({}, {})
    for sample in samples:
        batch = next(scaled_batches([sample], replace(inference, scales=(1.0,))))[1][0]
        padding = batch.padding if card.reads_padding else None
        module = GraphModule(model, inference.flip)
        with torch.inference_mode():
            expected = module(batch.images, padding)
            found = session(batch.images, padding)
        people = model.predict([sample], inference)[0]
        others = network.predict([sample], inference)[0]
        total = _joined(total, _of_tensors(expected, found, module.graph.slots))
        total = _joined(total, _of_people(people, others))
    return total


def compare_batch(model: PoseModel, network: PoseModel, batch: Batch) -> Agreement:
    """Compare an exported network with the one it was written from, on single views of a batch.

    Args:
        model: in evaluation mode, on the CPU.
        network: whose outputs a runtime computes.
        batch: images, resized.
    """
    module = GraphModule(model, flip=False)
    expected = module(batch.images, batch.padding)
    assert isinstance(network.runtime, Computed)
    found = network.runtime.tensors(batch.images, batch.padding)
    size = (batch.images.shape[-2], batch.images.shape[-1])
    total = _of_tensors(expected, found, module.graph.slots)
    both = (module.graph.restored(model, named, size) for named in (expected, found))
    people, others = (model.decode(outputs, batch.geometry) for outputs in both)
    for own, other in zip(people, others, strict=True):
        total = _joined(total, _of_people(own, other))
    return total


def _joined(first: Agreement, second: Agreement) -> Agreement:
    def most(a: Mapping[str, float], b: Mapping[str, float]) -> dict[str, float]:
        return {name: max(a.get(name, 0.0), b.get(name, 0.0)) for name in {**a, **b}}

    return Agreement(
        most(first.tensors, second.tensors),
        most(first.largest, second.largest),
        first.people + second.people,
        first.unequal + second.unequal,
        max(first.distance_px, second.distance_px),
        max(first.score, second.score),
    )


def _of_tensors(
    expected: Mapping[str, Tensor], found: Mapping[str, Tensor], slots: Sequence[str]
) -> Agreement:
    """Compare tensors by name; those of slots are compared slot by slot, in PyTorch's order."""
    found = dict(found)
    kept: dict[str, Tensor] = dict(expected)
    if slots:
        pairs = [_pairs(a, b) for a, b in zip(expected[slots[0]], found[slots[0]], strict=True)]
        for name in slots:
            kept[name], found[name] = (
                torch.cat([own[rows[side]] for own, rows in zip(values, pairs, strict=True)])
                for side, values in enumerate((expected[name], found[name]))
            )
    return Agreement(
        {name: _most((kept[name].double() - found[name].double()).abs()) for name in kept},
        {name: _most(kept[name].double().abs()) for name in kept},
    )


def _most(values: Tensor) -> float:
    return float(values.max()) if values.numel() else 0.0


def _pairs(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """Return the indices of slots that are the same in both (N, ...), whatever their order."""
    a, b = (values.double().flatten(1) for values in (first, second))
    distances = torch.cdist(a, b, p=torch.inf)
    # Equal slots are paired in their order: empty ones have equal values.
    order = (torch.arange(len(a))[:, None] - torch.arange(len(b))).abs() * 1e-12
    rows, columns = _assigned(distances + order)
    same = distances[rows, columns] <= _SAME_SLOT * max(_most(a.abs()), 1e-12)
    return rows[same], columns[same]


def _of_people(people: PosePredictions, others: PosePredictions) -> Agreement:
    """Compare people, in any order; those at the lowest score may have been cut off in one."""
    distances = _distances(people.keypoints, others.keypoints)
    scores = (people.scores[:, None].double() - others.scores.double()).abs()
    same = (distances <= DISTANCE_PX) & (scores <= SCORE)
    # Equal people first; of the others, those that are nearest to each other.
    costs = torch.where(same, 0, 1 + distances / max(_most(distances), 1e-12))
    rows, columns = _assigned(costs)
    largest = _most(distances[rows, columns]), _most(scores[rows, columns])
    paired = same[rows, columns]
    rows, columns = rows[paired], columns[paired]
    alone_in = []
    for own, taken in ((people.scores, rows), (others.scores, columns)):
        alone = torch.ones(len(own), dtype=torch.bool)
        alone[taken] = False
        lowest = float(own.min()) if len(own) else 0.0
        cut_off = own <= lowest + SCORE if len(people) == len(others) else own < 0
        alone_in.append(int((alone & ~cut_off).sum()))
    return Agreement({}, {}, len(people), max(alone_in), *largest)


def _assigned(costs: Tensor) -> tuple[Tensor, Tensor]:
    """Return the rows and columns of the cheapest assignment of costs (N, M)."""
    from scipy.optimize import linear_sum_assignment  # slow to import

    rows, columns = linear_sum_assignment(costs.numpy())
    return torch.from_numpy(rows), torch.from_numpy(columns)


def _distances(people: Tensor, others: Tensor) -> Tensor:
    """Return the largest distance (N, M) along an axis of (N, K, 2) and (M, K, 2) keypoints."""
    a, b = people.double().flatten(1), others.double().flatten(1)
    return torch.cdist(a, b, p=torch.inf)
