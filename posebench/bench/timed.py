"""One model, ready to be timed: what a worker's process owns."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from posebench.bench.clock import Clock, clock_for
from posebench.bench.flops import audit
from posebench.bench.inputs import crowd, fixed_batch, moved, resized, sample_of
from posebench.bench.memory import growth
from posebench.bench.subject import (
    DECODE,
    IMAGE,
    NETWORK,
    PREPROCESS,
    TRANSFER,
    Case,
    Facts,
    Seconds,
    Subject,
)
from posebench.data.image_files import read_image
from posebench.layers.folding import folded
from posebench.models import RECIPES, PoseModel, profile_of
from posebench.structures import COCO, Batch, Poses

_TYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}

_WARM_UP_SIDE = 128
_MOST_PASSES = 200  # of a turn


class TimedModel:
    """Builds a model with random weights and times its passes."""

    def __init__(self, subject: Subject, clock: Callable[[torch.device], Clock] = clock_for):
        if subject.threads:
            torch.set_num_threads(subject.threads)
        torch.manual_seed(0)
        # Numbers next to zero, of which random weights make many, cost a CPU a hundred times more.
        torch.set_flush_denormal(True)
        self.subject, self.recipe = subject, RECIPES[subject.recipe]
        self.profile = profile_of(self.recipe.config)
        self.device = torch.device(subject.device)
        if self.device.type == "cuda":
            torch.cuda.set_device(self.device)  # whose stream the clock's events are in
        self.clock = clock(self.device)
        skeleton = self.recipe.skeleton or COCO
        model: PoseModel = self.recipe.build(skeleton).eval()
        _calibrate(model)
        self.dtype = _TYPES[subject.precision]
        layout = torch.channels_last if subject.channels_last else torch.contiguous_format
        self.model: PoseModel = folded(model).to(self.dtype).to(self.device)
        self.model.to(memory_format=layout)
        self.network: Callable[..., Any] | None = None
        if subject.compiled:
            self.network = torch.compile(self.model)
        self.images = [Path(path) for path in subject.pictures]
        self.shown = [self._shown(case) for case in subject.cases]
        self.lasted = [0.0] * len(subject.cases)

    def prepare(self, case: int) -> Facts:
        """Warm up and return what the case costs beside time."""
        shown = self.shown[case]
        with self._computing():
            # Compiles loops, so that their compiler's memory is not the pass's.
            small = (_WARM_UP_SIDE, _WARM_UP_SIDE)
            batch = fixed_batch(small, self.subject.batch_size, self.model.skeleton, 1)
            self._network(self._ready(batch), self.profile.given_people(self.model, batch))
        rise = growth(self.device, lambda: self._timed(case))
        weights = [*self.model.parameters(), *self.model.buffers()]
        size = (shown.batch.images.shape[-2], shown.batch.images.shape[-1])
        people = self.subject.cases[case].people * len(shown.batch)
        costs = audit(self.recipe, size, batch=len(shown.batch), people=people)
        return Facts(
            size=size,
            parameters=costs.executed.parameters,
            weight_bytes=sum(tensor.numel() * tensor.element_size() for tensor in weights),
            activation_bytes=rise,
            macs=costs.executed.macs,
            flops=costs.executed.flops,
            flops_folded=costs.flops_folded,
            macs_as_written=costs.macs_as_written,
            decoded=shown.decoded,
        )

    def turn(self, case: int, seconds: float) -> list[Seconds]:
        """Return the stages of each pass of a turn that takes about so long: one pass at least."""
        if self.lasted[case] < seconds / 4:
            self._timed(case)  # others had the caches meanwhile
        passes: list[Seconds] = []
        end = time.perf_counter() + seconds
        while not passes or (time.perf_counter() < end and len(passes) < _MOST_PASSES):
            passes.append(self._timed(case))
        return passes

    def _timed(self, case: int) -> Seconds:
        start = time.perf_counter()
        with self._computing():
            stages = self._ways(case) if self.subject.alternatives else self._pass(case)
        self.lasted[case] = time.perf_counter() - start
        return stages

    def _pass(self, case: int) -> Seconds:
        clock, shown = self.clock, self.shown[case]
        batch = shown.batch
        clock.start()
        if self.subject.protocol == "end-to-end":
            pictures = [read_image(path) for path in self._pictures()]
            clock.mark(IMAGE)
            nobody = Poses.empty(len(self.model.skeleton))
            batch = resized([sample_of(p, nobody) for p in pictures], self.recipe.inference.resize)
            clock.mark(PREPROCESS)
            batch = self._ready(batch)
            clock.mark(TRANSFER)
        self._network(batch, shown.people, clock.mark)
        if self._decodes():
            self.model.decode(shown.outputs, batch.geometry)
            clock.mark(DECODE)
        return clock.stop()

    def _network(
        self, batch: Batch, people: Tensor | None, mark: Callable[[str], None] = lambda stage: None
    ) -> None:
        if self.network is not None:
            self.network(batch.images, batch.padding, people)
            mark(f"{NETWORK}compiled")
            return
        for stage, _ in self.profile.stages(self.model, batch.images, batch.padding, people):
            mark(NETWORK + stage)

    def _ways(self, case: int) -> Seconds:
        found: Seconds = {}
        for name, way in self.shown[case].ways.items():
            self.clock.start()
            way()
            self.clock.mark(name)
            found |= self.clock.stop()
        return found

    def _decodes(self) -> bool:
        if self.subject.protocol == "paper":
            timing = self.profile.paper_timing
            return timing is not None and timing.decoded
        return self.subject.protocol == "end-to-end"

    def _shown(self, case: Case) -> _Shown:
        skeleton = self.model.skeleton
        if case.size:
            batch = fixed_batch(case.size, self.subject.batch_size, skeleton, case.people)
        else:
            poses = crowd(case.people, skeleton)
            samples = [sample_of(read_image(path), poses) for path in self._pictures()]
            batch = resized(samples, self.recipe.inference.resize)
        with torch.inference_mode():
            people = self.profile.given_people(self.model, batch)
            outputs = self.profile.ideal_outputs(self.model, batch)
            decoded = self.model.decode(outputs, batch.geometry)
        ready = self._ready(batch)
        ways = {}
        if self.subject.alternatives:
            assert self.profile.alternatives is not None  # the command asks such models alone
            with self._computing():
                ways = dict(self.profile.alternatives(self.model, ready))
        return _Shown(
            batch=ready,
            people=None if people is None else people.to(self.device),
            outputs=moved(outputs, self.device),
            decoded=len(decoded[0]),
            ways=ways,
        )

    def _pictures(self) -> list[Path]:
        return [self.images[i % len(self.images)] for i in range(self.subject.batch_size)]

    def _ready(self, batch: Batch) -> Batch:
        return replace(batch, images=batch.images.to(self.dtype)).to(self.device)

    @contextmanager
    def _computing(self) -> Iterator[None]:
        low = self.dtype != torch.float32
        with (
            torch.inference_mode(),
            torch.autocast(self.device.type, self.dtype if low else None, enabled=low),
        ):
            yield


@dataclass(frozen=True)
class _Shown:
    """What a case puts before the model, on its device."""

    batch: Batch
    people: Tensor | None  # given to the network
    outputs: Any  # of a perfect network, for decoding
    decoded: int  # people whom decoding finds in the first image's
    ways: dict[str, Callable[[], Any]]


def _calibrate(model: PoseModel) -> None:
    """Give batch norms statistics, or the maps of random weights grow beyond all numbers."""
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = 1.0
        norm.train()
    with torch.no_grad():
        model.features(torch.randn(2, 3, _WARM_UP_SIDE, _WARM_UP_SIDE))
    model.eval()
