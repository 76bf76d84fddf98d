"""Percentiles: exact ones by reading values again, and estimates with their error from a histogram."""

import math
from collections.abc import Callable, Iterable, Sequence

import numpy as np
import numpy.typing as npt

from tfdump.accumulators.quantile_histogram import FINEST, QuantileHistogram
from tfdump.quantization.records import Percentile

Blocks = Callable[[], Iterable[npt.NDArray[np.float64]]]
"""Gives the finite values of a tensor, in blocks; it is called several times and must give the same values."""

_WIDTH = 16
_FEW = 4_000
"""Up to so many numbers are counted one by one, which is faster than a new array of counts."""

_SIGN = 1 << (63 - FINEST)


def exact_percentiles(
    blocks: Blocks, histogram: QuantileHistogram, percents: Sequence[float], leading_bits: int
) -> tuple[Percentile, ...]:
    """Return the percentiles as `numpy.percentile` computes them in float64, in flat memory.

    `histogram` has all values at the finest resolution. Each further pass over the values finds out 16 more bits of
    those that the percentiles need. `leading_bits` of a float64 tell the values apart: 35 for float32, which need one
    pass.
    """
    places = [_place(percent, histogram.finite) for percent in percents]
    if not histogram.finite:
        return tuple(Percentile(percent, math.nan, 0.0) for percent in percents)
    ranks = sorted({rank for first, second, _ in places for rank in (first, second)})
    values = _order_statistics(blocks, histogram, ranks, 64 - leading_bits)
    return tuple(
        Percentile(percent, _between(values[first], values[second], share), 0.0)
        for percent, (first, second, share) in zip(percents, places, strict=True)
    )


def estimated_percentiles(
    histogram: QuantileHistogram, low: float, high: float, percents: Sequence[float], whole: bool
) -> tuple[Percentile, ...]:
    """Return percentiles of values from `low` to `high` with the largest error that they can have.

    `whole` tells that all values are whole numbers.
    """
    lows, highs = histogram.edges()
    if whole:  # zero and positive bins hold their lower ends, negative bins their upper ends
        negative = histogram.bins < 0
        lows = np.where(negative, np.floor(lows) + 1, np.ceil(lows))
        highs = np.where(negative, np.floor(highs), np.maximum(np.ceil(highs) - 1, lows))
    lows, highs = np.clip(lows, low, high), np.clip(highs, low, high)
    ends = np.cumsum(histogram.counts)

    def estimate(percent: float) -> Percentile:
        first, second, share = _place(percent, histogram.finite)
        one, other = (int(np.searchsorted(ends, rank, side="right")) for rank in (first, second))
        least = _between(float(lows[one]), float(lows[other]), share)
        most = _between(float(highs[one]), float(highs[other]), share)
        middle = least + (most - least) / 2
        return Percentile(percent, middle, max(most - middle, middle - least))

    if not histogram.finite:
        return tuple(Percentile(percent, math.nan, 0.0) for percent in percents)
    return tuple(estimate(percent) for percent in percents)


def _place(percent: float, count: int) -> tuple[int, int, float]:
    """Return the ranks of the two values between which a percentile is, and its place between them, 0 to 1."""
    place = max(0, count - 1) * (percent / 100)
    first = math.floor(place)
    return first, min(first + 1, max(0, count - 1)), place - first


def _between(low: float, high: float, share: float) -> float:
    """Return the number between two others, rounded as NumPy rounds it."""
    if low == high:
        return low
    return high - (high - low) * (1 - share) if share >= 0.5 else low + (high - low) * share


def _order_statistics(blocks: Blocks, histogram: QuantileHistogram, ranks: list[int], spare: int) -> dict[int, float]:
    """Return the values of these ranks, counted from 0 in ascending order.

    The prefix of a value is its bits without the last `shift`, as a signed integer.
    """
    ends = np.cumsum(histogram.counts)
    prefixes: dict[int, tuple[int, int]] = {}
    values: dict[int, float] = {}
    for rank in ranks:
        n = int(np.searchsorted(ends, rank, side="right"))
        number = int(histogram.bins[n])
        if number == 0:
            values[rank] = 0.0
        else:
            prefix = number - 1 if number > 0 else -number - 1 - _SIGN
            prefixes[rank] = prefix, rank - (int(ends[n - 1]) if n else 0)
    shift = FINEST
    while shift > spare and prefixes:
        width = min(_WIDTH, shift)
        counts = _counts_inside(blocks, {prefix for prefix, _ in prefixes.values()}, shift, width)
        for rank, (prefix, inside) in prefixes.items():
            prefixes[rank] = _narrowed(prefix, inside, counts[prefix], width)
        shift -= width
    for rank, (prefix, _) in prefixes.items():
        values[rank] = float(np.int64(prefix << shift).view(np.float64))
    return values


def _narrowed(prefix: int, inside: int, counts: npt.NDArray[np.int64], width: int) -> tuple[int, int]:
    """Return the longer prefix of the value of a rank inside of a shorter one, and its rank inside of that."""
    negative = prefix < 0  # a negative number is the smaller, the larger its bits
    ends = np.cumsum(counts[::-1] if negative else counts)
    n = int(np.searchsorted(ends, inside, side="right"))
    rest = inside - (int(ends[n - 1]) if n else 0)
    return (prefix << width) + (len(counts) - 1 - n if negative else n), rest


def _counts_inside(blocks: Blocks, prefixes: set[int], shift: int, width: int) -> dict[int, npt.NDArray[np.int64]]:
    """Return, for each prefix, how often each continuation by `width` bits occurs."""
    counts = {prefix: np.zeros(1 << width, np.int64) for prefix in sorted(prefixes)}
    table = np.zeros(2 * _SIGN, bool)
    for prefix in prefixes:
        table[(prefix >> (FINEST - shift)) + _SIGN] = True
    for block in blocks():
        bits = block.view(np.int64)
        bits = bits[table[(bits >> FINEST) + _SIGN] & (block != 0)]
        if not bits.size:
            continue
        leading, following = bits >> shift, bits >> (shift - width) & ((1 << width) - 1)
        for prefix, total in counts.items():
            matches = following[leading == prefix]
            if matches.size > _FEW:
                np.add(total, np.bincount(matches, minlength=len(total)), out=total)
            else:
                np.add.at(total, matches, 1)
    return counts
