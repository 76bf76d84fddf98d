"""What all batches of a tensor tell about its values, exactly: counts, extremes and moments, and norms of gradients.

The records do not depend on the order of what was added or merged, and pass through JSON without loss.
"""

import math
from dataclasses import dataclass, field
from typing import Any

from tfdump.exact_sums import ExactMoments, ExactSum, root_of


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
