"""People of many batches; on a GPU, one is decoded while the network computes the next."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager
from typing import Any, TypeVar

import torch

from posebench.models import PoseModel
from posebench.models.base import Undecoded
from posebench.structures import Inference, PosePredictions, Sample

T = TypeVar("T")
R = TypeVar("R")


def predict_batches(
    model: PoseModel,
    batches: Iterable[Sequence[Sample]],
    inference: Inference,
    context: Callable[[], AbstractContextManager[Any]],
) -> Iterator[list[PosePredictions]]:
    """Yield the people of each batch of samples, in order.

    On a GPU decoding waits for the network, and part of it computes on the CPU: it has a thread of
    its own, so that the GPU has the next batch to work on meanwhile, and a stream of its own, so
    that it does not wait for that batch. On a CPU a thread would take its cores from the network.

    Args:
        model: on its device.
        batches: of samples; while one is decoded the next is taken.
        inference: the test settings.
        context: returns the context in which network and decoding compute.
    """
    if model.device.type == "cuda":
        yield from _overlapped_batches(model, batches, inference, context)
        return
    for samples in batches:
        with context():
            predictions = model.predict(samples, inference)
        yield predictions


def _overlapped_batches(
    model: PoseModel,
    batches: Iterable[Sequence[Sample]],
    inference: Inference,
    context: Callable[[], AbstractContextManager[Any]],
) -> Iterator[list[PosePredictions]]:
    """Yield what `predict_batches` does, on a GPU."""
    # Decoding has few small kernels, which the network's should let pass.
    beside = torch.cuda.Stream(model.device, priority=-1)  # type: ignore[no-untyped-call]

    def computed() -> Iterator[tuple[list[Undecoded], torch.cuda.Event]]:
        for samples in batches:
            with context():
                outputs = list(model.undecoded(samples, inference))
            is_computed = torch.cuda.current_stream(model.device).record_event()
            yield outputs, is_computed  # outside: the caller's own work is not in the context

    def decoded(job: tuple[list[Undecoded], torch.cuda.Event]) -> list[PosePredictions]:
        outputs, is_computed = job
        with context(), torch.cuda.stream(beside):
            beside.wait_event(is_computed)
            # People are on the CPU in the end, so that Python has waited for all of this stream's
            # work when the outputs' memory is given back for the network's.
            return model.decoded(outputs)

    yield from overlapped(computed(), decoded)


def overlapped(jobs: Iterable[T], finish: Callable[[T], R]) -> Iterator[R]:
    """Yield what `finish` returns for each job, in order; it runs in a thread beside the next job.

    An error of a job is raised after the results of those before it.
    """
    remaining = iter(jobs)
    error: Exception | None = None
    with ThreadPoolExecutor(1, thread_name_prefix="decode") as pool:
        last: Future[R] | None = None
        while error is None:
            try:
                job = next(remaining)
            except StopIteration:
                break
            except Exception as own:
                error = own
                break
            following = pool.submit(finish, job)
            if last:
                yield last.result()
            last = following
        if last:
            yield last.result()
    if error:
        raise error
