"""The values that DEKR's configuration accepts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from posebench.models.dekr.recipes import DEKRConfig


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"backbone": "hrnet_w99"}, "hrnet_w32"),
        ({"channels": 0}, "1 or more"),
        ({"blocks": -1}, "0 or more"),
        ({"initial_taps": "middle"}, "cell or grid"),
    ],
)
def test_a_config_outside_its_range_is_refused(changes: Mapping[str, Any], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        replace(DEKRConfig(), **changes)
