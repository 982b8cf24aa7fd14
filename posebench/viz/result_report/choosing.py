"""Which images a report shows, and what they show: people, detections and what is wrong with them.

Shapes: I images, K keypoints.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from posebench.bench.analysis import CLASSES, DETECTION_KINDS, Analysis
from posebench.bench.verdict import ERRORS
from posebench.ground_truth import GroundTruth
from posebench.metrics.matching import Detections, Flags, Floats, Indices
from posebench.viz.colours import RGB
from posebench.viz.result_report.gallery import Card
from posebench.viz.result_report.poses import Box, Drawn, Mark, Panel

Pictures = Callable[[int], RGB | None]

_WRONG_KEYPOINTS = ("jitter", "inversion", "swap", "miss")
_TRUE = DETECTION_KINDS.index("true")
_SPARE = 2  # detections beyond the number of people, where nothing says which to show


@dataclass(frozen=True)
class Seen:
    """What a model sees, and what is known about its errors."""

    name: str
    truth: GroundTruth
    detections: Detections
    analysis: Analysis | None

    @cached_property
    def least(self) -> float:
        """The score from which on detections are shown: that of the best F1 at OKS 0.5."""
        best = self.analysis.calibration.best if self.analysis else ()
        return next((one.score for one in best if one.oks == 0.5 and one.f1 > 0), -np.inf)

    @cached_property
    def shown(self) -> Flags:
        """Whether each analysed detection is shown."""
        assert self.analysis is not None
        records = self.analysis.detections
        return np.asarray((records.score >= self.least) | (records.kind_50 == _TRUE))

    @cached_property
    def _rows(self) -> tuple[Indices, Indices]:
        """Analysed detections sorted by image, and where each image's begin."""
        assert self.analysis is not None
        return _sorted(self.analysis.detections.image, self.truth.num_images)

    @cached_property
    def _joints(self) -> tuple[Indices, Indices]:
        """Their keypoints, sorted by detection."""
        assert self.analysis is not None
        return _sorted(self.analysis.joints.detection, len(self.analysis.detections))

    @cached_property
    def _raw(self) -> tuple[Indices, Indices]:
        """All detections, sorted by the rank of their image."""
        return _sorted(self.detections.image, self.truth.num_images)

    def rows(self, image: int) -> list[int]:
        """Return the analysed detections of an image that are shown, the best score first."""
        assert self.analysis is not None
        order, first = self._rows
        own = order[first[image] : first[image + 1]]
        own = own[self.shown[own]]
        best = np.argsort(-self.analysis.detections.score[own], kind="stable")
        return [int(row) for row in own[best]]

    def joints(self, detection: int) -> list[int]:
        order, first = self._joints
        return [int(joint) for joint in order[first[detection] : first[detection + 1]]]

    def positions(self, image: int, most: int) -> list[int]:
        """Return the detections of an image with the best scores, in no analysis."""
        order, first = self._raw
        rank = int(self.truth.rank[image])
        own = order[first[rank] : first[rank + 1]]
        best = np.argsort(-self.detections.scores[own], kind="stable")[:most]
        return [int(position) for position in own[best]]


def _sorted(values: Indices, count: int) -> tuple[Indices, Indices]:
    order = np.argsort(values, kind="stable")
    return order, np.searchsorted(values[order], np.arange(count + 1))


# ----------------------------------------------------------------------------------------- images


def worst_images(seen: Seen, each: int) -> dict[int, list[str]]:
    """Return the images in which each kind of error is worst.

    Args:
        seen: a model with its analysis.
        each: number of images for each kind.

    Returns:
        Index of an image -> the kinds of which it is among the worst; those of one kind together.
    """
    found: dict[int, list[str]] = {}
    for kind, weight in _weights(seen).items():
        for image in np.argsort(-weight, kind="stable")[:each].tolist():
            if weight[image] > 0:
                found.setdefault(image, []).append(kind)
    return found


