"""Draw a small dataset of kites: five keypoints, on things that are no people.

    python benchmarks/drawn_kites.py FOLDER [--images 400] [--evaluated 100] [--seed 0]

It writes what a user's dataset looks like: pictures, COCO-format files of the two splits, and a
dataset.toml (docs/datasets.md). Kites are turned, foreshortened, of all sizes, and overlap; what
another kite covers is occluded (1), what the picture cuts off is not labelled (0). Balloons and
clouds are no kites. The same seed gives the same files.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

KEYPOINTS = ("tip", "L_corner", "R_corner", "foot", "tail")
TIP, LEFT, RIGHT, FOOT, TAIL = range(5)
LIMBS = ((TIP, LEFT), (TIP, RIGHT), (LEFT, FOOT), (RIGHT, FOOT), (FOOT, TAIL))
SIDE = 192  # pixels of a picture
MOST = 5  # kites on a picture

DESCRIPTION = """\
format = 1
name = "kites"

[splits.train]
images = "images"
annotations = "train.json"

[splits.val]
images = "images"
annotations = "val.json"

[skeleton]
keypoints = ["tip", "L_corner", "R_corner", "foot", "tail"]
limbs = [
    ["tip", "L_corner"], ["tip", "R_corner"], ["L_corner", "foot"], ["R_corner", "foot"],
    ["foot", "tail"],
]
sigmas = 0.07
"""

Image = NDArray[np.uint8]
Points = NDArray[np.float64]
_SHIFT = 4  # bits of a fraction of a pixel in what OpenCV draws


def _fixed(points: Points) -> NDArray[np.int32]:
    fixed: NDArray[np.int32] = np.round(points * 2**_SHIFT).astype(np.int32)
    return fixed


def _colour(rng: np.random.Generator, low: int = 0, high: int = 256) -> tuple[int, int, int]:
    red, green, blue = (int(value) for value in rng.integers(low, high, 3))
    return red, green, blue


def backdrop(rng: np.random.Generator) -> Image:
    """Return a sky with clouds and balloons above a meadow."""
    top, horizon = np.array([_colour(rng, 90, 200), _colour(rng, 150, 245)], np.float64)
    share = np.linspace(0, 1, SIDE)[:, None, None]
    image: Image = np.broadcast_to(top + share * (horizon - top), (SIDE, SIDE, 3)).astype(np.uint8)
    image = np.ascontiguousarray(image)
    for _ in range(rng.integers(5)):
        x, y = rng.integers(SIDE, size=2).tolist()
        width = int(rng.integers(8, 40))
        cv2.ellipse(
            image, (x, y), (width, width // 3 + 1), 0, 0, 360, _colour(rng, 220), -1, cv2.LINE_AA
        )
    x, height = int(rng.integers(SIDE)), int(rng.integers(SIDE // 4))
    meadow = _colour(rng, 40, 140)
    cv2.ellipse(image, (x, SIDE), (2 * SIDE, height), 0, 0, 360, meadow, -1, cv2.LINE_AA)
    for _ in range(rng.integers(3)):
        x, y = rng.integers(SIDE, size=2).tolist()
        radius = int(rng.integers(5, 18))
        cv2.line(image, (x, y), (x, y + 3 * radius), (60, 60, 60), 1, cv2.LINE_AA)
        cv2.circle(image, (x, y), radius, _colour(rng), -1, cv2.LINE_AA)
    return image


def place_kite(rng: np.random.Generator) -> tuple[Points, Points]:
    """Return the keypoints (5, 2) of a kite in pixels, and the line (P, 2) of its tail."""
    length = SIDE * rng.uniform(0.16, 0.4)  # of its spine
    span, crossing = rng.uniform(0.55, 0.9), rng.uniform(0.25, 0.4)
    tail = rng.uniform(0.4, 0.8)
    # Down its spine, which is 1 long, from the tip; x to the right of one who looks to the tip.
    corners = np.array([[0, 0], [-span / 2, crossing], [span / 2, crossing], [0, 1]])
    along = np.linspace(0, 1, 24)
    swing = rng.uniform(-0.3, 0.3) * along + rng.uniform(-0.08, 0.08) * np.sin(9 * along)
    line = np.stack([swing, 1 + tail * along], 1)
    turn = np.radians(rng.uniform(-80, 80))
    matrix = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    centre = rng.uniform(0.08, 0.92, 2) * SIDE
    places = (np.concatenate([corners, line]) - (0, 0.6)) @ matrix.T * length + centre
    return np.concatenate([places[:4], places[-1:]]), places[4:]


def draw_kite(image: Image, kite: Points, tail: Points, rng: np.random.Generator) -> None:
    """Draw a kite: two panels, spars, an outline, and a tail with bows."""
    first, second = _colour(rng), _colour(rng)
    dark = _colour(rng, 0, 60)
    cv2.polylines(image, [_fixed(tail)], False, dark, 2, cv2.LINE_AA, _SHIFT)
    for place in tail[5::6]:
        cv2.circle(image, _fixed(place).tolist(), 2 << _SHIFT, second, -1, cv2.LINE_AA, _SHIFT)
    middle = kite[[LEFT, RIGHT]].mean(0)
    upper, lower = kite[[TIP, LEFT, RIGHT]], kite[[LEFT, FOOT, RIGHT]]
    cv2.fillPoly(image, [_fixed(upper)], first, cv2.LINE_AA, _SHIFT)
    cv2.fillPoly(image, [_fixed(lower)], second, cv2.LINE_AA, _SHIFT)
    for a, b in ((kite[TIP], kite[FOOT]), (kite[LEFT], kite[RIGHT]), (middle, kite[TIP])):
        cv2.line(image, _fixed(a).tolist(), _fixed(b).tolist(), dark, 1, cv2.LINE_AA, _SHIFT)
    outline = kite[[TIP, LEFT, FOOT, RIGHT]]
    cv2.polylines(image, [_fixed(outline)], True, dark, 1, cv2.LINE_AA, _SHIFT)


def silhouette(kite: Points, tail: Points) -> NDArray[np.bool_]:
    """Return the pixels (H, W) that a kite covers."""
    mask = np.zeros((SIDE, SIDE), np.uint8)
    cv2.fillPoly(mask, [_fixed(kite[[TIP, LEFT, FOOT, RIGHT]])], 1, cv2.LINE_8, _SHIFT)
    cv2.polylines(mask, [_fixed(tail)], False, 1, 2, cv2.LINE_8, _SHIFT)
    return mask > 0


def draw_picture(seed: list[int]) -> tuple[Image, list[dict[str, Any]]]:
    """Return a picture (H, W, 3) RGB, and the annotations of its kites without ids."""
    rng = np.random.default_rng(seed)
    image = backdrop(rng)
    kites: list[tuple[Points, Points]] = []
    for _ in range(rng.integers(1, MOST + 1)):
        kite, tail = place_kite(rng)
        near = [np.linalg.norm(kite[:4].mean(0) - other[:4].mean(0)) for other, _ in kites]
        if min(near, default=SIDE) > SIDE / 8:
            kites.append((kite, tail))
    covers = [silhouette(*kite) for kite in kites]
    annotations = []
    for number, (kite, tail) in enumerate(kites):
        draw_kite(image, kite, tail, rng)
        later = np.any([np.zeros((SIDE, SIDE), bool), *covers[number + 1 :]], axis=0)
        seen = covers[number] & ~later
        inside = ((kite >= 0) & (kite <= SIDE - 1)).all(1)
        column, row = np.clip(np.round(kite), 0, SIDE - 1).astype(int).T
        flags = np.where(inside, np.where(later[row, column], 1, 2), 0)
        if seen.sum() < 60 or not (flags == 2).any():
            continue
        all_of_it = np.concatenate([kite, tail])
        low, high = all_of_it.min(0).clip(0, SIDE), all_of_it.max(0).clip(0, SIDE)
        keypoints = np.where(flags[:, None] > 0, [*zip(*kite.T, flags, strict=True)], 0)
        annotations.append(
            {
                "category_id": 1,
                "keypoints": np.round(keypoints, 1).ravel().tolist(),
                "num_keypoints": int((flags > 0).sum()),
                "bbox": np.round([*low, *(high - low)], 1).tolist(),
                "area": int(covers[number].sum()),
                "iscrowd": 0,
            }
        )
    return image, annotations


def write_dataset(folder: Path, images: int = 400, evaluated: int = 100, seed: int = 0) -> Path:
    """Write pictures, annotations and their description, whose path is returned."""
    (folder / "images").mkdir(parents=True, exist_ok=True)
    for number, (split, count) in enumerate({"train": images, "val": evaluated}.items()):
        listed: list[dict[str, Any]] = []
        annotations: list[dict[str, Any]] = []
        for position in range(count):
            image, drawn = draw_picture([seed, number, position])
            name = f"{split}_{position:04d}.png"
            cv2.imwrite(str(folder / "images" / name), image[..., ::-1])
            listed.append({"id": position + 1, "file_name": name, "width": SIDE, "height": SIDE})
            for annotation in drawn:
                annotations.append(
                    {"id": len(annotations) + 1, "image_id": position + 1, **annotation}
                )
        category = {
            "id": 1, "name": "kite", "keypoints": KEYPOINTS,
            "skeleton": [[a + 1, b + 1] for a, b in LIMBS],
        }  # fmt: skip
        content = {"images": listed, "annotations": annotations, "categories": [category]}
        (folder / f"{split}.json").write_text(json.dumps(content))
    path = folder / "dataset.toml"
    path.write_text(DESCRIPTION)
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description="Draw a small dataset of kites.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--images", type=int, default=400)
    parser.add_argument("--evaluated", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    print(write_dataset(arguments.folder, arguments.images, arguments.evaluated, arguments.seed))


if __name__ == "__main__":
    main()
