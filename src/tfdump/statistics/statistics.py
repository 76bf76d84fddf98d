"""Streaming statistics of a tensor over all its examples.

Blocks small enough to stay in cache are summarized in float64 and merged by the pairwise update of Chan, Golub and
LeVeque, "Updating formulae and a pairwise algorithm for computing sample variances" (1979).
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from tfdump.dump.attributes import STATISTIC_PREFIX
from tfdump.dump.parts import Piecewise, holds_values
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
"""Squares of larger numbers overflow float64, and those of numbers below its inverse vanish; extended precision is
used then.
"""


@dataclass(frozen=True)
class Statistics:
    """The statistics of the values of one tensor.

    `count` is the number of elements; `nan`, `inf` and `zero` are the numbers of elements of that kind. `min`, `max`,
    `mean`, `std` (ddof 0) and `l2` are over the finite values. If there are none, `mean`, `std` and `l2` are NaN, and
    `min` and `max` are those of the infinities (NaN if all values are NaN). An empty tensor has the `l2` 0. Complex
    numbers enter by their magnitude.
    """

    count: int
    min: float
    max: float
    mean: float
    std: float
    l2: float
    nan: int
    inf: int
    zero: int


class StatisticsAccumulator:
    """Gathers the statistics of a numeric tensor that arrives batch by batch, in any shapes."""

    def __init__(self) -> None:
        self._count = self._nan = self._inf = self._zero = self._negative_inf = 0
        self._finite = 0
        self._min = math.inf
        self._max = -math.inf
        self._mean = np.longdouble(0)
        self._deviations = np.longdouble(0)
        self._squares = np.longdouble(0)

    def add(self, values: Array) -> None:
        """Add the values of one batch; text is ignored."""
        if values.dtype.kind in "OSU":
            return
        flat = values.reshape(-1)
        for start in range(0, flat.size, BLOCK):
            self._add_block(flat[start : start + BLOCK])

    def state(self) -> list[int | str]:
        """Return the state so far: counts, and the bytes of floats in hexadecimal."""
        floats: list[Any] = [np.float64(self._min), np.float64(self._max)]
        floats += [self._mean, self._deviations, self._squares]
        counts = [self._count, self._nan, self._inf, self._zero, self._finite, self._negative_inf]
        return [*counts, *(number.tobytes().hex() for number in floats)]

    def restore(self, state: list[Any]) -> None:
        """Continue from what `state` returned."""
        self._count, self._nan, self._inf, self._zero, self._finite, self._negative_inf = state[:6]
        low, high, *wide = map(bytes.fromhex, state[6:])
        self._min, self._max = (float(np.frombuffer(data, np.float64)[0]) for data in (low, high))
        self._mean, self._deviations, self._squares = (np.frombuffer(data, np.longdouble)[0] for data in wide)

    def _add_block(self, block: Array) -> None:
        self._count += block.size
        with np.errstate(invalid="ignore"):  # a signaling NaN
            self._zero += int(np.count_nonzero(block == 0))  # truth values are counted much faster than floats
            if block.dtype.kind == "c":
                block = np.abs(block.astype(np.complex128))
            numbers: Array = block.astype(np.float64)
        narrow = block if block.dtype == np.float32 else numbers  # half as many bytes
        low, high = float(narrow.min()), float(narrow.max())
        if not (math.isfinite(low) and math.isfinite(high)):  # min and max propagate NaN
            self._nan += int(np.count_nonzero(np.isnan(numbers)))
            self._inf += int(np.count_nonzero(np.isinf(numbers)))
            self._negative_inf += int(np.count_nonzero(np.isneginf(numbers)))
            numbers = numbers[np.isfinite(numbers)]
            if not numbers.size:
                return
            low, high = float(numbers.min()), float(numbers.max())
        self._min, self._max = min(self._min, low), max(self._max, high)
        largest = max(-low, high)
        fragile = largest > _SAFE or 0 < largest < 1 / _SAFE
        self._merge(numbers.astype(np.longdouble) if fragile else numbers, constant=low == high)

    def _merge(self, numbers: Array, constant: bool) -> None:
        """Merge the mean and the sums of squares of one block of finite numbers.

        If the mean is far from zero, the deviations come from a second pass, and the rounding error of the mean is
        subtracted from them (Chan et al., "corrected two-pass").
        """
        size = numbers.size
        squares = _sum_of_squares(numbers)
        mean = numbers[0] if constant else np.add.reduce(numbers) / size
        rest = np.longdouble(0)
        deviations = squares - size * np.longdouble(mean) ** 2
        if constant or squares > _NEAR_ZERO * deviations:
            numbers -= mean
            rest = np.longdouble(numbers.mean())
            deviations = max(_sum_of_squares(numbers) - size * rest**2, np.longdouble(0))
        total = self._finite + size
        difference = np.longdouble(mean) + rest - self._mean
        self._deviations += deviations + difference**2 * self._finite * size / total
        self._mean += difference * size / total
        self._squares += squares
        self._finite = total

    def result(self) -> Statistics:
        """Return the statistics of everything added so far."""
        some = self._finite > 0
        low, high = (self._min, self._max) if some else self._infinite_range()
        return Statistics(
            count=self._count,
            min=low,
            max=high,
            mean=float(self._mean) if some else math.nan,
            std=float(np.sqrt(self._deviations / self._finite)) if some else math.nan,
            l2=float(np.sqrt(self._squares)) if some or not self._count else math.nan,
            nan=self._nan,
            inf=self._inf,
            zero=self._zero,
        )

    def _infinite_range(self) -> tuple[float, float]:
        """Return the smallest and the largest infinity, NaN if there is none."""
        if not self._inf:
            return math.nan, math.nan
        low = -math.inf if self._negative_inf else math.inf
        return low, math.inf if self._inf > self._negative_inf else -math.inf


def statistics_of(parts: Iterable[Piecewise]) -> Statistics:
    """Return the statistics of the values in the parts of one tensor, read in pieces."""
    gathered = StatisticsAccumulator()
    for part in parts:
        if holds_values(part.name):
            for key in part.keys(part.piece_bytes):
                gathered.add(part.read(key))
    return gathered.result()


def _sum_of_squares(numbers: Array) -> np.longdouble:
    """Return the sum of the squares of a flat block."""
    whole = numbers.size // _FEW * _FEW
    rows, rest = numbers[:whole].reshape(-1, _FEW), numbers[whole:]
    sums = np.matmul(rows[:, None], rows[:, :, None]).reshape(-1)  # one call computes the dot products of all rows
    return np.longdouble(np.add.accumulate(np.array([*sums, np.dot(rest, rest)], np.longdouble))[-1])


def statistics_attributes(statistics: Statistics) -> dict[str, Any]:
    """Return the statistics as attributes of a dataset: `stat_count`, `stat_min` and so on, as int64 and float64."""
    return {
        f"{STATISTIC_PREFIX}{name}": np.int64(value) if isinstance(value, int) else np.float64(value)
        for name, value in vars(statistics).items()
    }
