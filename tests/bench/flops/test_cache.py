"""Costs of recipes are counted once, as long as the code that counts them is the same."""

from __future__ import annotations

from pathlib import Path

import pytest

from posebench.bench.flops import cache, costs
from posebench.bench.flops.counter import OperationCount
from posebench.models import RECIPES

TINY = RECIPES["cid_tiny"]


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POSEBENCH_CACHE", str(tmp_path))


def test_a_recipe_is_counted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    first = cache.describe(TINY)
    assert first["params_M"] == pytest.approx(costs.count_recipe(TINY).parameters / 1e6)

    def counted_again(recipe: object) -> OperationCount:
        raise AssertionError

    monkeypatch.setattr(costs, "count_recipe", counted_again)
    assert cache.describe(TINY) == first


def test_a_damaged_cache_is_made_anew(tmp_path: Path) -> None:
    first = cache.describe(TINY)
    [file] = tmp_path.iterdir()
    file.write_text("{")
    assert cache.describe(TINY) == first
    assert "cid" in file.read_text()


def test_code_of_methods_is_part_of_the_fingerprint(monkeypatch: pytest.MonkeyPatch) -> None:
    read: set[str] = set()
    original = Path.read_bytes

    def noted(path: Path) -> bytes:
        read.add("/".join(path.parts[-3:]))
        return original(path)

    monkeypatch.setattr(Path, "read_bytes", noted)
    cache._fingerprint.__wrapped__()
    assert {"models/cid/model.py", "layers/backbones/hrnet.py", "bench/flops/formulas.py"} <= read
