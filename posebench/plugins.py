"""Plugins: packages and files that add methods, datasets, metrics and predictors to posebench.

A plugin is a module that declares, under the names of `DECLARED`, what the built-in modules
declare: docs/extending.md. A package names its modules as entry points of the groups
`posebench.methods` and so on; a file is named with `--plugin` or in `$POSEBENCH_PLUGINS`. Modules
are imported when something of their kind is first looked up, and this one loads without torch.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, TypeVar

from posebench.errors import Notice, PosebenchError, UsageError

T = TypeVar("T")
Kind = Literal["methods", "datasets", "metrics", "predictors"]

# What a module declares of each kind; a method may also have STUDIES and a PROFILE.
DECLARED: dict[Kind, str] = {
    "methods": "RECIPES",
    "datasets": "LAYOUT",
    "metrics": "METRICS",
    "predictors": "PREDICTORS",
}
VARIABLE = "POSEBENCH_PLUGINS"  # files, separated as in PATH; processes that we start read it too


class Plugins:
    """Finds plugins, and hands their modules to those who keep what they declare."""

    def __init__(self) -> None:
        self._takers: dict[Kind, Callable[[Any], None]] = {}
        self._waiting: dict[Kind, list[tuple[Any, bool]]] = {kind: [] for kind in DECLARED}
        self._owners: dict[str, str] = {}  # module -> package, or name of the file
        self._seen: set[object] = set()  # entry points, files
        self._searched: set[Kind] = set()  # for which all entry points were seen
        self._busy = False
        self.files: list[Path] = []  # that were loaded

    def take(self, kind: Kind, add: Callable[[Any], None]) -> None:
        """Hand the modules that declare something of a kind to `add`, which raises UsageErrors."""
        self._takers[kind] = add

    def owner(self, module: Any) -> str:
        """Return the package or the file that a module belongs to; empty: posebench."""
        return self._owners.get(getattr(module, "__name__", ""), "")

    def sources(self, module: Any) -> str:
        """Return a text that changes when the code of a plugin does; empty: it is posebench's."""
        if not self.owner(module):
            return ""
        top = sys.modules[module.__name__.partition(".")[0]]
        place = Path(top.__file__ or "")
        if place.name == "__init__.py":
            files = place.parent.rglob("*.py")
        else:  # it may import what lies beside it
            files = place.parent.glob("*.py")
        states = [(str(file), file.stat()) for file in sorted(files)]
        return str([(name, state.st_mtime_ns, state.st_size) for name, state in states])

    def load_file(self, path: str | Path) -> None:
        """Import a file and take what it declares.

        Its folder is appended to `sys.path`, so that it can import what lies beside it, and so that
        other processes can import it by its name.

        Raises:
            UsageError: it is missing, fails, or declares nothing.
        """
        self._load(Path(path).expanduser().absolute(), named=True)

    def _load(self, file: Path, *, named: bool) -> None:
        if file in self._seen:
            return
        try:
            module = _import_file(file)
            kinds = [kind for kind, name in DECLARED.items() if hasattr(module, name)]
            if not kinds:
                raise UsageError(f"it declares none of {', '.join(DECLARED.values())}")
        except (Exception, SystemExit) as error:
            raise UsageError(
                f"The plugin {file} cannot be used: {cause_of(error)}. See docs/extending.md."
            ) from error
        self._seen.add(file)
        self._owners[module.__name__] = file.name
        self.files.append(file)
        for kind in kinds:
            self._waiting[kind].append((module, named))
        known = os.environ.get(VARIABLE, "").split(os.pathsep)
        if str(file) not in known:
            os.environ[VARIABLE] = os.pathsep.join(filter(None, [*known, str(file)]))

    def complete(self, kind: Kind) -> None:
        """Take all of a kind that plugins declare and that was not taken before.

        What an installed package or the environment names is left out with a `Notice` if it fails.

        Raises:
            UsageError: something in a file that was loaded by name does not fit.
        """
        if self._busy or kind not in self._takers:  # a plugin that is being imported looks around
            return
        if kind in self._searched and not self._waiting[kind]:
            return
        self._busy = True
        try:
            if kind not in self._searched:
                self._load_environment()
                self._load_entry_points(kind)
            while self._waiting[kind]:
                module, named = self._waiting[kind].pop(0)
                self._hand(kind, module, named=named)
        finally:
            self._busy = False

    def _hand(self, kind: Kind, module: Any, *, named: bool) -> None:
        try:
            self._takers[kind](module)
        except Exception as error:
            sentence = f"The plugin {self.owner(module)} cannot be used: {cause_of(error)}."
            if named:
                raise UsageError(sentence) from error
            _notice(sentence, kind)

    def _load_environment(self) -> None:
        for name in filter(None, os.environ.get(VARIABLE, "").split(os.pathsep)):
            file = Path(name).expanduser().absolute()
            if file in self._seen:
                continue
            try:
                self._load(file, named=False)
            except UsageError as error:
                self._seen.add(file)
                _notice(f"{error} It is named in ${VARIABLE}.")

    def _load_entry_points(self, kind: Kind) -> None:
        from importlib.metadata import entry_points

        self._searched.add(kind)
        for entry in entry_points(group=f"posebench.{kind}"):
            key = (entry.group, entry.name, entry.value)
            if key in self._seen:
                continue
            package = entry.dist.name if entry.dist else entry.name
            try:
                module = entry.load()
                if not hasattr(module, DECLARED[kind]):
                    if _is_importing(module):  # and imports posebench itself: later
                        self._searched.discard(kind)
                        continue
                    raise UsageError(f"{entry.value} does not declare {DECLARED[kind]}")
            except (Exception, SystemExit) as error:
                self._seen.add(key)
                _notice(
                    f"The plugin {entry.name} of the package {package} cannot be used: "
                    f"{cause_of(error)}.",
                    kind,
                )
                continue
            self._seen.add(key)
            self._owners[module.__name__] = package
            self._waiting[kind].append((module, False))


