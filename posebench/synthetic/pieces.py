"""The pieces that figures are made of: polygons of all people in a scene, computed at once.

Shapes: N people, M pieces, K corners of a polygon. Units: pixels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from posebench.synthetic.body import POINT
from posebench.synthetic.camera import View
from posebench.synthetic.shapes import AROUND, Floats, fixed, hulls

Circles = tuple[tuple[str, float], ...]  # (point of the body, radius)

_LIMBS: dict[str, Circles] = {  # left and right; radii in body heights
    "upper_arm": (("shoulder", 0.042), ("elbow", 0.033)),
    "forearm": (("elbow", 0.033), ("wrist", 0.024)),
    "hand": (("wrist", 0.025), ("hand", 0.021)),
    "thigh": (("hip", 0.06), ("knee", 0.045)),
    "shin": (("knee", 0.043), ("ankle", 0.028)),
    "foot": (("heel", 0.03), ("toe", 0.025)),
    "sleeve": (("shoulder", 0.05), ("sleeve", 0.048)),
    "short_leg": (("hip", 0.069), ("hem", 0.066)),
    "trouser_leg": (("knee", 0.05), ("ankle", 0.042)),
    "strap": (("strap", 0.013), ("waist", 0.013)),
}
_TRUNK: dict[str, Circles] = {  # radii in body heights
    "chest": (
        *(("left_shoulder", 0.046), ("right_shoulder", 0.046), ("neck", 0.04)),
        *(("left_waist", 0.054), ("right_waist", 0.054)),
    ),
    "pelvis": (
        *(("left_waist", 0.052), ("right_waist", 0.052)),
        *(("left_hip", 0.062), ("right_hip", 0.062)),
    ),
    "skirt": (
        *(("left_waist", 0.05), ("right_waist", 0.05)),
        *(("left_hem", 0.085), ("right_hem", 0.085)),
    ),
    "pack": (("pack", 0.085), ("waist", 0.07)),
    "neck": (("neck", 0.034), ("chin", 0.03)),
    "badge": (("badge", 0.019),),
    "wristband": (("left_wristband", 0.026), ("left_wrist", 0.026)),
    "sock": (("left_sock", 0.033), ("left_ankle", 0.03)),
    "turn_up": (("left_sock", 0.0445), ("left_ankle", 0.0435)),
    "top_button": (("collar", 0.01),),
    "low_button": (("navel", 0.01),),
}
_FACE: dict[str, Circles] = {  # left and right; radii in head radii
    "ear": (("ear", 0.21),),
    "eye": (("eye", 0.17),),
    "pupil": (("eye", 0.125),),
    "lens": (("eye", 0.28),),
    "brow": (("brow", 0.05), ("brow_end", 0.035)),
}
_HEAD: dict[str, Circles] = {  # radii in head radii
    "skull": (("head_centre", 1.0),),
    "hair": (("head_centre", 1.07),),
    "afro": (("afro", 1.38),),
    "jaw": (("chin", 0.6), ("head_centre", 0.85)),
    "bun": (("bun", 0.45),),
    "long_hair": (("head_centre", 1.08), ("nape", 0.78)),
    "nose": (("nose", 0.12),),
    "mouth": (("left_lip", 0.05), ("right_lip", 0.05), ("mouth", 0.05)),
    "bridge": (("left_bridge", 0.06), ("right_bridge", 0.06)),
    "brim": (("left_brim", 0.14), ("right_brim", 0.14), ("brim", 0.14)),
}


def _both_sides(pieces: dict[str, Circles]) -> dict[str, Circles]:
    return {
        f"{side}_{name}": tuple((f"{side}_{point}", radius) for point, radius in circles)
        for name, circles in pieces.items()
        for side in ("left", "right")
    }


_BODY_PIECES = _both_sides(_LIMBS) | _TRUNK
_PIECES = _BODY_PIECES | _both_sides(_FACE) | _HEAD
PIECE = {name: index for index, name in enumerate(_PIECES)}

# Caps on the ball of the head: direction of the centre (left, up, front), half angle in degrees,
# radius in head radii.
_CAPS = {
    "face": ((0.0, -0.25, 0.97), 64, 1.0),
    "buzz": ((0.0, -0.3, 0.95), 78, 1.0),
    "beard": ((0.0, -0.82, 0.57), 42, 1.02),
    "hat_line": ((0.0, 0.98, -0.18), 79, 1.19),
    "hat": ((0.0, 0.98, -0.18), 76, 1.12),
    "hat_top": ((-0.25, 0.98, 0.0), 44, 1.1),
}
CAP = {name: index for index, name in enumerate(_CAPS)}


def _circle_groups() -> list[tuple[list[int], list[list[int]], Floats]]:
    """Return indices, (m, C) points and (m, C) radii of the pieces of C circles, for each C."""
    counts = sorted({len(circles) for circles in _PIECES.values()})
    groups = []
    for count in counts:
        chosen = {name: c for name, c in _PIECES.items() if len(c) == count}
        groups.append(
            (
                [PIECE[name] for name in chosen],
                [[POINT[point] for point, _ in circles] for circles in chosen.values()],
                np.array([[radius for _, radius in circles] for circles in chosen.values()]),
            )
        )
    return groups


_GROUPS = _circle_groups()


def _cap_rims() -> tuple[Floats, Floats]:
    """Return (caps, K, 3) rims on the unit ball and (caps, 1, 1) radii, in the head's axes."""
    rims = []
    for middle, half_angle, _ in _CAPS.values():
        axis = np.array(middle) / np.linalg.norm(middle)
        first = np.array([1.0, 0.0, 0.0])
        circle = AROUND[:, :1] * first + AROUND[:, 1:] * np.cross(axis, first)
        angle = np.radians(half_angle)
        rims.append(np.cos(angle) * axis + np.sin(angle) * circle)
    return np.array(rims), np.array([size for _, _, size in _CAPS.values()])[:, None, None]


