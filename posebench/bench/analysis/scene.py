"""Detections and people of a dataset in pairs, matched again whenever poses or scores were mended.

Detections keep the order of the file; people are sorted by image. An analysis matches a dozen
files that differ in some keypoints or scores only, so a similarity is computed anew only where it
changes.

Shapes: D detections, N annotations, M pairs of both in one image, K keypoints, T OKS thresholds,
I images.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from posebench.ground_truth import GroundTruth
from posebench.metrics.greedy import Group, Partners, image_groups, partners
from posebench.metrics.keypoints import annotated_people
from posebench.metrics.matching import (
    ALL_AREAS,
    THRESHOLDS,
    Curves,
    Detections,
    Flags,
    Floats,
    Indices,
    Matches,
    correct,
    evaluated,
    mean_similarity,
    pairs,
    similarities,
    within,
)
from posebench.structures import Protocol

_PAIRS = 65536  # whose similarities are held at a time
_TOGETHER = 8  # selections of people that are matched together


@dataclass(frozen=True)
class Poses:
    """The detections as they are in the file, or after something was mended."""

    keypoints: Floats  # (D, K, 2) pixels
    scores: Floats  # (D,)
    oks: Floats  # (M,) of each pair


@dataclass(frozen=True)
class Counted:
    """Who is to be found; all others are ignored."""

    people: Flags  # (N,)
    area: tuple[float, float] = ALL_AREAS  # unmatched detections of another area are ignored


class Scene:
    """The people and the evaluated detections of a dataset, in pairs.

    Args:
        truth: the annotations.
        detections: the predicted poses, in the order of the file.
        protocol: whose keypoints and sigmas are compared.
    """

    def __init__(self, truth: GroundTruth, detections: Detections, protocol: Protocol) -> None:
        self.truth = truth
        self.skeleton = protocol.skeleton
        self.sigmas = np.asarray(protocol.skeleton.sigmas, np.float64)
        people = annotated_people(truth)
        self.person_rows = np.argsort(people.image, kind="stable")  # of the people in `truth`
        self.people = people[self.person_rows]
        self.positions = np.sort(evaluated(detections))  # of the detections in those given
        self.detections = detections[self.positions]
        self.num_images = truth.num_images
        self.people_in = np.bincount(self.people.image, minlength=self.num_images)
        self.person, self.detection = pairs(self.people_in, self.detections.image)
        partners_of = self.people_in[self.detections.image]
        self.first_pair = np.cumsum(partners_of) - partners_of  # (D,)
        self._grouped: tuple[Floats | None, list[Group]] = (None, [])
        self.partners_of = partners_of  # (D,) number of people in the detection's image

    @cached_property
    def everybody(self) -> Counted:
        """The people whom the evaluation counts."""
        return self.counted()

    def counted(
        self, area: tuple[float, float] = ALL_AREAS, chosen: Flags | None = None
    ) -> Counted:
        """Return the people whom an evaluation counts, within limits of area.

        Args:
            area: square pixels, both ends included.
            chosen: (N,) False for further people to ignore, in the order of the ground truth.
        """
        people = self.people
        flags = people.required & ~people.crowd & within(people.area, area)
        if chosen is not None:
            flags &= chosen[self.person_rows]
        return Counted(flags, area)

    @cached_property
    def original(self) -> Poses:
        """The detections as they are in the file."""
        keypoints = self.detections.keypoints
        return Poses(
            keypoints, self.detections.scores, self.oks(keypoints, self.person, self.detection)
        )

    def oks(self, keypoints: Floats, person: Indices, detection: Indices) -> Floats:
        """Return the (M,) OKS of pairs."""
        found = np.empty(len(person))
        for start in range(0, len(person), _PAIRS):
            p, d = person[start : start + _PAIRS], detection[start : start + _PAIRS]
            similarity = similarities(self.people, keypoints, p, d, self.skeleton.sigmas)
            found[start : start + _PAIRS] = mean_similarity(similarity, self.people.labelled[p])
        return found

    def moved(self, poses: Poses, keypoints: Floats) -> Poses:
        """Return poses with other keypoints."""
        changed = (keypoints != poses.keypoints).any((1, 2))
        at = np.flatnonzero(changed[self.detection])
        oks = poses.oks.copy()
        oks[at] = self.oks(keypoints, self.person[at], self.detection[at])
        return replace(poses, keypoints=keypoints, oks=oks)

    def partners(
        self, poses: Poses, counted: Sequence[Counted], thresholds: Floats = THRESHOLDS
    ) -> Partners:
        """Return the (T, C, D) person whom each detection is matched with; -1: nobody."""
        if poses.scores is not self._grouped[0]:
            groups = image_groups(self.people_in, self.detections.image, poses.scores)
            self._grouped = poses.scores, list(groups)
        people = np.stack([one.people for one in counted])
        oks = np.broadcast_to(poses.oks, (len(people), len(poses.oks)))
        places = np.arange(len(self.positions))
        return partners(self._grouped[1], oks, people, self.people.crowd, thresholds, places)

    def outcome(self, poses: Poses, counted: Counted, thresholds: Floats = THRESHOLDS) -> Outcome:
        """Match detections with people."""
        return next(self.outcomes(poses, [counted], thresholds))

    def outcomes(
        self, poses: Poses, counted: Sequence[Counted], thresholds: Floats = THRESHOLDS
    ) -> Iterator[Outcome]:
        """Yield the matches of detections with several selections of people."""
        for start in range(0, len(counted), _TOGETHER):
            chosen = counted[start : start + _TOGETHER]
            partner = self.partners(poses, chosen, thresholds)
            for index, one in enumerate(chosen):
                own = partner[:, index]
                yield Outcome(
                    scene=self,
                    scores=poses.scores,
                    partner=own,
                    correct=correct(own, one.people),
                    wrong=(own < 0) & within(self.detections.area, one.area),
                    counted=one.people,
                )

    def outcome_of(self, kept: Flags) -> Outcome:
        """Match the detections of the file of which `kept`, (D,), is True; the others vanish."""
        poses = self.original
        # They come last, and are like nobody.
        scores = np.where(kept, poses.scores, -np.inf)
        oks = np.where(kept[self.detection], poses.oks, -1.0)
        outcome = self.outcome(replace(poses, scores=scores, oks=oks), self.everybody)
        return replace(outcome, wrong=outcome.wrong & kept)

    def in_truth(self, people: Flags) -> Indices:
        """Return the chosen ones of (N,) people as indices into the ground truth, ascending."""
        return np.sort(self.person_rows[people])

    def best_oks(self, poses: Poses, counted: Counted) -> Floats:
        """Return (D,) the highest OKS with a person who counts; 0 if there is none."""
        return self.highest(np.where(counted.people[self.person], poses.oks, 0.0))

    def highest(self, values: Floats) -> Floats:
        """Return (D,) the highest of the (M,) values of each detection's pairs; 0 if none."""
        best = np.zeros(len(self.first_pair))
        some = self.partners_of > 0
        if some.any():
            best[some] = np.maximum.reduceat(values, self.first_pair[some])
        return best

    def image_blocks(self, detections: int) -> Iterator[Indices]:
        """Yield images with detections, some at a time, which have so many detections together."""
        count = np.bincount(self.detections.image, minlength=self.num_images)
        images = np.flatnonzero(count)
        block = np.cumsum(count[images]) // detections
        for start, end in zip(*_runs(block), strict=True):
            yield images[start:end]


