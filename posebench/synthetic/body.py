"""Bodies in 3D: joints by forward kinematics from sampled postures.

Shapes: N people, P points. Units: heights of an average adult. A person's axes: x to the person's
left, y up, z to the front. A person with yaw zero faces the camera, so x points right in the image.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from posebench.skeleton import COCO
from posebench.synthetic.postures import ARMS, POSTURES

Floats = NDArray[np.float64]

# The keypoints of all datasets; they are the first of a body's points.
JOINTS = (*COCO.keypoints, "head", "neck", "thorax", "pelvis")

_SIDED = (
    *("waist", "hand", "heel", "toe", "sleeve", "hem", "strap"),
    *("wristband", "sock"),
    *("lip", "bridge", "brim", "brow", "brow_end"),
)
_MIDDLE = ("waist", "head_centre", "chin", "mouth", "bun", "afro", "nape", "brim")
_CHEST = ("collar", "navel", "badge", "pack")
POINTS = (
    *JOINTS,
    *(f"{side}_{name}" for name in _SIDED for side in ("left", "right")),
    *_MIDDLE,
    *_CHEST,
)
POINT = {name: index for index, name in enumerate(POINTS)}

_POSTURES = tuple(POSTURES.values())
_POSTURE_CUMULATIVE = np.cumsum([p.weight for p in _POSTURES]) / sum(p.weight for p in _POSTURES)
_SEATED = np.array([p.seat for p in _POSTURES])
_TRUNK_RANGES = np.array([[p.hinge, p.tumble, p.roll, p.air] for p in _POSTURES])  # (S, 4, 2)
_LEG_RANGES = np.array([[(g.lift, g.splay, g.knee) for g in p.legs] for p in _POSTURES])
_ARM_RANGES = np.array([(a.lift, a.spread, a.swivel, a.elbow) for a in ARMS.values()])
_ARM_CHOICES = [
    [
        i
        for i, (name, arm) in enumerate(ARMS.items())
        for _ in range(arm.weight)
        if not p.arms or name in p.arms
    ]
    for p in _POSTURES
]

# Ranges in degrees: twist and side lean of the spine; turn, nod and tilt of the head.
_SPINE_AND_HEAD = np.array([(-25, 25), (-10, 10), (-50, 50), (-18, 26), (-12, 12)])

_SIDES = np.array([1.0, -1.0])  # left, right


# In head radii: x to the left, y up, z to the front.
_HEAD_POINTS = {
    "nose": (0, -0.2, 1.0),
    "left_eye": (0.36, 0.02, 0.92),
    "left_ear": (0.97, -0.12, -0.02),
    "left_lip": (0.2, -0.5, 0.83),
    "left_bridge": (0.2, 0.02, 0.97),
    "left_brow": (0.25, 0.35, 0.92),
    "left_brow_end": (0.52, 0.27, 0.82),
    "left_brim": (0.5, 0.42, 0.85),
    "brim": (0, 0.4, 1.25),
    "mouth": (0, -0.66, 0.82),
    "chin": (0, -0.55, 0.2),
    "head": (0, 1.02, -0.05),
    "bun": (0, 0.85, -0.75),
    "afro": (0, 0.22, -0.2),
    "nape": (0, -1.35, -0.55),
}
_HEAD_OFFSETS = {
    POINT[name.replace("left", side)]: (x * sign, y, z)
    for name, (x, y, z) in _HEAD_POINTS.items()
    for side, sign in (("left", 1), ("right", -1))
}
_HEAD_INDEX, _HEAD_OFFSET = list(_HEAD_OFFSETS), np.array(list(_HEAD_OFFSETS.values()))


@dataclass(frozen=True)
class Bodies:
    """People in 3D; the origin of each is the point on the ground below the pelvis."""

    points: Floats  # (N, P, 3) in the order of POINTS
    head_axes: Floats  # (N, 3, 3) columns: left, up, front of the head
    chest_axes: Floats  # (N, 3, 3)
    head_radius: Floats  # (N,)
    girth: Floats  # (N,) width of limbs and trunk relative to the average
    seated: NDArray[np.bool_]  # (N,)


def rotation(axis: int, angle: Floats) -> Floats:
    """Return (..., 3, 3) right-handed rotations by `angle` (radians) about x, y or z (0, 1, 2)."""
    matrix = np.zeros((*angle.shape, 3, 3))
    first, second = (axis + 1) % 3, (axis + 2) % 3
    matrix[..., axis, axis] = 1
    matrix[..., first, first] = matrix[..., second, second] = np.cos(angle)
    matrix[..., second, first] = np.sin(angle)
    matrix[..., first, second] = -matrix[..., second, first]
    return matrix


def sample_bodies(rng: Generator, yaw: Floats) -> Bodies:
    """Sample a body in a random posture for each yaw (N,), in radians."""
    posture = np.searchsorted(_POSTURE_CUMULATIVE, rng.random(len(yaw)))
    seated = _SEATED[posture]
    # Seated people face the camera: from behind, the seat would hide their legs.
    yaw = np.where(seated & (np.cos(yaw) < 0), np.pi - yaw, yaw)
    angles = _sample_angles(rng, posture)
    build = sample_build(rng, len(yaw))
    return pose_bodies(angles, build, sample_girth(rng, len(yaw)), yaw, seated)


def pose_bodies(
    angles: Angles,
    build: Build,
    girth: Floats,
    yaw: Floats,
    seated: NDArray[np.bool_] | None = None,
) -> Bodies:
    """Return the bodies of these proportions with these joint angles.

    Args:
        angles, build: of N people.
        girth: (N,) width relative to the average, from `sample_girth`.
        yaw: (N,) radians.
        seated: (N,); None: nobody is.
    """
    whole = rotation(1, yaw) @ rotation(0, angles.tumble) @ rotation(2, angles.roll)
    pelvis_axes = whole @ rotation(0, 0.6 * angles.hinge)
    chest_axes = pelvis_axes @ rotation(0, 0.4 * angles.hinge)
    chest_axes = chest_axes @ rotation(1, angles.twist) @ rotation(2, angles.lean)
    head_axes = chest_axes @ rotation(1, angles.turn)
    head_axes = head_axes @ rotation(0, angles.nod) @ rotation(2, angles.tilt)

    body = _Points(len(yaw))
    neck, shoulders, hips = _place_trunk(body, build, pelvis_axes, chest_axes)
    _place_head(body, build, neck, head_axes)
    _place_arms(body, build, angles, shoulders, chest_axes)
    _place_legs(body, build, angles, hips, whole)
    points = body.points * build.stature[:, None, None]
    points[..., 1] += (angles.air - points[..., 1].min(1) + 0.02)[:, None]
    return Bodies(
        points,
        head_axes,
        chest_axes,
        build.head_radius * build.stature,
        girth=build.stature * girth,
        seated=np.zeros(len(yaw), bool) if seated is None else seated,
    )


@dataclass(frozen=True)
class Angles:
    """Joint angles in radians; those of limbs are (N, 2), left and right."""

    hinge: Floats  # (N,) upper body bent to the front
    tumble: Floats  # (N,) whole body pitched to the front
    roll: Floats  # (N,) whole body tipped to its right
    air: Floats  # (N,) heights above the ground
    twist: Floats  # (N,) spine about its axis
    lean: Floats  # (N,) spine to a side
    turn: Floats  # (N,) head about its axis
    nod: Floats  # (N,)
    tilt: Floats  # (N,) head to a side
    thigh_lift: Floats
    splay: Floats
    knee: Floats
    arm_lift: Floats
    spread: Floats
    swivel: Floats
    elbow: Floats


def _sample_angles(rng: Generator, posture: NDArray[np.intp]) -> Angles:
    """Sample the joint angles of people in the (N,) postures."""
    count = len(posture)
    trunk = _sample(rng, _TRUNK_RANGES[posture])
    hinge, tumble, roll = np.radians(trunk[:, :3]).T
    spine_and_head = np.broadcast_to(_SPINE_AND_HEAD, (count, 5, 2))
    twist, lean, turn, nod, tilt = np.radians(_sample(rng, spine_and_head)).T
    legs_are_swapped = rng.random(count) < 0.5
    leg_ranges = _LEG_RANGES[posture]
    leg_ranges[legs_are_swapped] = leg_ranges[legs_are_swapped, ::-1]
    legs = np.moveaxis(np.radians(_sample(rng, leg_ranges)), -1, 0)
    arm_ranges = _ARM_RANGES[_choose_arms(rng, posture)]
    arms = np.moveaxis(np.radians(_sample(rng, arm_ranges)), -1, 0)
    return Angles(hinge, tumble, roll, trunk[:, 3], twist, lean, turn, nod, tilt, *legs, *arms)


@dataclass(frozen=True)
class Build:
    """Body proportions relative to the average."""

    stature: Floats  # (N,)
    legs: Floats  # (N,) length, as all of the following
    spine: Floats
    arms: Floats
    shoulders: Floats
    hips: Floats
    head_radius: Floats  # (N,) heights of an average adult


def sample_girth(rng: Generator, count: int) -> Floats:
    """Return the (N,) widths of people's limbs and trunks relative to those of their stature."""
    return rng.uniform(0.86, 1.2, count)


