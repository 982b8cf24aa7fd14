"""How close a computed value has to be to the published one."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import Tensor

# Float32 keeps 24 bits. A stored value is off by up to half a step of the largest value's last
# bit, and a few operations in float32 add a few more steps.
FLOAT32 = 4 * 2.0**-23

# Of a test's comparisons so far, the differences as shares of what is allowed.
SHARES: list[float] = []


def tolerance(expected: Any, absolute: float, relative: float) -> float:
    """Return the larger of an absolute tolerance and a share of the largest finite value.

    An absolute tolerance suits values of the magnitude that it was chosen for. Float32 cannot
    express values of millions to 1e-4: they need a tolerance that grows with them. The share is
    chosen such that the absolute tolerance decides at ordinary magnitudes.
    """
    values = np.abs(np.asarray(expected, dtype=np.float64))
    return max(absolute, relative * float(values.max(where=np.isfinite(values), initial=0)))


def assert_close(
    computed: Any, expected: Any, absolute: float = 0.0, relative: float = 0.0
) -> None:
    """Compare shapes, and values to the larger of two tolerances; infinities have to be equal.

    Tensors may be on any device.
    """
    computed, expected = (np.asarray(_on_cpu(v), dtype=np.float64) for v in (computed, expected))
    assert computed.shape == expected.shape
    differing = computed != expected
    if differing.any():
        error = np.abs(computed[differing] - expected[differing]).max()
        allowed = tolerance(expected, absolute, relative)
        SHARES.append(error / allowed if allowed else np.inf)
        assert error <= allowed, f"off by {error:.3g}; allowed: {allowed:.3g}"


def _on_cpu(values: Any) -> Any:
    return values.detach().cpu() if isinstance(values, Tensor) else values
