"""The relative L2 error of one array against another, summed batch by batch."""

import math

import numpy as np

from tfdump.tensors import Array

_BLOCK = 1 << 14
"""Elements that are summed at once, so that they stay in the cache."""


class ErrorSum:
    """Sums the squares of a difference and of its reference in float64.

    Numbers that are NaN or infinite on one side only make the error infinite. Those that are the same on both sides
    count as equal.
    """

    def __init__(self) -> None:
        self._error = self._norm = 0.0
        self._unlike = False

    def add(self, reference: Array, value: Array) -> None:
        """Add one batch: two arrays of one shape."""
        a, b = (_flat(array) for array in (reference, value))
        buffers = np.empty((3, min(a.size, _BLOCK)))
        with np.errstate(invalid="ignore", over="ignore"):
            for start in range(0, a.size, _BLOCK):
                before, after, gap = buffers[:, : min(_BLOCK, a.size - start)]
                np.copyto(before, a[start : start + _BLOCK])
                np.copyto(after, b[start : start + _BLOCK])
                np.subtract(after, before, out=gap)
                error, norm = _square(gap), _square(before)
                if not math.isfinite(error + norm):
                    error, norm = self._of_finite(before, after)
                self._error += error
                self._norm += norm

    def _of_finite(self, a: Array, b: Array) -> tuple[float, float]:
        """Return the sums of the numbers that are finite on both sides, and note whether the others differ."""
        finite = np.isfinite(a) & np.isfinite(b)
        self._unlike |= not np.array_equal(a[~finite], b[~finite], equal_nan=True)
        return _square(b[finite] - a[finite]), _square(a[finite])

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


def _square(values: Array) -> float:
    """Return the sum of squares, by one thread: the threads of a dot product would wait for those of the models."""
    return float(np.einsum("i,i->", values, values))


def _flat(values: Array) -> Array:
    """Return the numbers of an array in a row; a complex number is two."""
    flat = np.ascontiguousarray(values).reshape(-1)
    return flat.view(flat.real.dtype) if flat.dtype.kind == "c" else flat
