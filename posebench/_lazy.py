"""Names that are imported when they are first used, so that starting stays quick."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any


def lazy_names(package: str, **modules: tuple[str, ...]) -> Callable[[str], Any]:
    """Return a package's `__getattr__` (PEP 562).

    A name must not be that of a module of the package: once imported, the module would hide it.

    Args:
        package: the package's own `__name__`.
        modules: a module of the package -> the names that it defines.
    """
    module_of = {name: module for module, names in modules.items() for name in names}

    def imported(name: str) -> Any:
        if name not in module_of:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(import_module(f"{package}.{module_of[name]}"), name)

    return imported
