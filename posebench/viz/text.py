"""Lines of text on an image, in the font that comes with matplotlib."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import matplotlib
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from posebench.viz.capsules import mixed
from posebench.viz.colours import INK, RGB, Colour


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
    opacity = _text_opacity(text, size)
    height, width = opacity.shape
    left, top = round(centre[0] - (width - 1) / 2), round(centre[1] - (height - 1) / 2)
    region = image[max(top, 0) : max(top + height, 0), max(left, 0) : max(left + width, 0)]
    seen = opacity[max(-top, 0) :, max(-left, 0) :][: region.shape[0], : region.shape[1]]
    region[:] = mixed(region, seen / 255, colour)


# Labels have few texts: a hundred scores, and the numbers of people who are tracked.
@lru_cache(maxsize=128)
def _text_opacity(text: str, size: int) -> NDArray[np.uint8]:
    """Return the (h, w) opacity of a line, around its middle, in 255ths."""
    width, height = int(text_width(text, size)) + 2, 2 * size
    mask = Image.new("L", (width, height))
    ImageDraw.Draw(mask).text((width / 2, height / 2), text, 255, _font(size), anchor="mm")
    return np.asarray(mask, np.uint8)


@lru_cache(maxsize=1024)
def text_width(text: str, size: int) -> float:
    """Return the width in pixels of a line in a font of `size` pixels."""
    return float(_font(size).getlength(text))


@lru_cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    # matplotlib ships the font, so text looks the same on every machine.
    path = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"
    return ImageFont.truetype(path, size)
