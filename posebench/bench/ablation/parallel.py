"""Runs tasks one after another, or in several processes."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from contextlib import contextmanager
from typing import Protocol

from posebench.bench.ablation.config import StudyConfig
from posebench.bench.ablation.tasks import Task, run_task
from posebench.engine import Interrupted, interruptible
from posebench.engine.allocator import keep_freed_memory
from posebench.engine.callbacks import Callback, NullCallback
from posebench.engine.runs import RunLocked
from posebench.errors import PosebenchError

_POLL_S = 2.0  # pause while other processes run all the remaining tasks


class Watcher(Protocol):
    """Is called while a study runs, e.g. to show its progress."""

    def on_measure(self) -> None: ...
    def on_plan(self, config: StudyConfig, tasks: Sequence[Task]) -> None: ...
    def on_task_start(self, task: Task) -> Callback: ...
    def on_task_end(self, task: Task, error: str) -> None: ...


class NullWatcher:
    """A watcher that does nothing."""

    def on_measure(self) -> None: ...
    def on_plan(self, config: StudyConfig, tasks: Sequence[Task]) -> None: ...

    def on_task_start(self, task: Task) -> Callback:
        return NullCallback()

    def on_task_end(self, task: Task, error: str) -> None: ...


def run_tasks(
    tasks: Sequence[Task],
    jobs: int = 1,
    address: str | None = None,
    watcher: Watcher | None = None,
) -> dict[Task, str]:
    """Run the tasks that are not done yet.

    Args:
        tasks: the tasks of a study.
        jobs: number of tasks that run at the same time.
        address: of a Ray cluster that runs them; None: this machine.
        watcher: is called when a task starts and ends.

    Returns:
        The tasks that failed, with the reason.

    Raises:
        Interrupted: the user stopped it.
        UsageError: Ray is not installed.
    """
    watcher = watcher or NullWatcher()
    left = [task for task in tasks if not task.done]
    if address is not None:
        from posebench.bench.ablation.cluster import run_on_cluster

        return run_on_cluster(left, address, watcher)
    if jobs > 1:
        return _run_in_processes(left, jobs, watcher)
    return _run_here(left, watcher)


def _run_here(left: list[Task], watcher: Watcher) -> dict[Task, str]:
    failed: dict[Task, str] = {}
    locked = 0  # number of successive tasks that other processes are running
    while left:
        task = left.pop(0)
        callback = watcher.on_task_start(task)
        try:
            run_task(task, callback)
        except RunLocked:
            left.append(task)  # try the other tasks first
            locked += 1
            if locked >= len(left):
                time.sleep(_POLL_S)
                locked = 0
            continue
        except Interrupted as error:
            raise _stopped() from error
        except PosebenchError as error:
            failed[task] = str(error)
        watcher.on_task_end(task, failed.get(task, ""))
    return failed


def _stopped() -> Interrupted:
    return Interrupted("Stopped; repeat the command to continue.")


def run_when_unlocked(task: Task) -> None:
    """Run a task; if another process is running it, wait for that process first."""
    while True:
        try:
            run_task(task)
        except RunLocked:
            time.sleep(_POLL_S)
        else:
            return


def failure_reason(error: BaseException) -> str:
    """Return why a task failed, in one sentence."""
    if isinstance(error, PosebenchError):
        return str(error)
    return f"{type(error).__name__}: {error}"


# ------------------------------------------------------------------------------------- processes


def _begin() -> None:
    """Ignore signals, which a training handles: between trainings the parent decides."""
    keep_freed_memory()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


@contextmanager
def _thread_limit(count: int) -> Iterator[None]:
    """Limit the threads of processes that are started in this context; 0: no limit."""
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


def _run_in_processes(left: list[Task], jobs: int, watcher: Watcher) -> dict[Task, str]:
    failed: dict[Task, str] = {}
    # A forked process would inherit locks that this process's other threads hold.
    context = multiprocessing.get_context("spawn")
    threads = left[0].threads if left else 0
    with (
        _thread_limit(threads),
        interruptible() as stop,
        ProcessPoolExecutor(min(jobs, max(len(left), 1)), context, _begin) as pool,
    ):
        futures: dict[Future[None], Task] = {
            pool.submit(run_when_unlocked, task): task for task in left
        }
        waiting = set(futures)
        while waiting:
            finished, waiting = wait(waiting, timeout=0.5, return_when=FIRST_COMPLETED)
            for future in finished:
                error = None if future.cancelled() else future.exception()
                if isinstance(error, Interrupted):
                    stop.set()
                elif error is not None:
                    failed[futures[future]] = failure_reason(error)
                if not future.cancelled() and not isinstance(error, Interrupted):
                    watcher.on_task_end(futures[future], failed.get(futures[future], ""))
            if stop.is_set():
                for future in waiting:
                    future.cancel()
                # Ctrl-C in a terminal reaches the workers as well; a signal to this process does
                # not.
                for process in multiprocessing.active_children():
                    process.terminate()
        stopped = stop.is_set()
    if stopped:
        raise _stopped()
    return failed
