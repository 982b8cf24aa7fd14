"""Figures: the shapes of one dressed person, back to front."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from posebench.synthetic.body import POINT
from posebench.synthetic.camera import View
from posebench.synthetic.clothes import INK, Colour, Outfit, Person, Tones, shade, tones
from posebench.synthetic.pieces import CAP, PIECE, Pieces, find_pieces
from posebench.synthetic.shapes import Shape


class Part(IntEnum):
    """What of a person covers a pixel; a right limb's part follows the left one's."""

    CHEST = 1
    PELVIS = 2
    HEAD = 3
    UPPER_ARM = 4
    FOREARM = 6
    THIGH = 8
    SHIN = 10
    SKIRT = 12
    GEAR = 13  # backpack, long hair


def part_of_side(part: Part, side: str) -> int:
    """Return the number of a left or right limb's part."""
    return part + 1 if side == "right" else int(part)


COVERED_EARS = ("long", "afro", "scarf")  # hair styles

_WHITE: Colour = (250, 247, 242)
_SIDES = ("left", "right")
_EARS = ("left_ear", "right_ear")
_BARE = ("bald", "buzz")  # hair styles that leave the brow free
_PATTERN_STRIPES = {"yoke": (0,), "stripes": (1, 2, 3), "band": (4,)}  # rows of Pieces.stripes

# How far a point of the head must lie towards the camera, in head radii from the centre, for
# being seen: the nose and the ears stick out.
_FACING = {"nose": -0.25, "left_eye": 0.1, "right_eye": 0.1, "left_ear": -0.4, "right_ear": -0.4}


def draw_figures(view: View, outfits: list[Outfit], people: list[Person]) -> list[list[Shape]]:
    """Return the shapes of each person of a view."""
    pieces = find_pieces(view)
    return [
        _Figure(index, view, pieces, outfit, person).shapes()
        for index, (outfit, person) in enumerate(zip(outfits, people, strict=True))
    ]


def facing_camera(view: View, index: int) -> dict[str, bool]:
    """Tell for nose, eyes and ears of a person whether they lie on the seen side of the head."""
    toward = view.toward[index]
    centre = POINT["head_centre"]
    radius = view.head_radius[index] / view.zoom[index, centre]  # in body heights
    return {
        name: bool(toward[POINT[name]] - toward[centre] > limit * radius)
        for name, limit in _FACING.items()
    }


# Shapes that lie at one distance: how far towards the camera, in body heights, and the shapes.
Layer = tuple[float, list[Shape]]


