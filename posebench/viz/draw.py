"""Poses drawn on an image: a hue for each person, a lightness for each side of the body.

Shapes: N people, K keypoints, H x W pixels. A coordinate is an index: (3, 5) is the centre of the
pixel in column 3 and row 5.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from posebench.skeleton import Skeleton, side_and_part
from posebench.structures import PosePredictions, Poses
from posebench.viz.capsules import Capsules, Floats, Strokes, paint
from posebench.viz.colours import INK, RGB, WHITE, Colour, shades_of
from posebench.viz.text import draw_text, text_width

# The limbs of a keypoint are dashed if its score is below this share of the person's highest.
DASHED_BELOW = 0.3
_OUTLINE_OPACITY = 0.55


def draw_poses(
    image: RGB,
    predictions: PosePredictions,
    skeleton: Skeleton,
    *,
    min_score: float = 0.0,
    colours: Sequence[int] | None = None,
    numbers: Sequence[int] | None = None,
) -> RGB:
    """Draw predicted people with their scores; the best is drawn on top.

    Left limbs are light, right limbs dark, and limbs that join both sides medium. The lower a
    keypoint's score is relative to the person's highest, the smaller and fainter is its disc; a
    limb is as faint as its fainter end.

    Args:
        image: (H, W, 3) uint8 RGB, not modified.
        predictions: in pixels of the image; keypoints that are not finite are not drawn.
        skeleton: names the K keypoints.
        min_score: people with a lower score are not drawn.
        colours: one number per person; equal numbers, equal colours. None: 0, 1, 2, ...
        numbers: of people who are tracked, to be drawn in place of their scores and to choose the
            colours.

    Returns:
        (H, W, 3) uint8 RGB, a new array.

    Raises:
        ValueError: the skeleton has another number of keypoints.
    """
    if colours is None and numbers is not None:
        colours = [number - 1 for number in numbers]
    _check_keypoints(predictions.keypoints.shape[1], skeleton)
    keypoints = predictions.keypoints.detach().cpu().double().numpy()
    certainty = np.nan_to_num(predictions.keypoint_scores.detach().cpu().double().numpy())
    # The methods' keypoint scores have different scales (CID's include the centre's score), so they
    # are shown relative to the person's highest.
    certainty /= np.maximum(certainty.max(-1, keepdims=True, initial=0), 1e-9)
    scores = predictions.scores.detach().cpu().double().numpy()
    drawn = image.copy()
    shown = [i for i in range(len(scores)) if scores[i] >= min_score]
    people = {}
    for i in shown:
        dashed = certainty[i] < DASHED_BELOW
        people[i] = _Person(
            points=keypoints[i],
            drawn=np.isfinite(keypoints[i]).all(-1),
            opacity=np.clip(0.15 + 1.2 * certainty[i], 0.15, 1.0),
            hollow=np.zeros_like(dashed),
            dashed=dashed,
            shades=shades_of(i if colours is None else colours[i]),
        )
    strokes = [_strokes(people[i], skeleton, image.shape) for i in reversed(shown)]
    labels: list[_Label] = []
    for i in shown:
        text = f"{scores[i]:.2f}" if numbers is None else f"#{numbers[i]}"
        if label := _place_label(people[i], text, image.shape, labels):
            labels.append(label)
            strokes.append(label.strokes())
    _paint(drawn, strokes)
    for label in labels:
        draw_text(drawn, label.text, label.centre, label.size)
    return drawn


def draw_annotations(image: RGB, poses: Poses, skeleton: Skeleton) -> RGB:
    """Draw annotated people: visible keypoints filled, occluded ones hollow with dashed limbs.

    Args:
        image: (H, W, 3) uint8 RGB, not modified.
        poses: in pixels of the image; unlabelled keypoints are not drawn.
        skeleton: names the K keypoints.

    Returns:
        (H, W, 3) uint8 RGB, a new array.

    Raises:
        ValueError: the skeleton has another number of keypoints.
    """
    _check_keypoints(poses.keypoints.shape[1], skeleton)
    drawn = image.copy()
    keypoints = poses.keypoints.detach().cpu().double().numpy()
    visibility = poses.visibility.detach().cpu().numpy()
    strokes = []
    # Datasets usually list the most prominent people first.
    for i in reversed(range(len(poses))):
        occluded = visibility[i] == 1
        person = _Person(
            points=keypoints[i],
            drawn=(visibility[i] > 0) & np.isfinite(keypoints[i]).all(-1),
            opacity=np.ones(len(skeleton)),
            hollow=occluded,
            dashed=occluded,
            shades=shades_of(i),
        )
        strokes.append(_strokes(person, skeleton, image.shape))
    _paint(drawn, strokes)
    return drawn


def draw_paths(image: RGB, paths: NDArray[np.float64]) -> RGB:
    """Draw the paths of points: a hollow disc at the start, and a line to the end.

    Args:
        image: (H, W, 3) uint8 RGB, not modified.
        paths: (T, K, 2) x, y of K points at T times; steps that are not finite are not drawn.

    Returns:
        (H, W, 3) uint8 RGB, a new array.
    """
    drawn = image.copy()
    width = max(1.2, 0.0025 * float(np.hypot(*image.shape[:2])))
    strokes = []
    for path in paths.transpose(1, 0, 2):
        path = path[np.isfinite(path).all(-1)]
        if not len(path):
            continue
        lines = Capsules(path[:-1], path[1:], radius=width / 2, opacity=0.9)
        radius = 1.8 * width
        first = Capsules(path[0], path[0], radius=radius, opacity=0.9, hole=0.5 * radius)
        parts = lines, first
        strokes += [part.strokes(INK, _OUTLINE_OPACITY, grown=1.0) for part in parts]
        strokes += [part.strokes(WHITE) for part in parts]
    _paint(drawn, strokes)
    return drawn


def _check_keypoints(found: int, skeleton: Skeleton) -> None:
    if found != len(skeleton):
        raise ValueError(
            f"{skeleton.name} has {len(skeleton)} keypoints, but the poses have {found}. "
            "Draw them with the skeleton of their model or dataset."
        )


@dataclass(frozen=True)
class _Person:
    points: NDArray[np.float64]  # (K, 2)
    drawn: NDArray[np.bool_]  # (K,)
    opacity: NDArray[np.float64]  # (K,) in [0, 1]
    hollow: NDArray[np.bool_]  # (K,)
    dashed: NDArray[np.bool_]  # (K,) its limbs are dashed
    shades: dict[str, Colour]  # side -> colour


def _strokes(person: _Person, skeleton: Skeleton, shape: tuple[int, ...]) -> Strokes:
    width = _line_width(person, shape)
    outline = max(0.6, 0.3 * width)
    sides = _sides(skeleton)
    shades = np.array([person.shades[side] for side in _SIDES], np.float64)
    radii = width * (0.6 + 0.4 * person.opacity)

    limbs = np.array(skeleton.limbs, np.intp).reshape(-1, 2)
    both = person.drawn[limbs].all(1)
    a, b = limbs[both].T
    start, end = person.points[a], person.points[b]
    # A limb ends at the rim of a hollow disc, so that the hole stays free.
    trims = np.where(person.hollow, 1.3 * radii, 0.0)
    length = np.maximum(np.hypot(*(end - start).T), np.maximum(trims[a] + trims[b], 1e-9))
    along = (end - start) / length[:, None]
    lines = Capsules(
        start + trims[a, None] * along,
        end - trims[b, None] * along,
        radius=width / 2,
        opacity=np.minimum(person.opacity[a], person.opacity[b]),
        dash=np.where(person.dashed[a] | person.dashed[b], 2.5 * width, 0.0),
    )

    k = np.flatnonzero(person.drawn)
    discs = Capsules(
        person.points[k],
        person.points[k],
        radius=radii[k],
        opacity=person.opacity[k],
        hole=np.where(person.hollow[k], 0.55 * radii[k], 0.0),
    )
    # All outlines of limbs first, so that none crosses a limb of the same person; each disc's with
    # the disc.
    return np.concatenate(
        [
            lines.strokes(INK, _OUTLINE_OPACITY, grown=outline),
            lines.strokes(shades[sides.limbs[both]]),
            np.stack(
                [
                    discs.strokes(INK, _OUTLINE_OPACITY, grown=outline),
                    discs.strokes(shades[sides.keypoints[k]]),
                ],
                axis=1,
            ).reshape(-1, 12),
        ]
    )


def _paint(image: RGB, strokes: Sequence[Strokes]) -> None:
    if strokes:
        paint(image, np.concatenate(strokes))


_SIDES = ("left", "centre", "right")


@dataclass(frozen=True)
class _SideIndices:
    """Indices into `_SIDES`."""

    limbs: NDArray[np.intp]
    keypoints: NDArray[np.intp]


@lru_cache
def _sides(skeleton: Skeleton) -> _SideIndices:
    limbs = [_SIDES.index(limb_side(skeleton, *limb)) for limb in skeleton.limbs]
    keypoints = [_SIDES.index(side_of(skeleton, k)) for k in range(len(skeleton))]
    return _SideIndices(np.array(limbs, np.intp), np.array(keypoints, np.intp))


def side_of(skeleton: Skeleton, k: int) -> str:
    """Return the side of a keypoint by its name, or else by its place in a pair, left first."""
    side, _ = side_and_part(skeleton.keypoints[k])
    if not side:
        places = [pair.index(k) for pair in skeleton.pairs or () if k in pair]
        side = ("left", "right")[places[0]] if places else "centre"
    return side


def limb_side(skeleton: Skeleton, start: int, end: int) -> str:
    """Return the side of a limb; from nose to left eye is left, from hip to hip is centre."""
    sides = {side_of(skeleton, k) for k in (start, end)} - {"centre"}
    return sides.pop() if len(sides) == 1 else "centre"


def _extent(person: _Person, shape: tuple[int, ...]) -> float:
    """Return the diagonal of the person's keypoints within the image, in pixels."""
    if not person.drawn.any():
        return 0.0
    inside = np.clip(person.points[person.drawn], 0, (shape[1], shape[0]))
    return float(np.hypot(*np.ptp(inside, axis=0)))


