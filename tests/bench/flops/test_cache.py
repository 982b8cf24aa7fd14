"""Costs of recipes come with the package; of changed recipes they are counted once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from posebench.bench.flops import cache, costs
from posebench.bench.flops.counter import OperationCount
from posebench.models import RECIPES
from posebench.recipe import with_settings

TINY = RECIPES["cid_tiny"]
OTHER = with_settings(TINY, {"embedding": 16})  # which the package has no counts of

# A recipe of every method is counted again in each run of the tests, the others if asked for.
METHODS = {recipe.method for recipe in RECIPES.values()}
QUICK = {f"{method}_tiny" for method in METHODS} | {"group_pose_swin_t_coco", "posedet_dla34_coco"}


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POSEBENCH_CACHE", str(tmp_path))


def counts() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(cache.COUNTS.read_text())
    return found


def test_the_package_has_the_counts_of_every_recipe_as_it_is() -> None:
    keys = {name: entry["key"] for name, entry in counts().items()}
    expected = {name: cache.key_of(recipe) for name, recipe in RECIPES.items()}
    assert keys == expected, "run: python benchmarks/count_zoo.py"


@pytest.mark.parametrize(
    "name",
    [n if n in QUICK else pytest.param(n, marks=pytest.mark.slow) for n in RECIPES],
)
def test_the_packages_counts_are_right(name: str) -> None:
    entry = counts()[name]
    recipe = RECIPES[name]
    assert cache.count(recipe) == {k: entry[k] for k in ("parameters", "macs", "flops")}
    assert cache.describe(recipe)["params_M"] == entry["parameters"] / 1e6


def counted_again(recipe: object) -> OperationCount:
    raise AssertionError


def test_recipes_of_the_package_are_not_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(costs, "count_recipe", counted_again)
    assert all(cache.describe(recipe)["gmacs"] > 0 for recipe in RECIPES.values())
    assert not list(tmp_path.iterdir())


def test_a_changed_recipe_is_counted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    first = cache.describe(OTHER)
    assert first["params_M"] == pytest.approx(costs.count_recipe(OTHER).parameters / 1e6)
    assert first["params_M"] < cache.describe(TINY)["params_M"]
    monkeypatch.setattr(costs, "count_recipe", counted_again)
    assert cache.describe(OTHER) == first


def test_a_damaged_cache_is_made_anew(tmp_path: Path) -> None:
    first = cache.describe(OTHER)
    [file] = tmp_path.iterdir()
    file.write_text("{")
    assert cache.describe(OTHER) == first
    assert cache.key_of(OTHER) in file.read_text()


def test_code_of_methods_is_part_of_the_fingerprint(monkeypatch: pytest.MonkeyPatch) -> None:
    read: set[str] = set()
    original = Path.read_bytes

    def noted(path: Path) -> bytes:
        read.add("/".join(path.parts[-3:]))
        return original(path)

    monkeypatch.setattr(Path, "read_bytes", noted)
    cache._fingerprint.__wrapped__()
    assert {"models/cid/model.py", "layers/backbones/hrnet.py", "bench/flops/formulas.py"} <= read