@dataclass(frozen=True)
class _Figure:
    """One person of a view."""

    index: int
    view: View
    pieces: Pieces
    outfit: Outfit
    person: Person

    def shapes(self) -> list[Shape]:
        """Return the shapes of limbs, trunk, head and gear, farthest from the camera first."""
        toward = dict(zip(POINT, self.view.toward[self.index].tolist(), strict=True))
        chest = (toward["neck"] + toward["waist"]) / 2
        skin = tones(self.person.skin)
        layers = [(chest, self._chest(skin, self._chest_front))]
        for side in _SIDES:
            layers += self._limb_layers(side, toward, skin)
        layers += self._hip_layers(toward)
        head = max(toward["head_centre"], toward["neck"])
        layers.append((head, self._head(skin, self._face_front)))
        layers += self._gear_layers(toward, chest, head)
        layers.sort(key=lambda layer: layer[0])
        return [shape for _, shapes in layers for shape in shapes]

    @property
    def _chest_front(self) -> float:
        """How much the chest faces the camera: 1 fully, -1 seen from behind."""
        return float(self.view.chest_axes[self.index, 2, 2])

    @property
    def _face_front(self) -> float:
        return float(self.view.head_axes[self.index, 2, 2])

    def _limb_layers(self, side: str, toward: dict[str, float], skin: Tones) -> list[Layer]:
        # Hanging arms go in front of the trunk, standing legs behind it.
        arm = (toward[f"{side}_elbow"] + toward[f"{side}_wrist"]) / 2 + 0.012
        bent_ahead = toward[f"{side}_wrist"] > toward[f"{side}_shoulder"]
        shin_ahead = toward[f"{side}_ankle"] > toward[f"{side}_hip"]
        return [
            (arm, self._arm(side, skin, bent_ahead)),
            (_leg_layer(side, toward), self._leg(side, skin, shin_ahead)),
        ]

    def _hip_layers(self, toward: dict[str, float]) -> list[Layer]:
        lower = self._lower_tones()
        legs = [_leg_layer(side, toward) for side in _SIDES]
        pelvis = toward["pelvis"] - 0.02
        # The outline of the pelvis stays behind the legs: they grow out of it.
        outline, body, light = self._piece("pelvis", lower, Part.PELVIS)
        layers = [
            (min(*legs, pelvis) - 0.01, [outline]),
            (pelvis, [body._replace(part=Part.PELVIS), light]),
        ]
        if self.outfit.bottom in ("skirt", "dress"):
            skirt = self._piece("skirt", lower, Part.SKIRT)
            layers.append((max(*legs, pelvis) + 0.01, skirt))
        return layers

    def _gear_layers(self, toward: dict[str, float], chest: float, head: float) -> list[Layer]:
        """Return long hair or a scarf, and a backpack with its straps."""
        layers: list[Layer] = []
        if self.person.hair_style in ("long", "scarf"):
            behind = self.person.hair_style == "long" and self._face_front > 0
            hair = self._piece("long_hair", tones(self.person.hair), Part.GEAR)
            layers.append((chest - 0.08 if behind else head + 0.01, hair))
        if pack := self.outfit.pack_colour:
            layers.append((toward["pack"], self._piece("pack", tones(pack), Part.GEAR)))
            if self._chest_front > 0:
                straps = [self._flat(f"{side}_strap", shade(pack, 0.7)) for side in _SIDES]
                layers.append((chest + 0.005, straps))
        return layers

    def _piece(self, name: str, colours: Tones, part: int) -> list[Shape]:
        """Return outline, body and light; the outline also says what it covers."""
        pieces, piece = self.pieces, PIECE[name]
        return [
            Shape(pieces.line[self.index, piece], colours.line, part),
            Shape(pieces.base[self.index, piece], colours.base),
            Shape(pieces.light[self.index, piece], colours.light),
        ]

    def _flat(self, name: str, colour: Colour) -> Shape:
        return Shape(self.pieces.base[self.index, PIECE[name]], colour)

    def _limb(self, side: str, layers: list[tuple[str, Tones, Part]]) -> list[Shape]:
        """Draw the pieces of an arm or leg; all outlines come first, so that joints have none."""
        pieces = [
            self._piece(f"{side}_{name}", colours, part_of_side(part, side))
            for name, colours, part in layers
        ]
        return [p[0] for p in pieces] + [shape for p in pieces for shape in p[1:]]

    def _arm(self, side: str, skin: Tones, bent_ahead: bool) -> list[Shape]:
        top = tones(self.outfit.top_colour)
        sleeve = top if self.outfit.top in ("long", "jacket") else skin
        upper = [("upper_arm", sleeve, Part.UPPER_ARM)]
        if self.outfit.top == "tee":
            upper.append(("sleeve", top, Part.UPPER_ARM))
        lower = [("hand", skin, Part.FOREARM), ("forearm", sleeve, Part.FOREARM)]
        shapes = self._limb(side, upper + lower if bent_ahead else lower + upper)
        return shapes + self._band(side, "wristband")

    def _leg(self, side: str, skin: Tones, shin_ahead: bool) -> list[Shape]:
        bottom, shoe = tones(self.outfit.bottom_colour), tones(self.outfit.shoe_colour)
        foot = ("foot", shoe, Part.SHIN)
        if self.outfit.bottom == "trousers":
            thigh = [("thigh", bottom, Part.THIGH)]
            shin = [foot, ("trouser_leg", bottom, Part.SHIN)]
        else:
            thigh = [("thigh", skin, Part.THIGH)]
            shin = [("shin", skin, Part.SHIN), foot]
        if self.outfit.bottom == "shorts":
            thigh.append(("short_leg", bottom, Part.THIGH))
        shapes = self._limb(side, thigh + shin if shin_ahead else shin + thigh)
        trousers = self.outfit.bottom == "trousers"
        return shapes + self._band(side, "turn_up" if trousers else "sock")

    def _band(self, side: str, name: str) -> list[Shape]:
        """Mark the left limbs of everybody: from behind, little else tells them from the right."""
        _, *band = self._piece(name, tones(self.outfit.second_colour), 0)
        return band if side == "left" else []

    def _lower_tones(self) -> Tones:
        dress = self.outfit.bottom == "dress"
        return tones(self.outfit.top_colour if dress else self.outfit.bottom_colour)

    def _chest(self, skin: Tones, front: float) -> list[Shape]:
        outfit, pieces, index = self.outfit, self.pieces, self.index
        shapes = self._piece("chest", tones(outfit.top_colour), Part.CHEST)
        for row in _PATTERN_STRIPES.get(outfit.pattern, ()):
            shapes.append(Shape(pieces.stripes[index, row], outfit.second_colour))
        if front < 0.2:
            return shapes
        if outfit.top == "jacket":
            shapes.append(Shape(pieces.opening[index], outfit.second_colour))
        elif outfit.pattern == "buttons":
            dark = shade(outfit.top_colour, 0.6)
            shapes += [self._flat("top_button", dark), self._flat("low_button", dark)]
        shapes.append(Shape(pieces.collar[index], skin.base))
        # Always on the left, like the marks of the limbs.
        shapes.append(self._flat("badge", outfit.second_colour))
        return shapes

    def _head(self, skin: Tones, front: float) -> list[Shape]:
        person, hair = self.person, tones(self.person.hair)
        style = person.hair_style
        facing = facing_camera(self.view, self.index)
        bun = self._piece("bun", hair, Part.HEAD) if style == "bun" else []
        shapes = self._piece("neck", skin, Part.HEAD) + self._piece("jaw", skin, Part.HEAD)
        if front > 0:
            shapes += bun
        skull = {"bald": "skull", "buzz": "skull", "afro": "afro"}.get(style, "hair")
        shapes += self._piece(skull, skin if style == "bald" else hair, Part.HEAD)
        if style not in COVERED_EARS:
            shapes += [self._flat(ear, skin.base) for ear in _EARS if facing[ear]]
        if front > -0.1:
            shapes += self._face(skin, hair)
        for side in _SIDES:
            if facing[f"{side}_eye"]:
                shapes += self._eye(side, hair)
        if facing["nose"]:
            shapes.append(self._flat("nose", shade(person.skin, 0.8)))
        if self.outfit.hat_colour and style not in ("afro", "scarf"):
            hat = tones(self.outfit.hat_colour)
            shapes.append(self._cap("hat_line", hat.line, Part.HEAD))
            shapes += [self._cap("hat", hat.base), self._cap("hat_top", hat.light)]
            if front > -0.1:
                shapes.append(self._flat("brim", hat.line))
        return shapes if front > 0 else shapes + bun

    def _face(self, skin: Tones, hair: Tones) -> list[Shape]:
        shapes = [self._cap("buzz" if self.person.hair_style in _BARE else "face", skin.light)]
        if self.person.beard:
            shapes.append(self._cap("beard", hair.base))
        shapes.append(self._flat("mouth", shade(self.person.skin, 0.55)))
        return shapes

    def _eye(self, side: str, hair: Tones) -> list[Shape]:
        if self.person.glasses:
            return [self._flat(f"{side}_lens", INK), self._flat("bridge", INK)]
        return [
            self._flat(f"{side}_eye", _WHITE),
            self._flat(f"{side}_pupil", INK),
            self._flat(f"{side}_brow", hair.line),
        ]

    def _cap(self, name: str, colour: Colour, part: int = 0) -> Shape:
        return Shape(self.pieces.caps[self.index, CAP[name]], colour, part)


def _leg_layer(side: str, toward: dict[str, float]) -> float:
    return sum(toward[f"{side}_{name}"] for name in ("hip", "knee", "hem")) / 3 - 0.03
