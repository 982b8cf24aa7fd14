"""The assignment of candidates to people: Kuhn and Munkres' algorithm, compiled.

Rounded tag distances often give several assignments the same cost, and the one chosen decides
which person gets a keypoint. The published code uses munkres 1.1.4, whose choice differs from
SciPy's; this repeats its steps in the same order.
"""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


def assign(cost: Floats) -> list[tuple[int, int]]:
    """Return the (row, column) pairs of least total cost, in the order of rows.

    Of several assignments of equal cost, it is the one that munkres 1.1.4 returns.

    Args:
        cost: (rows, columns); a matrix that is not square is padded with zeros.
    """
    rows, columns = cost.shape
    size = max(rows, columns)
    square = np.zeros((size, size))
    square[:rows, :columns] = cost
    starred = _munkres(square)
    return [(row, int(starred[row])) for row in range(rows) if starred[row] < columns]


@numba.njit(cache=True)
def _munkres(cost: Floats) -> Ints:
    """Return the column (n,) of each row of a square matrix (n, n), which is overwritten."""
    n = len(cost)
    for i in range(n):
        cost[i] -= cost[i].min()
    starred, starred_row = _star_zeros(cost)
    primed = np.full(n, -1)  # row -> column
    row_covered = np.zeros(n, np.bool_)
    while True:
        row_covered[:] = False
        column_covered = starred_row >= 0
        if column_covered.all():
            return starred
        row, column = 0, 0
        while True:
            row, column = _uncovered_zero(cost, row_covered, column_covered, row, column)
            if row < 0:
                _make_zero(cost, row_covered, column_covered)
                row, column = 0, 0
                continue
            primed[row] = column
            if starred[row] < 0:
                break
            column = starred[row]
            row_covered[row] = True
            column_covered[column] = False
        _augment(row, column, starred, starred_row, primed)
        primed[:] = -1


@numba.njit(cache=True)
def _star_zeros(cost: Floats) -> tuple[Ints, Ints]:
    """Star zeros, at most one per row and column, in the order of rows.

    Returns:
        Each row's starred column (n,), and each column's starred row (n,); -1: none.
    """
    n = len(cost)
    starred, starred_row = np.full(n, -1), np.full(n, -1)
    for i in range(n):
        for j in range(n):
            if cost[i, j] == 0 and starred_row[j] < 0 and starred[i] < 0:
                starred[i], starred_row[j] = j, i
    return starred, starred_row


@numba.njit(cache=True)
def _uncovered_zero(
    cost: Floats, row_covered: Bools, column_covered: Bools, first_row: int, first_column: int
) -> tuple[int, int]:
    """Return an uncovered zero's row and column; -1, -1: there is none.

    Rows are searched from `first_row` on and columns from `first_column` on, both wrapping around.
    It is the first row with an uncovered zero, and the last such column of that row.
    """
    n = len(cost)
    for down in range(n):
        i = (first_row + down) % n
        column = -1
        if not row_covered[i]:
            for across in range(n):
                j = (first_column + across) % n
                if cost[i, j] == 0 and not column_covered[j]:
                    column = j
        if column >= 0:
            return i, column
    return -1, -1


@numba.njit(cache=True)
def _make_zero(cost: Floats, row_covered: Bools, column_covered: Bools) -> None:
    """Create an uncovered zero: shift rows and columns by the smallest uncovered cost."""
    n = len(cost)
    smallest = np.inf
    for i in range(n):
        for j in range(n):
            if not row_covered[i] and not column_covered[j]:
                smallest = min(smallest, cost[i, j])
    for i in range(n):
        for j in range(n):
            if row_covered[i]:
                cost[i, j] += smallest
            if not column_covered[j]:
                cost[i, j] -= smallest


@numba.njit(cache=True)
def _augment(row: int, column: int, starred: Ints, starred_row: Ints, primed: Ints) -> None:
    """Exchange stars and primes along the alternating path from a primed zero, in place."""
    while True:
        previous = starred_row[column]
        starred[row], starred_row[column] = column, row
        if previous < 0:
            break
        row, column = previous, primed[previous]
