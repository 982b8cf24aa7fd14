"""The test device, for all tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.device.gpu import pretended_gpu
from tests.device.ledger import Ledger


@pytest.fixture
def gpu() -> Iterator[Ledger]:
    """Within the test, there is a GPU; yields what it was made to do."""
    with pretended_gpu() as ledger:
        yield ledger
