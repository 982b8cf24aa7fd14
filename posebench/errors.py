"""Errors that users can act on: one sentence says what was expected, found, and what to do.

The command line prints the sentence and exits with the class's code; `--debug` shows the traceback.
"""

import difflib
import shlex
from collections.abc import Iterable, Sequence


class PosebenchError(Exception):
    """A failure at run time that the user can do something about."""

    exit_code = 1


class UsageError(PosebenchError):
    """A name or an option does not exist or does not fit the others."""

    exit_code = 2


class DataError(PosebenchError):
    """A dataset, annotation file, image or result file is missing or wrong."""

    exit_code = 3


class ModelError(PosebenchError):
    """A checkpoint or model is missing, damaged, or does not fit."""

    exit_code = 4


class UnsupportedError(PosebenchError):
    """A runtime is not installed, or does not have a format or an operator that is needed."""

    exit_code = 5


class Interrupted(PosebenchError):
    """The user stopped a command on purpose; nothing has failed."""

    exit_code = 130

    def __init__(self, message: str, *, command: Sequence[str] = ()) -> None:
        """Say what was stopped.

        Args:
            message: a sentence that says how far it came.
            command: the words after `posebench` that continue it; empty: it starts anew.
        """
        hint = f" Continue with: {command_line('posebench', *command)}" if command else ""
        super().__init__(message + hint)
        self.message = message
        self.command = tuple(command)


def command_line(*words: object) -> str:
    """Return words as a command that can be copied into a shell."""
    return shlex.join(map(str, words))


# A longer list of names is left out of a message that suggests one of them.
_MANY_NAMES = 20


def unknown_name(kind: str, name: str, known: Iterable[str]) -> UsageError:
    """Return the error for a misspelt name; it suggests the nearest known one, and lists a few."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1)
    hint = f" Did you mean {near[0]}?" if near else ""
    if not near or len(names) <= _MANY_NAMES:
        hint += f" Known: {', '.join(names)}."
    return UsageError(f"There is no {kind} named {name!r}.{hint}")


class Notice(UserWarning):
    """What a user should know of input that is used all the same: what was derived, and how."""
