"""A process that owns one model and answers requests.

A model that runs out of memory or crashes its process does not affect the others, and its memory
can be measured separately.
"""

from __future__ import annotations

import multiprocessing
import signal
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from posebench.engine.allocator import keep_freed_memory
from posebench.errors import PosebenchError, UnsupportedError
from posebench.plugins import PLUGINS

TIMEOUT_S = 900.0  # of a request; compiling a network may take minutes
_EXIT_TIMEOUT_S = 5.0


class WorkerFailed(Exception):
    """A request failed, or the worker's process has ended; the message says why."""


def serve(
    connection: Connection, make: Callable[[Any], Any], job: Any, plugins: Sequence[Path] = ()
) -> None:
    """Make the object that serves requests, and answer them until the connection is closed.

    A request is a method's name and its arguments. An answer is (True, value) or (False, message);
    after the latter the process ends. Files of plugins are loaded first.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles Ctrl-C
    keep_freed_memory()  # as the commands that compute
    try:
        for file in plugins:
            PLUGINS.load_file(file)
        served = make(job)
        connection.send((True, None))
        while True:
            method, arguments = connection.recv()
            connection.send((True, getattr(served, method)(*arguments)))
    except (EOFError, ConnectionError):
        return  # the parent has ended, perhaps in the middle of an answer
    except Exception as error:
        with suppress(ConnectionError):
            connection.send((False, failure_message(error)))


def failure_message(error: Exception) -> str:
    """Return an error as one line; running out of memory reads the same on every device."""
    text = " ".join(str(error).split()) or type(error).__name__
    memory = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
    if memory or "allocate memory" in text:
        return f"out of memory: {text[:200]}"
    if isinstance(error, UnsupportedError):
        return f"unsupported: {text[:300]}"
    if isinstance(error, RuntimeError | ValueError | OSError | PosebenchError):
        return text[:300]
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__}: {text[:200]} ({frame.filename}:{frame.lineno})"


def _context(make: Callable[[Any], Any]) -> Any:
    """Return the multiprocessing context that starts workers.

    A fork of this process would inherit locks that its threads hold, and its GPU context. Workers
    are instead forked from a server that has only imported what they need, which is quick and
    shares the memory of the imports.
    """
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([make.__module__])
    return context


class Worker:
    """The parent's side of a worker process."""

    def __init__(self, make: Callable[[Any], Any], job: Any, timeout_s: float = TIMEOUT_S) -> None:
        self.timeout_s = timeout_s
        context = _context(make)
        self.connection, theirs = context.Pipe()
        self.process = context.Process(
            target=serve, args=(theirs, make, job, PLUGINS.files), daemon=True
        )
        self.process.start()
        theirs.close()
        self.made = False

    @property
    def processes(self) -> tuple[int, ...]:
        """The ids of its processes; empty: it has none."""
        process = getattr(self, "process", None)
        return () if process is None or process.pid is None else (process.pid,)

    def ask(self, method: str, *arguments: Any) -> Any:
        """Call a method of the object in the worker and return its result.

        Raises:
            WorkerFailed: the method raised, or the process has ended or does not answer in time.
        """
        if not self.made:
            self._answer()  # to `make`
            self.made = True
        try:
            self.connection.send((method, arguments))
        except OSError:
            raise WorkerFailed(self._end()) from None
        return self._answer()

    def _answer(self) -> Any:
        try:
            # `poll` also returns True once the other end has been closed.
            if not self.connection.poll(self.timeout_s):
                self.process.kill()
                raise WorkerFailed(f"no answer in {self.timeout_s:.0f} s")
            succeeded, value = self.connection.recv()
        except (EOFError, OSError):
            raise WorkerFailed(self._end()) from None
        if not succeeded:
            raise WorkerFailed(value)
        return value

    def _end(self) -> str:
        """Return how the process ended, as a message."""
        self.process.join(_EXIT_TIMEOUT_S)
        code = self.process.exitcode
        if code == -signal.SIGKILL:
            return "its process was killed; the system may have run out of memory"
        if code is not None and code < 0:
            return f"its process ended by {signal.Signals(-code).name}"
        return f"its process ended with code {code}"

    def close(self) -> None:
        """End the process; kill it if it is busy."""
        self.connection.close()
        self.process.join(_EXIT_TIMEOUT_S)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()
