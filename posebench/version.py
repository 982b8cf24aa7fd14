"""The version of the installed package."""

from __future__ import annotations


def package_version() -> str:
    """Return the version of the installed posebench, such as "0.1.0"."""
    from importlib.metadata import version  # slow to import: 20 ms

    return version("posebench")