def _weights(seen: Seen) -> dict[str, Floats]:
    """Return how bad each kind of error is in each of the (I,) images."""
    analysis = seen.analysis
    assert analysis is not None
    images, records, joints = seen.truth.num_images, analysis.detections, analysis.joints
    weights: dict[str, Floats] = {}
    shown = seen.shown[joints.detection]
    for kind in ("miss", "swap", "inversion", "jitter"):
        own = (joints.kind == CLASSES.index(kind)) & shown
        lost = np.where(own, 1 - joints.similarity, 0.0)
        weights[kind] = _summed(records.image[joints.detection], lost, images)
    rank = np.argsort(np.argsort(records.score)) / max(len(records), 1)  # share of lower scores
    for kind in ("background", "duplicate"):
        own = (records.kind_50 == DETECTION_KINDS.index(kind)) & seen.shown
        weights[kind] = _summed(records.image, np.where(own, 0.1 + rank, 0.0), images)
    people = analysis.people
    missed = (people.found_at == 0) & ~people.ignored
    side = np.sqrt(people.area / max(float(people.area.max(initial=0.0)), 1.0))
    weights["missed"] = _summed(people.image, np.where(missed, 1 + side, 0.0), images)
    return weights


def _summed(image: Indices, weights: Floats, images: int) -> Floats:
    return np.bincount(image, weights, images).astype(np.float64)


# ------------------------------------------------------------------------------------------ cards


def card(
    image: int,
    truth: GroundTruth,
    seen: Sequence[Seen],
    pictures: Pictures,
    *,
    facts: str = "",
    better: str = "",
) -> Card:
    """Return the card of one image: as annotated, and as each model sees it."""
    picture = pictures(image)
    size = _size(truth, image, picture)
    people = [index for index in truth.of_image(image).tolist() if truth.people[index]]
    number = {person: place for place, person in enumerate(people)}
    annotated = [_annotated(truth, person, number[person]) for person in people]
    panels = [Panel("annotated", annotated)]
    for place, one in enumerate(seen):
        panels.append(_panel(one, place, image, number))
    tokens = sorted(
        {mark.token for panel in panels for mark in panel.marks}
        | {box.token for panel in panels for box in panel.boxes}
        | {f"score//{place}" for place, one in enumerate(seen) if _misranked(one, image)}
    )
    name = truth.file_names[image] or f"image {truth.image_id(image)}"
    count = "1 person" if len(people) == 1 else f"{len(people)} people"
    line = ". ".join(filter(None, (count, facts)))
    return Card(str(image), name, line, size, picture, panels, tokens, better)


def _size(truth: GroundTruth, image: int, picture: RGB | None) -> tuple[float, float]:
    if picture is not None:
        return float(picture.shape[1]), float(picture.shape[0])
    width, height = truth.sizes[image].tolist()
    if width > 0 and height > 0:
        return float(width), float(height)
    # The file does not say: what encloses all people.
    boxes = truth.boxes[truth.of_image(image)]
    if not len(boxes):
        return 640.0, 480.0
    right, bottom = (boxes[:, :2] + boxes[:, 2:]).max(0).tolist()
    return max(1.05 * right, 1.0), max(1.05 * bottom, 1.0)


def _annotated(truth: GroundTruth, person: int, number: int) -> Drawn:
    keypoints = np.asarray(truth.keypoints[person], np.float64)
    return Drawn(keypoints[:, :2], keypoints[:, 2] > 0, keypoints[:, 2] == 1, number)


