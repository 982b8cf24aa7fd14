"""People of many batches; on a GPU, one is decoded while the network computes the next."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager
from typing import Any, TypeVar

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
    its own, so that the GPU has the next batch to work on meanwhile. On a CPU a thread would take
    its cores from the network.

    Args:
        model: on its device.
        batches: of samples; while one is decoded the next is taken.
        inference: the test settings.
        context: returns the context in which network and decoding compute.
    """

    def computed() -> Iterator[list[Undecoded]]:
        for samples in batches:
            with context():
                outputs = list(model.undecoded(samples, inference))
            yield outputs  # outside: the caller's own work is not in the context

    def decoded(views: list[Undecoded]) -> list[PosePredictions]:
        with context():
            return model.decoded(views)

    if model.device.type == "cuda":
        yield from overlapped(computed(), decoded)
        return
    for samples in batches:
        with context():
            predictions = model.predict(samples, inference)
        yield predictions


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
