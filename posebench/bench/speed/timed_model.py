"""A model that is ready to be timed, in its own process."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from posebench.bench.flops import audit
from posebench.bench.speed.clock import Clock, clock_for, passes_within
from posebench.bench.speed.graphs import GraphedNetwork
from posebench.bench.speed.inputs import crowd, fixed_batch, resized, sample_of
from posebench.bench.speed.memory import peak_growth
from posebench.bench.speed.options import (
    DECODE,
    IMAGE,
    NETWORK,
    PREPROCESS,
    TRANSFER,
    WEIGHTS_SEED,
    CaseStats,
    InputCase,
    Seconds,
    TimingJob,
)
from posebench.data.image_files import read_image
from posebench.engine import on_backend
from posebench.engine.checkpoint import Checkpoint, read_checkpoint
from posebench.exporting.checking import compare_batch
from posebench.layers.folding import folded
from posebench.layers.fused_conv import fused
from posebench.models import RECIPES, PoseModel, profile_of
from posebench.recipe import Recipe
from posebench.shipped import shipped_weights
from posebench.skeleton import COCO
from posebench.structures import Batch, Poses
from posebench.transfer import moved

_TYPES = {
    "fp32": torch.float32,
    "tf32": torch.float32,
    "bf16": torch.bfloat16,
    "fp16": torch.float16,
}

_CALIBRATION_SIDE = 128  # pixels


class TimedModel:
    """A model whose passes are timed, with random weights where none come with the package.

    Args:
        job: the recipe and how to time it.
        clock: returns the clock for a device.
    """

    def __init__(self, job: TimingJob, clock: Callable[[torch.device], Clock] = clock_for):
        options = job.options
        if options.threads:
            torch.set_num_threads(options.threads)
        torch.manual_seed(WEIGHTS_SEED)
        # Random weights produce many denormal numbers, with which a CPU is a hundred times slower.
        torch.set_flush_denormal(True)
        self.options, self.recipe = options, RECIPES[job.recipe]
        self.profile = profile_of(self.recipe.config)
        self.device = torch.device(options.device)
        if self.device.type == "cuda":
            torch.cuda.set_device(self.device)  # the clock records events in its current stream
            torch.backends.cudnn.allow_tf32 = options.precision == "tf32"
            torch.backends.cuda.matmul.allow_tf32 = options.precision == "tf32"
        self.clock = clock(self.device)
        skeleton = self.recipe.skeleton or COCO
        shipped = shipped_weights(job.recipe)
        if shipped:
            model = read_checkpoint(shipped).model()
        else:
            model = self.recipe.build(skeleton).eval()
            _calibrate(model)
        self.dtype = _TYPES[options.precision]
        layout = torch.channels_last if options.channels_last else torch.contiguous_format
        self.model: PoseModel = folded(model).to(self.dtype).to(self.device)
        self.model.to(memory_format=layout)
        if self.dtype == torch.float32 and self.device.type == "cpu" and not options.compiled:
            self.model = fused(self.model)
        self.network: Callable[..., Any] | None = None
        self.backend = job.backend
        if options.compiled:
            self.network = torch.compile(self.model, dynamic=False)
        elif options.cuda_graphs:
            self.network = GraphedNetwork(self.model)
        elif self.backend != "torch":
            self.network = network_on(model, self.recipe, self.backend)
        self.paths = [Path(path) for path in job.images]
        self.cases = [self._prepared(case) for case in job.cases]
        self.last_s = [0.0] * len(job.cases)  # duration of each case's last pass

    def prepare(self, case: int) -> CaseStats:
        """Warm up and return the facts about a case besides its times."""
        prepared = self.cases[case]
        # What compilers need in the first pass of a size, and what libraries keep from it, must not
        # count as the memory of a pass.
        self._timed(case)
        growth = peak_growth(self.device, lambda: self._timed(case))
        weights = [*self.model.parameters(), *self.model.buffers()]
        size = (prepared.batch.images.shape[-2], prepared.batch.images.shape[-1])
        people = prepared.people_per_image * len(prepared.batch)
        agreement = None
        if isinstance(self.network, PoseModel):
            with self._computing():
                agreement = compare_batch(self.model, self.network, prepared.batch)
        costs = audit(self.recipe, size, batch=len(prepared.batch), people=people)
        return CaseStats(
            size=size,
            parameters=costs.executed.parameters,
            weight_bytes=sum(tensor.numel() * tensor.element_size() for tensor in weights),
            activation_bytes=growth,
            macs=costs.executed.macs,
            flops=costs.executed.flops,
            flops_folded=costs.flops_folded,
            macs_as_written=costs.macs_as_written,
            decoded=prepared.decoded,
            agreement=str(agreement or ""),
            equal=agreement is None or agreement.equal,
        )

    def measure_for(self, case: int, seconds: float) -> list[Seconds]:
        """Time passes of a case for about some seconds, at least one, and return their stages."""
        if self.last_s[case] < seconds / 4:
            self._timed(case)  # refills the caches, which other models have used since
        return passes_within(seconds, lambda: self._timed(case))

    def _timed(self, case: int) -> Seconds:
        start = time.perf_counter()
        with self._computing():
            stages = self._alternatives(case) if self.options.alternatives else self._pass(case)
        self.last_s[case] = time.perf_counter() - start
        return stages

    def _pass(self, case: int) -> Seconds:
        clock, prepared = self.clock, self.cases[case]
        batch = prepared.batch
        clock.start()
        if self.options.protocol == "end-to-end":
            images = [read_image(path) for path in self._image_paths()]
            clock.mark(IMAGE)
            nobody = Poses.empty(len(self.model.skeleton))
            batch = resized(
                [sample_of(image, nobody) for image in images], self.recipe.inference.resize
            )
            clock.mark(PREPROCESS)
            batch = self._ready(batch)
            clock.mark(TRANSFER)
        self._network(batch, prepared.people, clock.mark)
        if self._decodes():
            self.model.decode(prepared.outputs, batch.geometry)
            clock.mark(DECODE)
        return clock.stop()

    def _network(
        self, batch: Batch, people: Tensor | None, mark: Callable[[str], None] = lambda stage: None
    ) -> None:
        if self.network is not None:
            self.network(batch.images, batch.padding, people)
            own = "graph" if self.options.cuda_graphs else "compiled"
            mark(f"{NETWORK}{own if self.backend == 'torch' else self.backend}")
            return
        for stage, _ in self.profile.stages(self.model, batch.images, batch.padding, people):
            mark(NETWORK + stage)

    def _alternatives(self, case: int) -> Seconds:
        seconds: Seconds = {}
        for name, compute in self.cases[case].alternatives.items():
            self.clock.start()
            compute()
            self.clock.mark(name)
            seconds |= self.clock.stop()
        return seconds

    def _decodes(self) -> bool:
        if self.options.protocol == "paper":
            timing = self.profile.paper_timing
            return timing is not None and timing.decoded
        return self.options.protocol == "end-to-end"

    def _prepared(self, case: InputCase) -> _PreparedCase:
        skeleton = self.model.skeleton
        if case.size:
            batch = fixed_batch(case.size, self.options.batch_size, skeleton, case.people)
        else:
            poses = crowd(case.people, skeleton)
            samples = [sample_of(read_image(path), poses) for path in self._image_paths()]
            batch = resized(samples, self.recipe.inference.resize)
        with torch.inference_mode():
            people = self.profile.given_people(self.model, batch)
            outputs = self.profile.ideal_outputs(self.model, batch)
            decoded = self.model.decode(outputs, batch.geometry)
        ready = self._ready(batch)
        alternatives = {}
        if self.options.alternatives:
            assert self.profile.alternatives is not None  # see `with_alternatives`
            with self._computing():
                alternatives = dict(self.profile.alternatives(self.model, ready))
        return _PreparedCase(
            people_per_image=case.people,
            batch=ready,
            people=people,
            outputs=moved(outputs, self.device),
            decoded=len(decoded[0]),
            alternatives=alternatives,
        )

    def _image_paths(self) -> list[Path]:
        return [self.paths[i % len(self.paths)] for i in range(self.options.batch_size)]

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
class _PreparedCase:
    """The inputs of a case, on the model's device."""

    people_per_image: int
    batch: Batch
    people: Tensor | None  # (M, 3) image, y, x, on the CPU: given to the network
    outputs: Any  # of an ideal network, for decoding
    decoded: int  # people decoded from the outputs of the first image
    alternatives: dict[str, Callable[[], Any]]


def network_on(model: PoseModel, recipe: Recipe, backend: str) -> PoseModel:
    """Return a network that a backend computes, of single views of the images.

    Raises:
        UnsupportedError: the backend is missing or cannot compute the network.
    """
    inference = replace(recipe.inference, flip=False, scales=(1.0,))
    single = replace(recipe, skeleton=model.skeleton, inference=inference)
    checkpoint = Checkpoint(Path(recipe.name), single, dict(model.state_dict()), {})
    return on_backend(checkpoint, backend).model()


def _calibrate(model: PoseModel) -> None:
    """Set the statistics of batch norms; without them activations of random weights overflow."""
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = 1.0
        norm.train()
    with torch.no_grad():
        model.features(torch.randn(2, 3, _CALIBRATION_SIDE, _CALIBRATION_SIDE))
    model.eval()
