"""Matching of detections and people by COCO's rules, in faster-coco-eval's C++ code.

Shapes: N people, D detections, M pairs of both in one image, K keypoints, T OKS thresholds,
R recall points.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from faster_coco_eval import COCO, COCOeval_faster
from numpy.typing import NDArray

from posebench.files import PERSON
from posebench.layers.oks import keypoint_similarity

Floats = NDArray[np.float64]

THRESHOLDS = np.linspace(0.5, 0.95, 10)

# Square pixels; the limits are included.
ALL_AREAS = (0.0, 1e10)
MEDIUM = (32.0**2, 96.0**2)
LARGE = (96.0**2, 1e10)

_DETECTIONS_PER_IMAGE = 20


@dataclass(frozen=True)
class People:
    """All annotated people of a dataset."""

    image: NDArray[np.int64]  # (N,) index of the image, in the order of image ids
    keypoints: Floats  # (N, K, 2) pixels
    labelled: NDArray[np.bool_]  # (N, K)
    area: Floats  # (N,) square pixels, the area that OKS divides by
    boxes: Floats  # (N, 4) x, y, width, height
    crowd: NDArray[np.bool_]  # (N,) a crowd region
    required: NDArray[np.bool_]  # (N,) False: ignored, since no keypoint counts

    def __getitem__(self, index: NDArray[np.int64]) -> People:
        return People(
            self.image[index], self.keypoints[index], self.labelled[index], self.area[index],
            self.boxes[index], self.crowd[index], self.required[index],
        )  # fmt: skip


@dataclass(frozen=True)
class Detections:
    """All predicted poses of a dataset."""

    image: NDArray[np.int64]  # (D,) index of the image, in the order of image ids
    keypoints: Floats  # (D, K, 2) pixels
    scores: Floats  # (D,)
    area: Floats  # (D,) square pixels; assigns a pose to the ranges of size

    def __getitem__(self, index: NDArray[np.int64]) -> Detections:
        return Detections(
            self.image[index], self.keypoints[index], self.scores[index], self.area[index]
        )


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
    """Which detections of a model are correct, which are false positives, and in which images."""

    scores: Floats  # (D,)
    image: NDArray[np.int64]  # (D,) index of the image
    correct: NDArray[np.bool_]  # (T, D) matched a person who is not ignored
    wrong: NDArray[np.bool_]  # (T, D) matched nobody; neither of both: matched an ignored person
    people: NDArray[np.int64]  # (images,) people of each image who are not ignored


class Matcher:
    """Holds the OKS of every detection with every person of its image for several evaluations.

    An evaluation of CrowdPose matches nineteen times (all people, three degrees of crowding, each
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
        people = people[np.argsort(people.image, kind="stable")]
        detections = _best_first(detections)
        people_in = np.bincount(people.image, minlength=num_images)
        detections_in = np.bincount(detections.image, minlength=num_images)
        person, detection = _pairs(people_in, detections.image)

        self._shapes = list(zip(detections_in.tolist(), people_in.tolist(), strict=True))
        self._labelled = people.labelled
        self._pair_labelled = people.labelled[person]  # (M, K)
        self._similarity = _similarity(people[person], detections[detection], sigmas)  # (M, K)
        self._required = people.required
        self._counted = people.required & ~people.crowd
        self._crowd = people.crowd
        self._scores, self._image = detections.scores, detections.image
        self._counted_in = np.bincount(people.image[self._counted], minlength=num_images)
        self._images = np.arange(num_images)
        self._ground_truth = _index(
            {"id": index + 1, "image_id": image, "category_id": PERSON, "area": area, "iscrowd": c}
            for index, (image, area, c) in enumerate(_columns(people, "image", "area", "crowd"))
        )
        self._results = _index(
            {"id": index + 1, "image_id": image, "category_id": PERSON, "area": area, "score": s}
            for index, (image, area, s) in enumerate(
                _columns(detections, "image", "area", "scores")
            )
        )

    def curves(
        self,
        areas: Sequence[tuple[float, float]] = (ALL_AREAS,),
        images: NDArray[np.bool_] | None = None,
        keypoint: int | None = None,
    ) -> list[Curves]:
        """Match, and return precision and recall for each range of areas.

        Args:
            areas: ranges; people and unmatched detections outside a range are ignored.
            images: (num_images,) True for images to evaluate; None: all.
            keypoint: index of the only keypoint to compare, ignoring people without it; None: all
                keypoints.
        """
        chosen = self._images if images is None else self._images[images]
        if len(chosen) == 0:
            empty = Curves(np.full((len(THRESHOLDS), 101), -1.0), np.full(len(THRESHOLDS), -1.0))
            return [empty] * len(areas)
        required = self._required
        if keypoint is not None:
            required = required & self._labelled[:, keypoint]
        for annotation, count in zip(
            self._ground_truth.dataset["annotations"], required.tolist(), strict=True
        ):
            annotation["num_keypoints"] = int(count)

        evaluator = _Evaluator(self._ground_truth, self._results, iouType="keypoints")
        evaluator.given_oks = self._oks(keypoint)
        evaluator.params.imgIds = chosen.tolist()
        # By default only categories with annotations are evaluated, of which there may be none.
        evaluator.params.catIds = [PERSON]
        evaluator.params.areaRng = [list(limits) for limits in areas]
        evaluator.params.areaRngLbl = [str(limits) for limits in areas]
        evaluator.evaluate()  # type: ignore[no-untyped-call]
        precision = np.asarray(evaluator.eval["precision"])[:, :, 0, :, 0]  # (T, R, areas)
        recall = np.asarray(evaluator.eval["recall"])[:, 0, :, 0]  # (T, areas)
        return [Curves(precision[..., area], recall[..., area]) for area in range(len(areas))]

    def matches(self) -> Matches:
        """Return the matches by all keypoints, over people of all sizes."""
        ends = np.cumsum([columns for _, columns in self._shapes])[:-1]
        parts = [
            _match_image(similarity, counted, crowd)
            for similarity, counted, crowd in zip(
                self._oks(None),
                np.split(self._counted, ends),
                np.split(self._crowd, ends),
                strict=True,
            )
        ]
        correct, wrong = (np.concatenate(arrays, axis=1) for arrays in zip(*parts, strict=True))
        return Matches(self._scores, self._image, correct, wrong, self._counted_in)

    def _oks(self, keypoint: int | None) -> list[Floats]:
        """Return the (detections, people) OKS of each image, of one keypoint or of all."""
        if keypoint is None:
            # If no keypoint is labelled, all are compared, each with the box.
            some = self._pair_labelled.any(1, keepdims=True)
            counted = self._pair_labelled | ~some
            values = (self._similarity * counted).sum(1) / counted.sum(1)
        else:
            values = self._similarity[:, keypoint]
        ends = np.cumsum([rows * columns for rows, columns in self._shapes])
        blocks = np.split(values, ends[:-1])
        return [block.reshape(shape) for block, shape in zip(blocks, self._shapes, strict=True)]


class _Evaluator(COCOeval_faster):
    """faster-coco-eval with precomputed OKS, which it would compute pair by pair on every run."""

    given_oks: list[Floats]

    def computeOks(self, imgId: int, catId: int) -> Floats:  # noqa: N802, N803 (the library's names)
        return self.given_oks[imgId]


def _best_first(detections: Detections) -> Detections:
    """Return the twenty highest-scoring detections of each image, sorted by image and score.

    Equal scores stay in the order of the file, as in the official tools.
    """
    order = np.lexsort((-detections.scores, detections.image))
    detections = detections[order]
    first = np.searchsorted(detections.image, detections.image)
    rank = np.arange(len(detections.image)) - first
    return detections[np.flatnonzero(rank < _DETECTIONS_PER_IMAGE)]


def _pairs(
    people_in: NDArray[np.int64], image: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
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


def _similarity(people: People, detections: Detections, sigmas: Sequence[float]) -> Floats:
    """Return the (M, K) similarity of each keypoint of M pairs.

    An unlabelled keypoint is compared with the person's box, extended by its own size on each side:
    a detection inside it may be of that person and must not count as a false positive.
    """
    displacement = detections.keypoints - people.keypoints
    low = (people.boxes[:, :2] - people.boxes[:, 2:])[:, None]
    high = (people.boxes[:, :2] + 2 * people.boxes[:, 2:])[:, None]
    outside = np.maximum(0, low - detections.keypoints) + np.maximum(0, detections.keypoints - high)
    squared = (np.where(people.labelled[..., None], displacement, outside) ** 2).sum(-1)
    similarity = keypoint_similarity(
        torch.from_numpy(squared),
        torch.from_numpy(people.area),
        torch.tensor(sigmas, dtype=torch.float64),
    )
    return np.asarray(similarity.numpy(), dtype=np.float64)


def _columns(table: People | Detections, *names: str) -> Any:
    """Return an iterator over rows of Python numbers, which the C++ code needs."""
    return zip(*(getattr(table, name).tolist() for name in names), strict=True)


def _index(annotations: Any) -> COCO:
    """Return the library's index of annotations; ids start at 1, since 0 means `not matched`."""
    coco = COCO()
    coco.dataset = {"images": [], "annotations": list(annotations), "categories": [{"id": PERSON}]}
    coco.createIndex()  # type: ignore[no-untyped-call]
    return coco


def _match_image(
    similarity: Floats, counted: NDArray[np.bool_], crowd: NDArray[np.bool_]
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Match the detections of one image; sorts people as `match_best_first` needs them."""
    from posebench.metrics.compiled import match_best_first

    order = np.argsort(~counted, kind="stable")
    return match_best_first(similarity[:, order], counted[order], crowd[order], THRESHOLDS)
