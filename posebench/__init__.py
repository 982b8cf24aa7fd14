"""posebench: multi-person pose estimators under one protocol."""

from importlib.metadata import version

__version__ = version("posebench")
