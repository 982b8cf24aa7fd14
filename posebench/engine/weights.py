"""Published checkpoints: their parameter names and shapes, mapped onto ours."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor


def convert_published(published: Mapping[str, Tensor], names: Mapping[str, str]) -> dict[str, Tensor]:
    """Rename published parameters by prefix; a name without a known prefix stays as it is."""
    converted = {}
    for name, value in published.items():
        name = name.removeprefix("module.")
        prefix = next((prefix for prefix in names if name.startswith(prefix)), "")
        converted[names.get(prefix, "") + name.removeprefix(prefix)] = value
    return converted
