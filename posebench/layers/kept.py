"""Tensors that depend on sizes alone, made once for each and kept."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, wraps
from typing import Any, TypeVar

import torch

Make = TypeVar("Make", bound=Callable[..., Any])


def kept(most: int) -> Callable[[Make], Make]:
    """Let a function return the same tensors for the same arguments, of the `most` last ones.

    Training may use what was made in inference mode. While a graph is recorded, or shapes alone are
    computed, tensors have no values: these are made anew, and not kept for a later call.
    """

    def decorated(make: Make) -> Make:
        @wraps(make)
        def computed(*arguments: Any) -> Any:
            with torch.inference_mode(False):
                return make(*arguments)

        cached = lru_cache(maxsize=most)(computed)

        @wraps(make)
        def looked_up(*arguments: Any) -> Any:
            return make(*arguments) if _without_values() else cached(*arguments)

        return looked_up  # type: ignore[return-value]

    return decorated


def _without_values() -> bool:
    # Of recorded graphs, those that dynamo does not trace leave only a mode on PyTorch's stack.
    return torch.compiler.is_compiling() or torch._guards.active_fake_mode() is not None
