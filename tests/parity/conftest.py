"""The device of all parity tests, and how near they came to what they allow."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.parity.compare import SHARES
from tests.parity.device import CPU, DEVICE, PLACED, parity_device

# On another device, tests of what a CPU computes beside it are left out.
collect_ignore_glob = (
    []
    if DEVICE == CPU
    else [
        "test_analysis*.py", "test_dgcn.py", "test_eval.py", "test_fixtures.py", "test_*loader.py",
        "test_pifpaf.py", "test_resampling.py",
    ]
)  # fmt: skip


@pytest.fixture(autouse=True)
def _on_device(record_property: Callable[[str, object], None]) -> Iterator[None]:
    SHARES.clear()
    PLACED.clear()
    with parity_device():
        yield
    record_property("on_device", bool(PLACED))
    if SHARES:
        record_property("share_of_tolerance", float(max(SHARES)))
