"""What is said when the user stops a command: the whole command that goes on with it."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.markup import escape
from typer.core import TyperGroup

from posebench.cli.common import messages
from posebench.errors import Interrupted, command_line

# The command line that `--devices` was given to, for the processes that it starts.
_TYPED = "POSEBENCH_COMMAND_LINE"


class StoppableGroup(TyperGroup):
    """The commands; Ctrl-C raises `Interrupted`, where typer would exit without a word."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            raise Interrupted("Stopped.") from None


@contextmanager
def continues(message: str, *more: object) -> Iterator[None]:
    """Within this context Ctrl-C says that the command continues where it was if it is repeated.

    Args:
        message: what is kept.
        more: words to repeat it with, unless it has them already.
    """
    try:
        yield
    except (KeyboardInterrupt, Interrupted) as stopped:
        words = _typed()[1:]
        if more and str(more[0]) not in words:
            words += map(str, more)
        raise Interrupted(message, command=words) from stopped


def say_stopped(stopped: Interrupted) -> None:
    """Print what was stopped, and on a line of its own the command that goes on."""
    program, *words = _typed()
    again = "--resume" in words  # a run that was being continued continues
    how = "Continue with:" if stopped.command or again else "Start again with:"
    messages.print(f"{escape(stopped.message)} {how}", soft_wrap=True)
    line = command_line(*_program(program), *(stopped.command or words))
    messages.print(f"  {escape(line)}", soft_wrap=True)


def remember_command() -> None:
    """Let the processes that this one starts know the command line that the user typed."""
    os.environ[_TYPED] = json.dumps(sys.argv)


def _typed() -> list[str]:
    typed: list[str] = json.loads(os.environ.get(_TYPED, "null")) or sys.argv
    return list(typed)


def _program(first: str) -> Sequence[str]:
    """Return how to start posebench as the user did: a name on the path, a file or a module."""
    if Path(first).name != "__main__.py":
        name = Path(first).name
        return [name if _on_path(name, first) else first]
    name = Path(sys.executable).name
    return [name if _on_path(name, sys.executable) else sys.executable, "-m", "posebench"]


def _on_path(name: str, file: str) -> bool:
    found = shutil.which(name)
    return name == file or (found is not None and Path(found).absolute() == Path(file).absolute())