def sample_build(rng: Generator, count: int) -> Build:
    """Return the proportions of N people; some are children."""
    child = rng.random(count) < 0.12
    stature = rng.uniform(0.9, 1.08, count) * np.where(child, 0.72, 1)
    # Heads are a little larger than life, so that faces are recognizable in small figures.
    average = np.array([1, 1, 1, 1, 1, 0.079])[:, None]
    legs, spine, arms, shoulders, hips, head = rng.uniform(0.92, 1.07, (6, count)) * average
    return Build(stature, legs, spine, arms, shoulders, hips, head * np.where(child, 1.22, 1))


class _Points:
    """The points of N bodies as they are placed, from the pelvis at the origin outwards."""

    def __init__(self, count: int) -> None:
        self.points = np.zeros((count, len(POINTS), 3))

    def place(self, name: str, origin: Floats, axes: Floats, offset: Floats) -> Floats:
        """Place a point at (N, 3) offsets along (N, 3, 3) axes and return its positions (N, 3)."""
        position = np.asarray(origin + np.einsum("nij,nj->ni", axes, offset))
        self.points[:, POINT[name]] = position
        return position

    def place_pair(self, name: str, origin: Floats, axes: Floats, offset: Floats) -> Floats:
        """Place the left and the right point of a name; all arrays have a side axis after N."""
        position = np.asarray(origin + np.einsum("nsij,nsj->nsi", axes, offset))
        left = POINT[f"left_{name}"]
        self.points[:, left : left + 2] = position  # right follows left in POINTS
        return position


