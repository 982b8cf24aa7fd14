"""Errors a user can mend: one sentence of what was expected, what was found, what to do next.

The command line prints the sentence and exits with the class's code; `--debug` shows the traceback.
"""

import difflib
from collections.abc import Iterable


class PosebenchError(Exception):
    """Something at run time went wrong that the user can do something about."""

    exit_code = 1


class UsageError(PosebenchError):
    """A name or an option that does not exist or does not fit the others."""

    exit_code = 2


class DataError(PosebenchError):
    """A dataset, annotation file, image or result file is missing or wrong."""

    exit_code = 3


class ModelError(PosebenchError):
    """A checkpoint or model is missing, damaged or does not fit."""

    exit_code = 4


# A list of names that is longer than this says nothing where one of them is near.
_MANY_NAMES = 20


def unknown_name(kind: str, name: str, known: Iterable[str]) -> UsageError:
    """Return the error for a misspelt name: the nearest known one, and all if they are few."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1)
    hint = f" Did you mean {near[0]}?" if near else ""
    if not near or len(names) <= _MANY_NAMES:
        hint += f" Known: {', '.join(names)}."
    return UsageError(f"There is no {kind} named {name!r}.{hint}")
