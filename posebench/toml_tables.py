"""Tables of TOML files that users write: each value's type is checked, no key is overlooked."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeVar

from posebench.errors import DataError

T = TypeVar("T")

_KINDS = {str: "a text", bool: "true or false", dict: "a table", list: "a list", int: "a number"}


class Table:
    """A TOML table whose values are taken one after another; `finish` refuses those left over.

    Args:
        values: the table's content.
        where: what it is, for messages: "[skeleton] of cows.toml".
    """

    def __init__(self, values: dict[str, Any], where: str) -> None:
        self.where = where
        self._left = dict(values)
        self._known: list[str] = []

    @classmethod
    def read(cls, path: Path, kind: str) -> Table:
        """Read a file.

        Args:
            path: the file.
            kind: what it should be, with an article, for messages: "a skeleton".

        Raises:
            DataError: the file is missing, or not TOML.
        """
        try:
            return cls(tomllib.loads(path.read_text(encoding="utf-8-sig")), str(path))
        except OSError as error:
            reason = error.strerror or error
            raise DataError(
                f"Expected {kind} at {path}, but it cannot be read: {reason}."
            ) from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise DataError(
                f"Expected {kind} in TOML at {path}, but it is not: {error}. Correct that place."
            ) from None

    def keys(self) -> list[str]:
        """Return the keys that were not taken yet."""
        return list(self._left)

    def take(self, key: str, kind: type[T], default: T | None = None) -> T:
        """Return the value of a key; without a default it must be there.

        Raises:
            DataError: it is missing, or of another type.
        """
        self._known.append(key)
        value = self._left.pop(key, default)
        if value is None:
            raise DataError(f"Expected {key!r} in {self.where}, but it is not there. Add it.")
        if kind is float and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        if not isinstance(value, kind) or (kind is not bool and isinstance(value, bool)):
            raise self.unfit(key, _KINDS.get(kind, "a number"), value)
        return value

    def take_any(self, key: str, default: Any = None) -> Any:
        """Return the value of a key, of any type; the default if it is not there."""
        self._known.append(key)
        return self._left.pop(key, default)

    def texts(self, key: str, default: tuple[str, ...] | None = None) -> tuple[str, ...]:
        """Return a list of texts; a single text is a list of one."""
        value = self.take_any(key, default)
        if value is None:
            raise DataError(f"Expected {key!r} in {self.where}, but it is not there. Add it.")
        if isinstance(value, str):
            value = [value]
        if not isinstance(value, list | tuple) or not all(isinstance(v, str) for v in value):
            raise self.unfit(key, "a list of texts", value)
        return tuple(value)

    def one_of(self, key: str, choices: Iterable[str], default: str) -> str:
        """Return a text that must be one of the choices."""
        value = self.take(key, str, default)
        known = list(choices)
        if value not in known:
            raise self.unfit(key, f"one of {', '.join(known)}", value)
        return value

    def table(self, key: str) -> Table:
        """Return a nested table; empty if it is not there."""
        return Table(self.take(key, dict, {}), f"[{key}] of {self.where}")

    def unfit(self, key: str, expected: str, found: Any) -> DataError:
        """Return the error for a value that is not what the key expects."""
        return DataError(
            f"Expected {expected} as {key} in {self.where}, but found {repr(found)[:60]}. "
            "Correct it."
        )

    def rest(self) -> dict[str, Any]:
        """Return the keys that were not taken, and take them."""
        rest, self._left = self._left, {}
        return rest

    def finish(self) -> None:
        """Raise a DataError if there are keys that nobody has taken: they are misspelt."""
        for key in self._left:
            near = difflib.get_close_matches(key, self._known, n=1)
            hint = f"Did you mean {near[0]}?" if near else f"Known: {', '.join(self._known)}."
            raise DataError(f"There is no key {key!r} in {self.where}. {hint}")