def _place_trunk(
    body: _Points, build: Build, pelvis_axes: Floats, chest_axes: Floats
) -> tuple[Floats, Floats, Floats]:
    """Place hips, chest and shoulders, and return the neck, both shoulders and both hips."""
    count = len(chest_axes)
    pelvis = np.zeros((count, 1, 3))
    waist = body.place("waist", pelvis[:, 0], pelvis_axes, _up(0.105 * build.spine))
    neck = body.place("neck", waist, chest_axes, _up(0.2 * build.spine))
    both_chest, middle = chest_axes[:, None], waist[:, None]
    body.place_pair("waist", middle, both_chest, _aside(0.052 * build.shoulders))
    shoulder_offset = _aside(0.108 * build.shoulders)
    shoulder_offset[..., 1] = (0.178 * build.spine)[:, None]
    shoulders = body.place_pair("shoulder", middle, both_chest, shoulder_offset)
    body.points[:, POINT["thorax"]] = shoulders.mean(1)
    body.place_pair("strap", middle, both_chest, shoulder_offset * [0.62, 1, 1])
    hips = body.place_pair("hip", pelvis, pelvis_axes[:, None], _aside(0.068 * build.hips))
    for name, x, y, z in (
        ("collar", 0.0, 0.15, 0.05), ("navel", 0.0, 0.0, 0.055), ("badge", 0.055, 0.13, 0.052),
        ("pack", 0.0, 0.1, -0.085),
    ):  # fmt: skip
        body.place(name, waist, chest_axes, np.broadcast_to([x, y, z], (count, 3)))
    return neck, shoulders, hips