def _line_width(person: _Person, shape: tuple[int, ...]) -> float:
    """Return a limb's width in pixels.

    It is proportional to the person's size, or lines would hide the small people of a crowd, within
    bounds proportional to the image's size, since it is the image that is scaled to a screen.
    """
    diagonal = float(np.hypot(shape[0], shape[1]))
    width = np.clip(0.016 * _extent(person, shape), 0.0018 * diagonal, 0.0065 * diagonal)
    return max(1.2, float(width))


_Box: TypeAlias = tuple[float, float, float, float]  # left, top, right, bottom


@dataclass(frozen=True)
class _Label:
    text: str
    size: int  # of the font, pixels
    half: Floats  # (2,) half its width and height, pixels
    centre: tuple[float, float]
    colour: Colour

    @property
    def box(self) -> _Box:
        (x, y), (half_x, half_y) = self.centre, self.half.tolist()
        return x - half_x, y - half_y, x + half_x, y + half_y

    def strokes(self) -> Strokes:
        inner = np.array([self.half[0] - self.half[1], 0.0])
        pill = Capsules(
            self.centre - inner, self.centre + inner, radius=float(self.half[1]), opacity=0.9
        )
        outline = pill.strokes(INK, _OUTLINE_OPACITY, grown=1.0)
        return np.concatenate([outline, pill.strokes(self.colour)])


