"""The signal-to-quantization-noise ratio of values that arrive block by block."""

import math

import numpy as np

from tfdump.tensors import Array

_SMALL = 1e-290
"""Below this sum, squares have lost bits or vanished in float64; the longest float sums them then."""


class SignalToNoise:
    """Gathers `10 log10(sum x^2 / sum (x - q)^2)` over the positions at which x and q are finite.

    Each block is summed in float64 and, where squares do not fit it, in the longest float.
    """

    def __init__(self) -> None:
        self._count = 0
        self._signal = np.longdouble(0)
        self._noise = np.longdouble(0)

    def add(self, values: Array, quantized: Array) -> None:
        """Add real numbers, and the numbers by which they are replaced, of the same shape."""
        numbers = values.astype(np.float64, copy=False)
        with np.errstate(invalid="ignore", over="ignore"):
            errors = numbers - quantized
            if not np.isfinite(np.add.reduce(errors, axis=None)):
                finite = np.isfinite(numbers) & np.isfinite(quantized)
                numbers = numbers[finite]
                errors = numbers - quantized[finite].astype(np.longdouble)
        self._count += numbers.size
        self._signal += sum_of_all_squares(numbers)
        self._noise += sum_of_all_squares(errors)

    def decibels(self) -> float:
        """Return the ratio: infinite without an error, -inf for silence with an error, NaN without a finite value."""
        if not self._count:
            return math.nan
        if not self._noise:
            return math.inf
        if not self._signal:
            return -math.inf
        return float(10 * (np.log10(self._signal) - np.log10(self._noise)))


def sum_of_all_squares(numbers: Array) -> np.longdouble:
    """Return the sum of squares, also of numbers whose squares do not fit float64."""
    with np.errstate(over="ignore", under="ignore"):
        total = np.add.reduce(np.square(numbers), axis=None)
        if _SMALL < total < np.inf or not np.any(numbers):
            return np.longdouble(total)
        return np.longdouble(np.add.reduce(np.square(numbers.astype(np.longdouble)), axis=None))
