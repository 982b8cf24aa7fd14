"""One batch is decoded while the network computes the next: in order, and errors come once."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from posebench.engine.overlap import overlapped


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
