"""Does the tasks of a study: here one after the other, in processes, or on a Ray cluster."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from contextlib import contextmanager
from typing import Any, Protocol

from posebench.bench.ablate import Task, work
from posebench.engine import Interrupted, interruptible
from posebench.engine.callbacks import Callback, NullCallback
from posebench.engine.runs import RunLocked
from posebench.errors import PosebenchError, UsageError

_BUSY_S = 2.0  # between looks at what another process works at


class Watcher(Protocol):
    """Whoever watches a study: the command line, or nobody."""

    def began(self, task: Task) -> Callback: ...
    def ended(self, task: Task, error: str) -> None: ...


class Nobody(NullCallback):
    """A watcher that says nothing."""

    def began(self, task: Task) -> Callback:
        return NullCallback()

    def ended(self, task: Task, error: str) -> None: ...


def run(
    todo: Sequence[Task], jobs: int = 1, address: str | None = None, watcher: Watcher | None = None
) -> dict[Task, str]:
    """Do tasks, here one after the other, in processes, or on the machines of a Ray cluster.

    Args:
        jobs: how many at a time.
        address: of the cluster; None: this machine.

    Returns:
        What could not be done, and why.

    Raises:
        Interrupted: the user stopped it.
        UsageError: Ray is not installed.
    """
    watcher = watcher or Nobody()
    left = [task for task in todo if not task.done]
    if address is not None:
        return _over_machines(left, address, watcher)
    if jobs > 1:
        return _in_processes(left, jobs, watcher)
    return _here(left, watcher)


def _here(left: list[Task], watcher: Watcher) -> dict[Task, str]:
    failed: dict[Task, str] = {}
    busy = 0
    while left:
        task = left.pop(0)
        callback = watcher.began(task)
        try:
            work(task, callback)
        except RunLocked:
            left.append(task)  # what else there is comes first
            busy += 1
            if busy >= len(left):
                time.sleep(_BUSY_S)
                busy = 0
            continue
        except Interrupted as error:
            raise _stopped() from error
        except PosebenchError as error:
            failed[task] = str(error)
        watcher.ended(task, failed.get(task, ""))
    return failed


def _stopped() -> Interrupted:
    return Interrupted("Stopped; the same command continues where it was.")


def _patiently(task: Task) -> None:
    """Do a task, and wait for whoever works at it."""
    while True:
        try:
            work(task)
        except RunLocked:
            time.sleep(_BUSY_S)
        else:
            return


def _quietly() -> None:
    """Leave signals to a training, which ends in order; between them the parent decides."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


@contextmanager
def _threads(count: int) -> Iterator[None]:
    """Have processes that are begun within compute on so many threads."""
    names = ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS")
    before = {name: os.environ.get(name) for name in names}
    if count:
        os.environ.update(dict.fromkeys(names, str(count)))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _in_processes(left: list[Task], jobs: int, watcher: Watcher) -> dict[Task, str]:
    failed: dict[Task, str] = {}
    context = multiprocessing.get_context("spawn")  # a copy would share the locks of threads
    threads = left[0].threads if left else 0
    with (
        _threads(threads),
        interruptible() as stop,
        ProcessPoolExecutor(min(jobs, max(len(left), 1)), context, _quietly) as pool,
    ):
        futures: dict[Future[None], Task] = {pool.submit(_patiently, task): task for task in left}
        waiting = set(futures)
        while waiting:
            finished, waiting = wait(waiting, timeout=0.5, return_when=FIRST_COMPLETED)
            for future in finished:
                error = None if future.cancelled() else future.exception()
                if isinstance(error, Interrupted):
                    stop.set()
                elif error is not None:
                    failed[futures[future]] = _reason(error)
                if not future.cancelled() and not isinstance(error, Interrupted):
                    watcher.ended(futures[future], failed.get(futures[future], ""))
            if stop.is_set():
                for future in waiting:
                    future.cancel()
                # Ctrl-C in a terminal has reached them already; anything else has not.
                for process in multiprocessing.active_children():
                    process.terminate()
        stopped = stop.is_set()
    if stopped:
        raise _stopped()
    return failed


def _reason(error: BaseException) -> str:
    if isinstance(error, PosebenchError):
        return str(error)
    return f"{type(error).__name__}: {error}"


def _over_machines(left: list[Task], address: str, watcher: Watcher) -> dict[Task, str]:
    try:
        import ray
    except ImportError:
        raise UsageError(
            "Work is shared between machines by Ray, which is not installed here: "
            "pip install 'posebench[ray]', or leave out --ray-address."
        ) from None
    ray.init(address=address)
    failed: dict[Task, str] = {}
    try:
        needs: dict[str, Any] = {"num_cpus": max(left[0].threads, 1) if left else 1}
        if left and left[0].setup.device.startswith("cuda"):
            needs["num_gpus"] = 1
        remote = ray.remote(**needs)(_patiently)
        running = {remote.remote(task): task for task in left}
        while running:
            [reference, *_], _ = ray.wait(list(running))
            task = running.pop(reference)
            try:
                ray.get(reference)
            except Exception as error:  # Ray wraps whatever the other machine raised
                failed[task] = _reason(getattr(error, "cause", None) or error)
            watcher.ended(task, failed.get(task, ""))
    finally:
        ray.shutdown()
    return failed
