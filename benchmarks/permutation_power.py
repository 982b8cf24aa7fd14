"""How often the paired test finds a difference when two models score on different scales.

    python benchmarks/permutation_power.py [--worlds 200] [--images 400] [--draws 200]

Simulates worlds in which two models predict poses on the same images, one of them better or both
alike, and counts p < 0.05 of three ways to sort the exchanged detections of both models together:

- "scores": by score, as up to commit f602f5e;
- "shares": by rank among the model's own, divided by their number;
- "in use": as `posebench.bench.statistics.exchanged_differences` does.

The other model's scores are as simulated, cubed and divided by four, or a hundred times as high. In
"filled" it also has low-scored false positives, up to 20 detections an image, as from a fixed
number of queries. A share of worlds has a standard error of `sqrt(share * (1 - share) / worlds)`.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from posebench.bench.statistics import (
    Whole,
    ap_of,
    exchanged_differences,
    image_resamples,
    p_of_exchanges,
)
from posebench.metrics.matching import THRESHOLDS, Matches
from posebench.metrics.resampling import resampled_ap

Floats = NDArray[np.float64]
Test = Callable[[Matches, Matches, Whole], Floats]

PEOPLE = 2.0  # of an image, on average
GAP = 0.2  # of the better model's skill
FALSE_POSITIVES = 1.0  # of an image, on average
QUERIES = 20

SCALES: dict[str, Callable[[Floats], Floats]] = {
    "one scale": lambda s: s,
    "cubed / 4": lambda s: s**3 / 4,
    "times 100": lambda s: 100 * s,
}


def by_scores(ours: Matches, reference: Matches, exchanged: Whole) -> Floats:
    """Return the (R,) differences after exchanges, detections of both sorted by score."""
    both = [ours, reference]
    after = resampled_ap(both, [1 - exchanged, exchanged])
    return after - resampled_ap(both, [exchanged, 1 - exchanged])


def by_shares(ours: Matches, reference: Matches, exchanged: Whole) -> Floats:
    """Likewise, sorted by the share of the model's own detections that are not better."""
    first, second = (
        replace(one, scores=stats.rankdata(one.scores) / len(one.scores))
        for one in (ours, reference)
    )
    return by_scores(first, second, exchanged)


TESTS: dict[str, Test] = {
    "scores": by_scores,
    "shares": by_shares,
    "in use": exchanged_differences,
}


def logistic(logits: Floats) -> Floats:
    return 1 / (1 + np.exp(-logits))


class World:
    """Images with people, some of which are hard for every model."""

    def __init__(self, images: int, seed: int) -> None:
        self._rng = np.random.default_rng(seed)
        self._people = 1 + self._rng.poisson(PEOPLE - 1, images)
        self._image = np.repeat(np.arange(images), self._people)
        self._ease = self._rng.normal(0, 1, images)[self._image]
        self._ease += self._rng.normal(0, 1, len(self._image))

    def predict(self, skill: float) -> Matches:
        """Return the matches of a model; `skill` is the mean logit of the OKS of its poses."""
        rng = self._rng
        quality = skill + self._ease + rng.normal(0, 1.5, len(self._image))
        scores = logistic(quality + rng.normal(-0.5, 1, len(quality)))
        correct = logistic(quality) >= THRESHOLDS[:, None]
        model = Matches(scores, self._image, correct, ~correct, self._people)
        return self._with_wrong(model, rng.poisson(FALSE_POSITIVES, len(self._people)), -1.5)

    def fill(self, model: Matches) -> Matches:
        """Return the model with low-scored detections, so that every image has `QUERIES`."""
        missing = QUERIES - np.bincount(model.image, minlength=len(self._people))
        return self._with_wrong(model, np.maximum(missing, 0), -4)

    def _with_wrong(self, model: Matches, count: NDArray[np.int64], logit: float) -> Matches:
        """Return the model with `count` false positives more in each image."""
        total = int(count.sum())
        nothing = np.zeros((len(THRESHOLDS), total), bool)
        return Matches(
            np.concatenate([model.scores, logistic(self._rng.normal(logit, 1, total))]),
            np.concatenate([model.image, np.repeat(np.arange(len(count)), count)]),
            np.concatenate([model.correct, nothing], axis=1),
            np.concatenate([model.wrong, ~nothing], axis=1),
            model.people,
        )


def p_values(
    ours: Matches, reference: Matches, exchanged: Whole, tests: dict[str, Test]
) -> dict[str, float]:
    """Return each test's p-value."""
    value = ap_of(ours) - ap_of(reference)
    return {
        name: p_of_exchanges(value, test(ours, reference, exchanged))
        for name, test in tests.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--worlds", type=int, default=200)
    parser.add_argument("--images", type=int, default=400)
    parser.add_argument("--draws", type=int, default=200)
    options = parser.parse_args()
    exchanged, _ = image_resamples(options.images, options.draws)
    found: Counter[tuple[str, str, str]] = Counter()
    differences: dict[str, list[float]] = {}
    start = time.process_time()
    for seed in range(options.worlds):
        for truth, gap in (("better", GAP), ("alike", 0.0)):
            world = World(options.images, seed)
            ours, reference = world.predict(1.2 + gap), world.predict(1.2)
            differences.setdefault(truth, []).append(ap_of(ours) - ap_of(reference))
            cases = {
                name: replace(reference, scores=scale(reference.scores))
                for name, scale in SCALES.items()
            }
            cases["filled"] = world.fill(reference)
            for case, other in cases.items():
                for test, p in p_values(ours, other, exchanged, TESTS).items():
                    found[truth, case, test] += p < 0.05
        if (seed + 1) % 20 == 0:
            print(f"{seed + 1} worlds, {time.process_time() - start:.0f} s", flush=True)
    for truth, values in differences.items():
        print(
            f"{truth}: difference {100 * np.mean(values):.1f} AP, standard deviation "
            f"{100 * np.std(values):.1f}; p < 0.05 in % of {options.worlds} worlds"
        )
        for case in [*SCALES, "filled"]:
            shares = {test: 100 * found[truth, case, test] / options.worlds for test in TESTS}
            print(
                f"  {case}: " + ", ".join(f"{test} {share:.1f}" for test, share in shares.items())
            )


if __name__ == "__main__":
    main()
