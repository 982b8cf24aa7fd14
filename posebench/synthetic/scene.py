"""Scenes: people and props in depth order over a backdrop, with annotations of what is visible.

Shapes: N people, back to front, J joints in the order of JOINTS. Units: pixels.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from posebench.synthetic.backdrop import paint_backdrop
from posebench.synthetic.body import POINT, Bodies, sample_bodies
from posebench.synthetic.camera import View, look_at
from posebench.synthetic.clothes import DENIM, Outfit, Person, pick, sample_outfit, sample_person
from posebench.synthetic.figure import draw_figures
from posebench.synthetic.props import sample_prop, seat
from posebench.synthetic.shapes import Floats, Shape, fixed, hulls, paint, paint_ids
from posebench.synthetic.visibility import PERSON_STEP, joint_visibility

# A person with a smaller visible share of the silhouette, or fewer limb joints in the image, is
# left out of the picture, so that everybody in it is annotated.
_LEAST_SEEN = 0.08
_LEAST_JOINTS = 4
_LIMB_JOINTS = [
    POINT[f"{side}_{name}"]
    for name in ("shoulder", "elbow", "wrist", "hip", "knee", "ankle")
    for side in ("left", "right")
]

_MOST_PEOPLE = 15  # the id map has four bits for the person and four for the part


@dataclass(frozen=True)
class Scene:
    """An image with the annotations of its people."""

    image: NDArray[np.uint8]  # (H, W, 3) RGB
    joints: Floats  # (N, J, 2), including those outside the image
    visibility: NDArray[np.int64]  # (N, J) 0 outside the image, 1 hidden, 2 visible
    area: Floats  # (N,) pixels of the visible silhouette
    boxes: Floats  # (N, 4) x, y, width, height of the visible silhouette


@dataclass(frozen=True)
class Stage:
    """The camera, and where people stand and which way they face; the farthest person first."""

    horizon: float  # row
    pitch: float  # angle by which the camera looks down, radians
    places: Floats  # (N, 2) positions on the ground
    heights: Floats  # (N,) height of a standing adult there
    yaw: Floats  # (N,) radians; 0: facing the camera


@dataclass(frozen=True)
class _Item:
    """A person, possibly on a seat, or a prop."""

    row: float  # row of the ground below it; items are drawn in ascending order
    seat: list[Shape]
    shapes: list[Shape]
    person: int | None  # None: a prop


def draw_scene(
    rng: Generator, size: int, crowd: float, *, lookalike: bool, pixels: bool = True
) -> Scene:
    """Draw a scene with at least one person.

    Args:
        rng: random generator; its state determines the scene.
        size: side of the square image in pixels.
        crowd: from 0 (one person) to 1 (up to fifteen, heavily overlapping).
        lookalike: whether all people wear the same clothes.
        pixels: False leaves the image black; the annotations are the same.
    """
    stage = _set_stage(rng, size, crowd)
    count = len(stage.yaw)
    bodies = sample_bodies(rng, stage.yaw)
    view = look_at(bodies, stage.places, stage.heights, stage.pitch)
    people = [sample_person(rng) for _ in range(count)]
    uniform = sample_outfit(rng)
    outfits = [uniform if lookalike else sample_outfit(rng) for _ in range(count)]
    items = _people(rng, stage, bodies, view, draw_figures(view, outfits, people))
    items += _props(rng, stage, size, crowd)
    items.sort(key=lambda item: item.row)

    inside = np.asarray(((view.joints >= 0) & (view.joints <= size - 1)).all(-1))
    ids, whole = _id_map(items, size, count)
    seen, _ = _silhouettes(ids, count)
    keep = (seen > _LEAST_SEEN * whole) & (inside[:, _LIMB_JOINTS].sum(1) >= _LEAST_JOINTS)
    if not keep.any():
        return draw_scene(rng, size, crowd, lookalike=lookalike, pixels=pixels)
    if not keep.all():
        items = [item for item in items if item.person is None or keep[item.person]]
        ids, _ = _id_map(items, size, count)

    if pixels:
        # Painted last: without pixels, the draws up to here are the same.
        image = paint_backdrop(rng, size, stage.horizon)
        _paint_shadows(image, _shadows(bodies, stage)[keep])
        for item in items:
            paint(image, item.seat)
            paint(image, item.shapes)
    else:
        image = np.zeros((size, size, 3), np.uint8)
    visibility = joint_visibility(bodies, view, people, ids, inside)
    area, boxes = _silhouettes(ids, count)
    return Scene(image, view.joints[keep], visibility[keep], area[keep], boxes[keep])


def _set_stage(rng: Generator, size: int, crowd: float) -> Stage:
    """Sample positions on the ground; people lower in the image are nearer and larger."""
    count = min(1 + round(14 * crowd * rng.uniform(0.45, 1)), _MOST_PEOPLE)
    horizon = rng.uniform(0.22, 0.42) * size
    tallest = rng.uniform(0.72 - 0.3 * crowd, 1 - 0.3 * crowd) * size
    # Row of the nearest feet, in image sides; sometimes below the image, which truncates people.
    nearest = rng.uniform(0.88, 1.02) if rng.random() < 0.75 else rng.uniform(1.02, 1.3)
    slope = (nearest * size - horizon) / tallest  # rows of ground per pixel of height
    depth = np.ones(count)  # size relative to the tallest
    x = 0.5 + rng.uniform(-0.44, 0.44, count)  # in image sides
    x[0] = 0.5 + 0.6 * (x[0] - 0.5)
    for i in range(1, count):
        depth[i] = rng.uniform(0.55 - 0.1 * crowd, 1)
        if rng.random() < 0.1 + 0.4 * crowd:  # close to somebody
            other = int(rng.random() * i)
            depth[i] = np.clip(depth[other] * rng.uniform(0.85, 1.08), 0.4, 1.05)
            aside = rng.uniform(0.15, 0.65) * tallest / size * depth[i]
            # More often towards the middle, or crowds would gather at the sides.
            inwards = 1 if x[other] < 0.5 else -1
            x[i] = x[other] + aside * (inwards if rng.random() < 0.65 else -inwards)
    order = depth.argsort()
    depth, x = depth[order], x[order] * size
    places = np.stack([x, horizon + slope * tallest * depth], 1)
    if rng.random() < 0.2:  # all face one way
        yaw = rng.uniform(-np.pi, np.pi) + rng.normal(0, 0.4, count)
    else:  # most people face the camera
        front = rng.normal(0, 0.6, count)
        yaw = np.where(rng.random(count) < 0.7, front, rng.uniform(-np.pi, np.pi, count))
    return Stage(horizon, 0.08 + 0.14 * slope, places, tallest * depth, yaw)


def paint_stage(rng: Generator, size: int, stage: Stage) -> NDArray[np.uint8]:
    """Return a (size, size, 3) picture of the place without people."""
    return paint_backdrop(rng, size, stage.horizon)


def compose(
    image: NDArray[np.uint8] | None,
    size: int,
    stage: Stage,
    bodies: Bodies,
    view: View,
    outfits: list[Outfit],
    people: list[Person],
) -> tuple[Scene, NDArray[np.int64], Floats]:
    """Draw people of given postures; those who are hidden are drawn, and not annotated.

    Args:
        image: the place, which is drawn on; None: the image is black.
        size: side of the square image in pixels.
        stage: where they stand, the farthest first.
        bodies, view, outfits, people: the N people.

    Returns:
        The scene; which of the N people each annotation is; and the share of each annotated
        person's silhouette that nobody hides.
    """
    figures = draw_figures(view, outfits, people)
    items = [
        _Item(row, [], shapes, person)
        for person, (row, shapes) in enumerate(zip(stage.places[:, 1], figures, strict=True))
    ]
    inside = np.asarray(((view.joints >= 0) & (view.joints <= size - 1)).all(-1))
    ids, whole = _id_map(items, size, len(people))
    area, boxes = _silhouettes(ids, len(people))
    keep = (area > _LEAST_SEEN * whole) & (inside[:, _LIMB_JOINTS].sum(1) >= _LEAST_JOINTS)
    if image is None:
        image = np.zeros((size, size, 3), np.uint8)
    else:
        _paint_shadows(image, _shadows(bodies, stage))
        for item in items:
            paint(image, item.shapes)
    visibility = joint_visibility(bodies, view, people, ids, inside)
    scene = Scene(image, view.joints[keep], visibility[keep], area[keep], boxes[keep])
    return scene, np.flatnonzero(keep), area[keep] / whole[keep]


def _people(
    rng: Generator, stage: Stage, bodies: Bodies, view: View, figures: list[list[Shape]]
) -> list[_Item]:
    items = []
    for person, shapes in enumerate(figures):
        row, height = stage.places[person, 1], stage.heights[person]
        below: list[Shape] = []
        if bodies.seated[person]:
            x, y = view.xy[person, POINT["pelvis"]]
            below = seat(x, y + 0.055 * height, row, height, pick(rng, DENIM))
        items.append(_Item(row, below, shapes, person))
    return items


def _props(rng: Generator, stage: Stage, size: int, crowd: float) -> list[_Item]:
    """Sample props among the people; a scene of crowd level 0 has none."""
    items = []
    for _ in range(int(rng.random() * 4 * crowd)):
        other = int(rng.random() * len(stage.heights))
        row = stage.places[other, 1] + rng.uniform(-0.02, 0.06) * size
        x = rng.uniform(0, size)
        items.append(_Item(row, [], sample_prop(rng, x, row, stage.heights[other]), None))
    return items


def _id_map(items: list[_Item], size: int, count: int) -> tuple[NDArray[np.uint8], Floats]:
    """Draw a map of the person and part that cover each pixel.

    Returns:
        (H, W) map: 16 (person + 1) + part; below 16: no person.
        (N,) pixels of each person without the occlusion by others.
    """
    ids = np.zeros((size, size), np.uint8)
    silhouettes = np.zeros(count)
    for item in items:
        paint_ids(ids, item.seat, 0)
        if item.person is None:
            paint_ids(ids, item.shapes, 0)
            continue
        first = PERSON_STEP * (item.person + 1)
        paint_ids(ids, item.shapes, first)
        # Nearer people, who have higher numbers, are not in the map yet.
        silhouettes[item.person] = np.count_nonzero(ids >= first)
    return ids, silhouettes


def _silhouettes(ids: NDArray[np.uint8], count: int) -> tuple[Floats, Floats]:
    """Return the (N,) areas and (N, 4) boxes of the visible silhouettes."""
    first = [PERSON_STEP * (person + 1) for person in range(count)]
    masks = [np.asarray(cv2.inRange(ids, f, f + PERSON_STEP - 1)) for f in first]
    area = [cv2.countNonZero(mask) for mask in masks]
    boxes = [cv2.boundingRect(mask) for mask in masks]
    return np.array(area, np.float64), np.array(boxes, np.float64).reshape(count, 4)


_SHADOW_POINTS = [
    POINT[f"{side}_{name}"]
    for name in ("ankle", "knee", "hip", "shoulder")
    for side in ("left", "right")
] + [POINT["head_centre"]]


def _shadows(bodies: Bodies, stage: Stage) -> Floats:
    """Return (N, K, 2) outlines of people's shadows on the ground; the light is low at the left."""
    x, y, z = np.moveaxis(bodies.points[:, _SHADOW_POINTS], -1, 0)
    ground = np.stack([x + 0.3 * y, np.sin(stage.pitch) * z - 0.06 * y], -1)
    centres = stage.places[:, None] + stage.heights[:, None, None] * ground
    radii = np.broadcast_to(0.045 * stage.heights[:, None], centres.shape[:-1])
    return hulls(centres, radii)[0]


def _paint_shadows(image: NDArray[np.uint8], outlines: Floats) -> None:
    """Darken the ground below people, with soft edges."""
    size = len(image)
    light = np.full((size // 2, size // 2), 255, np.uint8)
    for outline in fixed(outlines / 2):
        cv2.fillConvexPoly(light, outline, 165, cv2.LINE_8, 4)
    side = max(3, size // 80 * 2 + 1)
    soft = cv2.resize(cv2.blur(light, (side, side)), (size, size))
    cv2.multiply(image, cv2.cvtColor(soft, cv2.COLOR_GRAY2RGB), dst=image, scale=1 / 255)
