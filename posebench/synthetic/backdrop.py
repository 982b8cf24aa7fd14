"""Backdrops: the ground with its horizon, and what stands far behind the people."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from posebench.synthetic.clothes import PALETTES, Colour, pick, shade

Canvas = NDArray[np.uint8]  # (H, W, 3) RGB

_SKIES: tuple[tuple[Colour, Colour], ...] = (  # above, at the horizon
    ((126, 178, 214), (226, 236, 230)), ((150, 190, 222), (250, 232, 208)),
    ((98, 136, 178), (244, 196, 164)), ((176, 200, 212), (236, 236, 228)),
    ((112, 108, 152), (246, 178, 150)), ((120, 190, 200), (240, 246, 224)),
)  # fmt: skip
_WALLS: tuple[Colour, ...] = (
    (222, 208, 188), (186, 202, 194), (206, 190, 198), (170, 190, 206), (226, 196, 160),
    (152, 164, 150), (196, 176, 160), (232, 226, 214),
)  # fmt: skip
_FLOORS: tuple[Colour, ...] = (
    (176, 140, 104), (198, 170, 136), (142, 116, 98), (190, 184, 174), (164, 172, 176),
    (120, 124, 134), (204, 186, 166),
)  # fmt: skip
_GREENS: tuple[Colour, ...] = (
    (126, 160, 92), (148, 172, 104), (104, 142, 96), (166, 176, 110), (116, 156, 118),
)  # fmt: skip


def paint_backdrop(rng: Generator, size: int, horizon: float) -> Canvas:
    """Paint a scene without people.

    Args:
        rng: draws kind, colours and details.
        size: side of the square image in pixels.
        horizon: its row in pixels.
    """
    canvas = np.empty((size, size, 3), np.uint8)
    pick(rng, _KINDS)(canvas, rng, round(horizon))
    return canvas


def _park(canvas: Canvas, rng: Generator, horizon: int) -> None:
    size = len(canvas)
    _gradient(canvas, 0, horizon, *pick(rng, _SKIES))
    _clouds(canvas, rng, horizon)
    green = pick(rng, _GREENS)
    for row, factor in ((0.75, 1.25), (0.9, 1.12)):
        _hills(canvas, rng, horizon, horizon * row, shade(green, factor))
    _gradient(canvas, horizon, size, shade(green, 1.08), shade(green, 0.82))
    if rng.random() < 0.5:  # a path
        near, far = rng.uniform(0, size, 2)
        path = [[far - 3, horizon], [far + 4, horizon], [near + 0.3 * size, size], [near, size]]
        _polygon(canvas, path, pick(rng, _FLOORS))
    for _ in range(int(rng.integers(2, 7))):
        _tree(canvas, rng, rng.uniform(0, size), horizon + rng.uniform(0, 0.04) * size, green)
    _grain(canvas, rng, horizon, 0.3)


def _street(canvas: Canvas, rng: Generator, horizon: int) -> None:
    size = len(canvas)
    sky = pick(rng, _SKIES)
    _gradient(canvas, 0, horizon, *sky)
    left = -rng.uniform(0, 0.1) * size
    while left < size:
        width, top = rng.uniform(0.12, 0.3) * size, horizon * rng.uniform(-0.3, 0.55)
        _house(canvas, rng, left, left + width, top, horizon)
        left += width
    floor = pick(rng, _FLOORS)
    _gradient(canvas, horizon, size, shade(floor, 0.92), floor)
    kerb = horizon + round(0.03 * size)
    canvas[horizon:kerb] = shade(floor, 0.75)
    _tiles(canvas, rng, kerb, shade(floor, 0.86), rows=True)
    _grain(canvas, rng, horizon, 0.22)


def _room(canvas: Canvas, rng: Generator, horizon: int) -> None:
    size = len(canvas)
    wall, floor = pick(rng, _WALLS), pick(rng, _FLOORS)
    edge = horizon + round(rng.uniform(0, 0.08) * size)
    _gradient(canvas, 0, edge, shade(wall, 1.1), shade(wall, 0.93))
    if rng.random() < 0.5:  # wallpaper
        step = int(rng.uniform(0.04, 0.1) * size)
        for x in range(int(rng.integers(step)), size, 2 * step):
            stripe = canvas[:edge, x : x + step]
            stripe[:] = stripe * 0.95
    for _ in range(int(rng.integers(1, 4))):
        _picture(canvas, rng, edge)
    canvas[edge - max(2, size // 50) : edge] = shade(wall, 1.3)
    _gradient(canvas, edge, size, shade(floor, 0.85), shade(floor, 1.08))
    _tiles(canvas, rng, edge, shade(floor, 0.82), rows=rng.random() < 0.5)
    _grain(canvas, rng, 0, 0.12)


def _beach(canvas: Canvas, rng: Generator, horizon: int) -> None:
    size = len(canvas)
    _gradient(canvas, 0, horizon, *pick(rng, _SKIES))
    _clouds(canvas, rng, horizon)
    shore = horizon + round(rng.uniform(0.05, 0.14) * size)
    _gradient(canvas, horizon, shore, (74, 140, 168), (150, 204, 200))
    _gradient(canvas, shore, size, (236, 214, 172), (214, 184, 140))
    canvas[shore : shore + max(1, size // 100)] = (246, 246, 238)
    for _ in range(int(rng.integers(1, 5))):  # sails
        x, height = rng.uniform(0, size), rng.uniform(0.04, 0.09) * size
        sail = [[x, horizon - height], [x, horizon], [x + 0.5 * height, horizon]]
        _polygon(canvas, sail, pick(rng, PALETTES)[4])
    _grain(canvas, rng, shore, 0.3)


def _evening(canvas: Canvas, rng: Generator, horizon: int) -> None:
    """Paint blurred lights over a dark hall."""
    size = len(canvas)
    tint = pick(rng, ((58, 54, 92), (42, 66, 88), (84, 52, 74), (52, 58, 66)))
    _gradient(canvas, 0, horizon, shade(tint, 0.6), shade(tint, 1.25))
    _gradient(canvas, horizon, size, shade(tint, 1.35), shade(tint, 0.8))
    small = np.zeros((size // 2, size // 2, 3), np.uint8)
    palette = pick(rng, PALETTES)
    for _ in range(int(rng.integers(8, 22))):
        x, y = rng.uniform(0, size / 2), rng.normal(0.7, 0.35) * horizon / 2
        radius = rng.uniform(0.015, 0.06) * size / 2
        colour = shade(pick(rng, palette), rng.uniform(0.25, 0.6))
        cv2.circle(small, (int(x), int(y)), int(radius) + 1, colour, -1, cv2.LINE_AA)
    lights = cv2.resize(cv2.blur(small, (3, 3)), (size, size), interpolation=cv2.INTER_LINEAR)
    cv2.add(canvas, lights, dst=canvas)
    _grain(canvas, rng, horizon, 0.15)


def _court(canvas: Canvas, rng: Generator, horizon: int) -> None:
    size = len(canvas)
    palette = pick(rng, PALETTES)
    wall = pick(rng, _WALLS)
    _gradient(canvas, 0, horizon, shade(wall, 1.05), shade(wall, 0.85))
    top = round(horizon * rng.uniform(0.45, 0.8))
    canvas[top : top + max(2, size // 24)] = pick(rng, palette)
    floor = pick(rng, ((206, 150, 96), (112, 150, 160), (176, 98, 80), (120, 158, 120)))
    _gradient(canvas, horizon, size, shade(floor, 0.9), shade(floor, 1.05))
    x, y = rng.uniform(0.1, 0.9) * size, rng.uniform(0.6, 1.0) * size
    axes = (int(rng.uniform(0.25, 0.6) * size), int(rng.uniform(0.08, 0.2) * size))
    width = max(1, size // 90)
    white = (244, 240, 230)
    cv2.ellipse(canvas, (int(x), int(y)), axes, 0, 0, 360, white, width, cv2.LINE_AA)
    for _ in range(2):
        start, end = rng.uniform(-0.2, 1.2, 2) * size
        cv2.line(canvas, (int(start), horizon), (int(end), size), white, width, cv2.LINE_AA)
    _grain(canvas, rng, horizon, 0.12)


def _studio(canvas: Canvas, rng: Generator, horizon: int) -> None:
    """Paint a paper backdrop with large plain forms."""
    size = len(canvas)
    palette = pick(rng, PALETTES)
    paper = shade(pick(rng, _WALLS), 1.2)
    bend = (horizon + size) // 2
    _gradient(canvas, 0, bend, shade(paper, 0.95), paper)
    _gradient(canvas, bend, size, paper, shade(paper, 0.85))
    for _ in range(int(rng.integers(2, 5))):
        x, y = int(rng.uniform(0, size)), int(rng.uniform(0, horizon))
        colour = shade(pick(rng, palette), 1.45)
        cv2.circle(canvas, (x, y), int(rng.uniform(0.05, 0.25) * size), colour, -1, cv2.LINE_AA)
    _grain(canvas, rng, 0, 0.1)


_KINDS: tuple[Callable[[Canvas, Generator, int], None], ...] = (
    *(_park, _park, _street, _street, _room, _room),
    *(_beach, _evening, _court, _studio),
)


def _gradient(canvas: Canvas, top: int, bottom: int, first: Colour, last: Colour) -> None:
    """Fill rows with colours from `first` to `last`."""
    if bottom <= top:
        return
    share = np.linspace(0, 1, bottom - top)[:, None]
    rows = (np.array(first) * (1 - share) + np.array(last) * share).astype(np.uint8)
    # Many times faster than to assign (rows, 1, 3) to all columns.
    cv2.resize(
        rows[:, None], (canvas.shape[1], bottom - top), canvas[top:bottom], 0, 0, cv2.INTER_NEAREST
    )


def _polygon(canvas: Canvas, points: list[list[float]], colour: Colour) -> None:
    cv2.fillPoly(canvas, [np.rint(points).astype(np.int32)], colour, cv2.LINE_AA)


def _hills(canvas: Canvas, rng: Generator, horizon: int, row: float, colour: Colour) -> None:
    x = np.linspace(0, len(canvas), 24)
    waves = np.sin(x * (rng.uniform(4, 14) / len(canvas)) + rng.uniform(0, 6))
    top = row + 0.1 * horizon * waves
    points = np.concatenate([np.stack([x, top], 1), [[len(canvas), horizon], [0, horizon]]])
    _polygon(canvas, points.tolist(), colour)


def _clouds(canvas: Canvas, rng: Generator, horizon: int) -> None:
    size = len(canvas)
    for _ in range(int(rng.integers(0, 4))):
        x, y, width = rng.uniform(0, size), rng.uniform(0.1, 0.6) * horizon, 0.06 * size
        for step in range(3):
            # The middle puff is higher than its neighbours.
            rise, height = (0.3, 0.6) if step == 1 else (0.0, 0.45)
            centre = (int(x + step * 0.8 * width), int(y - rise * width))
            axes = (int(width), int(width * height))
            cv2.ellipse(canvas, centre, axes, 0, 0, 360, (248, 246, 240), -1, cv2.LINE_AA)


def _tree(canvas: Canvas, rng: Generator, x: float, ground: float, green: Colour) -> None:
    size = len(canvas)
    height = rng.uniform(0.12, 0.3) * size
    width = 0.05 * height
    trunk = [[x - width, ground], [x + width, ground], [x + width, ground - height], [x, 0]]
    trunk[3] = [x - width, ground - height]
    _polygon(canvas, trunk, (112, 84, 64))
    leaf = shade(green, rng.uniform(0.6, 0.85))
    for dx, dy, radius, tone in ((-0.2, 0.7, 0.28, 0.9), (0.22, 0.72, 0.26, 0.95), (0, 1, 0.32, 1)):
        centre = (int(x + dx * height), int(ground - dy * height))
        cv2.circle(canvas, centre, int(radius * height), shade(leaf, tone), -1, cv2.LINE_AA)
    lit = (int(x - 0.08 * height), int(ground - 1.08 * height))
    cv2.circle(canvas, lit, int(0.18 * height), shade(leaf, 1.12), -1, cv2.LINE_AA)


def _house(
    canvas: Canvas, rng: Generator, left: float, right: float, top: float, ground: int
) -> None:
    wall = shade(pick(rng, _WALLS), rng.uniform(0.75, 1.05))
    x0, x1, y0 = (max(0, round(v)) for v in (left, right, top))
    canvas[y0:ground, x0:x1] = wall
    canvas[y0 : y0 + max(1, len(canvas) // 80), x0:x1] = shade(wall, 0.8)
    columns = int(rng.integers(2, 5))
    step = (right - left) / columns
    glass = pick(rng, ((96, 116, 138), (244, 222, 166), (134, 158, 172)))
    for row in range(int(top + 0.4 * step), ground - int(0.5 * step), max(int(1.2 * step), 4)):
        for column in range(columns):
            x = int(left + (column + 0.25) * step)
            if x >= 0 and row >= 0:
                canvas[row : row + int(0.7 * step), x : x + int(0.5 * step)] = glass


def _picture(canvas: Canvas, rng: Generator, edge: int) -> None:
    size = len(canvas)
    width, height = (int(v) for v in rng.uniform(0.1, 0.26, 2) * size)
    x, y = int(rng.uniform(0, size - width)), int(rng.uniform(-0.1, 0.6) * edge)
    height = min(height, int(0.85 * edge) - y)
    if height < 4:
        return
    palette = pick(rng, PALETTES)
    frame = max(1, size // 80)
    cv2.rectangle(canvas, (x, y), (x + width, y + height), palette[1], -1)
    inner = (x + frame, y + frame), (x + width - frame, y + height - frame)
    cv2.rectangle(canvas, *inner, palette[4], -1)
    middle = (x + width // 2, y + height // 2)
    radius = max(1, min(width, height) // 4)
    cv2.circle(canvas, middle, radius, pick(rng, palette), -1, cv2.LINE_AA)


def _tiles(canvas: Canvas, rng: Generator, edge: int, colour: Colour, rows: bool) -> None:
    """Draw the joints of a floor in perspective: boards, or tiles where they have rows."""
    size = len(canvas)
    vanishing = rng.uniform(0.2, 0.8) * size
    step = rng.uniform(0.1, 0.22) * size
    for x in np.arange(-2 * size, 3 * size, step):
        start = (int(vanishing + 0.25 * (x - vanishing)), edge)
        cv2.line(canvas, start, (int(x), size), colour, 1, cv2.LINE_AA)
    if rows:
        depth = 1.0
        while depth < 4:
            y = edge + int((size - edge) * (4 / (3 * depth) - 1 / 3))
            cv2.line(canvas, (0, y), (size, y), colour, 1)
            depth *= 1.0 + step / size


def _grain(canvas: Canvas, rng: Generator, top: int, strength: float) -> None:
    """Roughen the rows below `top` with a texture."""
    texture = _texture(len(canvas), int(rng.integers(_TEXTURES)))
    x, y = rng.integers(0, len(canvas), 2)
    patch = texture[y : y + len(canvas) - top, x : x + len(canvas)]
    part = canvas[top:]
    cv2.addWeighted(part, 1, patch, strength, -128 * strength, dst=part)


_TEXTURES = 3


@lru_cache(maxsize=8)
def _texture(size: int, number: int) -> Canvas:
    """Return a (2 size, 2 size, 3) grey texture around 128; the same in every process."""
    rng = np.random.default_rng(number)
    total = np.zeros((2 * size, 2 * size), np.float32)
    for cells, weight in ((size // 16, 0.5), (size // 5, 0.4), (2 * size, 0.3)):
        # Wider than high, as the ground is seen from a low place.
        noise = rng.standard_normal((cells, max(cells // (number + 1), 1))).astype(np.float32)
        total += weight * cv2.resize(noise, (2 * size, 2 * size), interpolation=cv2.INTER_CUBIC)
    grey = np.clip(128 + 40 * total, 0, 255).astype(np.uint8)
    return np.asarray(cv2.cvtColor(grey, cv2.COLOR_GRAY2RGB), np.uint8)
