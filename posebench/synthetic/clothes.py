"""Looks of people: palettes, clothes, hair and skin. Colours are (red, green, blue) bytes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeVar

from numpy.random import Generator

Colour = tuple[int, int, int]
T = TypeVar("T")

# The clothes of a person take successive colours of one palette.
PALETTES: tuple[tuple[Colour, ...], ...] = (
    ((226, 109, 92), (40, 61, 89), (244, 214, 176), (114, 147, 160), (250, 243, 231)),
    ((233, 196, 106), (38, 70, 83), (42, 157, 143), (231, 111, 81), (247, 240, 224)),
    ((108, 91, 123), (246, 114, 128), (53, 92, 125), (248, 177, 149), (245, 238, 235)),
    ((61, 90, 128), (238, 108, 77), (152, 193, 217), (41, 50, 65), (224, 251, 252)),
    ((96, 108, 56), (221, 161, 94), (40, 54, 24), (188, 108, 37), (254, 250, 224)),
    ((181, 70, 96), (62, 63, 91), (229, 178, 162), (138, 177, 125), (251, 243, 228)),
    ((70, 120, 170), (52, 58, 72), (242, 183, 5), (214, 73, 51), (240, 240, 236)),
    ((120, 150, 125), (88, 70, 82), (214, 140, 120), (235, 206, 160), (248, 245, 238)),
    ((46, 134, 171), (162, 59, 114), (241, 143, 1), (59, 31, 43), (245, 236, 220)),
    ((84, 94, 117), (193, 103, 103), (230, 230, 220), (48, 57, 76), (241, 201, 121)),
)
DENIM: tuple[Colour, ...] = (
    (62, 84, 122), (88, 112, 148), (44, 52, 70), (120, 108, 92), (70, 72, 76), (156, 138, 108),
)  # fmt: skip
SHOES: tuple[Colour, ...] = (
    (52, 46, 48), (238, 236, 230), (146, 86, 54), (196, 66, 58), (66, 96, 140), (234, 186, 74),
)  # fmt: skip
SKINS: tuple[Colour, ...] = (
    (255, 224, 200), (248, 208, 180), (240, 192, 158), (228, 174, 136), (212, 154, 112),
    (190, 130, 90), (164, 106, 70), (138, 86, 58), (112, 70, 48), (86, 54, 40),
)  # fmt: skip
HAIRS: tuple[Colour, ...] = (
    (38, 32, 34), (58, 42, 36), (88, 58, 40), (124, 80, 48), (176, 122, 64), (222, 184, 112),
    (160, 70, 44), (176, 172, 170), (226, 222, 216), (30, 34, 48),
)  # fmt: skip
INK: Colour = (46, 36, 42)  # eyes and glasses

# Repeated entries are more frequent.
_HAIR_STYLES = ("short", "short", "short", "buzz", "bald", "long", "long", "bun", "afro", "scarf")
_TOPS = ("tee", "tee", "long", "long", "tank", "jacket")
_BOTTOMS = ("trousers", "trousers", "trousers", "shorts", "skirt", "dress")
_PATTERNS = ("plain", "plain", "stripes", "band", "buttons", "yoke")


@dataclass(frozen=True)
class Outfit:
    """Clothes; all people of a look-alike crowd wear the same."""

    top: str  # "tee", "long" sleeves, "tank", or a "jacket" open over a shirt
    bottom: str  # "trousers", "shorts", "skirt", "dress"
    pattern: str  # "plain", "stripes", "band" across the chest, "buttons", "yoke": dark shoulders
    top_colour: Colour
    second_colour: Colour  # of the pattern, the collar and the jacket's shirt
    bottom_colour: Colour
    shoe_colour: Colour
    hat_colour: Colour | None
    pack_colour: Colour | None  # of a backpack


@dataclass(frozen=True)
class Person:
    """Skin, hair and face, individual even in a look-alike crowd."""

    skin: Colour
    hair: Colour
    hair_style: str
    beard: bool
    glasses: bool


def pick(rng: Generator, choices: Sequence[T]) -> T:
    """Return one of the choices; many times faster than Generator.choice."""
    return choices[int(rng.random() * len(choices))]


def sample_outfit(rng: Generator) -> Outfit:
    """Sample clothes with matching colours."""
    palette = pick(rng, PALETTES)
    first = int(rng.random() * len(palette))
    top, second, third, fourth = (palette[(first + step) % len(palette)] for step in range(4))
    return Outfit(
        top=pick(rng, _TOPS),
        bottom=pick(rng, _BOTTOMS),
        pattern=pick(rng, _PATTERNS),
        top_colour=top,
        second_colour=second,
        bottom_colour=pick(rng, DENIM) if rng.random() < 0.5 else third,
        shoe_colour=pick(rng, SHOES),
        hat_colour=fourth if rng.random() < 0.2 else None,
        pack_colour=pick(rng, palette) if rng.random() < 0.16 else None,
    )


def sample_person(rng: Generator) -> Person:
    """Sample skin, hair and face."""
    style = pick(rng, _HAIR_STYLES)
    return Person(
        skin=pick(rng, SKINS),
        hair=pick(rng, DENIM if style == "scarf" else HAIRS),
        hair_style=style,
        beard=style in ("short", "buzz", "bald") and rng.random() < 0.3,
        glasses=rng.random() < 0.15,
    )


@lru_cache(maxsize=2048)
def shade(colour: Colour, factor: float) -> Colour:
    """Return a darker colour (factor below 1, towards a warm black) or a lighter one."""
    red, green, blue = colour
    if factor <= 1:
        warm = 10 * (1 - factor)
        return int(red * factor + warm), int(green * factor), int(blue * factor + warm)
    keep = 2 - factor
    return (
        int(255 - (255 - red) * keep),
        int(255 - (255 - green) * keep),
        int(255 - (255 - blue) * keep),
    )


@dataclass(frozen=True)
class Tones:
    """A colour in the three tones that every shape of a figure is drawn in."""

    line: Colour
    base: Colour
    light: Colour


@lru_cache(maxsize=512)  # colours come from palettes
def tones(colour: Colour) -> Tones:
    """Return the outline, the shaded and the lit tone of a colour."""
    return Tones(shade(colour, 0.55), shade(colour, 0.86), shade(colour, 1.06))
