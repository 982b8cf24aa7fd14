"""Classes of predicted keypoints, and poses in which some of them are mended.

A detection is compared with the person whom it matches at an OKS of 0.1. Each of that person's
labelled keypoints is good, or a jitter, inversion, swap or miss, by the annotated keypoint that the
predicted one is most similar to: of all people of the image, the same keypoint or its mirror.

Source: Ronchi and Perona, "Benchmarking and Error Diagnosis in Multi-Instance Pose Estimation",
ICCV 2017. docs/analysis.md lists what differs from the published program.

Shapes: L localised detections, K keypoints, D detections, M pairs of both in one image.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from posebench.bench.analysis.scene import Counted, Poses, Scene
from posebench.bench.analysis.values import (
    ABSENT,
    CLASSES,
    GOOD,
    INVERSION,
    JITTER,
    MISS,
    SWAP,
    Codes,
)
from posebench.layers.oks import similarity_exponent
from posebench.metrics.matching import Flags, Floats, Indices

LOCALISED = np.array([0.1])  # OKS from which on a detection is of a person

_NEAR, _GOOD = 0.5, 0.85  # similarities that a miss stays below, and a good keypoint is above
_JOINTS = ("miss", "swap", "inversion", "jitter")


@dataclass(frozen=True)
class Correction:
    """How near to the annotation a keypoint is put that is mended."""

    factor: float  # of the distance sqrt(-2 area log(similarity)) sigma
    nudge: float = 0.0  # added to the similarities of 0.5 and 0.85


# The published program leaves out the 2 of OKS's (2 sigma)^2, so that a similarity s becomes
# s^(1/4): misses come to 0.84 instead of 0.5.
PUBLISHED = Correction(1.0)
# A pose whose keypoints all have a similarity of 0.5 would lie exactly on the threshold of OKS 0.5,
# where rounding decides.
MEANT = Correction(2.0, 1e-6)
CORRECTIONS = {"meant": MEANT, "published": PUBLISHED}


@dataclass(frozen=True)
class Taxonomy:
    """The class of each keypoint of localised detections."""

    scene: Scene
    detection: Indices  # (L,)
    person: Indices  # (L,) in the order of the scene
    oks: Floats  # (L,)
    ignored: Flags  # (L,) the person does not count
    kind: Codes  # (L, K) index into CLASSES; -1: not labelled, or nobody to be classified
    best: Floats  # (L, K) the highest similarity, at least 0
    similarity: Floats  # (L, K) with the person's own keypoint; -1: not labelled
    at_person: Indices  # (L, K) whose keypoint it is most similar to; -1: none above 0.5
    at_mirror: Flags  # (L, K) it is the mirrored one

    def counts(self, people: Flags | None = None) -> Indices:
        """Return the (classes, K) number of keypoints of each class.

        Args:
            people: (N,) True for those whose keypoints are counted; None: all who count.
        """
        chosen = ~self.ignored if people is None else people[self.person]
        kinds = self.kind[chosen]
        return np.stack([(kinds == code).sum(0) for code in range(len(CLASSES))])

    def mended(self, poses: Poses, kinds: Collection[str], correction: Correction) -> Poses:
        """Return poses in which the keypoints of some classes were mended.

        A keypoint is put to the right of the annotated one: a miss where it just is a jitter, a
        jitter where it just is good; an inverted or swapped one as near as it is to the wrong one.

        Args:
            poses: the poses, with other classes mended or not.
            kinds: of "miss", "swap", "inversion" and "jitter".
            correction: the distance.
        """
        targets = {
            "miss": (_NEAR + correction.nudge, (MISS, ABSENT)),
            "jitter": (_GOOD + correction.nudge, (JITTER,)),
            "inversion": (None, (INVERSION,)),
            "swap": (None, (SWAP,)),
        }
        scene = self.scene
        keypoints = poses.keypoints.copy()
        for kind in kinds:
            similarity, codes = targets[kind]
            row, joint = np.nonzero(np.isin(self.kind, codes))
            person = self.person[row]
            goal = self.best[row, joint] if similarity is None else similarity
            area = scene.people.area[person]
            distance = np.sqrt(-2 * area * np.log(goal)) * scene.sigmas[joint]
            place = scene.people.keypoints[person, joint]  # a copy
            place[:, 0] += correction.factor * distance
            keypoints[self.detection[row], joint] = place
        return scene.moved(poses, keypoints)

    def similarity_of(self, poses: Poses) -> Floats:
        """Return the (L, K) similarity with the person's own keypoints; nan: not labelled."""
        scene = self.scene
        found = poses.keypoints[self.detection]
        similarity = _similarity(found, scene.people.keypoints[self.person], self.person, scene)
        return np.where(scene.people.labelled[self.person], similarity, np.nan)


