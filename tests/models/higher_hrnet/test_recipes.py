"""The values that HigherHRNet's configuration accepts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from posebench.models.higher_hrnet.recipes import HigherHRNetConfig


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"backbone": "hrnet_w99"}, "hrnet_w32"),
        ({"deconvolutions": 3}, "0, 1 or 2"),
        ({"blocks": -1}, "0 or more"),
    ],
)
def test_a_config_outside_its_range_is_refused(changes: Mapping[str, Any], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        replace(HigherHRNetConfig(), **changes)
