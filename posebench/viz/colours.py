"""The colours of people, as different as can be, also for the colour-blind and in grey."""

from __future__ import annotations

from functools import lru_cache
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

RGB: TypeAlias = NDArray[np.uint8]  # (H, W, 3)
Colour: TypeAlias = tuple[int, int, int]

INK: Colour = (28, 28, 32)
WHITE: Colour = (255, 255, 255)

# OKLCH hues in degrees, ordered so that successive people differ as much as possible, also for the
# colour-blind (simulated after Machado et al., 2009), who can tell at most four hues apart. They
# repeat after eight people.
_HUES = (65, 255, 150, 350, 105, 305, 30, 210)
# Lightness and chroma of each side. Sides differ in lightness, which the colour-blind see and which
# survives greyscale printing.
_SIDES = {"left": (0.90, 0.09), "centre": (0.76, 0.14), "right": (0.58, 0.17)}


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