def classify(scene: Scene, counted: Counted) -> Taxonomy:
    """Find the person of each detection, and classify the keypoints.

    Args:
        scene: people and detections.
        counted: the people who are to be found. Detections that match others are classified too,
            but not counted, unless none of these people's keypoints counts.
    """
    poses = scene.original
    [[partner]] = scene.partners(poses, [counted], LOCALISED)
    detection = np.flatnonzero(partner >= 0)
    person = partner[detection].astype(np.int64)
    own_pair = scene.first_pair[detection] + person - _first_person(scene)[detection]
    best, source, other = _nearest(scene, detection, own_pair)
    labelled = scene.people.labelled[person]
    own = _similarity(poses.keypoints[detection], scene.people.keypoints[person], person, scene)
    kind = class_of(best, source)
    nowhere = (poses.keypoints[detection] == 0).all(-1)
    kind[nowhere & (kind == MISS)] = ABSENT
    kind[~labelled | ~scene.people.required[person][:, None]] = -1
    near = best >= _NEAR
    return Taxonomy(
        scene=scene,
        detection=detection,
        person=person,
        oks=poses.oks[own_pair],
        ignored=~counted.people[person],
        kind=kind,
        best=best,
        similarity=np.where(labelled, own, -1.0),
        at_person=np.where(near, np.where(source % 2 == 0, person[:, None], other), -1),
        at_mirror=source >= 2,
    )


def class_of(similarity: Floats, source: Indices) -> Codes:
    """Return the class of keypoints of any shape.

    Args:
        similarity: the highest with any annotated keypoint.
        source: where that keypoint is: 0 it is the person's own, 2 its mirror, 1 or 3 somebody
            else's.

    Returns:
        Index into CLASSES. A similarity of exactly 0.85, which the published program leaves without
        a class, is a jitter.
    """
    kind = np.select(
        [similarity < _NEAR, source == 0, source == 2],
        [MISS, np.where(similarity > _GOOD, GOOD, JITTER), INVERSION],
        SWAP,
    )
    return kind.astype(np.int8)


def _first_person(scene: Scene) -> Indices:
    """Return (D,) the first person of each detection's image."""
    return (np.cumsum(scene.people_in) - scene.people_in)[scene.detections.image]


def _similarity(found: Floats, keypoints: Floats, person: Indices, scene: Scene) -> Floats:
    """Return the similarity of (m, K, 2) predicted and annotated keypoints of m pairs."""
    squared = ((found - keypoints) ** 2).sum(-1)
    exponent = similarity_exponent(squared, scene.people.area[person], scene.sigmas)
    return np.asarray(np.exp(exponent), np.float64)


def _nearest(
    scene: Scene, detection: Indices, own_pair: Indices
) -> tuple[Floats, Indices, Indices]:
    """Return what each keypoint of L detections is most similar to.

    Returns:
        (L, K) the highest similarity, at least 0.
        (L, K) 0: the person's own keypoint, 1: that of somebody else, 2: the person's mirrored
            keypoint, 3: somebody else's. Of equally similar ones it is the first of these.
        (L, K) the other person, if it is one.
    """
    people, size = scene.people, len(scene.skeleton)
    mirror = np.arange(size)
    for first, second in scene.skeleton.pairs or ():
        mirror[[first, second]] = second, first
    rows = len(detection)
    best = np.full((4, rows, size), -1.0)
    other = np.zeros((4, rows, size), np.int64)
    for block in _blocks(scene.partners_of[detection]):
        own = own_pair[block]
        lengths = scene.partners_of[detection[block]]
        starts = np.cumsum(lengths) - lengths
        row = np.repeat(np.arange(len(own)), lengths)
        pair = scene.first_pair[detection[block]][row] + np.arange(len(row)) - starts[row]
        person = scene.person[pair]
        found = scene.detections.keypoints[detection[block]][row]
        for offset, joints in ((0, slice(None)), (2, mirror)):
            similarity = _similarity(found, people.keypoints[person][:, joints], person, scene)
            similarity[~people.labelled[person][:, joints]] = -1.0
            mine = own - scene.first_pair[detection[block]] + starts
            best[offset, block] = similarity[mine]
            similarity[mine] = -1.0
            highest = np.maximum.reduceat(similarity, starts)
            best[offset + 1, block] = highest
            at = np.where(similarity == highest[row], person[:, None], len(people.area))
            other[offset + 1, block] = np.minimum.reduceat(at, starts)
    source = best.argmax(0)
    pick = (source, *np.ogrid[:rows, :size])
    return np.maximum(best[pick], 0.0), source, other[pick]


def _blocks(pairs: Indices, limit: int = 65536) -> list[slice]:
    """Return slices of detections with about so many pairs together."""
    ends = np.flatnonzero(np.diff(np.cumsum(pairs) // limit)) + 1
    edges = [0, *ends.tolist(), len(pairs)]
    return [slice(a, b) for a, b in pairwise(edges) if b > a]
