"""Errors and gradients of a Gaussian on a window of a heatmap, compiled by numba.

Imported when matching first runs, since importing numba takes long.

Shapes: N pixels of a window.
"""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@numba.njit(cache=True)
def errors(fit: Floats, x: Floats, y: Floats, values: Floats) -> Floats:
    """Return by how much a Gaussian exceeds the values (N,).

    Args:
        fit: (4,) height, x and y of the centre, and sigma.
        x: (N,) of the pixels.
        y: (N,).
        values: (N,) of the heatmap.
    """
    height, cx, cy, sigma = fit
    found = np.empty(len(values))
    for n in range(len(values)):
        squared = (x[n] - cx) ** 2 + (y[n] - cy) ** 2
        found[n] = height * np.exp(-squared / (2 * sigma * sigma)) - values[n]
    return found


@numba.njit(cache=True)
def gradients(fit: Floats, x: Floats, y: Floats, values: Floats) -> Floats:
    """Return the derivatives (4, N) of the errors by the Gaussian's four numbers."""
    height, cx, cy, sigma = fit
    found = np.empty((4, len(values)))
    for n in range(len(values)):
        dx, dy = x[n] - cx, y[n] - cy
        squared = dx * dx + dy * dy
        value = np.exp(-squared / (2 * sigma * sigma))
        slope = height * value / (sigma * sigma)
        found[0, n] = value
        found[1, n] = slope * dx
        found[2, n] = slope * dy
        found[3, n] = slope * squared / sigma
    return found
