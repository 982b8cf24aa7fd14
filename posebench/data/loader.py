"""Loading in the background: augmented passes for training, samples for testing.

What is loaded depends on (seed, epoch, index) alone, so a resumed run sees what it would have seen.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch.utils.data import DataLoader, Dataset

from posebench.data.base import PoseDataset
from posebench.data.transforms import augment_sample, image_seed
from posebench.errors import DataError
from posebench.preprocess import NetworkInput, collate
from posebench.structures import Augmentation, Batch, Sample

# Training sets that fit are decoded or drawn once: for small images that costs as much as half of
# the network's work on them.
KEPT_BYTES = 2**30  # over all processes


@dataclass(frozen=True)
class Unreadable:
    """An image that could not be loaded, and why."""

    index: int
    message: str


@dataclass(frozen=True)
class Pass:
    """The images of one forward pass."""

    batch: Batch | None  # None: none of its images could be read
    unreadable: list[Unreadable]


@dataclass(frozen=True)
class Plan:
    """Which images one of the processes of a run draws when, over the whole run."""

    indices: Sequence[int]
    images_per_pass: int  # of one process
    seed: int
    epochs: int
    rank: int = 0
    world: int = 1

    @property
    def passes_per_epoch(self) -> int:
        return -(-len(self.indices) // (self.images_per_pass * self.world))

    def passes(self, start: int = 0) -> Iterator[list[tuple[int, int]]]:
        """Yield (epoch, index) of the images of every pass from number `start` on."""
        joint = self.images_per_pass * self.world
        for epoch in range(start // self.passes_per_epoch, self.epochs):
            order = np.random.default_rng([self.seed, epoch]).permutation(len(self.indices))
            first = max(start - epoch * self.passes_per_epoch, 0)
            for number in range(first, self.passes_per_epoch):
                chosen = order[number * joint :][:joint]
                # In the last pass of an epoch a process may be left without; it takes another's.
                own = chosen[self.rank :: self.world]
                chosen = own if len(own) else chosen[:1]
                yield [(epoch, self.indices[i]) for i in chosen.tolist()]


def training_passes(
    dataset: PoseDataset, augment: Augmentation, plan: Plan, *, start: int = 0, workers: int = 0
) -> Iterator[Pass]:
    """Yield the passes of a run from number `start` on, loaded by `workers` processes."""
    loader: DataLoader[Any] = DataLoader(
        _Training(dataset, augment, plan, KEPT_BYTES // max(workers, 1)),
        batch_sampler=_Passes(plan, start),
        num_workers=workers,
        collate_fn=_collate_pass,
        worker_init_fn=_quiet_worker if workers else None,
    )
    return iter(loader)


def test_samples(
    dataset: PoseDataset, indices: Sequence[int], *, workers: int = 0
) -> Iterator[Sample | Unreadable]:
    """Yield these samples of a dataset in order, loaded by `workers` processes."""
    loader: DataLoader[Sample | Unreadable] = DataLoader(
        _Testing(dataset),
        sampler=indices,
        batch_size=None,
        num_workers=workers,
        worker_init_fn=_quiet_worker if workers else None,
    )
    return iter(loader)


class _Passes:
    """A batch sampler over (epoch, index)."""

    def __init__(self, plan: Plan, start: int) -> None:
        self.plan, self.start = plan, start

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        return self.plan.passes(self.start)

    def __len__(self) -> int:
        return self.plan.passes_per_epoch * self.plan.epochs - self.start


class _Training(Dataset[NetworkInput | Unreadable]):
    def __init__(
        self, dataset: PoseDataset, augment: Augmentation, plan: Plan, kept_bytes: int
    ) -> None:
        self.dataset, self.augment, self.plan, self.kept_bytes = dataset, augment, plan, kept_bytes
        self._kept: dict[int, Sample] = {}

    def __getitem__(self, key: tuple[int, int]) -> NetworkInput | Unreadable:
        epoch, index = key
        try:
            sample = self._load(index)
        except DataError as error:
            return Unreadable(index, str(error))
        seed = image_seed(self.plan.seed, epoch, sample.image_id)
        return augment_sample(sample, self.augment, self.dataset.skeleton, seed)

    def _load(self, index: int) -> Sample:
        if index in self._kept:
            return self._kept[index]
        sample = self.dataset.load(index)
        # A set of which only a part would fit is not kept at all: its gain would not be worth
        # the memory.
        if self.plan.epochs > 1 and sample.image.nbytes * len(self.plan.indices) < self.kept_bytes:
            self._kept[index] = sample
        return sample


class _Testing(Dataset[Sample | Unreadable]):
    def __init__(self, dataset: PoseDataset) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Sample | Unreadable:
        try:
            return self.dataset.load(index)
        except DataError as error:
            return Unreadable(index, str(error))


def _collate_pass(items: list[NetworkInput | Unreadable]) -> Pass:
    inputs = [item for item in items if isinstance(item, NetworkInput)]
    unreadable = [item for item in items if isinstance(item, Unreadable)]
    return Pass(collate(inputs) if inputs else None, unreadable)


def _quiet_worker(worker: int) -> None:
    # Ctrl-C reaches the whole process group; the main process decides when workers end. A
    # termination signal must still end them, or they would outlive a main process that has failed.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
