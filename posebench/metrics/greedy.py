"""The greedy matching of COCO, of all images at a time.

Shapes: N people, D detections, M pairs of both in one image, T OKS thresholds, C criteria.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]
Flags = NDArray[np.bool_]
Partners = NDArray[np.int32]


@dataclass(frozen=True)
class Group:
    """All images with the same number of people P, those with the most detections first.

    Step d matches the detections of rank d, of the first images: those that have so many.
    """

    people: Indices  # (P, images), each image's last person first
    steps: list[tuple[Indices, Indices]]  # detections (n,), and their pairs (P, n) with the people


def image_groups(people_in: Indices, image: Indices, scores: Floats) -> Iterator[Group]:
    """Yield the groups of images in which there is something to match.

    Args:
        people_in: (images,) number of people; people are sorted by image.
        image: (D,) index of each detection's image; only those that are evaluated.
        scores: (D,) detections of equal scores are matched in the order given.
    """
    order = np.lexsort((-scores, image))
    detections_in = np.bincount(image, minlength=len(people_in))
    first_person = np.cumsum(people_in) - people_in
    first_detection = np.cumsum(detections_in) - detections_in
    partners = people_in[image]
    first_pair = np.cumsum(partners) - partners
    for count in np.unique(people_in[(people_in > 0) & (detections_in > 0)]).tolist():
        chosen = np.flatnonzero(people_in == count)
        chosen = chosen[np.argsort(-detections_in[chosen], kind="stable")]
        backwards = np.arange(count)[::-1, None]
        steps = []
        for rank in range(int(detections_in[chosen[0]])):
            active = chosen[detections_in[chosen] > rank]
            detection = order[first_detection[active] + rank]
            steps.append((detection, first_pair[detection] + backwards))
        yield Group(first_person[chosen] + backwards, steps)


def partners(
    groups: Sequence[Group],
    similarity: Floats,
    counted: Flags,
    crowd: Flags,
    thresholds: Floats,
    places: Indices,
) -> Partners:
    """Match each image's detections to its people by several criteria, the best first.

    A detection takes the person of the highest OKS who is not taken yet; one who is ignored only if
    no other reaches the threshold. Of equal ones it takes the last.

    Args:
        groups: the images, as `image_groups` returns them.
        similarity: (C, M) OKS of each pair, detection by detection.
        counted: (C, N) False for people who are ignored.
        crowd: (N,) whether several detections may match this annotation.
        thresholds: (T,) of OKS, ascending.
        places: (D,) where each detection is in the result.

    Returns:
        (T, C, D) index of the person; -1: nobody.
    """
    partner = np.full((len(thresholds), len(counted), len(places)), -1, np.int32)
    for group in groups:
        _match(group, similarity, counted, crowd, thresholds, partner, places)
    return partner


def _match(
    group: Group,
    similarity: Floats,
    counted: Flags,
    crowd: Flags,
    thresholds: Floats,
    partner: Partners,
    places: Indices,
) -> None:
    """Match the detections of a group of images by C criteria.

    Args:
        group: the images.
        similarity: (C, M) OKS of each pair.
        counted: (C, N) False for people who are ignored.
        crowd: (N,) whether several detections may match this annotation.
        thresholds: (T,) of OKS, ascending.
        partner: (T, C, D) index of the person; is set where a detection matches anybody.
        places: (D,) where each detection is in `partner`.
    """
    counted, crowd = counted[:, group.people], crowd[group.people]  # (C, P, images), (P, images)
    free = np.ones((len(thresholds), *counted.shape), np.bool_)
    for detections, pairs in group.steps:
        oks = similarity[:, pairs]  # (C, P, n)
        c, i = np.nonzero(oks.max(1) >= thresholds[0])  # the others match nobody
        oks = oks[c, :, i].T  # (P, near)
        available = free[:, c, :, i].transpose(2, 1, 0) & (oks[:, None] >= thresholds[:, None])
        person = _most_similar(oks, available, counted[c, :, i].T)
        t, near = np.nonzero(person >= 0)
        person, c, i = person[t, near], c[near], i[near]
        free[t, c, person, i] = crowd[person, i]
        partner[t, c, places[detections[i]]] = group.people[person, i]


def _most_similar(oks: Floats, available: Flags, counted: Flags) -> Indices:
    """Return whom each of n detections matches.

    Args:
        oks: (P, n)
        available: (P, T, n) whether a detection may match the person.
        counted: (P, n) False for people who are ignored.

    Returns:
        (T, n) index of the person; -1: nobody.
    """
    shape = available.shape[1:]
    person, best, found = np.full(shape, -1), np.full(shape, -1.0), np.zeros(shape, np.bool_)
    for index in range(len(oks)):
        better = np.where(counted[index] == found, oks[index] > best, counted[index])
        better &= available[index]
        np.copyto(person, index, where=better)
        np.copyto(best, oks[index], where=better)
        np.copyto(found, counted[index], where=better)
    return person