def _panel(seen: Seen, place: int, image: int, number: Mapping[int, int]) -> Panel:
    """Return what a model sees; `number` has the image's people with their colours."""
    points = seen.detections.keypoints
    if seen.analysis is None:
        chosen = seen.positions(image, len(number) + _SPARE)
        drawn = [
            Drawn(points[p], np.isfinite(points[p]).all(-1), None, colour, _score(seen, p))
            for colour, p in enumerate(chosen)
        ]
        return Panel(seen.name, drawn)
    analysis, truth = seen.analysis, seen.truth
    records, joints = analysis.detections, analysis.joints
    names = truth.skeleton.keypoints
    drawn, marks, boxes = [], [], []
    for row in seen.rows(image):
        position = int(records.position[row])
        own = points[position]
        colour = number.get(int(records.person[row]))
        absent = [
            int(joints.keypoint[j]) for j in seen.joints(row) if _kind(analysis, j) == "absent"
        ]
        visible = np.isfinite(own).all(-1)
        visible[absent] = False
        drawn.append(Drawn(own, visible, None, colour, _score(seen, position)))
        kind = DETECTION_KINDS[int(records.kind_50[row])]
        if kind in ("duplicate", "background") and visible.any():
            about = f"{ERRORS[kind].label}, score {records.score[row]:.2f}"
            low, high = own[visible].min(0), own[visible].max(0)
            boxes.append(Box(f"{kind}//{place}", _pair(low), _pair(high), about))
        for joint in seen.joints(row):
            kind = _kind(analysis, joint)
            if kind not in _WRONG_KEYPOINTS:
                continue
            k, person = int(joints.keypoint[joint]), int(joints.person[joint])
            right = np.asarray(truth.keypoints[person, k, :2], np.float64)
            about = f"{names[k].replace('_', ' ')}: {kind}, {joints.pixels[joint]:.0f} px off"
            marks.append(Mark(f"{kind}/{k}/{place}", _pair(own[k]), _pair(right), about))
    people = analysis.people
    for person in number:
        if people.found_at[person] == 0 and not people.ignored[person]:
            x, y, width, height = truth.boxes[person].tolist()
            boxes.append(Box(f"missed//{place}", (x, y), (x + width, y + height), "missed person"))
    return Panel(seen.name, drawn, marks, boxes, _notes(marks, boxes, names))


def _score(seen: Seen, position: int) -> str:
    score = float(seen.detections.scores[position])
    return f"{score:.2f}" if abs(score) < 100 else f"{score:.3g}"


def _kind(analysis: Analysis, joint: int) -> str:
    return CLASSES[int(analysis.joints.kind[joint])]


def _pair(point: Floats) -> tuple[float, float]:
    return float(point[0]), float(point[1])


def _misranked(seen: Seen, image: int) -> bool:
    """Return whether a detection that is not true has a higher score than one that is."""
    if seen.analysis is None:
        return False
    records = seen.analysis.detections
    true = [records.kind_50[row] == _TRUE for row in seen.rows(image)]
    return False in true and True in true[true.index(False) :]


_MANY = 4  # keypoints of one class that are named


def _notes(marks: Sequence[Mark], boxes: Sequence[Box], names: Sequence[str]) -> list[str]:
    """Return what is wrong in words: "2 swaps (left wrist, right wrist)"."""
    notes = []
    by_kind: dict[str, list[str]] = {}
    for mark in marks:
        kind, keypoint, _ = mark.token.split("/")
        by_kind.setdefault(kind, []).append(names[int(keypoint)].replace("_", " "))
    for kind in ("miss", "swap", "inversion", "jitter"):
        own = by_kind.get(kind, [])
        if own:
            listed = f" ({', '.join(own)})" if len(own) <= _MANY else ""
            notes.append(f"{_number(len(own), kind)}{listed}")
    for kind, count in Counter(box.token.partition("/")[0] for box in boxes).items():
        notes.append(_number(count, kind))
    return notes


_ONE = {
    "miss": "miss", "swap": "swap", "inversion": "inversion", "jitter": "jitter",
    "duplicate": "duplicate", "background": "false positive", "missed": "missed person",
}  # fmt: skip


def _number(count: int, kind: str) -> str:
    return f"{count} {_ONE[kind] if count == 1 else ERRORS[kind].label}"
