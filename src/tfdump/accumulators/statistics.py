"""What all batches of a tensor tell about its values, exactly: counts, extremes and moments, and norms of gradients.

Blocks small enough to stay in cache are summarized in float64, and their sums are added exactly. So the order of the
batches does not matter, nor which process takes them; how the examples are divided into batches may change last bits.
The records pass through JSON without loss, and merge.
"""

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tfdump.accumulators.sums import ExactMoments, ExactSum, root_of
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
"""Squares of larger numbers overflow float64, and those of numbers below its inverse vanish: a
block of them is scaled by a power of 2.
"""

_NORM_BLOCK = 1 << 13
"""Elements of a gradient that are squared at once: few enough for one thread, because the others run the model."""

_LEAST_SOUND = 1e-280
"""A sum of squares below it may lack squares that underflowed in float64."""


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


@dataclass
class ExactStatistics:
    """What statistics are computed from; `low` and `high` are the extremes of the finite values."""

    count: int = 0
    nan: int = 0
    inf: int = 0
    zero: int = 0
    negative_inf: int = 0
    low: float = math.inf
    high: float = -math.inf
    moments: ExactMoments = field(default_factory=ExactMoments)

    def add(self, values: Array) -> None:
        """Add the numbers of an array; text is ignored."""
        if values.dtype.kind in "OSU":
            return
        flat = values.reshape(-1)
        for start in range(0, flat.size, BLOCK):
            self._add_block(flat[start : start + BLOCK])

    def merge(self, other: "ExactStatistics", times: int = 1) -> None:
        """Add everything that was added to another, so many times; not at all if that is 0."""
        if not times:
            return
        self.count += other.count * times
        self.nan += other.nan * times
        self.inf += other.inf * times
        self.zero += other.zero * times
        self.negative_inf += other.negative_inf * times
        self.low, self.high = min(self.low, other.low), max(self.high, other.high)
        self.moments.merge(other.moments, times)

    def state(self) -> list[Any]:
        """Return the record as JSON: counts, the extremes in hexadecimal, and the exact moments."""
        counts = [self.count, self.nan, self.inf, self.zero, self.negative_inf]
        return [*counts, self.low.hex(), self.high.hex(), self.moments.state()]

    @classmethod
    def of_state(cls, state: list[Any]) -> "ExactStatistics":
        """Return the record with this `state`."""
        count, nan, inf, zero, negative_inf, low, high, moments = state
        extremes = float.fromhex(low), float.fromhex(high)
        return cls(count, nan, inf, zero, negative_inf, *extremes, ExactMoments.of_state(moments))

    def result(self) -> Statistics:
        """Return the statistics."""
        moments = self.moments
        some = moments.count > 0
        low, high = (self.low, self.high) if some else self._infinite_range()
        return Statistics(
            count=self.count,
            min=low,
            max=high,
            mean=moments.mean() if some else math.nan,
            std=moments.std() if some else math.nan,
            l2=moments.l2() if some or not self.count else math.nan,
            nan=self.nan,
            inf=self.inf,
            zero=self.zero,
        )

    def _add_block(self, block: Array) -> None:
        self.count += block.size
        with np.errstate(invalid="ignore"):  # a signaling NaN
            self.zero += int(np.count_nonzero(block == 0))  # truth values are counted much faster than floats
            if block.dtype.kind == "c":
                block = np.abs(block.astype(np.complex128))
            numbers: Array = block.astype(np.float64)
        narrow = block if block.dtype == np.float32 else numbers  # half as many bytes
        low, high = float(narrow.min()), float(narrow.max())
        if not (math.isfinite(low) and math.isfinite(high)):  # min and max propagate NaN
            self.nan += int(np.count_nonzero(np.isnan(numbers)))
            self.inf += int(np.count_nonzero(np.isinf(numbers)))
            self.negative_inf += int(np.count_nonzero(np.isneginf(numbers)))
            numbers = numbers[np.isfinite(numbers)]
            if not numbers.size:
                return
            low, high = float(numbers.min()), float(numbers.max())
        self.low, self.high = min(self.low, low), max(self.high, high)
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
        size, moments = numbers.size, self.moments
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

    def _infinite_range(self) -> tuple[float, float]:
        """Return the smallest and the largest infinity, NaN if there is none."""
        if not self.inf:
            return math.nan, math.nan
        low = -math.inf if self.negative_inf else math.inf
        return low, math.inf if self.inf > self.negative_inf else -math.inf


@dataclass
class ExactNorm:
    """The sum of squares from which a norm is computed, and how many numbers that passed through float16 are zero.

    `infinite` is NaN or infinity where there were such numbers.
    """

    zeros: int = 0
    infinite: float = 0.0
    squares: ExactSum = field(default_factory=ExactSum)

    def add(self, values: Array) -> None:
        """Add the squares of numbers."""
        flat = (np.abs(values) if values.dtype.kind == "c" else values).reshape(-1)
        for start in range(0, flat.size, _NORM_BLOCK):
            self._add_block(flat[start : start + _NORM_BLOCK].astype(np.float64))

    def merge(self, other: "ExactNorm") -> None:
        """Add the numbers that were added to another."""
        self.zeros += other.zeros
        self.infinite += other.infinite
        self.squares.merge(other.squares)

    @property
    def norm(self) -> float:
        """The L2 norm, correctly rounded."""
        return self.infinite or root_of(*self.squares.fraction)

    def state(self) -> list[Any]:
        """Return the record as JSON."""
        return [self.zeros, self.infinite.hex(), self.squares.state()]

    @classmethod
    def of_state(cls, state: list[Any]) -> "ExactNorm":
        """Return the record with this `state`."""
        return cls(state[0], float.fromhex(state[1]), ExactSum.of_state(state[2]))

    def _add_block(self, block: Array) -> None:
        """Add the squares of a block, scaled by a power of 2 where they overflow or underflow float64."""
        exponent = 0
        with np.errstate(all="ignore"):
            squares = float(np.dot(block, block))
            if not _LEAST_SOUND < squares < math.inf and block.any():
                largest = float(np.abs(block).max())
                if not math.isfinite(largest):
                    self.infinite += largest
                    return
                exponent = math.frexp(largest)[1]
                scaled = np.ldexp(block, -exponent)
                squares = float(np.dot(scaled, scaled))
        self.squares.add(squares, 2 * exponent)


def _sum_of_squares(numbers: Array) -> float:
    """Return the sum of the squares of a flat block."""
    whole = numbers.size // _FEW * _FEW
    rows, rest = numbers[:whole].reshape(-1, _FEW), numbers[whole:]
    sums = [float(np.dot(rest, rest))]
    if whole:
        sums += np.matmul(rows[:, None], rows[:, :, None]).reshape(-1).tolist()  # the dot products of all rows at once
    return math.fsum(sums)
