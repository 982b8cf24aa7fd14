"""Count the operations of every recipe, and write the counts that come with the package.

    python benchmarks/count_zoo.py [METHOD ...]

Listing the zoo would otherwise count them on first use, which takes over a minute. To be run after
a change of a recipe's network or of how operations are counted; tests/bench/flops/test_cache.py
fails until then. Recipes that have not changed keep their counts, but for those of the methods
that are named, whose code has changed.
"""

from __future__ import annotations

import json
import sys
import time

from posebench.bench.flops.cache import COUNTS, count, key_of
from posebench.files import write_json
from posebench.models import RECIPES


def main() -> None:
    methods = {recipe.method for recipe in RECIPES.values()}
    if unknown := {*sys.argv[1:]} - methods:
        sys.exit(f"{', '.join(sorted(unknown))}: expected methods, of {', '.join(sorted(methods))}")
    before = json.loads(COUNTS.read_text())
    counts = {}
    for name, recipe in RECIPES.items():
        known = before.get(name, {}).get("key") == key_of(recipe)
        if known and recipe.method not in sys.argv[1:]:
            counts[name] = before[name]
            continue
        start = time.process_time()
        counted = count(recipe)
        counts[name] = {"key": key_of(recipe), **counted}
        seconds = time.process_time() - start
        print(f"{name:40} {counted['macs'] / 1e9:8.2f} GMACs, {seconds:.1f} s")
    write_json(COUNTS, counts)


if __name__ == "__main__":
    main()
