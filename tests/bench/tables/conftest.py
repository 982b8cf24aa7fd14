from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def _quick_costs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replace counted costs by ones that take no time and differ from all printed ones."""
    monkeypatch.setattr(
        "posebench.bench.tables.joined.describe",
        lambda recipe: {"params_M": 7.25, "gmacs": 11.125},
    )