_RIMS, _CAP_SIZES = _cap_rims()


@dataclass(frozen=True)
class Pieces:
    """Polygons of N people in fixed-point image coordinates."""

    line: NDArray[np.int32]  # (N, M, K, 2) in the order of PIECE, enlarged by the outline
    base: NDArray[np.int32]  # (N, M, K, 2)
    light: NDArray[np.int32]  # (N, M, K, 2) the lit core
    caps: NDArray[np.int32]  # (N, caps, K, 2) in the order of CAP
    stripes: NDArray[np.int32]  # (N, 5, 4, 2) yoke, three stripes, band across the chest
    collar: NDArray[np.int32]  # (N, 3, 2)
    opening: NDArray[np.int32]  # (N, 4, 2) of a jacket


_LIT = np.array([-0.2, -0.2])  # offset of the lit core in a piece, in radii: top left


def find_pieces(view: View) -> Pieces:
    """Return the polygons of all people of a view."""
    girth = view.zoom * view.girth[:, None]  # (N, P) pixels of a body height
    head = view.head_radius[:, None, None]
    size = girth[:, POINT["waist"]]
    base = np.empty((len(view.xy), len(PIECE), len(AROUND), 2))
    radius = np.empty(base.shape[:-1])
    for pieces, points, radii in _GROUPS:
        of_body = np.array(pieces)[:, None] < len(_BODY_PIECES)
        in_pixels = radii * np.where(of_body, girth[:, points], head)
        base[:, pieces], radius[:, pieces] = hulls(view.xy[:, points], in_pixels)
    line_px = np.maximum(0.45, 0.0065 * size)[:, None, None, None]
    spread = radius[..., None]
    neck, navel, collar = (view.at(name) for name in ("neck", "navel", "collar"))
    across = view.chest_axes[:, :2, 0] * np.array([1, -1]) * size[:, None]
    collar_ends = [neck - 0.042 * across, neck + 0.042 * across]
    return Pieces(
        line=fixed(base + line_px * AROUND),
        base=fixed(base),
        light=fixed(base + spread * (_LIT - 0.28 * AROUND)),
        caps=fixed(_caps(view)),
        stripes=fixed(_stripes(view, size)),
        collar=fixed(np.stack([*collar_ends, collar], 1)),
        opening=fixed(np.stack([*collar_ends, navel + 0.03 * across, navel - 0.03 * across], 1)),
    )


def _caps(view: View) -> Floats:
    """Return the visible outlines of the caps on the ball of each head.

    The part of a rim behind the ball is moved to the ball's outline. This is exact for a cap that
    faces the camera, and a close approximation up to a side view.
    """
    seen: Floats = np.einsum("nij,ckj->ncki", view.head_axes, _RIMS)
    flat, behind = seen[..., :2], seen[..., 2:] < 0
    out = flat / np.maximum(np.linalg.norm(flat, axis=-1, keepdims=True), 1e-6)
    offset = np.where(behind, out, flat) * np.array([1, -1]) * _CAP_SIZES
    middle, radius = view.at("head_centre")[:, None, None], view.head_radius[:, None, None, None]
    return np.asarray(middle + radius * offset)


# Start and end of the bands across the chest, from the shoulders (0) to the waist (1).
_BANDS = np.array([[-0.12, 0.28], [0.08, 0.24], [0.4, 0.56], [0.72, 0.88], [0.3, 0.62]])


def _stripes(view: View, size: Floats) -> Floats:
    """Return the (N, 5, 4, 2) bands across the chest, which end at its outline."""
    tops = np.stack([view.at("left_shoulder"), view.at("right_shoulder")], 1)  # (N, 2, 2)
    ends = np.stack([view.at("left_waist"), view.at("right_waist")], 1)
    axis = ends.mean(1) - tops.mean(1)
    axis /= np.maximum(np.linalg.norm(axis, axis=1, keepdims=True), 1e-6)
    normal = np.stack([-axis[:, 1], axis[:, 0]], 1)  # (N, 2)
    along = _BANDS[..., None, None]  # (5, 2 edges, 1, 1)
    sides = tops[:, None, None] * (1 - along) + ends[:, None, None] * along  # (N, 5, 2, 2, 2)
    across = np.einsum("nbesd,nd->nbes", sides, normal)
    middle, place = sides.mean(-2), across.mean(-1)
    reach = 0.048 * size[:, None, None]
    low = middle + (across.min(-1) - reach - place)[..., None] * normal[:, None, None]
    high = middle + (across.max(-1) + reach - place)[..., None] * normal[:, None, None]
    return np.stack([low[:, :, 0], high[:, :, 0], high[:, :, 1], low[:, :, 1]], 2)
