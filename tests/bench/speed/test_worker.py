"""A worker answers, and says how it ended if it does not."""

from __future__ import annotations

import signal
from typing import Any

import pytest

from posebench.bench.speed.worker import Worker, WorkerFailed, failure_message, serve
from tests.bench.speed.fakes import Echo


def test_a_worker_answers_until_it_is_closed() -> None:
    worker = Worker(Echo, "hello")
    assert worker.ask("say", "there") == "hello there"
    assert worker.ask("say", "again") == "hello again"
    worker.close()
    assert worker.process.exitcode == 0
    with pytest.raises(WorkerFailed):
        worker.ask("say")


@pytest.mark.parametrize(
    ("method", "arguments", "message"),
    [
        ("kill", (), "killed; the system may have run out of memory"),
        ("crash", (), "SIGSEGV"),
        ("end", (7,), "code 7"),
        ("forget", (), "out of memory"),
        ("stumble", (), "KeyError: 'surprise'"),
    ],
)
def test_a_worker_that_fails_says_how(
    method: str, arguments: tuple[int, ...], message: str
) -> None:
    worker = Worker(Echo, "hello")
    with pytest.raises(WorkerFailed, match=message):
        worker.ask(method, *arguments)
    with pytest.raises(WorkerFailed):
        worker.ask("say")
    worker.close()


def test_a_worker_that_cannot_be_made_says_why() -> None:
    worker = Worker(Echo, "unmade")
    with pytest.raises(WorkerFailed, match="it cannot be made"):
        worker.ask("say")
    worker.close()


def test_a_worker_that_never_answers_is_ended() -> None:
    worker = Worker(Echo, "hello")
    assert worker.ask("say") == "hello"
    worker.timeout_s = 0.01
    with pytest.raises(WorkerFailed, match="no answer"):
        worker.ask("sleep")
    worker.process.join()
    assert worker.process.exitcode != 0


def test_a_worker_whose_parent_is_gone_ends_in_silence() -> None:
    class Gone:
        def recv(self) -> object:
            raise ConnectionResetError

        def send(self, answer: object) -> None:
            if answer != (True, None):  # the first is still read
                raise BrokenPipeError

    connection: Any = Gone()
    before = signal.getsignal(signal.SIGINT)
    try:
        serve(connection, Echo, "hello")
        serve(connection, Echo, "unmade")
    finally:
        signal.signal(signal.SIGINT, before)


def test_two_workers_live_in_processes_of_their_own() -> None:
    workers = [Worker(Echo, name) for name in ("a", "b")]
    with pytest.raises(WorkerFailed):
        workers[0].ask("kill")
    assert workers[1].ask("say") == "b"
    for worker in workers:
        worker.close()


def test_a_lack_of_memory_is_called_so_wherever_it_comes_from() -> None:
    cpu = RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried")
    gpu = type("OutOfMemoryError", (RuntimeError,), {})("CUDA out of memory. Tried to allocate")
    for error in (cpu, gpu, MemoryError()):
        assert failure_message(error).startswith("out of memory")
    assert failure_message(ValueError("it has\ntwo lines")) == "it has two lines"
