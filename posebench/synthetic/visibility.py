"""Which joints can be seen: by what covers their pixels, and by the side people turn to us.

Shapes: N people, J joints in the order of JOINTS.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from posebench.synthetic.body import JOINTS, POINT, Bodies
from posebench.synthetic.camera import View
from posebench.synthetic.clothes import Person
from posebench.synthetic.figure import COVERED_EARS, Part, facing_camera, part_of_side
from posebench.synthetic.shapes import Floats

# The id map holds PERSON_STEP times (the person + 1) plus the part; below it is nobody.
PERSON_STEP = 16

# From this sine of the turn on, about 50 degrees, the trunk hides its far shoulder and hip.
_TRUNK_SIDE = 0.75


def _seen_through() -> NDArray[np.bool_]:
    """Return (J, parts): whether a joint counts as seen where a part covers its pixel."""
    limbs = {
        "shoulder": (Part.UPPER_ARM,),
        "elbow": (Part.UPPER_ARM, Part.FOREARM),
        "wrist": (Part.FOREARM,),
        "hip": (Part.THIGH,),
        "knee": (Part.THIGH, Part.SHIN),
        "ankle": (Part.SHIN,),
    }
    others = {
        "shoulder": (Part.CHEST,),
        "hip": (Part.PELVIS, Part.SKIRT, Part.CHEST),
        "knee": (Part.SKIRT,),
        "neck": (Part.HEAD, Part.CHEST),
        "thorax": (Part.HEAD, Part.CHEST),
        "pelvis": (Part.PELVIS, Part.SKIRT, Part.CHEST),
    }
    table = np.zeros((len(JOINTS), PERSON_STEP), bool)
    for row, joint in enumerate(JOINTS):
        side, _, name = joint.rpartition("_")
        table[row, [part_of_side(part, side) for part in limbs.get(name, ())]] = True
        table[row, list(others.get(name, () if name in limbs else (Part.HEAD,)))] = True
    return table


_SEEN_THROUGH = _seen_through()
_NEIGHBOURS = np.array([(x, y) for y in (-1, 0, 1) for x in (-1, 0, 1)])


def joint_visibility(
    bodies: Bodies,
    view: View,
    people: list[Person],
    ids: NDArray[np.uint8],
    inside: NDArray[np.bool_],
) -> NDArray[np.int64]:
    """Return (N, J): 0 outside the image, 1 hidden, 2 seen.

    Args:
        bodies, view, people: N each.
        ids: (H, W) who covers a pixel with which part.
        inside: (N, J) whether joints lie in the image.
    """
    seen = _on_top(view.joints, ids) & ~_far_side(bodies, view)
    for person, looks in enumerate(people):
        for name, facing in facing_camera(view, person).items():
            covered = name.endswith("ear") and looks.hair_style in COVERED_EARS
            if covered or not facing:
                seen[person, POINT[name]] = False
    return np.where(inside, np.where(seen, 2, 1), 0)


def _on_top(joints: Floats, ids: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Tell which (N, J) joints have a fitting part of their person at or beside their pixel."""
    pixel = np.rint(joints).astype(np.int64)[:, :, None] + _NEIGHBOURS
    x, y = np.moveaxis(np.clip(pixel, 0, len(ids) - 1), -1, 0)
    person, part = np.divmod(ids[y, x], PERSON_STEP)  # (N, J, 9)
    own = person == np.arange(1, len(joints) + 1)[:, None, None]
    fits = _SEEN_THROUGH[np.arange(len(JOINTS))[:, None], part]
    return np.asarray((own & fits).any(-1))


def _far_side(bodies: Bodies, view: View) -> NDArray[np.bool_]:
    """Tell which (N, J) shoulders and hips the trunk hides as it is seen from the side."""
    far = np.zeros((len(view.xy), len(JOINTS)), bool)
    for name in ("shoulder", "hip"):
        left, right = POINT[f"left_{name}"], POINT[f"right_{name}"]
        width = np.linalg.norm(bodies.points[:, left] - bodies.points[:, right], axis=1)
        turn = (view.toward[:, left] - view.toward[:, right]) / width
        far[:, left], far[:, right] = turn < -_TRUNK_SIDE, turn > _TRUNK_SIDE
    return far
