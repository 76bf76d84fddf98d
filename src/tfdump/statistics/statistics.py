"""Streaming statistics of a tensor over all its examples.

Blocks small enough to stay in cache are summarized in float64, and their sums are added exactly. So the order of the
batches does not matter, nor which process takes them; how the examples are divided into batches may change last bits.
"""

import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from tfdump.dump.attributes import STATISTIC_PREFIX
from tfdump.dump.parts import Piecewise, holds_values
from tfdump.exact_statistics import ExactStatistics, Statistics
from tfdump.tensors import Array

BLOCK = 1 << 16
"""Elements per block: 512 kB in float64, so that the second pass over it reads from cache."""

_FEW = 1 << 13
"""Elements per sum of squares: above 10,000 OpenBLAS starts threads, which on a busy machine cost a hundred times as
much as the sum.
"""

_NEAR_ZERO = 64
"""Up to this ratio of the sum of squares to that of the deviations, their difference loses six bits of 53."""

_SAFE = 1e150
"""Squares of larger numbers overflow float64, and those of numbers below its inverse vanish;
a block of them is scaled by a power of 2.
"""


class StatisticsAccumulator:
    """Gathers the statistics of a numeric tensor that arrives batch by batch, in any shapes."""

    def __init__(self) -> None:
        self._exact = ExactStatistics()

    def add(self, values: Array) -> None:
        """Add the values of one batch; text is ignored."""
        if values.dtype.kind in "OSU":
            return
        flat = values.reshape(-1)
        for start in range(0, flat.size, BLOCK):
            self._add_block(flat[start : start + BLOCK])

    def merge(self, other: "StatisticsAccumulator", times: int = 1) -> None:
        """Add everything that was added to another, so many times."""
        self._exact.merge(other._exact, times)

    def state(self) -> list[Any]:
        """Return the state so far as JSON that preserves every bit; the order of the batches does not change it."""
        return self._exact.state()

    def restore(self, state: list[Any]) -> None:
        """Continue from what `state` returned."""
        self._exact = ExactStatistics.of_state(state)

    def result(self) -> Statistics:
        """Return the statistics of everything added so far."""
        return self._exact.result()

    def _add_block(self, block: Array) -> None:
        exact = self._exact
        exact.count += block.size
        with np.errstate(invalid="ignore"):  # a signaling NaN
            exact.zero += int(np.count_nonzero(block == 0))  # truth values are counted much faster than floats
            if block.dtype.kind == "c":
                block = np.abs(block.astype(np.complex128))
            numbers: Array = block.astype(np.float64)
        narrow = block if block.dtype == np.float32 else numbers  # half as many bytes
        low, high = float(narrow.min()), float(narrow.max())
        if not (math.isfinite(low) and math.isfinite(high)):  # min and max propagate NaN
            exact.nan += int(np.count_nonzero(np.isnan(numbers)))
            exact.inf += int(np.count_nonzero(np.isinf(numbers)))
            exact.negative_inf += int(np.count_nonzero(np.isneginf(numbers)))
            numbers = numbers[np.isfinite(numbers)]
            if not numbers.size:
                return
            low, high = float(numbers.min()), float(numbers.max())
        exact.low, exact.high = min(exact.low, low), max(exact.high, high)
        largest = max(-low, high)
        exponent = 0
        if largest > _SAFE or 0 < largest < 1 / _SAFE:
            exponent = math.frexp(largest)[1]
            numbers = np.ldexp(numbers, -exponent)
        self._add_moments(numbers, low == high, exponent)

    def _add_moments(self, numbers: Array, constant: bool, exponent: int) -> None:
        """Add the moments of one block of finite numbers, which were divided by 2^exponent.

        If the mean is far from zero, the deviations come from a second pass, and the rounding error of the mean is
        subtracted from them (T. F. Chan, G. H. Golub and R. J. LeVeque, "Algorithms for computing the sample variance",
        1983, "corrected two-pass").
        """
        size, moments = numbers.size, self._exact.moments
        if constant:
            moments.add_deviations(size, float(numbers[0]), 0.0, 0.0, exponent)
            return
        squares, total = _sum_of_squares(numbers), float(np.add.reduce(numbers))
        mean = total / size
        if squares <= _NEAR_ZERO * (squares - mean * total):
            moments.add_sums(size, total, squares, exponent)
            return
        numbers -= mean
        rest = float(numbers.mean())
        deviations = max(_sum_of_squares(numbers) - size * rest**2, 0.0)
        moments.add_deviations(size, mean, rest, deviations, exponent)


def statistics_of(parts: Iterable[Piecewise]) -> Statistics:
    """Return the statistics of the values in the parts of one tensor, read in pieces."""
    gathered = StatisticsAccumulator()
    for part in parts:
        if holds_values(part.name):
            for key in part.keys(part.piece_bytes):
                gathered.add(part.read(key))
    return gathered.result()


def _sum_of_squares(numbers: Array) -> float:
    """Return the sum of the squares of a flat block."""
    whole = numbers.size // _FEW * _FEW
    rows, rest = numbers[:whole].reshape(-1, _FEW), numbers[whole:]
    sums = [float(np.dot(rest, rest))]
    if whole:
        sums += np.matmul(rows[:, None], rows[:, :, None]).reshape(-1).tolist()  # the dot products of all rows at once
    return math.fsum(sums)


def statistics_attributes(statistics: Statistics) -> dict[str, Any]:
    """Return the statistics as attributes of a dataset: `stat_count`, `stat_min` and so on, as int64 and float64."""
    return {
        f"{STATISTIC_PREFIX}{name}": np.int64(value) if isinstance(value, int) else np.float64(value)
        for name, value in vars(statistics).items()
    }