def _place_label(
    person: _Person, text: str, shape: tuple[int, ...], taken: Sequence[_Label]
) -> _Label | None:
    """Return the label with the score or number at the head; None: there is no free space.

    Args:
        person: whose label it is.
        text: the label.
        shape: of the image.
        taken: the labels so far.
    """
    height, width = shape[:2]
    extent = _extent(person, shape)
    diagonal = float(np.hypot(height, width))
    size = round(max(10.0, float(np.clip(0.05 * extent, 0.013 * diagonal, 0.018 * diagonal))))
    half = np.array([text_width(text, size) / 2 + 0.45 * size, 0.7 * size])
    within = (person.points >= 0).all(-1) & (person.points < (width, height)).all(-1)
    seen = person.points[person.drawn & within]
    # A label more than half as wide as its person would hide too much of it.
    if not len(seen) or extent < 4 * half[0]:
        return None
    head = seen[seen[:, 1].argmin()] - (0, 0.08 * extent)
    step = 2 * half + 1
    for shift in ((0, -0.5), (0, -1.5), (1, -0.5), (-1, -0.5), (1, 0.5), (-1, 0.5)):
        x, y = np.clip(head + shift * step, half, np.maximum((width, height) - half - 1, half))
        label = _Label(text, size, half, (float(x), float(y)), person.shades["centre"])
        if not any(_overlap(label.box, other.box) for other in taken):
            return label
    return None


def _overlap(a: _Box, b: _Box) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]
