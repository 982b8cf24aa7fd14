"""One batch is decoded while the network computes the next: in order, and errors come once."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from posebench.engine.overlap import overlapped, predict_batches
from posebench.structures import Inference, Resize


def test_a_job_is_finished_beside_the_next_and_in_order() -> None:
    second_begun = threading.Event()
    main = threading.get_ident()

    def jobs() -> Iterator[int]:
        yield 0
        second_begun.set()
        yield from (1, 2, 3)

    def finish(job: int) -> tuple[int, bool]:
        beside = second_begun.wait(10)  # of the first job too: it does not hold up the second
        return 10 * job, beside and threading.get_ident() != main

    assert list(overlapped(jobs(), finish)) == [(0, True), (10, True), (20, True), (30, True)]


def test_an_error_of_a_job_comes_after_the_results_before_it() -> None:
    def jobs() -> Iterator[int]:
        yield from (1, 2)
        raise ValueError("the third")

    results = overlapped(jobs(), lambda job: -job)
    assert [next(results), next(results)] == [-1, -2]
    with pytest.raises(ValueError, match="the third"):
        next(results)
    assert list(results) == []


def test_an_error_in_finishing_comes_once() -> None:
    def finish(job: int) -> int:
        if job == 1:
            raise ValueError("in the thread")
        return job

    results = overlapped(iter(range(5)), finish)
    assert next(results) == 0
    with pytest.raises(ValueError, match="in the thread"):
        next(results)
    assert list(results) == []


def test_the_caller_works_outside_of_the_context() -> None:
    main = threading.get_ident()
    inside: set[int] = set()  # threads

    @contextmanager
    def context() -> Iterator[None]:
        inside.add(threading.get_ident())
        yield
        inside.remove(threading.get_ident())

    def undecoded(samples: list[int], _: object) -> list[int]:
        assert main in inside
        return samples

    def decoded(views: list[int]) -> list[int]:
        assert threading.get_ident() in inside
        return views

    model: Any = SimpleNamespace(device=torch.device("cuda"), undecoded=undecoded, decoded=decoded)
    batches: Any = [[1, 2], [3], [4]]
    results = []
    for people in predict_batches(model, batches, Inference(Resize(64)), context):
        assert main not in inside  # or the caller's own networks would compute in it too
        results.append(people)
    assert results == batches
