"""The camera: projects bodies into the image.

Shapes: N people, P points of a body.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from posebench.synthetic.body import JOINTS, POINT, Bodies, rotation
from posebench.synthetic.shapes import Floats


@dataclass(frozen=True)
class View:
    """Bodies projected into the image."""

    xy: Floats  # (N, P, 2)
    toward: Floats  # (N, P) distance towards the camera from the person's origin, in body heights
    zoom: Floats  # (N, P) pixels per body height at the point
    head_axes: Floats  # (N, 3, 3) columns: left, up, front; rows: right, up, towards the camera
    chest_axes: Floats  # (N, 3, 3)
    head_radius: Floats  # (N,) pixels
    girth: Floats  # (N,)

    @property
    def joints(self) -> Floats:
        """The (N, J, 2) joints in the order of JOINTS, which are the first points of a body."""
        return self.xy[:, : len(JOINTS)]

    def at(self, name: str) -> Floats:
        return self.xy[:, POINT[name]]


def look_at(bodies: Bodies, places: Floats, heights: Floats, pitch: float) -> View:
    """Project bodies into the image.

    Args:
        bodies: N people.
        places: (N, 2) image positions of the ground below them, in pixels.
        heights: (N,) pixels per body height at these positions.
        pitch: angle by which the camera looks down, in radians.
    """
    camera = rotation(0, np.asarray(pitch))
    seen = bodies.points @ camera.T
    # Nearer parts look larger: a hand stretched out to the camera by a fifth.
    zoom = heights[:, None] * (1 + 0.3 * seen[..., 2])
    xy = places[:, None] + seen[..., :2] * zoom[..., None] * np.array([1, -1])
    head_zoom = zoom[:, POINT["head_centre"]]
    return View(
        xy,
        seen[..., 2],
        zoom,
        camera @ bodies.head_axes,
        camera @ bodies.chest_axes,
        bodies.head_radius * head_zoom,
        bodies.girth,
    )
