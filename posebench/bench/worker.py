"""A process that owns one model and works when it is asked to.

A model that runs out of memory, or takes its process along when it falls, leaves the others alone;
and what it needs of memory is its own.
"""

from __future__ import annotations

import multiprocessing
import signal
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

# A network may be compiled for minutes before it answers.
PATIENCE_S = 900.0
_GOODBYE_S = 5.0


class WorkerFailed(Exception):
    """The worker could not do what it was asked; the sentence says why."""


def serve(connection: Connection, make: Callable[[Any], Any], subject: Any) -> None:
    """Make what is to be asked and answer until the other side hangs up.

    A request is the name of a method and its arguments; an answer is (True, value) or
    (False, sentence), after which the process ends.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    try:
        served = make(subject)
        connection.send((True, None))
        while True:
            method, arguments = connection.recv()
            connection.send((True, getattr(served, method)(*arguments)))
    except EOFError:
        return
    except BrokenPipeError:
        return
    except Exception as error:
        connection.send((False, sentence(error)))


def sentence(error: Exception) -> str:
    """Return in a line what went wrong; a lack of memory is called by one name everywhere."""
    text = " ".join(str(error).split()) or type(error).__name__
    short = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
    if short or "allocate memory" in text:
        return f"out of memory: {text[:200]}"
    if isinstance(error, RuntimeError | ValueError | OSError):
        return text[:300]
    place = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__}: {text[:200]} ({place.filename}:{place.lineno})"


def _context(make: Callable[[Any], Any]) -> Any:
    """Return how processes are begun.

    A copy of this process would share the locks of its threads and its GPU's context. A server that
    has only imported what workers need is copied instead: in no time, and its memory is shared.
    """
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([make.__module__])
    return context


class Worker:
    """The parent's end of a process."""

    def __init__(
        self, make: Callable[[Any], Any], subject: Any, patience_s: float = PATIENCE_S
    ) -> None:
        self.patience_s = patience_s
        context = _context(make)
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=serve, args=(theirs, make, subject), daemon=True)
        self.process.start()
        theirs.close()
        self.made = False

    def ask(self, method: str, *arguments: Any) -> Any:
        """Return what the method returns.

        Raises:
            WorkerFailed: it did not, or its process has ended or never answers.
        """
        if not self.made:
            self._answer()  # that it is made
            self.made = True
        try:
            self.connection.send((method, arguments))
        except OSError:
            raise WorkerFailed(self._end()) from None
        return self._answer()

    def _answer(self) -> Any:
        try:
            # A pipe whose other end is gone has something to read: its end.
            if not self.connection.poll(self.patience_s):
                self.process.kill()
                raise WorkerFailed(f"no answer in {self.patience_s:.0f} s")
            well, value = self.connection.recv()
        except (EOFError, OSError):
            raise WorkerFailed(self._end()) from None
        if not well:
            raise WorkerFailed(value)
        return value

    def _end(self) -> str:
        """Return how the process ended."""
        self.process.join(_GOODBYE_S)
        code = self.process.exitcode
        if code == -signal.SIGKILL:
            return "its process was killed, as a system does that is out of memory"
        if code is not None and code < 0:
            return f"its process ended by {signal.Signals(-code).name}"
        return f"its process ended with code {code}"

    def close(self) -> None:
        """End the process."""
        self.connection.close()  # which it notices, unless it is at work
        self.process.join(_GOODBYE_S)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()
