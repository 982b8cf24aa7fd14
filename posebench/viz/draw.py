"""Poses drawn on an image: a hue for each person, a lightness for each side of the body.

Shapes: N people, K keypoints, H x W pixels. A coordinate is an index: (3, 5) is the centre of the
pixel in column 3 and row 5.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import TypeAlias

import matplotlib
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from posebench.skeleton import Skeleton, side_and_part
from posebench.structures import PosePredictions, Poses

RGB: TypeAlias = NDArray[np.uint8]  # (H, W, 3)
Colour: TypeAlias = tuple[int, int, int]

INK: Colour = (28, 28, 32)
_PATH: Colour = (255, 255, 255)

# OKLCH hues in degrees, ordered so that successive people differ as much as possible, also for the
# colour-blind (simulated after Machado et al., 2009), who can tell at most four hues apart. They
# repeat after eight people.
_HUES = (65, 255, 150, 350, 105, 305, 30, 210)
# Lightness and chroma of each side. Sides differ in lightness, which the colour-blind see and which
# survives greyscale printing.
_SIDES = {"left": (0.90, 0.09), "centre": (0.76, 0.14), "right": (0.58, 0.17)}

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
    for i in reversed(shown):
        _draw_person(drawn, people[i], skeleton)
    taken: list[_Box] = []
    for i in shown:
        text = f"{scores[i]:.2f}" if numbers is None else f"#{numbers[i]}"
        _draw_label(drawn, people[i], text, taken)
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
        _draw_person(drawn, person, skeleton)
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
    for path in paths.transpose(1, 0, 2):
        path = path[np.isfinite(path).all(-1)]
        lines = [
            Capsule(start, end, radius=width / 2, opacity=0.9) for start, end in pairwise(path)
        ]
        if len(path):
            radius = 1.8 * width
            lines.append(Capsule(path[0], path[0], radius=radius, opacity=0.9, hole=0.5 * radius))
        for line in lines:
            line.paint(drawn, INK, _OUTLINE_OPACITY, grown=1.0)
        for line in lines:
            line.paint(drawn, _PATH)
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


def _draw_person(image: RGB, person: _Person, skeleton: Skeleton) -> None:
    width = _line_width(person, image.shape)
    outline = max(0.6, 0.3 * width)
    limbs = [(a, b) for a, b in skeleton.limbs if person.drawn[a] and person.drawn[b]]
    radii = width * (0.6 + 0.4 * person.opacity)
    # A limb ends at the rim of a hollow disc, so that the hole stays free.
    trims = np.where(person.hollow, 1.3 * radii, 0.0)
    capsules = []
    for a, b in limbs:
        start, end = person.points[a], person.points[b]
        along = (end - start) / max(float(np.hypot(*(end - start))), trims[a] + trims[b], 1e-9)
        capsules.append(
            Capsule(
                start + trims[a] * along,
                end - trims[b] * along,
                radius=width / 2,
                opacity=min(person.opacity[a], person.opacity[b]),
                dash=2.5 * width if person.dashed[a] or person.dashed[b] else None,
            )
        )
    # All outlines first, so that none crosses a limb of the same person.
    for limb in capsules:
        limb.paint(image, INK, _OUTLINE_OPACITY, grown=outline)
    for (a, b), limb in zip(limbs, capsules, strict=True):
        limb.paint(image, person.shades[limb_side(skeleton, a, b)])
    for k in np.flatnonzero(person.drawn):
        point, opacity = person.points[k], float(person.opacity[k])
        radius = float(radii[k])
        hole = 0.55 * radius if person.hollow[k] else None
        disc = Capsule(point, point, radius=radius, opacity=opacity, hole=hole)
        disc.paint(image, INK, _OUTLINE_OPACITY, grown=outline)
        disc.paint(image, person.shades[side_of(skeleton, int(k))])


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


_BAND = 128  # rows that are painted together


@dataclass(frozen=True)
class Capsule:
    """The pixels within `radius` of the line from start to end: a limb, disc or label background.

    Painted from the exact distance of each pixel, so that edges are smooth and widths need not be
    whole numbers; OpenCV's lines are whole pixels wide.
    """

    start: NDArray[np.float64]  # (2,) x, y
    end: NDArray[np.float64]  # (2,)
    radius: float
    opacity: float = 1.0
    dash: float | None = None  # pixels from one dash to the next
    hole: float | None = None  # radius around the line that is left free, pixels

    def paint(self, image: RGB, colour: Colour, strength: float = 1.0, grown: float = 0.0) -> None:
        """Blend the shape into the image, in place.

        Args:
            image: (H, W, 3) uint8 RGB.
            colour: RGB.
            strength: multiplies the opacity.
            grown: pixels by which the shape is larger on every side.
        """
        radius = self.radius + grown
        ends = np.stack([self.start, self.end])
        height, width = image.shape[:2]
        left, top = np.clip(np.floor(ends.min(0) - radius - 1), 0, (width, height)).astype(int)
        right, bottom = np.clip(np.ceil(ends.max(0) + radius + 2), 0, (width, height)).astype(int)
        # Band by band, since a limb across a large image touches little of the box around it.
        for upper in range(top, bottom, _BAND):
            lower = min(upper + _BAND, bottom)
            line = self._columns(upper - radius - 1, lower + radius + 1)
            near = line + np.array([-radius - 1, radius + 2])
            first, last = np.clip(np.floor(near), left, right).astype(int)
            if first < last:
                part = image[upper:lower, first:last]
                self._paint_part(part, (first, upper), colour, strength, grown)

    def _columns(self, upper: float, lower: float) -> NDArray[np.float64]:
        """Return the least and the greatest x of the line between two rows; all if it is level."""
        (x, y), (dx, dy) = self.start, self.end - self.start
        if abs(dy) < 1e-9:
            return np.array([min(x, x + dx), max(x, x + dx)])
        share = np.clip((np.array([upper, lower]) - y) / dy, 0, 1)
        return np.sort(x + share * dx)

    def _paint_part(
        self, part: RGB, corner: tuple[int, int], colour: Colour, strength: float, grown: float
    ) -> None:
        """Blend the shape into a part of the image, whose top left pixel is `corner`."""
        radius = self.radius + grown
        x = np.arange(corner[0], corner[0] + part.shape[1]) - self.start[0]
        y = np.arange(corner[1], corner[1] + part.shape[0])[:, None] - self.start[1]
        dx, dy = self.end - self.start
        length = max(float(np.hypot(dx, dy)), 1e-9)
        along = np.clip((x * dx + y * dy) / length, 0, length)
        distance = np.hypot(x - along * dx / length, y - along * dy / length)
        coverage = np.clip(radius - distance + 0.5, 0, 1)
        if self.hole is not None:
            coverage *= np.clip(distance - (self.hole - grown) + 0.5, 0, 1)
        if self.dash is not None:
            from_middle = np.abs(np.mod(along, self.dash) - self.dash / 2)
            coverage *= np.clip(0.3 * self.dash + grown - from_middle + 0.5, 0, 1)
        _blend(part, coverage * (self.opacity * strength), colour)


def _blend(region: RGB, opacity: NDArray[np.float64], colour: Colour) -> None:
    """Mix a colour into a region in place, by an (h, w) opacity in [0, 1]."""
    target = np.array(colour, np.float64)
    mixed = region + opacity[..., None] * (target - region)
    region[:] = np.rint(mixed).astype(np.uint8)


_Box: TypeAlias = tuple[float, float, float, float]  # left, top, right, bottom


def _draw_label(image: RGB, person: _Person, text: str, taken: list[_Box]) -> None:
    """Write the score or number at the head, unless the label has no free space there.

    Args:
        image: (H, W, 3) uint8 RGB, changed in place.
        person: whose label it is.
        text: the label.
        taken: the boxes of the labels so far; the new one is added.
    """
    height, width = image.shape[:2]
    extent = _extent(person, image.shape)
    diagonal = float(np.hypot(height, width))
    size = round(max(10.0, float(np.clip(0.05 * extent, 0.013 * diagonal, 0.018 * diagonal))))
    half = np.array([text_width(text, size) / 2 + 0.45 * size, 0.7 * size])
    within = (person.points >= 0).all(-1) & (person.points < (width, height)).all(-1)
    seen = person.points[person.drawn & within]
    # A label more than half as wide as its person would hide too much of it.
    if not len(seen) or extent < 4 * half[0]:
        return
    head = seen[seen[:, 1].argmin()] - (0, 0.08 * extent)
    step = 2 * half + 1
    for shift in ((0, -0.5), (0, -1.5), (1, -0.5), (-1, -0.5), (1, 0.5), (-1, 0.5)):
        centre = np.clip(head + shift * step, half, np.maximum((width, height) - half - 1, half))
        box = (*(centre - half).tolist(), *(centre + half).tolist())
        if not any(_overlap(box, other) for other in taken):
            break
    else:
        return
    taken.append(box)
    inner = np.array([half[0] - half[1], 0.0])
    pill = Capsule(centre - inner, centre + inner, radius=float(half[1]), opacity=0.9)
    pill.paint(image, INK, _OUTLINE_OPACITY, grown=1.0)
    pill.paint(image, person.shades["centre"])
    draw_text(image, text, (float(centre[0]), float(centre[1])), size)


def _overlap(a: _Box, b: _Box) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def draw_text(
    image: RGB, text: str, centre: tuple[float, float], size: int, colour: Colour = INK
) -> None:
    """Write one line, in place.

    Args:
        image: (H, W, 3) uint8 RGB.
        text: cut off at the image's border.
        centre: x, y of the middle of the line.
        size: of the font, pixels.
        colour: RGB.
    """
    if not text:
        return
    width, height = int(text_width(text, size)) + 2, 2 * size
    mask = Image.new("L", (width, height))
    ImageDraw.Draw(mask).text((width / 2, height / 2), text, 255, _font(size), anchor="mm")
    left, top = round(centre[0] - (width - 1) / 2), round(centre[1] - (height - 1) / 2)
    region = image[max(top, 0) : max(top + height, 0), max(left, 0) : max(left + width, 0)]
    opacity = np.asarray(mask, np.float64)[max(-top, 0) :, max(-left, 0) :] / 255
    _blend(region, opacity[: region.shape[0], : region.shape[1]], colour)


def text_width(text: str, size: int) -> float:
    """Return the width in pixels of a line in a font of `size` pixels."""
    return float(_font(size).getlength(text))


@lru_cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    # matplotlib ships the font, so text looks the same on every machine.
    path = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"
    return ImageFont.truetype(path, size)


def shades_of(number: int) -> dict[str, Colour]:
    """Return the colours of a person's left, right and central limbs."""
    hue = _HUES[number % len(_HUES)]
    return {side: _oklch(*tone, hue) for side, tone in _SIDES.items()}


@lru_cache
def _oklch(lightness: float, chroma: float, hue_deg: float) -> Colour:
    """Convert to sRGB, clipped to its gamut.

    Source: Ottosson, A perceptual color space for image processing,
    https://bottosson.github.io/posts/oklab
    """
    a, b = chroma * np.cos(np.radians(hue_deg)), chroma * np.sin(np.radians(hue_deg))
    to_lms = np.array([[0.3963377774, 0.2158037573], [-0.1055613458, -0.0638541728],
                       [-0.0894841775, -1.2914855480]])  # fmt: skip
    lms = (lightness + to_lms @ (a, b)) ** 3
    to_rgb = np.array([[4.0767416621, -3.3077115913, 0.2309699292],
                       [-1.2684380046, 2.6097574011, -0.3413193965],
                       [-0.0041960863, -0.7034186147, 1.7076147010]])  # fmt: skip
    linear = np.clip(to_rgb @ lms, 0, 1)
    encoded = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    red, green, blue = np.rint(255 * encoded).astype(int).tolist()
    return red, green, blue
