"""Crowds that move: people walk through a scene, cross and hide one another.

Shapes: N people, back to front, J joints in the order of JOINTS. Units: pixels and seconds.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from posebench.synthetic.body import Angles, Build, pose_bodies, sample_build, sample_girth
from posebench.synthetic.camera import look_at
from posebench.synthetic.clothes import Outfit, Person, sample_outfit, sample_person
from posebench.synthetic.scene import Scene, Stage, compose, paint_stage
from posebench.synthetic.shapes import Floats

_STRIDE = 0.75  # body heights that a person walks with two steps
_LEG_SWING, _ARM_SWING = np.radians(26), np.radians(30)
_KNEE_BEND = np.radians(38)
_SHARE_STANDING = 0.15  # of the people


@dataclass(frozen=True)
class MovingScene:
    """A frame with the people who can be seen in it."""

    scene: Scene
    # (N,) the number of each person, the same in all frames; who comes back from beyond the sides
    # of the image has another one.
    people: NDArray[np.int64]
    seen: Floats  # (N,) share of each person's silhouette that nobody hides


@dataclass(frozen=True)
class MovingCrowd:
    """A film of people who walk to and fro; each frame is determined by the fields and its time."""

    people: int = 6  # at most fifteen
    size: int = 256  # side of the square frames
    speed: float = 1.0  # at which people walk, relative to a usual walk
    lookalike: bool = False  # all people wear the same clothes
    seed: int = 0

    def frame(self, time_s: float, *, pixels: bool = True) -> MovingScene:
        """Return the frame at a time; without `pixels` it is black, which is faster."""
        rng = np.random.default_rng([self.seed, self.people])
        cast = _sample_cast(rng, self.people, self.size, self.speed, lookalike=self.lookalike)
        x, yaw, phase, turns = cast.walk(time_s, self.size)
        bodies = pose_bodies(_gait(cast, phase), cast.build, cast.girth, yaw)
        places = np.stack([x, cast.rows], 1)
        stage = Stage(cast.horizon, cast.pitch, places, cast.heights, yaw)
        view = look_at(bodies, places, cast.heights, cast.pitch)
        image = paint_stage(rng, self.size, stage) if pixels else None
        scene, people, seen = compose(
            image, self.size, stage, bodies, view, cast.outfits, cast.persons
        )
        return MovingScene(scene, people + self.people * turns[people], seen)


@dataclass(frozen=True)
class _Cast:
    """The people of a film, the farthest first."""

    horizon: float
    pitch: float
    rows: Floats  # (N,) rows of the ground on which they walk
    heights: Floats  # (N,) pixels per body height
    start: Floats  # (N,) where they begin, in columns
    velocity: Floats  # (N,) columns a second
    step: Floats  # (N,) radians of the gait a second
    offset: Floats  # (N,) of the gait, radians
    posture: Floats  # (N, 8) small differences of their posture, radians
    build: Build
    girth: Floats
    outfits: list[Outfit]
    persons: list[Person]

    def walk(self, time_s: float, size: int) -> tuple[Floats, Floats, Floats, NDArray[np.int64]]:
        """Return the (N,) columns, directions (yaw) and gaits at a time, and how often they turned.

        People turn round shortly beyond the sides of the image.
        """
        low, high = -0.15 * size, 1.15 * size
        span = high - low
        walked = self.start - low + self.velocity * time_s
        along = walked % (2 * span)
        back = along > span
        x = low + np.where(back, 2 * span - along, along)
        heading = np.sign(self.velocity) * np.where(back, -1.0, 1.0)
        turns = np.abs(np.floor(walked / span)).astype(np.int64)
        # Who stands faces the camera; who walks is seen from the side, a little turned towards it.
        return x, 0.42 * np.pi * heading, self.offset + self.step * time_s, turns


def _sample_cast(rng: Generator, people: int, size: int, speed: float, *, lookalike: bool) -> _Cast:
    horizon = rng.uniform(0.25, 0.35) * size
    tallest = rng.uniform(0.5, 0.62) * size
    slope = (0.97 * size - horizon) / tallest
    depth = np.sort(rng.uniform(0.62, 1.0, people))
    heights = tallest * depth
    stands = rng.random(people) < _SHARE_STANDING
    direction = np.where(rng.random(people) < 0.5, 1.0, -1.0) * ~stands
    heights_a_second = speed * rng.uniform(0.55, 1.0, people)
    velocity = direction * heights_a_second * heights
    uniform = sample_outfit(rng)
    return _Cast(
        horizon,
        0.08 + 0.14 * slope,
        horizon + slope * heights,
        heights,
        rng.uniform(0.05, 0.95, people) * size,
        velocity,
        np.abs(direction) * 2 * np.pi * heights_a_second / _STRIDE,
        rng.uniform(0, 2 * np.pi, people),
        np.radians(rng.uniform(-6, 6, (people, 8))),
        sample_build(rng, people),
        sample_girth(rng, people),
        [uniform if lookalike else sample_outfit(rng) for _ in range(people)],
        [sample_person(rng) for _ in range(people)],
    )


def _gait(cast: _Cast, phase: Floats) -> Angles:
    """Return the joint angles of people who walk, or stand, at a phase of their gait."""
    walks = (cast.step > 0).astype(float)
    swing = walks * np.sin(phase)
    both = np.stack([swing, -swing], 1)  # left and right
    # A leg bends while it swings to the front.
    bend = walks[:, None] * np.maximum(np.cos(np.stack([phase, phase + np.pi], 1)), 0)
    own = cast.posture
    zero = np.zeros(len(phase))
    return Angles(
        hinge=np.radians(4) + own[:, 0] / 2,
        tumble=zero,
        roll=own[:, 1] / 3,
        air=zero,
        twist=-np.radians(8) * swing,
        lean=own[:, 2] / 2,
        turn=3 * own[:, 3],
        nod=own[:, 4],
        tilt=own[:, 5],
        thigh_lift=np.radians(3) + _LEG_SWING * both,
        splay=np.radians(4) + np.zeros_like(both),
        knee=np.radians(6) + _KNEE_BEND * bend,
        arm_lift=-_ARM_SWING * both + own[:, 6:7],
        spread=np.radians(9) + np.zeros_like(both),
        swivel=np.zeros_like(both),
        elbow=np.radians(25) + own[:, 7:8] + np.radians(8) * both,
    )
