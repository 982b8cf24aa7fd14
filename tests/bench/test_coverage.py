"""How often intervals hold the true AP, and how often equal models are told apart.

pytest -m slow tests/bench/test_coverage.py -s
"""

from __future__ import annotations

import sys

import numpy as np
import pytest

from posebench.bench.comparison import compare_matches
from posebench.bench.statistics import ap_of
from posebench.metrics.matching import THRESHOLDS, Floats, Matches

DATASETS, IMAGES, DRAWS = 400, 300, 1000
MANY = 200_000


def logistic(logits: Floats) -> Floats:
    return 1 / (1 + np.exp(-logits))


def predictions(images: int, seed: int, models: int = 1) -> list[Matches]:
    """Return models of equal skill on images with people who are hard or easy for all of them."""
    rng = np.random.default_rng(seed)
    people = 1 + rng.poisson(1, images)
    image = np.repeat(np.arange(images), people)
    ease = rng.normal(0, 1, images)[image] + rng.normal(0, 1, len(image))
    found = []
    for _ in range(models):
        quality = 1.2 + ease + rng.normal(0, 1.5, len(image))
        false = np.repeat(np.arange(images), rng.poisson(1, images))
        scores = logistic(
            np.append(quality + rng.normal(-0.5, 1, len(image)), rng.normal(-1.5, 1, len(false)))
        )
        correct = np.zeros((len(THRESHOLDS), len(scores)), bool)
        correct[:, : len(image)] = logistic(quality) >= THRESHOLDS[:, None]
        found.append(Matches(scores, np.append(image, false), correct, ~correct, people))
    return found


@pytest.mark.slow
def test_intervals_hold_the_truth_and_equal_models_are_seldom_told_apart() -> None:
    [everybody] = predictions(MANY, 0)
    truth = ap_of(everybody)
    values, widths, held, apart = [], [], 0, 0
    for seed in range(1, DATASETS + 1):
        one, other = predictions(IMAGES, seed, models=2)
        scores, [pair] = compare_matches({"one": one, "other": other}, DRAWS, seed)
        ap = next(model.metrics["AP"] for model in scores if model.name == "one")
        values.append(ap.value)
        widths.append(ap.high - ap.low)
        held += ap.low <= truth <= ap.high
        apart += pair.p < 0.05
    ideal = 2 * 1.96 * np.std(values, ddof=1)
    sys.stdout.write(
        f"\nAP {100 * truth:.2f}; held by {held} of {DATASETS} intervals, which are "
        f"{np.mean(widths) / ideal:.3f} times as wide as 3.92 deviations of AP; "
        f"{apart} pairs of equal models told apart\n"
    )
    assert held / DATASETS >= 0.93
    assert 0.85 < np.mean(widths) / ideal < 1.2
    assert apart / DATASETS <= 0.07