def _place_head(body: _Points, build: Build, neck: Floats, head_axes: Floats) -> None:
    head_offset = _up(0.04 + 1.05 * build.head_radius)
    head_offset[:, 2] = 0.012
    centre = body.place("head_centre", neck, head_axes, head_offset)
    offsets = build.head_radius[:, None, None] * _HEAD_OFFSET
    body.points[:, _HEAD_INDEX] = centre[:, None] + offsets @ head_axes.swapaxes(1, 2)


def _place_arms(
    body: _Points, build: Build, angles: Angles, shoulders: Floats, chest_axes: Floats
) -> None:
    upper_arm = chest_axes[:, None] @ rotation(0, -angles.arm_lift)
    upper_arm = upper_arm @ rotation(2, _SIDES * angles.spread)
    upper_arm = upper_arm @ rotation(1, _SIDES * angles.swivel)
    forearm = upper_arm @ rotation(0, -angles.elbow)
    length = build.arms
    elbows = body.place_pair("elbow", shoulders, upper_arm, _down(0.172 * length))
    wrists = body.place_pair("wrist", elbows, forearm, _down(0.148 * length))
    body.place_pair("wristband", elbows, forearm, _down(0.118 * length))
    body.place_pair("hand", wrists, forearm, _down(0.05 * length))
    body.place_pair("sleeve", shoulders, upper_arm, _down(0.1 * length))


def _place_legs(body: _Points, build: Build, angles: Angles, hips: Floats, whole: Floats) -> None:
    thigh = whole[:, None] @ rotation(0, -angles.thigh_lift)
    thigh = thigh @ rotation(2, _SIDES * angles.splay)
    shin = thigh @ rotation(0, angles.knee)
    length, sides = build.legs, (len(whole), 2, 3)
    knees = body.place_pair("knee", hips, thigh, _down(0.245 * length))
    ankles = body.place_pair("ankle", knees, shin, _down(0.235 * length))
    body.place_pair("sock", knees, shin, _down(0.185 * length))
    body.place_pair("hem", hips, thigh, _down(0.17 * length))
    body.place_pair("heel", ankles, shin, np.broadcast_to([0, -0.03, -0.012], sides))
    body.place_pair("toe", ankles, shin, np.broadcast_to([0, -0.036, 0.088], sides))


def _sample(rng: Generator, ranges: Floats) -> Floats:
    """Sample uniformly from (..., 2) ranges."""
    low, high = ranges[..., 0], ranges[..., 1]
    return low + (high - low) * rng.random(low.shape)


def _choose_arms(rng: Generator, postures: NDArray[np.intp]) -> list[list[int]]:
    """Return the rows of ARMS for the left and right arm; half of the people hold both alike."""
    chosen = []
    for posture, left, right, alike in zip(postures, *rng.random((3, len(postures))), strict=True):
        choices = _ARM_CHOICES[posture]
        first = choices[int(left * len(choices))]
        chosen.append([first, first if alike < 0.5 else choices[int(right * len(choices))]])
    return chosen


def _up(length: Floats) -> Floats:
    offset = np.zeros((len(length), 3))
    offset[:, 1] = length
    return offset


def _down(length: Floats) -> Floats:
    """Return the (N, 2, 3) offsets of both sides along limbs of (N,) lengths."""
    return np.repeat(-_up(length)[:, None], 2, axis=1)


def _aside(length: Floats) -> Floats:
    offset = np.zeros((len(length), 2, 3))
    offset[..., 0] = length[:, None] * _SIDES
    return offset
