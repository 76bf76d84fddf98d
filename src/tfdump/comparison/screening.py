"""A quick look at numbers in float32 that bounds how far apart they are; what it cannot settle is judged in full.

float64 takes three times as long, and most pieces neither hold the worst element nor one near its bound.
"""

from dataclasses import dataclass

import numpy as np

from tfdump.comparison.tolerance import Tolerance
from tfdump.tensors import Array

_ROUNDING = 2.0**-21
"""More than the rounding of all steps together, each half a unit in the last of 24 bits (2**-22 of the terms)."""

_TINY = 1e-40
"""More than what is lost if products fall below the normal numbers of float32."""

_HUGE = 1e37
"""Products above this could overflow float32."""


@dataclass(frozen=True)
class ScreenedPiece:
    """Bounds for a piece: the largest distance is at most `error`, the largest excess at most `need`.

    `largest` is the largest golden magnitude itself; `excess` has the excesses, each correct within `slack`.
    """

    largest: float
    error: float
    need: float
    slack: float
    excess: Array

    def above(self, bound: float, ceiling: float) -> tuple[int, Array]:
        """Return how many excesses may be above a bound, and the positions of those that may be below a ceiling."""
        slack = self.slack + ceiling * _ROUNDING
        above = self.excess > np.float32(bound - slack)
        close = above & (self.excess <= np.float32(ceiling + slack))
        return int(np.count_nonzero(above)), np.flatnonzero(close)


class Screen:
    """Screens pieces of at most `size` elements for one tensor."""

    def __init__(self, size: int, tolerance: Tolerance) -> None:
        self._tolerance = tolerance
        self._buffers = [np.empty(size, np.float32) for _ in range(2)]

    def look(self, golden: Array, new: Array) -> ScreenedPiece | None:
        """Return the bounds for two flat pieces; None unless they are float16 or float32, finite and of usual size."""
        if not all(side.dtype.kind == "f" and side.dtype.itemsize <= 4 for side in (golden, new)):
            return None
        error, magnitude = (buffer[: golden.size] for buffer in self._buffers)
        if golden.dtype == new.dtype == np.float32:
            np.subtract(new, golden, out=error)
            np.abs(golden, out=magnitude)
        else:
            np.copyto(magnitude, golden)
            np.copyto(error, new)
            np.subtract(error, magnitude, out=error)
            np.abs(magnitude, out=magnitude)
        np.abs(error, out=error)
        furthest, largest = float(error.max()), float(magnitude.max())
        relative = self._tolerance.rtol * largest
        total = furthest + relative + self._tolerance.atol
        if not total < _HUGE:  # also true for NaN
            return None
        if relative:
            np.multiply(magnitude, np.float32(self._tolerance.rtol), out=magnitude)
            np.subtract(error, magnitude, out=error)
        if self._tolerance.atol:
            np.subtract(error, np.float32(self._tolerance.atol), out=error)
        slack = total * _ROUNDING + _TINY
        return ScreenedPiece(largest, furthest * (1 + _ROUNDING) + _TINY, float(error.max()) + slack, slack, error)