def _runs(values: Indices) -> tuple[list[int], list[int]]:
    """Return where runs of equal values begin and end."""
    if not len(values):
        return [], []
    ends = [*(np.flatnonzero(np.diff(values)) + 1).tolist(), len(values)]
    return [0, *ends[:-1]], ends


@dataclass(frozen=True)
class Outcome:
    """Which detections found whom."""

    scene: Scene
    scores: Floats  # (D,)
    partner: Partners  # (T, D) index of the person; -1: nobody
    correct: Flags  # (T, D) found a person who counts
    wrong: Flags  # (T, D) found nobody; neither of both: ignored
    counted: Flags  # (N,) people to find

    @cached_property
    def found(self) -> Flags:
        """(T, N) whether a detection matches the person, also one who is ignored."""
        found = np.zeros((len(self.partner), len(self.counted) + 1), np.bool_)
        np.put_along_axis(found, self.partner.astype(np.int64), True, axis=1)
        return found[:, :-1]

    @cached_property
    def order(self) -> Indices:
        """(D,) from the highest score, equal ones by image, as in the official tools."""
        return np.lexsort((self.scene.detections.image, -self.scores))

    def matches(self) -> Matches:
        """Return which detections are right and wrong, from the highest score."""
        order, scene = self.order, self.scene
        return Matches(
            self.scores[order],
            scene.detections.image[order],
            self.correct[:, order],
            self.wrong[:, order],
            np.bincount(scene.people.image[self.counted], minlength=scene.num_images),
        )

    def curves(self) -> Curves:
        """Return precision and recall; all ten thresholds must have been matched."""
        return self.matches().curves()
