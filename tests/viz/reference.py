"""Poses drawn shape by shape and pixel by pixel: slow, and short enough to be seen to be right."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from posebench.viz.colours import INK, RGB, Colour


@dataclass(frozen=True)
class Capsule:
    """The pixels within `radius` of the line from start to end."""

    start: NDArray[np.float64]
    end: NDArray[np.float64]
    radius: float
    opacity: float = 1.0
    dash: float = 0.0
    hole: float = 0.0

    def paint(self, image: RGB, colour: Colour, strength: float = 1.0, grown: float = 0.0) -> None:
        """Blend the shape into all of the image, in place."""
        x = np.arange(image.shape[1]) - self.start[0]
        y = np.arange(image.shape[0])[:, None] - self.start[1]
        dx, dy = self.end - self.start
        length = max(float(np.hypot(dx, dy)), 1e-9)
        along = np.clip((x * dx + y * dy) / length, 0, length)
        distance = np.hypot(x - along * dx / length, y - along * dy / length)
        coverage = np.clip(self.radius + grown - distance + 0.5, 0, 1)
        if self.hole:
            coverage *= np.clip(distance - (self.hole - grown) + 0.5, 0, 1)
        if self.dash:
            from_middle = np.abs(np.mod(along, self.dash) - self.dash / 2)
            coverage *= np.clip(0.3 * self.dash + grown - from_middle + 0.5, 0, 1)
        opacity = coverage * (self.opacity * strength)
        mixed = image + opacity[..., None] * (np.array(colour, np.float64) - image)
        image[:] = np.rint(mixed).astype(np.uint8)


@dataclass(frozen=True)
class Figure:
    """A person: its limbs from keypoint to keypoint, and how each keypoint is drawn."""

    points: NDArray[np.float64]  # (K, 2)
    limbs: list[tuple[int, int]]  # of keypoints that are drawn
    drawn: list[int]
    opacity: list[float]
    hollow: list[bool]
    dashed: list[bool]
    limb_colours: list[Colour]
    colours: list[Colour]  # of the keypoints

    def paint(self, image: RGB, width: float) -> None:
        """Blend outlines of limbs, limbs, and each disc with its outline into the image."""
        outline = max(0.6, 0.3 * width)
        radii = [width * (0.6 + 0.4 * opacity) for opacity in self.opacity]
        trims = [1.3 * radius * hollow for radius, hollow in zip(radii, self.hollow, strict=True)]
        lines = []
        for a, b in self.limbs:
            way = self.points[b] - self.points[a]
            unit = way / max(float(np.hypot(*way)), trims[a] + trims[b], 1e-9)
            dash = 2.5 * width if self.dashed[a] or self.dashed[b] else 0.0
            lines.append(
                Capsule(
                    self.points[a] + trims[a] * unit,
                    self.points[b] - trims[b] * unit,
                    radius=width / 2,
                    opacity=min(self.opacity[a], self.opacity[b]),
                    dash=dash,
                )
            )
        for line in lines:
            line.paint(image, INK, 0.55, outline)
        for line, colour in zip(lines, self.limb_colours, strict=True):
            line.paint(image, colour)
        for k in self.drawn:
            hole = 0.55 * radii[k] if self.hollow[k] else 0.0
            disc = Capsule(self.points[k], self.points[k], radii[k], self.opacity[k], hole=hole)
            disc.paint(image, INK, 0.55, outline)
            disc.paint(image, self.colours[k])
