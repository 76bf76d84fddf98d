"""The relative L2 error of one array against another, summed batch by batch."""

import math

import numpy as np

from tfdump.comparison.values.norms import flat_numbers, sum_of_squares
from tfdump.tensors import Array

_BLOCK = 1 << 15
"""Elements that are summed at once, so that they stay in the cache."""

_ROW = 256
"""Squares of float32 that are summed before the sum becomes float64; this costs less than one digit in a million."""

_SMALL = 1e-20
"""Squares of float32 whose sum over a block is below this may have lost digits."""


class ErrorSum:
    """Sums the squares of a difference and of its reference, in float64 beyond a few hundred elements.

    Numbers that are NaN or infinite on one side only make the error infinite. Those that are the same on both sides
    count as equal.
    """

    def __init__(self) -> None:
        self._error = self._norm = 0.0
        self._unlike = False

    def add(self, reference: Array, value: Array) -> None:
        """Add one batch: two arrays of one shape."""
        a, b = (flat_numbers(array) for array in (reference, value))
        rows = a.size - a.size % _ROW if a.dtype == b.dtype == np.float32 else 0
        with np.errstate(invalid="ignore", over="ignore", under="ignore"):
            for start in range(0, rows, _BLOCK):
                stop = min(start + _BLOCK, rows)
                self._add_rows(a[start:stop], b[start:stop])
            for start in range(rows, a.size, _BLOCK):
                self._add_block(a[start : start + _BLOCK], b[start : start + _BLOCK])

    def _add_rows(self, a: Array, b: Array) -> None:
        """Add blocks of float32, as they are where this is precise enough."""
        gap = b - a
        error, norm = _square_of_rows(gap), _square_of_rows(a)
        if math.isfinite(error + norm) and all(
            sum_ > _SMALL or not (sum_ or values.any()) for sum_, values in ((error, gap), (norm, a))
        ):
            self._error += error
            self._norm += norm
        else:
            self._add_block(a, b)

    def _add_block(self, a: Array, b: Array) -> None:
        before, after = a.astype(np.float64), b.astype(np.float64)
        error, norm = sum_of_squares(after - before), sum_of_squares(before)
        if not math.isfinite(error + norm):
            error, norm = self._of_finite(before, after)
        self._error += error
        self._norm += norm

    def _of_finite(self, a: Array, b: Array) -> tuple[float, float]:
        """Return the sums of the numbers that are finite on both sides, and note whether the others differ."""
        finite = np.isfinite(a) & np.isfinite(b)
        self._unlike |= not np.array_equal(a[~finite], b[~finite], equal_nan=True)
        return sum_of_squares(b[finite] - a[finite]), sum_of_squares(a[finite])

    @property
    def squares(self) -> float:
        """The sum of the squares of the difference."""
        return math.inf if self._unlike else self._error

    @property
    def relative(self) -> float:
        """The L2 norm of the difference, divided by that of the reference."""
        if not self.squares:
            return 0.0
        return math.sqrt(self.squares) / math.sqrt(self._norm) if self._norm else math.inf


def _square_of_rows(values: Array) -> float:
    rows = values.reshape(-1, _ROW)
    return float(np.einsum("ij,ij->i", rows, rows).sum(dtype=np.float64))
