"""Matching of detections and people by COCO's rules, of all images at a time.

Shapes: N people, D detections, M pairs of both in one image, K keypoints, T OKS thresholds,
R recall points.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from posebench.layers.oks import similarity_exponent
from posebench.metrics.greedy import Partners, image_groups, partners

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]
Flags = NDArray[np.bool_]

THRESHOLDS = np.linspace(0.5, 0.95, 10)

# Square pixels; the limits are included.
ALL_AREAS = (0.0, 1e10)
MEDIUM = (32.0**2, 96.0**2)
LARGE = (96.0**2, 1e10)

_DETECTIONS_PER_IMAGE = 20
_RECALLS = np.linspace(0.0, 1.0, 101)
_PAIRS = 1024
_TOGETHER = 8  # criteria that are matched together: faster, but more memory


@dataclass(frozen=True)
class People:
    """All annotated people of a dataset."""

    image: Indices  # (N,) index of the image, in the order of image ids
    keypoints: Floats  # (N, K, 2) pixels
    labelled: Flags  # (N, K)
    area: Floats  # (N,) square pixels, the area that OKS divides by
    boxes: Floats  # (N, 4) x, y, width, height
    crowd: Flags  # (N,) a crowd region
    required: Flags  # (N,) False: ignored, since no keypoint counts

    def __getitem__(self, index: Indices) -> People:
        return People(
            self.image[index], self.keypoints[index], self.labelled[index], self.area[index],
            self.boxes[index], self.crowd[index], self.required[index],
        )  # fmt: skip


@dataclass(frozen=True)
class Detections:
    """All predicted poses of a dataset."""

    image: Indices  # (D,) index of the image, in the order of image ids
    keypoints: Floats  # (D, K, 2) pixels
    scores: Floats  # (D,)
    area: Floats  # (D,) square pixels; assigns a pose to the ranges of size
    category: Indices | None = None  # (D,) index of the category; None: there is only one

    def __getitem__(self, index: Indices) -> Detections:
        return Detections(
            self.image[index], self.keypoints[index], self.scores[index], self.area[index],
            None if self.category is None else self.category[index],
        )  # fmt: skip


@dataclass(frozen=True)
class Curves:
    """Precision and recall per OKS threshold; -1 where there was no ground truth to detect."""

    precision: Floats  # (T, R) at 101 recall points
    recall: Floats  # (T,)

    def ap(self, threshold: float | None = None) -> float:
        """Return the average precision at one threshold, or the mean over all."""
        return _mean(self.precision, threshold)

    def ar(self, threshold: float | None = None) -> float:
        """Return the average recall at one threshold, or the mean over all."""
        return _mean(self.recall, threshold)


def _mean(values: Floats, threshold: float | None) -> float:
    chosen = values if threshold is None else values[np.isclose(THRESHOLDS, threshold)]
    # The number of people is the same at all thresholds: either all values are -1 or none is.
    return float(chosen.mean())


@dataclass(frozen=True)
class Matches:
    """Which detections of a model are correct, which are false positives, and in which images.

    Detections are sorted by score; those of equal score by image, as in the official tools.
    """

    scores: Floats  # (D,)
    image: Indices  # (D,) index of the image
    correct: Flags  # (T, D) matched a person who is not ignored
    wrong: Flags  # (T, D) matched nobody; neither of both: matched an ignored person
    people: Indices  # (images,) people of each image who are not ignored

    def curves(self, images: Flags | None = None) -> Curves:
        """Return precision and recall over all images, or over those where `images` is True."""
        people, correct, wrong = self.people, self.correct, self.wrong
        if images is not None:
            inside = images[self.image]
            people, correct, wrong = people[images], correct[:, inside], wrong[:, inside]
        precision = np.full((len(correct), len(_RECALLS)), -1.0)
        recall = np.full(len(correct), -1.0)
        if total := int(people.sum()):
            for t in range(len(correct)):
                precision[t], recall[t] = _curve(correct[t], wrong[t], total)
        return Curves(precision, recall)


@dataclass(frozen=True, eq=False)
class Criterion:
    """What a matching compares."""

    area: tuple[float, float] = ALL_AREAS  # people and unmatched detections outside are ignored
    keypoint: int | None = None  # the only one to compare, ignoring people without it; None: all
    people: Flags | None = None  # (N,) False for people to ignore, in the order given; None: nobody


class Matcher:
    """Holds the similarity of every detection with every person of its image for several matchings.

    An evaluation of COCO matches twenty times (people of all, medium and large size, and each
    keypoint alone) with the similarities computed here once.

    Args:
        people: the annotated people.
        detections: the predicted poses, in the order of the result file, which breaks ties between
            equal scores.
        num_images: number of images.
        sigmas: OKS fall-off of each keypoint.
    """

    def __init__(
        self, people: People, detections: Detections, num_images: int, sigmas: Sequence[float]
    ) -> None:
        self._order = np.argsort(people.image, kind="stable")  # of the people as they are given
        self._people = people = people[self._order]
        detections = _best_first(detections)
        self._num_images = num_images
        people_in = np.bincount(people.image, minlength=num_images)
        person, detection = pairs(people_in, detections.image)
        self._labelled = people.labelled[person]  # (M, K)
        self._similarity = similarities(
            people, detections.keypoints, person, detection, sigmas
        )  # (M, K)
        self._groups = list(image_groups(people_in, detections.image, detections.scores))
        ranking = np.argsort(-detections.scores, kind="stable")
        self._rank = np.empty_like(ranking)
        self._rank[ranking] = np.arange(len(ranking))
        self._detections = detections[ranking]

    def matches(self, criteria: Sequence[Criterion] = (Criterion(),)) -> list[Matches]:
        """Match each image's detections to its people by each criterion, the best first.

        A detection takes the person of the highest OKS who is not taken yet; one who is ignored
        only if no other reaches the threshold. Of equal ones it takes the last.
        """
        found = []
        for start in range(0, len(criteria), _TOGETHER):
            found += self._match(criteria[start : start + _TOGETHER])
        return found

    def _match(self, criteria: Sequence[Criterion]) -> list[Matches]:
        people, detections = self._people, self._detections
        counted = np.stack([self._counted(criterion) for criterion in criteria])  # (C, N)
        similarity = np.stack([self._oks(criterion.keypoint) for criterion in criteria])  # (C, M)
        partner = partners(self._groups, similarity, counted, people.crowd, THRESHOLDS, self._rank)
        return [
            Matches(
                detections.scores,
                detections.image,
                correct(partner[:, index], counted[index]),
                (partner[:, index] < 0) & within(detections.area, criterion.area),
                np.bincount(people.image[counted[index]], minlength=self._num_images),
            )
            for index, criterion in enumerate(criteria)
        ]

    def _counted(self, criterion: Criterion) -> Flags:
        """Return (N,) False for people who are ignored."""
        people = self._people
        counted = people.required & ~people.crowd & within(people.area, criterion.area)
        if criterion.keypoint is not None:
            counted &= people.labelled[:, criterion.keypoint]
        if criterion.people is not None:
            counted &= criterion.people[self._order]
        return counted

    def _oks(self, keypoint: int | None) -> Floats:
        """Return the (M,) OKS of each pair, of one keypoint or of all."""
        if keypoint is not None:
            return self._similarity[:, keypoint]
        return mean_similarity(self._similarity, self._labelled)


def correct(partner: Partners, counted: Flags) -> Flags:
    """Return which detections are matched with a person who is not ignored.

    Args:
        partner: (..., D) index of the person; -1: nobody.
        counted: (N,) False for people who are ignored.
    """
    return np.append(counted, False)[partner]


def _curve(correct: Flags, wrong: Flags, people: int) -> tuple[Floats, float]:
    """Return the precision at each recall point, and the recall, of detections sorted by score.

    The precision at a recall is the highest from there on, which a correct detection has.
    """
    at = np.flatnonzero(correct)
    true = np.arange(1.0, len(at) + 1)
    false = np.cumsum(wrong)[at]
    precision = true / (false + true)
    highest = np.append(np.maximum.accumulate(precision[::-1])[::-1], 0.0)
    points = np.searchsorted(true / people, _RECALLS)
    return highest[points], len(at) / people


def within(area: Floats, limits: tuple[float, float]) -> Flags:
    """Return which areas lie between the limits, both included."""
    return (area >= limits[0]) & (area <= limits[1])


def _best_first(detections: Detections) -> Detections:
    return detections[evaluated(detections)]


def evaluated(detections: Detections) -> Indices:
    """Return the twenty highest-scoring detections of each image, sorted by image and score.

    Equal scores stay in the order of the file, as in the official tools.
    """
    order = np.lexsort((-detections.scores, detections.image))
    image = detections.image[order]
    rank = np.arange(len(image)) - np.searchsorted(image, image)
    return order[rank < _DETECTIONS_PER_IMAGE]


def pairs(people_in: Indices, image: Indices) -> tuple[Indices, Indices]:
    """Pair each detection with every person of its image, detection by detection.

    Args:
        people_in: (images,) number of people; people are sorted by image.
        image: (D,) image index of each detection.

    Returns:
        (M,) indices of people.
        (M,) indices of detections.
    """
    partners = people_in[image]  # (D,)
    detection = np.repeat(np.arange(len(partners)), partners)
    first_person = (np.cumsum(people_in) - people_in)[image[detection]]
    number = np.arange(len(detection)) - np.repeat(np.cumsum(partners) - partners, partners)
    return first_person + number, detection


def similarities(
    people: People,
    keypoints: Floats,
    person: Indices,
    detection: Indices,
    sigmas: Sequence[float],
) -> Floats:
    """Return the (M, K) similarity of each keypoint of M pairs of a person and a detection.

    An unlabelled keypoint is compared with the person's box, extended by its own size on each side:
    a detection inside it may be of that person and must not count as a false positive.

    Args:
        people: the annotated people.
        keypoints: (D, K, 2) of the detections, pixels.
        person: (M,) indices of people.
        detection: (M,) indices of detections.
        sigmas: OKS fall-off of each keypoint.
    """
    low = (people.boxes[:, :2] - people.boxes[:, 2:])[:, None]
    high = (people.boxes[:, :2] + 2 * people.boxes[:, 2:])[:, None]
    falloff = np.asarray(sigmas, np.float64)
    similarity = np.empty((len(person), len(falloff)))
    for start in range(0, len(person), _PAIRS):  # few at a time stay in the processor's cache
        p, d = person[start : start + _PAIRS], detection[start : start + _PAIRS]
        found, labelled = keypoints[d], people.labelled[p]
        outside = np.maximum(0, low[p] - found) + np.maximum(0, found - high[p])
        distance = np.where(labelled[..., None], found - people.keypoints[p], outside)
        exponent = similarity_exponent((distance**2).sum(-1), people.area[p], falloff)
        np.exp(exponent, out=similarity[start : start + _PAIRS])
    return similarity


def mean_similarity(similarity: Floats, labelled: Flags) -> Floats:
    """Return the (M,) OKS of pairs from the similarities of their (M, K) keypoints."""
    # If no keypoint is labelled, all are compared, each with the box.
    compared = labelled | ~labelled.any(1, keepdims=True)
    return np.asarray((similarity * compared).sum(1) / compared.sum(1), np.float64)
