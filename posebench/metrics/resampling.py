"""AP of resampled images, for confidence intervals and tests of differences between models.

AP is not a mean over images, so it is computed anew for every resample. Matches within an image do
not depend on other images, so they are computed once, and so is the order of all detections.

An image of weight 2 counts as two images of which each detection of the first is followed by its
copy. Copies in a file come one after the other, which makes a difference only where two detections
of the image have equal scores: the official tools then go through the first copy's, then through
the second's.

Shapes: T OKS thresholds, N images, D detections of all models, R resamples.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from posebench.errors import UsageError
from posebench.ground_truth import GroundTruth
from posebench.metrics.keypoints import match
from posebench.metrics.matching import THRESHOLDS, Flags, Floats, Indices, Matches
from posebench.metrics.results import Results, parse_results
from posebench.structures import Protocol

# How often each image counts: whole numbers.
Weights = NDArray[np.integer] | Floats

_RECALLS = np.linspace(0.0, 1.0, 101)
_BLOCK = 64  # draws whose weights are in memory at a time, for each thread
_SMALL = 2_000_000  # detections times draws, below which starting threads takes longer


def matches(truth: GroundTruth, results: Results, protocol: Protocol) -> Matches:
    """Match detections of all images by a protocol's OKS, over people of all sizes.

    Args:
        truth: the annotations.
        results: COCO-format results.
        protocol: determines areas and sigmas.

    Raises:
        DataError: as `evaluate_keypoints`.
        UsageError: the protocol has a metric of its own.
    """
    check_ap(protocol)
    [found] = match(truth, parse_results(results, truth), protocol).matches()
    return found


def check_ap(protocol: Protocol) -> None:
    """Raise a UsageError for a protocol with a metric of its own."""
    if protocol.metric is not None:
        raise UsageError(
            "Intervals and tests are of AP, but this dataset has a metric of its own: compare "
            "models by `eval`, or give the dataset another protocol."
        )


@dataclass(frozen=True, eq=False)
class Ranking:
    """The detections of one or several models by score, prepared for any number of weightings.

    Detections that are ignored at every threshold are left out: they change no precision.
    """

    models: int
    people: Indices  # (N,) people of each image who are not ignored
    source: NDArray[np.int32]  # (D,) model * N + image of each detection
    marks: NDArray[np.int32]  # the detections that are not wrong at every threshold
    events: NDArray[np.int32]  # for each threshold, where in `marks` it is found or ignored
    found: NDArray[np.int8]  # for each event, 1: found a person; 0: ignored
    starts: Indices  # (T + 1,) of the events

    @classmethod
    def of(cls, models: Sequence[Matches], images: Flags | None = None) -> Ranking:
        """Sort the detections of models on the same images, or on those where `images` is True."""
        image = np.concatenate([one.image for one in models])
        scores = np.concatenate([one.scores for one in models])
        owner = np.repeat(np.arange(len(models)), [len(one.image) for one in models])
        correct = np.concatenate([one.correct for one in models], axis=1)
        wrong = np.concatenate([one.wrong for one in models], axis=1)
        kept = wrong.any(0) | correct.any(0)
        people = models[0].people
        if images is not None:
            kept &= images[image]
            people = np.where(images, people, 0)
        chosen = np.flatnonzero(kept)
        if len(models) > 1 or not _in_order(scores[chosen], image[chosen]):
            # Equal scores are ranked by image, as in the official tools.
            chosen = chosen[np.lexsort((owner[chosen], image[chosen], -scores[chosen]))]
        correct, right = correct[:, chosen], ~wrong[:, chosen]
        marks = np.flatnonzero(right.any(0))
        thresholds, events = np.nonzero(right[:, marks])
        return cls(
            models=len(models),
            people=np.asarray(people, np.int64),
            source=(owner * len(people) + image)[chosen].astype(np.int32),
            marks=marks.astype(np.int32),
            events=events.astype(np.int32),
            found=correct[:, marks][thresholds, events].astype(np.int8),
            starts=np.searchsorted(thresholds, np.arange(len(wrong) + 1)),
        )

    def resampled(self, draws: int, weights: Callable[[slice], Weights]) -> tuple[Floats, Floats]:
        """Return the AP of R draws of the images, computed by several threads.

        Args:
            draws: R.
            weights: returns the weights of some of the draws, (n, N) of a single model or
                (n, models, N): how many times each image's detections count. The people of an
                image count as often as the weights of all models add up to.

        Returns:
            (R,) AP; NaN where the weighted images have no people.
            (R, T) AP at each threshold.
        """
        from posebench.metrics.compiled import weighted_ap

        ap, by_threshold = np.empty(draws), np.empty((draws, len(self.starts) - 1))

        def compute(start: int) -> None:
            part = slice(start, min(start + _BLOCK, draws))
            own = np.ascontiguousarray(weights(part), np.int16).reshape(part.stop - start, -1)
            weighted_ap(
                self.source, self.marks, self.events, self.found, self.starts, own, self.people,
                _RECALLS, ap[part], by_threshold[part],
            )  # fmt: skip

        blocks = range(0, draws, _BLOCK)
        if (count := threads()) == 1 or draws * len(self.source) < _SMALL:
            for start in blocks:
                compute(start)
        else:
            with ThreadPoolExecutor(count) as pool:
                list(pool.map(compute, blocks))
        return ap, by_threshold


def resampled_ap(models: Sequence[Matches], weights: Sequence[Weights]) -> Floats:
    """Return the (R,) AP of detections for R weightings of the images.

    Args:
        models: the matches of each model, on the same images.
        weights: an (R, N) array for each model: how many times each image's detections count, in
            whole numbers. The people of an image count as often as the weights of all models add
            up to: once if the image is assigned to one model, `c` times if a bootstrap drew it `c`
            times.

    Raises:
        ValueError: a weight is not a whole number of at most 32767.
    """
    whole = [np.asarray(own).astype(np.int16) for own in weights]
    for own, given in zip(whole, weights, strict=True):
        if not np.array_equal(own, given):
            raise ValueError("Expected weights that are whole numbers of at most 32767.")
    ranking = Ranking.of(models)
    ap, _ = ranking.resampled(
        len(whole[0]), lambda part: np.stack([own[part] for own in whole], axis=1)
    )
    return ap


def ap_without_each_image(model: Matches) -> Floats:
    """Return the (N,) AP of a model when one of the images is left out.

    Images are as in the matches; NaN where the image has all people.
    """
    images = len(model.people)

    def all_but_one(part: slice) -> Weights:
        weights = np.ones((part.stop - part.start, images), np.int16)
        weights[np.arange(len(weights)), np.arange(part.start, part.stop)] = 0
        return weights

    ap, _ = Ranking.of([model]).resampled(images, all_but_one)
    return ap


def ap_at_thresholds(model: Ranking) -> tuple[float, Floats]:
    """Return the AP of one model on the images as they are, and the (T,) AP at each threshold."""
    ap, by_threshold = model.resampled(
        1, lambda part: np.ones((1, model.models, len(model.people)), np.int16)
    )
    return float(ap[0]), by_threshold[0]


def threshold_index(oks: float) -> int:
    """Return the index of an OKS threshold."""
    return int(np.isclose(THRESHOLDS, oks).argmax())


def threads() -> int:
    """Return how many threads share the draws: as `NUMBA_NUM_THREADS` or `OMP_NUM_THREADS` say."""
    for name in ("NUMBA_NUM_THREADS", "OMP_NUM_THREADS"):
        given = os.environ.get(name, "").partition(",")[0]
        if given.isdecimal() and int(given) > 0:
            return int(given)
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on this system
        return os.cpu_count() or 1


def _in_order(scores: Floats, image: Indices) -> bool:
    """Return whether detections are sorted by score, and those of equal score by image."""
    lower, same = scores[1:] < scores[:-1], scores[1:] == scores[:-1]
    return bool((lower | (same & (image[1:] >= image[:-1]))).all())
