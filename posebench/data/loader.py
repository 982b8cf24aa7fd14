"""Loading in the background: augmented micro-batches for training, samples for evaluation.

Augmented images are determined by (seed, epoch, index), so a resumed run trains on the same images
as an uninterrupted one.
"""

from __future__ import annotations

import signal
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from torch.utils.data import DataLoader, Dataset

from posebench.data.base import PoseDataset
from posebench.data.transforms import augment_sample, image_seed
from posebench.errors import DataError, Notice
from posebench.preprocess import NetworkInput, collate
from posebench.structures import Augmentation, Batch, Sample

# Training sets up to this size are decoded or generated only once: for small images, doing so anew
# in every epoch would take half as long as the network's forward and backward passes.
CACHE_BYTES = 2**30  # over all worker processes


@dataclass(frozen=True)
class Unreadable:
    """An image that could not be loaded, and why."""

    index: int
    message: str


@dataclass(frozen=True)
class MicroBatch:
    """The images of one forward and backward pass on one rank."""

    batch: Batch | None  # None if no image could be read
    unreadable: list[Unreadable]

    def pin_memory(self) -> MicroBatch:
        """Return it with the images in pinned memory; the loader calls it in a thread."""
        return replace(self, batch=self.batch and self.batch.pin_memory())


@dataclass(frozen=True)
class MicroBatchSampler:
    """Assigns the images of all epochs to the micro-batches of one rank.

    The order is determined by the fields, so a run can be resumed at any micro-batch.
    """

    indices: Sequence[int]
    micro_batch_size: int  # images per rank
    seed: int
    epochs: int
    rank: int = 0
    world_size: int = 1

    @property
    def per_epoch(self) -> int:
        """The number of micro-batches in an epoch."""
        return -(-len(self.indices) // (self.micro_batch_size * self.world_size))

    def batches(self, start: int = 0) -> Iterator[list[tuple[int, int]]]:
        """Yield (epoch, index) of the images of each micro-batch, from number `start` on."""
        joint = self.micro_batch_size * self.world_size
        for epoch in range(start // self.per_epoch, self.epochs):
            order = np.random.default_rng([self.seed, epoch]).permutation(len(self.indices))
            first = max(start - epoch * self.per_epoch, 0)
            for number in range(first, self.per_epoch):
                chosen = order[number * joint :][:joint]
                # The last micro-batch of an epoch may have fewer images than ranks: a rank without
                # any repeats the first.
                own = chosen[self.rank :: self.world_size]
                chosen = own if len(own) else chosen[:1]
                yield [(epoch, self.indices[i]) for i in chosen.tolist()]


def micro_batches(
    dataset: PoseDataset,
    augment: Augmentation,
    sampler: MicroBatchSampler,
    *,
    start: int = 0,
    workers: int = 0,
    pin: bool = False,
    targets: Callable[[Batch], Any] | None = None,
) -> Iterator[MicroBatch]:
    """Yield the micro-batches of a run from number `start` on, loaded by `workers` processes.

    Args:
        pin: put images into pinned memory, from which a GPU copies them meanwhile.
        targets: builds the `targets` of a batch, in the same processes; None: without targets.
    """
    loader: DataLoader[Any] = DataLoader(
        _AugmentedImages(dataset, augment, sampler, CACHE_BYTES // max(workers, 1)),
        batch_sampler=_From(sampler, start),
        num_workers=workers,
        collate_fn=partial(_collate, targets=targets),
        worker_init_fn=_start_worker if workers else None,
        pin_memory=pin,
    )
    return iter(loader)


def eval_samples(
    dataset: PoseDataset, indices: Sequence[int], *, workers: int = 0
) -> Iterator[Sample | Unreadable]:
    """Yield the samples at these indices, in order, loaded by `workers` processes."""
    loader: DataLoader[Sample | Unreadable] = DataLoader(
        _Images(dataset),
        sampler=indices,
        batch_size=None,
        num_workers=workers,
        worker_init_fn=_start_worker if workers else None,
    )
    return iter(loader)


class _From:
    """A sampler that starts at one of its micro-batches, in the form that `DataLoader` expects."""

    def __init__(self, sampler: MicroBatchSampler, start: int) -> None:
        self.sampler, self.start = sampler, start

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        return self.sampler.batches(self.start)

    def __len__(self) -> int:
        return self.sampler.per_epoch * self.sampler.epochs - self.start


class _AugmentedImages(Dataset[NetworkInput | Unreadable]):
    def __init__(
        self,
        dataset: PoseDataset,
        augment: Augmentation,
        sampler: MicroBatchSampler,
        cache_bytes: int,
    ) -> None:
        self.dataset, self.augment, self.sampler = dataset, augment, sampler
        self.cache_bytes = cache_bytes
        self._cache: dict[int, Sample] = {}

    def __getitem__(self, key: tuple[int, int]) -> NetworkInput | Unreadable:
        epoch, index = key
        try:
            sample = self._load(index)
        except DataError as error:
            return Unreadable(index, str(error))
        seed = image_seed(self.sampler.seed, epoch, sample.image_id)
        return augment_sample(sample, self.augment, self.dataset.skeleton, seed)

    def _load(self, index: int) -> Sample:
        if index in self._cache:
            return self._cache[index]
        sample = self.dataset.load(index)
        # A dataset that does not fit as a whole is not cached at all: caching a part of it would
        # cost more memory than the gain is worth.
        total_bytes = sample.image.nbytes * len(self.sampler.indices)
        if self.sampler.epochs > 1 and total_bytes < self.cache_bytes:
            self._cache[index] = sample
        return sample


class _Images(Dataset[Sample | Unreadable]):
    def __init__(self, dataset: PoseDataset) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Sample | Unreadable:
        try:
            return self.dataset.load(index)
        except DataError as error:
            return Unreadable(index, str(error))


def _collate(
    items: list[NetworkInput | Unreadable], targets: Callable[[Batch], Any] | None = None
) -> MicroBatch:
    inputs = [item for item in items if isinstance(item, NetworkInput)]
    unreadable = [item for item in items if isinstance(item, Unreadable)]
    if not inputs:
        return MicroBatch(None, unreadable)
    batch = collate(inputs)
    return MicroBatch(replace(batch, targets=targets(batch)) if targets else batch, unreadable)


def _start_worker(worker: int) -> None:
    # Ctrl-C reaches the whole process group, but the main process decides when workers end. Workers
    # still obey a termination signal, or they would outlive a main process that has failed.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if worker > 0:  # what is worth knowing of the images is said by one of them
        warnings.simplefilter("ignore", Notice)