PLUGINS = Plugins()


class Registry(dict[str, T]):
    """What posebench and its plugins have of a kind, by name.

    Plugins are imported when it is first read.
    """

    def __init__(self, kind: Kind, plugins: Plugins = PLUGINS) -> None:
        super().__init__()
        self._kind, self._plugins = kind, plugins


def _completed(name: str) -> Callable[..., Any]:
    read = getattr(dict, name)

    def read_all(self: Registry[Any], *arguments: Any) -> Any:
        self._plugins.complete(self._kind)
        return read(self, *arguments)

    return read_all


for _name in (
    "__contains__", "__eq__", "__getitem__", "__iter__", "__len__", "__or__", "__repr__",
    "__reversed__", "copy", "get", "items", "keys", "values",
):  # fmt: skip
    setattr(Registry, _name, _completed(_name))


def remedy(plugin: str) -> str:
    """Return what makes a plugin known that a run or a checkpoint names."""
    if plugin.endswith(".py"):
        return f"name that file with --plugin, as in `posebench --plugin {plugin} ...`"
    return f"install that package, as in `pip install {plugin}`"


def _import_file(file: Path) -> Any:
    if not file.is_file() or file.suffix != ".py" or "." in file.stem:
        raise UsageError("expected a Python file (NAME.py) there" + (
            "" if file.exists() else ", but nothing is there"
        ))  # fmt: skip
    if str(file.parent) not in sys.path:
        sys.path.append(str(file.parent))
    importlib.invalidate_caches()
    spec = importlib.util.find_spec(file.stem)
    if spec is None or spec.origin is None or not Path(spec.origin).samefile(file):
        raise UsageError(
            f"there is another module named {file.stem} ({spec.origin if spec else 'built in'}): "
            "rename the file"
        )
    return importlib.import_module(file.stem)


def _is_importing(module: Any) -> bool:
    return bool(getattr(getattr(module, "__spec__", None), "_initializing", False))


def cause_of(error: BaseException) -> str:
    """Return why somebody else's code fails, with the line, as the end of a sentence."""
    if isinstance(error, PosebenchError):
        return str(error).rstrip(".")
    text = f"{type(error).__name__}: {error}".rstrip(": .")
    frames = [
        frame for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith("<") and frame.filename != __file__
    ]  # fmt: skip
    if frames and not isinstance(error, SyntaxError):  # which names its line
        text += f" (line {frames[-1].lineno} of {frames[-1].filename})"
    return text


def _notice(sentence: str, kind: Kind | None = None) -> None:
    """Say what is left out, in the main process only."""
    import multiprocessing

    if multiprocessing.parent_process() is None:
        left_out = f" Its {kind} are left out." if kind else ""
        warnings.warn(sentence + left_out, Notice, stacklevel=2)
