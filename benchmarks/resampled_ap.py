"""AP of resampled images: the plain loop over all detections against the one in use.

    python benchmarks/resampled_ap.py [--images 200] [--draws 200]

The plain loop counts true and false positives at every detection for each threshold. Both run in
turns on one thread, compiled by numba, on simulated detections of two models whose images are
exchanged; their results have to be equal to the last bit.
"""

from __future__ import annotations

import argparse
import time

import numba
import numpy as np
from numpy.typing import NDArray

from posebench.metrics.matching import Matches
from posebench.metrics.resampling import resampled_ap

Floats = NDArray[np.float64]

PEOPLE, DETECTIONS = 2, 20  # of an image
RECALLS = np.linspace(0.0, 1.0, 101)


@numba.njit(cache=True)
def plain_ap(
    correct: NDArray[np.bool_],
    wrong: NDArray[np.bool_],
    image: NDArray[np.int64],
    model: NDArray[np.int64],
    weights: Floats,
    people: Floats,
    recalls: Floats,
) -> Floats:
    """Return the (R,) AP; arguments as for `resampled_ap`, all models together, best first."""
    thresholds, detections = correct.shape
    result = np.empty(len(weights))
    precision = np.empty(detections)
    recall = np.empty(detections)
    for r in range(len(weights)):
        required = 0.0
        for n in range(len(people)):
            required += people[n] * weights[r, :, n].sum()
        total = 0.0
        for t in range(thresholds):
            true, false = 0.0, 0.0
            for d in range(detections):
                weight = weights[r, model[d], image[d]]
                true += weight * correct[t, d]
                false += weight * wrong[t, d]
                recall[d] = true / required
                precision[d] = true / (true + false + 2.220446049250313e-16)
            best = 0.0
            d = detections - 1
            for k in range(len(recalls) - 1, -1, -1):
                while d >= 0 and recall[d] >= recalls[k]:
                    best = max(best, precision[d])
                    d -= 1
                total += best
        result[r] = total / (thresholds * len(recalls))
    return result


def simulated(images: int, seed: int) -> Matches:
    """Return detections of which the best-scored find more people, fewer at stricter thresholds."""
    rng = np.random.default_rng(seed)
    count = images * DETECTIONS
    scores = rng.random(count)
    quality = rng.random(count) * (scores > 1 - 1.5 * PEOPLE / DETECTIONS)
    correct = quality > np.linspace(0.3, 0.9, 10)[:, None]
    ignored = rng.random((10, count)) < 0.02
    return Matches(
        scores, np.repeat(np.arange(images), DETECTIONS), correct & ~ignored, ~correct & ~ignored,
        np.full(images, PEOPLE),
    )  # fmt: skip


def plain(models: list[Matches], weights: list[Floats]) -> Floats:
    """Return what `resampled_ap` returns, by the plain loop."""
    image = np.concatenate([one.image for one in models])
    scores = np.concatenate([one.scores for one in models])
    owner = np.repeat(np.arange(len(models)), [len(one.image) for one in models])
    order = np.lexsort((owner, image, -scores))
    correct, wrong = (
        np.ascontiguousarray(np.concatenate(parts, axis=1)[:, order])
        for parts in ([one.correct for one in models], [one.wrong for one in models])
    )
    stacked = np.ascontiguousarray(np.stack(weights, axis=1))
    people = models[0].people.astype(np.float64)
    result: Floats = plain_ap(correct, wrong, image[order], owner[order], stacked, people, RECALLS)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--draws", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    models = [simulated(options.images, seed) for seed in (1, 2)]
    rng = np.random.default_rng(0)
    share = rng.integers(0, 2, (options.draws, options.images)).astype(np.float64)
    weights = [1 - share, share]
    assert (plain(models, weights) == resampled_ap(models, weights)).all()  # and both are compiled
    ratios = []
    for _ in range(options.rounds):
        start = time.process_time()
        plain(models, weights)
        middle = time.process_time()
        resampled_ap(models, weights)
        end = time.process_time()
        ratios.append((end - middle) / (middle - start))
        print(
            f"plain {1e3 * (middle - start) / options.draws:.2f} ms a draw, in use "
            f"{1e3 * (end - middle) / options.draws:.2f} ms, ratio {ratios[-1]:.2f}"
        )
    print(f"median ratio {np.median(ratios):.2f}: {options.images} images, two models")


if __name__ == "__main__":
    main()
