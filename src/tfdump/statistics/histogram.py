"""A histogram of a tensor of any size: two passes over its pieces, in flat memory."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tfdump.tensors import Array

BINS = 64
_MOST_WHOLE = 256
"""Up to this many different whole numbers get one bin each."""


@dataclass(frozen=True)
class Histogram:
    """The number of finite values per bin; there is one more edge than bins, and the last bin includes both its ends.

    `nan`, `above` and `below` count NaN, +Inf and -Inf, `zero` the exact zeros among the finite values. `whole` tells
    that every bin is one whole number. Complex values enter by their magnitude. Without a finite value there are no
    bins.
    """

    edges: npt.NDArray[np.float64]
    counts: npt.NDArray[np.int64]
    nan: int
    above: int
    below: int
    zero: int
    whole: bool

    @property
    def finite(self) -> int:
        """The number of finite values."""
        return int(self.counts.sum())

    @property
    def total(self) -> int:
        """The number of values."""
        return self.finite + self.nan + self.above + self.below


def histogram_of(pieces: Callable[[], Iterable[Array]], bins: int = BINS) -> Histogram:
    """Return the histogram of the values that `pieces()` yields; it is called twice and must yield the same values.

    Bins have equal widths from the smallest to the largest finite value. Integers and truth values with a small range
    get one bin each.
    """
    low, high = math.inf, -math.inf
    nan = above = below = zero = 0
    integers = True
    for piece in pieces():
        integers &= piece.dtype.kind in "iub"
        numbers = _numbers(piece)
        nan += int(np.isnan(numbers).sum())
        above += int((numbers == np.inf).sum())
        below += int((numbers == -np.inf).sum())
        finite = numbers[np.isfinite(numbers)]
        zero += finite.size - int(np.count_nonzero(finite))
        if finite.size:
            low, high = min(low, float(finite.min())), max(high, float(finite.max()))
    whole = integers and low <= high and high - low < min(_MOST_WHOLE, max(bins, BINS))
    edges = _edges(low, high, bins, whole)
    counts = np.zeros(max(0, len(edges) - 1), np.int64)
    if counts.size:
        even = not whole and low < high and len(edges) == bins + 1 and high - low < np.inf
        for piece in pieces():
            numbers = _numbers(piece)
            numbers = numbers[np.isfinite(numbers)]
            counts += np.histogram(numbers, bins, (low, high))[0] if even else np.histogram(numbers, edges)[0]
    return Histogram(edges, counts, nan, above, below, zero, whole)


def _edges(low: float, high: float, bins: int, whole: bool) -> npt.NDArray[np.float64]:
    if low > high:
        return np.zeros(0)
    if whole:
        return np.arange(low - 0.5, high + 1)
    if low == high:  # one bin around the only value
        margin = abs(low) * 0.01 or 0.5
        return np.array([low - margin, low + margin])
    if high - low < np.inf:
        edges = np.linspace(low, high, bins + 1)
    else:
        shares = np.arange(bins + 1) / bins
        edges = low * (1 - shares) + high * shares
    return np.unique(edges)  # there may be fewer floats between the ends than bins


def _numbers(piece: Array) -> npt.NDArray[np.float64]:
    if piece.dtype.kind == "c":
        return np.abs(piece.astype(np.complex128)).reshape(-1)
    return piece.astype(np.float64).reshape(-1)
